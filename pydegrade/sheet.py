"""Contact sheets: rows of images with readable captions, as one RGB image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .engine import Stage
from .files.pixels import Pixels, to_uint8
from .tasks.task import TaskBatch

MARGIN_PX = 20
GAP_PX = 12
CAPTION_FONT_PX = 13
TITLE_FONT_PX = 15
HEADING_FONT_PX = 20
LINE_FACTOR = 1.3
PAIR_WIDTH_PX = 388
"""Width of HR and LR side by side, 192 px each, and the gap between them."""

PAPER = (252, 252, 250)
INK = (25, 25, 28)
FAINT_INK = (110, 110, 115)

_UNITS = {"_px": " px", "_8bit": "/255", "_rad": " rad"}


@dataclass(frozen=True)
class Cell:
    """One image of a sheet.

    Attributes:
        pixels: uint8 [H, W, 3], any size.
        title: one line above the captions, e.g. the slot's name.
        captions: short lines under it; wrapped to the width of the cell.
    """

    pixels: Pixels
    title: str = ""
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class SheetRow:
    """Images side by side under one line of text, e.g. a task's address."""

    title: str
    cells: tuple[Cell, ...]


def _broken(rows: Sequence[SheetRow], most_columns: int) -> list[SheetRow]:
    """Rows of at most so many cells; what continues a row has no title."""
    broken = []
    for row in rows:
        for first in range(0, max(len(row.cells), 1), most_columns):
            broken.append(SheetRow(row.title if not first else "", row.cells[first : first + most_columns]))
    return broken


def render_sheet(
    rows: Sequence[SheetRow],
    heading: str = "",
    cell_width_px: int = 192,
    cell_height_px: int = 192,
    most_columns: int = 0,
) -> Pixels:
    """Draw a sheet.

    Args:
        rows: at least one; may differ in length.
        heading: line at the top; it widens the sheet if it must.
        cell_width_px, cell_height_px: each image is fitted into this rectangle; small ones are enlarged without
            interpolation, so that their pixels stay visible.
        most_columns: longer rows go on in further lines; 0: every row is one line.
    Returns:
        uint8 [H, W, 3].
    """
    rows = _broken(rows, most_columns) if most_columns else rows
    heading_font, title_font, caption_font = (
        ImageFont.load_default(size) for size in (HEADING_FONT_PX, TITLE_FONT_PX, CAPTION_FONT_PX)
    )
    heading_lines = _wrapped(heading, heading_font, 10**9)
    heading_px = _height_px(len(heading_lines), HEADING_FONT_PX) + (GAP_PX if heading_lines else 0)

    # Texts of each cell, and with them the height of each row.
    texts = [[_cell_lines(cell, caption_font, cell_width_px) for cell in row.cells] for row in rows]
    title_px = [_height_px(1, TITLE_FONT_PX) + 4 if row.title else 0 for row in rows]
    text_px = [6 + _height_px(max((len(lines) for lines in row), default=0), CAPTION_FONT_PX) for row in texts]
    row_px = [title + cell_height_px + text + GAP_PX for title, text in zip(title_px, text_px)]

    columns = max(len(row.cells) for row in rows)
    width_px = columns * (cell_width_px + GAP_PX) - GAP_PX
    widest_line = max([heading_font.getlength(heading), *(title_font.getlength(row.title) for row in rows)])
    width_px = max(width_px, int(widest_line) + 1) + 2 * MARGIN_PX
    sheet = Image.new("RGB", (width_px, 2 * MARGIN_PX + heading_px + sum(row_px) - GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_lines(draw, MARGIN_PX, MARGIN_PX, heading_lines, heading_font, HEADING_FONT_PX, INK)

    top = MARGIN_PX + heading_px
    for number, row in enumerate(rows):
        draw.text((MARGIN_PX, top), row.title, fill=INK, font=title_font)
        cell_top = top + title_px[number]
        for column, (cell, lines) in enumerate(zip(row.cells, texts[number])):
            left = MARGIN_PX + column * (cell_width_px + GAP_PX)
            sheet.paste(_fitted(cell.pixels, cell_width_px, cell_height_px), (left, cell_top))
            below = cell_top + cell_height_px + 6
            _draw_lines(draw, left, below, lines[:1], caption_font, CAPTION_FONT_PX, INK)
            below += _height_px(1, CAPTION_FONT_PX)
            _draw_lines(draw, left, below, lines[1:], caption_font, CAPTION_FONT_PX, FAINT_INK)
        top += row_px[number]
    return np.array(sheet)


def stage_rows(tasks: TaskBatch, traces: Sequence[Sequence[Stage]]) -> list[SheetRow]:
    """One row per task: HR, the image after each slot with the slot's parameters, and LR."""
    rows = []
    for row, stages in enumerate(traces):
        cells = []
        for stage in stages:
            height, width = stage.image.shape[1:]
            captions: tuple[str, ...] = (f"{width} x {height} px",)
            if stage.slot not in ("hr", "lr"):
                captions += slot_captions(tasks, row, stage.slot)
            title = stage.slot.upper() if stage.slot in ("hr", "lr") else stage.slot
            cells.append(Cell(to_uint8(stage.image), title, captions))
        rows.append(SheetRow(tasks.addresses[row], tuple(cells)))
    return rows


def pair_rows(tasks: TaskBatch, hr: Sequence[Pixels], lr: Sequence[Pixels], pairs_per_row: int = 4) -> list[SheetRow]:
    """HR and LR of each task side by side at the same size, with a short account of the task under them."""
    cells = []
    for row, (clean, degraded) in enumerate(zip(hr, lr)):
        scale = clean.shape[0] // degraded.shape[0]
        enlarged = degraded.repeat(scale, axis=0).repeat(scale, axis=1)
        between = np.full((clean.shape[0], max(1, clean.shape[1] // 48), 3), PAPER, np.uint8)
        account = "; ".join(
            f"{name}: {', '.join(slot_captions(tasks, row, name))}" for name in running_slots(tasks, row)
        )
        cells.append(
            Cell(np.concatenate([clean, between, enlarged], axis=1), f"sample {tasks.indices[row]}", (account,))
        )
    return [SheetRow("", tuple(cells[at : at + pairs_per_row])) for at in range(0, len(cells), pairs_per_row)]


def running_slots(tasks: TaskBatch, row: int) -> list[str]:
    """Names of the slots that do something in a task, in running order."""
    slots = tasks.space.slots
    one = tasks.take([row])
    names = [slots[slot].name for slot in tasks.program[row].tolist() if slot >= 0]
    return [name for name in names if not one.neutral(name)[0]]


def slot_captions(tasks: TaskBatch, row: int, slot: str) -> tuple[str, ...]:
    """Parameters of one slot of a task that have an effect, one short text each: "iso", "sigma_x 1.27 px"."""
    one = tasks.take([row])
    masks = one.masks(slot)
    texts = []
    for column in tasks.space.op(slot).columns:
        if masks[column.name][0]:
            value = one.column(f"{slot}.{column.name}")[0]
            choices = column.choices
            texts.append(_choice_text(column.name, choices[value]) if choices else _number_text(column.name, value))
    return tuple(texts)


def _choice_text(name: str, choice: str) -> str:
    """A choice, with what it is about where the word alone does not say it."""
    if name == "subsampling" and choice.isdigit():
        return f"chroma {':'.join(choice)}"
    if name == "rule" and choice in ("input", "final"):
        return f"factor of the {'LR' if choice == 'final' else choice} size"
    return choice


def unit_of(name: str) -> str:
    """The unit that a column's name ends in, as it stands behind a number: " px", " rad", "/255"; "" for none."""
    return next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")


def _number_text(name: str, value: Any) -> str:
    """A column's name and value, the unit behind the number: ("sigma_x_px", 1.2713) -> "sigma_x 1.27 px"."""
    if name == "gray":
        return "gray noise" if value else "colour noise"
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix)} {value:.3g}{unit}"
    return f"{name} {value:.3g}"


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _height_px(lines: int, font_px: int) -> int:
    return int(lines * font_px * LINE_FACTOR + 0.5)


def _cell_lines(cell: Cell, font: Font, width_px: int) -> list[str]:
    """Title first, then captions, each no wider than the cell."""
    lines = _wrapped(cell.title, font, width_px)[:1]
    for caption in cell.captions:
        lines += _wrapped(caption, font, width_px)
    return lines


def _wrapped(text: str, font: Font, width_px: int) -> list[str]:
    """Greedy line breaking at spaces; a single word may stick out."""
    lines: list[str] = []
    taken_px = 0.0
    for word in text.split():
        more_px = _length_px(font, f" {word}")
        if lines and taken_px + more_px <= width_px:
            lines[-1] += f" {word}"
            taken_px += more_px
        else:
            lines.append(word)
            taken_px = _length_px(font, word)
    return lines


@lru_cache(maxsize=4096)
def _length_px(font: Font, word: str) -> float:
    """Width of a word, which sheets say again and again. Pairs with a space have no kerning, so that words add up."""
    return font.getlength(word)


def _draw_lines(
    draw: ImageDraw.ImageDraw,
    left: int,
    top: int,
    lines: Sequence[str],
    font: Font,
    font_px: int,
    ink: tuple[int, int, int],
) -> None:
    for number, line in enumerate(lines):
        draw.text((left, top + _height_px(number, font_px)), line, fill=ink, font=font)


def _fitted(pixels: Pixels, width_px: int, height_px: int) -> Image.Image:
    """The image at the largest size that fits the rectangle."""
    image = Image.fromarray(pixels)
    factor = min(width_px / image.width, height_px / image.height)
    method = Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.NEAREST
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), method)

"""Two spaces side by side as a picture as wide as a page: photographs under the same tasks of both, and what differs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...engine import degrade_list
from ...files.dataset import CropReader, draw_crops, find_images
from ...files.pixels import Pixels, to_float, to_uint8
from ...sheet import FAINT_INK, INK, PAPER, Cell, SheetRow, render_sheet, unit_of
from ...tasks.task import TaskBatch
from .diff import Marginal, Side, label_shares

WIDTH_PX = 856
PHOTOGRAPHS = 4
_SIDE_PX = 192
_MARGIN_PX = 20
_GAP_PX = 28
_PANEL_PX = (WIDTH_PX - 2 * _MARGIN_PX - _GAP_PX) // 2
_FONT_PX = 13
_PLOT_PX = 64
_BAR_PX = 9
_LABEL_PX = 150
_MOST_BARS = 8
_BINS = 48
_SIDES = ((38, 104, 179), (222, 120, 22))
"""Colours of A and B: blue and orange, which colour-blind people tell apart."""


def diff_sheet(a: TaskBatch, b: TaskBatch, names: tuple[str, str], found: Sequence[Marginal]) -> Pixels:
    """A picture, uint8 [H, 856, 3].

    Args:
        a, b: tasks of the same seed and numbers, at least `PHOTOGRAPHS` of them.
        names: of the spaces.
        found: what is plotted.
    """
    parts = [_photographs(a, b, names), _legend(names)]
    # Of a slot that one space does not have, that it acts says it.
    panels = [_panel(one) for one in found if one.column is None or (one.a is not None and one.b is not None)]
    for left, right in zip_longest(panels[::2], panels[1::2]):
        parts.append(_side_by_side(left, right))
    height = sum(part.height for part in parts) + _MARGIN_PX
    sheet = Image.new("RGB", (WIDTH_PX, height), PAPER)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return np.array(sheet)


def _photographs(a: TaskBatch, b: TaskBatch, names: tuple[str, str]) -> Image.Image:
    """Crops, and LR of the first tasks of both spaces below them."""
    both = math.lcm(a.space.scale, b.space.scale)
    side_px = max(both, _SIDE_PX // both * both)
    images = find_images([], side_px=side_px)
    some = slice(0, PHOTOGRAPHS)
    crops = draw_crops(images, int(a.seeds[0]), a.indices[some], side_px, "none")
    reader = CropReader(images)
    hr = [reader.read(crops, row) for row in range(len(crops.image))]
    rows = [SheetRow("HR", tuple(Cell(image) for image in hr))]
    for letter, name, tasks in zip("AB", names, (a, b)):
        lr = degrade_list([to_float(image) for image in hr], tasks.take(some))
        rows.append(SheetRow(f"{letter}  {name}", tuple(Cell(to_uint8(image)) for image in lr)))
    cell_px = (WIDTH_PX - 2 * _MARGIN_PX - 12 * (PHOTOGRAPHS - 1)) // PHOTOGRAPHS
    drawn = Image.fromarray(render_sheet(rows, "", cell_px, cell_px))
    return drawn.crop((0, 0, WIDTH_PX, drawn.height))


def _legend(names: tuple[str, str]) -> Image.Image:
    """Which colour is whose."""
    font = ImageFont.load_default(_FONT_PX)
    line = Image.new("RGB", (WIDTH_PX, 40), PAPER)
    draw = ImageDraw.Draw(line)
    left = _MARGIN_PX
    for letter, name, colour in zip("AB", names, _SIDES):
        draw.rectangle((left, 8, left + 12, 20), fill=colour)
        draw.text((left + 18, 6), f"{letter}  {name}", fill=INK, font=font)
        left += 42 + round(font.getlength(f"{letter}  {name}"))
    draw.text((left, 6), "heights of histograms: square root of the share", fill=FAINT_INK, font=font)
    return line


def _side_by_side(left: Image.Image, right: Image.Image | None) -> Image.Image:
    height = max(left.height, 0 if right is None else right.height)
    both = Image.new("RGB", (WIDTH_PX, height), PAPER)
    both.paste(left, (_MARGIN_PX, 0))
    if right is not None:
        both.paste(right, (_MARGIN_PX + _PANEL_PX + _GAP_PX, 0))
    return both


def _panel(marginal: Marginal) -> Image.Image:
    """The name, and below it bars of shares, or histograms over one axis."""
    font = ImageFont.load_default(_FONT_PX)
    if marginal.column is None:
        bars = {"acts": tuple(0.0 if side is None else side.share for side in (marginal.a, marginal.b))}
    elif marginal.column.choices:
        bars = dict([*label_shares(marginal.column, marginal.a, marginal.b).items()][:_MOST_BARS])
    else:
        return _histogram(marginal, font)
    line_px = 2 * _BAR_PX + 8
    panel = Image.new("RGB", (_PANEL_PX, 24 + line_px * len(bars) + 16), PAPER)
    draw = ImageDraw.Draw(panel)
    draw.text((0, 0), f"{marginal.name} ({marginal.op})", fill=INK, font=font)
    room = _PANEL_PX - _LABEL_PX - 56
    for number, (label, shares) in enumerate(bars.items()):
        top = 24 + number * line_px
        draw.text(
            (_LABEL_PX - 8, top + _BAR_PX - 8), _cut(label, font, _LABEL_PX - 12), fill=INK, font=font, anchor="ra"
        )
        for place, share in enumerate(shares):
            upper = top + place * (_BAR_PX + 1)
            length = round(share * room)
            draw.rectangle((_LABEL_PX, upper, _LABEL_PX + length, upper + _BAR_PX - 1), fill=_SIDES[place])
            small = ImageFont.load_default(11)
            draw.text((_LABEL_PX + length + 5, upper - 2), f"{100 * share:.3g} %", fill=FAINT_INK, font=small)
    return panel


def _histogram(marginal: Marginal, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Image.Image:
    """Where a column lies in both, over one axis; the area of each is one."""
    sides = [side for side in (marginal.a, marginal.b) if side is not None and len(side.values)]
    panel = Image.new("RGB", (_PANEL_PX, 24 + _PLOT_PX + 34), PAPER)
    draw = ImageDraw.Draw(panel)
    draw.text((0, 0), f"{marginal.name} ({marginal.op})", fill=INK, font=font)
    if not sides:
        draw.text((0, 24), "no effect in either", fill=FAINT_INK, font=font)
        return panel
    low = min(float(side.values.min()) for side in sides)
    high = max(float(side.values.max()) for side in sides)
    densities = [_density(side, low, high) for side in (marginal.a, marginal.b)]
    most = max(float(density.max()) for density in densities)
    base = 24 + _PLOT_PX
    edges = np.linspace(0, _PANEL_PX - 1, _BINS + 1)
    pixels = np.array(panel)
    for density, colour in zip(densities, _SIDES):
        for place in range(_BINS):
            height = round(math.sqrt(float(density[place]) / most) * _PLOT_PX)
            area = pixels[base - height : base, int(edges[place]) : int(edges[place + 1])]
            # Where both stand, the mean of their colours shows.
            area[:] = area * 0.45 + np.array(colour) * 0.55 if height else area
    panel = Image.fromarray(pixels)
    draw = ImageDraw.Draw(panel)
    draw.line((0, base, _PANEL_PX, base), fill=INK)
    unit = "" if marginal.column is None else unit_of(marginal.column.name)
    draw.text((0, base + 4), f"{low:.3g}", fill=FAINT_INK, font=font)
    draw.text((_PANEL_PX - 1, base + 4), f"{high:.3g}{unit}", fill=FAINT_INK, font=font, anchor="ra")
    return panel


def _density(side: Side | None, low: float, high: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if side is None or len(side.values) == 0:
        return np.zeros(_BINS)
    # One value alone has the middle bin.
    span = (low, high) if high > low else (low - 0.5, high + 0.5)
    counts, _ = np.histogram(side.values.astype(np.float64), bins=_BINS, range=span)
    return counts / max(counts.sum(), 1)


def _cut(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> str:
    while font.getlength(label) > width_px and len(label) > 4:
        label = label[:-2] + "…"
    return label

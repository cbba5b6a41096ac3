"""The page of `degrade gallery`: tasks, photographs' names and small images of a run, put into a template."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shlex
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import PydegradeError
from ...files.paths import display_name
from ...files.pixels import Pixels
from ...images.imresize import imresize
from ...images.metrics import psnr
from ...native import binding
from ...ops.declaration import Column
from ...sheet import unit_of
from ...shell.progress import Progress
from ...tasks.space import preset_names
from ...tasks.task import TaskBatch
from .gallery_samples import MOST_PSNR_DB, Scores, ShownSamples

TEMPLATE = Path(__file__).parents[2] / "pages" / "gallery.html"
HR_SIDE_PX, LR_SIDE_PX = 192, 64
"""Largest square that is shown: what 4000 samples of which make a page that browsers open at once."""
HR_QUALITY, RESULT_QUALITY = 75, 90
PSNR_COLUMN = Column("psnr_db", f"PSNR of LR against HR made smaller by bicubic alone, at most {MOST_PSNR_DB:g}.")
_ACTS = Column("acts", "Whether the slot does something to the image.", choices=("off", "acts"))


@dataclass(frozen=True)
class Gallery:
    """A page.

    Attributes:
        page: the file; empty where no sample has images.
        count: samples on it.
        failed: one line for each sample that has none.
    """

    page: bytes
    count: int
    failed: tuple[str, ...]


def gallery(samples: ShownSamples, side_px: int | None = None) -> Gallery:
    """Make the page.

    Args:
        samples: to show.
        side_px: of the square of HR that is shown.
    """
    scale = _scale(samples)
    count = len(samples.sources)
    side_px = side_px or min(HR_SIDE_PX, LR_SIDE_PX * scale)
    progress = Progress(count, unit="samples")
    images: list[str] = []
    failed: list[str] = []
    usable: list[int] = []
    changes: list[float] = []
    measured: list[Mapping[str, float]] = []
    with ThreadPoolExecutor(max_workers=binding.get_num_threads()) as pool:
        make = partial(_small, samples, max(1, side_px // scale), scale)
        try:
            for row, made in enumerate(pool.map(make, range(count))):
                if isinstance(made, PydegradeError):
                    failed.append(str(made))
                else:
                    images.append(made.images)
                    changes.append(made.psnr_db)
                    measured.append(made.scores)
                    usable.append(row)
                progress.advance()
        finally:
            pool.shutdown(cancel_futures=True)
            progress.close()
    if not usable:
        return Gallery(b"", 0, tuple(failed))
    facts = _facts(samples, np.array(usable), np.array(changes), measured)
    title = html.escape(f"{facts['title']}: {display_name(samples.origin.resolve().name)}")
    return Gallery(_filled(title=title, data=_json(facts), images="\n".join(images)), len(usable), tuple(failed))


@dataclass(frozen=True)
class _Small:
    """What a page has of one sample: its images in base64 with spaces between, PSNR_COLUMN, other scores."""

    images: str
    psnr_db: float
    scores: Mapping[str, float]


def _small(samples: ShownSamples, lr_side_px: int, scale: int, row: int) -> _Small | PydegradeError:
    """One sample, or why there is none."""
    scores: Mapping[str, float] = {}
    try:
        hr, lr, *more = samples.read(row)
        if samples.beside is not None:
            third, scores = samples.beside(lr)
            more.append(third)
    except PydegradeError as error:
        return error
    changed = _psnr_db(hr, lr)
    # Of sides that belong to each other; of others a square that has pixels all the same.
    scale = max(1, min(hr.shape[0] // lr.shape[0], hr.shape[1] // lr.shape[1]))
    coded = [_webp(_middle(hr, lr_side_px, scale), quality=HR_QUALITY, method=2)]
    coded.append(_webp(_middle(lr, lr_side_px, 1), lossless=True, quality=50, method=2))
    for third in more:
        if third.shape == hr.shape:
            coded.append(_webp(_middle(third, lr_side_px, scale), quality=RESULT_QUALITY, method=2))
        else:
            coded.append(_webp(_middle(third, lr_side_px, 1), lossless=True, quality=50, method=2))
    return _Small(" ".join(coded), changed, scores)


def _middle(pixels: Pixels, lr_side_px: int, scale: int) -> Pixels:
    """The square in the middle that has this side in LR."""
    window = []
    for side in pixels.shape[:2]:
        length = min(side // scale, lr_side_px)
        begin = (side // scale - length) // 2 * scale
        window.append(slice(begin, begin + length * scale))
    return pixels[tuple(window)]


def _scale(samples: ShownSamples) -> int:
    return samples.scale or (samples.tasks.space.scale if samples.tasks is not None else 1)


def _psnr_db(hr: Pixels, lr: Pixels) -> float:
    small = hr if hr.shape == lr.shape else imresize(hr, size=lr.shape[:2])
    return min(MOST_PSNR_DB, psnr(lr, small, "rgb-uint8-border0").value)


def _webp(pixels: Pixels, **options: Any) -> str:
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "WEBP", **options)
    return b64encode(stream.getvalue()).decode()


def _facts(
    samples: ShownSamples,
    rows: NDArray[np.int64],
    psnr_db: NDArray[np.float64],
    measured: Sequence[Mapping[str, float]],
) -> dict[str, Any]:
    """What the page knows of some of the samples, beside their images."""
    tasks = None if samples.tasks is None else samples.tasks.take(rows)
    space = None if tasks is None else tasks.space
    slots = () if space is None else space.slots
    is_own = space is not None and space.name not in preset_names()
    many = f"{len(rows)} of {samples.total}" if samples.total > len(rows) else f"{len(rows)}"
    about = samples.about or (space.source if space is not None else "")
    numbers = tasks.indices.tolist() if tasks is not None and samples.numbered else rows.tolist()
    given = [samples.addresses[row] for row in rows] if samples.addresses else []
    return {
        "title": f"{space.name}@{space.digest[:8]}" if space is not None else "evaluation",
        "about": f"x{_scale(samples)}, {many} samples of {display_name(samples.origin)}; {about}",
        "space_option": f" --space {shlex.quote(display_name(samples.origin))}" if is_own else "",
        "pictures": samples.pictures,
        "thumbnails": samples.thumbnails,
        "index": [str(number) for number in numbers],
        "address": given or (tasks.addresses if tasks is not None else [""] * len(rows)),
        **_coded("sources", "source", [samples.sources[row] for row in rows]),
        **_coded(
            "orders", "order", [" ".join(order) for order in tasks.orders()] if tasks is not None else [""] * len(rows)
        ),
        "slots": [{"name": slot.name, "op": slot.op} for slot in slots],
        "columns": [
            *_scores(samples.scores, rows, psnr_db, measured),
            *(column for slot in slots if tasks is not None for column in _columns(tasks, slot.name)),
        ],
    }


def _coded(names: str, codes: str, texts: Iterable[str]) -> dict[str, Any]:
    """Texts that repeat, as a list of the different ones and a position for each."""
    known: dict[str, int] = {}
    positions = [known.setdefault(text, len(known)) for text in texts]
    return {names: list(known), codes: positions}


def _scores(
    scores: Scores, rows: NDArray[np.int64], psnr_db: NDArray[np.float64], measured: Sequence[Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Columns of no slot: what was measured here, and what the file says."""
    found = [_column("", PSNR_COLUMN, psnr_db.astype(np.float32))]
    for name in measured[0]:
        values = np.array([one[name] for one in measured], np.float32)
        found.append(_column("", Column(name, "Measured for the page."), values))
    for name, words in scores.choices.items():
        places = {word: place for place, word in enumerate(dict.fromkeys(words))}
        column = Column(name, "Of the file.", choices=tuple(places))
        found.append(_column("", column, np.array([places[words[row]] for row in rows], np.float32)))
    for name, said in scores.values.items():
        with np.errstate(over="ignore"):  # a number that float32 does not hold is shown as infinity
            found.append(_column("", Column(name, "Of the file."), np.array(said, np.float32)[rows]))
    return found


def _columns(tasks: TaskBatch, slot: str) -> list[dict[str, Any]]:
    """A slot's columns; the first says whether it acts at all. NaN stands where a column has no effect."""
    acts = tasks.present(slot) & ~tasks.neutral(slot)
    found = [_column(slot, _ACTS, acts.astype(np.float32))]
    for column in tasks.space.op(slot).columns:
        name = f"{slot}.{column.name}"
        values = np.where(acts & tasks.mask(name), tasks.column(name), np.nan).astype("<f4")
        if not np.isnan(values).all() and (name in tasks.columns or column.choices):
            found.append(_column(slot, column, values))
    return found


def _column(slot: str, column: Column, values: NDArray[np.float32]) -> dict[str, Any]:
    same = bool((values == values[0]).all())
    return {
        "slot": slot,
        "name": column.name,
        "unit": unit_of(column.name),
        "doc": column.doc,
        "choices": list(column.choices) or None,
        "integer": column.integer,
        "values": b64encode(values[: 1 if same else None].astype("<f4").tobytes()).decode(),
    }


def _json(value: Any) -> str:
    """JSON that holds no markup, whatever its texts are."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _filled(**texts: str) -> bytes:
    """The template with texts in the places of their names. Only the template's own script and styles may run, named by
    their digests, and nothing may be loaded."""
    template = TEMPLATE.read_text(encoding="utf-8")
    sources = {}
    for tag in ("script", "style"):
        (source,) = re.findall(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL)
        sources[tag] = b64encode(hashlib.sha256(source.encode()).digest()).decode()
    texts["policy"] = (
        f"default-src 'none'; img-src data:; script-src 'sha256-{sources['script']}'; "
        f"style-src 'sha256-{sources['style']}'; base-uri 'none'; form-action 'none'"
    )
    # Cut once: what a text holds is never a place for another.
    parts = re.split(r"\{\{(\w+)\}\}", template)
    return "".join(
        part + texts.get(name, "") for part, name in zip_longest(parts[::2], parts[1::2], fillvalue="")
    ).encode()

"""Tasks run on images: `degrade apply`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import ImageError
from ...files.lock import folder_lock
from ...files.memory import MemoryBudget
from ...files.pixels import to_float, to_uint8
from ...files.read import ImageFile, open_image
from ...files.write import ENCODERS
from ...shell.images import Fates, Item, each, find_items
from ...shell.outputs import Results
from ...shell.progress import Progress
from ...tasks.task import TaskBatch
from .pairs import degrade_one, memory_of_one

TARGET_SUFFIX = "_target"


@dataclass(frozen=True)
class ApplyRequest:
    """What is done to every image.

    Attributes:
        tasks: all of them, on every image.
        file_format: "png" or "npy".
        with_target: whether what a loss should compare with is written too.
        max_pixels: limit of an image.
        device: that runs the tasks.
    """

    tasks: TaskBatch
    file_format: str
    with_target: bool
    max_pixels: int
    device: torch.device

    def stem(self, name: str, row: int) -> str:
        """What the results of a task are called, without ending."""
        return name if len(self.tasks) == 1 else f"{name}/{row:05d}"

    def results(self, name: str, row: int) -> list[str]:
        """Names of the results of one task: the degraded image, then its target."""
        suffixes = ("", TARGET_SUFFIX) if self.with_target else ("",)
        return [f"{self.stem(name, row)}{suffix}.{self.file_format}" for suffix in suffixes]


@dataclass(frozen=True)
class Applied:
    """What became of it.

    Attributes:
        fates: of the images.
        kept: images whose results were all there.
        per_second: results per second.
    """

    fates: Fates
    kept: int
    per_second: float


def apply_tasks(sources: Sequence[Path], out: Path, request: ApplyRequest, force: bool = False) -> Applied:
    """Run every task on every image; results that are there and made from the same are kept.

    Args:
        sources: files and folders.
        out: checked folder.
        request: what to do.
        force: make everything again, also over files of another origin.
    Raises:
        OutputError: a result would replace an input or a file of another origin.
        ImageError: a folder without images.
    """
    items = find_items(sources, lambda name: request.results(name, 0) if len(request.tasks) == 1 else [f"{name}/"])
    tasks = request.tasks
    addresses = [f"{address} {mark:016x}" for address, mark in zip(tasks.addresses, tasks.fingerprints().tolist())]
    with folder_lock(out):
        results = Results(out, "apply", {"format": request.file_format, "space": tasks.space.digest}, force)
        names = [name for item in items.images for row in range(len(tasks)) for name in request.results(item.name, row)]
        results.check(names, [item.path for item in items.images])

        def missing(item: Item) -> list[int]:
            return [
                row
                for row in range(len(tasks))
                if not all(results.is_made(name, item.path, addresses[row]) for name in request.results(item.name, row))
            ]

        rows_of = {item: missing(item) for item in items.images}
        pending = [item for item in items.images if rows_of[item]]
        whole = len(items.images) * len(tasks)
        progress = Progress(whole, whole - sum(map(len, rows_of.values())))
        budget = MemoryBudget()

        def make(item: Item) -> Iterable[str]:
            rows = np.array(rows_of[item])
            with open_image(item.path, request.max_pixels) as file:
                header = file.header
                needed = memory_of_one(header.height, header.width, tasks.take(rows), request.with_target)
                with budget.hold(max(header.decode_bytes, needed), item.path, header.file_bytes):
                    return made(item, rows, file)

        def made(item: Item, rows: NDArray[np.int64], file: ImageFile) -> Iterable[str]:
            with results.reading(item.path):
                hr, profile, notes = _floats(file, item.path, tasks.space.scale)
            for places, pairs in degrade_one(hr.to(request.device), tasks.take(rows)):
                for place, pair in zip(places, pairs):
                    row = rows_of[item][place]
                    for name, image in zip(request.results(item.name, row), (pair.lr, pair.target)):
                        results.write(
                            name, ENCODERS[request.file_format](to_uint8(image), profile), item.path, addresses[row]
                        )
                progress.advance(len(places))
            return notes

        fates = each(pending, make, progress, items=items, steps=0)
    return Applied(fates, len(items.images) - len(pending), progress.per_second)


def _floats(file: ImageFile, path: Path, scale: int) -> tuple[torch.Tensor, bytes | None, list[str]]:
    """The image, cut at the bottom and the right to sides that are multiples of the scale, its colour profile, and what
    was done to it."""
    picture = file.decode().rgb()
    pixels = picture.array
    height, width = (side - side % scale for side in pixels.shape[:2])
    if height == 0 or width == 0:
        raise ImageError(f"{path}: sides must be at least the scale {scale}, got {_sides(pixels)}")
    notes = list(picture.notes)
    if pixels.dtype == np.uint16:
        notes.append("degraded from its 16 bits, results have 8")
    if (height, width) != pixels.shape[:2]:
        notes.append(f"cut from {_sides(pixels)} to {width} x {height} px, multiples of the scale {scale}")
    return to_float(pixels[:height, :width]), picture.profile, notes


def _sides(pixels: NDArray[Any]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"

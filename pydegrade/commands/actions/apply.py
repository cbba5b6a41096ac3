"""Tasks run on images: `degrade apply`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import ImageError
from ...files.lock import folder_lock
from ...files.memory import MemoryBudget
from ...files.paths import csv_cell
from ...files.pixels import to_float, to_uint8
from ...files.read import ImageFile, open_image
from ...files.write import ENCODERS
from ...shell.images import Fates, Item, Items, each, find_items
from ...shell.outputs import Results, write_file
from ...shell.progress import Progress
from ...tasks.task import TaskBatch
from .apply_shards import TASKS_CSV, AppliedShard, run_digest, write_shard
from .pairs import degrade_one, memory_of_one

TARGET_SUFFIX = "_target"


@dataclass(frozen=True)
class Naming:
    """What results are called, below the folder for results.

    Attributes:
        file_format: "png" or "npy".
        with_target: whether what a loss should compare with is written too.
        numbered: whether an image has several tasks: NAME/00000.png and so on.
        keep: whether a result must have its image's own name: NAME.png; with targets lr/NAME.png and target/NAME.png.
    """

    file_format: str
    with_target: bool
    numbered: bool = False
    keep: bool = False

    def results(self, name: str, row: int) -> list[str]:
        """Names of the results of one task: the degraded image, then its target."""
        if self.keep and self.with_target:
            return [f"{folder}/{name}.{self.file_format}" for folder in ("lr", "target")]
        stem = f"{name}/{row:05d}" if self.numbered else name
        suffixes = ("", TARGET_SUFFIX) if self.with_target else ("",)
        return [f"{stem}{suffix}.{self.file_format}" for suffix in suffixes]

    def items(self, sources: Sequence[Path]) -> Items:
        """The images of files and folders.

        Raises:
            ImageError: a folder without images; with `keep`, images whose results would have one name.
        """
        items = find_items(sources, lambda name: [f"{name}/"] if self.numbered else self.results(name, 0))
        for item in items.images if self.keep else ():
            own = [item.path.stem]
            own += [
                item.path.relative_to(source).with_suffix("").as_posix()
                for source in sources
                if source.is_dir() and item.path.is_relative_to(source)
            ]
            if item.name not in own:
                raise ImageError(
                    f"--keep-names: {item.path}: the result would be {item.name}.{self.file_format}, since another image "
                    "has its name; rename one of them, or leave --keep-names out"
                )
        return items


@dataclass(frozen=True)
class ApplyRequest:
    """What is done to every image.

    Attributes:
        tasks: all of them on every image, or the k-th on the k-th image.
        naming: of results.
        max_pixels: limit of an image.
        device: that runs the tasks.
        one_each: whether every image has its own task; there are at least as many tasks as images.
        shard: (number, count): images number, number + count, ... alone.
    """

    tasks: TaskBatch
    naming: Naming
    max_pixels: int
    device: torch.device
    one_each: bool = False
    shard: tuple[int, int] | None = None


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


def apply_tasks(items: Items, out: Path, request: ApplyRequest, force: bool = False) -> Applied:
    """Run tasks on images; results that are there and made from the same are kept. Where every image has a task of its
    own, OUT/tasks.csv says which.

    Args:
        items: the images, from `Naming.items`.
        out: checked folder.
        request: what to do.
        force: make everything again, also over files of another origin.
    Raises:
        OutputError: a result would replace an input or a file of another origin.
    """
    tasks, naming = request.tasks, request.naming
    number, count = request.shard or (0, 1)
    wanted = {
        item: range(position, position + 1) if request.one_each else range(len(tasks))
        for position, item in enumerate(items.images)
        if position % count == number
    }
    everything = items
    # What cannot be opened is one shard's.
    items = Items(tuple(wanted), items.unreadable if number == 0 else ())
    addresses = [f"{address} {mark:016x}" for address, mark in zip(tasks.addresses, tasks.fingerprints().tolist())]
    with folder_lock(out):
        results = Results(out, "apply", {"format": naming.file_format, "space": tasks.space.digest}, force)
        names = [name for item, rows in wanted.items() for row in rows for name in naming.results(item.name, row)]
        results.check([*names, TASKS_CSV] if request.one_each else names, everything.inputs)

        def missing(item: Item) -> list[int]:
            return [
                row
                for row in wanted[item]
                if not all(results.is_made(name, item.path, addresses[row]) for name in naming.results(item.name, row))
            ]

        if request.one_each:
            results.claim(TASKS_CSV)
            write_file(
                out / TASKS_CSV, _table(items, tasks.take(slice(number, len(everything.images), count))).encode()
            )
        rows_of = {item: missing(item) for item in items.images}
        pending = [item for item in items.images if rows_of[item]]
        whole = sum(map(len, wanted.values()))
        progress = Progress(whole, whole - sum(map(len, rows_of.values())))
        budget = MemoryBudget()

        def make(item: Item) -> Iterable[str]:
            rows = np.array(rows_of[item])
            with open_image(item.path, request.max_pixels) as file:
                header = file.header
                needed = memory_of_one(header.height, header.width, tasks.take(rows), naming.with_target)
                with budget.hold(max(header.decode_bytes, needed), item.path, header.file_bytes):
                    return made(item, rows, file)

        def made(item: Item, rows: NDArray[np.int64], file: ImageFile) -> Iterable[str]:
            with results.reading(item.path):
                hr, profile, notes = _floats(file, item.path, tasks.space.scale)
            for places, pairs in degrade_one(hr.to(request.device), tasks.take(rows)):
                for place, pair in zip(places, pairs):
                    row = rows_of[item][place]
                    for name, image in zip(naming.results(item.name, row), (pair.lr, pair.target)):
                        results.write(
                            name, ENCODERS[naming.file_format](to_uint8(image), profile), item.path, addresses[row]
                        )
                progress.advance(len(places))
            return notes

        fates = each(pending, make, progress, items=items, steps=0)
        if request.shard is not None and not fates.interrupted:
            options = (naming.file_format, naming.with_target, naming.numbered, naming.keep, request.one_each)
            skipped = tuple(item.name for item in items.images if missing(item))
            there = [
                name
                for item in items.images
                if item.name not in skipped
                for row in wanted[item]
                for name in naming.results(item.name, row)
            ]
            digest = run_digest([item.name for item in everything.images], addresses, options)
            what = AppliedShard(number, count, len(everything.images), digest, tasks.space.digest, naming.file_format,
                                request.one_each, skipped)  # fmt: skip
            write_shard(out, what, there)
    return Applied(fates, len(items.images) - len(pending), progress.per_second)


def _table(items: Items, tasks: TaskBatch) -> str:
    """Which image has which task, as CSV that `TaskBatch.load` reads."""
    stream = StringIO()
    rows = zip((csv_cell(item.name) for item in items.images), tasks.addresses, tasks.fingerprints().tolist())
    csv.writer(stream, lineterminator="\n").writerows(
        [("image", "address", "fingerprint"), *((name, address, f"{mark:016x}") for name, address, mark in rows)]
    )
    return stream.getvalue()


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

"""Runs of `degrade sample`: crops, tasks and engine put together, written as pairs, interruptible at any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ...engine import Pair, degrade, degrade_batch, degrade_pairs
from ...errors import PydegradeError
from ...files.dataset import CropReader, Crops, HrImages
from ...files.pixels import Pixels, to_float, to_uint8
from ...files.sample_manifest import PairStore
from ...native import binding
from ...native.packed import Layout
from ...plan import make_plan
from ...shell.errors import os_error_text
from ...tasks.several import tasks_of_crops
from ...tasks.task import TaskBatch
from .sample_record import Finished, SourceDigests

WINDOW = 4096
"""Samples are worked on in the order of their images within windows of this many, so that each photograph of a large
folder is decoded once per window; which sample gets which bits does not depend on it."""

PIXELS_AT_ONCE = 2**24
"""HR pixels that `degrade_one` gives to the engine at a time: 200 MB."""


@dataclass(frozen=True)
class SampleRequest:
    """What is to be made: row r of `tasks` on row r of `crops`.

    Attributes:
        tasks: N tasks.
        crops: N crops.
        images: what the crops refer to.
        more: further tasks on the same crops, N by the name of their LR images.
        further: crops 1, 2, ... of each sample, beside `crops`, N each; the same task degrades them.
        batch: samples per call of the engine; memory, not results, depends on it.
        device: "cpu" or "cuda".
        cache_bytes: memory for decoded photographs.
        max_pixels: limit of a single image.
    """

    tasks: TaskBatch
    crops: Crops
    images: HrImages
    more: Mapping[str, TaskBatch] = field(default_factory=dict)
    further: tuple[Crops, ...] = ()
    batch: int = 48
    device: str = "cpu"
    cache_bytes: int = 2**30
    max_pixels: int = 2**27

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of `kinds_of`."""
        return kinds_of(self.tasks, self.more, 1 + len(self.further))


@dataclass(frozen=True)
class Outcome:
    """What happened beside the pairs.

    Attributes:
        skipped: row of the request -> why it was skipped: its photograph cannot be decoded.
        notes: one line for each photograph that had to be converted ("a.png: alpha channel dropped").
    """

    skipped: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def kinds_of(tasks: TaskBatch, more: Iterable[str] = (), crops: int = 1) -> tuple[str, ...]:
    """Names of the images of one sample: "hr" is the clean crop, "lr" the degraded image, and "target" (only in spaces
    that sharpen) what a loss should compare with instead of hr.

    Args:
        tasks: of the run.
        more: names of further LR images of each crop, which follow.
        crops: of each sample: behind the images of the first come "hr_crop2" and so on.
    """
    first = (*(("hr", "lr") if tasks.space.target == "hr" else ("hr", "target", "lr")), *more)
    return tuple(_of_crop(kind, crop) for crop in range(crops) for kind in first)


def _of_crop(kind: str, crop: int) -> str:
    return f"{kind}_crop{crop + 1}" if crop else kind


def write_pairs(
    request: SampleRequest,
    store: PairStore,
    pending: NDArray[np.int64],
    digests: SourceDigests,
    finished: Callable[[NDArray[np.int64], dict[int, Finished]], None],
) -> Outcome:
    """Make the pending samples and store them.

    Decoding, cutting and converting the next batch, the engine, and encoding of the previous batch run at the same time.

    Args:
        request: what to make.
        store: where to put it.
        pending: rows of the request that are not stored yet.
        digests: of the images.
        finished: called with the rows of each batch once they are stored, and what the record says about each sample.
    """
    reader = CropReader(request.images, request.cache_bytes, request.max_pixels)
    places = (request.crops, *request.further)
    skipped: dict[int, str] = {}
    batches = list(_batches(request, pending))

    def cut(rows: NDArray[np.int64]) -> tuple[list[list[Pixels] | str], torch.Tensor]:
        found = [crops_or_reason(reader, request.images, places, int(row), digests) for row in rows]
        squares = [square for crops in found if not isinstance(crops, str) for square in crops]
        return found, _batch_of(squares, request.crops.side_px)

    def put(row: int, hr: list[Pixels], made: Mapping[str, torch.Tensor]) -> Finished:
        images = {_of_crop("hr", crop): square for crop, square in enumerate(hr)}
        for kind, of_crops in made.items():
            images |= {_of_crop(kind, crop): to_uint8(image) for crop, image in enumerate(of_crops)}
        sha256 = store.put(int(request.tasks.indices[row]), images)
        return Finished(sha256, digests.known(int(request.crops.image[row])))

    def settle(rows: NDArray[np.int64], written: list[Future[Finished]]) -> None:
        made = {int(request.tasks.indices[row]): future.result() for row, future in zip(rows, written)}
        store.flush()
        finished(rows, made)

    with ThreadPoolExecutor(max_workers=binding.get_num_threads() + 1) as pool:
        next_crops = pool.submit(cut, batches[0]) if batches else None
        previous: tuple[NDArray[np.int64], list[Future[Finished]]] | None = None
        try:
            for number, rows in enumerate(batches):
                assert next_crops is not None
                crops, hr = next_crops.result()
                next_crops = pool.submit(cut, batches[number + 1]) if number + 1 < len(batches) else None
                skipped.update({int(row): reason for row, reason in zip(rows, crops) if isinstance(reason, str)})
                usable = [(int(row), squares) for row, squares in zip(rows, crops) if not isinstance(squares, str)]
                made = _degrade(hr, request, [row for row, _ in usable])
                if previous is not None:
                    settle(*previous)
                written = [
                    pool.submit(put, row, squares, {kind: images[at] for kind, images in made.items()})
                    for at, (row, squares) in enumerate(usable)
                ]
                previous = (np.array([row for row, _ in usable], np.int64), written)
        finally:
            # Also after Ctrl-C: what is being encoded gets finished and counted.
            if previous is not None:
                settle(*previous)
    return Outcome(skipped, tuple(sorted(reader.notes)))


def degrade_one(hr: torch.Tensor, tasks: TaskBatch) -> Iterator[tuple[range, list[Pair]]]:
    """Every task on one image [3, H, W], a few tasks at a time: (rows of `tasks`, their results)."""
    at_once = max(1, PIXELS_AT_ONCE // (hr.shape[1] * hr.shape[2]))
    for start in range(0, len(tasks), at_once):
        rows = range(start, min(start + at_once, len(tasks)))
        yield rows, degrade_pairs([hr] * len(rows), tasks.take(np.array(rows)))


def memory_of_one(height: int, width: int, tasks: TaskBatch, with_target: bool = True) -> int:
    """Bytes that `degrade_one` takes at most for an image of that size, the image in floats and results included.

    Args:
        height, width: of the image, px; cut to multiples of the scale.
        tasks: at least one.
        with_target: whether targets are written too.
    """
    scale = tasks.space.scale
    height, width = height - height % scale, width - width % scale
    if min(height, width) < scale:
        return 0  # refused when it is read
    at_once = min(len(tasks), max(1, PIXELS_AT_ONCE // (height * width)))
    sides = np.full(len(tasks), height, np.int32), np.full(len(tasks), width, np.int32)
    plan = make_plan(tasks, Layout.of_sizes(*sides))
    hr, lr = height * width, height * width // scale**2
    sizes = (plan.step_height.astype(np.int64) * plan.step_width).tolist()
    largest = max([hr, *sizes]) if len(sizes) > len(tasks) else 0  # a single step goes from image to result
    # The image, its copies in the batch, targets and results; the buffers between which a chain goes back and forth, one
    # image at a time on each thread; what a result becomes on its way to a file.
    target = hr if tasks.space.target != "hr" else 0
    threads = min(at_once, binding.get_num_threads())
    floats = hr + at_once * (hr + target + lr) + 2 * threads * largest
    written = 6 * (hr if with_target else lr)
    return 12 * floats + written


def _batches(request: SampleRequest, pending: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for begin in range(0, len(pending), WINDOW):
        window = pending[begin : begin + WINDOW]
        ordered = window[np.argsort(request.crops.image[window], kind="stable")]
        for start in range(0, len(ordered), request.batch):
            yield ordered[start : start + request.batch]


def crop_or_reason(
    reader: CropReader, images: HrImages, crops: Crops, row: int, digests: SourceDigests | None = None
) -> Pixels | str:
    """`crops_or_reason` of one crop."""
    found = crops_or_reason(reader, images, (crops,), row, digests)
    return found if isinstance(found, str) else found[0]


def crops_or_reason(
    reader: CropReader, images: HrImages, places: Sequence[Crops], row: int, digests: SourceDigests | None = None
) -> list[Pixels] | str:
    """The crops of a sample, all of one image, or one line that says why they cannot be had: damaged, gone, changed (where
    `digests` say from what), too large for the memory."""
    position = int(places[0].image[row])
    try:
        if digests is not None:
            digests.of(position)
        squares = [reader.read(crops, row) for crops in places]
        if digests is not None:
            digests.of(position)
        return squares
    except PydegradeError as error:
        return str(error)
    except OSError as error:
        return os_error_text(error)
    except MemoryError:
        return f"{images.images[position].place}: out of memory"


def _batch_of(crops: list[Pixels], side_px: int) -> torch.Tensor:
    """float32 [N, 3, side_px, side_px] of crops."""
    batch = torch.empty(len(crops), 3, side_px, side_px)
    for image, crop in zip(batch, crops):
        to_float(crop, out=image)
    return batch


def _degrade(hr: torch.Tensor, request: SampleRequest, rows: list[int]) -> dict[str, torch.Tensor]:
    """All images of some samples but HR, by the kinds of a first crop, [N, crops, 3, h, w] each."""
    if not rows:
        return {}
    crops = 1 + len(request.further)
    hr, chosen = hr.to(torch.device(request.device)), np.array(rows)
    pairs = degrade_batch(hr, tasks_of_crops(request.tasks.take(chosen), crops))
    made = {"lr": pairs.lr} if request.tasks.space.target == "hr" else {"target": pairs.target, "lr": pairs.lr}
    for name, others in request.more.items():
        made[name] = degrade(hr, tasks_of_crops(others.take(chosen), crops))
    return {kind: images.unflatten(0, (len(rows), crops)) for kind, images in made.items()}

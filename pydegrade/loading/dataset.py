"""`PairDataset` and `PairStream`: training pairs for torch's DataLoader, pure functions of sample numbers."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ..engine import degrade_batch
from ..errors import ImageError, PydegradeError, shown
from ..files.dataset import Augment, CropReader, Crops, draw_crops, find_images, fitting_px
from ..native import rng
from ..tasks.sampler import sample
from ..tasks.several import MOST_CROPS, further_spaces, tasks_of_crops
from ..tasks.space import Space
from .numbers import check_rank, training_rank

MOST_ATTEMPTS = 64
"""Draws of another image for a sample whose image cannot be read; after them most images are gone."""

Item = dict[str, Any]


class PairDataset(Dataset[Item]):
    """A map-style dataset of training pairs: item i is crop, task and noise of sample number epoch * length + i.

        pairs = pydegrade.PairDataset("realesrgan-x4", "DF2K", length=100_000)
        loader = DataLoader(pairs, batch_size=16, shuffle=True, num_workers=4)
        for epoch in range(10):
            pairs.set_epoch(epoch)
            for batch in loader: ...

    An item is a dictionary: "lr" float32 [3, h, w], "target" float32 [3, H, W] (the HR crop, sharpened where the space says
    so), "index" (the sample number) and, if wanted, "hr" and "address". Every item is a function of space, seed, number
    and the list of images: workers, ranks, order and batches change nothing. A batch that DataLoader asks for at once is
    degraded at once. An image that cannot be read is warned of once, and its samples draw another one.

    Args:
        space: a Space, the name of a preset, or a path to a TOML file.
        hr: folder (searched recursively), file or LMDB of clean images, or several; empty: photographs of scikit-image.
        length: samples of an epoch; by default the number of images.
        seed: of tasks and crops, whole number in [0, 2^63).
        crop_px: side of the HR crops, a multiple of the scale; by default the space's, or what nine tenths of the images
            hold. Smaller images are left out.
        augment: "none", "hflip" or "dihedral".
        with_hr, with_address: also give the HR crop, and the address of the task.
        more: further LR images of the same HR crops, a space for each name: {"lr_large": "codeformer-large"}. Their tasks
            are those of the sample numbers at `stream_seed(seed, name)`, so that they share nothing with "lr"; their
            addresses stand under "lr_large_address".
        crops: squares of the same image for each sample, 1 to 64, mirrored alike and degraded by one task, each with a
            noise field of its own. With more than one "lr", "target", "hr" and those of `more` are [crops, 3, ...], and
            addresses are those of the first crop.
        cache_mb: memory for decoded images, of each process.
        step: training step, for spaces with schedules; `PairStream` has its own.
    Raises:
        PydegradeError: no such space, no usable image, a side that does not fit.
    """

    def __init__(
        self,
        space: Space | str | Path,
        hr: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        *,
        length: int | None = None,
        seed: int = 0,
        crop_px: int | None = None,
        augment: Augment = "hflip",
        with_hr: bool = False,
        with_address: bool = False,
        cache_mb: int = 256,
        step: int = 0,
        more: Mapping[str, Space | str | Path] | None = None,
        crops: int = 1,
    ) -> None:
        self.space = space if isinstance(space, Space) else Space.load(space)
        self.seed = rng.check_seed(seed)
        self.more = further_spaces(more or {}, self.seed)
        """Space and seed of further LR images, by name."""
        if not _whole(crops, 1) or crops > MOST_CROPS:
            raise PydegradeError(f"PairDataset: crops must be a whole number in [1, {MOST_CROPS}], got {shown(crops)}")
        self.crops = int(crops)
        if crop_px is not None and (not _whole(crop_px, 1) or crop_px % self.space.scale):
            raise PydegradeError(
                f"PairDataset: crop_px must be a multiple of the scale {self.space.scale}, got {shown(crop_px)}"
            )
        sources = [hr] if isinstance(hr, (str, os.PathLike)) else hr
        if not isinstance(sources, Sequence) or not all(isinstance(source, (str, os.PathLike)) for source in sources):
            raise TypeError(f"PairDataset: hr must be a path or a list of paths, got {shown(hr)}")
        side_px = crop_px or fitting_px(find_images(sources, side_px=self.space.scale), self.space)[0]
        for name, other in self.more.items():
            if side_px % other.space.scale:
                raise PydegradeError(
                    f"PairDataset: crop_px must be a multiple of the scale {other.space.scale} of {name!r}, got {side_px}"
                )
        self.images = find_images(sources, side_px=side_px)
        """What crops are cut from, and what was left out."""
        self.crop_px = side_px
        self.length = len(self.images.images) if length is None else length
        if not _whole(self.length, 1):
            raise PydegradeError(f"PairDataset: length must be a whole number >= 1, got {shown(length)}")
        self.augment, self.with_hr, self.with_address, self.step = augment, with_hr, with_address, step
        draw_crops(self.images, self.seed, [0], side_px, augment)  # refuses an unknown augment now
        # Shared, so that workers that stay over epochs see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._cache_bytes = cache_mb * 10**6
        self._reader: tuple[int, CropReader] | None = None
        self._warned: set[int] = set()

    def __len__(self) -> int:
        return self.length

    @property
    def epoch(self) -> int:
        """Number of the epoch, 0 at first."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Let items be those of another epoch; before the loader's iterator is made, as for DistributedSampler."""
        if not _whole(epoch, 0) or (epoch + 1) * self.length >= 2**63:
            raise PydegradeError(f"PairDataset: epoch must be a whole number >= 0, got {shown(epoch)}")
        self._epoch.fill_(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The epoch, for torchdata's StatefulDataLoader."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the epoch of a state."""
        self.set_epoch(_entry("PairDataset", state, "epoch"))

    def __getitem__(self, position: int) -> Item:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[Item]:
        """Several items, degraded at once; DataLoader calls this for a batch."""
        try:
            given = np.array([operator.index(position) for position in positions], np.int64)
        except (TypeError, OverflowError):
            raise TypeError(f"PairDataset: items must be whole numbers, got {shown(positions)}") from None
        outside = (given < -self.length) | (given >= self.length)
        if outside.any():
            # IndexError ends Python's loops over a sequence.
            raise IndexError(f"PairDataset: item {given[np.argmax(outside)]} of {self.length}")
        batch = self.batch(self.epoch * self.length + given % self.length, self.step)
        return [{name: values[row] for name, values in batch.items()} for row in range(len(given))]

    def batch(self, numbers: NDArray[np.int64], step: int = 0) -> Item:
        """The items of some sample numbers, stacked: tensors [B, ...], a list of addresses.

        Args:
            numbers: int64 [B].
            step: training step, for spaces with schedules.
        Raises:
            ImageError: MOST_ATTEMPTS images in a row cannot be read.
        """
        tasks = sample(self.space, self.seed, numbers, step=step)
        hr = torch.from_numpy(self._cut(tasks.indices)) / 255
        pair = degrade_batch(hr, tasks_of_crops(tasks, self.crops))
        images = {"lr": pair.lr, "target": pair.target, **({"hr": hr} if self.with_hr else {})}
        addresses = {"address": tasks.addresses} if self.with_address else {}
        for name, further in self.more.items():
            others = further.tasks(numbers, step)
            images[name] = degrade_batch(hr, tasks_of_crops(others, self.crops)).lr
            if self.with_address:
                addresses[f"{name}_address"] = others.addresses
        if self.crops > 1:
            images = {name: made.unflatten(0, (len(tasks), self.crops)) for name, made in images.items()}
        return {**images, "index": torch.from_numpy(tasks.indices), **addresses}

    def _cut(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 [B * crops, 3, side, side]."""
        side = self.crop_px
        out = np.empty((len(numbers), self.crops, 3, side, side), np.uint8)
        drawn = self._drawn(numbers)
        for row in range(len(numbers)):
            places, at = drawn, row
            for attempt in range(1, MOST_ATTEMPTS + 1):
                image = int(places[0].image[at])
                if image not in self._warned:
                    try:
                        for place, crop in enumerate(places):
                            np.copyto(out[row, place], self._opened().view(crop, at).transpose(2, 0, 1))
                        break
                    except ImageError as error:
                        self._warned.add(image)
                        warnings.warn(f"left out: {error}", stacklevel=2)
                places, at = self._drawn(numbers[row : row + 1], attempt), 0
            else:
                raise ImageError(f"{self.images.origin}: {MOST_ATTEMPTS} images in a row cannot be read")
        return out.reshape(-1, 3, side, side)

    def _drawn(self, numbers: NDArray[np.int64], attempt: int = 0) -> list[Crops]:
        """The squares of some samples, one entry for each of their crops."""
        return [
            draw_crops(self.images, self.seed, numbers, self.crop_px, self.augment, attempt=attempt, place=place)
            for place in range(self.crops)
        ]

    def _opened(self) -> CropReader:
        """The reader of this process: a worker that was forked must not use its parent's locks and files."""
        if self._reader is None or self._reader[0] != os.getpid():
            self._reader = os.getpid(), CropReader(self.images, self._cache_bytes)
        return self._reader[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def stream(
        self, batch: int, start: int = 0, steps: int | None = None, *, rank: int | None = None, world: int | None = None
    ) -> PairStream:
        """The pairs as an endless stream of whole batches, which resumes at any step; see `PairStream`."""
        return PairStream(self, batch, start, steps, rank=rank, world=world)


class PairStream(IterableDataset[Item]):
    """An iterable dataset of whole batches, for `DataLoader(stream, batch_size=None, num_workers=...)`.

    Step t of `world` processes holds the sample numbers t * batch * world and on; this process has its `batch` of them. The
    batches come in the order of the steps and have the same bits for any number of workers, so that a job resumes with
    `start` alone. `state_dict` holds the step that follows (in a worker: the worker's next), as torchdata's
    StatefulDataLoader wants it; with workers and a plain DataLoader, count the steps and use `start`.

    Args:
        pairs: what to take samples from; its length and epoch do not count.
        batch: pairs of one step and process.
        start: first step.
        steps: number of the steps; None: without an end.
        rank, world: of this process; by default torch.distributed's or torchrun's, asked when the stream is made.
    """

    def __init__(
        self,
        pairs: PairDataset,
        batch: int,
        start: int = 0,
        steps: int | None = None,
        *,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        if not isinstance(pairs, PairDataset):
            raise TypeError(f"PairStream: pairs must be a PairDataset, got {shown(pairs)}")
        for name, value, low in (("batch", batch, 1), ("start", start, 0), ("steps", steps, 0)):
            if not _whole(value, low) and not (name == "steps" and value is None):
                raise PydegradeError(f"PairStream: {name} must be a whole number >= {low}, got {shown(value)}")
        self.pairs, self.batch = pairs, batch
        self.rank, self.world = check_rank("PairStream", rank, world) or training_rank()
        self._next = start
        self._end = None if steps is None else start + steps
        self._of_worker = False

    def numbers(self, step: int) -> NDArray[np.int64]:
        """Sample numbers of this process at a step, int64 [batch]."""
        first = (step * self.world + self.rank) * self.batch
        return np.arange(first, first + self.batch, dtype=np.int64)

    def __iter__(self) -> Iterator[Item]:
        # DataLoader asks its workers in turn, so that worker w of n has every n-th step.
        info = get_worker_info()
        stride = 1 if info is None else info.num_workers
        if info is not None and not self._of_worker:
            self._next, self._of_worker = self._next + info.id, True
        while self._end is None or self._next < self._end:
            step = self._next
            batch = self.pairs.batch(self.numbers(step), step)
            self._next = step + stride
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The next step, and whether it is a worker's own; plain values."""
        return {"step": self._next, "of_worker": self._of_worker}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at the step of a state."""
        step = _entry("PairStream", state, "step")
        if not _whole(step, 0):
            raise PydegradeError(f"PairStream: step must be a whole number >= 0, got {shown(step)}")
        # Any other process's next step is the first of all workers together.
        self._next, self._of_worker = step, bool(state.get("of_worker")) and get_worker_info() is not None


def _whole(value: Any, low: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= low)


def _entry(where: str, state: Any, name: str) -> Any:
    if not isinstance(state, Mapping) or name not in state:
        raise PydegradeError(f"{where}: expected a state with {name!r}, got {shown(state)}")
    return state[name]

"""From what was read to what is learned from: floats on the device, degraded by a task per sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import pydegrade

from ..data.batch import NO_EXTRA, Batch
from ..data.source import RawBatch
from ..methods.contract import Method


@dataclass(frozen=True)
class Planned:
    """What was read for a step, and what is to be done with it.

    Attributes:
        raw: images.
        tasks: one per sample; None where pairs come from disk.
        hr_side_px: as `degraded` takes it.
        prepared: the tasks planned for these images; None where `degraded` plans them itself.
        labels: what the method adds to `Batch.extra`, on the CPU.
    """

    raw: RawBatch
    tasks: pydegrade.TaskBatch | None
    hr_side_px: int | None
    prepared: pydegrade.Prepared | None
    labels: Mapping[str, Tensor]


class PlannedStream:
    """The batches of a stream with tasks and plans; on CUDA those of the next step are made while this one runs.

    What a step gets follows from its number and the files alone, so nothing of this is part of a state. An error belongs to
    the step that it was met for. At most one batch more exists at a time.

    Args:
        batches: from `pytrain.data.source.stream`; closed by its owner, after this.
        method: chooses the tasks.
        device: of the run.
        ahead: whether a thread works ahead; None: on CUDA, where the host would be waited for. A CPU has no time to spare.
    """

    def __init__(
        self, batches: Iterator[RawBatch], method: Method, device: torch.device, ahead: bool | None = None
    ) -> None:
        self._batches, self._method, self._device = batches, method, device
        is_ahead = device.type == "cuda" if ahead is None else ahead
        self._thread = ThreadPoolExecutor(1, "pytrain-plan") if is_ahead else None
        self._next: Future[Planned | None] | None = None

    def __iter__(self) -> PlannedStream:
        return self

    def __next__(self) -> Planned:
        if self._thread is None:
            planned = self._made(prepares=False)
        else:
            waiting = self._next or self._thread.submit(self._made, prepares=True)
            self._next = None
            planned = waiting.result()
            if planned is not None:
                self._next = self._thread.submit(self._made, prepares=True)
        if planned is None:
            raise StopIteration
        return planned

    def rest(self) -> None:
        """Return when the thread does nothing; it does nothing until the next batch is asked for."""
        if self._next is not None:
            wait([self._next])

    def close(self) -> None:
        """Wait for the thread, which may be reading."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _made(self, prepares: bool) -> Planned | None:
        """The next step's; None behind the last."""
        raw = next(self._batches, None)
        if raw is None:
            return None
        tasks, side = self._method.select(raw.step, raw.indices), self._method.hr_side_px(raw.step)
        prepared = None
        if prepares and tasks is not None:
            _, channels, height, width = raw.images["hr"].shape
            if side is not None:
                height, width = min(side, height), min(side, width)
            prepared = pydegrade.prepare(tasks, height, width, self._device, channels)
        labels = NO_EXTRA if tasks is None else self._method.labels(raw.step, tasks)
        if self._device.type == "cuda":
            # Copies from page-locked memory are queued; for others the host waits.
            raw = replace(raw, images={name: image.pin_memory() for name, image in raw.images.items()})
            labels = {name: label.pin_memory() for name, label in labels.items()}
        return Planned(raw, tasks, side, prepared, labels)


def degraded(planned: Planned, device: torch.device) -> Batch:
    """A batch from the images of a step.

    Args:
        planned: uint8 images by name, "hr" always, "lr" where there are no tasks, or of the samples that are real pairs; a
            task per sample, by which a real pair is not degraded; only the top left square of `hr_side_px` of every HR crop
            counts, where it is a number.
        device: of the run.
    """
    raw, tasks, hr_side_px = planned.raw, planned.tasks, planned.hr_side_px
    images = {name: to_float(image.to(device, non_blocking=True)) for name, image in raw.images.items()}
    hr = images.pop("hr")
    if hr_side_px is not None:
        hr = hr[..., :hr_side_px, :hr_side_px].contiguous()
    if tasks is None:
        lr = images.pop("lr")
        return Batch(raw.indices, lr, hr, hr, None, images)
    prepared = planned.prepared
    images |= {name: label.to(device, non_blocking=True) for name, label in planned.labels.items()}
    pair = pydegrade.degrade_batch(hr, tasks) if prepared is None else prepared.degrade_batch(hr)
    lr = pair.lr
    if raw.paired is not None:
        chosen = torch.from_numpy(raw.paired).to(device, non_blocking=True)[:, None, None, None]
        lr = torch.where(chosen, images.pop("lr"), lr)
    return Batch(raw.indices, lr, pair.target, hr, tasks, images, raw.paired)


def assemble(method: Method, raw: RawBatch, device: torch.device) -> Batch:
    """The batch that the loop makes of what was read, before `method.prepare`."""
    tasks = method.select(raw.step, raw.indices)
    labels = NO_EXTRA if tasks is None else method.labels(raw.step, tasks)
    return degraded(Planned(raw, tasks, method.hr_side_px(raw.step), None, labels), device)


def to_float(image: Tensor) -> Tensor:
    """uint8 -> float32 k / 255, the float32 nearest to the quotient, as everywhere in pydegrade."""
    return image.to(torch.float32).div_(255.0)

"""From what was read to what is learned from: floats on the device, degraded by a task per sample."""

from __future__ import annotations

import torch
from torch import Tensor

import pydegrade

from ..data.batch import Batch
from ..data.source import RawBatch
from ..methods.contract import Method


def degraded(raw: RawBatch, tasks: pydegrade.TaskBatch | None, hr_side_px: int | None, device: torch.device) -> Batch:
    """A batch from the images of a step.

    Args:
        raw: uint8 images by name; "hr" always, "lr" where there are no tasks.
        tasks: one per sample; None where pairs come from disk.
        hr_side_px: only the top left square of this side of every HR crop counts; None: all of it.
        device: of the run.
    """
    images = {name: to_float(image.to(device, non_blocking=True)) for name, image in raw.images.items()}
    hr = images.pop("hr")
    if hr_side_px is not None:
        hr = hr[..., :hr_side_px, :hr_side_px].contiguous()
    if tasks is None:
        lr = images.pop("lr")
        return Batch(raw.indices, lr, hr, hr, None, images)
    pair = pydegrade.degrade_batch(hr, tasks)
    return Batch(raw.indices, pair.lr, pair.target, hr, tasks, images)


def assemble(method: Method, raw: RawBatch, device: torch.device) -> Batch:
    """The batch that the loop makes of what was read, before `method.prepare`."""
    return degraded(raw, method.select(raw.step, raw.indices), method.hr_side_px(raw.step), device)


def to_float(image: Tensor) -> Tensor:
    """uint8 -> float32 k / 255, the float32 nearest to the quotient, as everywhere in pydegrade."""
    return image.to(torch.float32).div_(255.0)

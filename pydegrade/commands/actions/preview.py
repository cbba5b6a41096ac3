"""The contact sheet of `degrade preview`."""

from __future__ import annotations

import numpy as np
import torch

from ...engine import trace
from ...files.dataset import CropReader
from ...files.pixels import Pixels, to_float
from ...sheet import render_sheet, stage_rows
from ...tasks.task import TaskBatch
from .pairs import crop_or_reason
from .sources import CroppedImages


def preview_sheet(
    tasks: TaskBatch, found: CroppedImages, device: torch.device, max_pixels: int, columns: int = 0
) -> tuple[Pixels | None, list[str]]:
    """One row per task, the image after every slot.

    Args:
        tasks: N tasks.
        found: where crops come from: those that `degrade sample` cuts for these tasks.
        device: that runs the tasks.
        max_pixels: limit of a single image.
        columns: stages in a line; 0: all.
    Returns:
        (sheet or None when no row is left, one line for each row whose image cannot be had).
    """
    crops = found.crops_of(tasks)
    reader = CropReader(found.images, max_pixels=max_pixels)
    cut = [crop_or_reason(reader, found.images, crops, row) for row in range(len(tasks))]
    usable = [row for row, crop in enumerate(cut) if not isinstance(crop, str)]
    failed = [crop for crop in cut if isinstance(crop, str)]
    if not usable:
        return None, failed
    images = [to_float(crop).to(device) for crop in cut if not isinstance(crop, str)]
    shown = tasks.take(np.array(usable))
    heading = (
        f"{shown.space.name}@{shown.space.digest[:8]}, scale {shown.space.scale}: each row one task, from HR to LR"
    )
    return render_sheet(stage_rows(shown, trace(images, shown)), heading, most_columns=columns), failed

"""Sharpen: unsharp masking with a soft mask, as the targets of Real-ESRGAN are sharpened."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike

from .arguments import check_images, numbers
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .library import define_compiled, run_compiled

# ---- Declaration


@decided_by("weight")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = columns["weight"] != 0
    return {"radius_px": on, "threshold_8bit": on}


OP = Op(
    name="sharpen",
    columns=(
        Column("weight", "Share of the residual that is added; 0 leaves the image alone.", 0.0, 4.0),
        Column(
            "radius_px", "Length of the Gaussian; even lengths are raised by one.", 0, 100, neutral=50, integer=True
        ),
        Column("threshold_8bit", "Residuals up to this are left alone.", 0.0, 255.0, neutral=10.0),
    ),
    active=_active,
    switch="weight",
)


define_compiled("sharpen")  # no gradient: targets are data


# ---- Public function


def sharpen(
    images: torch.Tensor,
    weight: float | ArrayLike | torch.Tensor = 0.5,
    radius_px: int | ArrayLike | torch.Tensor = 50,
    threshold_8bit: float | ArrayLike | torch.Tensor = 10.0,
) -> torch.Tensor:
    """Unsharp masking: I + weight (I - G * I) where the difference exceeds the threshold, with soft edges.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA, in [0, 1]; any sides >= 1.
        weight: number or [B], 0 to 4; 0 copies the image.
        radius_px: number or [B], 0 to 100: length of the Gaussian, raised to odd; its sigma follows OpenCV's rule
            0.3 ((length - 1) / 2 - 1) + 0.8, so 50 means 51 taps with sigma 8.
        threshold_8bit: number or [B], 0 to 255.
    Returns:
        [B, C, H, W] float32 in [0, 1].
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    Source: USMSharp of Real-ESRGAN. Unlike the original, sides of 25 px and less work: the border is reflected repeatedly.
    """
    check_images("sharpen", images)
    batch = len(images)
    return run_compiled(
        "sharpen",
        images,
        weight=numbers("sharpen", "weight", weight, batch, 0, 4).astype(np.float32),
        radius_px=numbers("sharpen", "radius_px", radius_px, batch, 0, 100, integer=True).astype(np.int32),
        threshold_8bit=numbers("sharpen", "threshold_8bit", threshold_8bit, batch, 0, 255).astype(np.float32),
    )

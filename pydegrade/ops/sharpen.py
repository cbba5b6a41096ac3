"""Sharpen: unsharp masking with a soft mask, as the targets of Real-ESRGAN are sharpened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..native import devices
from ..native.packed import dense_layout
from .arguments import beside, check_images, check_layout, check_rows, numbers
from .declaration import BoolArray, Column, Columns, Items, Op
from .library import define

# ---- Declaration


def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = columns["weight"] != 0
    return {"radius_px": on, "threshold_8bit": on}


def _neutral(columns: Columns) -> BoolArray:
    return np.asarray(columns["weight"] == 0)


def _params(columns: Columns, items: Items) -> Mapping[str, NDArray[Any]]:
    return {
        "weight": np.ascontiguousarray(columns["weight"], np.float32),
        "radius_px": np.ascontiguousarray(columns["radius_px"], np.int32),
        "threshold_8bit": np.ascontiguousarray(columns["threshold_8bit"], np.float32),
    }


OP = Op(
    name="sharpen",
    code=4,
    columns=(
        Column("weight", "Share of the residual that is added; 0 leaves the image alone.", 0.0, 4.0),
        Column(
            "radius_px", "Length of the Gaussian; even lengths are raised by one.", 0, 100, neutral=50, integer=True
        ),
        Column("threshold_8bit", "Residuals up to this are left alone.", 0.0, 255.0, neutral=10.0),
    ),
    active=_active,
    neutral=_neutral,
    params=_params,
    switch="weight",
)


# ---- Registration. weight, threshold_8bit float32 [B], radius_px int32 [B]. It has no gradient: targets are data.


def _sharpen(
    data: torch.Tensor,
    offset: torch.Tensor,
    height: torch.Tensor,
    width: torch.Tensor,
    channels: int,
    weight: torch.Tensor,
    radius_px: torch.Tensor,
    threshold_8bit: torch.Tensor,
) -> torch.Tensor:
    rows = check_layout("sharpen", data, offset, height, width, channels)
    weight, radius_px, threshold_8bit = check_rows(
        "sharpen", rows["count"], (weight, torch.float32), (radius_px, torch.int32), (threshold_8bit, torch.float32)
    )
    src = data.contiguous()
    out = torch.empty_like(src)
    devices.call(
        "sharpen", rows=rows, src=src, dst=out, weight=weight, radius_px=radius_px, threshold_8bit=threshold_8bit
    )
    return out


define("sharpen", "Tensor weight, Tensor radius_px, Tensor threshold_8bit", _sharpen)


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
    batch, channels = images.shape[:2]
    layout = dense_layout(images)
    arrays = (
        layout.offset,
        layout.height,
        layout.width,
        numbers("sharpen", "weight", weight, batch, 0, 4).astype(np.float32),
        numbers("sharpen", "radius_px", radius_px, batch, 0, 100, integer=True).astype(np.int32),
        numbers("sharpen", "threshold_8bit", threshold_8bit, batch, 0, 255).astype(np.float32),
    )
    tensors = [beside(images, values) for values in arrays]
    out: torch.Tensor = torch.ops.pydegrade.sharpen(images, *tensors[:3], channels, *tensors[3:])
    return out

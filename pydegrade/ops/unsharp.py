"""Unsharp masking with a radius in px: what leaves halos around edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike

from . import plain
from .blur import blur
from .declaration import BoolArray, Column, Columns, Op, decided_by


@decided_by("weight")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return dict.fromkeys(("sigma_px", "threshold_8bit"), columns["weight"] != 0)


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    if columns["weight"] == 0:
        return image
    # Three sigmas on either side; the trimmed kernel has no more.
    taps = min(2 * int(3.0 * columns["sigma_px"] + 1.0) + 1, 51)
    soft = blur(image[None], shape="iso", size_px=taps, sigma_x_px=columns["sigma_px"])[0]
    residual = image - soft
    halo = image + residual * columns["weight"]
    return torch.where(residual.abs() * 255.0 >= columns["threshold_8bit"], halo, image)


OP = Op(
    name="unsharp",
    columns=(
        Column("weight", "Factor on the residual; 0 leaves the image alone.", 0.0, 10.0),
        Column("sigma_px", "Width of the Gaussian.", 0.1, 8.0, neutral=2.0),
        Column("threshold_8bit", "Smaller residuals are left alone.", 0.0, 255.0),
    ),
    active=_active,
    apply=_apply,
    concurrent=True,
    switch="weight",
)


def unsharp(
    images: torch.Tensor,
    weight: float | ArrayLike | torch.Tensor = 1.0,
    sigma_px: float | ArrayLike | torch.Tensor = 2.0,
    threshold_8bit: float | ArrayLike | torch.Tensor = 0.0,
) -> torch.Tensor:
    """x + weight (x - G x) where 255 |x - G x| reaches the threshold; G a Gaussian mirrored at the borders. No gradient.

    `sharpen` is Real-ESRGAN's for targets, with soft edges; this one is for low-resolution images that somebody sharpened.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA.
        weight: number or [B], 0 to 10; sigma_px: 0.1 to 8; threshold_8bit: 0 to 255.
    Returns:
        [B, C, H, W] float32, not clipped.
    Source: `lq_usm` of traiNNer-redux, `unsharp_mask` of wtp_dataset_destroyer.
    """
    return plain.run(OP, images, {"weight": weight, "sigma_px": sigma_px, "threshold_8bit": threshold_8bit})

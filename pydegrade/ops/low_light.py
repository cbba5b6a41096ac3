"""Low light: less light where there is little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike

from . import plain
from .blur import blur
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .elementary import power


@decided_by("gamma")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return {"smooth_px": columns["gamma"] != 1}


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    gamma, smooth = columns["gamma"], columns["smooth_px"]
    if gamma == 1.0:
        return image
    light = image.clamp(0.0, 1.0).amax(0, keepdim=True)
    if smooth > 0.0:
        taps = min(2 * int(3.0 * smooth + 1.0) + 1, 51)
        light = blur(light[None], shape="iso", size_px=taps, sigma_x_px=smooth)[0].clamp(0.0, 1.0)
    return image * power(light, gamma - 1.0)


OP = Op(
    name="low_light",
    columns=(
        Column("gamma", "Exponent of the light; 1 leaves the image alone.", 1.0, 8.0, neutral=1.0),
        Column("smooth_px", "Width of the Gaussian that smooths the light.", 0.0, 8.0, neutral=4.0),
    ),
    active=_active,
    apply=_apply,
    concurrent=True,
    switch="gamma",
)


def low_light(
    images: torch.Tensor,
    gamma: float | ArrayLike | torch.Tensor = 2.0,
    smooth_px: float | ArrayLike | torch.Tensor = 4.0,
) -> torch.Tensor:
    """J / L * L^gamma with the light L = max of the channels, smoothed: reflectance stays, light falls. No gradient.

    Sensor noise is an op of its own: `noise` of kind gaussian or shot_read behind this one.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA; L is clipped to [0, 1].
        gamma: number or [B], 1 to 8; smooth_px: 0 to 8.
    Returns:
        [B, C, H, W] float32.
    Source: CDD-11 (Guo et al. 2024, OneRestore), which draws gamma in [2, 3] and adds noise of 0.03 to 0.08.
    """
    return plain.run(OP, images, {"gamma": gamma, "smooth_px": smooth_px})

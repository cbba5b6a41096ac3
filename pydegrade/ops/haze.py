"""Haze: light of the air in front of the scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike

from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .elementary import exp


@decided_by("beta")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return dict.fromkeys(("airlight", "depth_slope"), columns["beta"] != 0)


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    height = image.shape[1]
    # 1 at the top row, -1 at the bottom one: what is above is further away.
    y = 1.0 - (torch.arange(height, dtype=torch.float64) * 2.0 + 1.0) / height
    depth = 1.0 + y * columns["depth_slope"]
    through = exp(depth * -columns["beta"]).to(torch.float32).to(image.device)[:, None]
    return image * through + (1.0 - through) * columns["airlight"]


OP = Op(
    name="haze",
    columns=(
        Column("beta", "Optical thickness at the mean depth; 0 is clear.", 0.0, 4.0),
        Column("airlight", "Light of the air.", 0.0, 1.0, neutral=0.8),
        Column("depth_slope", "Depth is 1 + slope at the top, 1 - slope at the bottom.", -1.0, 1.0),
    ),
    active=_active,
    apply=_apply,
    concurrent=True,
    switch="beta",
)


def haze(
    images: torch.Tensor,
    beta: float | ArrayLike | torch.Tensor = 1.0,
    airlight: float | ArrayLike | torch.Tensor = 0.8,
    depth_slope: float | ArrayLike | torch.Tensor = 0.0,
) -> torch.Tensor:
    """J t + A (1 - t) with t = exp(-beta d), d a plane that rises from 1 - slope at the bottom to 1 + slope at the top.

    Without a depth map a plane stands in for it. No gradient.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA.
        beta: number or [B], 0 to 4; airlight: 0 to 1; depth_slope: -1 to 1.
    Returns:
        [B, C, H, W] float32, within the range of the image and the airlight.
    Source: Koschmieder's law; CDD-11 (Guo et al. 2024, OneRestore) draws beta in [1, 2] and the airlight in [0.6, 0.9].
    """
    return plain.run(OP, images, {"beta": beta, "airlight": airlight, "depth_slope": depth_slope})

"""Channel shift: planes of RGB or of YCbCr that do not lie upon each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import OpError
from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .ycc import rgb_of, ycc_of

Planes = Literal["off", "rgb", "ycc"]
PLANES: tuple[Planes, ...] = ("off", "rgb", "ycc")
_SHIFTS = ("x1_px", "y1_px", "x2_px", "y2_px", "x3_px", "y3_px")


@decided_by("planes")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return dict.fromkeys(_SHIFTS, columns["planes"] != 0)


def _neutral(columns: Columns) -> BoolArray:
    still = np.logical_and.reduce([columns[name] == 0 for name in _SHIFTS])
    return np.asarray((columns["planes"] == 0) | still)


def _moved(plane: torch.Tensor, x_px: int, y_px: int) -> torch.Tensor:
    height, width = plane.shape
    y = (torch.arange(height, device=plane.device) - y_px).clamp(0, height - 1)
    x = (torch.arange(width, device=plane.device) - x_px).clamp(0, width - 1)
    return plane[y][:, x]


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    if image.shape[0] != 3:
        raise OpError(f"channel_shift: images must have 3 channels, got {image.shape[0]}")
    if columns["planes"] == "off":
        return image
    ycc = columns["planes"] == "ycc"
    planes = ycc_of(image) if ycc else image
    moved = [_moved(planes[c], columns[f"x{c + 1}_px"], columns[f"y{c + 1}_px"]) for c in range(3)]
    return rgb_of(torch.stack(moved)) if ycc else torch.stack(moved)


OP = Op(
    name="channel_shift",
    columns=(
        Column("planes", "off, rgb, or ycc (Y, Cb, Cr of BT.601).", choices=PLANES, neutral="off"),
        *(
            Column(
                name,
                f"Plane {name[1]}: how far to the {'right' if name[0] == 'x' else 'bottom'}.",
                -64,
                64,
                integer=True,
            )
            for name in _SHIFTS
        ),
    ),
    active=_active,
    neutral=_neutral,
    apply=_apply,
    concurrent=True,
    switch="planes",
    switched_on="rgb",
)


def channel_shift(
    images: torch.Tensor,
    planes: Planes | Sequence[Planes] = "rgb",
    *,
    x1_px: int | ArrayLike | torch.Tensor = 0,
    y1_px: int | ArrayLike | torch.Tensor = 0,
    x2_px: int | ArrayLike | torch.Tensor = 0,
    y2_px: int | ArrayLike | torch.Tensor = 0,
    x3_px: int | ArrayLike | torch.Tensor = 0,
    y3_px: int | ArrayLike | torch.Tensor = 0,
) -> torch.Tensor:
    """Move each plane by whole pixels; what comes in from outside repeats the edge. In plain torch, no gradient.

    With "ycc" and x2 = x3 it is the delay of chroma in analog video.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA.
        planes: "rgb", "ycc" (Y, Cb, Cr of BT.601) or "off", one or B.
        x1_px, y1_px ... x3_px, y3_px: whole numbers or [B], -64 to 64, to the right and down, of the three planes.
    Returns:
        [B, 3, H, W] float32, not clipped.
    Source: `shift` of wtp_dataset_destroyer.
    """
    given = {name: value for name, value in locals().items() if name != "images"}
    return plain.run(OP, images, given)

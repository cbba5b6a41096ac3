"""Chroma subsampling without a codec: planes of colour at a part of the size, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from ..errors import OpError
from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .resize import resize
from .ycc import KR_KB, rgb_of, ycc_of

Subsampling = Literal["off", "422", "440", "420", "411", "410"]
Matrix = Literal["bt601", "bt709", "bt2020"]
Down = Literal["box", "bilinear", "lanczos3", "nearest"]
Up = Literal["nearest", "bilinear", "cubic"]
FACTORS = {"off": (1, 1), "422": (1, 2), "440": (2, 1), "420": (2, 2), "411": (1, 4), "410": (2, 4)}
"""Px per sample, down and across."""

_DOWN = {"box": "torch_area", "bilinear": "torch_bilinear_aa", "lanczos3": "lanczos3", "nearest": "torch_nearest_exact"}
_UP = {"nearest": "torch_nearest_exact", "bilinear": "torch_bilinear", "cubic": "catmull_rom"}


@decided_by("subsampling")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = columns["subsampling"] != 0
    return dict.fromkeys(("matrix", "down", "up"), on)


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    if image.shape[0] != 3:
        raise OpError(f"chroma: images must have 3 channels, got {image.shape[0]}")
    if columns["subsampling"] == "off":
        return image
    rows, across = FACTORS[columns["subsampling"]]
    height, width = image.shape[1:]
    planes = ycc_of(image, columns["matrix"])
    small = resize(planes[None, 1:], (-(-height // rows), -(-width // across)), mode=_DOWN[columns["down"]])  # type: ignore[arg-type]
    colour = resize(small, (height, width), mode=_UP[columns["up"]])  # type: ignore[arg-type]
    return rgb_of(torch.cat([planes[:1], colour[0]]), columns["matrix"])


OP = Op(
    name="chroma",
    columns=(
        Column("subsampling", "Of both planes of colour.", choices=tuple(FACTORS), neutral="off"),
        Column("matrix", "Whose Y, Cb, Cr.", choices=tuple(KR_KB), neutral="bt601"),
        Column("down", "Filter that makes the planes small.", choices=tuple(_DOWN), neutral="box"),
        Column("up", "Filter that makes them large again.", choices=tuple(_UP), neutral="bilinear"),
    ),
    active=_active,
    apply=_apply,
    concurrent=True,
    switch="subsampling",
)


def chroma(
    images: torch.Tensor,
    subsampling: Subsampling | Sequence[Subsampling] = "420",
    matrix: Matrix | Sequence[Matrix] = "bt601",
    down: Down | Sequence[Down] = "box",
    up: Up | Sequence[Up] = "bilinear",
) -> torch.Tensor:
    """Cb and Cr at a part of the size and back, Y as it is; in float, without rounding. No gradient.

    Filters are those of `pydegrade.ops.resize`: torch_area, torch_bilinear_aa, lanczos3, torch_nearest_exact down;
    torch_nearest_exact, torch_bilinear, catmull_rom up. Samples lie in the middle of their pixels (as JPEG's).

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA.
        subsampling: "422", "440", "420", "411", "410" (a quarter of the width, half of the height) or "off"; one or B, as
            all that follow.
        matrix: "bt601", "bt709" or "bt2020", full range.
        down: "box", "bilinear", "lanczos3" or "nearest".
        up: "nearest", "bilinear" or "cubic".
    Returns:
        [B, 3, H, W] float32, not clipped.
    Source: ITU-R BT.601-7, BT.709-6, BT.2020-2.
    """
    given = {name: value for name, value in locals().items() if name != "images"}
    return plain.run(OP, images, given)

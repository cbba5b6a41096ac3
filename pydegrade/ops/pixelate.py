"""Pixelate: blocks of one colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike

from . import plain
from .declaration import Column, Op
from .resize import resize


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    height, width = image.shape[1:]
    size = tuple(max(1, round(side / columns["block_px"])) for side in (height, width))
    if size == (height, width):
        return image
    small = resize(image[None], size, mode="torch_area")  # type: ignore[arg-type]
    return resize(small, (height, width), mode="torch_nearest_exact")[0]


OP = Op(
    name="pixelate",
    columns=(Column("block_px", "Side of a block; 1 is none.", 1.0, 64.0, neutral=1.0),),
    apply=_apply,
    concurrent=True,
    switch="block_px",
)


def pixelate(images: torch.Tensor, block_px: float | ArrayLike | torch.Tensor = 4.0) -> torch.Tensor:
    """Each block of the image becomes its mean: `torch_area` down, nearest px up (see `pydegrade.ops.resize`).

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA.
        block_px: number or [B], 1 to 64; sides are divided by it and rounded, so that whole blocks fill the image.
    Returns:
        [B, C, H, W] float32. No gradient.
    """
    return plain.run(OP, images, {"block_px": block_px})

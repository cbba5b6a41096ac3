"""Median: each value becomes the middle one of its neighbourhood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..native import binding
from . import plain
from .arguments import check_images
from .declaration import Column, Op

_MOST_VALUES = 2**24
"""Of neighbourhoods that are held at once, 64 MB."""


def _reflected(count: int, radius: int) -> torch.Tensor:
    """Indices -radius .. count + radius - 1, mirrored about the outermost pixels as often as needed."""
    index = np.arange(-radius, count + radius)
    if count == 1:
        return torch.from_numpy(np.zeros_like(index))
    index = np.mod(index, 2 * (count - 1))
    return torch.from_numpy(np.where(index < count, index, 2 * (count - 1) - index))


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    size = int(columns["size_px"])
    if size == 1:
        return image
    channels, height, width = image.shape
    if image.device.type == "cpu" and not bool(torch.isnan(image.sum())):
        out, sizes = torch.empty_like(image), {"planes": channels, "height": height, "width": width, "size": size}
        binding.call("median", src=image.contiguous().view(-1), dst=out.view(-1), **sizes)
        return out
    rows, across = (_reflected(side, size // 2).to(image.device) for side in (height, width))
    strip = max(1, _MOST_VALUES // (channels * width * size * size))
    out = torch.empty_like(image)
    for first in range(0, height, strip):
        last = min(first + strip, height)
        part = image[:, rows[first : last + size - 1]][:, :, across]
        windows = part.unfold(1, size, 1).unfold(2, size, 1).reshape(channels, last - first, width, size * size)
        out[:, first:last] = windows.median(-1).values
    return out


OP = Op(
    name="median",
    columns=(Column("size_px", "Side of the neighbourhood, odd; 1 is none.", 1, 15, neutral=1, integer=True),),
    apply=_apply,
    concurrent=True,
    switch="size_px",
)


def median(images: torch.Tensor, size_px: int | ArrayLike | torch.Tensor = 3) -> torch.Tensor:
    """The median of size_px x size_px values around each, channel by channel; mirrored at the borders (reflect_101).

    Compiled on the CPU. On CUDA, and of images with NaN, in plain torch: every neighbourhood is laid out, in strips of
    64 MB. No gradient.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA.
        size_px: odd whole number or [B], 1 to 15.
    Returns:
        [B, C, H, W] float32.
    """
    check_images(OP.name, images)
    sizes = plain.columns_of(OP, {"size_px": size_px}, len(images))["size_px"]
    if even := [size for size in sizes if size % 2 == 0]:
        raise ValueError(f"median: size_px must be odd, got {even[0]}")
    return plain.run(OP, images, {"size_px": size_px})

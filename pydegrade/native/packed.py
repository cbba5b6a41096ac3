"""Images of different sizes in one buffer: the form in which ops receive a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layout:
    """Sizes and places of the rows of a packed buffer.

    Attributes:
        offset: int64 [B], first float of each row.
        height, width: int32 [B], px.
        channels: planes per row.
    """

    offset: NDArray[np.int64]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    channels: int = 3

    @staticmethod
    def of_sizes(height: NDArray[Any], width: NDArray[Any], channels: int = 3) -> Layout:
        """Rows one after the other without gaps."""
        pixels = height.astype(np.int64) * width.astype(np.int64) * channels
        offset = np.zeros(len(pixels), np.int64)
        np.cumsum(pixels[:-1], out=offset[1:])
        return Layout(
            offset, np.ascontiguousarray(height, np.int32), np.ascontiguousarray(width, np.int32), int(channels)
        )

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def total(self) -> int:
        """Floats in the buffer."""
        if len(self) == 0:
            return 0
        return int(self.offset[-1]) + self.channels * int(self.height[-1]) * int(self.width[-1])

    def fields(self) -> dict[str, Any]:
        """`Rows` of csrc/core/rows.h."""
        return {
            "count": len(self),
            "channels": self.channels,
            "offset": self.offset,
            "height": self.height,
            "width": self.width,
        }


def pack(images: Sequence[torch.Tensor]) -> tuple[torch.Tensor, Layout]:
    """Copy images, each [C, H, W] float32, into one flat buffer [total]."""
    height = np.array([image.shape[1] for image in images], np.int32)
    width = np.array([image.shape[2] for image in images], np.int32)
    layout = Layout.of_sizes(height, width, int(images[0].shape[0]) if images else 3)
    if not images:
        return torch.empty(0), layout
    flat = [image.detach().reshape(-1) for image in images]
    if any(image.device.type != "cpu" for image in flat):
        return torch.cat(flat), layout
    # Not by torch: OpenMP's threads would wait for more, spinning, on the processors that ours run on next.
    return torch.from_numpy(np.concatenate([image.numpy() for image in flat])), layout


def unpack(data: torch.Tensor, layout: Layout) -> list[torch.Tensor]:
    """Views [C, H, W] of each row of a flat buffer."""
    views = []
    for offset, height, width in zip(layout.offset.tolist(), layout.height.tolist(), layout.width.tolist()):
        count = layout.channels * height * width
        views.append(data[offset : offset + count].view(layout.channels, height, width))
    return views


def dense_layout(images: torch.Tensor) -> Layout:
    """Layout of a contiguous [B, C, H, W] tensor seen as a packed buffer."""
    return _equal_rows(*images.shape)


@lru_cache(64)
def _equal_rows(batch: int, channels: int, height: int, width: int) -> Layout:
    # Many plans share it: nothing writes to the arrays of a layout.
    return Layout.of_sizes(np.full(batch, height, np.int32), np.full(batch, width, np.int32), channels)

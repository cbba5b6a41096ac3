"""The forms in which programs hold images: tensors and NumPy arrays, 8 bits and floats, alone and in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import shown
from ..native.given import native_order

Images = torch.Tensor | np.ndarray[Any, Any]
"""Tensors [C, H, W] or [B, C, H, W], arrays [H, W], [H, W, C] or [B, H, W, C]; uint8 or floating, full range 255 or 1."""


@dataclass(frozen=True)
class Form:
    """What images were before they became float32 [B, C, H, W].

    Attributes:
        dtype: of the tensor or array.
        array: a NumPy array, channels last.
        dimensions: how many the tensor or array had.
    """

    dtype: Any
    array: bool
    dimensions: int

    def of(self, batch: torch.Tensor) -> Any:
        """Images of a batch, float32 [B, C, h, w] in [0, 1], in this form; 8 bits are rounded half to even."""
        if not self.array:
            out = (
                batch.mul(255).round_().clamp_(0, 255).to(torch.uint8)
                if self.dtype == torch.uint8
                else batch.to(self.dtype)
            )
            return out if self.dimensions == 4 else out[0]
        values = batch.permute(0, 2, 3, 1).cpu().numpy()
        if self.dtype == np.uint8:
            values = np.clip(np.rint(values * np.float32(255)), 0, 255)
        values = np.ascontiguousarray(values.astype(self.dtype))
        if self.dimensions == 2:
            return values[0, :, :, 0]
        return values if self.dimensions == 4 else values[0]


def as_batch(where: str, images: Any) -> tuple[torch.Tensor, Form]:
    """float32 [B, C, H, W] of images in any form, 8-bit values divided by 255, and the form.

    Raises:
        TypeError: neither tensor nor array, or of another dtype. ValueError: another number of dimensions.
    """
    if isinstance(images, torch.Tensor):
        return _tensor(where, images.detach())
    if isinstance(images, np.ndarray):
        return _array(where, native_order(images))
    raise TypeError(f"{where}: images must be a tensor or a NumPy array, got {shown(images)}")


def _tensor(where: str, images: torch.Tensor) -> tuple[torch.Tensor, Form]:
    if images.dim() not in (3, 4):
        raise ValueError(f"{where}: images must be [C, H, W] or [B, C, H, W], got shape {list(images.shape)}")
    if images.layout != torch.strided or not (images.dtype == torch.uint8 or images.dtype.is_floating_point):
        raise TypeError(f"{where}: images must be dense, uint8 or floating, got {images.dtype}, {images.layout}")
    batch = images if images.dim() == 4 else images[None]
    form = Form(images.dtype, False, images.dim())
    # True division, as everywhere in the package: k / 255 to the nearest float32.
    return (batch.float() / 255 if images.dtype == torch.uint8 else batch.float()), form


def _array(where: str, images: np.ndarray[Any, Any]) -> tuple[torch.Tensor, Form]:
    if images.ndim not in (2, 3, 4):
        raise ValueError(f"{where}: an array must be [H, W], [H, W, C] or [B, H, W, C], got shape {list(images.shape)}")
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(f"{where}: an array must be uint8 or floating, got {images.dtype}")
    batch = images[..., None] if images.ndim == 2 else images
    batch = batch[None] if batch.ndim == 3 else batch
    planes = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
    values = np.divide(planes, np.float32(255), dtype=np.float32) if images.dtype == np.uint8 else planes
    return torch.from_numpy(values.astype(np.float32, copy=False)), Form(images.dtype, True, images.ndim)

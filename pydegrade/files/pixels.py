"""Between integers on disk and floats in memory, exactly.

On disk an image is uint8 or uint16, [H, W, 3]; everywhere else in the package it is float32, [3, H, W], [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..native import binding

Pixels = NDArray[np.uint8]
"""RGB image, uint8 [H, W, 3]."""


def to_float(pixels: NDArray[Any], out: torch.Tensor | None = None) -> torch.Tensor:
    """uint8 or uint16 [H, W, C] -> float32 [C, H, W], C 1, 3 or 4, with values k / 255 or k / 65535, each the float32
    nearest to the quotient; in `out`, contiguous and on the CPU, where that is given."""
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"to_float: pixels must be uint8 or uint16 [H, W, 1, 3 or 4], got {pixels.dtype} {list(pixels.shape)}"
        )
    shape = (pixels.shape[2], *pixels.shape[:2])
    planes = torch.empty(shape) if out is None else out
    if tuple(planes.shape) != shape:
        raise ValueError(f"to_float: out must be {list(shape)}, got {list(planes.shape)}")
    if pixels.dtype == np.uint8 and planes.is_contiguous() and planes.dtype == torch.float32:
        sizes = {"pixels": shape[1] * shape[2], "channels": shape[0]}
        binding.call("planes_of_bytes", bytes=np.ascontiguousarray(pixels), planes=planes, **sizes)
        return planes
    white = np.float32(np.iinfo(pixels.dtype).max)
    np.divide(pixels.transpose(2, 0, 1), white, out=planes.numpy(), dtype=np.float32)
    return planes


def to_uint8(image: torch.Tensor) -> Pixels:
    """float32 [C, H, W] -> uint8 [H, W, C], C 1, 3 or 4: clipped to [0, 1], times 255, rounded half to even. Inverse of
    `to_float`.

    Raises:
        ValueError: wrong shape or dtype, NaN or infinity.
    """
    return _to_integers(image, "to_uint8", np.uint8)


def to_uint16(image: torch.Tensor) -> NDArray[np.uint16]:
    """float32 [C, H, W] -> uint16 [H, W, C]: clipped to [0, 1], times 65535, rounded half to even. Errors as `to_uint8`."""
    return _to_integers(image, "to_uint16", np.uint16)


def _to_integers(image: torch.Tensor, name: str, dtype: Any) -> NDArray[Any]:
    if image.dtype != torch.float32 or image.ndim != 3 or image.shape[0] not in (1, 3, 4):
        raise ValueError(f"{name}: image must be float32 [1, 3 or 4, H, W], got {image.dtype} {list(image.shape)}")
    values = image.detach().cpu()
    refusal = f"{name}: image must be finite, got NaN or infinity"
    if dtype == np.uint8:
        channels, height, width = values.shape
        pixels = np.empty((height, width, channels), np.uint8)
        sizes = {"pixels": height * width, "channels": channels}
        if not binding.call("bytes_of_planes", planes=values.contiguous(), bytes=pixels, **sizes):
            raise ValueError(refusal)
        return pixels
    white = np.iinfo(dtype).max
    levels = np.rint(values.numpy() * np.float32(white))
    if not np.isfinite(levels).all():
        raise ValueError(refusal)
    return np.ascontiguousarray(np.clip(levels, 0, white).astype(dtype).transpose(1, 2, 0))

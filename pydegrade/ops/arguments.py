"""Checks that the public functions and the registered ops share; messages give the op, the name and the first bad row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import shown
from ..native import binding, devices
from ..native.given import is_one_of, real_array


def check_images(op: str, images: torch.Tensor, channels: int | None = None, values: str = " in [0, 1]") -> None:
    """[B, C, H, W] float32 on the CPU or on CUDA, no empty side; `channels`: the only C; `values`: for the message."""
    layout = f"[B, {'C' if channels is None else channels}, H, W]"
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"{op}: images must be a tensor {layout}, got {type(images).__name__}")
    if images.dim() != 4 or 0 in images.shape[1:] or channels not in (None, images.shape[1]):
        sides = "C, H, W" if channels is None else "H, W"
        raise ValueError(f"{op}: images must be {layout} with {sides} >= 1, got shape {list(images.shape)}")
    if images.dtype != torch.float32:
        raise TypeError(f"{op}: images must be float32{values}, got {images.dtype}")
    if images.layout != torch.strided:
        raise ValueError(f"{op}: images must be dense, got {images.layout}")
    check_device(op, images)


def check_device(op: str, images: torch.Tensor) -> None:
    """On the CPU, on a CUDA device that this installation has kernels for, or without memory."""
    if images.device.type not in ("cpu", "cuda", "meta"):
        raise ValueError(f"{op}: images must be on the CPU or on CUDA, got {images.device}")
    if images.device.type == "cuda":
        devices.backend_of(images.device)


def check_places(op: str, height: int, width: int) -> None:
    """ValueError where random words, which belong to places, would run out of numbers."""
    most_height, most_width = binding.LIMITS["random_height_px"], binding.LIMITS["random_width_px"]
    if height > most_height or width > most_width:
        raise ValueError(f"{op}: images must be at most {most_height} x {most_width}, got {height} x {width}")


def parameter_tensor(images: torch.Tensor, values: Any) -> torch.Tensor:
    """Parameters for an op on `images`: on the CPU whatever the device of the pixels, since programs are made there."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.to("meta") if images.is_meta else tensor


def numbers(
    op: str, name: str, value: Any, batch: int, low: float, high: float, integer: bool = False
) -> NDArray[np.float64]:
    """One number or `batch` of them, in [low, high], as float64 [batch]."""
    values = real_array(f"{op}: {name} must be a number or {batch} numbers", value).astype(np.float64)
    if values.shape not in ((), (batch,)):
        raise ValueError(f"{op}: {name} must be a number or of shape [{batch}], got shape {list(values.shape)}")
    # A comparison with NaN is false, so NaN is refused too.
    for expected, good in (
        (f"in [{low:g}, {high:g}]", (values >= low) & (values <= high)),
        ("a whole number", (not integer) | (values == np.rint(values))),
    ):
        if not np.all(good):
            if not values.shape:
                raise ValueError(f"{op}: {name} must be {expected}, got {values:g}")
            row = int(np.argmin(good))
            raise ValueError(f"{op}: {name} must be {expected}, got {values[row]:g} at row {row}")
    return np.full(batch, values)


def codes(op: str, name: str, value: str | Sequence[str], choices: Sequence[str], batch: int) -> NDArray[np.int32]:
    """One name or `batch` of them, as positions in `choices`."""
    if not isinstance(value, Collection) or getattr(value, "ndim", 1) == 0:
        raise TypeError(f"{op}: {name} must be one name or {batch}, got {shown(value)}")
    if not isinstance(value, str) and len(value) != batch:
        raise ValueError(f"{op}: {name} must be one name or {batch}, got {len(value)}")
    names = [value] * batch if isinstance(value, str) else list(value)
    for row, chosen in enumerate(names if not isinstance(value, str) else [value]):
        if not is_one_of(chosen, choices):
            where = "" if isinstance(value, str) else f" at row {row}"
            raise ValueError(f"{op}: {name} must be one of {', '.join(map(repr, choices))}, got {shown(chosen)}{where}")
    return np.array([choices.index(chosen) for chosen in names], np.int32)


def check_layout(
    op: str, data: torch.Tensor, offset: torch.Tensor, height: torch.Tensor, width: torch.Tensor, channels: int
) -> dict[str, Any]:
    """The fields of `Rows`, after the checks without which memory outside `data` could be touched."""
    if data.dtype != torch.float32 or channels < 1:
        raise ValueError(f"{op}: data must be float32 with at least one channel, got {data.dtype} with {channels}")
    count = offset.shape[0]
    tensors = check_rows(op, count, (offset, torch.int64), (height, torch.int32), (width, torch.int32))
    values = data.numel()
    for first, rows, columns in zip(offset.tolist(), height.tolist(), width.tolist()):
        if first < 0 or rows < 1 or columns < 1 or first + channels * rows * columns > values:
            raise ValueError(f"{op}: the layout does not fit {values} values")
    return {"count": count, "channels": channels, "offset": tensors[0], "height": tensors[1], "width": tensors[2]}


def check_rows(op: str, count: int, *tensors: tuple[torch.Tensor, torch.dtype]) -> list[torch.Tensor]:
    """Contiguous CPU tensors of the expected dtype with one entry (or line) per row."""
    checked = []
    for tensor, dtype in tensors:
        if tensor.dtype != dtype or tensor.dim() < 1 or tensor.shape[0] != count or tensor.device.type != "cpu":
            got = f"{tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}"
            raise ValueError(f"{op}: expected {dtype} with {count} rows on the CPU, got {got}")
        checked.append(tensor.contiguous())
    return checked

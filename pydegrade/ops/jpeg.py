"""JPEG: the pixels of a real encode and decode, and two differentiable approximations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..native import devices
from ..native.packed import dense_layout
from .arguments import beside, check_device
from .declaration import BoolArray, Column, Columns, FloatArray, IntArray, Items, Op
from .library import LIBRARY, layout_arguments

Mode = Literal["off", "libjpeg", "diffjpeg", "diffjpeg_basicsr"]
Subsampling = Literal["444", "422", "420"]
Rounding = Literal["straight_through", "cubic"]

MODES: tuple[Mode, ...] = ("off", "libjpeg", "diffjpeg", "diffjpeg_basicsr")
SUBSAMPLINGS: tuple[Subsampling, ...] = ("444", "422", "420")
ROUNDINGS: tuple[Rounding, ...] = ("straight_through", "cubic")
_LIBJPEG = MODES.index("libjpeg")
_BASICSR = MODES.index("diffjpeg_basicsr")


# ---- Declaration


def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = columns["mode"] != MODES.index("off")
    return {"quality": on, "subsampling": on & (columns["mode"] != _BASICSR)}


def _neutral(columns: Columns) -> BoolArray:
    return np.asarray(columns["mode"] == MODES.index("off"))


def _params(columns: Columns, items: Items) -> Mapping[str, NDArray[Any]]:
    # Files have whole qualities, so libjpeg mode rounds what a space draws.
    quality = columns["quality"]
    quality = np.where(columns["mode"] == _LIBJPEG, np.rint(quality), quality)
    return {
        "mode": np.ascontiguousarray(columns["mode"], np.int32),
        "quality": np.ascontiguousarray(quality, np.float32),
        "subsampling": np.ascontiguousarray(columns["subsampling"], np.int32),
        "rounding": np.zeros(len(quality), np.int32),
    }


OP = Op(
    name="jpeg",
    code=3,
    columns=(
        Column(
            "mode",
            "off, libjpeg (the pixels of a real file), diffjpeg (float approximation) or diffjpeg_basicsr (BasicSR's).",
            choices=MODES,
            neutral="off",
        ),
        Column("quality", "Quality as in libjpeg; mode libjpeg rounds it.", 1.0, 100.0, neutral=100.0),
        Column(
            "subsampling",
            "Chroma: 444 full, 422 half the width, 420 half of both; diffjpeg_basicsr is always 420.",
            choices=SUBSAMPLINGS,
            neutral="420",
        ),
    ),
    active=_active,
    neutral=_neutral,
    params=_params,
)


# ---- Registration. Parameter tensors: mode, subsampling, rounding int32 [B] (codes), quality float32 [B].

_PARAMETERS = "Tensor mode, Tensor quality, Tensor subsampling, Tensor rounding"
LIBRARY.define(f"jpeg(Tensor data, {layout_arguments()}, {_PARAMETERS}, bool libjpeg_gradient) -> Tensor")
LIBRARY.define(
    f"jpeg_adjoint(Tensor grad, Tensor data, {layout_arguments()}, {_PARAMETERS}, bool libjpeg_gradient) -> Tensor"
)


_DTYPES = (torch.int64, torch.int32, torch.int32, torch.int32, torch.float32, torch.int32, torch.int32)


def _fields(
    data: torch.Tensor,
    offset: torch.Tensor,
    height: torch.Tensor,
    width: torch.Tensor,
    channels: int,
    mode: torch.Tensor,
    quality: torch.Tensor,
    subsampling: torch.Tensor,
    rounding: torch.Tensor,
) -> dict[str, Any]:
    """Fields of `JpegArgs`, after the checks without which memory outside `data` could be touched."""
    count = offset.shape[0]
    if data.dtype != torch.float32 or channels != 3:
        raise ValueError(f"jpeg: data must be float32 with 3 channels, got {data.dtype} with {channels}")
    tensors = [offset, height, width, mode, quality, subsampling, rounding]
    for place, (tensor, dtype) in enumerate(zip(tensors, _DTYPES)):
        if tensor.dtype != dtype or tensor.shape != (count,) or tensor.device.type != "cpu":
            got = f"{tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}"
            raise ValueError(f"jpeg: expected {dtype} of shape ({count},) on the CPU, got {got}")
        tensors[place] = tensor.contiguous()
    values = data.numel()
    for first, rows, columns in zip(offset.tolist(), height.tolist(), width.tolist()):
        if first < 0 or rows < 1 or columns < 1 or first + channels * rows * columns > values:
            raise ValueError(f"jpeg: the layout does not fit {values} values")
    offset, height, width, mode, quality, subsampling, rounding = tensors
    return {
        "rows": {"count": count, "channels": channels, "offset": offset, "height": height, "width": width},
        "src": data.contiguous(),
        "mode": mode,
        "quality": quality,
        "subsampling": subsampling,
        "rounding": rounding,
    }


def _jpeg(data: torch.Tensor, *arguments: Any) -> torch.Tensor:
    fields = _fields(data, *arguments[:-1])
    out = torch.empty_like(fields["src"])
    devices.call("jpeg", dst=out, **fields)
    return out


def _jpeg_adjoint(grad: torch.Tensor, data: torch.Tensor, *arguments: Any) -> torch.Tensor:
    fields = _fields(data, *arguments[:-1])
    if grad.shape != data.shape or grad.dtype != torch.float32:
        got = f"{grad.dtype} of shape {tuple(grad.shape)}"
        raise ValueError(f"jpeg: grad must be float32 of shape {tuple(data.shape)}, got {got}")
    out = torch.empty_like(fields["src"])
    gradient = torch.full_like(fields["mode"], int(arguments[-1]))
    devices.call("jpeg_adjoint", dst=out, grad=grad.contiguous(), libjpeg_gradient=gradient, **fields)
    return out


def _like_data(data: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return torch.empty_like(data, memory_format=torch.contiguous_format)


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    data, offset, height, width, channels, *parameters, libjpeg_gradient = inputs
    ctx.save_for_backward(data, offset, height, width, *parameters)
    ctx.channels, ctx.libjpeg_gradient = channels, libjpeg_gradient


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    data, offset, height, width, *parameters = ctx.saved_tensors
    arguments = (data, offset, height, width, ctx.channels, *parameters, ctx.libjpeg_gradient)
    return (torch.ops.pydegrade.jpeg_adjoint(grad, *arguments), *(None for _ in arguments[1:]))


for _device_key in ("CPU", "CUDA"):
    LIBRARY.impl("jpeg", _jpeg, _device_key)
    LIBRARY.impl("jpeg_adjoint", _jpeg_adjoint, _device_key)
torch.library.register_fake("pydegrade::jpeg", _like_data, lib=LIBRARY)
torch.library.register_fake("pydegrade::jpeg_adjoint", _like_data, lib=LIBRARY)
torch.library.register_autograd("pydegrade::jpeg", _backward, setup_context=_save, lib=LIBRARY)


# ---- Public function


def jpeg(
    images: torch.Tensor,
    quality: float | ArrayLike | torch.Tensor,
    mode: Mode | Sequence[Mode] = "libjpeg",
    subsampling: Subsampling | Sequence[Subsampling] = "420",
    *,
    rounding: Rounding = "straight_through",
    libjpeg_gradient: bool = False,
) -> torch.Tensor:
    """What is left of each image after JPEG compression with its own quality.

    Modes:
        "libjpeg": bit for bit what libjpeg-turbo's decoder returns for its encoder's file (accurate integer DCT, smooth
            chroma upsampling, as in Pillow and OpenCV), divided by 255. Values are first clipped and rounded to 8 bits,
            half to even; NaN counts as 0.
        "diffjpeg": the same codec in float without any rounding but that of the coefficients; values outside [0, 1] are
            not clipped on the way in. 41 to 50 dB from "libjpeg" on photographs (docs/jpeg.md).
        "diffjpeg_basicsr": the arithmetic of BasicSR's DiffJPEG, with its deviations from the standard: unrounded
            quantisation tables, luma table with its axes exchanged, black padding to multiples of 16 px, repeated
            chroma. 31 to 41 dB from "libjpeg". At quality 100, where the original returns NaN, nothing is quantised.
        "off": the image itself.

    Gradients: the differentiable modes pass them through the rounding and stop them where the result was clipped to
    [0, 1]. The true gradient of "libjpeg" is zero, and so is ours unless `libjpeg_gradient` is set.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA, RGB in [0, 1]; any H, W >= 1. Never written to.
        quality: number or [B], 1 to 100; whole in mode "libjpeg". Never written to.
        mode: one for all images, or B of them.
        subsampling: "444", "422" (half the width), "420" (half of both); one, or B. "diffjpeg_basicsr" is always "420".
        rounding: of the differentiable modes. "straight_through": to the nearest, derivative 1; "cubic":
            round(x) + (x - round(x))^3 (Shin and Song 2017) and its derivative.
        libjpeg_gradient: take the derivative of "libjpeg" to be 1 where the image lies in [0, 1].
    Returns:
        [B, 3, H, W] float32 in [0, 1]; multiples of 1/255 in mode "libjpeg". The same bits for every batch, number of
        threads and instruction set.
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    Source: ITU-T T.81 (1992), JFIF 1.02; libjpeg-turbo 3 for everything those leave open.
    """
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"jpeg: images must be a tensor [B, 3, H, W], got {type(images).__name__}")
    if images.dim() != 4 or images.shape[1] != 3 or images.shape[2] == 0 or images.shape[3] == 0:
        raise ValueError(f"jpeg: images must be [B, 3, H, W] with H, W >= 1, got shape {list(images.shape)}")
    if images.dtype != torch.float32:
        raise TypeError(f"jpeg: images must be float32 in [0, 1], got {images.dtype}")
    check_device("jpeg", images)
    batch = images.shape[0]
    modes = _codes("mode", mode, MODES, batch)
    subsamplings = _codes("subsampling", subsampling, SUBSAMPLINGS, batch)
    roundings = _codes("rounding", rounding, ROUNDINGS, batch)
    qualities = _qualities(quality, modes)
    layout = dense_layout(images)
    per_image = (layout.offset, layout.height, layout.width, modes, qualities, subsamplings, roundings)
    offset, height, width, *parameters = (beside(images, values) for values in per_image)
    out: torch.Tensor = torch.ops.pydegrade.jpeg(images, offset, height, width, 3, *parameters, libjpeg_gradient)
    return out


def _codes(name: str, value: Any, choices: Sequence[str], batch: int) -> IntArray:
    """One name or `batch` of them as codes."""
    expected = f"jpeg: {name} must be one of {', '.join(map(repr, choices))}, got"
    if isinstance(value, str):
        if value not in choices:
            raise ValueError(f"{expected} {value!r}")
        return np.full(batch, choices.index(value), np.int32)
    if len(value) != batch:
        raise ValueError(f"jpeg: {name} must be one name or {batch}, got {len(value)}")
    for row, chosen in enumerate(value):
        if chosen not in choices:
            raise ValueError(f"{expected} {chosen!r} at row {row}")
    return np.array([choices.index(chosen) for chosen in value], np.int32)


def _qualities(quality: Any, modes: IntArray) -> FloatArray:
    """float32 [B]: in range, whole where the mode asks for it."""
    given = quality.detach().cpu().numpy() if isinstance(quality, torch.Tensor) else quality
    values = np.asarray(given, np.float64)
    if values.shape not in ((), modes.shape):
        raise ValueError(f"jpeg: quality must be a number or of shape [{len(modes)}], got shape {list(values.shape)}")
    # A comparison with NaN is false, so NaN is refused too.
    whole = (modes != _LIBJPEG) | (values == np.rint(values))
    for expected, good in (
        ("in [1, 100]", (values >= 1) & (values <= 100)),
        ("a whole number in mode 'libjpeg'", whole),
    ):
        if not good.all():
            if not values.shape:
                raise ValueError(f"jpeg: quality must be {expected}, got {values:g}")
            row = int(np.argmin(good))
            raise ValueError(f"jpeg: quality must be {expected}, got {values[row]:g} at row {row}")
    return np.full(modes.shape, values, np.float32)

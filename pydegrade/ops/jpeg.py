"""JPEG: the pixels of a real encode and decode, and two differentiable approximations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..native import devices
from ..native.packed import dense_layout
from .arguments import check_images, check_layout, check_rows, codes, numbers, parameter_tensor
from .declaration import BoolArray, Column, Columns, FloatArray, IntArray, Op, decided_by
from .library import define

Mode = Literal["off", "libjpeg", "diffjpeg", "diffjpeg_basicsr"]
Subsampling = Literal["444", "422", "420", "440", "411"]
Rounding = Literal["straight_through", "cubic"]

MODES: tuple[Mode, ...] = ("off", "libjpeg", "diffjpeg", "diffjpeg_basicsr")
SUBSAMPLINGS: tuple[Subsampling, ...] = ("444", "422", "420", "440", "411")
ROUNDINGS: tuple[Rounding, ...] = ("straight_through", "cubic")
_LIBJPEG = MODES.index("libjpeg")
_BASICSR = MODES.index("diffjpeg_basicsr")


# ---- Declaration


@decided_by("mode")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = columns["mode"] != MODES.index("off")
    return {"quality": on, "subsampling": on & (columns["mode"] != _BASICSR)}


def _used(columns: Columns) -> Mapping[str, NDArray[Any]]:
    # Files have whole qualities, so libjpeg mode rounds what a space draws.
    quality = columns["quality"]
    return {"quality": np.where(columns["mode"] == _LIBJPEG, np.rint(quality), quality)}


OP = Op(
    name="jpeg",
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
            "Chroma: 444 full, 422 half the width, 440 half the height, 420 half of both, 411 a quarter of the width; "
            "diffjpeg_basicsr is always 420.",
            choices=SUBSAMPLINGS,
            neutral="420",
        ),
    ),
    active=_active,
    used=_used,
    switch="mode",
    switched_on="libjpeg",
)


# ---- Registration. Parameter tensors: mode, subsampling, rounding int32 [B] (codes), quality float32 [B].


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
    if channels != 3:
        raise ValueError(f"jpeg: data must be float32 with 3 channels, got {data.dtype} with {channels}")
    rows = check_layout("jpeg", data, offset, height, width, channels)
    mode, quality, subsampling, rounding = check_rows(
        "jpeg",
        rows["count"],
        (mode, torch.int32),
        (quality, torch.float32),
        (subsampling, torch.int32),
        (rounding, torch.int32),
    )
    return {
        "rows": rows,
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


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    data, offset, height, width, channels, *parameters, libjpeg_gradient = inputs
    ctx.save_for_backward(data, offset, height, width, *parameters)
    ctx.channels, ctx.libjpeg_gradient = channels, libjpeg_gradient


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    data, offset, height, width, *parameters = ctx.saved_tensors
    arguments = (data, offset, height, width, ctx.channels, *parameters, ctx.libjpeg_gradient)
    return (torch.ops.pydegrade.jpeg_adjoint(grad, *arguments), *(None for _ in arguments[1:]))


_PARAMETERS = "Tensor mode, Tensor quality, Tensor subsampling, Tensor rounding, bool libjpeg_gradient"
define("jpeg_adjoint", _PARAMETERS, _jpeg_adjoint, images="Tensor grad, Tensor data")
define("jpeg", _PARAMETERS, _jpeg, save=_save, backward=_backward)


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
        subsampling: "444", "422" (half the width), "440" (half the height), "420" (half of both), "411" (a quarter of the
            width); one, or B. "diffjpeg_basicsr" is always "420".
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
    check_images("jpeg", images, channels=3)
    batch = images.shape[0]
    modes = codes("jpeg", "mode", mode, MODES, batch)
    subsamplings = codes("jpeg", "subsampling", subsampling, SUBSAMPLINGS, batch)
    roundings = codes("jpeg", "rounding", rounding, ROUNDINGS, batch)
    qualities = _qualities(quality, modes)
    layout = dense_layout(images)
    per_image = (layout.offset, layout.height, layout.width, modes, qualities, subsamplings, roundings)
    offset, height, width, *parameters = (parameter_tensor(images, values) for values in per_image)
    out: torch.Tensor = torch.ops.pydegrade.jpeg(images, offset, height, width, 3, *parameters, libjpeg_gradient)
    return out


def _qualities(quality: Any, modes: IntArray) -> FloatArray:
    """float32 [B]: in range, whole where the mode asks for it."""
    values = numbers("jpeg", "quality", quality, len(modes), 1, 100)
    broken = (modes == _LIBJPEG) & (values != np.rint(values))
    if broken.any():
        row = int(np.argmax(broken))
        where = f" at row {row}" if np.ndim(quality) else ""
        raise ValueError(f"jpeg: quality must be a whole number in mode 'libjpeg', got {values[row]:g}{where}")
    return values.astype(np.float32)

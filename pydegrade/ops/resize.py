"""Resize: the arithmetic of torch, OpenCV and MATLAB under their names, and plain decimation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import shown
from ..native import binding, devices
from ..native.packed import Layout, dense_layout
from .arguments import check_images, check_rows, codes, numbers, parameter_tensor
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .library import define

Mode = Literal[
    "torch_area",
    "torch_bilinear",
    "torch_bicubic",
    "cv2_linear",
    "cv2_cubic",
    "cv2_area",
    "matlab_bicubic",
    "matlab_bilinear",
    "matlab_box",
    "matlab_lanczos2",
    "matlab_lanczos3",
    "matlab_nearest",
    "decimate",
    "torch_bilinear_aa",
    "torch_bicubic_aa",
    "torch_nearest_exact",
    "lanczos3",
    "mitchell",
    "catmull_rom",
    "hermite",
    "b_spline",
]

MODES: tuple[Mode, ...] = get_args(Mode)
RULES = ("input", "final")
_INPUT = RULES.index("input")
_LOWEST_FACTOR, _HIGHEST_FACTOR = 1 / 64, 16.0


# ---- Declaration


@decided_by("rule", "resize_factor")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = (columns["rule"] != _INPUT) | (columns["resize_factor"] != 1)
    return {"mode": on, "rule": on}


OP = Op(
    name="resize",
    columns=(
        Column(
            "mode",
            "Whose arithmetic: torch (low-pass in area and _aa only), OpenCV, MATLAB (low-pass to shrink); every n-th px; "
            "or a kernel by its name (low-pass to shrink, as Pillow).",
            choices=MODES,
            neutral="torch_area",
        ),
        Column(
            "resize_factor",
            "Output px per px of what `rule` names; above 1 enlarges.",
            _LOWEST_FACTOR,
            _HIGHEST_FACTOR,
            neutral=1.0,
        ),
        Column(
            "rule",
            "What the factor multiplies: the size of the input, or the final size of the low-resolution image.",
            choices=RULES,
            neutral="input",
        ),
    ),
    active=_active,
    switch="resize_factor",
)


# ---- Registration. Parameter tensors: dst_height, dst_width, mode int32 [B], scale_y, scale_x float64 [B]. The layout
# is that of the input of `resize`, in resize_adjoint too, where `grad` belongs to the output. Results are packed
# without gaps; `total` is their number of floats.

_DTYPES = (
    *(torch.int64, torch.int32, torch.int32),
    *(torch.int32, torch.int32, torch.int32, torch.float64, torch.float64),
)


def _checked(values: torch.Tensor, layout: Layout, what: str) -> None:
    """Refuse rows outside `values`."""
    if len(layout) == 0:
        return
    sides = layout.height.astype(np.int64), layout.width.astype(np.int64)
    end = layout.offset + layout.channels * sides[0] * sides[1]
    if min(layout.offset.min(), sides[0].min() - 1, sides[1].min() - 1) < 0 or end.max() > values.numel():
        raise ValueError(f"resize: the layout of {what} does not fit {values.numel()} values")


def _prepared(data: torch.Tensor, channels: int, *tensors: torch.Tensor) -> tuple[Layout, Layout, dict[str, Any]]:
    """Layouts of input and output and the fields of `ResizeParams`, after the checks that keep memory safe."""
    if data.dtype != torch.float32 or channels < 1:
        raise ValueError(f"resize: data must be float32 with 1 or more channels, got {data.dtype} with {channels}")
    checked = check_rows("resize", tensors[0].shape[0], *zip(tensors, _DTYPES))
    offset, height, width, dst_height, dst_width, mode, scale_y, scale_x = (tensor.numpy() for tensor in checked)
    src = Layout(offset, height, width, channels)
    dst = Layout.of_sizes(dst_height, dst_width, channels)
    return src, dst, {"mode": mode, "scale_y": scale_y, "scale_x": scale_x}


def _resize(data: torch.Tensor, *arguments: Any) -> torch.Tensor:
    offset, height, width, channels, *tensors, total = arguments
    src, dst, params = _prepared(data, channels, offset, height, width, *tensors)
    out = data.new_empty(total)
    _checked(data, src, "data")
    _checked(out, dst, "the result")
    devices.call("resize", src_rows=src.fields(), dst_rows=dst.fields(), src=data.contiguous(), dst=out, **params)
    return out


def _resize_adjoint(grad: torch.Tensor, *arguments: Any) -> torch.Tensor:
    offset, height, width, channels, *tensors, total = arguments
    src, dst, params = _prepared(grad, channels, offset, height, width, *tensors)
    out = grad.new_zeros(total)
    _checked(out, src, "the result")
    _checked(grad, dst, "grad")
    devices.call(
        "resize_adjoint", src=grad.contiguous(), dst=out, src_rows=dst.fields(), dst_rows=src.fields(), **params
    )
    return out


def _like_total(data: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return data.new_empty((arguments[-1],))


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    data, offset, height, width, channels, *parameters, _ = inputs
    ctx.save_for_backward(offset, height, width, *parameters)
    ctx.channels, ctx.input_total = channels, data.shape[0]


def _transposed_by(name: str) -> Any:
    """Backward of a linear op: the other of the pair, between the same layouts."""

    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        offset, height, width, *parameters = ctx.saved_tensors
        op = getattr(torch.ops.pydegrade, name)
        out = op(grad.contiguous(), offset, height, width, ctx.channels, *parameters, ctx.input_total)
        return (out, *(None for _ in range(5 + len(parameters))))

    return backward


_PARAMETERS = "Tensor dst_height, Tensor dst_width, Tensor mode, Tensor scale_y, Tensor scale_x, SymInt total"
define("resize", _PARAMETERS, _resize, fake=_like_total, save=_save, backward=_transposed_by("resize_adjoint"))
define(
    "resize_adjoint",
    _PARAMETERS,
    _resize_adjoint,
    images="Tensor grad",
    fake=_like_total,
    save=_save,
    backward=_transposed_by("resize"),
)


# ---- Public function


def resize(
    images: torch.Tensor,
    size: tuple[int, int] | None = None,
    resize_factor: float | ArrayLike | None = None,
    mode: Mode | Sequence[Mode] = "torch_bicubic",
) -> torch.Tensor:
    """Resize each image with the arithmetic of torch, OpenCV or MATLAB.

    Modes:
        "torch_area", "torch_bilinear", "torch_bicubic": `F.interpolate` with align_corners False and no antialiasing;
            bicubic has a = -0.75. With `resize_factor` the coordinates use the factor, as its `scale_factor` does.
        "cv2_linear", "cv2_cubic", "cv2_area": `cv2.resize` of float images; always the ratio of the sizes.
        "matlab_bicubic", "matlab_bilinear", "matlab_box", "matlab_lanczos2", "matlab_lanczos3", "matlab_nearest":
            `imresize` of double images, with antialiasing (but nearest) and mirrored borders. For uint8 files that must
            equal MATLAB's use `pydegrade.imresize`.
        "decimate": px 0, n, 2n .. with n the rounded shrinkage.
        "torch_bilinear_aa", "torch_bicubic_aa": `F.interpolate` with antialias=True (bicubic then has a = -0.5; torch 2.13
            repeats the first row of a result of one column, which this does not);
            "torch_nearest_exact": its "nearest-exact".
        "lanczos3", "catmull_rom" (Pillow's LANCZOS and BICUBIC), "mitchell" (B = C = 1/3), "hermite" (B = C = 0),
            "b_spline" (B = 1, C = 0): widened when shrinking, cut at the borders; always the ratio of the sizes.
            "mitchell" and "b_spline" smooth at equal sizes too; a step of a space does nothing there in any mode.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA, any values; any C, H, W >= 1. Never written to.
        size: (height, width) of the result, px; or
        resize_factor: number or [B], 1/64 to 16, output px per input px. Sides are rounded down, in the MATLAB modes
            and "decimate" up. Must give all images the same size.
        mode: one for all images, or B of them.
    Returns:
        [B, C, height, width] float32, not clipped: cubic and Lanczos kernels overshoot. The same bits for every batch,
        number of threads and instruction set. Differentiable, twice as often as wanted: the op is linear.
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    Source: torch 2.13 F.interpolate; OpenCV 4 resize; MATLAB imresize (R2015b and later); Keys 1981;
        Mitchell and Netravali 1988, equation 8.
    """
    check_images("resize", images, values="")
    if (size is None) == (resize_factor is None):
        raise ValueError("resize: give either size or resize_factor")
    batch, channels, rows, columns = images.shape
    modes = codes("resize", "mode", mode, MODES, batch)
    if size is not None:
        out_height, out_width = _checked_size(size)
        scales = np.zeros(batch)
    else:
        factors = numbers("resize", "resize_factor", resize_factor, batch, _LOWEST_FACTOR, _HIGHEST_FACTOR)
        heights, widths, scales = np.full(batch, rows, np.int64), np.full(batch, columns, np.int64), np.empty(batch)
        binding.call("resize_factors", mode=modes, factor=factors, height=heights, width=widths, scale=scales)
        for row in range(1, batch):
            if (heights[row], widths[row]) != (heights[0], widths[0]):
                raise ValueError(
                    f"resize: resize_factor must give all images one size, got {heights[0]} x {widths[0]} at row 0 "
                    f"and {heights[row]} x {widths[row]} at row {row}"
                )
        if batch == 0:
            raise ValueError("resize: resize_factor needs at least one image, got a batch of 0; give size")
        out_height, out_width = int(heights[0]), int(widths[0])
    layout = dense_layout(images)
    sizes = np.full(batch, out_height, np.int32), np.full(batch, out_width, np.int32)
    per_image = (layout.offset, layout.height, layout.width, *sizes, modes, scales, scales)
    tensors = [parameter_tensor(images, values) for values in per_image]
    total = batch * channels * out_height * out_width
    flat = images.reshape(-1)
    out: torch.Tensor = torch.ops.pydegrade.resize(flat, *tensors[:3], channels, *tensors[3:], total)
    return out.view(batch, channels, out_height, out_width)


def _checked_size(size: Any) -> tuple[int, int]:
    whole = isinstance(size, (tuple, list)) and len(size) == 2
    if not whole or not all(isinstance(side, (int, np.integer)) and 1 <= side < 2**24 for side in size):
        raise ValueError(f"resize: size must be (height, width), whole numbers >= 1, got {shown(size)}")
    return int(size[0]), int(size[1])

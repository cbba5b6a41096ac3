"""MATLAB's imresize, to the last digit of its uint8 files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import shown
from ..native import binding
from ..native.given import is_one_of, native_order
from ..ops.library import LIBRARY
from ..ops.resize import MODES

Kernel = Literal["bicubic", "bilinear", "box", "nearest", "lanczos2", "lanczos3"]
Border = Literal["symmetric", "replicate"]
Semantics = Literal["class", "im2double"]
ImageT = TypeVar("ImageT", NDArray[Any], torch.Tensor)

KERNELS: tuple[Kernel, ...] = ("bicubic", "bilinear", "box", "nearest", "lanczos2", "lanczos3")
BORDERS: tuple[Border, ...] = ("symmetric", "replicate")
SEMANTICS: tuple[Semantics, ...] = ("class", "im2double")
LOWEST_SCALE, HIGHEST_SCALE = 1e-6, 1e6
MAX_SIDE_PX = 2**24

_DTYPES = ("uint8", "uint16", "float32", "float64")
_PIXEL_TYPES: frozenset[Any] = frozenset(dtype for name in _DTYPES for dtype in (np.dtype(name), getattr(torch, name)))
_MODES: dict[str, int] = {kernel: MODES.index(f"matlab_{kernel}") for kernel in KERNELS}  # type: ignore[arg-type]
_WIDEST_KERNEL_PX = 6


# ---- How the samples of an image lie in memory


class _View(NamedTuple):
    """Strides in samples; pixels of a row and channels of a pixel are contiguous."""

    planes: int
    channels: int
    height: int
    width: int
    row_stride: int
    plane_stride: int


def _array_view(image: NDArray[Any]) -> _View | None:
    """Of an array [H, W] or [H, W, C]; None when its samples lie in another order."""
    height, width = image.shape[:2]
    channels = image.shape[2] if image.ndim == 3 else 1
    size = image.itemsize
    pixels = image.strides[1] == channels * size or width == 1
    samples = image.ndim == 2 or image.strides[2] == size or channels == 1
    if not (pixels and samples and image.strides[0] % size == 0):
        return None
    return _View(1, channels, height, width, image.strides[0] // size, 0)


def _tensor_view(image: torch.Tensor) -> _View | None:
    """Of a tensor [H, W], [C, H, W] or [N, C, H, W], planar or channels last."""
    height, width = image.shape[-2:]
    row_stride, pixel_stride = image.stride()[-2:]
    if image.dim() == 2:
        return _View(1, 1, height, width, row_stride, 0) if pixel_stride == 1 or width == 1 else None
    channels, channel_stride = image.shape[-3], image.stride()[-3]
    images, image_stride = (image.shape[0], image.stride()[0]) if image.dim() == 4 else (1, 0)
    if channels > 1 and channel_stride == 1 and (pixel_stride == channels or width == 1):
        return _View(images, channels, height, width, row_stride, image_stride)
    if (pixel_stride == 1 or width == 1) and (
        images == 1 or channels == 1 or image_stride == channels * channel_stride
    ):
        plane_stride = image_stride if channels == 1 else channel_stride
        return _View(images * channels, 1, height, width, row_stride, plane_stride)
    return None


def _empty_like(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """For the result: channels last where the image is."""
    *leading, _, _ = image.shape
    view = _tensor_view(image)
    if view is None or view.channels == 1:
        return image.new_empty((*leading, height, width))
    *batch, channels = leading
    interleaved = image.new_empty((*batch, height, width, channels))
    return interleaved.movedim(-1, -3)


# ---- Registration: leading dimensions, then height and width. `class` and `im2double` are the same for floating point.

_PARAMETERS = "float scale_y, float scale_x, str kernel, bool antialias, str border"
LIBRARY.define(f"imresize(Tensor image, SymInt height, SymInt width, {_PARAMETERS}, str semantics) -> Tensor")
LIBRARY.define(f"imresize_adjoint(Tensor grad, SymInt height, SymInt width, {_PARAMETERS}) -> Tensor")


def _call(
    name: str,
    view: _View,
    src: Any,
    dst: Any,
    size: tuple[int, int],
    scale_y: float,
    scale_x: float,
    kernel: str,
    antialias: bool,
    border: str,
    semantics: str = "class",
) -> None:
    """Run a function with `ImresizeArgs` from `src`, as `view` says, to the dense `dst`."""
    planes, channels, height, width, row_stride, plane_stride = view
    binding.call(
        name,
        mode=_MODES[kernel],
        antialias=antialias,
        replicate=border == "replicate",
        im2double=semantics == "im2double",
        planes=planes,
        channels=channels,
        src_height=height,
        src_width=width,
        src_row_stride=row_stride,
        src_plane_stride=plane_stride,
        dst_height=size[0],
        dst_width=size[1],
        scale_y=scale_y,
        scale_x=scale_x,
        src=src,
        dst=dst,
    )


def _imresize_cpu(image: torch.Tensor, height: int, width: int, *parameters: Any) -> torch.Tensor:
    out = _empty_like(image, height, width)
    view = _tensor_view(image)
    if view is None:
        image = image.contiguous()
        view = cast(_View, _tensor_view(image))
    _call("imresize", view, image, out, (height, width), *parameters)
    return out


def _imresize_adjoint_cpu(grad: torch.Tensor, height: int, width: int, *parameters: Any) -> torch.Tensor:
    grad = grad.contiguous()
    out = grad.new_empty((*grad.shape[:-2], height, width))
    view = cast(_View, _tensor_view(grad))
    _call("imresize_adjoint", view, grad, out, (height, width), *parameters)
    return out


# On other devices the same products and sums, tap after tap, as torch operations: slower, and the same bits, since each
# of them rounds once.


def _taps(
    kernel: str, antialias: bool, border: str, in_px: int, out_px: int, scale: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """The matrix of one axis by rows: start [out_px + 1], index and weight of all taps."""
    stretch = min(scale, 1.0) if antialias else 1.0
    room = out_px * (math.ceil(_WIDEST_KERNEL_PX / stretch) + 3)
    start, index, weight = np.empty(out_px + 1, np.int32), np.empty(room, np.int32), np.empty(room)
    binding.call(
        "imresize_taps",
        mode=_MODES[kernel],
        antialias=antialias,
        replicate=border == "replicate",
        in_px=in_px,
        out_px=out_px,
        scale=scale,
        start=start,
        index=index,
        weight=weight,
    )
    return start, index[: start[-1]], weight[: start[-1]]


def _transposed(
    start: NDArray[np.int32], index: NDArray[np.int32], weight: NDArray[np.float64], in_px: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    order = np.argsort(index, kind="stable")
    rows = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
    return np.searchsorted(index[order], np.arange(in_px + 1)).astype(np.int32), rows[order], weight[order]


def _along(values: torch.Tensor, axis: int, table: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]) -> torch.Tensor:
    start, index, weight = table
    count = np.diff(start)
    shape = (-1, 1) if axis == -2 else (-1,)
    out = values.new_zeros((*values.shape[:axis], len(count), *values.shape[values.dim() + axis + 1 :]))
    for tap in range(int(count.max())):
        # Rows without this tap add zero times their first one, or the first sample when they have none at all.
        place = np.where(tap < count, start[:-1] + tap, np.minimum(start[:-1], max(len(index) - 1, 0)))
        factor = torch.from_numpy(np.where(tap < count, weight[place], 0.0)).to(values.device)
        source = torch.from_numpy(index[place].astype(np.int64)).to(values.device)
        out += factor.reshape(shape) * values.index_select(axis, source)
    return out


def _rounded(values: torch.Tensor, highest: float) -> torch.Tensor:
    """To whole numbers in [0, highest], halves away from zero."""
    inside = values.clamp(0, highest)
    whole = inside.trunc()
    return whole + (inside - whole >= 0.5)


def _imresize_elsewhere(
    image: torch.Tensor,
    height: int,
    width: int,
    scale_y: float,
    scale_x: float,
    kernel: str,
    antialias: bool,
    border: str,
    semantics: str,
) -> torch.Tensor:
    rule = kernel, antialias, border
    highest = {torch.uint8: 255.0, torch.uint16: 65535.0}.get(image.dtype)
    values = image.to(torch.float64)
    if highest and semantics == "im2double":
        values = values / highest
    passes = [(scale_y, -2, height), (scale_x, -1, width)]
    for scale, axis, side in passes if scale_y <= scale_x else reversed(passes):
        values = _along(values, axis, _taps(*rule, image.shape[axis], side, scale))
        if highest and semantics == "class":
            values = _rounded(values, highest)
    if highest and semantics == "im2double":
        values = _rounded(values * highest, highest)
    return values.to(image.dtype)


def _imresize_adjoint_elsewhere(
    grad: torch.Tensor,
    height: int,
    width: int,
    scale_y: float,
    scale_x: float,
    kernel: str,
    antialias: bool,
    border: str,
) -> torch.Tensor:
    values = grad.to(torch.float64)
    passes = [(scale_y, -2, height), (scale_x, -1, width)]
    for scale, axis, side in reversed(passes) if scale_y <= scale_x else passes:
        table = _taps(kernel, antialias, border, side, grad.shape[axis], scale)
        values = _along(values, axis, _transposed(*table, side))
    return values.to(grad.dtype)


def _imresize_fake(image: torch.Tensor, height: int, width: int, *parameters: Any) -> torch.Tensor:
    return _empty_like(image, height, width)


def _imresize_adjoint_fake(grad: torch.Tensor, height: int, width: int, *parameters: Any) -> torch.Tensor:
    return grad.new_empty((*grad.shape[:-2], height, width))


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    image, _, _, *parameters = inputs
    ctx.size, ctx.parameters = image.shape[-2:], parameters[:5]


def _imresize_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    return (torch.ops.pydegrade.imresize_adjoint(grad, *ctx.size, *ctx.parameters), *(None,) * 8)


def _imresize_adjoint_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    return (torch.ops.pydegrade.imresize(grad, *ctx.size, *ctx.parameters, "class"), *(None,) * 7)


for _name, _cpu, _elsewhere, _fake, _backward in (
    ("imresize", _imresize_cpu, _imresize_elsewhere, _imresize_fake, _imresize_backward),
    (
        "imresize_adjoint",
        _imresize_adjoint_cpu,
        _imresize_adjoint_elsewhere,
        _imresize_adjoint_fake,
        _imresize_adjoint_backward,
    ),
):
    LIBRARY.impl(_name, _cpu, "CPU")
    LIBRARY.impl(_name, _elsewhere, "CUDA")
    torch.library.register_fake(f"pydegrade::{_name}", _fake, lib=LIBRARY)
    torch.library.register_autograd(f"pydegrade::{_name}", _backward, setup_context=_save, lib=LIBRARY)


# ---- Public function


def imresize(
    image: ImageT,
    scale: float | tuple[float, float] | None = None,
    size: tuple[int | None, int | None] | None = None,
    kernel: Kernel = "bicubic",
    antialias: bool = True,
    border: Border = "symmetric",
    semantics: Semantics = "class",
) -> ImageT:
    """Resize as MATLAB's `imresize` does.

    All uint8 samples of the MATLAB-made files compared are equal, at scales 1/2, 1/3, 1/4, 1/8, 2, 3 and 4. At scales
    such as 0.75, where exact ties between two levels occur, MATLAB's last rounding is not known: up to 5e-4 of the
    samples may differ by one level. Kernels other than bicubic, uint16 and single were never compared with MATLAB.

    Args:
        image: array [H, W] or [H, W, C], or tensor [H, W], [C, H, W] or [N, C, H, W], planar or channels last; uint8,
            uint16, float32 or float64; H, W >= 1. May be read-only or a view; never written to.
        scale: output px per input px, 1e-6 to 1e6, for both axes or (vertical, horizontal); sides are rounded up. Or
        size: (height, width) of the result, px; the scales are then the ratios of the sizes. One of them may be None:
            it follows from the scale of the other.
        kernel: "bicubic" (Keys, a = -0.5), "bilinear", "box", "nearest", "lanczos2" or "lanczos3".
        antialias: widen the kernel to a low-pass filter when shrinking; "nearest" never does.
        border: "symmetric" mirrors the image at its edges, as MATLAB does since R2015b or before; "replicate" repeats
            the edge, as in 2011 and in the older public test sets (SelfExSR, RCAN).
        semantics: of integer images. "class": rounded after each of the two passes, as `imresize` of a uint8 image;
            "im2double": divided by the largest level, resized in double and rounded once, as `imwrite` of the result.
    Returns:
        An image of the same kind, layout, dtype and device; floats are neither clipped nor rounded. All arithmetic is
        in double, float32 is rounded to once at the end. The same bits for every number of threads, instruction set
        and device. Floating point tensors are differentiable, twice as often as wanted: the operation is linear.
    Raises:
        TypeError, ValueError: one line naming the argument.
    Source: MATLAB imresize (R2015b); border "replicate": mathworks.com/matlabcentral/answers/1628; Keys 1981.
    """
    _check_names(kernel, antialias, border, semantics)
    is_tensor = isinstance(image, torch.Tensor)
    if isinstance(image, np.ndarray):
        image = native_order(image)
    _check_image(image, is_tensor)
    in_height, in_width = image.shape[-2:] if is_tensor else image.shape[:2]
    (scale_y, scale_x), (height, width) = _scales_and_sizes(in_height, in_width, scale, size)
    if isinstance(image, torch.Tensor):
        rule = kernel, bool(antialias), border, semantics
        out = torch.ops.pydegrade.imresize(image, height, width, scale_y, scale_x, *rule)
        return cast(ImageT, out)
    result: NDArray[Any] = np.empty((height, width, *image.shape[2:]), image.dtype)
    if result.size == 0:  # no channels
        return result
    view = _array_view(image)
    if view is None:
        image = np.ascontiguousarray(image)
        view = cast(_View, _array_view(image))
    size = height, width
    _call("imresize", view, image, result, size, scale_y, scale_x, kernel, bool(antialias), border, semantics)
    return result


def _check_names(kernel: Any, antialias: Any, border: Any, semantics: Any) -> None:
    choices: Sequence[tuple[str, Any, tuple[str, ...]]] = (
        ("kernel", kernel, KERNELS),
        ("border", border, BORDERS),
        ("semantics", semantics, SEMANTICS),
    )
    for name, value, known in choices:
        if not is_one_of(value, known):
            raise ValueError(f"imresize: {name} must be one of {', '.join(map(repr, known))}, got {shown(value)}")
    if not isinstance(antialias, (bool, np.bool_)):
        raise TypeError(f"imresize: antialias must be True or False, got {shown(antialias)}")


def _check_image(image: Any, is_tensor: bool) -> None:
    if not is_tensor and not isinstance(image, np.ndarray):
        raise TypeError(f"imresize: image must be an array or a tensor, got {type(image).__name__}")
    if image.dtype not in _PIXEL_TYPES:
        dtype = str(image.dtype).removeprefix("torch.")
        raise TypeError(f"imresize: image must be {', '.join(_DTYPES[:-1])} or {_DTYPES[-1]}, got {dtype}")
    if is_tensor and image.layout != torch.strided:
        raise ValueError(f"imresize: image must be dense, got {image.layout}")
    shape = tuple(image.shape)
    sides, dimensions = (shape[-2:], (2, 3, 4)) if is_tensor else (shape[:2], (2, 3))
    if len(shape) not in dimensions or 0 in sides:
        expected = "[H, W], [C, H, W] or [N, C, H, W]" if is_tensor else "[H, W] or [H, W, C]"
        raise ValueError(f"imresize: image must be {expected} with H, W >= 1, got shape {list(shape)}")


def _scales_and_sizes(height: int, width: int, scale: Any, size: Any) -> tuple[tuple[float, float], tuple[int, int]]:
    """(vertical, horizontal) scale and size of the result."""
    if (scale is None) == (size is None):
        raise ValueError("imresize: give either scale or size")
    if size is not None:
        out_height, out_width = _checked_size(size)
        if out_height and out_width:
            scales = out_height / height, out_width / width
        else:
            # The open side in integers: a quotient that is rounded up by a bit would add a line.
            if out_height:
                both, out_width = out_height / height, -(-out_height * width // height)
            else:
                both, out_height = cast(int, out_width) / width, -(-cast(int, out_width) * height // width)
            scales = both, both
    else:
        scales = _checked_scales(scale)
        out_height, out_width = math.ceil(scales[0] * height), math.ceil(scales[1] * width)
    assert out_height
    assert out_width
    if max(out_height, out_width) > MAX_SIDE_PX:
        limit = f"at most {MAX_SIDE_PX} px on each side"
        raise ValueError(f"imresize: the result must have {limit}, got {out_height} x {out_width} (height x width)")
    return scales, (out_height, out_width)


def _checked_size(size: Any) -> tuple[int | None, int | None]:
    pair = tuple(size) if isinstance(size, (tuple, list)) else ()
    good = len(pair) == 2 and any(side is not None for side in pair)
    whole = (int, np.integer)
    good = good and all(side is None or (isinstance(side, whole) and side >= 1) for side in pair)
    if not good or any(isinstance(side, bool) for side in pair):
        expected = "(height, width), whole numbers >= 1, one of them may be None"
        raise ValueError(f"imresize: size must be {expected}, got {shown(size)}")
    height, width = (None if side is None else int(side) for side in pair)
    if max(height or 0, width or 0) > MAX_SIDE_PX:  # before anything is computed: such a number may be beyond floats
        raise ValueError(f"imresize: size must be at most {MAX_SIDE_PX} px on each side, got {shown(size)}")
    return height, width


def _checked_scales(scale: Any) -> tuple[float, float]:
    pair = tuple(scale) if isinstance(scale, (tuple, list)) else (scale, scale)
    good = len(pair) == 2 and all(
        isinstance(one, (int, float, np.integer, np.floating))
        and not isinstance(one, bool)
        and LOWEST_SCALE <= one <= HIGHEST_SCALE
        for one in pair
    )
    if not good:
        expected = "a number from 1e-06 to 1e+06 or (vertical, horizontal)"
        raise ValueError(f"imresize: scale must be {expected}, got {shown(scale)}")
    return float(pair[0]), float(pair[1])

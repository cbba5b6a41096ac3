"""MATLAB's imresize, to the last digit of its uint8 files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

Kernel = Literal["bicubic", "bilinear", "box", "nearest", "lanczos2", "lanczos3"]
Border = Literal["symmetric", "replicate"]
Semantics = Literal["class", "im2double"]
Doubles = NDArray[np.float64]
ImageT = TypeVar("ImageT", NDArray[Any], torch.Tensor)

_EPSILON = float(np.finfo(np.float64).eps)
_DTYPES = ("uint8", "uint16", "float32", "float64")


# ---- Kernels, written as MATLAB writes them: the last digit of a weight can decide a tie.


def _product_error(a: Doubles, b: Doubles, product: Doubles) -> Doubles:
    """a * b - product exactly (Dekker 1971)."""
    split = float(2**27 + 1)
    a_high = split * a - (split * a - a)
    b_high = split * b - (split * b - b)
    a_low, b_low = a - a_high, b - b_high
    return a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _cube(x: Doubles) -> Doubles:
    """x to the power of 3 with one rounding, as MATLAB's power gives it; x * x * x has two."""
    square = x * x
    cube = square * x
    return cube + (_product_error(square, x, cube) + _product_error(x, x, square) * x)


def _bicubic(x: Doubles) -> Doubles:
    x = np.abs(x)
    square, cube = x * x, _cube(x)
    inner = 1.5 * cube - 2.5 * square + 1
    outer = -0.5 * cube + 2.5 * square - 4 * x + 2
    return inner * (x <= 1) + outer * ((x > 1) & (x <= 2))


def _bilinear(x: Doubles) -> Doubles:
    return (x + 1) * ((x >= -1) & (x < 0)) + (1 - x) * ((x >= 0) & (x <= 1))


def _box(x: Doubles) -> Doubles:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _lanczos(lobes: int) -> Callable[[Doubles], Doubles]:
    def kernel(x: Doubles) -> Doubles:
        above = np.sin(np.pi * x) * np.sin(np.pi * x / lobes) + _EPSILON
        return above / (np.pi**2 * x**2 / lobes + _EPSILON) * (np.abs(x) < lobes)

    return kernel


# Width in px and function of each kernel.
_KERNELS: dict[str, tuple[float, Callable[[Doubles], Doubles]]] = {
    "bicubic": (4.0, _bicubic),
    "bilinear": (2.0, _bilinear),
    "box": (1.0, _box),
    "nearest": (1.0, _box),
    "lanczos2": (4.0, _lanczos(2)),
    "lanczos3": (6.0, _lanczos(3)),
}


def _contributions(
    inputs: int, outputs: int, scale: float, kernel: str, antialias: bool, border: str
) -> tuple[NDArray[np.int64], Doubles]:
    """Which samples make an output sample and their weights, both [outputs, taps]."""
    width, function = _KERNELS[kernel]
    stretch = scale if antialias and scale < 1 and kernel != "nearest" else 1.0
    width /= stretch
    centre = np.arange(1, outputs + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2)
    places = first[:, None] + np.arange(int(np.ceil(width)) + 2)
    offsets = centre[:, None] - places
    weights = stretch * function(stretch * offsets) if stretch != 1 else function(offsets)
    # From left to right; numpy's own sum adds in pairs.
    total = weights[:, 0].copy()
    for tap in range(1, weights.shape[1]):
        total += weights[:, tap]
    weights /= total[:, None]
    index = places.astype(np.int64) - 1
    if border == "symmetric":
        index %= 2 * inputs
        index = np.where(index < inputs, index, 2 * inputs - 1 - index)
    else:
        index = np.clip(index, 0, inputs - 1)
    used = (weights != 0).any(axis=0)
    return index[:, used], weights[:, used]


def _along_rows(values: Doubles, index: NDArray[np.int64], weights: Doubles) -> Doubles:
    """Resize the first axis: products added tap after tap, each rounded, which decides about ties."""
    shape = (-1,) + (1,) * (values.ndim - 1)
    out = weights[:, 0].reshape(shape) * values[index[:, 0]]
    for tap in range(1, index.shape[1]):
        out += weights[:, tap].reshape(shape) * values[index[:, tap]]
    return out


def _rounded(values: Doubles, highest: float) -> Doubles:
    """To whole numbers in [0, highest], halves away from zero."""
    clipped = np.clip(values, 0, highest)
    whole = np.trunc(clipped)
    return whole + (clipped - whole >= 0.5)


# ---- Public function


def imresize(
    image: ImageT,
    scale: float | tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    kernel: Kernel = "bicubic",
    antialias: bool = True,
    border: Border = "symmetric",
    semantics: Semantics = "class",
) -> ImageT:
    """Resize as MATLAB's `imresize` does.

    All uint8 samples of the MATLAB-made files compared are equal, at scales 1/2, 1/3, 1/4, 1/8, 2, 3 and 4. At scales
    such as 0.75, where exact ties between two levels occur, MATLAB's last rounding is not known: up to 5e-4 of the
    samples may differ by one level.

    Args:
        image: array [H, W] or [H, W, C], or CPU tensor [H, W], [C, H, W] or [N, C, H, W]; uint8, uint16, float32 or
            float64; H, W >= 1. Never written to; gradients do not pass.
        scale: output px per input px, > 0, for both axes or (vertical, horizontal); sides are rounded up. Or
        size: (height, width) of the result, px; the scales are then the ratios of the sizes.
        kernel: "bicubic" (Keys, a = -0.5), "bilinear", "box", "nearest", "lanczos2" or "lanczos3".
        antialias: widen the kernel to a low-pass filter when shrinking; "nearest" never does.
        border: "symmetric" mirrors the image at its edges, as MATLAB does since R2015b or before; "replicate" repeats
            the edge, as in 2011 and in the older public test sets (SelfExSR, RCAN).
        semantics: of integer images. "class": rounded after each of the two passes, as `imresize` of a uint8 image;
            "im2double": divided by the largest level, resized in double and rounded once, as `imwrite` of the result.
    Returns:
        An image of the same kind, layout and dtype; floats are neither clipped nor rounded.
    Raises:
        TypeError, ValueError: one line naming the argument.
    Source: MATLAB imresize (R2015b); border "replicate": mathworks.com/matlabcentral/answers/1628; Keys 1981.
    """
    _check_names(kernel, border, semantics)
    values, is_tensor = _values(image)
    # Vertical and horizontal first, the rest behind them.
    planes = np.moveaxis(values, (-2, -1), (0, 1)) if is_tensor else values
    scales, sizes = _scales_and_sizes(planes.shape[0], planes.shape[1], scale, size)
    highest = float(np.iinfo(values.dtype).max) if values.dtype.kind == "u" else None
    result = planes.astype(np.float64)
    if highest and semantics == "im2double":
        result /= highest
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        index, weights = _contributions(result.shape[axis], sizes[axis], scales[axis], kernel, antialias, border)
        result = np.swapaxes(_along_rows(np.swapaxes(result, 0, axis), index, weights), 0, axis)
        if highest and semantics == "class":
            result = _rounded(result, highest)
    if highest and semantics == "im2double":
        result = _rounded(result * highest, highest)
    if is_tensor:
        result = np.moveaxis(result, (0, 1), (-2, -1))
    final = np.ascontiguousarray(result, dtype=values.dtype)
    return cast(ImageT, torch.from_numpy(final) if is_tensor else final)


def _check_names(kernel: Any, border: Any, semantics: Any) -> None:
    for name, value, choices in (
        ("kernel", kernel, tuple(_KERNELS)),
        ("border", border, ("symmetric", "replicate")),
        ("semantics", semantics, ("class", "im2double")),
    ):
        if value not in choices:
            raise ValueError(f"imresize: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def _values(image: Any) -> tuple[NDArray[Any], bool]:
    """The image as an array, and whether it came as a tensor, channels first."""
    is_tensor = isinstance(image, torch.Tensor)
    if not is_tensor and not isinstance(image, np.ndarray):
        raise TypeError(f"imresize: image must be an array or a tensor, got {type(image).__name__}")
    if is_tensor and image.device.type != "cpu":
        raise ValueError(f"imresize: image must be on the CPU, got {image.device}")
    dtype = str(image.dtype).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise TypeError(f"imresize: image must be {', '.join(_DTYPES[:-1])} or {_DTYPES[-1]}, got {dtype}")
    shape = list(image.shape)
    if is_tensor:
        good = 2 <= len(shape) <= 4 and 0 not in shape[-2:]
        expected = "[H, W], [C, H, W] or [N, C, H, W]"
    else:
        good = 2 <= len(shape) <= 3 and 0 not in shape[:2]
        expected = "[H, W] or [H, W, C]"
    if not good:
        raise ValueError(f"imresize: image must be {expected} with H, W >= 1, got shape {shape}")
    return (image.detach().numpy() if is_tensor else image), is_tensor


def _scales_and_sizes(height: int, width: int, scale: Any, size: Any) -> tuple[tuple[float, float], tuple[int, int]]:
    """(vertical, horizontal) scale and size of the result."""
    if (scale is None) == (size is None):
        raise ValueError("imresize: give either scale or size")
    if size is not None:
        pair = tuple(size) if isinstance(size, (tuple, list)) else ()
        if len(pair) != 2 or not all(isinstance(side, (int, np.integer)) and side >= 1 for side in pair):
            raise ValueError(f"imresize: size must be (height, width), whole numbers >= 1, got {size!r}")
        return (pair[0] / height, pair[1] / width), (int(pair[0]), int(pair[1]))
    pair = tuple(scale) if isinstance(scale, (tuple, list)) else (scale, scale)
    good = len(pair) == 2 and all(isinstance(one, (int, float, np.number)) and 0 < one < np.inf for one in pair)
    if not good:
        raise ValueError(f"imresize: scale must be a number > 0 or (vertical, horizontal), got {scale!r}")
    vertical, horizontal = float(pair[0]), float(pair[1])
    return (vertical, horizontal), (int(np.ceil(vertical * height)), int(np.ceil(horizontal * width)))

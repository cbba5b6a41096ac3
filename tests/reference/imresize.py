"""MATLAB's imresize in NumPy, float64, one product and one sum at a time: the twin of the C++ loops.

Written before them and proved equal to MATLAB's files by tests/test_imresize.py. Imports nothing of the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)

# ---- Kernels, written as MATLAB writes them: the last digit of a weight can decide a tie.


def product_error(a: Doubles, b: Doubles, product: Doubles) -> Doubles:
    """a * b - product exactly (Dekker 1971)."""
    split = float(2**27 + 1)
    a_high = split * a - (split * a - a)
    b_high = split * b - (split * b - b)
    a_low, b_low = a - a_high, b - b_high
    return a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def cube_of(x: Doubles) -> Doubles:
    """x to the power of 3 with one rounding, as MATLAB's power gives it; x * x * x has two."""
    square = x * x
    cube = square * x
    return cube + (product_error(square, x, cube) + product_error(x, x, square) * x)


def bicubic(x: Doubles) -> Doubles:
    x = np.abs(x)
    square, cube = x * x, cube_of(x)
    inner = 1.5 * cube - 2.5 * square + 1
    outer = -0.5 * cube + 2.5 * square - 4 * x + 2
    return inner * (x <= 1) + outer * ((x > 1) & (x <= 2))


def bilinear(x: Doubles) -> Doubles:
    return (x + 1) * ((x >= -1) & (x < 0)) + (1 - x) * ((x >= 0) & (x <= 1))


def box(x: Doubles) -> Doubles:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def lanczos(lobes: int) -> Callable[[Doubles], Doubles]:
    def kernel(x: Doubles) -> Doubles:
        above = np.sin(np.pi * x) * np.sin(np.pi * x / lobes) + EPSILON
        return above / (np.pi**2 * x**2 / lobes + EPSILON) * (np.abs(x) < lobes)

    return kernel


# Width in px and function of each kernel.
KERNELS: dict[str, tuple[float, Callable[[Doubles], Doubles]]] = {
    "bicubic": (4.0, bicubic),
    "bilinear": (2.0, bilinear),
    "box": (1.0, box),
    "nearest": (1.0, box),
    "lanczos2": (4.0, lanczos(2)),
    "lanczos3": (6.0, lanczos(3)),
}


def contributions(
    inputs: int, outputs: int, scale: float, kernel: str, antialias: bool, border: str
) -> tuple[NDArray[np.int64], Doubles]:
    """Which samples make an output sample and their weights, both [outputs, taps]."""
    width, function = KERNELS[kernel]
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


def along_rows(values: Doubles, index: NDArray[np.int64], weights: Doubles) -> Doubles:
    """Resize the first axis: products added tap after tap, each rounded, which decides about ties."""
    shape = (-1,) + (1,) * (values.ndim - 1)
    out = weights[:, 0].reshape(shape) * values[index[:, 0]]
    for tap in range(1, index.shape[1]):
        out += weights[:, tap].reshape(shape) * values[index[:, tap]]
    return out


def rounded(values: Doubles, highest: float) -> Doubles:
    """To whole numbers in [0, highest], halves away from zero."""
    clipped = np.clip(values, 0, highest)
    whole = np.trunc(clipped)
    return whole + (clipped - whole >= 0.5)


def imresize(
    image: NDArray[Any],
    scales: tuple[float, float],
    size: tuple[int, int],
    kernel: str = "bicubic",
    antialias: bool = True,
    border: str = "symmetric",
    semantics: str = "class",
    table: Callable[..., tuple[NDArray[np.int64], Doubles]] | None = None,
) -> NDArray[Any]:
    """[H, W] or [H, W, C] -> [height, width] or [height, width, C] of the same dtype. `table` may replace the weights."""
    table = table or contributions
    highest = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else None
    result = image.astype(np.float64)
    if highest and semantics == "im2double":
        result /= highest
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        index, weights = table(result.shape[axis], size[axis], scales[axis], kernel, antialias, border)
        result = np.swapaxes(along_rows(np.swapaxes(result, 0, axis), index, weights), 0, axis)
        if highest and semantics == "class":
            result = rounded(result, highest)
    if highest and semantics == "im2double":
        result = rounded(result * highest, highest)
    return np.ascontiguousarray(result, dtype=image.dtype)

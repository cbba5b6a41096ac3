"""Resizing written from its formulas as dense float64 matrices, one per axis. Imports nothing of the package."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def cubic(x: float, a: float) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def lanczos(x: float, lobes: int) -> float:
    return float(np.sinc(x) * np.sinc(x / lobes)) if abs(x) < lobes else 0.0


MATLAB_KERNELS = {
    "matlab_bicubic": (4, lambda x: cubic(x, -0.5)),
    "matlab_bilinear": (2, lambda x: max(1 - abs(x), 0)),
    "matlab_box": (1, lambda x: float(-0.5 <= x < 0.5)),
    "matlab_nearest": (1, lambda x: float(-0.5 <= x < 0.5)),
    "matlab_lanczos2": (4, lambda x: lanczos(x, 2)),
    "matlab_lanczos3": (6, lambda x: lanczos(x, 3)),
}


def cubic_bc(x: float, b: float, c: float) -> float:
    """Mitchell and Netravali 1988, equation 8."""
    x = abs(x)
    if x < 1:
        return ((12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b) / 6
    return (
        ((-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + 8 * b + 24 * c) / 6 if x < 2 else 0.0
    )


LOW_PASS = {
    "torch_bilinear_aa": lambda x: max(1 - abs(x), 0),
    "torch_bicubic_aa": lambda x: cubic(x, -0.5),
    "lanczos3": lambda x: lanczos(x, 3),
    "mitchell": lambda x: cubic_bc(x, 1 / 3, 1 / 3),
    "catmull_rom": lambda x: cubic_bc(x, 0, 1 / 2),
    "hermite": lambda x: cubic_bc(x, 0, 0),
    "b_spline": lambda x: cubic_bc(x, 1, 0),
}


def low_pass_row(mode: str, j: int, n: int, step: float) -> NDArray[np.float64]:
    """The kernel, widened by `step` when that is above 1, at every sample of the image; divided by the sum."""
    kernel = LOW_PASS[mode]
    stretch = max(step, 1.0)
    weights = np.array([kernel((i + 0.5 - step * (j + 0.5)) / stretch) for i in range(n)])
    return weights / weights.sum()


def interpolating_row(taps: int, at: float, n: int) -> NDArray[np.float64]:
    """Linear (2 taps) or cubic (4 taps, a = -0.75) interpolation at a coordinate, edge clamped."""
    row = np.zeros(n)
    first = math.floor(at)
    for i in range(first - taps // 2 + 1, first + taps // 2 + 1):
        row[min(max(i, 0), n - 1)] += max(1 - abs(at - i), 0) if taps == 2 else cubic(at - i, -0.75)
    return row


def matlab_row(mode: str, j: int, n: int, scale: float) -> NDArray[np.float64]:
    width, kernel = MATLAB_KERNELS[mode]
    stretch = min(scale, 1.0) if mode != "matlab_nearest" else 1.0
    centre = (j + 1) / scale + 0.5 * (1 - 1 / scale)
    first = math.floor(centre - width / stretch / 2)
    places = np.arange(first, first + math.ceil(width / stretch) + 2)
    weights = np.array([kernel(stretch * (centre - place)) for place in places])
    row = np.zeros(n)
    mirrored = np.concatenate([np.arange(n), np.arange(n)[::-1]])
    np.add.at(row, mirrored[(places - 1) % (2 * n)], weights / weights.sum())
    return row


def area_row(j: int, n: int, out: int) -> NDArray[np.float64]:
    """Overlap of the box [j n / out, (j + 1) n / out) with each pixel, without slivers of up to 1/1000 px."""
    begin, end = j * n / out, (j + 1) * n / out
    overlap = np.minimum(np.arange(n) + 1, end) - np.maximum(np.arange(n), begin)
    return np.where(overlap > 1e-3, overlap, 0) * out / n


def axis_matrix(mode: str, n: int, out: int, scale: float | None = None, both_shrink: bool = True) -> Matrix:
    """[out, n] float64. `scale`: output px per input px used for coordinates; None: out / n."""
    ratio = scale or out / n
    if mode == "torch_area":
        rows = []
        for j in range(out):
            first, end = j * n // out, -(-(j + 1) * n // out)
            rows.append(np.where((np.arange(n) >= first) & (np.arange(n) < end), 1 / (end - first), 0.0))
        return np.array(rows)
    if mode == "decimate":
        return np.eye(n)[np.minimum(np.arange(out) * max(math.floor(1 / ratio + 0.5), 1), n - 1)]
    if mode.endswith("_aa") and n == out:
        return np.eye(n)
    if mode in LOW_PASS:
        return np.array([low_pass_row(mode, j, n, 1 / ratio) for j in range(out)])
    if mode == "torch_nearest_exact":
        at = (np.float32(n) / np.float32(out) if scale is None else np.float32(1 / scale)) * (
            np.arange(out, dtype=np.float32) + np.float32(0.5)
        )
        return np.eye(n)[np.clip(np.floor(at).astype(int), 0, n - 1)]
    if mode.startswith("matlab"):
        return np.array([matlab_row(mode, j, n, ratio) for j in range(out)])
    if mode == "cv2_area":
        if both_shrink:
            return np.array([area_row(j, n, out) for j in range(out)])
        rows = []
        for j in range(out):
            # OpenCV's rule jumps where j n / out is whole, so its double expressions decide.
            first = math.floor(j * (1 / ratio))
            fraction = float(np.float32((j + 1) - (first + 1) * ratio))
            rows.append(interpolating_row(2, first + (fraction % 1 if fraction > 0 else 0), n))
        return np.array(rows)
    taps = 2 if mode.endswith("linear") else 4
    return np.array([interpolating_row(taps, (j + 0.5) / ratio - 0.5, n) for j in range(out)])


def resize(
    image: NDArray[np.float64], size: tuple[int, int], mode: str, scale: float | None = None
) -> NDArray[np.float64]:
    """float64 [..., H, W] -> [..., height, width]."""
    height, width = image.shape[-2:]
    both_shrink = size[0] <= height and size[1] <= width
    vertical = axis_matrix(mode, height, size[0], scale, both_shrink)
    horizontal = axis_matrix(mode, width, size[1], scale, both_shrink)
    return vertical @ image @ horizontal.T

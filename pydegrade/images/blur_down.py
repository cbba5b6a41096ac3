"""Low-resolution images by a known kernel, in doubles: the test sets of MZSR, ZSSR and their like, to the last digit."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import shown
from ..native.given import check_array, is_one_of
from ..ops import kernels
from .imresize import imresize

Subsampling = Literal["direct", "bicubic"]


def blur_down(image: NDArray[Any], kernel: ArrayLike, scale: int, subsampling: Subsampling = "direct") -> NDArray[Any]:
    """Correlate an image with a kernel, then keep every `scale`-th pixel.

    The arithmetic of the released MZSR test sets: uint8 images become doubles divided by 255; borders repeat the edge
    pixel (half-sample symmetric); taps are added in the kernel's row order; the result is multiplied by 255 and rounded
    once. The presets "mzsr-direct-x2" and so on do the same in float32, which differs only where a value lies within
    float32 rounding of a half.

    Args:
        image: [H, W] or [H, W, C], uint8, or float of any range.
        kernel: [k, k], k odd, sum 1 (see `pydegrade.kernels.check`), of any size.
        scale: whole number >= 1.
        subsampling: "direct" keeps pixels round(linspace(0, H - scale, ceil(H / scale))): 0, scale, 2 scale .. where the
            sides are multiples of the scale. "bicubic" shrinks with MATLAB's antialiased bicubic instead.
    Returns:
        [ceil(H / scale), ceil(W / scale)] with the image's channels and dtype: uint8 rounded and clipped, float as it is.
    Raises:
        TypeError: not an array. ValueError: another shape, dtype or scale, an image smaller than the scale, or an
            unusable kernel.
    Source: Soh et al. 2020, arXiv:2002.12213, released code.
    """
    image = check_array("blur_down: image", image)
    if (
        image.ndim not in (2, 3)
        or image.dtype.kind not in "uf"
        or (image.dtype.kind == "u" and image.dtype != np.uint8)
    ):
        raise ValueError(
            f"blur_down: image must be uint8 or float, [H, W] or [H, W, C], got {image.dtype} {list(image.shape)}"
        )
    if not isinstance(scale, (int, np.integer)) or isinstance(scale, bool) or not 1 <= scale <= min(image.shape[:2]):
        raise ValueError(
            f"blur_down: scale must be a whole number in 1..{min(image.shape[:2])}, the shorter side, got {shown(scale)}"
        )
    if not is_one_of(subsampling, ("direct", "bicubic")):
        raise ValueError(f"blur_down: subsampling must be 'direct' or 'bicubic', got {shown(subsampling)}")
    weights = kernels.check(kernel, "blur_down: kernel")
    peak = 255.0 if image.dtype == np.uint8 else 1.0
    values = image.astype(np.float64) / peak
    rows, columns = (_kept(side, scale) for side in image.shape[:2])
    if subsampling == "direct":
        made = _correlated(values, weights, rows, columns)
    else:
        whole = _correlated(values, weights, np.arange(image.shape[0]), np.arange(image.shape[1]))
        made = imresize(whole, 1 / scale) if scale > 1 else whole
    if image.dtype == np.uint8:
        return np.clip(np.rint(made * peak), 0, 255).astype(np.uint8)
    return made.astype(image.dtype)


def _kept(side: int, scale: int) -> NDArray[np.int64]:
    """The pixels of a line that direct subsampling keeps."""
    return np.rint(np.linspace(0, side - scale, -(-side // scale))).astype(np.int64)


def _correlated(
    values: NDArray[np.float64], weights: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The correlation at the given rows and columns, symmetric borders."""
    radius = len(weights) // 2
    padded = np.pad(values, [(radius, radius), (radius, radius), *[(0, 0)] * (values.ndim - 2)], "symmetric")
    total = np.zeros((len(rows), len(columns), *values.shape[2:]))
    product = np.empty_like(total)
    for j in range(len(weights)):
        lines = padded[_shifted(rows, j)]
        for i in range(len(weights)):
            # SciPy leaves out taps of weight zero as well.
            if weights[j, i] != 0:
                np.multiply(lines[:, _shifted(columns, i)], weights[j, i], out=product)
                total += product
    return total


def _shifted(index: NDArray[np.int64], by: int) -> slice | NDArray[np.int64]:
    """The pixels `by` further on; a slice, which copies nothing, where they are evenly spaced."""
    steps = np.diff(index)
    if len(steps) and (steps == steps[0]).all():
        return slice(int(index[0]) + by, int(index[-1]) + by + 1, int(steps[0]))
    return index + by

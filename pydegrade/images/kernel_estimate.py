"""The blur kernel of one image, from its spectrum alone: for images whose kernel nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import KernelError, shown
from ..native.given import check_array, is_one_of
from ..ops import kernels
from .blur_down import Subsampling

SPECTRUM_EXPONENT = 2.2
"""Power of photographs falls like |f|^-2.2. On 34 photographs (BSD, Set14) and 5 kernels at x2, exponents of 2.0, 2.2 and
2.4 gave a mean error of the kernel's variance of +0.12, -0.02 and -0.16 px^2."""

MAX_SCALE = 64
_LOWEST, _HIGHEST = 0.05, 0.45
_BLOCK_PX = (64, 32)
_LEAST_VARIANCE_PX2 = 0.05


@dataclass(frozen=True)
class EstimatedKernel:
    """A Gaussian kernel in pixels of the high-resolution image.

    Attributes:
        sigma_x_px, sigma_y_px: standard deviations along the two axes, the larger one first.
        angle_rad: direction of the larger one, from x towards y (down), in (-pi/2, pi/2].
        kernel: float64 [k, k], sum 1, as `pydegrade.kernels.gaussian` makes it.
    """

    sigma_x_px: float
    sigma_y_px: float
    angle_rad: float
    kernel: NDArray[np.float64]


def estimate_kernel(image: NDArray[Any], scale: int, subsampling: Subsampling = "direct") -> EstimatedKernel:
    """The Gaussian whose blur, followed by subsampling, explains the spectrum of an image best.

    Photographs have power near |f|^-2.2 in every direction, and a Gaussian of covariance S multiplies it by
    exp(-4 pi^2 f' S f): the logarithm of the measured power is linear in the three entries of S, which follow by least
    squares. Strong texture of one direction is taken for blur across it, noise and compression for less blur.

    Nothing is promised of the last digits, which come from logarithms, a Fourier transform and least squares and so depend
    on the machine and on NumPy's build. Where an estimate must stay the same, store its kernel.

    Args:
        image: [H, W] or [H, W, C], any real dtype; sides of at least 32 px.
        scale: whole number, 1 to 64, by which the image was made smaller.
        subsampling: as in `blur_down`; with "bicubic" that filter's own response is taken out first.
    Returns:
        The kernel, of three standard deviations to each side, 15 to 51 px.
    Raises:
        TypeError: not an array. KernelError: an image too small or without any texture, or another scale or subsampling.
    Source: the power law is that of natural images (Field 1987, JOSA A 4, 2379); the fit is ours.
    """
    image = check_array("estimate_kernel: image", image)
    if image.dtype.kind not in "fiub":
        raise KernelError(f"estimate_kernel: image must hold real numbers, got {image.dtype}")
    if image.ndim not in (2, 3) or min(image.shape[:2]) < _BLOCK_PX[-1]:
        raise KernelError(
            f"estimate_kernel: image must be [H, W] or [H, W, C] with sides of at least {_BLOCK_PX[-1]} px, "
            f"got {list(image.shape)}"
        )
    if not isinstance(scale, (int, np.integer)) or isinstance(scale, bool) or not 1 <= scale <= MAX_SCALE:
        raise KernelError(f"estimate_kernel: scale must be a whole number in 1..{MAX_SCALE}, got {shown(scale)}")
    if not is_one_of(subsampling, ("direct", "bicubic")):
        raise KernelError(f"estimate_kernel: subsampling must be 'direct' or 'bicubic', got {shown(subsampling)}")
    gray = image.astype(np.float64) if image.ndim == 2 else image.astype(np.float64).mean(2)
    side = next(side for side in _BLOCK_PX if min(gray.shape) >= side)
    power = _power(gray, side)
    frequencies = np.fft.fftfreq(side)
    y, x = np.meshgrid(frequencies, frequencies, indexing="ij")
    distance = np.hypot(x, y)
    # Half of the plane: a real image has the same power at f and -f.
    used = (distance > _LOWEST) & (distance < _HIGHEST) & ((x > 0) | ((x == 0) & (y > 0)))
    x, y, distance, power = x[used], y[used], distance[used], power[used]
    if not power.min() > 1e-12 * max(float(np.square(gray).max()), 1e-300):
        raise KernelError("estimate_kernel: the image has no texture to estimate a kernel from")
    known = np.log(power) + SPECTRUM_EXPONENT * np.log(distance)
    if subsampling == "bicubic":
        known -= 2 * np.log(np.abs(_bicubic_response(x, scale) * _bicubic_response(y, scale)))
    waves = -4 * np.pi**2 * np.stack([x * x, 2 * x * y, y * y], 1)
    (_, xx, xy, yy), *_ = np.linalg.lstsq(np.column_stack([np.ones(len(waves)), waves]), known, rcond=None)
    variances, axes = np.linalg.eigh(scale * scale * np.array([[xx, xy], [xy, yy]]))
    sigma_y_px, sigma_x_px = np.sqrt(variances.clip(_LEAST_VARIANCE_PX2)).tolist()
    across, down = axes[:, 1].tolist()
    angle_rad = float(np.arctan(down / across)) if across else np.pi / 2
    # Three standard deviations to each side; the published kernels have 15 px.
    size_px = int(np.clip(2 * np.ceil(3 * sigma_x_px) + 1, 15, 51))
    kernel = kernels.gaussian(size_px, sigma_x_px, sigma_y_px, angle_rad)
    return EstimatedKernel(sigma_x_px, sigma_y_px, angle_rad, kernel)


def _power(gray: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Mean power spectrum [side, side] of half-overlapping blocks under a Hann window (Welch's method)."""
    line = np.hanning(side)
    window = np.outer(line, line)
    total, count = np.zeros((side, side)), 0
    for top in range(0, gray.shape[0] - side + 1, side // 2):
        for left in range(0, gray.shape[1] - side + 1, side // 2):
            block = gray[top : top + side, left : left + side]
            total += np.abs(np.fft.fft2((block - block.mean()) * window)) ** 2
            count += 1
    return total / count


def _bicubic_response(frequency: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """What MATLAB's antialiased bicubic leaves of a wave of so many cycles per low-resolution pixel."""
    places = np.arange(-2 * scale, 2 * scale + 1) + (0.5 if scale % 2 == 0 else 0.0)
    near = np.abs(places) / scale
    weights = np.where(
        near <= 1,
        1.5 * near**3 - 2.5 * near**2 + 1,
        np.where(near < 2, -0.5 * near**3 + 2.5 * near**2 - 4 * near + 2, 0),
    )
    waves = np.cos(2 * np.pi * frequency[:, None] * places / scale)
    response: NDArray[np.float64] = waves @ weights / weights.sum()
    return response

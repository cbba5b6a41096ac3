"""Blur kernels as arrays: float64 [k, k], sum 1, x to the right, y down, centre at (k // 2, k // 2)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .psf import COLUMNS, SHAPES, full_kernels


def gaussian(
    size_px: int, sigma_x_px: float, sigma_y_px: float | None = None, angle_rad: float = 0.0
) -> NDArray[np.float64]:
    """exp(-D / 2), D = p^T S^-1 p, S = R(angle) diag(sigma_x^2, sigma_y^2) R(angle)^T; sigma_x lies along (cos, sin).

    Args:
        size_px: odd, 1 to 51.
        sigma_x_px, sigma_y_px: > 0; without sigma_y the kernel is round.
        angle_rad: turns the axes from x towards y, which points down.
    Source: BasicSR, degradations.py, bivariate_Gaussian.
    """
    shape = "iso" if sigma_y_px is None else "aniso"
    return _kernel(shape, size_px, sigma_x_px, sigma_y_px, angle_rad, 1.0)


def generalized(
    size_px: int, sigma_x_px: float, sigma_y_px: float | None = None, angle_rad: float = 0.0, beta: float = 1.0
) -> NDArray[np.float64]:
    """exp(-D^beta / 2), as `gaussian` for beta = 1; beta > 0. Source: BasicSR, bivariate_generalized_Gaussian."""
    shape = "generalized_iso" if sigma_y_px is None else "generalized_aniso"
    return _kernel(shape, size_px, sigma_x_px, sigma_y_px, angle_rad, beta)


def plateau(
    size_px: int, sigma_x_px: float, sigma_y_px: float | None = None, angle_rad: float = 0.0, beta: float = 1.0
) -> NDArray[np.float64]:
    """1 / (1 + D^beta), beta > 0. Source: BasicSR, bivariate_plateau."""
    shape = "plateau_iso" if sigma_y_px is None else "plateau_aniso"
    return _kernel(shape, size_px, sigma_x_px, sigma_y_px, angle_rad, beta)


def sinc(size_px: int, cutoff_rad: float) -> NDArray[np.float64]:
    """Circular low-pass cutoff J1(cutoff r) / (2 pi r); cutoff in (0, pi]. Source: BasicSR, circular_lowpass_kernel."""
    if not 0 < cutoff_rad <= np.pi + 1e-6:
        raise ValueError(f"kernels: cutoff_rad must be in (0, pi], got {cutoff_rad:g}")
    return _kernel("sinc", size_px, 1.0, None, 0.0, 1.0, cutoff_rad)


class Tasks(Protocol):
    """What `of_tasks` needs of a TaskBatch."""

    def column(self, name: str) -> NDArray[Any]: ...


def of_tasks(tasks: Tasks, slot: str) -> list[NDArray[np.float64]]:
    """Kernels of a blur slot, one per task, in their true sizes; a slot that is off has the 1x1 kernel."""
    return full_kernels({name: tasks.column(f"{slot}.{name}") for name in COLUMNS})


def _kernel(
    shape: str,
    size_px: int,
    sigma_x_px: float,
    sigma_y_px: float | None,
    angle_rad: float,
    beta: float,
    cutoff_rad: float = 0.0,
) -> NDArray[np.float64]:
    if not isinstance(size_px, (int, np.integer)) or not 1 <= size_px <= 51 or size_px % 2 == 0:
        raise ValueError(f"kernels: size_px must be odd and in 1..51, got {size_px!r}")
    sigma_y = sigma_x_px if sigma_y_px is None else sigma_y_px
    for name, value in (("sigma_x_px", sigma_x_px), ("sigma_y_px", sigma_y), ("beta", beta)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"kernels: {name} must be > 0, got {value:g}")
    if not np.isfinite(angle_rad):
        raise ValueError(f"kernels: angle_rad must be finite, got {angle_rad:g}")
    # One turn is enough; the sine of large angles loses digits.
    values = (SHAPES.index(shape), size_px, sigma_x_px, sigma_y, angle_rad % (2 * np.pi), beta, cutoff_rad, 0.0)
    return full_kernels({name: np.array([value]) for name, value in zip(COLUMNS, values)})[0]

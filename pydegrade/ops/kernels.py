"""Blur kernels as arrays: float64 [k, k], sum 1, x to the right, y down, centre at (k // 2, k // 2).

A kernel is used by cross-correlation, as `pydegrade.ops.blur`, SciPy's correlate and MATLAB's imfilter do; a file that was
meant for convolution must be turned by half a turn (`kernel[::-1, ::-1]`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ..errors import KernelError, shown
from ..native.given import real_array
from .elementary import direction
from .pool import MOST
from .psf import COLUMNS, MAX_SIZE_PX, SHAPES, full_kernels


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
    """Circular low-pass cutoff J1(cutoff r) / (2 pi r); cutoff in [1e-4, pi]. Source: BasicSR, circular_lowpass_kernel."""
    cutoff_rad = _number("cutoff_rad", cutoff_rad)
    if not 1e-4 <= cutoff_rad <= np.pi + 1e-6:
        raise ValueError(f"kernels: cutoff_rad must be in [1e-4, pi], got {cutoff_rad:g}")
    return _kernel("sinc", size_px, 1.0, None, 0.0, 1.0, cutoff_rad)


def box(radius_px: float, angle_rad: float = 0.0, size_px: int | None = None) -> NDArray[np.float64]:
    """A square of side 2 radius_px, turned from x towards y: the share of every pixel that it covers, divided by the sum.

    As all apertures here: shares come from 8 x 8 places in a pixel. cv2.blur of odd size k is radius_px = k / 2.

    Args:
        radius_px: 0 to 25.
        size_px: odd, 1 to 51; by default the least that holds the figure.
    """
    along, across = _direction(angle_rad)
    reach = _number("radius_px", radius_px) * (abs(along) + abs(across))
    return _aperture("box", reach, size_px, radius_px, angle_rad)


def disk(radius_px: float, size_px: int | None = None) -> NDArray[np.float64]:
    """A circle, the defocus of a round aperture; as `box`."""
    return _aperture("disk", radius_px, size_px, radius_px)


def polygon(
    radius_px: float, blades: int = 6, angle_rad: float = 0.0, size_px: int | None = None
) -> NDArray[np.float64]:
    """A regular polygon with its corners on a circle, the defocus of an aperture with 3 to 12 blades; as `box`."""
    return _aperture("polygon", radius_px, size_px, radius_px, angle_rad, blades)


def motion(length_px: float, angle_rad: float = 0.0, size_px: int | None = None) -> NDArray[np.float64]:
    """A line of one pixel's width through the centre, from x towards y; length_px 0 to 50; as `box`."""
    half = _number("length_px", length_px) / 2
    along, across = sorted(map(abs, _direction(angle_rad)), reverse=True)
    return _aperture("motion", half * along + 0.5 * across, size_px, half, angle_rad)


def _aperture(
    shape: str, reach_px: float, size_px: int | None, radius_px: float, angle_rad: float = 0.0, blades: int = 6
) -> NDArray[np.float64]:
    radius_px = _number("radius_px", radius_px)
    if not 0 <= radius_px <= 25:
        raise ValueError(f"kernels: radius_px must be in [0, 25], got {radius_px:g}")
    if not isinstance(blades, (int, np.integer)) or not 3 <= blades <= 12:
        raise ValueError(f"kernels: blades must be a whole number in 3..12, got {shown(blades)}")
    size_px = min(2 * int(np.ceil(reach_px - 0.5 - 1e-9)) + 1, MAX_SIZE_PX) if size_px is None else size_px
    return _kernel(shape, max(size_px, 1), 1.0, None, angle_rad, 1.0, radius_px=radius_px, blades=blades)


def check(kernel: ArrayLike, name: str = "kernel") -> NDArray[np.float64]:
    """A kernel as float64 [k, k], its values unchanged.

    Raises:
        KernelError: not square, of even size (it has no centre, and would shift the image by half a pixel), not finite, or
            with a sum further than 1e-3 from 1 (it would change the brightness); one line that begins with `name`.
    """
    values = real_array(f"{name}: must hold numbers", kernel, KernelError).astype(np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise KernelError(f"{name}: must be [k, k], got shape {list(values.shape)}")
    if values.shape[0] % 2 == 0:
        raise KernelError(
            f"{name}: size must be odd, got {values.shape[0]}x{values.shape[0]}; pad one row and column of zeros on "
            "the side that keeps the centre"
        )
    if not np.isfinite(values).all():
        raise KernelError(f"{name}: must be finite, got NaN or infinity")
    if not abs(values.sum() - 1) <= 1e-3:
        raise KernelError(
            f"{name}: must sum to 1, got {values.sum():.6g}; divide it by its sum if brightness is to stay"
        )
    return values


ENDINGS = (".npy", ".mat", ".png")
"""Of kernel files."""

_MOST_VALUES = 2**24
"""Numbers that a file may unpack to."""

_MAT_NUMBERS = (
    *("double", "single", "logical"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
"""SciPy's names of the classes of variables that hold numbers."""


def load(path: str | Path, variable: str | None = None) -> NDArray[np.float64]:
    """A blur kernel from a file, checked by `check`.

    Args:
        path: `.npy` (never with pickled objects); `.mat` up to MATLAB's version 7, read by SciPy; or an 8- or 16-bit gray
            `.png`, whose values are divided by their sum because a picture cannot hold one.
        variable: which variable of a `.mat` file; None takes the only square matrix in it.
    Returns:
        float64 [k, k], k odd.
    Raises:
        KernelError: no such file, another kind of file, no or several matrices, SciPy missing, or not a usable kernel.
    """
    return check(_read(Path(path), variable), str(path))


def load_all(path: str | Path) -> list[NDArray[np.float64]]:
    """The kernels of a file: as `load`, and from an `.npy` of shape [N, k, k] all N of them, at most 65535."""
    values = _read(Path(path), None)
    if values.ndim != 3:
        return [check(values, str(path))]
    if len(values) > MOST:
        raise KernelError(f"{path}: holds {len(values)} kernels, more than {MOST}")
    return [check(kernel, f"{path}: kernel {place + 1}") for place, kernel in enumerate(values)]


def _read(path: Path, variable: str | None) -> NDArray[Any]:
    if not path.is_file():
        raise KernelError(f"{path}: no such file")
    match path.suffix.lower():
        case ".npy":
            return _read_npy(path)
        case ".png":
            return _read_png(path)
        case ".mat":
            return _read_mat(path, variable)
        case other:
            raise KernelError(f"{path}: a kernel file must end in .npy, .png or .mat, got {shown(other)}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        # Mapped, so that a header of any size costs nothing; copied in the machine's byte order.
        with np.errstate(over="ignore"):
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.size > _MOST_VALUES:
            raise ValueError(f"{mapped.size} numbers")
        return np.array(mapped, mapped.dtype.newbyteorder("="))
    except Exception as error:
        # NumPy parses the header as Python: damage surfaces as tokenize.TokenError, SyntaxError, KeyError and more.
        raise KernelError(f"{path}: not a NumPy file of numbers ({_first_line(error)})") from None


def _read_png(path: Path) -> NDArray[np.float64]:
    try:
        # Other formats that Pillow knows start programs.
        with Image.open(path, formats=["PNG"]) as image:
            if image.mode not in ("L", "I", "I;16"):
                raise KernelError(f"{path}: a kernel picture must be gray, got mode {image.mode}")
            if image.width * image.height > _MOST_VALUES:
                raise KernelError(f"{path}: too large for a kernel, {image.width}x{image.height} px")
            values = np.asarray(image, np.float64)
    except KernelError:
        raise
    except Exception as error:
        # Pillow: ValueError of cut chunks and texts that unpack to too much, DecompressionBombError, SyntaxError and more.
        raise KernelError(f"{path}: not a picture that can be read ({_first_line(error)})") from None
    if values.sum() <= 0:
        raise KernelError(f"{path}: a kernel picture must not be black")
    return values / values.sum()


def _read_mat(path: Path, variable: str | None) -> NDArray[Any]:
    try:
        from scipy.io import loadmat, whosmat
    except ImportError:
        raise KernelError(f"{path}: reading .mat files needs SciPy; install it with: pip install scipy") from None
    try:
        # Compressed numbers may unpack to any size; their shapes stand in front of them. What cells and structs hold is not
        # read: nothing tells its size.
        numbers = [(name, math.prod(shape)) for name, shape, kind in whosmat(path) if kind in _MAT_NUMBERS]
        held = sum(size for _, size in numbers)
        content = loadmat(path, variable_names=[name for name, _ in numbers]) if held <= _MOST_VALUES else None
    except NotImplementedError:
        raise KernelError(f"{path}: is of MATLAB's version 7.3; save it with save -v7, or as .npy") from None
    except Exception as error:
        # On damaged bytes SciPy raises whatever it stumbles over: any class is possible.
        raise KernelError(f"{path}: not a .mat file that can be read ({_first_line(error)})") from None
    if content is None:
        raise KernelError(f"{path}: too large for kernels, {held} numbers")
    found = {
        name: value
        for name, value in content.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.ndim == 2 and value.size > 1
    }
    if variable is not None:
        if variable not in content:
            names = ", ".join(name for name in content if not name.startswith("__")) or "nothing"
            raise KernelError(f"{path}: no variable {variable!r}; it holds {names}")
        return np.asarray(content[variable])
    square = {name: value for name, value in found.items() if value.shape[0] == value.shape[1]}
    candidates = square or found
    if len(candidates) != 1:
        names = ", ".join(candidates) or "none"
        raise KernelError(f"{path}: must hold one matrix, got {names}; name the one that is meant")
    return next(iter(candidates.values()))


class Tasks(Protocol):
    """What `of_tasks` needs of a TaskBatch."""

    def column(self, name: str) -> NDArray[Any]: ...


def of_tasks(tasks: Tasks, slot: str) -> list[NDArray[np.float64]]:
    """Kernels of a blur slot, one per task, in their true sizes; a slot that is off has the 1x1 kernel."""
    return full_kernels({name: tasks.column(f"{slot}.{name}") for name in COLUMNS})


def _number(name: str, value: Any) -> float:
    values = real_array(f"kernels: {name} must be a number", value)
    if values.ndim:
        raise ValueError(f"kernels: {name} must be a number, got {shown(value)}")
    return float(values)


def _direction(angle_rad: float) -> tuple[float, float]:
    """Cosine and sine; of an angle that the kernel will be refused for, any."""
    angle = _number("angle_rad", angle_rad)
    return direction(angle) if abs(angle) <= 100 else (1.0, 0.0)


def _kernel(
    shape: str,
    size_px: int,
    sigma_x_px: float,
    sigma_y_px: float | None,
    angle_rad: float,
    beta: float,
    cutoff_rad: float = 0.0,
    radius_px: float = 0.0,
    blades: int = 6,
) -> NDArray[np.float64]:
    if not isinstance(size_px, (int, np.integer)) or not 1 <= size_px <= MAX_SIZE_PX or size_px % 2 == 0:
        raise ValueError(f"kernels: size_px must be odd and in 1..{MAX_SIZE_PX}, got {shown(size_px)}")
    sigma_x_px = _number("sigma_x_px", sigma_x_px)
    sigma_y = sigma_x_px if sigma_y_px is None else _number("sigma_y_px", sigma_y_px)
    angle_rad, beta = _number("angle_rad", angle_rad), _number("beta", beta)
    for name, value in (("sigma_x_px", sigma_x_px), ("sigma_y_px", sigma_y), ("beta", beta)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"kernels: {name} must be > 0, got {value:g}")
    if not np.isfinite(angle_rad):
        raise ValueError(f"kernels: angle_rad must be finite, got {angle_rad:g}")
    # One turn is enough; the sine of large angles loses digits.
    values = (
        SHAPES.index(shape),
        size_px,
        sigma_x_px,
        sigma_y,
        angle_rad % (2 * np.pi),
        beta,
        cutoff_rad,
        0.0,
        radius_px,
        blades,
    )
    return full_kernels({name: np.array([value]) for name, value in zip(COLUMNS, values)})[0]

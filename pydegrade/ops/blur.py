"""Blur: each image with its own kernel, mirrored at the borders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..native import devices
from ..native.given import real_array
from ..native.packed import dense_layout
from .arguments import check_images, check_layout, check_rows, codes, numbers, parameter_tensor
from .declaration import BoolArray, Column, Columns, Op, among, decided_by
from .library import define
from .psf import MAX_SIZE_PX, SHAPES, Shape, blur_params

Border = Literal["reflect_101", "symmetric"]
BORDERS: tuple[Border, ...] = ("reflect_101", "symmetric")
_DELTA, _SINC = SHAPES.index("delta"), SHAPES.index("sinc")
_ELLIPTIC = among(SHAPES, ("aniso", "generalized_aniso", "plateau_aniso"))
_APERTURES = among(SHAPES, ("box", "disk", "polygon", "motion"))
_TURNED = _ELLIPTIC | among(SHAPES, ("box", "polygon", "motion"))
_WITH_BETA = among(SHAPES, [shape for shape in SHAPES if shape.startswith(("generalized", "plateau"))])
_POLYGON = SHAPES.index("polygon")
_IDENTITY, _DENSE = 0, 2  # BlurPath
# float32(pi) lies above pi.
_PI = float(np.float32(np.pi))


# ---- Declaration


@decided_by("shape", "shift_px", "border")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    shape = columns["shape"]
    on, aperture = shape != _DELTA, _APERTURES[shape]
    return {
        "size_px": on,
        "sigma_x_px": on & (shape != _SINC) & ~aperture,
        "sigma_y_px": _ELLIPTIC[shape],
        "angle_rad": _TURNED[shape],
        "beta": _WITH_BETA[shape],
        "cutoff_rad": shape == _SINC,
        "shift_px": on & (columns["shift_px"] != 0),
        "border": on & (columns["border"] != 0),
        "radius_px": aperture,
        "blades": shape == _POLYGON,
    }


def _idle(columns: Columns) -> BoolArray:
    """Kernels of one tap: a side of 1, or no width."""
    shape = columns["shape"]
    width = np.where(shape == _SINC, columns["cutoff_rad"], columns["sigma_x_px"])
    width = np.where(_APERTURES[shape], columns["radius_px"], width)
    width = np.where(_ELLIPTIC[shape], np.maximum(width, columns["sigma_y_px"]), width)
    return (columns["size_px"] == 1) | (np.maximum(width, columns["shift_px"]) == 0)


OP = Op(
    name="blur",
    columns=(
        Column("shape", "Family of the kernel; delta leaves the image alone.", choices=SHAPES, neutral="delta"),
        Column("size_px", "Side of the kernel, odd.", 1, MAX_SIZE_PX, neutral=1, integer=True),
        Column("sigma_x_px", "Width along the angle.", 0.0, 20.0),
        Column("sigma_y_px", "Width across the angle.", 0.0, 20.0),
        Column("angle_rad", "Direction of sigma_x, from x towards y (down).", -_PI, _PI),
        Column("beta", "Exponent of generalized and plateau kernels.", 0.05, 16.0, neutral=1.0),
        Column("cutoff_rad", "Cut-off of sinc kernels.", 0.0, _PI),
        # Version 1 moved the image the other way.
        Column("shift_px", "Moves the image to the upper left, for an aligned decimation.", 0.0, 4.0, version=2),
        Column(
            "border",
            "Mirrored about the outermost pixel (OpenCV's, torch's) or about its outer edge (SciPy's, MATLAB's).",
            choices=BORDERS,
            neutral="reflect_101",
        ),
        Column("radius_px", "Box: half its side; disk; polygon: of its corners; motion: half its length.", 0.0, 25.0),
        Column("blades", "Corners of a polygon.", 3, 12, neutral=6, integer=True),
    ),
    active=_active,
    idle=_idle,
    switch="shape",
)


# ---- Registration. Kernels lie one after the other in `weights`; start int64, size_px, path (BlurPath) and border
# (BlurBorder) int32 [B].


def _run(
    function: str,
    data: torch.Tensor,
    offset: torch.Tensor,
    height: torch.Tensor,
    width: torch.Tensor,
    channels: int,
    weights: torch.Tensor,
    start: torch.Tensor,
    size_px: torch.Tensor,
    path: torch.Tensor,
    border: torch.Tensor,
) -> torch.Tensor:
    rows = check_layout("blur", data, offset, height, width, channels)
    start, size_px, path, border = check_rows(
        "blur",
        rows["count"],
        (start, torch.int64),
        (size_px, torch.int32),
        (path, torch.int32),
        (border, torch.int32),
    )
    if weights.dtype != torch.float32 or weights.device.type != "cpu":
        raise ValueError(f"blur: weights must be float32 on the CPU, got {weights.dtype} on {weights.device}")
    size = size_px.long()
    # A kernel of one tap, the identity, reads no weights.
    needed = torch.where(path == _IDENTITY, 0, torch.where(path == _DENSE, size * size, 2 * size))
    if rows["count"] and (int(start.min()) < 0 or int((start + needed).max()) > weights.numel()):
        raise ValueError(f"blur: kernels do not fit {weights.numel()} weights")
    src = data.contiguous()
    out = torch.empty_like(src)
    params = {"weights": weights.contiguous(), "start": start, "size_px": size_px, "path": path, "border": border}
    devices.call(function, rows=rows, src=src, dst=out, **params)
    return out


def _blur(data: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return _run("blur", data, *arguments)


def _blur_adjoint(grad: torch.Tensor, *arguments: Any) -> torch.Tensor:
    return _run("blur_adjoint", grad, *arguments)


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    _, offset, height, width, channels, *parameters = inputs
    ctx.save_for_backward(offset, height, width, *parameters)
    ctx.channels = channels


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    offset, height, width, *parameters = ctx.saved_tensors
    out = torch.ops.pydegrade.blur_adjoint(grad, offset, height, width, ctx.channels, *parameters)
    return (out, *(None for _ in range(9)))


_PARAMETERS = "Tensor weights, Tensor start, Tensor size_px, Tensor path, Tensor border"
define("blur_adjoint", _PARAMETERS, _blur_adjoint, images="Tensor grad")
define("blur", _PARAMETERS, _blur, save=_save, backward=_backward)


# ---- Public function


def blur(
    images: torch.Tensor,
    kernels: torch.Tensor | ArrayLike | Sequence[Any] | None = None,
    *,
    shape: Shape | Sequence[Shape] | None = None,
    size_px: int | ArrayLike | torch.Tensor = 21,
    sigma_x_px: float | ArrayLike | torch.Tensor = 1.0,
    sigma_y_px: float | ArrayLike | torch.Tensor | None = None,
    angle_rad: float | ArrayLike | torch.Tensor = 0.0,
    beta: float | ArrayLike | torch.Tensor = 1.0,
    cutoff_rad: float | ArrayLike | torch.Tensor = 2.0,
    radius_px: float | ArrayLike | torch.Tensor = 2.0,
    blades: int | ArrayLike | torch.Tensor = 6,
    border: Border | Sequence[Border] = "reflect_101",
) -> torch.Tensor:
    """Filter each image with its own kernel: cross-correlation, as BasicSR's filter2D.

    Either pass kernels, or their parameters (see `pydegrade.kernels` for the formulas).

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA; any sides >= 1.
        kernels: one [k, k], or [B, k, k], or B arrays of different sizes; k odd, 1 to 51. Used as they are.
        shape: family, one or B.
        size_px: odd, 1 to 51; number or [B], as all that follow.
        sigma_x_px, sigma_y_px: 0 to 20; sigma_y defaults to sigma_x.
        angle_rad: -pi to pi. beta: 0.05 to 16. cutoff_rad: 1e-4 to pi, for "sinc".
        radius_px: 0 to 25, for "box" (half its side), "disk" (defocus), "polygon" (of its corners) and "motion" (half the
            length of a line of one px). size_px must hold it: 2 radius_px + 1, more for a turned box.
        blades: 3 to 12, corners of a "polygon".
        border: one or B: "reflect_101" mirrors without repeating the edge pixel (OpenCV's default, torch's "reflect"),
            "symmetric" repeats it (SciPy's "reflect", MATLAB's "symmetric"); as often as a small image needs.
    Returns:
        [B, C, H, W] float32, not clipped. Differentiable with respect to the images.
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    """
    check_images("blur", images)
    batch, channels = images.shape[:2]
    if (kernels is None) == (shape is None):
        raise ValueError("blur: expected either kernels or shape")
    if kernels is not None:
        params = _from_arrays(kernels, batch)
    else:
        assert shape is not None
        sigma_y = sigma_x_px if sigma_y_px is None else sigma_y_px
        columns: dict[str, NDArray[Any]] = {
            "shape": codes("blur", "shape", shape, SHAPES, batch),
            "size_px": _sizes(size_px, batch),
            "sigma_x_px": numbers("blur", "sigma_x_px", sigma_x_px, batch, 0, 20),
            "sigma_y_px": numbers("blur", "sigma_y_px", sigma_y, batch, 0, 20),
            "angle_rad": numbers("blur", "angle_rad", angle_rad, batch, -_PI, _PI),
            "beta": numbers("blur", "beta", beta, batch, 0.05, 16),
            "cutoff_rad": numbers("blur", "cutoff_rad", cutoff_rad, batch, 1e-4, _PI),
            "shift_px": np.zeros(batch),
            "radius_px": numbers("blur", "radius_px", radius_px, batch, 0, 25),
            "blades": numbers("blur", "blades", blades, batch, 3, 12, integer=True),
        }
        params = blur_params(columns)
    params["border"] = codes("blur", "border", border, BORDERS, batch)
    layout = dense_layout(images)
    arrays = (layout.offset, layout.height, layout.width, *params.values())
    tensors = [parameter_tensor(images, values) for values in arrays]
    out: torch.Tensor = torch.ops.pydegrade.blur(images, *tensors[:3], channels, *tensors[3:])
    return out


def _sizes(size_px: Any, batch: int) -> NDArray[np.float64]:
    sizes = numbers("blur", "size_px", size_px, batch, 1, MAX_SIZE_PX, integer=True)
    if (sizes % 2 == 0).any():
        row = int(np.argmax(sizes % 2 == 0))
        raise ValueError(f"blur: size_px must be odd, got {sizes[row]:g} at row {row}")
    return sizes


def _from_arrays(kernels: Any, batch: int) -> dict[str, NDArray[Any]]:
    """`BlurParams` of given kernels, untrimmed, all dense."""

    def array(kernel: Any) -> NDArray[np.float32]:
        return real_array("blur: a kernel must hold numbers", kernel).astype(np.float32)

    if isinstance(kernels, (list, tuple)):
        listed = [array(kernel) for kernel in kernels]
    else:
        whole = array(kernels)
        if whole.ndim not in (2, 3):
            raise ValueError(f"blur: kernels must be [k, k] or [{batch}, k, k], got shape {list(whole.shape)}")
        listed = [whole] * batch if whole.ndim == 2 else list(whole)
    if len(listed) != batch:
        raise ValueError(f"blur: expected one kernel or {batch}, got {len(listed)}")
    for row, kernel in enumerate(listed):
        square = kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1]
        if not square or len(kernel) % 2 == 0 or len(kernel) > MAX_SIZE_PX:
            raise ValueError(
                f"blur: a kernel must be [k, k] with k odd, 1 to {MAX_SIZE_PX}, got {list(kernel.shape)} at row {row}"
            )
        if not np.isfinite(kernel).all():
            raise ValueError(f"blur: a kernel must be finite, got NaN or infinity at row {row}")
    sizes = np.array([len(kernel) for kernel in listed], np.int32)
    start = np.concatenate([[0], np.cumsum(sizes.astype(np.int64) ** 2)])[:-1].astype(np.int64)
    weights = np.concatenate([kernel.ravel() for kernel in listed]) if listed else np.zeros(0, np.float32)
    return {"weights": weights, "start": start, "size_px": sizes, "path": np.full(batch, _DENSE, np.int32)}

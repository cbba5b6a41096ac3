"""Blur kernels from columns: the one caller of the compiled kernel synthesis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..native import binding

Shape = Literal[
    "delta",
    "iso",
    "aniso",
    "generalized_iso",
    "generalized_aniso",
    "plateau_iso",
    "plateau_aniso",
    "sinc",
    "box",
    "disk",
    "polygon",
    "motion",
]
SHAPES: tuple[Shape, ...] = get_args(Shape)
COLUMNS = (
    "shape",
    "size_px",
    "sigma_x_px",
    "sigma_y_px",
    "angle_rad",
    "beta",
    "cutoff_rad",
    "shift_px",
    "radius_px",
    "blades",
)

MAX_SIZE_PX = binding.LIMITS["blur_size_px"]
"""Largest side of a kernel."""

TRIM = binding.PSF_TRIM
"""Outer rings of a kernel are dropped while their weights sum to at most this."""


def full_kernels(columns: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float64]]:
    """Untrimmed kernels, float64 [k, k] with sum 1, one per row of the blur columns (code arrays as stored)."""
    fields, start = _fields(columns)
    full = np.empty(int(start[-1]), np.float64)
    binding.call("psf", full=full, trim=0.0, start=start[:-1].copy(), **fields)
    sizes = fields["size_px"].tolist()
    return [full[begin : begin + size * size].reshape(size, size) for begin, size in zip(start.tolist(), sizes)]


def blur_params(columns: Mapping[str, NDArray[Any]], trim: float = TRIM) -> dict[str, NDArray[Any]]:
    """`BlurParams` of csrc/ops: trimmed float32 weights, places, sizes, paths and borders (reflect-101 when absent)."""
    fields, start = _fields(columns)
    count = len(fields["size_px"])
    starts = start[:-1].copy()
    weights = np.empty(int(start[-1]), np.float32)
    size_px, path = np.empty(count, np.int32), np.empty(count, np.int32)
    binding.call("psf", weights=weights, trimmed_size_px=size_px, path=path, trim=trim, start=starts, **fields)
    border = np.ascontiguousarray(columns.get("border", np.zeros(count)), np.int32)
    return {"weights": weights, "start": starts, "size_px": size_px, "path": path, "border": border}


def _fields(columns: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Any], NDArray[np.int64]]:
    # Kernels of columns from before there were apertures have none.
    none = np.zeros(len(columns["size_px"]))
    columns = {"radius_px": none, "blades": none, **columns}
    fields: dict[str, Any] = {
        name: np.ascontiguousarray(columns[name], np.int32 if name in ("shape", "size_px", "blades") else np.float32)
        for name in COLUMNS
    }
    sizes = fields["size_px"].astype(np.int64)
    return fields, np.concatenate([[0], np.cumsum(sizes * sizes)]).astype(np.int64)

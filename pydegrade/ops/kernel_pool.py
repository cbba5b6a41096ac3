"""Blur with kernels from files: one of a pool per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..errors import KernelError
from . import kernels, plain
from .blur import BORDERS, Border, blur
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .pool import MOST, Files, Pool
from .psf import MAX_SIZE_PX


@decided_by("number", "border")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return {"border": (columns["number"] != 0) & (columns["border"] != 0)}


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    number = int(columns["number"])
    return image if number == 0 else blur(image[None], columns["files"][number - 1], border=columns["border"])[0]


def _checked(kernel: ArrayLike, name: str) -> NDArray[np.float64]:
    values = kernels.check(kernel, name)
    if len(values) > MAX_SIZE_PX:
        raise KernelError(f"{name}: a kernel has at most {MAX_SIZE_PX}x{MAX_SIZE_PX} px, got {len(values)}")
    most = np.abs(values).max()
    if most > np.finfo(np.float32).max:
        raise KernelError(f"{name}: must hold float32, got a value of size {most:.3g}")
    return values


def _read(path: Path) -> Sequence[NDArray[Any]]:
    return [_checked(kernel, str(path)) for kernel in kernels.load_all(path)]


OP = Op(
    name="kernel_pool",
    columns=(
        Column("number", "Which kernel of the slot's files, counted from 1; 0 is none.", 0, MOST, integer=True),
        Column("border", "Mirrored as `blur` says.", choices=BORDERS, neutral="reflect_101"),
    ),
    active=_active,
    apply=_apply,
    files=Files(_read, _checked, kernels.ENDINGS, "number"),
    concurrent=True,
    switch="number",
)


def kernel_pool(
    images: torch.Tensor,
    files: Sequence[ArrayLike],
    number: int | ArrayLike | torch.Tensor = 1,
    border: Border | Sequence[Border] = "reflect_101",
) -> torch.Tensor:
    """Filter each image with one kernel of a pool, by cross-correlation as `blur` does. No gradient.

    A slot of a space names the files: `files = "kernelgan"`, a folder, a file or a list of them, beside the space or below.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA.
        files: kernels [k, k], k odd, 1 to 51, with sum 1 (`kernels.load_all` reads them from a file).
        number: whole number or [B], which kernel, counted from 1; 0 leaves the image alone.
        border: "reflect_101" or "symmetric", one or B.
    Returns:
        [B, C, H, W] float32, not clipped.
    Raises:
        TypeError, ValueError: the message gives the first bad row. KernelError: a kernel that cannot be used.
    Source: RealSR (Ji et al. 2020) blurs with kernels that KernelGAN (Bell-Kligler et al. 2019) found in real photographs.
    """
    pool = Pool.of(_checked(kernel, f"kernel_pool: kernel {place + 1}") for place, kernel in enumerate(files))
    return plain.run(OP, images, {"number": number, "border": border}, files=pool)

"""Rain: streaks of drawn length, width, angle, softness, brightness and density, a function of a key and a place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..native import rng
from .arguments import check_images, check_places, numbers
from .declaration import BoolArray, Column, Columns, Op
from .library import define_compiled, run_compiled

# ---- Declaration

_COLUMNS = (
    Column("streaks_per_kpx", "Streaks per 1000 px of the image; 0 is no rain.", 0.0, 20.0),
    Column("length_px", "Of the longest streaks, between the places of half brightness.", 1.0, 128.0, neutral=20.0),
    Column("width_px", "Between the places of half brightness.", 0.5, 16.0, neutral=1.0),
    Column("angle_rad", "From the vertical; above 0 the lower end lies further to the right.", -1.3, 1.3),
    Column("blur_px", "Width of the soft edge; below 1 counts as 1.", 0.0, 16.0, neutral=1.0),
    Column("brightness", "What the brightest streaks add, 1 = full range.", 0.0, 1.0, neutral=0.5),
)


def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = (columns["streaks_per_kpx"] != 0) & (columns["brightness"] != 0)
    return {**{column.name: on for column in _COLUMNS[1:]}, "brightness": columns["streaks_per_kpx"] != 0}


OP = Op(
    name="rain",
    columns=_COLUMNS,
    active=_active,
    switch="streaks_per_kpx",
)


# ---- Registration


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(output)


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    # Rain does not depend on the image; where the sum was clipped the gradient stops.
    (output,) = ctx.saved_tensors
    return (grad * ((output > 0) & (output < 1)), *(None for _ in range(11)))


define_compiled("rain", save=_save, backward=_backward)


# ---- Public function


def rain(
    images: torch.Tensor,
    streaks_per_kpx: float | ArrayLike | torch.Tensor = 1.0,
    *,
    length_px: float | ArrayLike | torch.Tensor = 20.0,
    width_px: float | ArrayLike | torch.Tensor = 1.0,
    angle_rad: float | ArrayLike | torch.Tensor = 0.0,
    blur_px: float | ArrayLike | torch.Tensor = 1.0,
    brightness: float | ArrayLike | torch.Tensor = 0.5,
    seed: int = 0,
    index: ArrayLike | None = None,
) -> torch.Tensor:
    """Add streaks of rain to each image and clip to [0, 1].

    Every streak has a random place, a length between half and all of `length_px` and a brightness between half and all of
    `brightness`; the other parameters hold for the whole image. Streaks are soft-edged bars, the same in all channels,
    and add up where they cross. Two slots with different lengths make rain near and far.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA, in [0, 1]; of at most 65535 x 262143 px.
        streaks_per_kpx: number or [B], 0 to 20: mean number of streaks per 1000 px; 0 copies the image.
        length_px, width_px: 1 to 128 and 0.5 to 16, between the places of half brightness.
        angle_rad: -1.3 to 1.3 from the vertical, above 0 the lower end lies further to the right.
        blur_px: 0 to 16: width of the soft edge, at least 1; along a streak the edge is a quarter of its length or this.
        brightness: 0 to 1.
        seed, index: choose the streaks; the image in row r uses number index[r], by default r. An image's rain depends on
            (seed, index) alone, not on the batch, its size or the number of threads.
    Returns:
        [B, C, H, W] float32 in [0, 1]. Gradients pass through where the result was not clipped.
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    Source: our own renderer; the additive model f(I) = I + r of Chen et al. 2021 (IPT), arXiv:2012.00364, section 3.2.
    """
    check_images("rain", images)
    batch, _, height, width = images.shape
    check_places("rain", height, width)
    given = (streaks_per_kpx, length_px, width_px, angle_rad, blur_px, brightness)
    values = {
        column.name: numbers("rain", column.name, value, batch, column.low, column.high).astype(np.float32)
        for column, value in zip(_COLUMNS, given)
    }
    indices = rng.check_indices(np.arange(batch) if index is None else index, "rain: index")
    if len(indices) != batch:
        raise ValueError(f"rain: index must have {batch} numbers, got {len(indices)}")
    seeds = np.full(batch, rng.check_seed(seed), np.int64)
    return run_compiled("rain", images, **values, key=rng.image_keys(seeds, indices, indices))

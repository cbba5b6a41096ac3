"""Quantize: few levels per channel, with ordered dithering, diffused errors or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..native import binding
from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by

Dither = Literal["none", "bayer2", "bayer4", "bayer8", "floyd_steinberg", "atkinson", "jarvis"]
DITHERS: tuple[Dither, ...] = ("none", "bayer2", "bayer4", "bayer8", "floyd_steinberg", "atkinson", "jarvis")

_DIFFUSIONS = ("floyd_steinberg", "atkinson", "jarvis")
"""In the order of csrc/cpu/diffuse.h."""


@decided_by("levels")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return {"dither": columns["levels"] != 256}


@cache
def bayer(side: int) -> NDArray[np.float32]:
    """Thresholds in (-1/2, 1/2) of an ordered dither, [side, side], side a power of two."""
    order = np.zeros((1, 1))
    while len(order) < side:
        order = np.block([[4 * order, 4 * order + 2], [4 * order + 3, 4 * order + 1]])
    return ((order + 0.5) / side**2 - 0.5).astype(np.float32)


def _diffused(image: torch.Tensor, top: float, dither: str) -> torch.Tensor:
    """Whole levels of [C, H, W] values, each error handed on before the next value is looked at, row by row."""
    values = image.detach().cpu().contiguous()
    levels = torch.empty_like(values)
    sizes = dict(zip(("channels", "height", "width"), values.shape))
    binding.call(
        "diffuse", **sizes, diffusion=_DIFFUSIONS.index(dither), top=top, src=values.view(-1), dst=levels.view(-1)
    )
    if bool(torch.isnan(values.sum())):
        # An error that is NaN reaches what comes later, where the compiled module makes levels of it.
        levels.view(len(levels), -1)[torch.isnan(values).flatten(1).cumsum(1) > 0] = torch.nan
    return levels.to(image.device)


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    top = float(columns["levels"] - 1)
    dither = columns["dither"]
    if top == 255.0:
        return image
    clipped = image.clamp(0.0, 1.0)
    if dither in _DIFFUSIONS:
        levels = _diffused(clipped, top, dither)
    else:
        levels = clipped * top
        if dither != "none":
            side = int(dither.removeprefix("bayer"))
            height, width = image.shape[1:]
            tiled = np.tile(bayer(side), (-(-height // side), -(-width // side)))[:height, :width]
            levels = levels + torch.from_numpy(np.ascontiguousarray(tiled)).to(image.device)
        levels = levels.round_().clamp_(0.0, top)
    return levels.mul_(1.0 / top)


OP = Op(
    name="quantize",
    columns=(
        Column(
            "levels", "Per channel, 0 and 1 among them; 256 leaves the image alone.", 2, 256, neutral=256, integer=True
        ),
        Column(
            "dither",
            "none; ordered (bayer2, bayer4, bayer8); or diffusion of errors.",
            choices=DITHERS,
            neutral="none",
        ),
    ),
    active=_active,
    apply=_apply,
    concurrent=True,
    switch="levels",
)


def quantize(
    images: torch.Tensor,
    levels: int | ArrayLike | torch.Tensor = 16,
    dither: Dither | Sequence[Dither] = "none",
) -> torch.Tensor:
    """Round each value to one of `levels` equal steps from 0 to 1. No gradient.

    Dithers: "bayer2", "bayer4", "bayer8" add the ordered thresholds of Bayer 1973 before rounding. "floyd_steinberg"
    (1976), "jarvis" (Jarvis, Judice and Ninke 1976) and "atkinson" round value after value, row by row from the left, and
    hand on the error; this runs on the host.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA; clipped to [0, 1].
        levels: whole number or [B], 2 to 256: 2^bits. 256 leaves the image alone.
        dither: one or B.
    Returns:
        [B, C, H, W] float32 in [0, 1].
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    """
    return plain.run(OP, images, {"levels": levels, "dither": dither})

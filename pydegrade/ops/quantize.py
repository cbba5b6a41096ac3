"""Quantize: few levels per channel, with ordered dithering, diffused errors or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by

Dither = Literal["none", "bayer2", "bayer4", "bayer8", "floyd_steinberg", "atkinson", "jarvis"]
DITHERS: tuple[Dither, ...] = ("none", "bayer2", "bayer4", "bayer8", "floyd_steinberg", "atkinson", "jarvis")

# Where the error of a value goes: (rows down, columns to the right, parts), and of how many parts.
_DIFFUSIONS = {
    "floyd_steinberg": (((0, 1, 7), (1, -1, 3), (1, 0, 5), (1, 1, 1)), 16),
    "atkinson": (((0, 1, 1), (0, 2, 1), (1, -1, 1), (1, 0, 1), (1, 1, 1), (2, 0, 1)), 8),
    "jarvis": (
        (
            *((0, 1, 7), (0, 2, 5)),
            *((1, -2, 3), (1, -1, 5), (1, 0, 7), (1, 1, 5), (1, 2, 3)),
            *((2, -2, 1), (2, -1, 3), (2, 0, 5), (2, 1, 3), (2, 2, 1)),
        ),
        48,
    ),
}


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


def _diffused(image: NDArray[np.float32], top: float, dither: str) -> NDArray[np.float32]:
    """Levels of [C, H, W] values, each error handed on before the next value is looked at, row by row.

    Values at one x + 3 y do not need each other, so these are done together: a slope of values instead of one.
    """
    targets, parts = _DIFFUSIONS[dither]
    channels, height, width = image.shape
    steps = width + 3 * (height - 1)
    # Value (y, x) stands at step x + 3 y; errors reach at most 2 columns to the left, one row down: later steps only.
    slanted = np.zeros((steps + 9, channels, height + 2), np.float32)
    rows = np.arange(height)
    for y in range(height):
        slanted[3 * y : 3 * y + width, :, y] = image[:, y].T * np.float32(top)
    out = np.zeros((steps, channels, height), np.float32)
    for step in range(steps):
        first, last = max(0, -(-(step - width + 1) // 3)), min(height - 1, step // 3)
        here = rows[first : last + 1]
        value = slanted[step][:, here]
        level = np.clip(np.rint(value), 0, np.float32(top))
        out[step][:, here] = level
        error = (value - level) / np.float32(parts)
        for down, right, share in targets:
            # What would fall outside the image is lost.
            inside = here[(step - 3 * here + right >= 0) & (step - 3 * here + right < width)]
            chosen = inside - first
            slanted[step + right + 3 * down][:, inside + down] += error[:, chosen] * np.float32(share)
    made = np.stack([out[3 * y : 3 * y + width, :, y].T for y in range(height)], axis=1)
    return made


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    top = float(columns["levels"] - 1)
    dither = columns["dither"]
    if top == 255.0:
        return image
    clipped = image.clamp(0.0, 1.0)
    if dither in _DIFFUSIONS:
        levels = torch.from_numpy(_diffused(clipped.cpu().numpy(), top, dither)).to(image.device)
    else:
        levels = clipped * top
        if dither != "none":
            side = int(dither.removeprefix("bayer"))
            height, width = image.shape[1:]
            tiled = np.tile(bayer(side), (-(-height // side), -(-width // side)))[:height, :width]
            levels = levels + torch.from_numpy(np.ascontiguousarray(tiled)).to(image.device)
        levels = levels.round().clamp(0.0, top)
    return levels * (1.0 / top)


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

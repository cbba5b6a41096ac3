"""Screentone: tones as dots or lines, as they are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import OpError
from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .elementary import direction
from .ycc import ycc_of

Inks = Literal["off", "gray", "rgb", "cmyk"]
Dot = Literal["circle", "diamond", "line"]
INKS: tuple[Inks, ...] = ("off", "gray", "rgb", "cmyk")
DOTS: tuple[Dot, ...] = ("circle", "diamond", "line")
_HALF_TURN = float(np.float32(np.pi))
# How far the screens of further inks are turned from the first one's: print's 15, 75, 0 and 45 degrees, from black's 45.
_TURNS = {"gray": (0.0,), "rgb": (0.0, np.pi / 6, np.pi / 3), "cmyk": (-np.pi / 6, np.pi / 6, -np.pi / 4, 0.0)}
_CELLS = 128


@decided_by("inks")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return dict.fromkeys(("cell_px", "angle_rad", "dot", "softness_px"), columns["inks"] != 0)


@cache
def _circle_shares() -> torch.Tensor:
    """Sorted squares of distances from the middle of a cell with sides of 2: how much of it lies inside a circle."""
    middle = (np.arange(_CELLS) + 0.5) / _CELLS
    squares = middle[:, None] ** 2 + middle[None] ** 2
    return torch.from_numpy(np.sort(squares.ravel()).astype(np.float32))


def _threshold(dot: str, along: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """Share of a cell, in [0, 1], that is inked before this place is; along and across in cells."""
    u = (along - torch.floor(along)) * 2.0 - 1.0
    v = (across - torch.floor(across)) * 2.0 - 1.0
    if dot == "line":
        return v.abs()
    if dot == "diamond":
        s = u.abs() + v.abs()
        rest = 2.0 - s
        return torch.where(s <= 1.0, s * s * 0.5, 1.0 - rest * rest * 0.5)
    shares = _circle_shares().to(u.device)
    return torch.searchsorted(shares, (u * u + v * v).contiguous()).to(torch.float32) * (1.0 / _CELLS**2)


def _printed(darkness: torch.Tensor, columns: Mapping[str, Any], turn: float) -> torch.Tensor:
    """Ink in [0, 1] that stands for a darkness [H, W]."""
    height, width = darkness.shape
    cosine, sine = direction(columns["angle_rad"] + turn)
    cell = columns["cell_px"]
    y = torch.arange(height, device=darkness.device, dtype=torch.float32)[:, None]
    x = torch.arange(width, device=darkness.device, dtype=torch.float32)[None]
    threshold = _threshold(
        columns["dot"], x * (cosine / cell) + y * (sine / cell), y * (cosine / cell) - x * (sine / cell)
    )
    # A threshold runs from 0 to 1 over half a cell, so a ramp of softness px is this long.
    ramp = min(max(2.0 * columns["softness_px"] / cell, 1e-3), 1.0)
    # The ramp is cut at thresholds 0 and 1: where it would change the mean, another darkness gives the right one.
    near_white = torch.sqrt(darkness * (2.0 * ramp)) - 0.5 * ramp
    near_black = (1.0 + 0.5 * ramp) - torch.sqrt((1.0 - darkness).clamp(min=0.0) * (2.0 * ramp))
    level = torch.where(
        darkness < 0.5 * ramp, near_white, torch.where(darkness > 1.0 - 0.5 * ramp, near_black, darkness)
    )
    return ((level - threshold) * (1.0 / ramp) + 0.5).clamp(0.0, 1.0)


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    inks = columns["inks"]
    if image.shape[0] != 3:
        raise OpError(f"screentone: images must have 3 channels, got {image.shape[0]}")
    if inks == "off":
        return image
    light = image.clamp(0.0, 1.0)
    turns = _TURNS[inks]
    if inks == "gray":
        return (
            (1.0 - _printed((1.0 - ycc_of(light)[0]).clamp(0.0, 1.0), columns, turns[0])).expand(3, -1, -1).contiguous()
        )
    if inks == "rgb":
        return torch.stack([1.0 - _printed(1.0 - light[c], columns, turns[c]) for c in range(3)])
    highest = light.amax(0)
    black = 1.0 - highest
    divisor = torch.where(highest > 0.0, highest, torch.ones_like(highest))
    printed = [_printed((highest - light[c]) / divisor, columns, turns[c]) for c in range(3)]
    paper = 1.0 - _printed(black, columns, turns[3])
    return torch.stack([(1.0 - ink) * paper for ink in printed])


OP = Op(
    name="screentone",
    columns=(
        Column("inks", "off, gray (black), rgb (a screen per channel) or cmyk.", choices=INKS, neutral="off"),
        Column("cell_px", "Distance of dots or lines.", 2.0, 64.0, neutral=6.0),
        Column("angle_rad", "Of the (black) screen, from x towards y.", -_HALF_TURN, _HALF_TURN),
        Column("dot", "circle, diamond or line.", choices=DOTS, neutral="circle"),
        Column("softness_px", "Length of the ramp from paper to ink.", 0.0, 8.0, neutral=1.0),
    ),
    active=_active,
    apply=_apply,
    concurrent=True,
    switch="inks",
)


def screentone(
    images: torch.Tensor,
    inks: Inks | Sequence[Inks] = "gray",
    cell_px: float | ArrayLike | torch.Tensor = 6.0,
    angle_rad: float | ArrayLike | torch.Tensor = 0.7853981,
    dot: Dot | Sequence[Dot] = "circle",
    softness_px: float | ArrayLike | torch.Tensor = 1.0,
) -> torch.Tensor:
    """Print each image with dots or lines whose share of the area is the darkness. No gradient.

    "gray" prints the luma of BT.601. A place is inked where the darkness exceeds the share of its cell that lies nearer to
    the middle (of the dot, or of the line), so that tones keep their mean. "rgb" turns the screens of green and blue by 30
    and 60 degrees; "cmyk" takes the black out (1 - max) and turns cyan, magenta and yellow by -30, 30 and -45 degrees from
    black.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA, RGB; clipped to [0, 1].
        inks: "gray", "rgb", "cmyk" or "off", one or B.
        cell_px: number or [B], 2 to 64.
        angle_rad: number or [B], -pi to pi.
        dot: "circle", "diamond" or "line", one or B.
        softness_px: number or [B], 0 to 8.
    Returns:
        [B, 3, H, W] float32 in [0, 1].
    Source: `screentone` of wtp_dataset_destroyer.
    """
    given = {name: value for name, value in locals().items() if name != "images"}
    return plain.run(OP, images, given)

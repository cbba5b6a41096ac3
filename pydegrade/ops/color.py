"""Colour: offset, gray, brightness, contrast, saturation, hue, levels and gamma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..errors import OpError
from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .elementary import power

ORDERS = tuple("".join(letters) for letters in permutations("bcsh"))
"""Running orders of brightness, contrast, saturation and hue, by their first letters."""

_JITTERS = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue_turns": 0.0}
_OFFSETS = ("offset_r_8bit", "offset_g_8bit", "offset_b_8bit")
# Parts of 2^-24 in which a mean is summed: integers, so that no order of summation matters.
_MEAN_UNIT = float(2**24)


@decided_by(*_JITTERS)
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    moved = [columns[name] != neutral for name, neutral in _JITTERS.items()]
    return {"order": np.sum(moved, axis=0) > 1}


def _neutral(columns: Columns) -> BoolArray:
    same = [
        columns[column.name] == np.asarray(column.neutral_value, column.dtype)
        for column in OP.columns
        if column.name != "order"
    ]
    return np.asarray(np.logical_and.reduce(same))


def gray_of(image: torch.Tensor) -> torch.Tensor:
    """[1, H, W]: 0.2989 R + 0.587 G + 0.114 B, as torchvision."""
    return (image[0:1] * 0.2989 + image[1:2] * 0.587) + image[2:3] * 0.114


def _mean(plane: torch.Tensor) -> float:
    parts = (plane.to(torch.float64) * _MEAN_UNIT).round().to(torch.int64)
    return float(parts.sum().item()) / _MEAN_UNIT / plane.numel()


def _blended(image: torch.Tensor, other: torch.Tensor | float, factor: float) -> torch.Tensor:
    return (image * factor + other * (1.0 - factor)).clamp(0.0, 1.0)


def _turned(image: torch.Tensor, turns: float) -> torch.Tensor:
    """Hue moved by a share of the circle, through HSV."""
    highest, lowest = image.amax(0), image.amin(0)
    spread = highest - lowest
    flat = spread == 0
    saturation = spread / torch.where(highest == 0, torch.ones_like(highest), highest)
    divisor = torch.where(flat, torch.ones_like(spread), spread)
    red, green, blue = ((highest - image[channel]) / divisor for channel in range(3))
    sixths = torch.where(
        image[0] == highest, blue - green, torch.where(image[1] == highest, red - blue + 2.0, green - red + 4.0)
    )
    hue = sixths * (1.0 / 6.0) + (turns + 1.0)
    hue = torch.where(flat, torch.zeros_like(hue), hue)
    hue = (hue - torch.floor(hue)) * 6.0
    planes = []
    for first in (5.0, 3.0, 1.0):
        # 1 near the channel's own hue, 0 opposite to it.
        place = hue + first
        place = torch.where(place >= 6.0, place - 6.0, place)
        share = torch.minimum(place, 4.0 - place).clamp(0.0, 1.0)
        planes.append(highest - highest * saturation * share)
    return torch.stack(planes)


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    if image.shape[0] != 3:
        raise OpError(f"color: images must have 3 channels, got {image.shape[0]}")
    if any(columns[name] for name in _OFFSETS):
        planes = [image[channel] + columns[name] / 255.0 for channel, name in enumerate(_OFFSETS)]
        image = torch.stack(planes).clamp(0.0, 1.0)
    if columns["gray"]:
        image = gray_of(image).repeat(3, 1, 1)
    for letter in columns["order"]:
        name = next(name for name in _JITTERS if name.startswith(letter))
        factor = columns[name]
        if factor == _JITTERS[name]:
            continue
        if name == "brightness":
            image = _blended(image, 0.0, factor)
        elif name == "contrast":
            image = _blended(image, _mean(gray_of(image)), factor)
        elif name == "saturation":
            image = _blended(image, gray_of(image), factor)
        else:
            image = _turned(image.clamp(0.0, 1.0), factor)
    black, white, gamma = columns["black_8bit"] / 255.0, columns["white_8bit"] / 255.0, columns["gamma"]
    if black != 0.0 or white != 1.0:
        image = ((image - black) * (1.0 / max(white - black, 1.0 / 255.0))).clamp(0.0, 1.0)
    return image if gamma == 1.0 else power(image.clamp(0.0, 1.0), 1.0 / gamma)


OP = Op(
    name="color",
    columns=(
        Column("brightness", "Factor on all values.", 0.0, 4.0, neutral=1.0),
        Column("contrast", "Factor on the distance from the mean gray.", 0.0, 4.0, neutral=1.0),
        Column("saturation", "Factor on the distance from gray.", 0.0, 4.0, neutral=1.0),
        Column("hue_turns", "Turn of the hue, shares of the circle.", -0.5, 0.5),
        Column("order", "In which b, c, s, h run.", choices=ORDERS, neutral="bcsh"),
        Column("gray", "1: gray in all channels, before the four.", 0, 1, integer=True),
        *(Column(name, f"Added to {name[7].upper()} first, 8-bit levels.", -255.0, 255.0) for name in _OFFSETS),
        Column("black_8bit", "Levels, after the four: what becomes 0.", 0.0, 254.0),
        Column("white_8bit", "Levels: what becomes 1; at least one level above black_8bit.", 1.0, 255.0, neutral=255.0),
        Column("gamma", "Last: x^(1 / gamma); above 1 is brighter.", 0.1, 10.0, neutral=1.0),
    ),
    active=_active,
    neutral=_neutral,
    apply=_apply,
    concurrent=True,
)


def color(
    images: torch.Tensor,
    *,
    brightness: float | ArrayLike | torch.Tensor = 1.0,
    contrast: float | ArrayLike | torch.Tensor = 1.0,
    saturation: float | ArrayLike | torch.Tensor = 1.0,
    hue_turns: float | ArrayLike | torch.Tensor = 0.0,
    order: str | Sequence[str] = "bcsh",
    gray: bool | ArrayLike | torch.Tensor = False,
    offset_r_8bit: float | ArrayLike | torch.Tensor = 0.0,
    offset_g_8bit: float | ArrayLike | torch.Tensor = 0.0,
    offset_b_8bit: float | ArrayLike | torch.Tensor = 0.0,
    black_8bit: float | ArrayLike | torch.Tensor = 0.0,
    white_8bit: float | ArrayLike | torch.Tensor = 255.0,
    gamma: float | ArrayLike | torch.Tensor = 1.0,
) -> torch.Tensor:
    """Change the colours of each image, in GFPGAN's definitions, which are torchvision's.

    In this order, what is neutral left out: offsets, clipped; gray = 0.2989 R + 0.587 G + 0.114 B in all channels; the
    four of `order`, each clipped: brightness f x, contrast f x + (1 - f) mean(gray), saturation f x + (1 - f) gray, hue
    turned in HSV; levels (x - black) / (white - black), clipped; x^(1 / gamma).

    In plain torch; the mean is summed in integers, so that its bits do not depend on the number of threads. No gradient.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA, RGB in [0, 1].
        brightness, contrast, saturation: number or [B], 0 to 4; 1 is neutral.
        hue_turns: number or [B], -0.5 to 0.5, shares of the circle.
        order: the letters b, c, s, h, one order or B.
        gray: flag or [B].
        offset_r_8bit, offset_g_8bit, offset_b_8bit: number or [B], -255 to 255.
        black_8bit, white_8bit: number or [B], 0 to 254 and 1 to 255; gamma: 0.1 to 10.
    Returns:
        [B, 3, H, W] float32.
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    Source: GFPGAN (Wang et al. 2021), ffhq_degradation_dataset.py; torchvision.transforms.functional.
    """
    given = {name: value for name, value in locals().items() if name != "images"}
    return plain.run(OP, images, given)

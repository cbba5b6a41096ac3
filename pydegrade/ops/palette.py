"""Palette: few colours, chosen for the image, as a GIF has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image, __version__

from ..errors import OpError
from . import plain
from .declaration import BoolArray, Column, Columns, Op, decided_by

Method = Literal["median_cut", "max_coverage", "octree"]
Dither = Literal["none", "floyd_steinberg"]
METHODS: dict[str, Image.Quantize] = {
    "median_cut": Image.Quantize.MEDIANCUT,
    "max_coverage": Image.Quantize.MAXCOVERAGE,
    "octree": Image.Quantize.FASTOCTREE,
}
DITHERS: tuple[Dither, ...] = ("none", "floyd_steinberg")


@decided_by("colors")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    return dict.fromkeys(("method", "dither"), columns["colors"] != 0)


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    if image.shape[0] != 3:
        raise OpError(f"palette: images must have 3 channels, got {image.shape[0]}")
    if columns["colors"] == 0:
        return image
    levels = (torch.nan_to_num(image, nan=0.0).clamp(0.0, 1.0) * 255).round().to(torch.uint8)
    picture = Image.fromarray(np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy()))
    chosen = picture.quantize(int(columns["colors"]), METHODS[columns["method"]], dither=Image.Dither.NONE)
    if columns["dither"] == "floyd_steinberg":
        chosen = picture.quantize(palette=chosen, dither=Image.Dither.FLOYDSTEINBERG)
    pixels = np.asarray(chosen.convert("RGB"))
    values = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(255)
    return torch.from_numpy(values).to(image.device)


OP = Op(
    name="palette",
    columns=(
        Column("colors", "At most that many; 0 leaves the image alone.", 0, 256, integer=True),
        Column("method", "That chooses them.", choices=tuple(METHODS), neutral="median_cut"),
        Column("dither", "none, or floyd_steinberg.", choices=DITHERS, neutral="none"),
    ),
    active=_active,
    apply=_apply,
    library=lambda: f"Pillow {__version__}",
    concurrent=True,
    switch="colors",
)


def palette(
    images: torch.Tensor,
    colors: int | ArrayLike | torch.Tensor = 64,
    method: Method | Sequence[Method] = "median_cut",
    dither: Dither | Sequence[Dither] = "none",
) -> torch.Tensor:
    """Each image in at most `colors` colours of its own, chosen by Pillow, whose version is part of the digest of spaces.

    Values are clipped and rounded to 8 bits first. On CUDA the pixels make a round trip over the host. No gradient.

    Args:
        images: [B, 3, H, W] float32 on the CPU or on CUDA, RGB in [0, 1].
        colors: whole number or [B], 0 (off) to 256; 1 to 256 colours.
        method: "median_cut", "max_coverage" or "octree", one or B.
        dither: "none" or "floyd_steinberg", one or B.
    Returns:
        [B, 3, H, W] float32, multiples of 1/255 in [0, 1].
    """
    return plain.run(OP, images, {"colors": colors, "method": method, "dither": dither})

"""Film grain: noise with the size of its grains, strongest at middle gray."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike

from . import kernels, plain
from .arguments import check_places
from .blur import blur
from .declaration import BoolArray, Column, Columns, Op, decided_by
from .noise import normals


@decided_by("sigma_8bit")
def _active(columns: Columns) -> Mapping[str, BoolArray]:
    on = columns["sigma_8bit"] != 0
    return {"radius_px": on, "gray": on}


def _apply(image: torch.Tensor, columns: Mapping[str, Any], words: tuple[int, int, int, int]) -> torch.Tensor:
    sigma, radius = columns["sigma_8bit"], columns["radius_px"]
    if sigma == 0.0:
        return image
    channels, height, width = image.shape
    # What the grains of the border need lies around the image, so that they are like all others.
    ring = math.ceil(3.0 * radius)
    check_places("film_grain", height + 2 * ring, width + 2 * ring)
    field = normals(words, 1 if columns["gray"] else channels, height + 2 * ring, width + 2 * ring, image.device)
    spread = 1.0
    if ring:
        kernel = kernels.gaussian(2 * ring + 1, radius)
        field = blur(field[None], kernel)[0, :, ring : ring + height, ring : ring + width]
        spread = math.sqrt(math.fsum((kernel * kernel).ravel().tolist()))
    value = image.clamp(0.0, 1.0)
    strength = torch.sqrt(value * (1.0 - value)) * (2.0 * sigma / 255.0 / spread)
    return (image + strength * field).clamp(0.0, 1.0)


OP = Op(
    name="film_grain",
    columns=(
        Column("sigma_8bit", "Standard deviation at middle gray, 255 = full range.", 0.0, 128.0),
        Column(
            "radius_px", "Size of a grain: of the Gaussian that white noise is filtered with.", 0.0, 8.0, neutral=1.0
        ),
        Column("gray", "1: one field for all channels, as of black and white film.", 0, 1, integer=True),
    ),
    active=_active,
    apply=_apply,
    concurrent=True,
    switch="sigma_8bit",
)


def film_grain(
    images: torch.Tensor,
    sigma_8bit: float | ArrayLike | torch.Tensor = 12.0,
    radius_px: float | ArrayLike | torch.Tensor = 1.0,
    gray: bool | ArrayLike | torch.Tensor = False,
    seed: int = 0,
    index: ArrayLike | None = None,
) -> torch.Tensor:
    """x + sigma / 255 * 2 sqrt(x (1 - x)) * g, clipped to [0, 1]. No gradient.

    g is a stationary Gaussian field of variance 1 per channel: white noise filtered with a Gaussian of width `radius_px`,
    so that places d px apart have the correlation exp(-d^2 / (4 radius_px^2)). x (1 - x) is the variance of a surface of
    which grains cover the share x: none on black and on white, most at middle gray, where sigma is what it says.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA.
        sigma_8bit: number or [B], 0 to 128.
        radius_px: number or [B], 0 (white noise) to 8.
        gray: flag or [B]: one field for all channels.
        seed, index: choose the fields; the image in row r uses number index[r], by default r.
    Returns:
        [B, C, H, W] float32 in [0, 1].
    Raises:
        TypeError, ValueError: the message gives the first bad row.
    Source: Newson, Delon, Galerne 2017, "A stochastic film grain model for resolution-independent rendering": a Boolean
        model of grains, here by its mean, its variance and a Gaussian for its covariance.
    """
    return plain.run(OP, images, {"sigma_8bit": sigma_8bit, "radius_px": radius_px, "gray": gray}, seed, index)

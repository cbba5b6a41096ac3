"""Vignette: an image that grows darker towards its corners."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from .arguments import check_images, numbers
from .declaration import Column, Op
from .library import define_compiled, run_compiled

OP = Op(
    name="vignette",
    columns=(Column("strength", "What the corners lose of their light; 0 leaves the image alone.", 0.0, 1.0),),
    switch="strength",
)
define_compiled("vignette")


def vignette(images: torch.Tensor, strength: float | ArrayLike | torch.Tensor = 0.5) -> torch.Tensor:
    """Darken each image towards its corners.

    Args:
        images: [B, C, H, W] float32 on the CPU or on CUDA, in [0, 1].
        strength: number or [B], 0 to 1.
    Returns:
        [B, C, H, W] float32 in [0, 1].
    """
    check_images("vignette", images)
    values = numbers("vignette", "strength", strength, len(images), 0, 1).astype(np.float32)
    return run_compiled("vignette", images, strength=values)

"""PASD's degradation object, which enlarges LR images bicubically; FaithDiff and DLoRAL have the same."""

from __future__ import annotations

from ..loading.degrader import Back
from . import osediff


class RealESRGAN_degradation(osediff.RealESRGAN_degradation):
    """As `osediff.RealESRGAN_degradation`, enlarging bicubically."""

    dialect = "pasd"
    back: Back = "torch_bicubic"

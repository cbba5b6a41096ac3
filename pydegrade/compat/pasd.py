"""PASD's degradation object; DLoRAL has the same, and OSEDiff's is a copy of it."""

from __future__ import annotations

from . import osediff


class RealESRGAN_degradation(osediff.RealESRGAN_degradation):
    """As `osediff.RealESRGAN_degradation`."""

    dialect = "pasd"

"""FaithDiff's degradation object: OSEDiff's, which mirrors nothing and is handed a seed that it does not use.

from pydegrade.compat.faithdiff import RealESRGAN_degradation   # instead of: from .realesrgan import ...
"""

from __future__ import annotations

from typing import Any

import torch

from . import osediff


class RealESRGAN_degradation(osediff.RealESRGAN_degradation):
    """As `osediff.RealESRGAN_degradation`; images are mirrored only with `hflip=True`."""

    dialect = "pasd"
    flips = False

    def degrade_process(
        self, img_gt: Any, resize_bak: bool = False, seed: int = 42
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `osediff.RealESRGAN_degradation.degrade_process`; `seed` is not used, as in FaithDiff's released code."""
        return super().degrade_process(img_gt, resize_bak)

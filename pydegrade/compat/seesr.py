"""SeeSR's degradation object: OSEDiff's, with another name for its first argument.

from pydegrade.compat.seesr import RealESRGAN_degradation   # instead of: from dataloaders.realesrgan import ...
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from . import osediff


class RealESRGAN_degradation(osediff.RealESRGAN_degradation):
    """As `osediff.RealESRGAN_degradation`, whose `opt_name` is `opt_path` here."""

    def __init__(
        self,
        opt_path: str | Path | Mapping[str, Any] = "params_realesrgan.yml",
        device: str | torch.device = "cpu",
        **options: Any,
    ) -> None:
        module = sys._getframe(1).f_globals.get("__file__")
        super().__init__(
            opt_path if isinstance(opt_path, Mapping) else osediff.found(opt_path, module), device, **options
        )

"""OSEDiff's degradation object, as its dataset calls it; PiSA-SR has the same.

from pydegrade.compat.osediff import RealESRGAN_degradation   # instead of: from dataloaders.realesrgan import ...
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import PydegradeError, shown
from ..loading.degrader import degraded
from ..loading.forms import as_batch
from ..loading.numbers import SampleNumbers
from ..native import rng
from ..tasks.task import TaskBatch
from .options import JpegMode, imported


class RealESRGAN_degradation:
    """Degrades one image of a dataset item: random flip, then the chain of the options.

    Args:
        opt_name: option file; looked for from the current folder, then beside the module that makes the object. Or its
            content.
        device: where it works.
        seed: of the tasks; None: torch's, so that `torch.manual_seed` repeats them. Workers, epochs and ranks share none.
        jpeg: "libjpeg", or "diffjpeg_basicsr" for the project's own approximation.
        hflip: whether images are mirrored with probability one half; None: as the project's method does.
    """

    dialect = "osediff"
    flips = True

    def __init__(
        self,
        opt_name: str | Path | Mapping[str, Any] = "params_realesrgan.yml",
        device: str | torch.device = "cpu",
        *,
        seed: int | None = None,
        jpeg: JpegMode = "libjpeg",
        hflip: bool | None = None,
    ) -> None:
        made = imported(
            opt_name if isinstance(opt_name, Mapping) else found(opt_name, sys._getframe(1).f_globals.get("__file__")),
            dialect=self.dialect,
            jpeg=jpeg,
        )
        self.space, self.report = made.space, made.report
        self.device = torch.device(device)
        self.numbers = SampleNumbers(seed)
        self.hflip = self.flips if hflip is None else hflip
        self._last: TaskBatch | None = None

    @property
    def last_address(self) -> str:
        """The task of the last image, "" before the first; noise and flip follow from it."""
        return "" if self._last is None else self._last.addresses[0]

    @torch.no_grad()
    def degrade_process(self, img_gt: Any, resize_bak: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """One training pair.

        Args:
            img_gt: [H, W, 3], RGB; floating in [0, 1], or uint8. H and W multiples of 4.
            resize_bak: enlarge the LR image to H x W, by a random one of area, bilinear and bicubic.
        Returns:
            (gt, lq), float32 [1, 3, H, W] and [1, 3, H, W], or [1, 3, H / 4, W / 4]; lq in multiples of 1/255.
        """
        if not isinstance(img_gt, np.ndarray) or img_gt.ndim != 3 or img_gt.shape[2] != 3:
            raise PydegradeError(f"degrade_process: expected an array [H, W, 3], got {shown(img_gt)}")
        hr, _ = as_batch("degrade_process", img_gt)
        tasks = self.numbers.tasks(self.space, 1)
        seed, index = int(tasks.seeds[0]), tasks.indices
        if self.hflip and rng.named_uniform(seed, index, "data.hflip")[0] < 0.5:
            hr = hr.flip(-1)
        made = degraded(hr.contiguous().to(self.device), tasks, "random" if resize_bak else None)
        self._last = tasks
        return made.hr, made.lr


def found(name: str | Path, module: Any) -> Path:
    """The option file: from the current folder; else beside the module that makes the object; else in the one folder beside
    the module's that has it (DLoRAL's lies beside its degradation, not beside its dataset)."""
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(f"RealESRGAN_degradation: opt_name must be a path or a table of options, got {shown(name)}")
    path = Path(name)
    if path.is_absolute() or path.exists() or not isinstance(module, str):
        return path
    folder = Path(module).resolve().parent
    if (folder / path).exists():
        return folder / path
    near = [other / path for other in sorted(folder.parent.iterdir()) if other.is_dir() and (other / path).is_file()]
    return near[0] if len(near) == 1 else path

"""neosr: `neosr.models.otf.otf.feed_data = pydegrade.compat.neosr.feed_data`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from .feeding import degraded_batch


@torch.no_grad()
def feed_data(self: Any, data: dict[str, Any]) -> None:
    """Sets self.gt and self.lq of a batch, LR crops of datasets.train.patch_size; neosr's own augmentation follows. Kernels
    of the dataset are not used, and no pool mixes batches.

    Args:
        self: an `otf` model.
        data: "gt" float [B, 3, H, W] in [0, 1]; outside of training "lq" and perhaps "gt".
    """
    if not self.is_train:
        self.lq = data["lq"].to(device=self.device, non_blocking=True)
        if "gt" in data:
            self.gt = data["gt"].to(device=self.device, non_blocking=True)
        return
    made = degraded_batch(self, "neosr", data["gt"].to(device=self.device, non_blocking=True))
    self.gt, self.lq = made.hr, made.lr
    if getattr(self, "aug", None) is not None:
        apply_augment = import_module("neosr.data.augmentations").apply_augment
        self.gt, self.lq = apply_augment(self.gt, self.lq, scale=self.scale, augs=self.aug, prob=self.aug_prob)

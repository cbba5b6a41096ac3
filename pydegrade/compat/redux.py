"""traiNNer-redux: `RealESRGANModel.feed_data = pydegrade.compat.redux.feed_data`."""

from __future__ import annotations

from typing import Any

import torch

from .feeding import degraded_batch


@torch.no_grad()
def feed_data(self: Any, data: dict[str, Any]) -> None:
    """Sets self.gt and self.lq of a batch, crops of datasets.train.gt_size; the model's later steps follow: batch
    augmentation and ECO. Kernels of the dataset are not used, and no pool mixes batches.

    Args:
        self: a RealESRGANModel.
        data: "gt" float [B, 3, H, W] in [0, 1]; outside of training "lq" and perhaps "gt".
    """

    def moved(images: torch.Tensor) -> torch.Tensor:
        return images.to(self.device, memory_format=self.memory_format, non_blocking=True)

    if self.is_train:
        made = degraded_batch(self, "redux", data["gt"].to(self.device, non_blocking=True))
        self.gt, self.lq = moved(made.hr), moved(made.lr)
        if getattr(self, "batch_augment", None):
            self.gt, self.lq = self.batch_augment(self.gt, self.lq)
    else:
        self.lq = moved(data["lq"])
        if "gt" in data:
            self.gt = moved(data["gt"])
    if hasattr(self, "_apply_eco"):
        self._apply_eco()

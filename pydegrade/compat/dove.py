"""DOVE: `RealSRDataset.degrade = pydegrade.compat.dove.degrade`; its crops, their pairing and its enlargement stay."""

from __future__ import annotations

from typing import Any

from .clips import ClipDegradation, at_lr_size


def degrade(self: Any, data: dict[str, Any]) -> dict[str, Any]:
    """In the place of the dataset's method: `data["lqs"]`, RGB frames [H, W, 3] from 0 to 255, at a quarter of the size.

    The options of the dataset's file are not read: the space is the preset `dove` before its enlargement. Tasks are drawn
    by torch's seed, and no workers, epochs and ranks share any; `self.clip_degradation.last_address` names the last.
    """
    if getattr(self, "clip_degradation", None) is None:
        self.clip_degradation = ClipDegradation(at_lr_size("dove"))
    data["lqs"] = self.clip_degradation.degraded(data["lqs"])
    return data

"""mmagic's RealBasicVSR: one transform in the place of all that degrade.

dict(type=pydegrade.compat.mmagic.RealBasicVSRDegradation, keys=["img"])   # RandomBlur ... DegradationsWithShuffle, Clip
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..tasks.space import Space
from .clips import ChannelOrder, ClipDegradation, at_lr_size


class RealBasicVSRDegradation(ClipDegradation):
    """Takes a pipeline's dictionary and replaces lists of frames by degraded ones, a quarter of the size.

    What sharpens and copies the frames (`UnsharpMasking`, `CopyValues`) stays before it.

    Args:
        keys: of lists of frames.
        space: another space than RealBasicVSR's.
        channel_order, seed: as for `ClipDegradation`; the published pipeline loads frames as "rgb".
    """

    def __init__(
        self,
        keys: Sequence[str] = ("img",),
        space: Space | str | Path | None = None,
        channel_order: ChannelOrder = "rgb",
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(at_lr_size("realbasicvsr-x4") if space is None else space, channel_order, seed=seed)
        self.keys = keys

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """The dictionary, its frames replaced; a single array is a clip of one frame."""
        for key in self.keys:
            frames = results[key]
            results[key] = self.degraded(frames) if isinstance(frames, (list, tuple)) else self.degraded([frames])[0]
        return results

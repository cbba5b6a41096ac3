"""Lists of frames, as programs for video hold them, degraded as one clip."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ..engine import degrade_batch
from ..errors import PydegradeError, shown
from ..loading.numbers import SampleNumbers
from ..tasks.sampler import sample
from ..tasks.space import Space
from ..tasks.task import TaskBatch

ChannelOrder = Literal["rgb", "bgr"]


class ClipDegradation:
    """Degrades the frames of a clip together: parameters walk from frame to frame, codecs see the whole clip.

    Args:
        space: a Space, the name of a preset, or a path to a TOML file.
        channel_order: of the frames' colours, "rgb" or "bgr".
        seed: of the tasks; None: torch's, so that `torch.manual_seed` repeats them. Workers, epochs and ranks share none.
    """

    def __init__(
        self, space: Space | str | Path, channel_order: ChannelOrder = "rgb", *, seed: int | None = None
    ) -> None:
        if channel_order not in ("rgb", "bgr"):
            raise PydegradeError(f"channel_order must be 'rgb' or 'bgr', got {shown(channel_order)}")
        self.space = space if isinstance(space, Space) else Space.load(space)
        self.channel_order = channel_order
        self.numbers = SampleNumbers(seed)
        self._last: TaskBatch | None = None

    @property
    def last_address(self) -> str:
        """The task of the last clip, "" before the first."""
        return "" if self._last is None else self._last.clip_addresses[0]

    @torch.no_grad()
    def degraded(self, frames: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        """The frames of one clip, degraded.

        Args:
            frames: arrays [H, W, 3] of one size, H and W multiples of the scale; uint8, or floating from 0 to 255.
        Returns:
            As many arrays [H / scale, W / scale, 3] of whole numbers from 0 to 255; uint8, or float32 where floats were
            given.
        Raises:
            PydegradeError: no list of frames, several sizes or dtypes, another dtype, sides that do not fit the scale.
        """
        good = isinstance(frames, (list, tuple)) and all(
            isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3 for frame in frames
        )
        if not good or not frames:
            raise PydegradeError(f"a clip must be a list of arrays [H, W, 3], got {shown(frames)}")
        if len({(frame.shape, frame.dtype) for frame in frames}) > 1:
            raise PydegradeError("the frames of a clip must have one size and one dtype")
        dtype = frames[0].dtype
        if dtype != np.uint8 and dtype.kind != "f":
            raise PydegradeError(f"the frames of a clip must be uint8 or floating from 0 to 255, got {dtype}")
        values = np.stack(frames)[..., :: -1 if self.channel_order == "bgr" else 1].transpose(0, 3, 1, 2)
        hr = torch.from_numpy(np.divide(np.ascontiguousarray(values), np.float32(255), dtype=np.float32))
        number = self.numbers.next()
        self._last = sample(self.space, number.seed, number.indices, frames=len(frames))
        lr = degrade_batch(hr.clamp_(0, 1), self._last).lr
        made = np.rint(lr.permute(0, 2, 3, 1).numpy() * np.float32(255))[
            ..., :: -1 if self.channel_order == "bgr" else 1
        ]
        return list(np.ascontiguousarray(made.astype(np.uint8 if dtype == np.uint8 else np.float32)))


@cache
def at_lr_size(preset: str) -> Space:
    """A preset of clips as projects run it in a step of its own: at x4, of frames that are sharpened already.

    Args:
        preset: "realbasicvsr-x4", or "dove", whose LR is enlarged later.
    """
    back = preset == "dove"
    text = f"""
[space]
name = "{preset}-frames"
base = "{preset}"
scale = 4
target = "hr"
without = ["{"back" if back else "usm"}"]
"""
    return Space.loads(text + ('[[slot]]\nname = "resize3"\nresize_factor = 1.0\n' if back else ""))

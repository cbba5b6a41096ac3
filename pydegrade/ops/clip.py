"""What ops share that take the frames of a clip together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .resize import resize


def of_first_size(frames: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Frames [C, H, W], those of other sides than the first brought to its size by Catmull-Rom's cubic."""
    height, width = frames[0].shape[1:]
    return [
        frame if frame.shape[1:] == (height, width) else resize(frame[None], (height, width), mode="catmull_rom")[0]
        for frame in frames
    ]

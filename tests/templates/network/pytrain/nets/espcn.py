"""ESPCN: three convolutions at low resolution and a pixel shuffle.

Shapes: x_BCHW [B, C, H, W] -> [B, C, sH, sW]; features [B, F, H, W].
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..options import option, options, type_name
from .parts import MOST_CHANNELS, MOST_FEATURES, MOST_SCALE, State, conv3x3


@options("net")
class ESPCNConfig:
    """Sizes of `ESPCN`; the defaults are the paper's."""

    type: Literal["espcn"] = type_name("espcn")
    scale: int = option(3, "how many times larger the output is", ge=1, le=MOST_SCALE)
    num_features: int = option(64, "channels of the first convolution; the second has half", ge=2, le=MOST_FEATURES)
    in_channels: int = option(3, "of the images: 1 gray, 3 RGB, 4 RGB and alpha", ge=1, le=MOST_CHANNELS)

    @property
    def out_channels(self) -> int:
        """Those of the input."""
        return self.in_channels


class ESPCN(nn.Module):
    """Convolutions of 5, 3 and 3 px with tanh between them.

    State-dict keys: `conv1`, `conv2`, `conv3`. Source: Shi et al. 2016, arXiv:1609.05158.
    """

    def __init__(self, config: ESPCNConfig) -> None:
        super().__init__()
        self.scale = config.scale
        half = config.num_features // 2
        self.conv1 = nn.Conv2d(config.in_channels, config.num_features, 5, padding=2)
        self.conv2 = conv3x3(config.num_features, half)
        self.conv3 = conv3x3(half, config.in_channels * config.scale**2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] float in [0, 1] -> [B, C, sH, sW], not clipped."""
        features = torch.tanh(self.conv2(torch.tanh(self.conv1(x_BCHW))))
        return F.pixel_shuffle(self.conv3(features), self.scale)


def detect(state: State) -> ESPCNConfig | None:
    """The configuration of an ESPCN's state dict, None when it is another network's."""
    if set(state) != {f"conv{number}.{kind}" for number in (1, 2, 3) for kind in ("weight", "bias")}:
        return None
    first, last = state["conv1.weight"], state["conv3.weight"]
    if first.shape[2:] != (5, 5):
        return None
    scale = math.isqrt(last.shape[0] // first.shape[1])
    return ESPCNConfig(scale=scale, num_features=first.shape[0], in_channels=first.shape[1])

"""SRVGGNetCompact: a plain stack of convolutions at low resolution, one pixel shuffle at the end.

Shapes: x_BCHW [B, in, H, W] -> [B, out, sH, sW]; features [B, F, H, W].
"""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import option, options, type_name
from .parts import MOST_BLOCKS, MOST_CHANNELS, MOST_FEATURES, MOST_SCALE, State, conv3x3, count_indices


@options("net")
class SRVGGConfig:
    """Sizes of `SRVGGNetCompact`; the defaults are the released general x4 network (realesr-general-x4v3)."""

    type: Literal["srvgg"] = type_name("srvgg")
    scale: int = option(4, "how many times larger the output is", ge=1, le=MOST_SCALE)
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_convs: int = option(32, "convolutions of the body; 16 in the anime video release", ge=1, le=MOST_BLOCKS)
    in_channels: int = option(3, "of the input: 1 gray, 3 RGB, 4 RGB and alpha", ge=1, le=MOST_CHANNELS)
    out_channels: int = option(3, "of the output", ge=1, le=MOST_CHANNELS)

    def __post_init__(self) -> None:
        if self.in_channels != self.out_channels:
            raise ConfigError(
                f"net.out_channels must equal in_channels {self.in_channels} (the input is added to the output), "
                f"got {self.out_channels}"
            )


class SRVGGNetCompact(nn.Module):
    """Convolutions with PReLU, all at low resolution; the nearest-neighbour image is a long skip.

    1,213,296 parameters at 64 features, 32 convolutions, x4; 621,424 with 16. State-dict keys: `body.N`, where even N
    are convolutions and odd N PReLU slopes.

    Source: Wang et al. 2021, arXiv:2107.10833, released with Real-ESRGAN.
    """

    def __init__(self, config: SRVGGConfig) -> None:
        super().__init__()
        features = config.num_features
        self.scale = config.scale
        layers: list[nn.Module] = [conv3x3(config.in_channels, features), nn.PReLU(features)]
        for _ in range(config.num_convs):
            layers += [conv3x3(features, features), nn.PReLU(features)]
        layers.append(conv3x3(features, config.out_channels * config.scale**2))
        self.body = nn.Sequential(*layers)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, in, H, W] float in [0, 1] -> [B, out, sH, sW], not clipped."""
        residual = F.pixel_shuffle(self.body(x_BCHW), self.scale)
        return residual + F.interpolate(x_BCHW, scale_factor=self.scale, mode="nearest")


def detect(state: State) -> SRVGGConfig | None:
    """The configuration of a compact network's state dict, None when it is another network's."""
    # A vector at place 1 is a PReLU's slopes.
    if "body.0.weight" not in state or "body.1.weight" not in state or state["body.1.weight"].ndim != 1:
        return None
    last = count_indices(state, "body.") - 1
    num_features, in_channels = state["body.0.weight"].shape[:2]
    return SRVGGConfig(
        scale=math.isqrt(state[f"body.{last}.weight"].shape[0] // in_channels),
        num_features=num_features,
        num_convs=(last - 2) // 2,
        in_channels=in_channels,
        out_channels=in_channels,
    )

"""SRResNet without batch normalisation, the small network of the BasicSR family (MSRResNet).

Shapes: x_BCHW [B, in, H, W] -> [B, out, sH, sW]; features [B, F, H, W] until the pixel shuffles.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..options import option, options, type_name
from .parts import (
    MOST_BLOCKS,
    MOST_CHANNELS,
    MOST_FEATURES,
    State,
    conv3x3,
    conv_shuffle,
    count_indices,
    scaled_kaiming,
)


@options("net")
class SRResNetConfig:
    """Sizes of `SRResNet`; the defaults are the released x4 network."""

    type: Literal["srresnet"] = type_name("srresnet")
    scale: Literal[1, 2, 3, 4] = option(4, "how many times larger the output is")
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_blocks: int = option(16, "residual blocks", ge=1, le=MOST_BLOCKS)
    in_channels: int = option(3, "of the input: 1 gray, 3 RGB, 4 RGB and alpha", ge=1, le=MOST_CHANNELS)
    out_channels: int = option(3, "of the output", ge=1, le=MOST_CHANNELS)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(num_features, num_features)
        self.conv2 = conv3x3(num_features, num_features)

    def forward(self, x: Tensor) -> Tensor:
        # In place where nothing needs the old values: a pass over memory costs a tenth of a convolution.
        return self.conv2(F.relu(self.conv1(x), inplace=True)).add_(x)


class SRResNet(nn.Module):
    """Residual blocks at low resolution, pixel shuffles, and the bilinear image as a long skip.

    1,517,571 parameters at 64 features, 16 blocks, x4. State-dict keys: `conv_first`, `body.N.conv1`, `body.N.conv2`,
    `upconv1`, `upconv2` (x4 only), `conv_hr`, `conv_last`.

    Source: Ledig et al. 2017, arXiv:1609.04802, in the variant of Wang et al. 2018, arXiv:1809.00219 (no batch norm).
    """

    def __init__(self, config: SRResNetConfig) -> None:
        super().__init__()
        features = config.num_features
        self.scale = config.scale
        self.conv_first = conv3x3(config.in_channels, features)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(config.num_blocks)))
        if config.scale > 1:
            self.upconv1 = conv3x3(features, features * (9 if config.scale == 3 else 4))
        if config.scale == 4:
            self.upconv2 = conv3x3(features, features * 4)
        self.conv_hr = conv3x3(features, features)
        self.conv_last = conv3x3(features, config.out_channels)
        scaled_kaiming(self.children(), 0.1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, in, H, W] float in [0, 1] -> [B, out, sH, sW], not clipped."""
        features = self.body(_activated(self.conv_first(x_BCHW)))
        if self.scale > 1:
            features = conv_shuffle(self.upconv1, features, 3 if self.scale == 3 else 2, _activated)
        if self.scale == 4:
            features = conv_shuffle(self.upconv2, features, 2, _activated)
        residual = self.conv_last(_activated(self.conv_hr(features)))
        if self.scale == 1:
            return residual + x_BCHW
        return residual + F.interpolate(x_BCHW, scale_factor=self.scale, mode="bilinear", align_corners=False)


def _activated(x: Tensor) -> Tensor:
    """Leaky rectifier, in place."""
    return F.leaky_relu(x, 0.1, inplace=True)


def detect(state: State) -> SRResNetConfig | None:
    """The configuration of an SRResNet's state dict, None when it is another network's."""
    needed = ("conv_first.weight", "body.0.conv1.weight", "conv_hr.weight", "conv_last.weight")
    if any(key not in state for key in needed) or "conv_after_body.weight" in state:
        return None
    # Five dimensions mean a bank of experts (DASR), which is another network.
    if state["conv_first.weight"].ndim != 4:
        return None
    num_features, in_channels = state["conv_first.weight"].shape[:2]
    if "upconv2.weight" in state:
        scale = 4
    elif "upconv1.weight" in state:
        scale = {9: 3, 4: 2}.get(state["upconv1.weight"].shape[0] // num_features, 0)
    else:
        scale = 1
    if scale == 0:
        return None
    return SRResNetConfig(
        scale=scale,  # type: ignore[arg-type]
        num_features=num_features,
        num_blocks=count_indices(state, "body."),
        in_channels=in_channels,
        out_channels=state["conv_last.weight"].shape[0],
    )

"""U-Net discriminator with spectral normalisation: one real/fake logit per pixel.

Shapes: image_BCHW [B, 3, H, W] -> logits [B, 1, H, W]; features [B, F, H, W] down to [B, 8F, H/8, W/8] and back.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from ..errors import ConfigError
from ..options import option, options, type_name
from .parts import MOST_CHANNELS, State


@options("net")
class UNetDiscriminatorConfig:
    """Sizes of `UNetDiscriminator`; the defaults are Real-ESRGAN's."""

    type: Literal["unet_discriminator"] = type_name("unet_discriminator")
    num_features: int = option(64, "channels of the first convolution; 8 times as many in the middle", ge=1, le=512)
    in_channels: int = option(3, "of the images", ge=1, le=MOST_CHANNELS)


class UNetDiscriminator(nn.Module):
    """Three halvings, three bilinear doublings, skips by addition, leaky ReLU 0.2.

    4,376,897 parameters at 64 features. State-dict keys: `conv0`..`conv9`; `conv1`..`conv8` have no bias and are stored
    as `weight_orig`, `weight_u`, `weight_v` (torch's spectral norm by hooks; the newer parametrisation would rename
    them). In training mode each forward pass advances the power iteration that estimates the norms.

    Source: Wang et al. 2021, arXiv:2107.10833, section 3.4; Schonfeld et al. 2020, arXiv:2002.12655.
    """

    scale = 1

    def __init__(self, config: UNetDiscriminatorConfig) -> None:
        super().__init__()
        f = config.num_features

        def conv(in_channels: int, out_channels: int, size_px: int = 3, stride: int = 1) -> nn.Module:
            layer = nn.Conv2d(in_channels, out_channels, size_px, stride, 1, bias=False)
            return spectral_norm(layer)

        self.conv0 = nn.Conv2d(config.in_channels, f, 3, 1, 1)
        # Down.
        self.conv1 = conv(f, 2 * f, 4, 2)
        self.conv2 = conv(2 * f, 4 * f, 4, 2)
        self.conv3 = conv(4 * f, 8 * f, 4, 2)
        # Up.
        self.conv4 = conv(8 * f, 4 * f)
        self.conv5 = conv(4 * f, 2 * f)
        self.conv6 = conv(2 * f, f)
        # End.
        self.conv7 = conv(f, f)
        self.conv8 = conv(f, f)
        self.conv9 = nn.Conv2d(f, 1, 3, 1, 1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """[B, in, H, W] float in [0, 1], sides of at least 8 px -> logits [B, 1, H, W]."""
        if min(image_BCHW.shape[-2:]) < 8:
            size = "x".join(map(str, image_BCHW.shape[-2:]))
            raise ConfigError(f"unet_discriminator: image must be at least 8x8 px, got {size}")
        x0 = F.leaky_relu(self.conv0(image_BCHW), 0.2)
        x1 = F.leaky_relu(self.conv1(x0), 0.2)
        x2 = F.leaky_relu(self.conv2(x1), 0.2)
        x3 = F.leaky_relu(self.conv3(x2), 0.2)
        # Going up to the skip's size, not to twice the size, admits sizes that are no multiples of 8.
        x4 = F.leaky_relu(self.conv4(_resized_like(x3, x2)), 0.2) + x2
        x5 = F.leaky_relu(self.conv5(_resized_like(x4, x1)), 0.2) + x1
        x6 = F.leaky_relu(self.conv6(_resized_like(x5, x0)), 0.2) + x0
        out = F.leaky_relu(self.conv7(x6), 0.2)
        out = F.leaky_relu(self.conv8(out), 0.2)
        return self.conv9(out)


def _resized_like(x: Tensor, other: Tensor) -> Tensor:
    return F.interpolate(x, size=other.shape[-2:], mode="bilinear", align_corners=False)


def detect(state: State) -> UNetDiscriminatorConfig | None:
    """The configuration of a U-Net discriminator's state dict, None when it is another network's."""
    if any(key not in state for key in ("conv0.weight", "conv1.weight_orig", "conv8.weight_orig", "conv9.weight")):
        return None
    num_features, in_channels = state["conv0.weight"].shape[:2]
    return UNetDiscriminatorConfig(num_features=num_features, in_channels=in_channels)

"""RRDBNet: dense blocks inside residual blocks, the generator of ESRGAN and Real-ESRGAN.

Shapes: x_BCHW [B, 3, H, W] -> [B, 3, sH, sW]; inside, unshuffled by u: [B, 3uu, H/u, W/u], features [B, F, H/u, W/u].
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..options import option, options, type_name
from .parts import MOST_CHANNELS, MOST_FEATURES, State, conv3x3, count_indices, pad_to_multiple, rename, scaled_kaiming


@options("net")
class RRDBNetConfig:
    """Sizes of `RRDBNet`; the defaults are the released x4 network (RealESRGAN_x4plus)."""

    type: Literal["rrdbnet"] = type_name("rrdbnet")
    scale: Literal[1, 2, 4, 8] = option(4, "how many times larger the output is")
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_blocks: int = option(23, "blocks of three dense blocks; 6 in the anime release", ge=1, le=128)
    growth: int = option(32, "channels that each convolution of a dense block adds", ge=1, le=MOST_FEATURES)
    in_channels: int = option(3, "of the input: 1 gray, 3 RGB, 4 RGB and alpha", ge=1, le=MOST_CHANNELS)
    out_channels: int = option(3, "of the output", ge=1, le=MOST_CHANNELS)
    unshuffle: bool = option(
        True, "x2, x1: pixel-unshuffle the input, then always x4 (Real-ESRGAN); false: fewer doublings"
    )

    @property
    def unshuffle_factor(self) -> int:
        """Pixels along one side that become channels at the input."""
        return 4 // self.scale if self.unshuffle and self.scale < 4 else 1


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all features before it; the last one's output is added times 0.2."""

    def __init__(self, num_features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(num_features, growth)
        self.conv2 = conv3x3(num_features + growth, growth)
        self.conv3 = conv3x3(num_features + 2 * growth, growth)
        self.conv4 = conv3x3(num_features + 3 * growth, growth)
        self.conv5 = conv3x3(num_features + 4 * growth, num_features)

    def forward(self, x: Tensor) -> Tensor:
        x1 = F.leaky_relu(self.conv1(x), 0.2)
        x2 = F.leaky_relu(self.conv2(torch.cat((x, x1), 1)), 0.2)
        x3 = F.leaky_relu(self.conv3(torch.cat((x, x1, x2), 1)), 0.2)
        x4 = F.leaky_relu(self.conv4(torch.cat((x, x1, x2, x3), 1)), 0.2)
        return x + 0.2 * self.conv5(torch.cat((x, x1, x2, x3, x4), 1))


class ResidualInResidualBlock(nn.Module):
    """x + 0.2 * (three dense blocks)."""

    def __init__(self, num_features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(num_features, growth)
        self.rdb2 = DenseBlock(num_features, growth)
        self.rdb3 = DenseBlock(num_features, growth)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """Dense residual body, nearest-neighbour doublings each followed by a convolution.

    16,697,987 parameters at 64 features, 23 blocks, growth 32, x4. State-dict keys: `conv_first`,
    `body.N.rdb1|2|3.conv1..5`, `conv_body`, `conv_up1`, `conv_up2`, `conv_hr`, `conv_last`; the two older spellings of
    ESRGAN files (`RRDB_trunk...`, `model.1.sub...`) are renamed on loading.

    Source: Wang et al. 2018, arXiv:1809.00219; unshuffled x2 and x1: Wang et al. 2021, arXiv:2107.10833.
    """

    def __init__(self, config: RRDBNetConfig) -> None:
        super().__init__()
        features = config.num_features
        self.scale = config.scale
        self.unshuffle_factor = config.unshuffle_factor
        self.multiple_px = config.unshuffle_factor
        self.num_doublings = int(math.log2(config.scale * self.unshuffle_factor))
        self.conv_first = conv3x3(config.in_channels * self.unshuffle_factor**2, features)
        self.body = nn.Sequential(*(ResidualInResidualBlock(features, config.growth) for _ in range(config.num_blocks)))
        self.conv_body = conv3x3(features, features)
        for number in range(1, self.num_doublings + 1):
            self.add_module(f"conv_up{number}", conv3x3(features, features))
        self.conv_hr = conv3x3(features, features)
        self.conv_last = conv3x3(features, config.out_channels)
        scaled_kaiming([self.body], 0.1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, in, H, W] float in [0, 1] -> [B, out, sH, sW], not clipped."""
        height, width = x_BCHW.shape[-2:]
        # Pad to whole unshuffle cells; what the padding adds is cut off at the end.
        x = pad_to_multiple(x_BCHW, self.unshuffle_factor)
        if self.unshuffle_factor > 1:
            x = F.pixel_unshuffle(x, self.unshuffle_factor)
        head = self.conv_first(x)
        features = head + self.conv_body(self.body(head))
        for number in range(1, self.num_doublings + 1):
            doubled = F.interpolate(features, scale_factor=2, mode="nearest")
            features = F.leaky_relu(self.get_submodule(f"conv_up{number}")(doubled), 0.2)
        out = self.conv_last(F.leaky_relu(self.conv_hr(features), 0.2))
        return out[..., : height * self.scale, : width * self.scale]


def canonical(state: State) -> dict[str, Tensor]:
    """Keys of both older ESRGAN spellings under BasicSR's names."""
    if "RRDB_trunk.0.RDB1.conv1.weight" in state:
        return rename(
            state,
            (
                (r"RRDB_trunk\.(\d+)\.RDB(\d)\.conv(\d)\.(weight|bias)", r"body.\1.rdb\2.conv\3.\4"),
                (r"trunk_conv\.(weight|bias)", r"conv_body.\1"),
                (r"upconv(\d)\.(weight|bias)", r"conv_up\1.\2"),
                (r"HRconv\.(weight|bias)", r"conv_hr.\1"),
            ),
        )
    if "model.1.sub.0.RDB1.conv1.0.weight" in state:
        # Numbers count the layers of one flat sequence: convolution, body, three layers per doubling, then the end.
        last = count_indices(state, "model.") - 1
        trunk = count_indices(state, "model.1.sub.") - 1
        rules = [
            (r"model\.0\.(weight|bias)", r"conv_first.\1"),
            (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)", r"body.\1.rdb\2.conv\3.\4"),
            (rf"model\.1\.sub\.{trunk}\.(weight|bias)", r"conv_body.\1"),
            (rf"model\.{last - 2}\.(weight|bias)", r"conv_hr.\1"),
            (rf"model\.{last}\.(weight|bias)", r"conv_last.\1"),
        ]
        rules += [(rf"model\.{3 * n}\.(weight|bias)", rf"conv_up{n}.\1") for n in range(1, (last - 4) // 3 + 1)]
        return rename(state, rules)
    return dict(state)


def detect(state: State) -> RRDBNetConfig | None:
    """The configuration of an RRDBNet's state dict, None when it is another network's."""
    state = canonical(state)
    needed = ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_last.weight")
    if any(key not in state for key in needed):
        return None
    num_features, first_channels = state["conv_first.weight"].shape[:2]
    out_channels = state["conv_last.weight"].shape[0]
    num_doublings = sum(f"conv_up{number}.weight" in state for number in range(1, 4))
    # More input than output channels in a square ratio is a pixel-unshuffle of the input.
    unshuffle_factor = {4: 2, 16: 4}.get(first_channels // out_channels, 1)
    return RRDBNetConfig(
        scale=2**num_doublings // unshuffle_factor,
        num_features=num_features,
        num_blocks=count_indices(state, "body."),
        growth=state["body.0.rdb1.conv1.weight"].shape[0],
        in_channels=first_channels // unshuffle_factor**2,
        out_channels=out_channels,
        unshuffle=unshuffle_factor > 1 or num_doublings >= 2,
    )

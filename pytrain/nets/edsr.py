"""EDSR: residual blocks without batch normalisation, at three published sizes.

Shapes: x_BCHW [B, 3, H, W] -> [B, 3, sH, sW]; features [B, F, H, W] until the pixel shuffles.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..options import option, options, type_name
from .parts import (
    DIV2K_MEAN_RGB,
    MOST_BLOCKS,
    MOST_FEATURES,
    ShuffleUpsampler,
    State,
    conv3x3,
    count_indices,
    rename,
    shuffle_scale,
)


@options("net")
class EDSRConfig:
    """Sizes of `EDSR`. The defaults are the published baseline (also called S); `EDSRConfig.full` is the large one."""

    type: Literal["edsr"] = type_name("edsr")
    scale: Literal[2, 3, 4, 8] = option(4, "how many times larger the output is")
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_blocks: int = option(16, "residual blocks", ge=1, le=MOST_BLOCKS)
    residual_scale: float = option(1.0, "what each block's residual is multiplied with; 0.1 in the full network")
    value_range: float = option(
        255.0, "pixels in [0, 1] are multiplied with this inside, as the released weights expect"
    )
    subtract_mean: bool = option(True, "subtract DIV2K's mean colour at the input, add it at the output")

    @classmethod
    def full(cls, scale: Literal[2, 3, 4, 8] = 4) -> EDSRConfig:
        """The network of the paper: 256 features, 32 blocks, residuals times 0.1."""
        return cls(scale=scale, num_features=256, num_blocks=32, residual_scale=0.1)


class ResidualBlock(nn.Module):
    """x + residual_scale * conv(relu(conv(x)))."""

    def __init__(self, num_features: int, residual_scale: float) -> None:
        super().__init__()
        self.residual_scale = residual_scale
        self.conv1 = conv3x3(num_features, num_features)
        self.conv2 = conv3x3(num_features, num_features)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual_scale * self.conv2(F.relu(self.conv1(x)))


class EDSR(nn.Module):
    """Head, residual body with a long skip, pixel shuffles, tail; pixels are centred on DIV2K's mean colour.

    Parameters at x2 / x3 / x4: baseline (S) 1,369,859 / 1,554,499 / 1,517,571; full 40,729,603 / 43,680,003 /
    43,089,923. State-dict keys: `conv_first`, `body.N.conv1`, `body.N.conv2`, `conv_after_body`, `upsample.0|2|4`,
    `conv_last` (BasicSR); files of the authors' EDSR-PyTorch (`head`, `body`, `tail`) are renamed on loading.

    Source: Lim et al. 2017, arXiv:1707.02921.
    """

    mean_rgb: Tensor

    def __init__(self, config: EDSRConfig) -> None:
        super().__init__()
        features = config.num_features
        self.scale = config.scale
        self.value_range = config.value_range
        mean_rgb = DIV2K_MEAN_RGB if config.subtract_mean else (0.0, 0.0, 0.0)
        self.register_buffer("mean_rgb", torch.tensor(mean_rgb).view(1, 3, 1, 1), persistent=False)
        self.conv_first = conv3x3(3, features)
        self.body = nn.Sequential(*(ResidualBlock(features, config.residual_scale) for _ in range(config.num_blocks)))
        self.conv_after_body = conv3x3(features, features)
        self.upsample = ShuffleUpsampler(config.scale, features)
        self.conv_last = conv3x3(features, 3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] float in [0, 1] -> [B, 3, sH, sW], not clipped."""
        head = self.conv_first((x_BCHW - self.mean_rgb) * self.value_range)
        features = self.conv_after_body(self.body(head)) + head
        return self.conv_last(self.upsample(features)) / self.value_range + self.mean_rgb


def canonical(state: State) -> dict[str, Tensor]:
    """Keys of EDSR-PyTorch (`head.0`, `body.N.body.0|2`, `tail`) under their names here; mean shifts are dropped."""
    if "head.0.weight" not in state:
        return dict(state)
    last = count_indices(state, "body.") - 1
    kept = {key: value for key, value in state.items() if not key.startswith(("sub_mean.", "add_mean."))}
    return rename(
        kept,
        (
            (r"head\.0\.(weight|bias)", r"conv_first.\1"),
            (r"body\.(\d+)\.body\.0\.(weight|bias)", r"body.\1.conv1.\2"),
            (r"body\.(\d+)\.body\.2\.(weight|bias)", r"body.\1.conv2.\2"),
            (rf"body\.{last}\.(weight|bias)", r"conv_after_body.\1"),
            (r"tail\.0\.(\d+)\.(weight|bias)", r"upsample.\1.\2"),
            (r"tail\.1\.(weight|bias)", r"conv_last.\1"),
        ),
    )


def detect(state: State) -> EDSRConfig | None:
    """The configuration of an EDSR's state dict, None when it is another network's.

    Residual scaling, value range and mean cannot be seen in the weights: a network of 256 features is taken for the
    full one, and the released range and mean are assumed.
    """
    if "head.0.weight" in state and "body.0.body.0.weight" in state and "tail.1.weight" in state:
        state = canonical(state)
    needed = ("conv_first.weight", "body.0.conv1.weight", "conv_after_body.weight", "upsample.0.weight")
    if any(key not in state for key in needed) or state["conv_first.weight"].shape[1] != 3:
        return None
    num_features = state["conv_first.weight"].shape[0]
    return EDSRConfig(
        scale=shuffle_scale(state, "upsample."),  # type: ignore[arg-type]
        num_features=num_features,
        num_blocks=count_indices(state, "body."),
        residual_scale=0.1 if num_features == 256 else 1.0,
    )

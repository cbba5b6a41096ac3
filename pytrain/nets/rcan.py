"""RCAN: residual groups of blocks whose channels are weighted by their global mean.

Shapes: x_BCHW [B, 3, H, W] -> [B, 3, sH, sW]; features [B, F, H, W]; channel weights [B, F, 1, 1].
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
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
class RCANConfig:
    """Sizes of `RCAN`; the defaults are the released network."""

    type: Literal["rcan"] = type_name("rcan")
    scale: Literal[2, 3, 4, 8] = option(4, "how many times larger the output is")
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_groups: int = option(10, "groups of blocks", ge=1, le=MOST_BLOCKS)
    num_blocks: int = option(20, "residual blocks per group", ge=1, le=MOST_BLOCKS)
    reduction: int = option(16, "the attention's hidden width is num_features // reduction", ge=1, le=MOST_FEATURES)
    value_range: float = option(
        255.0, "pixels in [0, 1] are multiplied with this inside, as the released weights expect"
    )
    subtract_mean: bool = option(True, "subtract DIV2K's mean colour at the input, add it at the output")

    def __post_init__(self) -> None:
        if self.num_groups * self.num_blocks > MOST_BLOCKS:
            asked = self.num_groups * self.num_blocks
            raise ConfigError(f"net.num_blocks times num_groups must be at most {MOST_BLOCKS}, got {asked}")
        if self.reduction > self.num_features:
            raise ConfigError(f"net.reduction must be at most num_features {self.num_features}, got {self.reduction}")


class MeanShift(nn.Module):
    """Add a fixed colour, kept as a 1x1 convolution's weight and bias because the released files hold these keys."""

    weight: Tensor
    bias: Tensor

    def __init__(self, value_range: float, sign: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.eye(3).view(3, 3, 1, 1))
        self.register_buffer("bias", sign * value_range * torch.tensor(DIV2K_MEAN_RGB))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias)


class ChannelAttention(nn.Module):
    """x times a weight per channel, computed from the channels' means over the image."""

    def __init__(self, num_features: int, reduction: int) -> None:
        super().__init__()
        hidden = num_features // reduction
        self.conv_du = nn.Sequential(
            nn.Conv2d(num_features, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, num_features, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv_du(x.mean((2, 3), keepdim=True))


class AttentionBlock(nn.Module):
    """x + attention(conv(relu(conv(x))))."""

    def __init__(self, num_features: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3x3(num_features, num_features),
            nn.ReLU(),
            conv3x3(num_features, num_features),
            ChannelAttention(num_features, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResidualGroup(nn.Module):
    """x + conv(blocks(x))."""

    def __init__(self, num_features: int, num_blocks: int, reduction: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = [AttentionBlock(num_features, reduction) for _ in range(num_blocks)]
        self.body = nn.Sequential(*blocks, conv3x3(num_features, num_features))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class RCAN(nn.Module):
    """Very deep residual-in-residual network with channel attention.

    15,444,643 / 15,629,283 / 15,592,355 parameters at x2 / x3 / x4. The attention averages over the whole input, so
    tiled and untiled results differ slightly by design. State-dict keys are the authors': `head.0`,
    `body.G.body.N.body.0|2`, `body.G.body.N.body.3.conv_du.0|2`, `tail.0.*`, `tail.1`, `sub_mean`, `add_mean`;
    BasicSR's names are renamed on loading.

    Source: Zhang et al. 2018, arXiv:1807.02758.
    """

    def __init__(self, config: RCANConfig) -> None:
        super().__init__()
        features = config.num_features
        self.scale = config.scale
        self.value_range = config.value_range
        if config.subtract_mean:
            self.sub_mean: nn.Module = MeanShift(config.value_range, -1.0)
            self.add_mean: nn.Module = MeanShift(config.value_range, 1.0)
        else:
            self.sub_mean = self.add_mean = nn.Identity()
        self.head = nn.Sequential(conv3x3(3, features))
        groups: list[nn.Module] = [
            ResidualGroup(features, config.num_blocks, config.reduction) for _ in range(config.num_groups)
        ]
        self.body = nn.Sequential(*groups, conv3x3(features, features))
        self.tail = nn.Sequential(ShuffleUpsampler(config.scale, features), conv3x3(features, 3))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] float in [0, 1] -> [B, 3, sH, sW], not clipped."""
        head = self.head(self.sub_mean(x_BCHW * self.value_range))
        return self.add_mean(self.tail(head + self.body(head))) / self.value_range


def canonical(state: State) -> dict[str, Tensor]:
    """Keys of BasicSR's RCAN under the authors' names, with the mean shift that BasicSR does not store."""
    if "body.0.residual_group.0.rcab.0.weight" not in state:
        return dict(state)
    num_groups = count_indices(state, "body.")
    num_blocks = count_indices(state, "body.0.residual_group.")
    block = r"body\.(\d+)\.residual_group\.(\d+)\.rcab"
    renamed = rename(
        state,
        (
            (r"conv_first\.(weight|bias)", r"head.0.\1"),
            (rf"{block}\.([02])\.(weight|bias)", r"body.\1.body.\2.body.\3.\4"),
            (rf"{block}\.3\.attention\.1\.(weight|bias)", r"body.\1.body.\2.body.3.conv_du.0.\3"),
            (rf"{block}\.3\.attention\.3\.(weight|bias)", r"body.\1.body.\2.body.3.conv_du.2.\3"),
            (r"body\.(\d+)\.conv\.(weight|bias)", rf"body.\g<1>.body.{num_blocks}.\2"),
            (r"conv_after_body\.(weight|bias)", rf"body.{num_groups}.\1"),
            (r"upsample\.(\d+)\.(weight|bias)", r"tail.0.\1.\2"),
            (r"conv_last\.(weight|bias)", r"tail.1.\1"),
        ),
    )
    for name, sign in (("sub_mean", -1.0), ("add_mean", 1.0)):
        for key, value in MeanShift(RCANConfig.value_range, sign).state_dict().items():
            renamed.setdefault(f"{name}.{key}", value)
    return renamed


def detect(state: State) -> RCANConfig | None:
    """The configuration of an RCAN's state dict, None when it is another network's.

    A file of the authors' spelling without `sub_mean` comes from a network that works on [0, 1] without a shift.
    """
    state = canonical(state)
    needed = ("head.0.weight", "body.0.body.0.body.0.weight", "body.0.body.0.body.3.conv_du.0.weight", "tail.1.weight")
    if any(key not in state for key in needed) or state["head.0.weight"].shape[1] != 3:
        return None
    num_features = state["head.0.weight"].shape[0]
    return RCANConfig(
        scale=shuffle_scale(state, "tail.0."),  # type: ignore[arg-type]
        num_features=num_features,
        num_groups=count_indices(state, "body.") - 1,
        num_blocks=count_indices(state, "body.0.body.") - 1,
        reduction=num_features // state["body.0.body.0.body.3.conv_du.0.weight"].shape[0],
        value_range=255.0 if "sub_mean.weight" in state else 1.0,
        subtract_mean="sub_mean.weight" in state,
    )

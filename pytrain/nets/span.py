"""SPAN: six blocks that weigh their features by a function of themselves, all at low resolution, one pixel shuffle.

Shapes: x_BCHW [B, in, H, W] -> [B, out, sH, sW]; features [B, F, H, W].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import option, options, type_name
from .parts import DIV2K_MEAN_RGB, MOST_CHANNELS, MOST_FEATURES, MOST_SCALE, State, conv3x3

NUM_BLOCKS = 6
MERGED = ".eval_conv."  # in public files, the convolution that the others of a `MergedConv` amount to


@options("net")
class SPANConfig:
    """Sizes of `SPAN`; the defaults are the released network of 48 channels."""

    type: Literal["span"] = type_name("span")
    scale: int = option(4, "how many times larger the output is", ge=1, le=MOST_SCALE)
    num_features: int = option(48, "channels of the body", ge=1, le=MOST_FEATURES)
    subtract_mean: bool = option(
        True, "DIV2K's mean is subtracted and values reach 255, as published; false: 'norm: false' of other trainers"
    )
    in_channels: int = option(3, "of the input: 1 gray, 3 RGB, 4 RGB and alpha", ge=1, le=MOST_CHANNELS)
    out_channels: int = option(3, "of the output", ge=1, le=MOST_CHANNELS)

    def __post_init__(self) -> None:
        if self.subtract_mean and self.in_channels != 3:
            raise ConfigError(
                f"net.subtract_mean must be false where in_channels is not 3, got {self.in_channels} channels"
            )


class MergedConv(nn.Module):
    """A 3x3 convolution, given as 1x1 of twice the channels, 3x3, 1x1, and a 1x1 beside them.

    The four have no nonlinearity between them, so they are one 3x3 convolution. It is computed from them in every call,
    with gradients, in float32: the values of the published training form, whose padding is such that both agree at the
    borders too, at the cost of the published inference form.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.sk = nn.Conv2d(in_channels, out_channels, 1)
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, 2 * in_channels, 1),
            nn.Conv2d(2 * in_channels, 2 * out_channels, 3),
            nn.Conv2d(2 * out_channels, out_channels, 1),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # Under autocast the products of weights would be rounded to bfloat16 before they are used.
        with torch.autocast("cuda" if x_BCHW.is_cuda else "cpu", enabled=False):
            weight, bias = merged(dict(self.named_parameters()), "")
        return F.conv2d(x_BCHW, weight, bias, padding=1)


def merged(state: State, stem: str) -> tuple[Tensor, Tensor]:
    """Weight [out, in, 3, 3] and bias [out] of the one convolution that those below `stem` amount to."""
    (w1, b1), (w2, b2), (w3, b3), (skip, skip_bias) = (
        (state[f"{stem}{name}.weight"], state[f"{stem}{name}.bias"]) for name in ("conv.0", "conv.1", "conv.2", "sk")
    )
    w1, w3, skip = w1.flatten(1), w3.flatten(1), F.pad(skip, (1, 1, 1, 1))
    inner = torch.einsum("abyx,bi->aiyx", w2, w1)
    weight = torch.einsum("oa,aiyx->oiyx", w3, inner) + skip
    bias = w3 @ (w2.sum((2, 3)) @ b1 + b2) + b3 + skip_bias
    return weight, bias


class AttentionBlock(nn.Module):
    """(f + x) (sigmoid(f) - 1/2) with f three convolutions of x: attention without parameters of its own."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.c1_r, self.c2_r, self.c3_r = (MergedConv(num_features, num_features) for _ in range(3))

    def forward(self, x_BFHW: Tensor) -> tuple[Tensor, Tensor]:
        """(the block's output, its first convolution behind the activation, which the released code applies in place)."""
        first = F.silu(self.c1_r(x_BFHW))
        features = self.c3_r(F.silu(self.c2_r(first)))
        return (features + x_BFHW) * (torch.sigmoid(features) - 0.5), first


class SPAN(nn.Module):
    """Convolution, six blocks, a convolution over what four places of them gave, a pixel shuffle. No long skip.

    At 48 features and x4 1,840,488 parameters while it trains, 426,288 once they are merged. State-dict keys are the
    authors', but for the merged convolutions (`eval_conv`), which `published` computes for other tools and `canonical`
    leaves out.

    Source: Wan et al. 2024, arXiv:2311.12770, eq. 3 to 8 and figure 3, and the released code.
    """

    mean_rgb: Tensor

    def __init__(self, config: SPANConfig) -> None:
        super().__init__()
        features = config.num_features
        self.scale = config.scale
        self.subtract_mean = config.subtract_mean
        self.register_buffer("mean_rgb", torch.tensor(DIV2K_MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        if not config.subtract_mean:
            # The mark by which files say so.
            self.register_buffer("no_norm", torch.zeros(1))
        self.conv_1 = MergedConv(config.in_channels, features)
        for number in range(1, NUM_BLOCKS + 1):
            self.add_module(f"block_{number}", AttentionBlock(features))
        self.conv_cat = nn.Conv2d(4 * features, features, 1)
        self.conv_2 = MergedConv(features, features)
        self.upsampler = nn.Sequential(
            conv3x3(features, config.out_channels * config.scale**2), nn.PixelShuffle(config.scale)
        )
        nn.init.trunc_normal_(self.conv_cat.weight, std=0.02)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, in, H, W] float in [0, 1] -> [B, out, sH, sW], not clipped."""
        x = (x_BCHW - self.mean_rgb) * 255 if self.subtract_mean else x_BCHW
        head = out = self.conv_1(x)
        outputs, firsts = [], []
        for number in range(1, NUM_BLOCKS + 1):
            out, first = self.get_submodule(f"block_{number}")(out)
            outputs.append(out)
            firsts.append(first)
        gathered = torch.cat((head, self.conv_2(outputs[-1]), outputs[0], firsts[-1]), 1)
        return self.upsampler(self.conv_cat(gathered))


def canonical(state: State) -> dict[str, Tensor]:
    """The state without the merged convolutions, which follow from the others."""
    return {key: value for key, value in state.items() if MERGED not in f".{key}"}


def published(config: SPANConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with the merged convolutions, as the authors' code writes it."""
    filled = dict(state)
    for key in state:
        if key.endswith(".sk.weight"):
            stem = key.removesuffix("sk.weight")
            weight, bias = merged({name: value.float() for name, value in state.items() if name.startswith(stem)}, stem)
            filled[f"{stem}eval_conv.weight"], filled[f"{stem}eval_conv.bias"] = weight, bias
    return filled


def detect(state: State) -> SPANConfig | None:
    """The configuration of a SPAN's state dict, None when it is another network's."""
    needed = (
        "conv_1.sk.weight",
        "block_1.c1_r.conv.1.weight",
        f"block_{NUM_BLOCKS}.c3_r.sk.weight",
        "upsampler.0.weight",
    )
    if any(key not in state for key in needed):
        return None
    num_features, in_channels = state["conv_1.sk.weight"].shape[:2]
    shuffled = state["upsampler.0.weight"].shape[0]
    # out s^2 is known, not out and s: as many as the input has, where that gives a whole scale.
    squares = [count for count in (in_channels, 3, 4, 1) if shuffled % count == 0]
    out_channels = next(count for count in squares if math.isqrt(shuffled // count) ** 2 == shuffled // count)
    return SPANConfig(
        scale=math.isqrt(shuffled // out_channels),
        num_features=num_features,
        subtract_mean="no_norm" not in state,
        in_channels=in_channels,
        out_channels=out_channels,
    )

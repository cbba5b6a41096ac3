"""DASR's generator: an SRResNet whose every convolution is, per image, a mixture of expert kernels.

Shapes: x_BCHW [B, in, H, W], mixing_BK [B, K] -> [B, out, sH, sW]; K experts. Weights of one layer are
weight_KOIhw [K, O, I, 3, 3] and bias_KO [K, O]; the kernel of image b is the sum over k of mixing[b, k] weight[k].
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError
from ..options import option, options, type_name
from . import srresnet
from .parts import MOST_BLOCKS, MOST_CHANNELS, MOST_FEATURES, State, count_indices
from .srresnet import SRResNet, SRResNetConfig


@options("net")
class DASRSRResNetConfig:
    """Sizes of `DASRSRResNet`; the defaults are the released x4 network."""

    type: Literal["dasr_srresnet"] = type_name("dasr_srresnet")
    scale: Literal[1, 2, 3, 4] = option(4, "how many times larger the output is")
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_blocks: int = option(16, "residual blocks", ge=1, le=MOST_BLOCKS)
    num_experts: int = option(5, "kernels that every convolution mixes", ge=1, le=64)
    in_channels: int = option(3, "of the input: 1 gray, 3 RGB, 4 RGB and alpha", ge=1, le=MOST_CHANNELS)
    out_channels: int = option(3, "of the output", ge=1, le=MOST_CHANNELS)

    def plain(self) -> SRResNetConfig:
        """The network that one mixture is."""
        return SRResNetConfig(
            scale=self.scale,
            num_features=self.num_features,
            num_blocks=self.num_blocks,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
        )


class MixedConv(nn.Module):
    """3x3 convolution with each image's own mixture of K kernels, run as one convolution with B groups.

    Convolution is linear in its kernel, so mixing kernels costs K * parameters per image instead of K convolutions. One
    grouped convolution is one launch on a GPU whatever the batch; on a CPU a loop over images is as fast or faster (6
    images of 64 px, one AVX-512 core, torch 2.13: the whole network 1.1 times forward, 1.25 times in training; see
    benchmarks/bench_experts.py).
    """

    def __init__(self, in_channels: int, out_channels: int, num_experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(num_experts, out_channels))
        # As `scaled_kaiming` of the plain network with gain 0.1; every expert has its own draw.
        nn.init.normal_(self.weight, std=0.1 * math.sqrt(2 / (in_channels * 9)))

    def forward(self, x_BCHW: Tensor, mixing_BK: Tensor) -> Tensor:
        batch, channels, height, width = x_BCHW.shape
        weight = (mixing_BK @ self.weight.flatten(1)).view(-1, *self.weight.shape[2:])
        bias = (mixing_BK @ self.bias).view(-1)
        x = F.conv2d(x_BCHW.reshape(1, batch * channels, height, width), weight, bias, padding=1, groups=batch)
        return x.view(batch, -1, height, width)


class MixedBlock(nn.Module):
    """x + conv(relu(conv(x))) with mixed kernels."""

    def __init__(self, num_features: int, num_experts: int) -> None:
        super().__init__()
        self.conv1 = MixedConv(num_features, num_features, num_experts)
        self.conv2 = MixedConv(num_features, num_features, num_experts)

    def forward(self, x: Tensor, mixing_BK: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.relu(self.conv1(x, mixing_BK)), mixing_BK)
        return out


class DASRSRResNet(nn.Module):
    """`SRResNet` with K expert kernels per convolution and one mixture per image, the same in all layers.

    7,587,855 parameters at the default sizes, 1,517,571 of them at work for an image. State-dict keys are SRResNet's;
    weights and biases have a leading axis of K. For inference use `mixed`, which gives the plain network of one image:
    the mixture belongs to the whole image, so tiles must not predict their own.

    Source: Liang et al. 2022, arXiv:2203.14216, section 3.3, and its released code.
    """

    def __init__(self, config: DASRSRResNetConfig) -> None:
        super().__init__()
        features, experts = config.num_features, config.num_experts
        self.config = config
        self.scale = config.scale
        self.num_experts = experts
        self.conv_first = MixedConv(config.in_channels, features, experts)
        self.body = nn.ModuleList(MixedBlock(features, experts) for _ in range(config.num_blocks))
        if config.scale > 1:
            self.upconv1 = MixedConv(features, features * (9 if config.scale == 3 else 4), experts)
        if config.scale == 4:
            self.upconv2 = MixedConv(features, features * 4, experts)
        self.conv_hr = MixedConv(features, features, experts)
        self.conv_last = MixedConv(features, config.out_channels, experts)

    def forward(self, x_BCHW: Tensor, mixing_BK: Tensor) -> Tensor:
        """Upscale each image with its own mixture of experts.

        Args:
            x_BCHW: [B, in, H, W] float in [0, 1].
            mixing_BK: [B, K], any values; gradients flow into it.
        Returns:
            [B, out, sH, sW], not clipped.
        Raises:
            ConfigError: a mixing of another shape.
        """
        if mixing_BK.shape != (len(x_BCHW), self.num_experts):
            raise ConfigError(
                f"dasr_srresnet: mixing must have shape {(len(x_BCHW), self.num_experts)} (images, experts), "
                f"got {tuple(mixing_BK.shape)}"
            )
        features = F.leaky_relu(self.conv_first(x_BCHW, mixing_BK), 0.1)
        for block in self.body:
            features = block(features, mixing_BK)
        if self.scale > 1:
            features = F.pixel_shuffle(self.upconv1(features, mixing_BK), 3 if self.scale == 3 else 2)
            features = F.leaky_relu(features, 0.1)
        if self.scale == 4:
            features = F.leaky_relu(F.pixel_shuffle(self.upconv2(features, mixing_BK), 2), 0.1)
        residual = self.conv_last(F.leaky_relu(self.conv_hr(features, mixing_BK), 0.1), mixing_BK)
        if self.scale == 1:
            return residual + x_BCHW
        return residual + F.interpolate(x_BCHW, scale_factor=self.scale, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def mixed(self, mixing_K: Tensor) -> SRResNet:
        """The plain network of one mixture, with weights of its own: to run, tile and export like any other.

        Args:
            mixing_K: [K].
        Returns:
            An `SRResNet` on this network's device, in evaluation mode.
        """
        if mixing_K.shape != (self.num_experts,):
            raise ConfigError(
                f"dasr_srresnet: mixing must have shape ({self.num_experts},), got {tuple(mixing_K.shape)}"
            )
        # A fresh network draws weights that are overwritten at once: leave the caller's generator as it was.
        with torch.random.fork_rng(devices=[]):
            plain = SRResNet(self.config.plain())
        plain.load_state_dict(
            {key: torch.tensordot(mixing_K.to(bank), bank, 1) for key, bank in self.state_dict().items()}
        )
        return plain.to(self.conv_first.weight.device).eval()


def experts_from_srresnet(config: DASRSRResNetConfig, state: State) -> dict[str, Tensor]:
    """State dict of `DASRSRResNet(config)` in which every expert is a copy of one pretrained SRResNet.

    Copies separate during training because images mix them differently.

    Args:
        config: sizes of the network to start.
        state: a plain `SRResNet`'s state dict.
    Raises:
        CheckpointError: a bank of experts already, another network, other sizes or another scale.
    """
    found = detect(state)
    if found is not None:
        raise CheckpointError(
            f"experts: expected a plain srresnet to copy, got a bank of {found.num_experts} experts; load it as it is"
        )
    plain = srresnet.detect(state)
    if plain is None:
        raise CheckpointError(f"experts: expected a plain srresnet to copy, got keys {', '.join(list(state)[:3])}")
    if plain != config.plain():
        raise CheckpointError(f"experts: expected {config.plain()}, got {plain}")
    return {key: value.expand(config.num_experts, *value.shape).clone() for key, value in state.items()}


def detect(state: State) -> DASRSRResNetConfig | None:
    """The configuration of a bank of experts, None when it is another network's state dict."""
    if "conv_first.weight" not in state or state["conv_first.weight"].ndim != 5:
        return None
    plain = srresnet.detect({key: bank[0] for key, bank in state.items() if bank.ndim > 0 and len(bank) > 0})
    if plain is None:
        return None
    return DASRSRResNetConfig(
        scale=plain.scale,
        num_features=plain.num_features,
        num_blocks=count_indices(state, "body."),
        num_experts=state["conv_first.weight"].shape[0],
        in_channels=plain.in_channels,
        out_channels=plain.out_channels,
    )

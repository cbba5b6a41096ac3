"""DASR's degradation predictor: from a low-resolution image to its degradation vector, and from that to expert shares.

Shapes: x_BCHW [B, 3, H, W] -> vector_BV [B, V], mixing_BK [B, K]; V entries of the vector, K experts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..options import option, options, type_name
from .parts import MOST_CHANNELS, MOST_FEATURES, State

Input = Literal["image", "high_pass"]

_MEAN_PX = 5
_GAIN = 10.0


@options("net")
class DASRPredictorConfig:
    """Sizes of `DASRPredictor`; the defaults are the released ones."""

    type: Literal["dasr_predictor"] = type_name("dasr_predictor")
    num_entries: int = option(33, "of the degradation vector", ge=1, le=1024)
    num_experts: int = option(5, "shares that it predicts", ge=1, le=64)
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_hidden: int = option(15, "numbers between vector and shares", ge=1, le=1024)
    in_channels: int = option(3, "of the input: 1 gray, 3 RGB, 4 RGB and alpha", ge=1, le=MOST_CHANNELS)
    input: Input = option(
        "image",
        "image: as released; high_pass: what is left of it after subtracting its local mean, so that nothing has to be "
        "learned before noise, blocks and edges are seen",
    )
    mapping_init: Literal["equal", "released"] = option(
        "equal",
        "equal: shares start around 1/K with a sum of 1, and convolutions as He's; released: torch's own draws",
    )


class DASRPredictor(nn.Module):
    """Six 5x5 convolutions (the fourth with stride 2), a global mean, and two linear layers without activation.

    468,143 parameters at the default sizes. State-dict keys are the release's: `ConvNet.0|2|4|6|8|10`,
    `MappingNet.0|1`. With `input = "high_pass"` the convolutions see 10 times the difference between the image and the mean
    of its 5x5 neighbourhood (edges repeated), and the file has one more key, `high_pass_gain`.

    The shares are neither positive nor do they sum to one. With the released initialisation their sum
    is about 0 +- 0.4, which multiplies every layer of pretrained experts by a small number and destroys what they know;
    the default makes them sum to one.

    Source: Liang et al. 2022, arXiv:2203.14216, section 3.2, and its released code.
    """

    scale = 1

    def __init__(self, config: DASRPredictorConfig) -> None:
        super().__init__()
        self.num_entries = config.num_entries
        self.num_experts = config.num_experts
        self.high_pass_gain: Tensor | None
        self.register_buffer("high_pass_gain", torch.tensor(_GAIN) if config.input == "high_pass" else None)
        widths = [config.in_channels, *[config.num_features] * 5, config.num_entries]
        layers: list[nn.Module] = []
        for place, (in_channels, out_channels) in enumerate(pairwise(widths)):
            stride = 2 if place == 3 else 1
            layers += [nn.Conv2d(in_channels, out_channels, 5, stride, 2), nn.LeakyReLU(0.2)]
        self.ConvNet = nn.Sequential(*layers)
        last = nn.Linear(config.num_hidden, config.num_experts)
        self.MappingNet = nn.Sequential(nn.Linear(config.num_entries, config.num_hidden), last)
        if config.mapping_init == "equal":
            # Labels lie in [0, 1] around 0.3. From torch's own draw, which halves the signal per layer, a small predictor
            # needs two to three times the steps to leave the constant.
            convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
            for layer in convolutions:
                nn.init.kaiming_normal_(layer.weight, a=0.2)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
            with torch.no_grad():
                convolutions[-1].weight.mul_(0.3)
                assert convolutions[-1].bias is not None
                convolutions[-1].bias.fill_(0.3)
                # Rows that sum to zero: whatever the vector, shares differ at full size and sum to one. Equal experts
                # then are exactly the network they were copied from, and soon become different ones.
                last.weight.sub_(last.weight.mean(0))
                last.bias.fill_(1 / config.num_experts)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] float in [0, 1] -> the predicted vector [B, V] and the expert shares [B, K] that follow from it."""
        if self.high_pass_gain is not None:
            # Not as a convolution: under autocast that would round the image to bfloat16 first, coarser than its noise.
            border = _MEAN_PX // 2
            padded = F.pad(x_BCHW, (border, border, border, border), mode="replicate")
            x_BCHW = (x_BCHW - F.avg_pool2d(padded, _MEAN_PX, 1)) * self.high_pass_gain
        vector_BV = self.ConvNet(x_BCHW).mean((2, 3))
        return vector_BV, self.shares(vector_BV)

    def shares(self, vector_BV: Tensor) -> Tensor:
        """[B, V], predicted or edited by a person, -> expert shares [B, K]; an affine map."""
        mixing_BK: Tensor = self.MappingNet(vector_BV)
        return mixing_BK

    def sensitivity(self) -> Tensor:
        """[K, V]: by how much each share changes per unit of each entry (the matrix of the affine map)."""
        first, last = (parameter for parameter in self.MappingNet.parameters() if parameter.ndim == 2)
        return (last @ first).detach()


def detect(state: State) -> DASRPredictorConfig | None:
    """The configuration of a predictor's state dict, None when it is another network's."""
    needed = ("ConvNet.0.weight", "ConvNet.10.weight", "MappingNet.0.weight", "MappingNet.1.weight")
    if any(key not in state for key in needed):
        return None
    num_features, in_channels = state["ConvNet.0.weight"].shape[:2]
    num_hidden, num_entries = state["MappingNet.0.weight"].shape
    return DASRPredictorConfig(
        num_entries=num_entries,
        num_experts=state["MappingNet.1.weight"].shape[0],
        num_features=num_features,
        num_hidden=num_hidden,
        in_channels=in_channels,
        input="high_pass" if "high_pass_gain" in state else "image",
    )

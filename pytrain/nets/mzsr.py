"""The eight-layer network of MZSR and ZSSR: a residual on top of the bicubically enlarged image.

Shapes: enlarged_BCHW [B, 3, sH, sW] -> the same; or x_BCHW [B, 3, H, W] -> [B, 3, sH, sW].
"""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

import pydegrade

from ..options import option, options, type_name
from .parts import MOST_BLOCKS, MOST_FEATURES, MOST_SCALE, State, conv3x3, count_indices


@options("net")
class MZSRConfig:
    """Sizes of `MZSR`; the defaults are the released network."""

    type: Literal["mzsr"] = type_name("mzsr")
    scale: int = option(2, "of `forward` on a low-resolution image; the weights belong to none", ge=1, le=MOST_SCALE)
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_layers: int = option(8, "convolutions", ge=2, le=MOST_BLOCKS)
    zero_last: bool = option(False, "the last layer starts at zero, so that the network starts as bicubic enlargement")


class MZSR(nn.Module):
    """3x3 convolutions with ReLU between them; the output is the enlarged image plus the last layer's.

    225,091 parameters at the default sizes. State-dict keys: `conv1` .. `conv8`. Weights start as a normal with variance
    1 / fan-in cut at two deviations, biases at zero, as in the release (TensorFlow's variance scaling, not He's).

    Source: Soh et al. 2020, arXiv:2002.12213, and its released code; ZSSR: Shocher et al. 2018, arXiv:1712.06087.
    """

    def __init__(self, config: MZSRConfig) -> None:
        super().__init__()
        self.scale = config.scale
        self.num_layers = config.num_layers
        widths = [3, *[config.num_features] * (config.num_layers - 1), 3]
        for number in range(1, config.num_layers + 1):
            layer = conv3x3(widths[number - 1], widths[number])
            std = 1 / math.sqrt(9 * widths[number - 1])
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            if config.zero_last and number == config.num_layers:
                nn.init.zeros_(layer.weight)
            self.add_module(f"conv{number}", layer)

    def forward(self, x_BCHW: Tensor, enlarged: bool = False) -> Tensor:
        """Super-resolve an image, or refine one that is enlarged already.

        Training enlarges once and passes `enlarged=True` (also through `torch.func.functional_call`).

        Args:
            x_BCHW: float in [0, 1]: [B, 3, H, W] at low resolution, or [B, 3, sH, sW] where `enlarged`.
            enlarged: whether `enlarge` was applied already.
        Returns:
            [B, 3, sH, sW], not clipped.
        """
        base = x_BCHW if enlarged else enlarge(x_BCHW, self.scale)
        features = base
        for number in range(1, self.num_layers):
            features = F.relu(self.get_submodule(f"conv{number}")(features))
        residual: Tensor = self.get_submodule(f"conv{self.num_layers}")(features)
        return base + residual


def enlarge(lr_BCHW: Tensor, scale: int) -> Tensor:
    """MATLAB's bicubic enlargement, which the network refines: [B, 3, H, W] float32 -> [B, 3, sH, sW], not clipped."""
    if scale == 1:
        return lr_BCHW
    return pydegrade.ops.resize(lr_BCHW, resize_factor=float(scale), mode="matlab_bicubic")


def detect(state: State) -> MZSRConfig | None:
    """The configuration of an MZSR's state dict, None when it is another network's. The scale is not in the weights: 2."""
    num_layers = count_indices(state, "conv") - 1
    if num_layers < 2 or set(state) != {f"conv{n}.{k}" for n in range(1, num_layers + 1) for k in ("weight", "bias")}:
        return None
    if state["conv1.weight"].shape[1] != 3 or state[f"conv{num_layers}.weight"].shape[0] != 3:
        return None
    return MZSRConfig(num_features=state["conv1.weight"].shape[0], num_layers=num_layers)

"""DnCNN: convolutions that find the noise, which is subtracted. For gray images by default.

Shapes: x_BCHW [B, C, H, W] -> [B, C, H, W]; features [B, F, H, W].
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from ..options import option, options, type_name
from .parts import MOST_BLOCKS, MOST_CHANNELS, MOST_FEATURES, State, conv3x3, scaled_kaiming


@options("net")
class DnCNNConfig:
    """Sizes of `DnCNN`; the defaults are the released gray networks of one noise level (dncnn_15, _25, _50)."""

    type: Literal["dncnn"] = type_name("dncnn")
    scale: Literal[1] = option(1, "the output has the input's size")
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    num_layers: int = option(17, "convolutions; 20 in the blind and the colour releases", ge=2, le=MOST_BLOCKS)
    in_channels: int = option(1, "of the image: 1 gray, 3 RGB, 4 RGB and alpha", ge=1, le=MOST_CHANNELS)

    @property
    def out_channels(self) -> int:
        """Those of the input: the noise is subtracted from it."""
        return self.in_channels


class DnCNN(nn.Module):
    """x - convolutions(x), ReLU between them.

    555,137 parameters at the default sizes. State-dict keys: `model.0`, `model.2`, ... (KAIR's released files, whose batch
    normalisation is merged into the convolutions; files that still have it are left to spandrel).

    Source: Zhang et al. 2017, arXiv:1608.03981, and the code released as KAIR.
    """

    def __init__(self, config: DnCNNConfig) -> None:
        super().__init__()
        self.scale: int = config.scale
        widths = [config.in_channels, *[config.num_features] * (config.num_layers - 1), config.in_channels]
        layers: list[nn.Module] = []
        for width, following in pairwise(widths):
            layers += [conv3x3(width, following), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers[:-1])
        scaled_kaiming([self.model], 1.0)
        # The network starts as the identity, up to a little.
        scaled_kaiming([self.model[-1]], 0.1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] float in [0, 1] -> [B, C, H, W], not clipped."""
        return x_BCHW - self.model(x_BCHW)


def detect(state: State) -> DnCNNConfig | None:
    """The configuration of a DnCNN's state dict, None when it is another network's."""
    num_layers = len(state) // 2
    if num_layers < 2 or set(state) != {
        f"model.{2 * layer}.{kind}" for layer in range(num_layers) for kind in ("weight", "bias")
    }:
        return None
    first, last = state["model.0.weight"], state[f"model.{2 * num_layers - 2}.weight"]
    if first.ndim != 4 or first.shape[2:] != (3, 3) or first.shape[1] != last.shape[0]:
        return None
    return DnCNNConfig(num_features=first.shape[0], num_layers=num_layers, in_channels=first.shape[1])

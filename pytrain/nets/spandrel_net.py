"""Any architecture that spandrel knows, from a model file, for fine-tuning and inference.

Shapes: x_BCHW [B, in, H, W] -> [B, out, sH, sW].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, needs, one_line
from ..options import option, options, type_name
from .parts import MOST_CHANNELS, MOST_SCALE, pad_to_multiple
from .weights import read_weights

PREFIX = "model."

MOST_GAP = 10
"""Numbers of layers that a tensor may stand for in the keys: activations have a number and no weights."""


@options("net")
class SpandrelConfig:
    """Which model file to start from. The file decides the architecture; `scale` 0 takes the file's."""

    type: Literal["spandrel"] = type_name("spandrel")
    path: str = option("", "the model file", path=True)
    scale: int = option(0, "how many times larger the output is; 0: what the file says", ge=0, le=MOST_SCALE)
    in_channels: int = option(3, "of the input, as in the file: 1 gray, 3 RGB, 4 RGB and alpha", ge=1, le=MOST_CHANNELS)
    out_channels: int = option(3, "of the output, as in the file", ge=1, le=MOST_CHANNELS)


class SpandrelNet(nn.Module):
    """A network found by spandrel, whose own keys lie below `model.`; `published` takes that level away again."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.architecture_name: str = descriptor.architecture.name
        self.scale: int = descriptor.scale
        self.in_channels: int = descriptor.input_channels
        self.out_channels: int = descriptor.output_channels
        self.minimum_px: int = max(descriptor.size_requirements.minimum, 1)
        self.multiple_px: int = max(descriptor.size_requirements.multiple_of, 1)
        self.model: nn.Module = descriptor.model
        for parameter in self.model.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, in, H, W] float in [0, 1] -> [B, out, sH, sW], not clipped; small and odd sizes are padded."""
        height, width = x_BCHW.shape[-2:]
        x = pad_to_multiple(x_BCHW, self.multiple_px)
        if min(x.shape[-2:]) < self.minimum_px:
            x = pad_to_multiple(x, -(-self.minimum_px // self.multiple_px) * self.multiple_px)
        return self.model(x)[..., : height * self.scale, : width * self.scale]


def _spandrel() -> Any:
    try:
        import spandrel
    except (ImportError, RuntimeError) as error:
        # RuntimeError: spandrel imports torchvision, whose operators are missing beside a torch of another build.
        raise ConfigError(needs("net.type: 'spandrel'", "spandrel", "spandrel", error)) from None
    return spandrel


def is_usable() -> bool:
    """Whether the package is installed and can be imported."""
    try:
        _spandrel()
    except ConfigError:
        return False
    return True


def build(config: SpandrelConfig) -> SpandrelNet:
    """The network of the file `config.path`, with its weights.

    Raises:
        ConfigError: spandrel is not installed, or the file's scale is not `config.scale`.
        CheckpointError: the file cannot be read or holds no known image network.
    """
    if not config.path:
        raise ConfigError("net.path must name a model file when net.type is 'spandrel', got nothing")
    _spandrel()
    net = from_state(read_weights(config.path).state, config.path)
    if config.scale not in (0, net.scale):
        raise ConfigError(f"net.scale must be {net.scale} for {Path(config.path).name}, got {config.scale}")
    for name in ("in_channels", "out_channels"):
        if getattr(config, name) != getattr(net, name):
            raise ConfigError(
                f"net.{name} must be {getattr(net, name)} for {Path(config.path).name}, got {getattr(config, name)}"
            )
    return net.train()


def from_state(state: Mapping[str, Tensor], where: str) -> SpandrelNet:
    """The network whose published state dict this is, with these weights, in evaluation mode.

    Raises:
        CheckpointError: spandrel does not know it, or it is no single-image network.
    """
    spandrel = _spandrel()
    # spandrel builds as many layers as the keys count; a file has no more layers than tensors.
    for key in state:
        for number in re.findall(r"(?<![^.])[0-9]+(?![^.])", key):
            if len(number) > 9 or int(number) > MOST_GAP * len(state):
                raise CheckpointError(
                    f"{where}: layer {number[:20]} of {key[:80]!r} is beyond its {len(state)} tensors"
                )
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(state))
    except Exception as error:
        # spandrel raises its own class for unknown files and whatever a constructor raises for odd ones.
        raise CheckpointError(f"{where}: spandrel cannot load this file: {one_line(error)}") from None
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise CheckpointError(f"{where}: {descriptor.architecture.name} is not a single-image network")
    return SpandrelNet(descriptor).eval()


def published(config: SpandrelConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state under the architecture's own keys."""
    return {key.removeprefix(PREFIX): value for key, value in state.items()}


def canonical(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state under the keys of `SpandrelNet`."""
    return {PREFIX + key: value for key, value in state.items()}

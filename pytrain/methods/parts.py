"""What several methods share: the space of a configuration, pixel losses by name, sane output of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeVar

from torch import Tensor

from pydegrade import Space, SpaceError, named_uniform

from ..errors import ConfigError
from . import losses

PixelLossName = Literal["l1", "mse", "charbonnier"]

PIXEL_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"l1": losses.l1, "mse": losses.mse, "charbonnier": losses.charbonnier}
)


_Choice = TypeVar("_Choice")


def drawn_for_step(seed: int, step: int, name: str, choices: Sequence[_Choice]) -> _Choice:
    """One of the choices, each equally likely: the same on every process and after every resumption.

    Args:
        seed: of the run.
        step: number of the step.
        name: of the draw; other names draw independently.
        choices: at least one.
    """
    uniform = float(named_uniform(seed, [step], name)[0])
    return choices[min(math.floor(uniform * len(choices)), len(choices) - 1)]


def load_space(name: str, scale: int, where: str = "method.space") -> Space:
    """A preset or a TOML file whose scale is the network's.

    Raises:
        ConfigError: no such space, or one of another scale.
    """
    try:
        space = Space.load(name)
    except (SpaceError, OSError) as error:
        raise ConfigError(f"{where}: {error}") from None
    if space.scale != scale:
        raise ConfigError(f"{where} must have the network's scale x{scale}, got {space.name} x{space.scale}")
    return space

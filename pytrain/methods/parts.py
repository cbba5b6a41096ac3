"""What several methods share: the space of a configuration, pixel losses by name, sane output of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeVar

from torch import Tensor

from pydegrade import Space, SpaceError, named_uniform

from ..errors import ConfigError
from ..options import option, options
from . import losses

PixelLossName = Literal["l1", "mse", "charbonnier"]

PIXEL_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"l1": losses.l1, "mse": losses.mse, "charbonnier": losses.charbonnier}
)


@options("method")
class PixelOptions:
    """What methods that compare output and target by their pixels share."""

    space: str = option("auto", "preset or TOML file; auto: realesrgan-x<scale>", path="toml")
    loss: PixelLossName = option("l1", "pixel loss between output and target")
    ms_ssim_weight: float = option(
        0.0, "of 1 - MS-SSIM; 0: none. Its crops have sides of 176 px or more", ge=0, came_later=True
    )
    frequency_weight: float = option(0.0, "of the focal frequency loss; 0: none", ge=0, came_later=True)
    ldl_weight: float = option(0.0, "of LDL's loss, L1 where artifacts are likely; 0: none", ge=0, came_later=True)


def further_terms(config: PixelOptions, sr: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The weighted terms beside the pixel loss; those of weight 0 are left out.

    Raises:
        ConfigError: crops that are too small for one.
    """
    side_px = min(target.shape[-2:])
    if config.ms_ssim_weight > 0 and side_px < losses.MS_SSIM_LEAST_PX:
        raise ConfigError(
            f"data.crop_px: must be at least {losses.MS_SSIM_LEAST_PX} for method.ms_ssim_weight, got {side_px}"
        )
    terms = {
        "ms_ssim": (config.ms_ssim_weight, losses.ms_ssim),
        "frequency": (config.frequency_weight, losses.focal_frequency),
        "ldl": (config.ldl_weight, losses.ldl),
    }
    return {name: weight * loss(sr, target) for name, (weight, loss) in terms.items() if weight > 0}


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

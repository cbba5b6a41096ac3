"""Learning rates as pure functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .settings import option, require


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes; every kind can begin with a linear warm-up."""

    type: Literal["constant", "multistep", "cosine", "linear"] = option("constant", "shape over the run")
    warmup_steps: int = option(0, "steps of linear rise from 0")
    milestones: tuple[int, ...] = option((), "multistep: steps at which the rate is multiplied by gamma")
    gamma: float = option(0.5, "multistep: the factor")
    floor: float = option(0.0, "cosine, linear: last rate as a share of the first")
    periods: tuple[int, ...] = option(
        (), "cosine: lengths in steps of periods that each start anew; empty: one, the run"
    )

    def __post_init__(self) -> None:
        require(self.warmup_steps >= 0, "schedule.warmup_steps", ">= 0", self.warmup_steps)
        require(list(self.milestones) == sorted(set(self.milestones)), "schedule.milestones", "rising", self.milestones)
        require(0 < self.gamma <= 1, "schedule.gamma", "in (0, 1]", self.gamma)
        require(0 <= self.floor <= 1, "schedule.floor", "in [0, 1]", self.floor)
        require(all(period > 0 for period in self.periods), "schedule.periods", "> 0", self.periods)


def rate_factor(config: ScheduleConfig, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at a step.

    Args:
        config: the schedule.
        step: 0-based number of the optimizer step.
        steps: length of the run.
    Returns:
        The factor, in [0, 1].
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    return warm * _shape(config, step, steps)


def _shape(config: ScheduleConfig, step: int, steps: int) -> float:
    if config.type == "multistep":
        return config.gamma ** sum(step >= milestone for milestone in config.milestones)
    if config.type == "linear":
        return config.floor + (1 - config.floor) * (1 - min(1.0, step / steps))
    if config.type == "cosine":
        position, period = _position(config.periods or (steps,), step)
        return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, position / period)))
    return 1.0


def _position(periods: tuple[int, ...], step: int) -> tuple[int, int]:
    """Steps since the running period began, and its length; after the last one its end stays."""
    for period in periods[:-1]:
        if step < period:
            return step, period
        step -= period
    return step, periods[-1]

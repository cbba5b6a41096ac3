"""Learning rates as pure functions of the step."""

from __future__ import annotations

import math

from ..settings import ScheduleConfig


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

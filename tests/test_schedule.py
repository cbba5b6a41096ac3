"""Learning-rate schedules against their formulas."""

from __future__ import annotations

import math

import pytest

from pytrain.errors import ConfigError
from pytrain.settings import ScheduleConfig
from pytrain.training.schedule import rate_factor


def factors(steps: int, **values: object) -> list[float]:
    config = ScheduleConfig(**values)  # type: ignore[arg-type]
    return [rate_factor(config, step, steps) for step in range(steps)]


def test_constant_is_one():
    assert factors(5) == [1.0] * 5


def test_multistep_drops_at_the_milestone_itself():
    assert factors(6, type="multistep", milestones=(2, 4), gamma=0.5) == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_linear_reaches_its_floor_after_the_last_step():
    found = factors(4, type="linear", floor=0.2)
    # 1 - 0.8 k / 4; three roundings of numbers near 1.
    assert found == pytest.approx([1.0, 0.8, 0.6, 0.4], abs=1e-15)
    assert rate_factor(ScheduleConfig(type="linear", floor=0.2), 4, 4) == pytest.approx(0.2)
    assert rate_factor(ScheduleConfig(type="linear", floor=0.2), 400, 4) == pytest.approx(0.2)


def test_cosine_is_torchs_annealing():
    steps, floor = 10, 0.1
    wanted = [floor + (1 - floor) * (1 + math.cos(math.pi * k / steps)) / 2 for k in range(steps)]
    assert factors(steps, type="cosine", floor=floor) == pytest.approx(wanted, abs=1e-15)


def test_cosine_periods_start_anew_and_the_last_one_stays_at_its_end():
    config = ScheduleConfig(type="cosine", periods=(4, 8))
    assert rate_factor(config, 0, 12) == rate_factor(config, 4, 12) == 1.0
    assert rate_factor(config, 2, 12) == pytest.approx(0.5)
    assert rate_factor(config, 8, 12) == pytest.approx(0.5)
    assert rate_factor(config, 12, 12) == rate_factor(config, 99, 12) == pytest.approx(0.0)


def test_warm_up_multiplies_every_shape():
    assert factors(6, warmup_steps=4)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors(6, type="multistep", milestones=(1,), warmup_steps=4)[1] == 0.25


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"warmup_steps": -1}, "schedule.warmup_steps must be >= 0, got -1"),
        ({"milestones": (5, 3)}, "schedule.milestones must be rising, got [5, 3]"),
        ({"gamma": 0.0}, "schedule.gamma must be > 0, got 0.0"),
        ({"floor": 1.5}, "schedule.floor must be <= 1, got 1.5"),
        ({"periods": (0,)}, "schedule.periods[0] must be >= 1, got 0"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(ConfigError) as caught:
        ScheduleConfig(**values)
    assert str(caught.value) == message

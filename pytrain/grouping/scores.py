"""Indicators as programs over measurements: what is measured for which tasks, and what score follows.

`full` is the published score. The others estimate it; each first measures something cheap on every task, some then the
full score on a few. Which one `auto` means, and why, is in docs/tgsr.md with the numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pydegrade import TaskBatch, named_uniform

from ..methods.tgsr import IndicatorName
from .indicators import gradient_gain, last_layer_gain, regress, standardized, top_count
from .measurements import Measure, Values
from .scoring import Scorer

AUTO: IndicatorName = "full"
"""None of the others came within Spearman 0.95 and recall 0.9 of the full score; docs/tgsr.md has the numbers."""

Look = tuple[str, Measure, list[int]]
"""A measurement by its name, what it measures, and the rows."""

MeasureRows = Callable[[str, Measure, Sequence[int]], dict[int, Values]]
"""(name of the measurement, what to measure, rows) -> by row what was measured."""


@dataclass(frozen=True)
class Scores:
    """What an indicator found.

    Attributes:
        values: one per task, float64 [N]; larger means that the network improves more on it.
        unit: "dB" where a value estimates the gain, "rank" where only the order means something.
        measured: bool [N], whose full score was measured.
    """

    values: NDArray[np.float64]
    unit: str
    measured: NDArray[np.bool_]


@dataclass(frozen=True)
class Effort:
    """How much the cheaper indicators do; part of what scores depend on.

    Attributes:
        length: iterations of `steps`, and of the first look of `halving` and `surrogate`, as a share of the full score's.
        rate: their learning rate, as a multiple of the full score's.
        window: `halving` measures in full what lies within this share of all tasks of the boundary, on either side.
        fitted: `surrogate` measures this share of all tasks in full,
        fitted_least: but at least so many.
    """

    length: float = 0.3
    rate: float = 1.0
    window: float = 0.1
    fitted: float = 0.04
    fitted_least: int = 60


def resolved(indicator: IndicatorName) -> IndicatorName:
    """The indicator that a configuration means."""
    return AUTO if indicator == "auto" else indicator


def settings_of(indicator: IndicatorName, share: float, effort: Effort) -> list[Any]:
    """What of the settings scores depend on, besides those of the full score."""
    name = resolved(indicator)
    if name in ("full", "gradient", "last_layer"):
        return [name]
    return [name, dataclasses.asdict(effort), share if name == "halving" else None]


def first_looks(indicator: IndicatorName, total: int, seed: int, effort: Effort = Effort()) -> list[Look]:
    """What an indicator measures whatever it finds: all of it, but for `halving`, which looks again.

    Args:
        indicator, seed, effort: as of `score_tasks`.
        total: number of tasks.
    """
    name, rows = resolved(indicator), list(range(total))
    if name in ("full", "gradient", "last_layer"):
        measures: dict[str, Measure] = {"full": full_score, "gradient": gradient_score, "last_layer": last_layer_score}
        return [(name, measures[name], rows)]
    short: Look = ("steps", partial(short_score, effort=effort), rows)
    if name == "surrogate":
        return [short, ("full", full_score, fitted_rows(total, seed, effort).tolist())]
    return [short]


def score_tasks(
    indicator: IndicatorName, tasks: TaskBatch, share: float, seed: int, measure: MeasureRows, effort: Effort = Effort()
) -> Scores:
    """Score every task.

    Args:
        indicator: which way.
        tasks: N of them.
        share: of the tasks that will be selected; `halving` looks closely where they end.
        seed: chooses the tasks that `surrogate` measures in full.
        measure: does the measuring.
        effort: of the cheaper indicators.
    """
    name = resolved(indicator)
    rows = range(len(tasks))
    if name == "full":
        return Scores(_column(measure("full", full_score, rows), "gain_db"), "dB", np.ones(len(tasks), bool))
    if name == "gradient":
        return Scores(_column(measure("gradient", gradient_score, rows), "promise"), "rank", np.zeros(len(tasks), bool))
    if name == "last_layer":
        found = measure("last_layer", last_layer_score, rows)
        return Scores(_column(found, "gain_db"), "dB", np.zeros(len(tasks), bool))
    short = measure("steps", partial(short_score, effort=effort), rows)
    if name == "steps":
        return Scores(_column(short, "gain_db"), "rank", np.zeros(len(tasks), bool))
    if name == "halving":
        return _halving(_column(short, "gain_db"), share, measure, effort)
    assert name == "surrogate", name
    return _surrogate(short, seed, measure, effort)


def _halving(short: NDArray[np.float64], share: float, measure: MeasureRows, effort: Effort) -> Scores:
    """The full score near the boundary; elsewhere the short one, put on the full one's scale."""
    total = len(short)
    order = np.argsort(-short, kind="stable")
    first = max(0, top_count(total, max(0.0, share - effort.window)))
    last = min(total, top_count(total, min(1.0, share + effort.window)))
    near = np.sort(order[first:last])
    full = _column(measure("full", full_score, near.tolist()), "gain_db")
    values = _on_scale(short, near, full)
    # What the first look put clearly above or below the boundary stays there.
    values[order[:first]] = np.maximum(values[order[:first]], full.max(initial=-np.inf))
    values[order[last:]] = np.minimum(values[order[last:]], full.min(initial=np.inf))
    values[near] = full
    measured = np.zeros(total, bool)
    measured[near] = True
    return Scores(values, "dB", measured)


def _on_scale(short: NDArray[np.float64], near: NDArray[np.int64], full: NDArray[np.float64]) -> NDArray[np.float64]:
    """The straight line from short to full scores."""
    if len(near) < 2 or np.ptp(short[near]) == 0:
        return short.copy()
    slope, offset = np.polyfit(short[near], full, 1)
    return np.asarray(max(slope, 0.0) * short + offset)


def _surrogate(short: dict[int, Values], seed: int, measure: MeasureRows, effort: Effort) -> Scores:
    """The full score of some tasks, and for the rest a regression on the first look at it."""
    total = len(short)
    known = fitted_rows(total, seed, effort)
    full = _column(measure("full", full_score, known.tolist()), "gain_db")
    values = predicted(short, known, full)
    values[known] = full
    measured = np.zeros(total, bool)
    measured[known] = True
    return Scores(values, "dB", measured)


def fitted_rows(total: int, seed: int, effort: Effort) -> NDArray[np.int64]:
    """The tasks that `surrogate` measures in full: drawn by their numbers."""
    count = min(total, max(effort.fitted_least, round(effort.fitted * total)))
    drawn = named_uniform(seed, np.arange(total), "tgsr.fitted")
    return np.sort(np.argsort(drawn, kind="stable")[:count])


def predicted(short: dict[int, Values], known: NDArray[np.int64], full: NDArray[np.float64]) -> NDArray[np.float64]:
    """Full scores of all tasks by regression from those of some."""
    cheap = np.stack([_column(short, name) for name in ("gain_db", "before_db", "first_db")], axis=1)
    return regress(standardized(cheap), known, full)


def _column(found: dict[int, Values], name: str) -> NDArray[np.float64]:
    return np.array([found[row][name] for row in sorted(found)], np.float64)


# ---- Measurements, found by name in other processes


def full_score(scorer: Scorer, row: int) -> Values:
    """The published score."""
    return {"gain_db": scorer.gain(row)}


def short_score(scorer: Scorer, row: int, effort: Effort) -> Values:
    """Gain after the first steps, and PSNR before."""
    settings = scorer.settings
    iterations = max(1, round(effort.length * settings.iterations))
    last = max(1, round(effort.length * settings.average))
    return scorer.short_gain(row, iterations, effort.rate, last)


def gradient_score(scorer: Scorer, row: int) -> Values:
    """See `gradient_gain`."""
    return {"promise": gradient_gain(scorer, row)}


def last_layer_score(scorer: Scorer, row: int) -> Values:
    """See `last_layer_gain`."""
    return {"gain_db": last_layer_gain(scorer, row)}

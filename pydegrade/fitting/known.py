"""What the tables of JPEG files say of a space whose chain ends with JPEG: that is known, and not learned."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..tasks.task import TaskBatch
from .parameters import Parameter
from .photographs import Photograph
from .population import QUANTILES, Figure, Population

_MOST_VALUES, _LEAST_TIMES = 12, 3
"""Qualities of at most that many kinds, each that often on average, are written one by one."""
_NORMAL = 1.645
"""Of an interval of 90 %."""


def last_jpeg(tasks: TaskBatch) -> str:
    """Name of the slot of JPEG that every task ends with, where it runs; "" for none."""
    last = tasks.space.slots[-1]
    if last.op != "jpeg" or any(last.name in order[:-1] for order in set(tasks.orders())):
        return ""
    return last.name


def known_by_files(
    photographs: Sequence[Photograph],
    tasks: TaskBatch,
    parameters: Sequence[Parameter],
    values: Sequence[NDArray[np.float64]],
) -> tuple[dict[str, Population], tuple[str, ...]]:
    """Populations of columns that all files tell, by name, and lines for people.

    Args:
        photographs: at least one.
        tasks: simulated ones, of the space to begin with.
        parameters: of the space.
        values: of each in the simulations, where it has an effect.
    """
    facts = [one.facts.jpeg for one in photographs if one.facts.jpeg is not None]
    slot = last_jpeg(tasks)
    if not facts:
        return {}, ()
    qualities = np.array([one.like_quality for one in facts])
    samplings = sorted({one.subsampling for one in facts})
    said = (
        f"JPEG files: {len(facts)} of {len(photographs)}; by their tables quality {qualities.min()} to {qualities.max()}, "
        f"chroma {', '.join(samplings)}"
    )
    other = sum(one.quality is None for one in facts)
    if other:
        said += f"; the tables of {other} are not libjpeg's, the nearest quality stands for them"
    if len(facts) < len(photographs) or not slot:
        why = f"{tasks.space.name} does not end with JPEG" if not slot else "the others say nothing"
        return {}, (f"{said}: {why}, so that distributions are learned from pixels",)

    found: dict[str, Population] = {}
    notes = [said]
    for one, here in zip(parameters, values):
        before = (float(here.mean()), float(here.std()))
        if one.name == f"{slot}.quality":
            found[one.name] = _numbers(one, qualities.astype(np.float64), before)
            if qualities.min() < here.min() or qualities.max() > here.max():
                notes.append(f"{one.name}: beyond the {here.min():g} to {here.max():g} of {tasks.space.name}")
            continue
        if one.name == f"{slot}.subsampling":
            told = [fact.subsampling for fact in facts]
        elif one.name == f"{slot}.mode" and sum(name != "off" for name in one.classes) == 1:
            told = [next(name for name in one.classes if name != "off")] * len(facts)
        else:
            continue
        strange = sorted(set(told) - set(one.classes))
        if strange:
            notes.append(
                f"{one.name}: {tasks.space.name} has no {', '.join(strange)}, which files have; learned from pixels"
            )
            continue
        found[one.name] = _classes(one, told, here)
    return found, tuple(notes)


def _known(count: int) -> str:
    return f"known by the tables of {count} file{'s' if count > 1 else ''}"


def _numbers(parameter: Parameter, told: NDArray[np.float64], before: tuple[float, float]) -> Population:
    different = np.unique(told)
    if len(different) == 1 or len(different) <= min(_MOST_VALUES, len(told) // _LEAST_TIMES):
        texts = [f"{value:g}" for value in different]
        by_value = Parameter(parameter.name, tuple(texts), different, np.zeros(0))
        return _classes(by_value, [f"{value:g}" for value in told], np.zeros(0))
    count = len(told)
    error = _NORMAL * float(told.std(ddof=1)) / math.sqrt(count)
    mean, spread = float(told.mean()), float(told.std(ddof=1))
    of_spread = _NORMAL * spread / math.sqrt(2 * (count - 1))
    return Population(
        parameter, Figure(1.0, 1.0, 1.0), Figure(mean, mean - error, mean + error),
        Figure(spread, max(spread - of_spread, 0.0), spread + of_spread), (),
        tuple(np.quantile(told, QUANTILES).tolist()), before, 1.0, True, 0.0, _known(count),
    )  # fmt: skip


def _classes(parameter: Parameter, told: Sequence[str], here: NDArray[np.float64]) -> Population:
    count = len(told)
    shares = tuple(_share(sum(one == name for one in told), count) for name in parameter.classes)
    before = tuple(float((here == value).mean()) for value in parameter.values) if len(here) else ()
    return Population(
        parameter, Figure(1.0, 1.0, 1.0), None, None, shares, (), before, 1.0, True, 0.0, _known(count)
    )  # fmt: skip


def _share(hits: int, count: int) -> Figure:
    """With Wilson's interval (1927, JASA 22, eq. 5 ff.)."""
    share, square = hits / count, _NORMAL**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = _NORMAL / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return Figure(share, max(0.0, middle - reach), min(1.0, middle + reach))

"""A space learned from photographs: simulate, infer, and say what could not be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import PydegradeError
from ..files.dataset import HrImages, decode
from ..tasks.space import Space
from .known import known_by_files
from .parameters import drawn, parameters_of
from .photographs import Photograph, cut_squares
from .population import Population, population
from .posterior import FOLDS, posteriors
from .simulate import Simulations, Simulator
from .space_file import fitted_space
from .statistics import NAMES, SCENE, describe, statistics

_OUTSIDE = 0.01
"""Share of simulations beyond each end of what is called their range."""
_SAID_FROM = 0.25
"""Share of photographs whose statistic lies outside, from which it is said."""
_UNCLEAN_NOISE_8BIT = 2.5
_LOOKED_AT = 24


@dataclass(frozen=True)
class Fit:
    """What was learned.

    Attributes:
        space: the fitted one.
        text: its file.
        populations: of every parameter.
        simulations: of the space that it began with.
        seen: statistics of the squares of photographs, [M, len(NAMES)].
        photograph: of each square, [M].
        facts: lines for people about what files tell.
        notes: lines for people about what is missing or doubtful.
    """

    space: Space
    text: str
    populations: tuple[Population, ...]
    simulations: Simulations
    seen: NDArray[np.float32]
    photograph: NDArray[np.int64]
    facts: tuple[str, ...]
    notes: tuple[str, ...]


def check_start(space: Space) -> None:
    """Refuse what cannot be fitted.

    Raises:
        PydegradeError: a mixture, a space with a schedule, or one with files of its own.
    """
    for found, what in (
        (space.components, "a mixture of spaces; name one of them"),
        (space.scheduled, "a space with a schedule; it has no one distribution"),
        (space.pools, "a space with kernel files"),
    ):
        if found:
            raise PydegradeError(f"--start: {space.name} is {what}")


def fit(
    photographs: Sequence[Photograph],
    simulator: Simulator,
    count: int,
    name: str,
    kept: Path | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> Fit:
    """Learn.

    Args:
        photographs: at least one; their squares have the simulator's side.
        simulator: of the space to begin with.
        count: simulations.
        name: of the fitted space.
        kept: where simulations are kept on the way.
        advance: is told how many steps of `steps_of` are done.
    Raises:
        PydegradeError: nothing varies in the space.
    """
    simulations = simulator.run(count, kept, advance)
    parameters = parameters_of(simulations.tasks)
    values = [drawn(simulations.tasks, one.name) for one in parameters]
    cells = [one.cell_of(value) for one, value in zip(parameters, values)]
    seen = np.concatenate([one.told for one in photographs])
    photograph = np.repeat(np.arange(len(photographs)), [len(one.squares) for one in photographs])

    done = count

    def trained() -> None:
        nonlocal done
        done += count // 20
        advance(done)

    known, told = known_by_files(
        photographs, simulations.tasks, parameters, [value.values[value.acts] for value in values]
    )
    found = posteriors(simulations.statistics, simulations.image, cells, parameters, seen, trained)
    populations = tuple(
        known.get(one.name)
        or population(
            one, found.simulated[k], cells[k], values[k].values, simulations.image, found.seen[k], photograph,
            found.information[k], simulator.seed + k,
        )
        for k, one in enumerate(parameters)
    )  # fmt: skip
    space, text, unwritten = fitted_space(simulator.space, populations, name, len(photographs))
    notes = [
        *_few(photographs),
        *_outside(simulations.statistics, seen, photograph, simulator.space.name),
        *_groups(photographs, populations, found.seen, photograph),
        *_unclean(simulator.images, simulator.max_pixels),
        *_unidentified(populations),
        *(f"{one} was learned and cannot stand in {simulator.space.name}: left as it was" for one in unwritten),
    ]
    return Fit(space, text, populations, simulations, seen, photograph, told, tuple(notes))


def steps_of(count: int) -> int:
    """How far `advance` of `fit` goes."""
    return count + FOLDS * (count // 20)


def _few(photographs: Sequence[Photograph]) -> list[str]:
    if len(photographs) == 1:
        return ["one photograph alone says nothing of how much photographs differ: no spread can be told"]
    if len(photographs) < 10:
        return [f"{len(photographs)} photographs are few: intervals are wide"]
    return []


def _outside(
    simulated: NDArray[np.float32], seen: NDArray[np.float32], photograph: NDArray[np.int64], start: str
) -> list[str]:
    """Statistics that photographs have and simulations do not: what the space cannot express."""
    low, high = np.quantile(simulated, (_OUTSIDE, 1 - _OUTSIDE), axis=0)
    margin = 0.1 * (high - low)
    beyond = (seen < low - margin) | (seen > high + margin)
    weights = 1 / np.bincount(photograph)[photograph]
    shares = weights @ beyond / weights.sum()
    order = [k for k in np.argsort(-shares) if shares[k] >= _SAID_FROM and NAMES[k] not in SCENE]
    if not order:
        return []
    named = ", ".join(f"{NAMES[k]} ({100 * shares[k]:.0f} % of photographs)" for k in order[:4])
    return [
        f"{start} cannot express what is seen: {len(order)} statistics lie outside of what it makes: {named}; the first: "
        f"{describe(NAMES[order[0]])[0]}; try another --start"
    ]


def _groups(
    photographs: Sequence[Photograph],
    populations: Sequence[Population],
    seen: Sequence[NDArray[np.float64]],
    photograph: NDArray[np.int64],
) -> list[str]:
    """Whether photographs are of two kinds: by their cameras, or where a parameter has two separate heaps."""
    notes = []
    cameras = Counter(one.facts.camera for one in photographs if one.facts.camera)
    if len(cameras) > 1 and cameras.most_common(2)[1][1] >= 3:
        named = ", ".join(f"{count} of {camera}" for camera, count in cameras.most_common(3))
        notes.append(f"photographs of {len(cameras)} cameras by EXIF ({named}): one space for each may be better")
    for one, likelihood in zip(populations, seen):
        if one.parameter.classes or one.known or not one.identified or len(photographs) < 12:
            continue
        inner = likelihood[:, :-1]
        mean = inner @ one.parameter.values / np.maximum(inner.sum(axis=1), 1e-9)
        acting = inner.mean(axis=1) > likelihood[:, -1] * 0.5
        each = np.array([mean[(photograph == k) & acting].mean() for k in np.unique(photograph[acting])])
        split = _two_heaps(each)
        if split is not None:
            low, high, share = split
            notes.append(
                f"{one.parameter.name} has two heaps, about {low:.3g} ({100 * share:.0f} % of photographs) and {high:.3g}: "
                "two kinds of photographs; one space for each may be better"
            )
    return notes


def _two_heaps(values: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Means of two heaps and the share of the lower, where values form two that are far apart for their widths: at least
    15 % each, and the split takes 85 % of the variance (of a uniform distribution it takes 75 %)."""
    if len(values) < 12 or values.std() < 1e-9:
        return None
    values = np.sort(values)
    best: tuple[float, float, float, float] | None = None
    for at in range(max(3, int(0.15 * len(values))), len(values) - max(3, int(0.15 * len(values))) + 1):
        low, high = values[:at], values[at:]
        within = (low.var() * len(low) + high.var() * len(high)) / len(values)
        if best is None or within < best[0]:
            best = (float(within), float(low.mean()), float(high.mean()), len(low) / len(values))
    if best is None or best[0] > 0.15 * values.var():
        return None
    return best[1:]


def _unclean(images: HrImages, max_pixels: int) -> list[str]:
    """Clean photographs that are compressed or noisy themselves: what they have is taken for nothing."""
    looked = images.images[:: max(1, len(images.images) // _LOOKED_AT)][:_LOOKED_AT]
    compressed, noisy = 0, 0
    for image in looked:
        square = cut_squares(decode(image, max_pixels).array, 256, 1)
        values = dict(zip(NAMES, statistics(square)[0].tolist()))
        compressed += values["jpeg_quality"] < 90
        noisy += np.exp(values["noise_quiet_g"]) - 0.05 > _UNCLEAN_NOISE_8BIT
    bad = [
        f"{count} of {len(looked)} {what}"
        for count, what in ((compressed, "were JPEG below quality 90"), (noisy, "have noise or texture everywhere"))
        if count > 0.3 * len(looked)
    ]
    return [f"clean images are not clean: {', '.join(bad)}; what they have is taken for nothing"] if bad else []


def _unidentified(populations: Sequence[Population]) -> list[str]:
    names = [one.parameter.name for one in populations if not one.identified and not one.parameter.made]
    if not names:
        return []
    return [f"photographs do not decide {', '.join(names)}: left as they were, where the file says nothing else"]

"""From likelihoods of many photographs to the distribution of a parameter over them, with intervals.

The shares of a parameter's cells over a population are found by expectation maximisation on the likelihoods of its
members, from the shares of the simulations on (Laird 1978, JASA 73(364)), a little smoothed at every step (Silverman et
al. 1990, JRSS B 52(2)). Where photographs say nothing, the shares stay those of the simulations.

What this makes of a population is compared with the truth on populations that are drawn from the simulations, each as
large as the folder and of its own mean and spread, of scenes that the networks have not seen. The regression of the truth
on the result, among those whose results are like the folder's, corrects it, and what is left of the truth gives the
intervals (Beaumont, Zhang and Balding 2002, Genetics 162: ABC with a local linear regression, here of whole populations).
Resampled photographs say whether the folder is more uneven than these populations, and widen the intervals by as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .parameters import Parameter

TRIED = 400
"""Populations of simulations for each parameter."""
NEAREST = 120
STEPS = 60
_SMOOTH = 0.05
_LEAST_SMOOTHED = 6
"""Classes are not neighbours of each other, bins are."""
BOOTSTRAPS = 100
LEVEL = 0.9
"""Of the intervals."""
IDENTIFIED = 0.4
"""How wide the interval of a mean may be, as a share of the range of simulations, or that of a share, to be called
identified. Chosen; where photographs say nothing it is about 0.55."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A number with its interval of LEVEL."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Population:
    """Distribution of a parameter over photographs.

    Attributes:
        parameter: which.
        acts: share of photographs in which it has an effect.
        mean, spread: of a number where it has an effect: mean and standard deviation. None for classes.
        shares: of classes where it has an effect, in their order; empty for a number.
        quantiles: of a number, at the shares of QUANTILES; empty for classes.
        before: mean of the number, or shares of the classes, in the simulations.
        information: 0 to 1, see `posterior.Posteriors`.
        identified: whether photographs decide anything about it.
        narrower: width of the interval of the mean over that of the range that simulations span, 5 to 95 %; of shares the
            widest over 1.
        known: what says so, where the distribution is known and was not learned; else "".
    """

    parameter: Parameter
    acts: Figure
    mean: Figure | None
    spread: Figure | None
    shares: tuple[Figure, ...]
    quantiles: tuple[float, ...]
    before: tuple[float, ...]
    information: float
    identified: bool
    narrower: float
    known: str = ""


QUANTILES = (0.02, 0.15, 0.3, 0.5, 0.7, 0.85, 0.98)


def population(
    parameter: Parameter,
    simulated: Numbers,
    cells: NDArray[np.int64],
    values: Numbers,
    image: NDArray[np.int64],
    seen: Numbers,
    photograph: NDArray[np.int64],
    information: float,
    seed: int,
) -> Population:
    """One parameter.

    Args:
        simulated: likelihoods of the simulations [N, cells].
        cells: their true cells [N].
        values: their true values [N].
        image: clean image of each [N].
        seen: likelihoods of squares of photographs [M, cells].
        photograph: to which of them each square belongs, [M], from 0.
        information: of the networks about it.
        seed: of resampling.
    """
    words = np.random.Generator(np.random.Philox(seed))
    usual = np.bincount(cells, minlength=parameter.cells) / len(cells)
    count = int(photograph.max()) + 1
    per_square = 1 / np.bincount(photograph, minlength=count)[photograph]

    # The folder, and resampled ones.
    resampled = words.multinomial(count, np.full(count, 1 / count), size=BOOTSTRAPS)[:, photograph] * per_square
    found = _shares(seen[None], np.concatenate([per_square[None], resampled]), usual)
    own, uneven = found[0], found[1:]

    # Populations of simulations.
    members, truth = _populations(parameter, cells, values, image, count, words)
    tried = _shares(simulated[members], np.ones(members.shape), usual)

    figures = _Corrected(parameter, own, uneven, tried, truth)
    acts = figures.of("acts", 0.0, 1.0)
    on = usual[:-1] / max(usual[:-1].sum(), 1e-9)
    if parameter.classes:
        shares = tuple(figures.of(f"class {k}", 0.0, 1.0) for k in range(len(parameter.values)))
        total = max(sum(one.value for one in shares), 1e-9)
        shares = tuple(Figure(one.value / total, one.low, one.high) for one in shares)
        width = max(one.high - one.low for one in shares)
        return Population(parameter, acts, None, None, shares, (), tuple(on), information, width <= IDENTIFIED, width)
    low, high = float(parameter.edges[0]), float(parameter.edges[-1])
    mean = figures.of("mean", low, high)
    spread = figures.of("spread", 0.0, (high - low) / 2)
    acting = values[cells < len(parameter.values)]
    usual_range = np.quantile(acting, 0.95) - np.quantile(acting, 0.05)
    width = (mean.high - mean.low) / max(usual_range, 1e-9)
    quantiles = _quantiles(parameter, own[:-1], mean.value, spread.value)
    return Population(
        parameter, acts, mean, spread, (), quantiles, (float(acting.mean()), float(acting.std())), information,
        bool(width <= IDENTIFIED), float(width),
    )  # fmt: skip


def _shares(likelihood: Numbers, weights: Numbers, usual: Numbers) -> Numbers:
    """Shares of cells [P, cells] of P populations whose members have likelihoods [P or 1, members, cells] and weights
    [P, members]."""
    weights = weights / weights.sum(axis=1, keepdims=True)
    shares = np.repeat(usual[None], len(weights), axis=0)
    inner = np.maximum(usual[:-1], 1e-9)
    across = likelihood.transpose(0, 2, 1)
    for _ in range(STEPS):
        explained = (shares[:, None] @ across)[:, 0]
        shares = shares * ((weights / explained)[:, None] @ likelihood)[:, 0]
        if inner.shape[0] > _LEAST_SMOOTHED:
            # Neighbours are alike in what they have more or less than usual.
            ratio = np.pad(shares[:, :-1] / inner, ((0, 0), (1, 1)), mode="edge")
            smooth = inner * (ratio[:, :-2] + ratio[:, 2:]) / 2
            shares[:, :-1] = (1 - _SMOOTH) * shares[:, :-1] + _SMOOTH * smooth
        shares = shares / shares.sum(axis=1, keepdims=True)
    return shares


def _populations(
    parameter: Parameter,
    cells: NDArray[np.int64],
    values: Numbers,
    image: NDArray[np.int64],
    count: int,
    words: np.random.Generator,
) -> tuple[NDArray[np.int64], dict[str, Numbers]]:
    """Members [TRIED, count] of populations of simulations, and what is true of those that they are drawn from."""
    total, inner = len(cells), len(parameter.values)
    acting = cells < inner
    rank = np.zeros(total)
    rank[acting] = values[acting].argsort().argsort() / max(acting.sum() - 1, 1)
    members = np.zeros((TRIED, count), np.int64)
    truth: dict[str, list[float]] = {}
    places = np.unique(image)
    for row in range(TRIED):
        if parameter.classes:
            chances = words.dirichlet(np.full(inner, 0.7))
            number = np.bincount(cells, minlength=inner + 1)[:inner]
            chance = np.where(acting, (chances / np.maximum(number, 1))[np.minimum(cells, inner - 1)], 0.0)
        else:
            width = words.uniform(0.1, 1.0)
            low = words.uniform(0, 1 - width)
            chance = (acting & (rank >= low) & (rank <= low + width)).astype(float)
        share_on = 1.0 if acting.all() else float(np.clip(words.uniform(0.05, 1.4), 0, 1))
        chance = chance * share_on / max(chance.sum(), 1e-9)
        if (~acting).any():
            chance = chance + np.where(acting, 0.0, (1 - share_on) / (~acting).sum())
        chance = chance / chance.sum()
        shares = np.bincount(cells, chance, minlength=inner + 1).astype(np.float64)
        for name, value in _facts(parameter, shares, values, chance * acting).items():
            truth.setdefault(name, []).append(value)
        # The clean images are a sample of scenes themselves, and the folder is of others: their Bayesian bootstrap (Rubin
        # 1981, Annals of Statistics 9(1)) is how much a mean over so few of them may be off.
        scene = words.dirichlet(np.ones(len(places)))
        mixed = chance * scene[np.searchsorted(places, image)]
        reached = np.cumsum(mixed if mixed.sum() > 0 else chance)
        members[row] = np.minimum(np.searchsorted(reached, words.random(count) * reached[-1], "right"), total - 1)
    return members, {name: np.array(found) for name, found in truth.items()}


def _facts(parameter: Parameter, shares: Numbers, values: Numbers, chance: Numbers) -> dict[str, float]:
    """What is said of a population: of its true members."""
    on = shares[:-1].sum()
    if parameter.classes:
        return {"acts": on, **{f"class {k}": shares[k] / max(on, 1e-9) for k in range(len(shares) - 1)}}
    weight = chance / max(chance.sum(), 1e-12)
    mean = float(weight @ values)
    return {"acts": on, "mean": mean, "spread": float(np.sqrt(max(weight @ (values - mean) ** 2, 0.0)))}


def _facts_of_shares(parameter: Parameter, shares: Numbers) -> dict[str, Numbers]:
    """The same of found shares [P, cells]."""
    on = shares[:, :-1].sum(axis=1)
    inner = shares[:, :-1] / np.maximum(on, 1e-9)[:, None]
    if parameter.classes:
        return {"acts": on, **{f"class {k}": inner[:, k] for k in range(inner.shape[1])}}
    mean = inner @ parameter.values
    return {"acts": on, "mean": mean, "spread": np.sqrt(np.maximum(inner @ parameter.values**2 - mean**2, 0))}


class _Corrected:
    """Figures of the folder, corrected by populations whose truth is known."""

    def __init__(
        self, parameter: Parameter, own: Numbers, uneven: Numbers, tried: Numbers, truth: dict[str, Numbers]
    ) -> None:
        self._own = {name: float(value[0]) for name, value in _facts_of_shares(parameter, own[None]).items()}
        self._uneven = _facts_of_shares(parameter, uneven)
        self._tried = _facts_of_shares(parameter, tried)
        self._truth = truth
        self._names = ("acts", "mean", "spread") if not parameter.classes else tuple(self._own)

    def of(self, name: str, low: float, high: float) -> Figure:
        # Populations whose results are like the folder's, in everything that is said of the parameter.
        names = [other for other in self._names if self._tried[other].std() > 1e-9]
        scaled = np.zeros((len(self._truth[name]), len(names)))
        for place, other in enumerate(names):
            scaled[:, place] = (self._tried[other] - self._own[other]) / self._tried[other].std()
        distance = np.sqrt(((scaled * np.where(np.array(names) == name, 2.0, 1.0)) ** 2).sum(axis=1))
        near = distance.argsort()[:NEAREST]
        weight = np.sqrt(np.maximum(1 - (distance[near] / max(distance[near].max() * 1.001, 1e-9)) ** 2, 0))
        design = np.concatenate([np.ones((len(near), 1)), scaled[near]], axis=1)
        goal = self._truth[name][near]
        ridge = 1e-3 * np.eye(design.shape[1])
        solved = np.linalg.solve(
            (design * weight[:, None] ** 2).T @ design + ridge, (design * weight[:, None] ** 2).T @ goal
        )
        rest = goal - design @ solved
        value = float(solved[0])
        least, most = _weighted_quantiles(rest, weight**2, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        # A folder that is more uneven than they are; the regression's own error with so few populations.
        slope = abs(float(solved[1 + names.index(name)])) / max(self._tried[name].std(), 1e-9) if name in names else 0.0
        resampled = slope * self._uneven[name].std() * 1.645
        least, most = min(least, -resampled), max(most, resampled)
        widen = 1 + design.shape[1] / NEAREST * 2
        clipped = float(np.clip(value, low, high))
        return Figure(
            clipped, float(np.clip(value + widen * least, low, high)), float(np.clip(value + widen * most, low, high))
        )


def _weighted_quantiles(values: Numbers, weights: Numbers, shares: Sequence[float]) -> list[float]:
    order = values.argsort()
    reached = np.cumsum(weights[order]) / max(weights.sum(), 1e-12)
    return [float(values[order][min(int(np.searchsorted(reached, share)), len(values) - 1)]) for share in shares]


def _quantiles(parameter: Parameter, shares: Numbers, mean: float, spread: float) -> tuple[float, ...]:
    """Of the found shares, moved and stretched to the corrected mean and spread, within the range."""
    shares = shares / max(shares.sum(), 1e-9)
    reached = np.concatenate([[0.0], np.cumsum(shares)])
    found = np.interp(QUANTILES, reached + np.arange(len(reached)) * 1e-9, parameter.edges)
    centre = float(shares @ parameter.values)
    deviation = float(np.sqrt(float(shares @ (parameter.values - centre) ** 2) + 1e-12))
    stretched = mean + (found - centre) * (spread / deviation)
    return tuple(float(value) for value in np.clip(stretched, parameter.edges[0], parameter.edges[-1]))

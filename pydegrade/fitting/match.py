"""How alike two sets of photographs are in their statistics: the distance of `degrade match`, and nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .statistics import NAMES, SCENE

BOOTSTRAPS = 200
_CLIP = 4.0
_USED = [place for place, name in enumerate(NAMES) if name not in SCENE]

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """How far a space is from photographs.

    Attributes:
        name: of the space.
        distance: energy distance, at least 0; 0 for equal distributions.
        low, high: its interval of 90 % over resampled photographs.
        best: share of the resamplings in which this space is the nearest.
    """

    name: str
    distance: float
    low: float
    high: float
    best: float


def ranked(
    seen: NDArray[np.float32], photograph: NDArray[np.int64], made: dict[str, NDArray[np.float32]]
) -> list[Match]:
    """Spaces, the most alike first.

    The distance is the square root of 2 E|x - y| - E|x - x'| - E|y - y'| (Szekely and Rizzo 2013, J. Stat. Planning and
    Inference 143, section 2), x of the photographs and y of the space, Euclidean over the statistics that no scene decides,
    each over its standard deviation in all spaces together.

    Args:
        seen: statistics of squares of photographs [M, S].
        photograph: of each square, [M], from 0.
        made: name -> statistics of a space's squares [N, S], N >= 2.
    """
    together = np.concatenate(list(made.values()))
    middle, spread = np.median(together, axis=0), together.std(axis=0) + 1e-3

    def scaled(values: NDArray[np.float32]) -> Numbers:
        return np.clip((values - middle) / spread, -_CLIP, _CLIP)[:, _USED].astype(np.float64) / len(_USED) ** 0.5

    own = scaled(seen)
    count = int(photograph.max()) + 1
    words = np.random.Generator(np.random.Philox(0))
    draws = np.concatenate([np.ones((1, count)), words.multinomial(count, np.full(count, 1 / count), size=BOOTSTRAPS)])
    weights = draws[:, photograph] / np.bincount(photograph)[photograph]
    weights = weights / weights.sum(axis=1, keepdims=True)
    within = _distances(own, own)
    inside = ((weights @ within) * weights).sum(axis=1) / np.maximum(1 - (weights**2).sum(axis=1), 1e-9)
    if count == 1:
        inside = np.zeros(len(weights))
    found = {}
    for name, values in made.items():
        other = scaled(values)
        spread_of_it = _distances(other, other).sum() / (len(other) * (len(other) - 1))
        squared = 2 * weights @ _distances(own, other).mean(axis=1) - inside - spread_of_it
        found[name] = np.sqrt(np.maximum(squared, 0))
    all_found = np.stack(list(found.values()))
    nearest = all_found[:, 1:].argmin(axis=0)
    matches = []
    for k, (name, values) in enumerate(found.items()):
        low, high = (float(one) for one in np.quantile(values[1:], (0.05, 0.95)))
        matches.append(Match(name, float(values[0]), low, high, float((nearest == k).mean())))
    return sorted(matches, key=lambda match: match.distance)


def nearest_share(seen: NDArray[np.float32], made: NDArray[np.float32]) -> float:
    """Share of squares, of photographs and of simulations alike, whose nearest neighbour is of their own kind: 0.5 where
    nothing tells them apart (Schilling 1986, JASA 81(395)). Euclidean over the statistics that no scene decides.
    As many of both are taken."""
    count = min(len(seen), len(made))
    both = np.concatenate([seen[:count], made[:count]]).astype(np.float64)[:, _USED]
    both = np.clip((both - np.median(both, axis=0)) / (both.std(axis=0) + 1e-3), -_CLIP, _CLIP)
    distance = _distances(both, both)
    np.fill_diagonal(distance, np.inf)
    kind = np.arange(2 * count) >= count
    return float((kind[distance.argmin(axis=1)] == kind).mean())


def distances_to(seen: NDArray[np.float32], one: NDArray[np.float32]) -> Numbers:
    """How far a square is from each of others: the root of the mean square of what their statistics differ by, over those
    that no scene decides, each over its standard deviation among the others (plus 0.1), at most 4.

    Args:
        seen: statistics of the others [M, S].
        one: of the square [S].
    Returns:
        float64 [M].
    """
    spread = seen.std(axis=0) + 0.1
    apart = np.clip((seen - one) / spread, -_CLIP, _CLIP)[:, _USED].astype(np.float64)
    return np.asarray(np.sqrt((apart**2).mean(axis=1)))


def _distances(one: Numbers, other: Numbers) -> Numbers:
    squared = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    return np.sqrt(np.maximum(squared, 0))

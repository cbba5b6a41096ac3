"""How sure a mean is: percentile intervals of the bootstrap over images or tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pydegrade import named_uniform

from ..errors import DataError

RESAMPLES = 4000
"""Draws behind an interval: its ends then move by about a tenth of its half width from one seed to another."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def bootstrap(values: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES) -> Interval:
    """Mean of the values and its interval under drawing as many of them with replacement.

    Values of two methods on the same images are compared through their differences: give these (a paired interval). The
    draws follow from numbers alone, so equal values give equal intervals on every machine.

    Args:
        values: [N], finite, N >= 1; of one value the interval is that value.
        level: share of the resampled means that lies inside, in (0, 1).
        resamples: how many means are drawn, >= 1.
    Raises:
        DataError: no values, or one that is not finite.
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (percentile interval).
    """
    found: NDArray[np.float64] = np.asarray(values, np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise DataError(f"bootstrap: values must be at least one finite number, got shape {list(found.shape)}")
    count = len(found)
    means = np.empty(resamples)
    # In slices: thousands of tasks times thousands of draws do not fit into memory at once.
    rows = max(1, 2**22 // count)
    for begin in range(0, resamples, rows):
        ends = min(begin + rows, resamples)
        drawn = named_uniform(0, np.arange(begin * count, ends * count), "bootstrap")
        picked = np.minimum((drawn * count).astype(np.int64), count - 1)
        means[begin:ends] = found[picked.reshape(-1, count)].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(found.mean()), float(low), float(high))

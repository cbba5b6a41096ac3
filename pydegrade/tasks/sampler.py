"""`sample`: tasks from a space, a seed and sample numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..native import rng
from .space import Space
from .task import TaskBatch, draw_tasks


def sample(space: Space | str | Path, seed: int, indices: ArrayLike | range) -> TaskBatch:
    """Draw tasks. Task i depends on (space, seed, i) alone, and costs O(1).

    Args:
        space: a Space, the name of a preset, or a path to a TOML file.
        seed: whole number in [0, 2^63).
        indices: sample numbers, whole numbers in [0, 2^63), any order, [B].
    Returns:
        B tasks.
    Raises:
        SpaceError, TypeError, ValueError: with one line.
    """
    known = space if isinstance(space, Space) else Space.load(space)
    numbers = rng.check_indices(indices)
    seeds = np.full(len(numbers), rng.check_seed(seed), np.int64)
    return draw_tasks(known, seeds, numbers, numbers)

"""`sample`: tasks from a space, a seed and sample numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..errors import PydegradeError, shown
from ..native import rng
from .space import Space
from .task import TaskBatch, draw_tasks


def sample(space: Space | str | Path, seed: int, indices: ArrayLike | range, step: int | ArrayLike = 0) -> TaskBatch:
    """Draw tasks. Task i depends on (space, seed, i) alone, in a space with a schedule also on the step; it costs O(1).

    Args:
        space: a Space, the name of a preset, or a path to a TOML file.
        seed: whole number in [0, 2^63); `stream_seed` gives seeds of independent streams.
        indices: sample numbers, whole numbers in [0, 2^63), any order, [B].
        step: training step that schedules go by, a whole number in [0, 2^63), or [B]; without a schedule it does not count.
    Returns:
        B tasks.
    Raises:
        PydegradeError, TypeError: with one line.
    """
    known = space if isinstance(space, Space) else Space.load(space)
    if not isinstance(indices, range) and np.ndim(indices) == 0 and isinstance(indices, (int, np.integer)):
        count = shown(int(indices))
        raise TypeError(
            f"indices must be several numbers, got {count}; [{count}] is that sample, range({count}) are so many"
        )
    numbers = rng.check_indices(indices)
    seeds = np.full(len(numbers), rng.check_seed(seed), np.int64)
    if not known.scheduled and type(step) is int and 0 <= step < 2**63:
        return draw_tasks(known, seeds, numbers, numbers)
    steps = rng.check_indices(step, "step")
    if len(steps) not in (1, len(numbers)):
        raise PydegradeError(f"step must be one number or {len(numbers)} numbers, got {len(steps)}")
    return draw_tasks(known, seeds, numbers, numbers, np.full(len(numbers), steps))

"""`sample`: tasks from a space, a seed and sample numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import PydegradeError, shown
from ..native import rng
from .address import MAX_FRAMES
from .space import Space
from .task import TaskBatch, draw_tasks


def sample(
    space: Space | str | Path,
    seed: int,
    indices: ArrayLike | range,
    step: int | ArrayLike = 0,
    frames: int | ArrayLike | range | None = None,
) -> TaskBatch:
    """Draw tasks. Task i depends on (space, seed, i) alone, in a space with a schedule also on the step; it costs O(1).

    Args:
        space: a Space, the name of a preset, or a path to a TOML file.
        seed: whole number in [0, 2^63); `stream_seed` gives seeds of independent streams.
        indices: sample numbers, whole numbers in [0, 2^63), any order, [B].
        step: training step that schedules go by, a whole number in [0, 2^63), or [B]; without a schedule it does not count.
        frames: each sample is a clip: how many frames it has, from 0, or the numbers of its frames, in [0, 65536) each,
            [T]. None: each is an image. Drawing frame t takes O(t).
    Returns:
        B tasks; with frames B T, one clip after the other.
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
    if frames is not None:
        of_clip = _frames(frames)
        steps = _steps(step, len(numbers))
        numbers, seeds, steps = (np.repeat(values, len(of_clip)) for values in (numbers, seeds, steps))
        if len(numbers) > rng.MAX_INDICES:
            raise PydegradeError(f"frames: at most {rng.MAX_INDICES} tasks at once, got {len(numbers)}")
        return draw_tasks(known, seeds, numbers, numbers, steps, np.resize(of_clip, len(numbers)))
    if not known.scheduled and type(step) is int and 0 <= step < 2**63:
        return draw_tasks(known, seeds, numbers, numbers)
    return draw_tasks(known, seeds, numbers, numbers, _steps(step, len(numbers)))


def _steps(step: int | ArrayLike, count: int) -> NDArray[np.int64]:
    steps = rng.check_indices(step, "step")
    if len(steps) not in (1, count):
        raise PydegradeError(f"step must be one number or {count} numbers, got {len(steps)}")
    return np.full(count, steps)


def _frames(frames: int | ArrayLike | range) -> NDArray[np.int64]:
    """Numbers of the frames of a clip."""
    if isinstance(frames, (int, np.integer)) and not isinstance(frames, bool):
        if not 1 <= frames <= MAX_FRAMES:
            raise PydegradeError(f"frames must be in [1, {MAX_FRAMES}], got {shown(int(frames))}")
        return np.arange(frames, dtype=np.int64)
    numbers = rng.check_indices(frames, "frames")
    if not len(numbers) or int(numbers.max()) >= MAX_FRAMES:
        got = f"{numbers.max()}" if len(numbers) else "none"
        raise PydegradeError(f"frames must be numbers below {MAX_FRAMES}, at least one, got {got}")
    return numbers

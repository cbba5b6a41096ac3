"""`TaskStream`: tasks one after the other, drawn ahead in blocks, as the `__getitem__` of a data set asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import PydegradeError, shown
from ..native import rng
from .sampler import sample
from .space import Space
from .task import TaskBatch

MAX_BLOCK = 1 << 20
KEPT_BLOCKS = 16


class TaskStream:
    """The tasks of a space and a seed by sample number: `stream[i]` is `sample(space, seed, [i])`, bit for bit.

    Numbers that come near each other are drawn together, in blocks that are kept for a while. A task depends on its number
    alone, so that workers, ranks, threads and epochs need no care beyond asking for different numbers; in a map-style data
    set `epoch * len(dataset) + index`, in an iterable one every (workers x ranks)-th number. It pickles as its arguments.

    Args:
        space: a Space, the name of a preset, or a path to a TOML file.
        seed: whole number in [0, 2^63).
        step: training step that schedules go by, a whole number in [0, 2^63); without a schedule it does not count.
        block: tasks drawn together, in [1, 2^20].
    Raises:
        PydegradeError, TypeError: with one line.
    """

    def __init__(self, space: Space | str | Path, seed: int, step: int = 0, block: int = 256) -> None:
        if isinstance(block, bool) or not isinstance(block, (int, np.integer)):
            raise TypeError(f"block must be a whole number, got {shown(block)}")
        if not 1 <= block <= MAX_BLOCK:
            raise PydegradeError(f"block must be in [1, {MAX_BLOCK}], got {shown(int(block))}")
        self.space = space if isinstance(space, Space) else Space.load(space)
        self.seed, self.step, self.block = rng.check_seed(seed), _whole(step, "step"), int(block)
        self._blocks: dict[int, TaskBatch] = {}
        self._missed = -2

    def __getitem__(self, number: int | ArrayLike) -> TaskBatch:
        """One task, or those of several sample numbers, [B]."""
        if not isinstance(number, (int, np.integer)) or isinstance(number, bool):
            return sample(self.space, self.seed, number, self.step)
        whole = _whole(number, "number")
        block, place = divmod(whole, self.block)
        tasks = self._blocks.get(block)
        if tasks is None:
            # A number far from the last one that was not here may be alone.
            near = 0 <= block - self._missed <= 1
            self._missed = block
            if not near:
                return sample(self.space, self.seed, [whole], self.step)
            tasks = self._drawn(block)
        return tasks.take(slice(place, place + 1))

    def _drawn(self, block: int) -> TaskBatch:
        """A block, which is kept instead of the oldest one."""
        first = block * self.block
        tasks = sample(self.space, self.seed, range(first, min(first + self.block, 2**63)), self.step)
        # Threads see one dictionary or the next one.
        kept = list(self._blocks.items())[-KEPT_BLOCKS + 1 :]
        self._blocks = dict([*kept, (block, tasks)])
        return tasks

    def __reduce__(self) -> tuple[Any, ...]:
        return TaskStream, (self.space, self.seed, self.step, self.block)

    def __repr__(self) -> str:
        return f"TaskStream({self.space.name!r}, seed={self.seed}, step={self.step}, block={self.block})"


def _whole(number: Any, name: str) -> int:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, got {shown(number)}")
    if not 0 <= number < 2**63:
        raise PydegradeError(f"{name} must be in [0, 2^63), got {shown(int(number))}")
    return int(number)

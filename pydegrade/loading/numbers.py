"""Sample numbers that no two processes of a training job share: over data-loader workers, ranks and epochs.

Tasks and noise are functions of (seed, number). A process that trains counts: rank r of w takes the numbers r, w + r,
2w + r, ... of the seed. A data-loader worker cannot count, because it starts anew every epoch from a copy of the same
object; it has a seed of its own instead, a stream named by what torch gives each worker of each epoch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from ..errors import PydegradeError, shown
from ..native import rng
from ..tasks.sampler import sample
from ..tasks.space import Space
from ..tasks.task import TaskBatch


@dataclass(frozen=True)
class Numbers:
    """Some sample numbers: `sample(space, seed, indices)` are their tasks.

    Attributes:
        seed: the seed, or that of the worker's stream.
        indices: int64 [N].
    """

    seed: int
    indices: NDArray[np.int64]


def training_rank() -> tuple[int, int]:
    """(rank, number of processes): torch.distributed's where it is initialised, else torchrun's variables, else (0, 1)."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    rank, world = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if rank.isdecimal() and world.isdecimal() and int(rank) < int(world):
        return int(rank), int(world)
    return 0, 1


def check_rank(where: str, rank: int | None, world: int | None) -> tuple[int, int] | None:
    """A given rank and number of processes, or None where both are left open; ValueError for anything else."""
    if rank is None and world is None:
        return None
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (rank, world))
    if not whole or not 0 <= rank < world:  # type: ignore[operator]
        raise ValueError(f"{where}: rank and world must be whole numbers, 0 <= rank < world, got {rank} and {world}")
    return rank, world  # type: ignore[return-value]


class SampleNumbers:
    """Hands out sample numbers, each once, and draws their tasks ahead in blocks.

    In a data-loader worker the numbers count from 0 in a stream of the worker and the epoch (by torch's seed of the
    worker, so that `torch.manual_seed` repeats them). Elsewhere they are every `world`-th number of the seed, from the
    position that `state_dict` holds.

    Args:
        seed: whole number in [0, 2^62); None: torch's initial seed when it is first needed, which `torch.manual_seed` sets.
        block: tasks that are drawn at once, at least 1.
        rank, world: of this process; both or neither. By default `training_rank`, asked when it is first needed.
    """

    def __init__(
        self, seed: int | None = 0, block: int = 256, *, rank: int | None = None, world: int | None = None
    ) -> None:
        if not isinstance(block, int) or isinstance(block, bool) or not 1 <= block <= rng.MAX_INDICES:
            raise ValueError(f"SampleNumbers: block must be a whole number >= 1, got {shown(block)}")
        self.seed = None if seed is None else rng.check_seed(seed, 62)
        self.block = block
        self.position = 0
        """Numbers handed out by this process so far; in a worker, in its stream."""
        self._rank = check_rank("SampleNumbers", rank, world)
        self._worker: str | None = None
        self._stream = 0
        self._ahead: tuple[Space, int, TaskBatch] | None = None

    def next(self, count: int = 1) -> Numbers:
        """The next `count` numbers of this process."""
        numbers = self._numbers(self._counted(count), count)
        self.position += count
        return numbers

    def tasks(self, space: Space, count: int = 1, step: int = 0) -> TaskBatch:
        """The tasks of the next `count` numbers, at a training step where the space has schedules."""
        if not isinstance(space, Space):
            raise TypeError(f"SampleNumbers: space must be a Space, got {shown(space)}")
        tasks = self._tasks(space, self._counted(count), count, step)
        self.position += count
        return tasks

    def _tasks(self, space: Space, at: int, count: int, step: int) -> TaskBatch:
        if space.scheduled or count >= self.block:
            numbers = self._numbers(at, count)
            return sample(space, numbers.seed, numbers.indices, step=step)
        ahead = self._ahead
        if ahead is None or ahead[0] is not space or not ahead[1] <= at <= ahead[1] + len(ahead[2]) - count:
            numbers = self._numbers(at, self.block)
            ahead = self._ahead = space, at, sample(space, numbers.seed, numbers.indices)
        return ahead[2].take(slice(at - ahead[1], at - ahead[1] + count))

    def _counted(self, count: int) -> int:
        """The position, after what is needed to count has been settled."""
        if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 0:
            raise ValueError(f"SampleNumbers: count must be a whole number >= 0, got {shown(count)}")
        self._settle()
        info = get_worker_info()
        if info is not None:
            assert self._rank is not None
            # info.seed - info.id is drawn anew for every epoch and is the same in all workers of one.
            worker = f"loader/{info.seed - info.id}/{info.id}/{self._rank[0]}"
            if worker != self._worker:
                self._worker, self.position, self._ahead = worker, 0, None
                self._stream = rng.stream_seed(self._seed, worker)
        return self.position

    @property
    def _seed(self) -> int:
        return torch.initial_seed() % 2**62 if self.seed is None else self.seed

    def _settle(self) -> None:
        if self._rank is None:
            self._rank = training_rank()

    def _numbers(self, at: int, count: int) -> Numbers:
        numbers = np.arange(at, at + count, dtype=np.int64)
        if self._worker is not None:
            return Numbers(self._stream, numbers)
        assert self._rank is not None
        rank, world = self._rank
        return Numbers(self._seed, numbers * world + rank)

    def state_dict(self) -> dict[str, Any]:
        """Seed and position, plain values."""
        return {"seed": self.seed, "position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            PydegradeError: the state of another seed, or none at all.
        """
        position = state.get("position") if isinstance(state, Mapping) else None
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < 2**62:
            raise PydegradeError(f"SampleNumbers: expected a state with a position, got {shown(state)}")
        if state.get("seed") != self.seed:
            raise PydegradeError(f"SampleNumbers: expected a state of seed {self.seed}, got {shown(state.get('seed'))}")
        self.position, self._ahead = position, None

    def __getstate__(self) -> dict[str, Any]:
        # A worker that is spawned does not know the rank of the process that pickles this.
        self._settle()
        return {**self.__dict__, "_ahead": None}

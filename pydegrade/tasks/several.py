"""Several LR images of one HR: further spaces on the same crops, and several crops by one task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PydegradeError, shown
from ..native import rng
from .sampler import sample
from .space import Space
from .task import TaskBatch

MOST_CROPS = 64

_NOISE_OF_CROPS = 2**56
"""Crop c of sample number i has the noise field of number i + c times this."""

_TAKEN = ("lr", "target", "index", "hr", "address")
"""Of what an item of a data set holds anyway."""


@dataclass(frozen=True)
class FurtherSpace:
    """A space that degrades the crops of a run once more.

    Attributes:
        space: what its tasks are drawn from.
        seed: `stream_seed` of the run's seed and of the name of the images.
    """

    space: Space
    seed: int

    def tasks(self, numbers: Any, step: int = 0) -> TaskBatch:
        """The tasks of some sample numbers."""
        return sample(self.space, self.seed, numbers, step=step)


def further_spaces(
    more: Mapping[str, Space | str | Path], seed: int, where: str = "PairDataset: more"
) -> dict[str, FurtherSpace]:
    """Further spaces by the name of their images.

    Args:
        more: name -> space, preset or file.
        seed: of the run, in [0, 2^62) where there is one.
        where: for messages.
    Raises:
        PydegradeError: a name that is none or taken, or no such space.
    """
    if not isinstance(more, Mapping):
        raise TypeError(f"{where} must be a table of names and spaces, got {shown(more)}")
    found: dict[str, FurtherSpace] = {}
    for name, space in more.items():
        if not isinstance(name, str) or not name.isidentifier() or name in _TAKEN or name.endswith("_address"):
            raise PydegradeError(f"{where}: a name must be a word other than {', '.join(_TAKEN)}, got {shown(name)}")
        found[name] = FurtherSpace(
            space if isinstance(space, Space) else Space.load(space), rng.stream_seed(seed, name)
        )
    return found


def tasks_of_crop(tasks: TaskBatch, crop: int) -> TaskBatch:
    """The same tasks with the noise fields of crop 0, 1, ... of their samples; 0 has that of the sample."""
    return tasks.with_noise(_noise_of(tasks, crop)) if crop else tasks


def tasks_of_crops(tasks: TaskBatch, crops: int) -> TaskBatch:
    """Each task once for every crop of its sample, one sample after the other."""
    if crops == 1:
        return tasks
    rows, crop = np.divmod(np.arange(len(tasks) * crops), crops)
    many = tasks.take(rows)
    return many.with_noise(_noise_of(many, crop))


def _noise_of(tasks: TaskBatch, crop: Any) -> Any:
    # Sample numbers are below 2^63, and so is the sum's lower part.
    return (tasks.noise_indices + crop * _NOISE_OF_CROPS) & (2**63 - 1)

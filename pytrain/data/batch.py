"""`Batch`: what one training step sees, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pydegrade import TaskBatch

NO_EXTRA: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class Batch:
    """B training pairs with everything that is known about them; row b of every member belongs to the same image.

    Attributes:
        indices: int64 [B], sample numbers; file, crop and task follow from them.
        lr: float32 [B, 3, h, w], RGB in [0, 1].
        target: float32 [B, 3, H, W]: what a loss compares with; H = scale h.
        hr: float32 [B, 3, H, W]: the clean crop; `target` itself where nothing was sharpened or blended.
        tasks: the B degradations that made `lr`, None for pairs that were read from disk.
        extra: further tensors by name, first dimension B: labels of a method, images of a previous phase.
        paired: bool [B], the rows whose `lr` was read from disk although the batch has tasks; None: there are none.
    """

    indices: NDArray[np.int64]
    lr: Tensor
    target: Tensor
    hr: Tensor
    tasks: TaskBatch | None = None
    extra: Mapping[str, Tensor] = field(default_factory=lambda: NO_EXTRA)
    paired: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, rows: slice) -> Batch:
        """Consecutive rows, as views."""
        return Batch(
            self.indices[rows],
            self.lr[rows],
            self.target[rows],
            self.hr[rows],
            None if self.tasks is None else self.tasks.take(np.arange(len(self.indices))[rows]),
            MappingProxyType({name: value[rows] for name, value in self.extra.items()}),
            None if self.paired is None else self.paired[rows],
        )

    def with_extra(self, values: Mapping[str, Tensor]) -> Batch:
        """The same batch with further (or replaced) entries in `extra`."""
        return replace(self, extra=MappingProxyType({**self.extra, **values})) if values else self

    def addresses(self) -> list[str]:
        """What rebuilds the tasks of this batch: their addresses, or the sample numbers of pairs from disk."""
        numbers = [f"i{index}" for index in self.indices.tolist()]
        if self.tasks is None:
            return numbers
        paired = np.zeros(len(self), np.bool_) if self.paired is None else self.paired
        return [number if read else address for number, address, read in zip(numbers, self.tasks.addresses, paired)]

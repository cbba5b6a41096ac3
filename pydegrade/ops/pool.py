"""What the files of a slot hold: arrays that belong to the space as its numbers do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 65535
"""Arrays of one slot, and of one file."""

KEY = "files"
"""Key of a slot that names files, and of what `Op.apply` is given of them."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Arrays of which a task takes one.

    Attributes:
        arrays: float32, any shapes, read-only.
    """

    arrays: tuple[NDArray[np.float32], ...]

    @staticmethod
    def of(arrays: Iterable[NDArray[Any]]) -> Pool:
        """A pool of copies."""
        own = tuple(np.array(values, np.float32, order="C") for values in arrays)
        for values in own:
            values.flags.writeable = False
        return Pool(own)

    @cached_property
    def name(self) -> str:
        """ "sha256:" and the hash, in hex, of all shapes and values."""
        found = hashlib.sha256()
        for values in self.arrays:
            found.update(str(values.shape).encode())
            found.update(values.astype("<f4").tobytes())
        return f"sha256:{found.hexdigest()}"

    def __len__(self) -> int:
        return len(self.arrays)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


@dataclass(frozen=True)
class Files:
    """What an op takes from the files that its slots name by the key `files`.

    Attributes:
        read: the arrays of one file, each checked; PydegradeError, one line, where it holds none.
        check: an array from elsewhere and what messages call it -> the array; PydegradeError where it cannot be used.
        endings: of the files that are taken from a folder, in small letters.
        number: the column that says which array, counted from 1; 0 is none. Where a slot does not give it, each is as
            likely.
    """

    read: Callable[[Path], Sequence[NDArray[Any]]]
    check: Callable[[NDArray[Any], str], NDArray[Any]]
    endings: tuple[str, ...]
    number: str

"""What a task is made of: typed columns, and the declaration by which an op announces its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Columns = Mapping[str, NDArray[Any]]
"""Values of one op's columns by short name ("sigma_x_px"), each [N]; every column of the op is present."""


@dataclass(frozen=True)
class Column:
    """One named parameter of an op.

    Attributes:
        name: short name with its unit as suffix, e.g. "sigma_x_px".
        doc: one sentence.
        low, high: closed interval of legal values (numbers only).
        neutral: the value that means "no effect" or "not used"; for a choice, a name.
        choices: names of a choice column; stored as their position, which is also the value of the C++ enum.
        integer: whole numbers only.
        version: raised when the same values begin to give other pixels. It is part of the digest of every space that draws
            the column, so that addresses from before are refused instead of giving something else.
    """

    name: str
    doc: str
    low: float = 0.0
    high: float = 0.0
    neutral: float | str = 0.0
    choices: tuple[str, ...] = ()
    integer: bool = False
    version: int = 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """int32 for choices (codes) and integers, float32 for real numbers."""
        return np.dtype(np.int32 if self.choices or self.integer else np.float32)

    @property
    def neutral_value(self) -> float | int:
        """The neutral as it is stored."""
        if isinstance(self.neutral, str):
            return self.choices.index(self.neutral)
        return int(self.neutral) if self.integer else float(self.neutral)


@dataclass(frozen=True)
class Items:
    """Where uses of one op stand: sizes and noise keys, [N] each, from the plan.

    Attributes:
        src_height, src_width: int32 [N], image before the step, px.
        dst_height, dst_width: int32 [N], image after the step, px.
        key: uint32 [N, 4], Philox words of the image, the last one combined with the slot's name (see rng.py).
    """

    src_height: IntArray
    src_width: IntArray
    dst_height: IntArray
    dst_width: IntArray
    key: NDArray[np.uint32]


@dataclass(frozen=True)
class Op:
    """Declaration of a kind of degradation.

    Attributes:
        name: "blur", "resize", ...
        code: OpCode of csrc/ops.h.
        columns: all parameters, in the order they are shown.
        active: given the columns, which of them have an effect, row by row (name -> bool [N]; absent = always).
        neutral: given the columns, rows in which the whole op does nothing, bool [N]; such steps are left out of a plan.
        out_size: (columns, height, width, final_height, final_width), all [N] int64 -> (height, width) after the op.
        halo: given the columns, by how many px an output pixel looks beyond its own position, int [N].
        params: (columns, items) -> the arrays of the op's Params struct in csrc/ops.h, by field name.
    """

    name: str
    code: int
    columns: tuple[Column, ...]
    active: Callable[[Columns], Mapping[str, BoolArray]]
    neutral: Callable[[Columns], BoolArray]
    out_size: Callable[..., tuple[NDArray[np.int64], NDArray[np.int64]]]
    halo: Callable[[Columns], NDArray[np.int64]]
    params: Callable[[Columns, Items], Mapping[str, NDArray[Any]]]

    def column(self, name: str) -> Column:
        """The column of that short name; KeyError if the op has none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


def same_size(
    columns: Columns,
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    final_height: NDArray[np.int64],
    final_width: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`out_size` of ops that keep the size."""
    return height, width

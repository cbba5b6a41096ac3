"""What a task is made of: typed columns, and the declaration by which an op announces its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..native import binding
from .pool import Files

if TYPE_CHECKING:
    import torch

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

    @property
    def limits(self) -> tuple[float, float]:
        """Closed interval of legal stored values; codes for a choice."""
        return (0, len(self.choices) - 1) if self.choices else (self.low, self.high)


Active = Callable[[Columns], Mapping[str, BoolArray]]
_DECIDERS = "decided_by"


def decided_by(*names: str) -> Callable[[Active], Active]:
    """Decorator of an `Op.active` that goes by these columns alone: by the codes of choices, and of others by whether they
    hold their neutral value. It is asked once for every case there is, not for the tasks of each batch."""

    def marked(active: Active) -> Active:
        setattr(active, _DECIDERS, names)
        return active

    return marked


def deciders_of(active: Active) -> tuple[str, ...] | None:
    """Names of the columns that it is `decided_by`; None: nothing is known."""
    names: tuple[str, ...] | None = getattr(active, _DECIDERS, None)
    return names


@decided_by()
def _every(columns: Columns) -> Mapping[str, BoolArray]:
    return {}


Sides = NDArray[np.int64]
OutSize = Callable[[Columns, Sides, Sides, Sides, Sides], tuple[Sides, Sides]]
Apply = Callable[["torch.Tensor", Mapping[str, Any], tuple[int, int, int, int]], "torch.Tensor"]
ApplyClip = Callable[[Sequence["torch.Tensor"], Mapping[str, Any], tuple[int, int, int, int]], Sequence["torch.Tensor"]]


@dataclass(frozen=True)
class Op:
    """Declaration of a kind of degradation.

    Attributes:
        name: "blur", "resize", ...
        columns: all parameters, in the order they are shown.
        active: given the columns, which of them have an effect, row by row (name -> bool [N]; absent = always). Drawing is
            faster with one that is `decided_by` columns.
        neutral: given the columns, rows in which the whole op does nothing, bool [N]; such steps are left out of a plan.
            By default those where the switch, or without one every column, holds its neutral value; of ops of the compiled
            module what their plan.cpp says.
        idle: given the columns, further rows in which the op runs and only limits the values to [0, 1], bool [N]; None: no
            rows. A slot of a space that leaves out the columns which would change that is refused.
        out_size: (columns, height, width, final_height, final_width), all [N] int64 -> (height, width) after the op; None:
            the op keeps the size. Of ops of the compiled module what their plan.cpp says.
        nothing_at_equal_size: given the columns of an op with `out_size`, rows that do nothing where the size before and
            after is the same, bool [N]; None: no rows.
        version: raised when equal columns begin to give other pixels. It is part of the digest of every space that uses the
            op, so that addresses from before are refused instead of giving something else.
        apply: None for ops of csrc/ops/list.h, whose plan.cpp says how parameters and sizes follow from columns; for an op
            in plain torch, (image, columns, words) -> image. `image` is float32 [C, H, W], contiguous, on the
            device of the pixels, and must not be written to; `columns` holds numbers, and names for choices, and with
            `files` the arrays of the slot's files by that name; `words` are
            the four Philox words of the image, combined with the slot's name: the only source of randomness (see
            `generator`). The result is float32 [C, H', W'] with the sides of `out_size`, finite, in or out of [0, 1].
        apply_clip: (frames, columns, words) -> frames, for an op that takes the frames of a clip together: two or more
            images of `apply` in their order, of any sides, with columns and words of the first; the result is as many, all
            with the sides of the first. None: each frame goes through `apply` alone.
        fault: given one row of columns as `apply` takes them, what is wrong with values each of which is in range, in one
            line, "" when nothing is. A slot that could draw such values is refused when the space is read, by the ends of
            the ranges that its columns have together; a task that holds them, when its address or file is.
        library: name and version of a library outside this package that decides about the pixels. They are part of the
            digest of every space that uses the op, so that an address is refused where another version would give
            something else. OpError, one line, where there is no such library.
        files: what slots of the op take from files that they name. The content is part of the digest of the space.
        concurrent: whether `apply` may run on several images at the same time.
        used: given the columns, values of those that the op takes otherwise than they are drawn (name -> [N]): what a
            person's edit of such a column is recorded as.
        switch: the column whose neutral value turns the op off, if one does. A slot of a space that gives other columns
            but not this one is refused, because it would never act.
        switched_on: value of the switch in such a slot instead, where one is what every reader would expect.
    """

    name: str
    columns: tuple[Column, ...]
    active: Active = _every
    neutral: Callable[[Columns], BoolArray] = None  # type: ignore[assignment]
    idle: Callable[[Columns], BoolArray] | None = None
    out_size: OutSize | None = None
    nothing_at_equal_size: Callable[[Columns], BoolArray] | None = None
    version: int = 1
    apply: Apply | None = None
    apply_clip: ApplyClip | None = None
    fault: Callable[[Mapping[str, Any]], str] | None = None
    library: Callable[[], str] | None = None
    files: Files | None = None
    concurrent: bool = False
    used: Callable[[Columns], Mapping[str, NDArray[Any]]] | None = None
    switch: str = ""
    switched_on: str | float | None = None

    def __post_init__(self) -> None:
        if self.neutral is None:
            object.__setattr__(self, "neutral", self._compiled_neutral if self.apply is None else self._switched_off)
        if self.apply is None and self.name in binding.RESIZING:
            object.__setattr__(self, "out_size", self._compiled_out_size)

    def column(self, name: str) -> Column:
        """The column of that short name; KeyError if the op has none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def _compiled_neutral(self, columns: Columns) -> BoolArray:
        return binding.neutral(binding.OPS[self.name], **self._compiled_columns(columns))

    def _compiled_out_size(
        self, columns: Columns, *sides: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return binding.out_size(binding.OPS[self.name], *sides, **self._compiled_columns(columns))

    def _compiled_columns(self, columns: Columns) -> dict[str, NDArray[Any]]:
        return {name: np.ascontiguousarray(columns[name], dtype) for name, dtype in binding.COLUMNS[self.name]}

    def _switched_off(self, columns: Columns) -> BoolArray:
        asked = (self.column(self.switch),) if self.switch else self.columns
        same = [columns[column.name] == np.asarray(column.neutral_value, column.dtype) for column in asked]
        return np.logical_and.reduce(same)


def among(choices: Sequence[str], names: Collection[str]) -> BoolArray:
    """Of every code of a choice, whether its name is one of some; `among(SHAPES, names)[codes]` asks it of rows."""
    return np.array([choice in names for choice in choices])


def generator(words: tuple[int, int, int, int]) -> torch.Generator:
    """torch's generator on the CPU for one image and slot, from the words that `Op.apply` is given.

    The same words give the same numbers whatever the batch. torch promises its sequences for one release only: an op that
    must replay for years draws from the words themselves.
    """
    import torch

    return torch.Generator().manual_seed(words[0] ^ words[1] << 32 ^ words[2] << 16 ^ words[3] << 24)

"""What a kind of distribution is, the list of kinds, and what each reads its TOML table with.

Errors of reading name file, line, key and value.
"""

from __future__ import annotations

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError, nearest, shown
from ..ops.declaration import Column
from ..ops.registry import load_plugins, note_registration

Float64Array = NDArray[np.float64]
Table = Mapping[str, Any]

WALK = "walk"
"""Key of the kind that stands beside another one: what that gives walks from frame to frame."""

MAX_DEPTH = 16
"""Distributions inside distributions."""

_LARGEST = 1e30
_SMALLEST_ABOVE_0 = 1e-12


@dataclass(frozen=True)
class Known:
    """What is settled before a column is drawn, for N rows.

    Attributes:
        columns: values of columns drawn earlier, by full name "slot.column", [N] each.
        steps: int64 [N], training steps.
        frames: int64 [N], numbers of frames in their clips; None: all 0.
    """

    columns: Mapping[str, NDArray[Any]]
    steps: NDArray[np.int64]
    frames: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[Any]) -> Known:
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Known(columns, self.steps[rows], None if self.frames is None else self.frames[rows])


class Distribution(ABC):
    """Base of all kinds; a kind is a frozen dataclass, whose fields are what a space's digest is made of.

    Attributes:
        key: the word that names the kind in a space file: `{ uniform = [0.2, 3.0] }`.
        version: raised when the same fields begin to give other values; part of the digest.
    """

    key: ClassVar[str] = ""
    version: ClassVar[int] = 1

    def draws(self) -> int:
        """How many uniform numbers one value takes."""
        return 1

    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """Closed interval that holds every value."""

    @abstractmethod
    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        """Values for N rows: float64 [N], from u float64 [N, L] in [0, 1), L >= draws() + the largest frame; row by row,
        and from + - * / and sqrt alone."""

    @classmethod
    @abstractmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        """From the TOML table that holds `key`; refuse what is wrong with `raise reader.fail(...)`."""

    # ---- What few kinds need

    def stream(self, slot: str, column: str) -> str:
        """Name of the random numbers of a column; columns with one stream share their numbers."""
        return f"{slot}.{column}"

    def prepare(self, u: Float64Array) -> Float64Array:
        """What `evaluate` takes for u, computed once for all columns of a stream: [N, ...]."""
        return u


_KINDS: dict[str, type[Distribution]] = {}
_Kind = TypeVar("_Kind", bound=type[Distribution])


def register_distribution(kind: _Kind) -> _Kind:
    """Make a kind of distribution known to space files by its `key`; also a class decorator.

    Args:
        kind: a frozen dataclass that derives from `Distribution`.
    Raises:
        SpaceError: no key, no frozen dataclass, or another kind with that key.
    """
    if not (isinstance(kind, type) and issubclass(kind, Distribution) and dataclasses.is_dataclass(kind)):
        raise SpaceError(f"register_distribution: expected a dataclass derived from Distribution, got {kind!r}")
    if not kind.__dataclass_params__.frozen or not kind.key.isidentifier():
        raise SpaceError(
            f"register_distribution: {kind.__name__} must be frozen and have a word as key, got {kind.key!r}"
        )
    if _KINDS.setdefault(kind.key, kind) is not kind:
        raise SpaceError(
            f"register_distribution: the key {kind.key!r} of {kind.__name__} belongs to {_KINDS[kind.key].__name__}"
        )
    note_registration()
    return kind


def kinds(asked: Iterable[str] = ()) -> Mapping[str, type[Distribution]]:
    """All kinds by their keys; plugins are imported when the package has none of the keys asked for."""
    if not any(key in _KINDS for key in asked):
        load_plugins()
    return dict(_KINDS)


# ---- Reading


def is_number(value: Any) -> bool:
    """Whether a TOML value is a finite number of a size that arithmetic can bear."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def check_weights(weights: Any, count: int, fail: Callable[[str], SpaceError]) -> tuple[float, ...]:
    """Probabilities as floats; equal ones when none are given."""
    if weights is None:
        return (1.0 / count,) * count
    if not isinstance(weights, list) or not all(is_number(weight) for weight in weights):
        raise fail(f"weights must be a list of numbers, got {shown(weights)}")
    if len(weights) != count:
        raise fail(f"expected {count} weights, got {len(weights)}")
    if min(weights) < 0 or abs(math.fsum(weights) - 1) > 1e-9:
        raise fail(f"weights must be >= 0 and sum to 1, got {shown(weights)} with sum {math.fsum(weights):.12g}")
    return tuple(float(weight) for weight in weights)


@dataclass(frozen=True)
class ColumnReader:
    """What a kind of distribution reads its TOML table with.

    Attributes:
        column: declaration of the column.
        slot: name of the slot.
        error: makes the error of a message, with the place in the file.
        earlier: columns declared before this one, by full name.
        spans: closed intervals that hold the values of those.
        depth: how many distributions this one stands in.
    """

    column: Column
    slot: str
    error: Callable[[str], SpaceError]
    earlier: Mapping[str, Column]
    spans: Mapping[str, tuple[float, float]]
    depth: int = 0

    shown = staticmethod(shown)

    def fail(self, message: str) -> SpaceError:
        """The error to raise: file, line, slot and column in front of the message."""
        return self.error(f"slot {self.slot}: {self.column.name}: {message}")

    @property
    def odd(self) -> bool:
        """Whether the column takes odd numbers alone: the sizes of kernels."""
        return self.column.name == "size_px"

    def read(self, value: Any) -> Distribution:
        """The distribution that a whole TOML value stands for, with all its values within the column's limits."""
        found = self._of(value)
        low, high = found.bounds()
        least, most = self.column.limits
        if not (low >= least and high <= most):
            raise self.fail(f"values must lie in [{least:g}, {most:g}], got [{low:g}, {high:g}]")
        return found

    # ---- For kinds of distributions

    def distribution(self, value: Any) -> Distribution:
        """A distribution inside this one."""
        if self.depth >= MAX_DEPTH:
            raise self.fail(f"at most {MAX_DEPTH} distributions may stand in each other")
        return replace(self, depth=self.depth + 1)._of(value)

    def keys(self, table: Mapping[str, Any], *known: str) -> None:
        """Refuse keys that the kind does not know."""
        for key in table:
            if key not in known:
                raise self.fail(f"unknown key {shown(key)}{nearest(key, known)}")

    def value(self, value: Any) -> float:
        """A value of the column: a choice's code or a number; on/off columns also take true and false."""
        if self.column.choices:
            if not isinstance(value, str) or value not in self.column.choices:
                raise self.fail(f"unknown value {shown(value)}{self._meant(value)}")
            return self.column.choices.index(value)
        if isinstance(value, bool) and self.column.integer:
            return int(value)
        if not is_number(value):
            raise self.fail(f"expected a finite number, got {shown(value)}{self._meant(value)}")
        if self.column.integer and value != int(value):
            raise self.fail(f"expected a whole number, got {value!r}")
        if self.odd and int(value) % 2 == 0:
            raise self.fail(f"a kernel size must be odd, got {shown(value)}")
        return float(value)

    def number(self, value: Any, name: str) -> float:
        """A finite number that is no value of the column: a probability, a limit."""
        if not is_number(value):
            raise self.fail(f"{name} must be a finite number, got {shown(value)}")
        return float(value)

    def range(self, value: Any) -> tuple[float, float]:
        """[low, high] with low <= high."""
        if not isinstance(value, list) or len(value) != 2 or not all(is_number(bound) for bound in value):
            raise self.fail(f"expected [low, high], got {shown(value)}")
        low, high = float(value[0]), float(value[1])
        if low > high:
            raise self.fail(f"low must not exceed high, got {shown(value)}")
        if self.column.choices:
            raise self.fail(f"a column of names takes 'choice', got a range {shown(value)}")
        return low, high

    def real_range(self, value: Any, above: float | None = None) -> tuple[float, float]:
        """[low, high] of a column of real numbers; `above` 0 asks for numbers above it."""
        low, high = self.range(value)
        if self.column.integer:
            raise self.fail("a whole-number column takes 'integers', or 'uniform' with round = true")
        if above is not None and low < above + _SMALLEST_ABOVE_0:
            raise self.fail(f"low must be above {above:g}, got {shown(value)}")
        return low, high

    def weights(self, weights: Any, count: int) -> tuple[float, ...]:
        """`count` probabilities; equal ones for None."""
        return check_weights(weights, count, self.fail)

    def earlier_column(self, key: str, name: Any) -> tuple[str, Column]:
        """Full name and declaration of a column that was declared before this one; a short name means the same slot."""
        full = name if isinstance(name, str) and "." in name else f"{self.slot}.{name}"
        if not isinstance(name, str) or full not in self.earlier:
            hint = nearest(full, self.earlier) if isinstance(name, str) else ""
            raise self.fail(f"{key} must name an earlier column, got {shown(name)}{hint}")
        return full, self.earlier[full]

    # ----

    def _meant(self, value: Any) -> str:
        """What a value that is none of the column may have been meant as, and the names that there are."""
        choices = self.column.choices
        if isinstance(value, list) and len(value) <= 20:
            if choices and all(isinstance(one, str) for one in value):
                return f"; one of several is {{ choice = {_toml(value)} }}"
            if not choices and len(value) == 2 and all(is_number(one) for one in value):
                kind = "integers" if self.column.integer else "uniform"
                step = ", step = 2" if self.odd else ""
                return f"; a range is {{ {kind} = {_toml(value)}{step} }}"
        if not choices:
            return ""
        listed = f"; known: {', '.join(choices)}"
        if not isinstance(value, str):
            same = not isinstance(value, (bool, list, dict)) and str(value) in choices
            return f"; did you mean {_toml(str(value))}?" if same else listed
        hint = nearest(value, choices)
        return hint if hint == listed else f"{hint} known: {', '.join(choices)}"

    def _of(self, value: Any) -> Distribution:
        if not isinstance(value, dict):
            return kinds()["const"].read({"const": value}, self)
        known = kinds(value)
        if WALK in value:
            return known[WALK].read(value, self)
        named = [key for key in value if key in known]
        if len(named) != 1:
            got = ", ".join(shown(key) for key in [*value][:5]) or "nothing"
            raise self.fail(f"expected one of {', '.join(known)}, got {got}")
        return known[named[0]].read(value, self)


def _toml(value: Any) -> str:
    """A name, a number, or a list of them, as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)

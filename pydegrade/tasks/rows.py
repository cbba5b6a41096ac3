"""Rows of parameters: what B tasks do, without whence they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import shown
from ..native.given import real_array
from ..ops.declaration import BoolArray
from ..ops.registry import find
from .space import Space

_Rows = TypeVar("_Rows", bound="Rows")


@dataclass(frozen=True)
class Rows:
    """Parameters of B tasks of one space, raw as drawn or resolved (`resolved`).

    Attributes:
        space: where they come from.
        component: int32 [B], which space of a mixture, else 0.
        columns: by full name "slot.column", [B] each: int32 codes for choices and whole numbers, float32 otherwise. In
            resolved rows a column holds its neutral value where it has no effect (see `mask`).
        program: int8 [B, K], slot numbers in running order, -1 = absent, at the end.
    """

    space: Space
    component: NDArray[np.int32]
    columns: Mapping[str, NDArray[Any]]
    program: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.component)

    def column(self, name: str) -> NDArray[Any]:
        """Values of "slot.column", [B]; the neutral value where the space does not draw it."""
        if isinstance(name, str) and name in self.columns:
            return self.columns[name]
        column = self.space.column(name)
        return np.full(len(self), column.neutral_value, column.dtype)

    def labels(self, name: str) -> list[str]:
        """Values of a column as text; names for choices, numbers by the shortest decimal that gives them back."""
        column, values = self.space.column(name), self.column(name)
        if column.choices:
            return [column.choices[code] for code in values.tolist()]
        return [number_text(value) for value in values]

    def mask(self, name: str) -> BoolArray:
        """Where a column has an effect, bool [B]."""
        self.space.column(name)
        slot, _, short = name.partition(".")
        if slot in self.space.gate_names:
            return self.gated_by(slot)
        return self.masks(slot)[short]

    def masks(self, slot: str) -> dict[str, BoolArray]:
        """Where each column of a slot has an effect, by short name."""
        op, present = self.space.op(slot), self.present(slot)
        active = op.active(self.slot_columns(slot))
        return {column.name: np.asarray(present & active.get(column.name, present)) for column in op.columns}

    def slot_columns(self, slot: str) -> dict[str, NDArray[Any]]:
        """All columns of a slot's op, by short name."""
        return {column.name: self.column(f"{slot}.{column.name}") for column in self.space.op(slot).columns}

    def present(self, slot: str) -> BoolArray:
        """Where a slot is in the program, bool [B]."""
        number = [candidate.name for candidate in self.space.slots].index(slot)
        return np.asarray((self.program == number).any(axis=1))

    def neutral(self, slot: str) -> BoolArray:
        """Where a slot's op does nothing by its values, bool [B]."""
        return self.space.op(slot).neutral(self.slot_columns(slot))

    def gated_by(self, gate: str) -> BoolArray:
        """Where the row's space has a gate, bool [B]."""
        spaces = self.space.components or (self.space,)
        has = np.array([any(own.name == gate for own in space.gates) for space in spaces], bool)
        return has[self.component]

    def orders(self) -> list[tuple[str, ...]]:
        """Names of the slots that run, in running order."""
        names = [slot.name for slot in self.space.slots]
        return [tuple(names[number] for number in row if number >= 0) for row in self.program.tolist()]

    def take(self: _Rows, rows: ArrayLike | slice) -> _Rows:
        """Some of the rows: positions, a slice or a mask; negative positions count from the end.

        Raises:
            TypeError: no whole numbers. ValueError: a row that is not there, or a mask of another length.
        """
        chosen: Any = rows if isinstance(rows, slice) else _positions(rows, len(self))
        arrays = {
            entry.name: getattr(self, entry.name)[chosen]
            for entry in fields(self)
            if entry.name not in ("space", "columns")
        }
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return replace(self, columns=needed(self.space, columns), **arrays)


def _positions(rows: Any, count: int) -> NDArray[Any]:
    """Positions or a mask [count], checked."""
    expected = f"rows must be whole numbers, a slice or a mask of {count}"
    chosen = real_array(expected, rows)
    if chosen.size == 0:
        return np.zeros(0, np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind == "f":
        raise TypeError(f"{expected}, got {shown(rows)}")
    if chosen.dtype == bool:
        if len(chosen) != count:
            raise ValueError(f"{expected}, got a mask of {len(chosen)}")
        return chosen
    outside = (chosen < -count) | (chosen >= count)
    if outside.any():
        raise ValueError(f"rows must be in -{count}..{count - 1}, got {chosen[np.argmax(outside)]}")
    return chosen.astype(np.int64)


def needed(space: Space, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Columns that the space draws, then others where a value is not the neutral one, in declared order."""
    kept = {name: values for name, values in columns.items() if name in space.drawn_columns}
    if len(kept) == len(columns):
        return kept
    for name in space.all_columns:
        if name in columns and name not in kept and bool((columns[name] != space.column(name).neutral_value).any()):
            kept[name] = columns[name]
    return kept


def resolved(rows: Rows) -> Rows:
    """The rows with slots of closed gates out of the program, and every column that has no effect at its neutral value."""
    rows = gated(rows)
    columns = dict(rows.columns)
    for slot in rows.space.slots:
        masks = rows.masks(slot.name)
        for column in find(slot.op).columns:
            name = f"{slot.name}.{column.name}"
            if name in columns and not masks[column.name].all():
                neutral = np.asarray(column.neutral_value, column.dtype)
                columns[name] = np.where(masks[column.name], columns[name], neutral)
    for gate in rows.space.gate_names:
        name = f"{gate}.on"
        if name in columns:
            columns[name] = np.where(rows.gated_by(gate), columns[name], np.int32(1))
    return replace(rows, columns=needed(rows.space, columns))


def gated(rows: Rows) -> Rows:
    """The rows with slots of closed gates out of the program."""
    if not rows.space.gate_names:
        return rows
    names = [slot.name for slot in rows.space.slots]
    closed = np.zeros((len(rows), len(names)), bool)
    for number, space in enumerate(rows.space.components or (rows.space,)):
        here = rows.component == number
        for gate in space.gates:
            off = here & (rows.column(f"{gate.name}.on") == 0)
            for slot in gate.slots:
                closed[:, names.index(slot)] |= off
    program = rows.program
    gone = np.take_along_axis(closed, np.maximum(program, 0).astype(np.int64), axis=1) | (program < 0)
    # A stable sort brings the absent to the end and keeps the others in order.
    order = np.argsort(gone, axis=1, kind="stable")
    packed = np.take_along_axis(np.where(gone, np.int8(-1), program), order, axis=1)
    return replace(rows, program=np.ascontiguousarray(packed))


def number_text(value: Any) -> str:
    """Shortest text that gives a stored value back."""
    if isinstance(value, np.integer):
        return str(int(value))
    text = np.format_float_positional(value, trim="-", unique=True)
    # Readers go through a double, whose rounding to float32 could fall on the other side of a tie.
    return text if np.float32(float(text)) == value else repr(float(value))

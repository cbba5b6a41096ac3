"""Rows of parameters: what B tasks do, without whence they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import TaskError, shown
from ..native import binding
from ..native.given import real_array
from ..ops.declaration import BoolArray
from .space import Space
from .tables import Tables, Words, tables_of

_Rows = TypeVar("_Rows", bound="Rows")
_NO_SLOTS = np.empty(0, np.int32)


class ColumnBlock(Mapping[str, NDArray[Any]]):
    """Columns of one length, in one block of memory, so that some of their rows are taken at once.

    Args:
        places: name -> place in `words`, and whether it is float32.
        words: [C, B] values, int32 or the bits of float32.
    """

    def __init__(self, places: Mapping[str, tuple[int, bool]], words: Words) -> None:
        self._places, self._words = places, words
        self._views: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        found = self._views.get(name)
        if found is None:
            place, is_real = self._places[name]
            found = self._words[place].view(np.float32) if is_real else self._words[place]
            self._views[name] = found
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __reduce__(self) -> tuple[Any, ...]:
        return ColumnBlock, (self._places, self._words)

    def fields(self) -> dict[str, Any]:
        """Columns of `TaskArgs` (csrc/chain/steps.h), without an array for each."""
        return {"columns": self._places, "words": np.ascontiguousarray(self._words)}

    def same_bits(self, other: ColumnBlock) -> bool:
        """Whether both hold the same columns with the same values."""
        return self._places == other._places and np.array_equal(self._words, other._words)

    def take(self, rows: NDArray[Any] | slice) -> ColumnBlock:
        """Some of the rows: positions, or a slice, which shares memory."""
        return ColumnBlock(self._places, self._words[:, rows] if isinstance(rows, slice) else self._words.take(rows, 1))


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
        return number_texts(values)

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
        return _has_gate(self.space, self.component, gate)

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
        kind: Any = type(self)
        arrays = {name: getattr(self, name)[chosen] for name in _arrays_of(kind)}
        if isinstance(self.columns, ColumnBlock):
            columns: Mapping[str, NDArray[Any]] = self.columns.take(chosen)
        else:
            columns = needed(self.space, {name: values[chosen] for name, values in self.columns.items()})
        taken: _Rows = kind(space=self.space, columns=columns, **arrays)
        return taken


@cache
def _arrays_of(kind: Any) -> tuple[str, ...]:
    """Names of the fields that hold a value per row."""
    return tuple(entry.name for entry in fields(kind) if entry.name not in ("space", "columns"))


def _positions(rows: Any, count: int) -> NDArray[Any]:
    """Positions [B], from positions or a mask [count], checked."""
    expected = f"rows must be whole numbers, a slice or a mask of {count}"
    chosen = real_array(expected, rows)
    if chosen.size == 0:
        return np.zeros(0, np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind == "f":
        raise TypeError(f"{expected}, got {shown(rows)}")
    if chosen.dtype == bool:
        if len(chosen) != count:
            raise ValueError(f"{expected}, got a mask of {len(chosen)}")
        return np.nonzero(chosen)[0]
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
    tables = tables_of(rows.space)
    words = np.empty((len(tables.neutral), len(rows)), np.int32)
    words[:] = tables.neutral
    for name, values in rows.columns.items():
        words[tables.rows[name][0]] = values.view(np.int32)
    words, program = settled(tables, words, rows.program.copy(), rows.component)
    places = {name: tables.rows[name] for name in rows.columns}
    columns = dict(ColumnBlock(places, words))
    return replace(rows, columns=needed(rows.space, columns), program=program)


def settled(
    tables: Tables, words: Words, program: NDArray[np.int8], component: NDArray[np.int32]
) -> tuple[Words, NDArray[np.int8]]:
    """`resolved`, for all rows of the tables of a space, in place.

    Args:
        words: [R, B]. program: [B, K]. component: [B].
    Returns:
        words and program.
    """
    settling = tables.settling
    for part in settling.asked if words.size else ():
        # Every slot of the op at once.
        own = words[part.first : part.last].reshape(len(part.places), -1)
        neutral = np.repeat(tables.neutral[part.first : part.last], words.shape[1], 1).reshape(len(part.places), -1)
        columns = {
            name: own[place].view(np.float32 if real else np.int32) for name, (place, real) in part.places.items()
        }
        for name, active in part.op.active(columns).items():
            place = part.places[name][0]
            own[place] = np.where(active, own[place], neutral[place])
    _settle(tables, words, program, component, settling.slots)
    return words, program


def together(rows: Rows, where: str = "") -> Rows:
    """The rows, looked at for values that are each in range but that their op does not take together (`Op.fault`), and for
    numbers beyond what the files of a slot hold.

    Args:
        rows: resolved.
        where: what the message begins with.
    Raises:
        TaskError: with the first such row.
    """
    for slot in rows.space.slots:
        op = rows.space.op(slot.name)
        if op.fault is None and op.files is None:
            continue
        columns = rows.slot_columns(slot.name)
        acting = np.nonzero(rows.present(slot.name) & ~op.neutral(columns))[0]
        if op.files is not None and len(acting):
            numbers, held = columns[op.files.number][acting], _held(rows.space, slot.name)[rows.component[acting]]
            if (numbers > held).any():
                at = int(np.argmax(numbers > held))
                name = f"{where}{slot.name}.{op.files.number}"
                expected = f"must be in 0..{held[at]}, as many as the files of the space hold"
                raise _refused(rows, f"{name} {expected}, got {numbers[at]}", acting[at])
        if op.fault is None:
            continue
        known: dict[tuple[Any, ...], str] = {}
        for row, values in zip(acting.tolist(), zip(*(column[acting].tolist() for column in columns.values()))):
            if values not in known:
                given = zip(op.columns, values)
                known[values] = op.fault(
                    {one.name: one.choices[value] if one.choices else value for one, value in given}
                )
            if known[values]:
                raise _refused(rows, f"{where}slot {slot.name}: {known[values]}", row)
    return rows


def _held(space: Space, slot: str) -> NDArray[np.int64]:
    """How many arrays the slot's files hold in each component."""
    pools = [[one.pool for one in part.slots if one.name == slot] for part in space.components or (space,)]
    return np.array([0 if not pool or pool[0] is None else len(pool[0]) for pool in pools])


def _refused(rows: Rows, reason: str, row: int) -> TaskError:
    return TaskError(f"{reason} at row {row}" if len(rows) > 1 else reason)


def gated(rows: Rows) -> Rows:
    """The rows with slots of closed gates out of the program."""
    if not rows.space.gate_names:
        return rows
    tables, program = tables_of(rows.space), rows.program.copy()
    words = np.repeat(tables.neutral, len(rows), 1)
    for gate in rows.space.gate_names:
        name = f"{gate}.on"
        words[tables.rows[name][0]] = rows.column(name)
    _settle(tables, words, program, rows.component, _NO_SLOTS)
    return replace(rows, program=program)


def _settle(
    tables: Tables, words: Words, program: NDArray[np.int8], component: NDArray[np.int32], slots: Words
) -> None:
    binding.call(
        "settle_columns",
        rows=len(words),
        gate_rows=tables.gates,
        slot_count=len(tables.space.slots),
        neutral=tables.neutral,
        component=component,
        gates=tables.settling.gates,
        slots=slots,
        effects=tables.settling.effects,
        words=words,
        program=program.view(np.uint8),
    )


def _has_gate(space: Space, component: NDArray[np.int32], gate: str) -> BoolArray:
    """Where the row's space has a gate, bool [B]."""
    has = np.array([any(own.name == gate for own in part.gates) for part in space.components or (space,)], bool)
    return np.asarray(has[component])


def number_text(value: Any) -> str:
    """Shortest text that gives a stored value back."""
    if isinstance(value, np.integer):
        return str(int(value))
    text = np.format_float_positional(value, trim="-", unique=True)
    # Readers go through a double, whose rounding to float32 could fall on the other side of a tie.
    return text if np.float32(float(text)) == value else repr(float(value))


def number_texts(values: NDArray[Any]) -> list[str]:
    """`number_text` of each, in a tenth of the time."""
    if values.dtype != np.float32:
        return [number_text(value) for value in values]
    # NumPy's own texts are the shortest as well, but for exponents and a zero behind the point.
    texts: list[str] = values.astype("U").tolist()
    same = np.array([float(text) for text in texts]).astype(np.float32) == values
    return [
        text.removesuffix(".0") if good and "e" not in text else number_text(value)
        for text, good, value in zip(texts, same.tolist(), values)
    ]

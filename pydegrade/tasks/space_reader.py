"""From the tables of a space to slots, gates, order and ranges, with every name and number checked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OpError, SpaceError, nearest, shown
from ..ops.declaration import Column, Op
from ..ops.pool import KEY, Files, Pool
from ..ops.registry import PLUGINS, find, names
from .distribution_contract import ColumnReader, Distribution, check_weights, is_number
from .distributions import By, Choice, Constant, Mixture, Schedule, is_scheduled, walks
from .space_text import Document, Item, Table, known_keys
from .vector_entries import TABLE

_CORNERS = 4096
"""Combinations of choices that are looked at; an op that has more is one of a plugin."""

GATE_COLUMN = Column("on", "1: the slots of the gate run; 0: they do not.", 0, 1, neutral=1, integer=True)


@dataclass(frozen=True)
class Earlier:
    """What columns may depend on: those declared before, by full name, and what their values lie in."""

    columns: dict[str, Column]
    spans: dict[str, tuple[float, float]]

    def add(self, name: str, column: Column, span: tuple[float, float]) -> None:
        self.columns[name] = column
        self.spans[name] = span

    def reader(self, column: Column, slot: str, error: Callable[[str], SpaceError]) -> ColumnReader:
        """Of the next column."""
        return ColumnReader(column, slot, error, self.columns, self.spans)


@dataclass(frozen=True)
class Slot:
    """One place in a space: a name, the op that fills it, the distributions of the columns that are drawn, and for an op
    that takes files what they hold."""

    name: str
    op: str
    columns: tuple[tuple[str, Distribution], ...] = ()
    pool: Pool | None = None


@dataclass(frozen=True)
class Gate:
    """A draw that lets several slots run, or none of them: `on` is 1 or 0, the column "name.on"."""

    name: str
    slots: tuple[str, ...]
    on: Distribution


@dataclass(frozen=True)
class Order:
    """How the running order of slots is drawn.

    Attributes:
        choice, weights: alternatives for the slots they name, which swap among the places these hold as declared.
        shuffle: groups of slots in uniformly random order, one after the other from the place of the first as declared.
        before: (a, b): where the group of b comes before the group of a, the two change places.
    """

    choice: tuple[tuple[str, ...], ...] = ()
    weights: tuple[float, ...] = ()
    shuffle: tuple[tuple[str, ...], ...] = ()
    before: tuple[tuple[str, str], ...] = ()


Ranges = Mapping[str, Mapping[str, tuple[float, float]]]
PoolOf = Callable[[Item, Files], Pool]
"""What the files hold that the item of a key `files` names."""


def slots_and_gates(document: Document, pool_of: PoolOf) -> tuple[tuple[Slot, ...], tuple[Gate, ...]]:
    """Slots in running order and gates. Columns may depend on slots that stand before theirs, and on every gate."""
    earlier = Earlier({}, {})
    names = [slot.name for slot in document.slots]
    gates = []
    for table in document.gates:
        if table.name in names:
            raise table.place.error(f"gate {table.name}: a slot has this name", "name")
        gates.append(_gate(table, names, earlier))
        earlier.add(f"{table.name}.on", GATE_COLUMN, gates[-1].on.bounds())
    slots = tuple(_slot(table, earlier, pool_of) for table in document.slots)
    return slots, tuple(gates)


def _gate(table: Table, slots: list[str], earlier: Earlier) -> Gate:
    known_keys(table.keys, ("slots", "on"), f"gate {table.name}")
    for key in ("slots", "on"):
        if key not in table.keys:
            raise table.place.error(f"gate {table.name}: the key {key!r} is missing")
    members = table.keys["slots"]
    if not isinstance(members.value, list) or not members.value:
        raise members.error(f"gate {table.name}: slots must be a list of names, got {shown(members.value)}")
    for number, name in enumerate(members.value):
        if not isinstance(name, str) or name not in slots:
            hint = nearest(name, slots) if isinstance(name, str) else ""
            raise members.error(f"gate {table.name}: unknown slot {shown(name)}{hint}", number)
    reader = earlier.reader(GATE_COLUMN, table.name, table.keys["on"].error)
    on = reader.read(table.keys["on"].value)
    if walks(on):
        raise table.keys["on"].error(f"gate {table.name}: on: a gate does not walk: it holds for the whole clip")
    return Gate(table.name, tuple(members.value), on)


def _slot(table: Table, earlier: Earlier, pool_of: PoolOf) -> Slot:
    name = table.name
    op_item = table.keys.get("op")
    if op_item is None:
        raise table.place.error(f"slot {name}: the key 'op' is missing")
    if not isinstance(op_item.value, str):
        raise op_item.error(f"slot {name}: op must be a name, got {shown(op_item.value)}")
    try:
        op = find(op_item.value)
    except KeyError:
        hint = f"{nearest(op_item.value, names())} (ops of your own: register them, or set {PLUGINS})"
        raise op_item.error(f"slot {name}: unknown op {shown(op_item.value)}{hint}") from None
    if op.library is not None:
        try:
            op.library()
        except OpError as error:
            raise op_item.error(f"slot {name}: op {op.name!r}: {error}") from None
    known = [column.name for column in op.columns]
    columns: list[tuple[str, Distribution]] = []
    pool = None
    if op.files is not None:
        files = table.keys.get(KEY)
        if files is None:
            raise table.place.error(f"slot {name}: the key {KEY!r} is missing: a file, a folder, or a list of them")
        pool = pool_of(files, op.files)
        which = table.keys.get(op.files.number)
        if which is None:
            column = op.column(op.files.number)
            any_of_them = earlier.reader(column, name, files.error).read({"integers": [1, len(pool)]})
            columns.append((column.name, any_of_them))
            earlier.add(f"{name}.{column.name}", column, any_of_them.bounds())
    for key, item in table.keys.items():
        if key == "op" or (key == KEY and pool is not None):
            continue
        if key not in known:
            raise item.error(f"slot {name}: unknown key {shown(key)}{nearest(key, known)}")
        reader = earlier.reader(op.column(key), name, item.error)
        columns.append((key, reader.read(item.value)))
        if op.apply_clip is not None and walks(columns[-1][1]):
            raise item.error(f"slot {name}: {key}: {op.name} has one value for a whole clip, which does not walk")
        earlier.add(f"{name}.{key}", op.column(key), columns[-1][1].bounds())
        if pool is not None and op.files is not None and key == op.files.number:
            most = columns[-1][1].bounds()[1]
            if most > len(pool):
                raise item.error(f"slot {name}: {key}: the files hold {len(pool)}, got {most:g}")
    given = dict(columns)
    if op.switch and op.switch not in given and not _acts(op, given).any():
        switch = op.column(op.switch)
        if op.switched_on is None or not given:
            raise _never_acts(table, op, op.switch)
        on = earlier.reader(switch, name, table.place.error).value(op.switched_on)
        earlier.add(f"{name}.{op.switch}", switch, (on, on))
        columns.append((op.switch, Constant(on)))
    fault = "" if op.fault is None else _first_fault(name, op, dict(columns))
    if fault:
        raise table.place.error(f"slot {name}: {fault}")
    missing = _missing(op, dict(columns))
    if missing:
        raise _never_acts(table, op, *missing)
    return Slot(name, op.name, tuple(columns), pool)


def _never_acts(table: Table, op: Op, *missing: str) -> SpaceError:
    """The refusal of a slot that leaves out what it needs."""

    def wanted(name: str) -> str:
        column = op.column(name)
        if column.choices:
            return f"{column.neutral!r} means off; give {name} a value such as {column.choices[1]!r}"
        return f"{column.neutral_value} means off; give {name} a value other than {column.neutral_value:g}"

    reasons = " and ".join(f"{name} is not given and {wanted(name)}" for name in missing)
    return table.place.error(f"slot {table.name}: it would never act, because {reasons}")


def _missing(op: Op, given: Mapping[str, Distribution]) -> list[str]:
    """Columns in effect that a slot must give to do anything, as few as can be. None where its switch says off."""
    switch = given.get(op.switch)
    if switch is not None and all(bound == op.column(op.switch).neutral_value for bound in switch.bounds()):
        return []
    if _acts(op, given).any():
        return []
    rows = _corners(op, given)
    in_effect = {**{column.name: np.ones(1, bool) for column in op.columns}, **op.active(rows)}
    needed = [name for name, effect in in_effect.items() if name not in given and effect.any()]
    if not _acts(op, given, needed).any():
        return []
    for name in needed[::-1]:
        fewer = [other for other in needed if other != name]
        if _acts(op, given, fewer).any():
            needed = fewer
    return needed


def _first_fault(slot: str, op: Op, given: Mapping[str, Distribution]) -> str:
    """What `op.fault` says of the first corner of the values that a slot can draw together; "" where it says nothing."""
    assert op.fault is not None
    corners: list[dict[str, float]] = [{}]
    for name in [*given, *(column.name for column in op.columns if column.name not in given)]:
        column = op.column(name)
        of = given.get(name, Constant(float(column.neutral_value)))
        corners = [{**known, f"{slot}.{name}": value} for known in corners for value in ends_of(of, known, column)]
        if len(corners) > _CORNERS:
            return ""
    for known in corners:
        values = {column.name: known[f"{slot}.{column.name}"] for column in op.columns}
        rows = {column.name: np.array([values[column.name]], column.dtype) for column in op.columns}
        if op.neutral(rows)[0]:
            continue
        # What has no effect is neutral by the time that the op sees it.
        active = op.active(rows)
        row: dict[str, Any] = {}
        for column in op.columns:
            acts = active.get(column.name, np.ones(1, bool))[0]
            value = values[column.name] if acts else float(column.neutral_value)
            row[column.name] = column.choices[int(value)] if column.choices else value
        fault = op.fault(row)
        if fault:
            return fault
    return ""


def ends_of(distribution: Distribution, known: Mapping[str, float], column: Column) -> list[float]:
    """Values at which a column that is drawn so may end, of names all of them, given values of earlier columns."""
    if isinstance(distribution, By):
        branches = distribution.branches(known.get(distribution.column))
        return _different(end for branch in branches for end in ends_of(branch, known, column))
    if isinstance(distribution, Mixture):
        parts = [part for part, weight in zip(distribution.parts, distribution.weights) if weight > 0]
        return _different(end for part in parts for end in ends_of(part, known, column))
    if isinstance(distribution, Schedule):
        return _different(end for stage in distribution.stages for end in ends_of(stage, known, column))
    if isinstance(distribution, Choice):
        return _different(value for value, weight in zip(distribution.values, distribution.weights) if weight > 0)
    low, high = distribution.bounds()
    if column.choices:
        return [float(code) for code in range(int(low), int(high) + 1)]
    return _different([low, high])


def _different(values: Iterable[float]) -> list[float]:
    return list(dict.fromkeys(values))


def _acts(op: Op, given: Mapping[str, Distribution], and_also: Collection[str] = ()) -> NDArray[np.bool_]:
    """Of every corner, whether a slot does something there."""
    rows = _corners(op, given, and_also)
    still = op.neutral(rows)
    return ~(still if op.idle is None else still | op.idle(rows))


def _corners(op: Op, given: Mapping[str, Distribution], and_also: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """Rows of every given choice, with every given number at the end of its range that is farther from the neutral value.
    Columns of `and_also` may hold anything, the others are neutral."""
    values: list[Iterable[float]] = []
    for column in op.columns:
        neutral = float(column.neutral_value)
        low, high = column.limits if column.name in and_also else (neutral, neutral)
        if column.name in given:
            low, high = given[column.name].bounds()
        ends = [max(low, high, key=lambda end: abs(end - neutral))]
        values.append(range(int(low), int(high) + 1) if column.choices else ends)
    rows = np.array(list(itertools.islice(itertools.product(*values), _CORNERS)), np.float64)
    return {column.name: rows[:, number].astype(column.dtype) for number, column in enumerate(op.columns)}


def order_of(document: Document, slots: tuple[Slot, ...]) -> Order | None:
    """The [order] table, or None without one."""
    table = document.order
    if not table:
        return None

    def fail(message: str, key: str = "") -> SpaceError:
        item = table.get(key) or next(iter(table.values()))
        return item.error(f"[order]: {message}")

    known_keys(table, ("choice", "weights", "shuffle", "before"), "[order]")
    names = [slot.name for slot in slots]
    if ("choice" in table) == ("shuffle" in table):
        raise fail("expected either choice or shuffle")
    kind = "choice" if "choice" in table else "shuffle"
    lists = table[kind].value
    if not isinstance(lists, list) or not lists or not all(isinstance(part, list) and part for part in lists):
        raise fail(f"expected a list of lists of slots, got {shown(lists)}", kind)
    for slot in (slot for part in lists for slot in part):
        if not isinstance(slot, str) or slot not in names:
            hint = nearest(slot, names) if isinstance(slot, str) else ""
            raise fail(f"unknown slot {shown(slot)}{hint}", kind)
    groups = tuple(tuple(part) for part in lists)
    if kind == "choice":
        if "before" in table:
            raise fail("before belongs to shuffle", "before")
        if any(sorted(group) != sorted(groups[0]) or len(set(group)) < len(group) for group in groups):
            raise fail(f"every choice must name the same slots once, got {shown(lists)}", kind)
        weights = table["weights"].value if "weights" in table else None
        return Order(
            choice=groups, weights=check_weights(weights, len(groups), lambda message: fail(message, "weights"))
        )
    if "weights" in table:
        raise fail("weights belong to choice", "weights")
    flat = [slot for group in groups for slot in group]
    if len(set(flat)) < len(flat):
        raise fail(f"every slot may be in one group only, got {shown(lists)}", kind)
    pairs = table["before"].value if "before" in table else []
    if not isinstance(pairs, list):
        raise fail(f"before must be a list of pairs of slots, got {shown(pairs)}", "before")
    for pair in pairs:
        names_two = isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
        if not names_two or any(name not in flat for name in pair):
            raise fail(f"before must list pairs of shuffled slots, got {shown(pair)}", "before")
    holder = {slot: group[0] for group in groups for slot in group}
    return Order(shuffle=groups, before=tuple((holder[first], holder[second]) for first, second in pairs))


def vectors_of(document: Document, slots: tuple[Slot, ...]) -> dict[str, dict[str, tuple[float, float]]]:
    """Ranges of degradation vectors, by scheme and column."""
    known = {f"{slot.name}.{column.name}" for slot in slots for column in find(slot.op).columns}
    vectors: dict[str, dict[str, tuple[float, float]]] = {}
    for scheme, ranges in document.vectors.items():
        vectors[scheme] = {}
        for name, item in ranges.items():
            if name not in known:
                raise item.error(f"[vector]: {scheme}: unknown column {shown(name)}{nearest(name, sorted(known))}")
            limits = item.value
            good = isinstance(limits, list) and len(limits) == 2 and all(map(is_number, limits))
            if not good or limits[0] >= limits[1]:
                raise item.error(f"[vector]: {scheme}: {name}: expected [low, high], got {shown(limits)}")
            vectors[scheme][name] = (float(limits[0]), float(limits[1]))
    if "dasr33" in vectors:
        filled = {slot.name for slot in slots}
        needed = [name for entry in TABLE if entry.slot in filled for name in entry.ranged]
        missing = [name for name in needed if name in known and name not in vectors["dasr33"]]
        if missing:
            raise document.error(f"[vector]: dasr33: no range for {missing[0]}", "vector", "dasr33")
    return vectors


def head_value(document: Document, key: str, kind: type, default: Any = None) -> Any:
    """A key of [space] of one type; without a default it must be there."""
    item = document.head.get(key)
    if item is None:
        if default is None:
            raise document.error(f"[space]: the key {key!r} is missing", "space")
        return default
    if not isinstance(item.value, kind) or isinstance(item.value, bool):
        raise item.error(f"[space]: {key} must be {kind.__name__}, got {shown(item.value)}")
    return item.value


def head_error(document: Document, key: str, message: str) -> SpaceError:
    """The error of a value of [space]."""
    item = document.head.get(key)
    return document.error(message, "space") if item is None else item.error(message)


def mixture_of(document: Document) -> tuple[Item, tuple[float, ...]]:
    """The list of names of [mixture] and its weights."""
    table = document.mixture
    known_keys(table, ("spaces", "weights"), "[mixture]")
    spaces = table.get("spaces")
    if spaces is None:
        raise document.error("[mixture]: the key 'spaces' is missing", "mixture")
    names = spaces.value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise spaces.error(f"[mixture]: spaces must be a list of names, got {shown(names)}")
    item = table.get("weights", spaces)
    weights = table["weights"].value if "weights" in table else None
    return spaces, check_weights(weights, len(names), lambda message: item.error(f"[mixture]: {message}"))


def scheduled(slots: tuple[Slot, ...], gates: tuple[Gate, ...]) -> bool:
    """Whether anything depends on the training step."""
    drawn = [distribution for slot in slots for _, distribution in slot.columns] + [gate.on for gate in gates]
    return any(is_scheduled(distribution) for distribution in drawn)


def walking(slots: tuple[Slot, ...]) -> bool:
    """Whether anything depends on the frame of a clip."""
    return any(walks(distribution) for slot in slots for _, distribution in slot.columns)

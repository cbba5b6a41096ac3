"""A space as flat tables: what csrc/core/columns.h draws tasks from, and where every column lies among the drawn values.

Tables are made once per space, and again when an op or a kind of distribution was registered since. Kinds that the
compiled module does not know, of a plugin or along training, stand between the tables as they are; `drawing` asks them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..native.rng import hash32
from ..ops.declaration import Column, Op, deciders_of
from ..ops.registry import find, registrations
from . import distributions as kinds
from .distribution_contract import Distribution
from .space import Space
from .space_reader import GATE_COLUMN, Order

Words = NDArray[np.int32]
"""Values of columns as they lie in memory: int32, or the bits of float32."""


@dataclass(frozen=True)
class OpColumns:
    """The columns of all slots of one op: rows first .. last - 1, column after column, each slot after slot.

    Attributes:
        op: its declaration.
        first, last: rows.
        places: short name -> number of the column, and whether it is float32.
    """

    op: Op
    first: int
    last: int
    places: Mapping[str, tuple[int, bool]]


@dataclass(frozen=True)
class Compiled:
    """Columns that the compiled module draws in one go; arrays as in `DrawColumnsArgs`."""

    hash: NDArray[np.uint32]
    draw: NDArray[np.uint32]
    columns: Words
    order: Words


@dataclass(frozen=True)
class Asked:
    """A column whose distribution draws it itself.

    Attributes:
        row: of the column. column: its declaration. distribution: of it.
        stream: name of its random numbers.
    """

    row: int
    column: Column
    distribution: Distribution
    stream: str


@dataclass(frozen=True)
class Settling:
    """Which columns have an effect, as the compiled module takes it; arrays as in `SettleColumnsArgs`.

    Attributes:
        asked: ops of which nothing is known but their `active`; here all their columns have an effect.
    """

    gates: Words
    slots: Words
    effects: NDArray[np.uint8]
    asked: tuple[OpColumns, ...]


@dataclass(frozen=True)
class Tables:
    """A space as arrays over rows, one for every column that a task can have: gates, then the columns of each op.

    Attributes:
        space: the space.
        registered: registrations when this was made.
        rows: full name -> row, and whether it is float32.
        neutral: [R, 1] neutral values.
        ops: columns by op.
        drawn: full name -> place among the columns that are drawn, in their order, and whether it is float32.
        drawn_rows: [D] their rows.
        nodes, children, numbers: of all distributions and the order, as in `DrawColumnsArgs`.
        steps: what draws the columns, in order.
        asks_walks: whether columns that walk are asked; else they are drawn as those of first frames.
        components: tables of a mixture's spaces.
        component_rows: of each component, the row here of each of its rows.
        component_slots: of each component, the number here of each of its slots.
        component_edges: where the next component begins in [0, 1).
    """

    space: Space
    registered: int
    rows: Mapping[str, tuple[int, bool]]
    neutral: Words
    ops: tuple[OpColumns, ...]
    drawn: Mapping[str, tuple[int, bool]]
    drawn_rows: NDArray[np.int64]
    nodes: Words
    children: Words
    numbers: NDArray[np.float64]
    steps: tuple[Compiled | Asked, ...]
    asks_walks: bool
    components: tuple[Tables, ...]
    component_rows: tuple[NDArray[np.int64], ...]
    component_slots: tuple[NDArray[np.int8], ...]
    component_edges: NDArray[np.float64]

    @cached_property
    def gates(self) -> int:
        """How many rows belong to gates; they come first."""
        return len(self.space.gate_names)

    @cached_property
    def walking(self) -> Tables:
        """The tables for rows among which are later frames of clips."""
        return self if self.asks_walks else _tables(self.space, asks_walks=True)

    @cached_property
    def settling(self) -> Settling:
        return _settling(self)


def tables_of(space: Space) -> Tables:
    """The tables of a space, kept with it."""
    found: Tables | None = vars(space).get(Space.TABLES)
    if found is None or found.registered != registrations():
        found = _tables(space)
        vars(space)[Space.TABLES] = found
    return found


def _tables(space: Space, asks_walks: bool = False) -> Tables:
    registered = registrations()
    rows: dict[str, tuple[int, bool]] = {}
    neutral: list[int] = []

    def add(name: str, column: Column) -> None:
        rows[name] = len(rows), column.dtype == np.float32
        neutral.append(int(np.asarray(column.neutral_value, column.dtype).view(np.int32)))

    for gate in space.gate_names:
        add(f"{gate}.{GATE_COLUMN.name}", GATE_COLUMN)
    ops = []
    for name in dict.fromkeys(slot.op for slot in space.slots):
        op, first = find(name), len(rows)
        numbers = [number for number, slot in enumerate(space.slots) if slot.op == name]
        for column in op.columns:
            for number in numbers:
                add(f"{space.slots[number].name}.{column.name}", column)
        places = {column.name: (place, column.dtype == np.float32) for place, column in enumerate(op.columns)}
        ops.append(OpColumns(op, first, len(rows), places))

    components = tuple(tables_of(part) for part in space.components)
    components = tuple(part.walking for part in components) if asks_walks else components
    slots = [slot.name for slot in space.slots]
    compiler = _Compiler(rows, asks_walks)
    steps = () if components else compiler.steps(space)
    declared = [name for part in components for name in part.drawn] if components else compiler.declared
    drawn = {name: (place, rows[name][1]) for place, name in enumerate(dict.fromkeys(declared))}
    return Tables(
        space=space,
        registered=registered,
        rows=rows,
        neutral=np.array(neutral, np.int32).reshape(-1, 1),
        ops=tuple(ops),
        drawn=drawn,
        drawn_rows=np.array([rows[name][0] for name in drawn], np.int64),
        nodes=np.array(compiler.nodes, np.int32).reshape(-1),
        children=np.array(compiler.children, np.int32),
        numbers=np.array(compiler.numbers, np.float64),
        steps=steps,
        asks_walks=asks_walks,
        components=components,
        component_rows=tuple(np.array([rows[name][0] for name in part.rows], np.int64) for part in components),
        component_slots=tuple(
            np.array([slots.index(slot.name) for slot in part.space.slots], np.int8) for part in components
        ),
        component_edges=np.cumsum(np.asarray(space.weights, np.float64))[:-1],
    )


def _settling(tables: Tables) -> Settling:
    space = tables.space
    names = [slot.name for slot in space.slots]
    gates: list[int] = []
    for number, part in enumerate(space.components or (space,)):
        for gate in part.gates:
            closed = [names.index(slot) for slot in gate.slots]
            gates += [number, tables.rows[f"{gate.name}.{GATE_COLUMN.name}"][0], len(closed), *closed]
    slots: list[int] = []
    effects: list[NDArray[np.uint8]] = []
    asked = []
    first = 0
    for part_columns in tables.ops:
        op = part_columns.op
        deciders = deciders_of(op.active)
        if deciders is None:
            asked.append(part_columns)
            deciders = ()
            table = np.ones(len(op.columns), np.uint8)
        else:
            table = effects_of(op, deciders)
        for number, name in enumerate(names):
            if space.slots[number].op != op.name:
                continue
            slots += [number, len(deciders), len(op.columns), first]
            for decider in deciders:
                row, is_real = tables.rows[f"{name}.{decider}"]
                slots += [row, len(op.column(decider).choices) or (_BY_REAL if is_real else _BY_INTEGER)]
            slots += [tables.rows[f"{name}.{column.name}"][0] for column in op.columns]
        effects.append(table)
        first += len(table)
    return Settling(
        np.array(gates, np.int32),
        np.array(slots, np.int32),
        np.concatenate([np.empty(0, np.uint8), *effects]),
        tuple(asked),
    )


def effects_of(op: Op, deciders: Sequence[str]) -> NDArray[np.uint8]:
    """Whether each column of an op has an effect, case after case of what its columns are `decided_by`, the last fastest:
    codes of a choice, else neutral and not neutral."""
    known = [op.column(name) for name in deciders]
    sides = [len(column.choices) or 2 for column in known]
    count = math.prod(sides)
    cases = np.indices(sides).reshape(len(known), count)
    columns = {column.name: np.full(count, column.neutral_value, column.dtype) for column in op.columns}
    for column, case in zip(known, cases):
        other = column.high if column.neutral_value != column.high else column.low
        values = case if column.choices else np.where(case == 0, column.neutral_value, other)
        columns[column.name] = values.astype(column.dtype)
    active = op.active(columns)
    everywhere = np.ones(count, bool)
    return np.stack([active.get(column.name, everywhere) for column in op.columns], 1).astype(np.uint8).reshape(-1)


class _Compiler:
    """Nodes of distributions, children before their parents, as csrc/core/columns.h takes them."""

    def __init__(self, rows: Mapping[str, tuple[int, bool]], asks_walks: bool) -> None:
        self.rows = rows
        self.asks_walks = asks_walks
        self.nodes: list[tuple[int, ...]] = []
        self.children: list[int] = []
        self.numbers: list[float] = []
        self.declared: list[str] = []

    def steps(self, space: Space) -> tuple[Compiled | Asked, ...]:
        """What draws the columns of a space that is no mixture, in declared order, and the order of its slots."""
        gates = [(gate.name, GATE_COLUMN, gate.on) for gate in space.gates]
        slots = [
            (slot.name, find(slot.op).column(name), distribution)
            for slot in space.slots
            for name, distribution in slot.columns
        ]
        steps: list[Compiled | Asked] = []
        run = _Run()
        for slot, column, distribution in gates + slots:
            name = f"{slot}.{column.name}"
            self.declared.append(name)
            stream = distribution.stream(slot, column.name)
            node = self.node(distribution)
            row, is_real = self.rows[name]
            if node is not None:
                run.add(node, row, stream, distribution.draws(), is_real)
                continue
            if run.columns:
                steps.append(run.compiled([]))
                run = _Run()
            steps.append(Asked(row, column, distribution, stream))
        steps.append(run.compiled(self.order(space, run)))
        return tuple(steps)

    def node(self, distribution: Distribution) -> int | None:
        """Number of the node of a distribution; None where the compiled module cannot draw it."""
        if isinstance(distribution, kinds.Walk):
            # Where it rounds what its base gives, its first value is not its base's.
            whole = not distribution.round or kinds.gives_whole(distribution.base)
            return self.node(distribution.base) if whole and not self.asks_walks else None
        kind = type(distribution)
        if kind not in _KINDS:
            return None
        code, numbers_of = _KINDS[kind]
        parts: list[Distribution] = []
        numbers: list[float] = [float(number) for number in numbers_of(distribution)]
        count = option = 0
        source, source_is_real = -1, False
        if isinstance(distribution, kinds.Uniform):
            option = int(distribution.round)
        elif isinstance(distribution, kinds.SqrtUniformUpTo):
            source, source_is_real = self.rows[distribution.column]
        elif isinstance(distribution, kinds.Choice):
            count = len(distribution.values)
        elif isinstance(distribution, kinds.Mixture):
            count, parts = len(distribution.parts), list(distribution.parts)
        elif isinstance(distribution, kinds.By):
            source, source_is_real = self.rows[distribution.column]
            dtype = np.float32 if source_is_real else np.int32
            numbers = [float(np.asarray(value).astype(dtype)) for value, _ in distribution.cases]
            count, option = len(distribution.cases), int(distribution.default is not None)
            parts = [part for _, part in distribution.cases]
            parts += [] if distribution.default is None else [distribution.default]
        elif isinstance(distribution, kinds.BsrganCovariance):
            i, j = kinds.COVARIANCE_ENTRIES[distribution.entry]
            option = 3 * i + j
        children = [self.node(part) for part in parts]
        if None in children:
            return None
        node = (code, self._place(numbers), len(self.children), count, option, source, int(source_is_real))
        self.children += [child for child in children if child is not None]
        self.nodes.append(node)
        return len(self.nodes) - 1

    def order(self, space: Space, run: _Run) -> list[int]:
        """The order of a space as `DrawColumnsArgs` takes it."""
        names = [slot.name for slot in space.slots]
        order = space.order or Order()
        if not order.shuffle:
            table = list(range(len(names)))
            if not order.choice:
                return [1, len(names), 0, 0, *table] if names else []
            places = sorted(names.index(name) for name in order.choice[0])
            flat: list[int] = []
            for option in order.choice:
                for place, name in zip(places, option):
                    table[place] = names.index(name)
                flat += table
            edges = self._place(_edges(order.weights))
            return [len(order.choice), len(names), edges, run.uniforms("order", 1), *flat]
        shuffled = {name for group in order.shuffle for name in group}
        start = min(names.index(name) for name in shuffled)
        rest = [number for number, name in enumerate(names) if number >= start and name not in shuffled]
        groups = [[len(group), *(names.index(name) for name in group)] for group in order.shuffle]
        firsts = [group[0] for group in order.shuffle]
        pairs = [firsts.index(name) for pair in order.before for name in pair]
        uniform = run.uniforms("order", len(groups) - 1)
        head = [0, len(names), len(groups), uniform, len(order.before), start, *range(start)]
        return [*head, *(number for group in groups for number in group), *rest, *pairs]

    def _place(self, numbers: Sequence[float]) -> int:
        self.numbers += numbers
        return len(self.numbers) - len(numbers)


class _Run:
    """Columns that the compiled module draws one after the other, and the uniforms they take."""

    def __init__(self) -> None:
        self.columns: list[tuple[int, int, int, int]] = []
        self.draws: list[tuple[str, int]] = []
        self.first: dict[str, int] = {}

    def add(self, node: int, row: int, stream: str, draws: int, is_real: bool) -> None:
        self.columns.append((node, row, self.uniforms(stream, draws), int(is_real)))

    def uniforms(self, stream: str, draws: int) -> int:
        """Where the uniforms of a stream begin."""
        if stream not in self.first:
            self.first[stream] = len(self.draws)
            self.draws += [(stream, number) for number in range(draws)]
        return self.first[stream]

    def compiled(self, order: list[int]) -> Compiled:
        return Compiled(
            np.array([hash32(stream) for stream, _ in self.draws], np.uint32),
            np.array([number for _, number in self.draws], np.uint32),
            np.array(self.columns, np.int32).reshape(-1),
            np.array(order, np.int32),
        )


def _edges(weights: tuple[float, ...]) -> list[float]:
    """Where each part of [0, 1) ends, but the last."""
    edges: list[float] = np.cumsum(np.asarray(weights, np.float64))[:-1].tolist()
    return edges


# Of each kind that the compiled module draws: NodeKind, and the numbers that stand behind `first_number`.
_KINDS: Mapping[type[Distribution], tuple[int, Any]] = {
    kinds.Constant: (0, lambda of: (of.value,)),
    kinds.Uniform: (1, lambda of: (of.low, of.high - of.low)),
    kinds.LogUniform: (2, lambda of: (of.low, of.high, of.span_log2)),
    kinds.ReciprocalUniform: (3, lambda of: (of.low, of.high - of.low)),
    kinds.SqrtUniform: (4, lambda of: (of.low, of.high - of.low)),
    kinds.SqrtUniformUpTo: (5, lambda of: (of.low,)),
    kinds.Integers: (6, lambda of: (of.low, of.step, (of.high - of.low) // of.step + 1)),
    kinds.Choice: (7, lambda of: (*_edges(of.weights), *of.values)),
    kinds.Mixture: (8, lambda of: _edges(of.weights)),
    kinds.By: (9, lambda of: ()),
    kinds.BsrganCovariance: (10, lambda of: (of.limit_8bit**2,)),
}

_BY_INTEGER, _BY_REAL = 0, -1
"""Cases of a decider that is no choice: `kByInteger`, `kByReal`."""

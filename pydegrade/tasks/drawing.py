"""From a space, seeds and sample numbers to raw columns and running orders: a pure function, O(1) per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..native.rng import uniforms
from ..ops.declaration import Column
from .distribution_contract import Distribution, Known
from .rows import Rows
from .space import Space
from .space_reader import Order

# Rows drawn at once: their uniforms stay in a core's cache.
_CHUNK = 4096


def draw(
    space: Space, seeds: NDArray[np.int64], indices: NDArray[np.int64], steps: NDArray[np.int64] | None = None
) -> Rows:
    """All columns of the given samples, int64 [B] each, as drawn: columns that have no effect hold their draw too, and
    slots of closed gates are in the program."""
    steps = np.zeros(len(indices), np.int64) if steps is None else steps
    parts, order = [], []
    for seed in np.unique(seeds) if len(seeds) else [0]:
        rows = np.nonzero(seeds == seed)[0]
        parts.append(_draw(space, int(seed), np.ascontiguousarray(indices[rows]), steps[rows]))
        order.append(rows)
    if len(parts) == 1:
        return parts[0]
    whole = Rows(
        space,
        np.concatenate([part.component for part in parts]),
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        np.concatenate([part.program for part in parts]),
    )
    return whole.take(np.argsort(np.concatenate(order)))


def _draw(space: Space, seed: int, indices: NDArray[np.int64], steps: NDArray[np.int64]) -> Rows:
    """`draw` for one seed."""
    if space.components:
        return _draw_mixture(space, seed, indices, steps)
    declared: list[tuple[str, Distribution, Column]] = [
        (f"{gate.name}.on", gate.on, space.column(f"{gate.name}.on")) for gate in space.gates
    ]
    for slot in space.slots:
        op = space.op(slot.name)
        declared += [(f"{slot.name}.{name}", distribution, op.column(name)) for name, distribution in slot.columns]
    columns = {name: np.empty(len(indices), column.dtype) for name, _, column in declared}
    program = np.empty((len(indices), len(space.slots)), np.int8)

    # Which named draws are needed, and where each column finds its own.
    draws: list[tuple[str, int]] = []
    span: dict[str, slice] = {}
    stream: dict[str, str] = {}
    for name, distribution, _ in declared:
        stream[name] = distribution.stream(*name.split("."))
        if stream[name] not in span:
            first = len(draws)
            draws += [(stream[name], number) for number in range(distribution.draws())]
            span[stream[name]] = slice(first, len(draws))
    order_at = len(draws)
    draws += [("order", number) for number in range(_order_draws(space.order))]

    for begin in range(0, len(indices), _CHUNK):
        rows = slice(begin, min(begin + _CHUNK, len(indices)))
        u = uniforms(seed, indices[rows], draws)
        columns_here: dict[str, NDArray[Any]] = {}
        known = Known(columns_here, steps[rows])
        prepared: dict[str, NDArray[np.float64]] = {}
        for name, distribution, column in declared:
            if stream[name] not in prepared:
                prepared[stream[name]] = distribution.prepare(u[:, span[stream[name]]])
            columns_here[name] = distribution.evaluate(prepared[stream[name]], known).astype(column.dtype)
            columns[name][rows] = columns_here[name]
        program[rows] = _programs(space, u[:, order_at:])
    return Rows(space, np.zeros(len(indices), np.int32), columns, program)


def _draw_mixture(space: Space, seed: int, indices: NDArray[np.int64], steps: NDArray[np.int64]) -> Rows:
    """Each sample from the component it falls into; slots the component lacks are absent and neutral."""
    u = uniforms(seed, indices, [("mixture.component", 0)])[:, 0]
    component = np.searchsorted(np.cumsum(space.weights)[:-1], u, side="right").astype(np.int32)
    names = [slot.name for slot in space.slots]
    columns: dict[str, NDArray[Any]] = {}
    program = np.full((len(indices), len(names)), -1, np.int8)
    for number, part in enumerate(space.components):
        rows = np.nonzero(component == number)[0]
        drawn = _draw(part, seed, np.ascontiguousarray(indices[rows]), steps[rows])
        for name, values in drawn.columns.items():
            if name not in columns:
                column = space.column(name)
                columns[name] = np.full(len(indices), column.neutral_value, column.dtype)
            columns[name][rows] = values
        renumbered = np.array([names.index(slot.name) for slot in part.slots], np.int8)
        program[rows[:, None], np.arange(drawn.program.shape[1])] = renumbered[drawn.program]
    return Rows(space, component, columns, program)


def _order_draws(order: Order | None) -> int:
    if order is None:
        return 0
    return 1 if order.choice else len(order.shuffle) - 1


def _programs(space: Space, u: NDArray[np.float64]) -> NDArray[np.int8]:
    """Running order of each row."""
    names = [slot.name for slot in space.slots]
    program = np.tile(np.arange(len(names), dtype=np.int8), (len(u), 1))
    order = space.order
    if order is None:
        return program
    if order.choice:
        chosen = np.searchsorted(np.cumsum(order.weights)[:-1], u[:, 0], side="right")
        places = sorted(names.index(name) for name in order.choice[0])
        table = np.array([[names.index(name) for name in option] for option in order.choice], np.int8)
        program[:, places] = table[chosen]
        return program

    # Fisher-Yates over the groups, then the pairs that must keep their order.
    count = len(order.shuffle)
    groups = np.tile(np.arange(count), (len(u), 1))
    rows = np.arange(len(u))
    for step, last in enumerate(range(count - 1, 0, -1)):
        other = np.minimum((u[:, step] * (last + 1)).astype(np.int64), last)
        groups[rows, last], groups[rows, other] = groups[rows, other], groups[rows, last]
    firsts = [group[0] for group in order.shuffle]
    for first, second in order.before:
        at_first = np.argmax(groups == firsts.index(first), axis=1)
        at_second = np.argmax(groups == firsts.index(second), axis=1)
        wrong = np.nonzero(at_second < at_first)[0]
        groups[wrong, at_first[wrong]], groups[wrong, at_second[wrong]] = (
            groups[wrong, at_second[wrong]],
            groups[wrong, at_first[wrong]],
        )

    # Groups of different lengths: each slot's key is (place of its group, place within the group).
    key = np.tile(np.arange(len(names), dtype=np.float64), (len(u), 1))
    shuffled = [names.index(name) for group in order.shuffle for name in group]
    start = min(shuffled)
    rank = np.argsort(groups, axis=1)
    for number, group in enumerate(order.shuffle):
        for within, name in enumerate(group):
            key[:, names.index(name)] = start + (rank[:, number] + within / (len(group) + 1)) / (count + 1)
    return np.argsort(key, axis=1, kind="stable").astype(np.int8)

"""From a space, a seed and sample numbers to raw columns and running orders: a pure function, O(1) per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..native.rng import uniforms
from .distributions import BsrganCovariance, evaluate, levels
from .space import Order, Space

# Rows drawn at once: their uniforms stay in a core's cache.
_CHUNK = 4096


@dataclass(frozen=True)
class Drawn:
    """Raw draws of N samples.

    Attributes:
        columns: by full name, [N] each, in the column's dtype; columns that have no effect still hold what was drawn.
        program: int8 [N, K], slot numbers in running order, -1 at the end where a row has fewer slots.
        component: int32 [N], which space of a mixture; 0 otherwise.
    """

    columns: dict[str, NDArray[Any]]
    program: NDArray[np.int8]
    component: NDArray[np.int32]


def draw(space: Space, seed: int, indices: NDArray[np.int64]) -> Drawn:
    """All columns of the given samples."""
    if space.components:
        return _draw_mixture(space, seed, indices)
    declared = [
        (f"{slot.name}.{name}", distribution, space.column(f"{slot.name}.{name}").dtype)
        for slot in space.slots
        for name, distribution in slot.columns
    ]
    columns = {name: np.empty(len(indices), dtype) for name, _, dtype in declared}
    program = np.empty((len(indices), len(space.slots)), np.int8)

    # Which named draws are needed, and where each column finds its own.
    draws: list[tuple[str, int]] = []
    places: dict[str, int] = {}
    span: dict[str, slice] = {}
    for name, distribution, _ in declared:
        # The six entries of a covariance share one set of draws.
        stream = f"{name.split('.')[0]}.covariance" if isinstance(distribution, BsrganCovariance) else name
        if stream not in places:
            places[stream] = len(draws)
            draws += [(stream, number) for number in range(levels(distribution))]
        span[name] = slice(places[stream], places[stream] + levels(distribution))
    order_at = len(draws)
    draws += [("order", number) for number in range(_order_draws(space.order))]

    for begin in range(0, len(indices), _CHUNK):
        rows = slice(begin, min(begin + _CHUNK, len(indices)))
        u = uniforms(seed, indices[rows], draws)
        known: dict[str, NDArray[Any]] = {}
        for name, distribution, dtype in declared:
            known[name] = evaluate(distribution, u[:, span[name]], known).astype(dtype)
            columns[name][rows] = known[name]
        program[rows] = _programs(space, u[:, order_at:])
    return Drawn(columns, program, np.zeros(len(indices), np.int32))


def _draw_mixture(space: Space, seed: int, indices: NDArray[np.int64]) -> Drawn:
    """Each sample from the component it falls into; slots the component lacks are absent and neutral."""
    u = uniforms(seed, indices, [("mixture.component", 0)])[:, 0]
    component = np.searchsorted(np.cumsum(space.weights)[:-1], u, side="right").astype(np.int32)
    names = [slot.name for slot in space.slots]
    columns: dict[str, NDArray[Any]] = {}
    program = np.full((len(indices), len(names)), -1, np.int8)
    for number, part in enumerate(space.components):
        rows = np.nonzero(component == number)[0]
        drawn = draw(part, seed, np.ascontiguousarray(indices[rows]))
        for name, values in drawn.columns.items():
            if name not in columns:
                column = space.column(name)
                columns[name] = np.full(len(indices), column.neutral_value, column.dtype)
            columns[name][rows] = values
        renumbered = np.array([names.index(slot.name) for slot in part.slots], np.int8)
        program[rows[:, None], np.arange(drawn.program.shape[1])] = renumbered[drawn.program]
    return Drawn(columns, program, component)


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

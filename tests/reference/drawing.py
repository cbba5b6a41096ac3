"""Tasks drawn column by column with the classes of `pydegrade.tasks.distributions`, and orders by NumPy: what tables and
the compiled module must give bit for bit. Effects of columns are taken slot by slot."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydegrade.native.rng import uniforms
from pydegrade.tasks.distribution_contract import Known


def drawn(space, seed: int, indices, steps, frames=None):
    """(columns by full name in declared order, programs [N, K], components [N]) as the space draws them."""
    if space.components:
        return _mixture(space, seed, indices, steps, frames)
    declared = [(f"{gate.name}.on", gate.on) for gate in space.gates]
    declared += [(f"{slot.name}.{name}", distribution) for slot in space.slots for name, distribution in slot.columns]
    columns: dict[str, Any] = {}
    for name, distribution in declared:
        stream = distribution.stream(*name.split("."))
        count = distribution.draws() + (0 if frames is None else int(frames.max()))
        u = uniforms(seed, indices, [(stream, number) for number in range(count)])
        values = distribution.evaluate(distribution.prepare(u), Known(columns, steps, frames))
        columns[name] = values.astype(space.column(name).dtype)
    return columns, np.array([_program(space, seed, index) for index in indices], np.int8), np.zeros(len(indices), int)


def _mixture(space, seed, indices, steps, frames):
    u = uniforms(seed, indices, [("mixture.component", 0)])[:, 0]
    component = (u[:, None] >= np.cumsum(space.weights)[None, :-1]).sum(axis=1)
    names = [slot.name for slot in space.slots]
    columns: dict[str, Any] = {}
    program = np.full((len(indices), len(names)), -1, np.int8)
    for number, part in enumerate(space.components):
        own, orders, _ = drawn(part, seed, indices, steps, frames)
        here = component == number
        for name, values in own.items():
            column = space.column(name)
            neutral = np.full(len(indices), column.neutral_value, column.dtype)
            columns[name] = np.where(here, values, columns.get(name, neutral))
        for row in np.nonzero(here)[0]:
            program[row, : orders.shape[1]] = [names.index(part.slots[slot].name) for slot in orders[row]]
    return columns, program, component


def _program(space, seed: int, index: int) -> list[int]:
    """Slots of one sample in running order."""
    names = [slot.name for slot in space.slots]
    order = space.order
    if order is None:
        return list(range(len(names)))

    def uniform(number: int) -> float:
        return float(uniforms(seed, np.array([index]), [("order", number)])[0, 0])

    if order.choice:
        chosen = order.choice[int((uniform(0) >= np.cumsum(order.weights)[:-1]).sum())]
        queue = iter(chosen)
        return [names.index(next(queue) if name in chosen else name) for name in names]
    groups = list(order.shuffle)
    for step, last in enumerate(range(len(groups) - 1, 0, -1)):
        other = min(int(uniform(step) * (last + 1)), last)
        groups[last], groups[other] = groups[other], groups[last]
    for pair in order.before:
        first, second = (next(at for at, group in enumerate(groups) if name == group[0]) for name in pair)
        if second < first:
            groups[first], groups[second] = groups[second], groups[first]
    shuffled = [name for group in groups for name in group]
    start = min(names.index(name) for name in shuffled)
    rest = [name for name in names[start:] if name not in shuffled]
    return [names.index(name) for name in names[:start] + shuffled + rest]


def with_effect(space, columns, program, component):
    """(columns with neutral values where they have no effect, programs without closed gates) of what `drawn` gives."""
    names = [slot.name for slot in space.slots]
    parts = space.components or (space,)
    kept = []
    for row, part in zip(range(len(program)), component):
        closed = {slot for gate in parts[part].gates if columns[f"{gate.name}.on"][row] == 0 for slot in gate.slots}
        running = [slot for slot in program[row] if slot >= 0 and names[slot] not in closed]
        kept.append(running + [-1] * (len(names) - len(running)))
    running = np.array(kept, np.int8).reshape(program.shape)
    found = {}
    for slot in space.slots:
        op = space.op(slot.name)
        present = (running == names.index(slot.name)).any(axis=1)
        own = {}
        for column in op.columns:
            neutral = np.full(len(program), column.neutral_value, column.dtype)
            own[column.name] = columns.get(f"{slot.name}.{column.name}", neutral)
        active = op.active(own)
        for column in op.columns:
            neutral = np.asarray(column.neutral_value, column.dtype)
            found[f"{slot.name}.{column.name}"] = np.where(
                present & active.get(column.name, present), own[column.name], neutral
            )
    for gate in space.gate_names:
        has = np.array([any(own.name == gate for own in parts[part].gates) for part in component], bool)
        found[f"{gate}.on"] = np.where(has, columns[f"{gate}.on"], np.int32(1))
    return {name: found[name] for name in columns}, running

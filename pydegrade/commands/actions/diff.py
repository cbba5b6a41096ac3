"""Two spaces side by side: what their texts say differently, and what tasks of the same seed and numbers come to."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...ops.declaration import BoolArray, Column
from ...tasks.distributions import content
from ...tasks.space import Space
from ...tasks.space_reader import Slot
from ...tasks.space_text import Source, inline, read
from ...tasks.task import TaskBatch

_WIDTH = 80
"""Characters of a line."""
_NAME = 30
"""Characters of the name of what is compared; both sides share the rest."""
_CELL = (_WIDTH - _NAME) // 2
_MOST_LABELS = 12


@dataclass(frozen=True)
class Difference:
    """What two spaces say differently: the name of a setting, and the text of each; "" where a space does not say it."""

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class Side:
    """A slot or a column in the tasks of one space.

    Attributes:
        share: of the tasks in which the slot acts, 0 to 1.
        values: float32 or int32 [n], the column's in those tasks in which it has an effect; none for a slot.
        rows: int64 [n], which tasks these are.
    """

    share: float
    values: NDArray[Any]
    rows: NDArray[np.int64]

    def same(self, other: Side) -> bool:
        return (
            self.share == other.share
            and np.array_equal(self.rows, other.rows)
            and np.array_equal(self.values, other.values)
        )


@dataclass(frozen=True)
class Marginal:
    """A slot, or a column of it, in the tasks of both spaces.

    Attributes:
        slot, op: of the column.
        column: declaration; None for the slot itself.
        a, b: None where the space does not have the slot, or has another op in it.
    """

    slot: str
    op: str
    column: Column | None
    a: Side | None
    b: Side | None

    @property
    def name(self) -> str:
        return self.slot if self.column is None else f"{self.slot}.{self.column.name}"

    @property
    def equal(self) -> bool:
        """Whether the tasks of both have the same values in the same places."""
        return self.a is not None and self.b is not None and self.a.same(self.b)


# ---- What the texts say


def differences(a: Space, b: Space) -> list[Difference]:
    """Settings of two spaces that are not equal, in the order of the first's text, then of what only the second has."""
    found = [
        Difference(name, str(one), str(two))
        for name, one, two in (
            ("scale", a.scale, b.scale),
            ("target", a.target, b.target),
            ("hr_px", a.hr_px, b.hr_px),
        )
        if one != two
    ]
    return [*found, *_parameters(a, b, "")]


def _parameters(a: Space, b: Space, prefix: str) -> Iterator[Difference]:
    if a.digest == b.digest:
        return
    if a.components or b.components:
        yield from _components(a, b)
        return
    words = _words(a), _words(b)
    slots = [slot.name for slot in a.slots], [slot.name for slot in b.slots]
    for name in dict.fromkeys([*slots[0], *slots[1]]):
        one, two = _slot(a, name), _slot(b, name)
        if one is None or two is None or one.op != two.op:
            yield Difference(f"{prefix}{name}", *("" if slot is None else slot.op for slot in (one, two)))
            continue
        if (one.pool and one.pool.name) != (two.pool and two.pool.name):
            yield Difference(f"{prefix}{name}.files", *("" if s.pool is None else s.pool.name for s in (one, two)))
        drawn = dict(one.columns), dict(two.columns)
        for column in dict.fromkeys([*drawn[0], *drawn[1]]):
            kept = [None if column not in side else content(side[column], column) for side in drawn]
            if kept[0] != kept[1]:
                texts = [
                    _neutral(a.op(name).column(column))
                    if column not in side
                    else said.get(f"{name}.{column}", str(side[column]))
                    for side, said in zip(drawn, words)
                ]
                yield Difference(f"{prefix}{name}.{column}", *texts)
    shared = [[name for name in own if name in slots[0] and name in slots[1]] for own in slots]
    if shared[0] != shared[1]:
        yield Difference(f"{prefix}order of slots", *(", ".join(own) for own in shared))
    for name in dict.fromkeys([*words[0], *words[1]]):
        if name.startswith(_WHOLE) and words[0].get(name, "") != words[1].get(name, ""):
            yield Difference(f"{prefix}{name}", words[0].get(name, ""), words[1].get(name, ""))
    for name, one_text, two_text in _vectors(a, b):
        yield Difference(f"{prefix}{name}", one_text, two_text)


def _components(a: Space, b: Space) -> Iterator[Difference]:
    """Of mixtures: shares of components, and what differs in those that both have. A space is a mixture of itself."""
    shares = [
        dict(zip([part.name for part in space.components or (space,)], space.weights or (1.0,))) for space in (a, b)
    ]
    parts = [{part.name: part for part in space.components or (space,)} for space in (a, b)]
    for name in dict.fromkeys([*parts[0], *parts[1]]):
        texts = [f"{share[name]:g}" if name in share else "" for share in shares]
        if texts[0] != texts[1]:
            yield Difference(f"share of {name}", *texts)
        if name in parts[0] and name in parts[1]:
            yield from _parameters(parts[0][name], parts[1][name], f"{name}: ")


_WHOLE = ("gate ", "order ")
"""How the names of tables begin that are compared as they are written."""


def _words(space: Space) -> dict[str, str]:
    """By name what the text of a space says of its columns, gates and orders, one line each."""
    document = read(Source(space.text, space.name))
    words = {f"{slot.name}.{key}": inline(item.value) for slot in document.slots for key, item in slot.keys.items()}
    for gate in document.gates:
        words |= {f"gate {gate.name}.{key}": inline(item.value) for key, item in gate.keys.items()}
    words |= {f"order {key}": inline(item.value) for key, item in document.order.items()}
    return words


def _vectors(a: Space, b: Space) -> Iterator[tuple[str, str, str]]:
    """Ranges of degradation vectors: a scheme that one of them lacks in one line, else every range that differs."""
    for scheme in dict.fromkeys([*a.vectors, *b.vectors]):
        one, two = a.vectors.get(scheme), b.vectors.get(scheme)
        if one is None or two is None:
            texts = ["" if side is None else f"{len(side)} ranges" for side in (one, two)]
            yield f"vector {scheme}", texts[0], texts[1]
            continue
        for key in dict.fromkeys([*one, *two]):
            texts = ["" if key not in side else inline(list(side[key])) for side in (one, two)]
            if texts[0] != texts[1]:
                yield f"vector {scheme}.{key}", texts[0], texts[1]


def _slot(space: Space, name: str) -> Slot | None:
    return next((slot for slot in space.slots if slot.name == name), None)


def _neutral(column: Column) -> str:
    """What a column is that a space does not draw."""
    value = column.neutral_value
    return f"{column.choices[int(value)] if column.choices else f'{value:g}'} (not drawn)"


# ---- What is drawn


def marginals(a: TaskBatch, b: TaskBatch) -> list[Marginal]:
    """Slots and drawn columns of two batches of tasks: those of the first in its order, then what only the second has.

    Equal columns of tasks of the same seed and numbers have equal values, since each is drawn by its name.
    """
    found = []
    slots = {(slot.name, slot.op): None for tasks in (a, b) for slot in tasks.space.slots}
    for name, op in slots:
        sides = [tasks if any((s.name, s.op) == (name, op) for s in tasks.space.slots) else None for tasks in (a, b)]
        acts = [None if tasks is None else tasks.present(name) & ~tasks.neutral(name) for tasks in sides]
        found.append(Marginal(name, op, None, *(None if act is None else _acting(act) for act in acts)))
        for column in next(tasks for tasks in sides if tasks is not None).space.op(name).columns:
            full = f"{name}.{column.name}"
            if any(tasks is not None and full in tasks.space.drawn_columns for tasks in sides):
                values = [None if t is None or act is None else _values(t, full, act) for t, act in zip(sides, acts)]
                found.append(Marginal(name, op, column, *values))
    return found


def _acting(acts: BoolArray) -> Side:
    return Side(float(acts.mean()), np.zeros(0, np.float32), np.nonzero(acts)[0])


def _values(tasks: TaskBatch, name: str, acts: BoolArray) -> Side:
    rows = np.nonzero(acts & tasks.mask(name))[0]
    return Side(float(acts.mean()), tasks.column(name)[rows], rows)


# ---- In text


def text_of(found: list[Difference]) -> list[str]:
    """Lines of at most 80 characters, unless a word is longer."""
    lines = []
    for difference in found:
        head = difference.name
        for side, text in (("A", difference.a), ("B", difference.b)):
            fits = len(head) < _NAME - 2
            if not fits:
                lines.append(head)
                head = ""
            lines += textwrap.wrap(
                text or "-", _WIDTH, initial_indent=f"{head:<{_NAME - 2}}{side} ", subsequent_indent=" " * _NAME
            )
            head = ""
    return lines


def table_of(found: list[Marginal]) -> list[str]:
    """A line for each slot and column, and for each label of a column of choices."""
    lines = [f"{'':<{_NAME}}{'A':<{_CELL}}B".rstrip()]
    slot = ("", "")
    for marginal in found:
        if marginal.column is not None and slot != (marginal.slot, marginal.op):
            lines.append(f"{marginal.slot} ({marginal.op})")
        slot = (marginal.slot, marginal.op)
        if marginal.column is None:
            texts = ["not there" if side is None else _percent(side.share) for side in (marginal.a, marginal.b)]
            lines.append(_line(f"{marginal.slot} ({marginal.op}) acts", *texts))
        elif marginal.column.choices:
            lines += _labels(marginal.column, marginal.a, marginal.b)
        else:
            lines.append(_line(f"  {marginal.column.name}", *(_numbers(side) for side in (marginal.a, marginal.b))))
    return lines


def label_shares(column: Column, a: Side | None, b: Side | None) -> Mapping[str, tuple[float, float]]:
    """Of a column of choices, by label: its shares, 0 to 1, of the tasks of each side in which the column has an effect;
    the likeliest first. A side that has none counts 0."""
    counts = [
        np.zeros(len(column.choices)) if side is None else np.bincount(side.values, minlength=len(column.choices))
        for side in (a, b)
    ]
    shares = [count / max(count.sum(), 1) for count in counts]
    codes = sorted(range(len(column.choices)), key=lambda code: -max(shares[0][code], shares[1][code]))
    return {
        column.choices[code]: (float(shares[0][code]), float(shares[1][code]))
        for code in codes
        if shares[0][code] or shares[1][code]
    }


def _labels(column: Column, a: Side | None, b: Side | None) -> list[str]:
    shares = label_shares(column, a, b)
    lines = [f"  {column.name}"]
    for label, both in [*shares.items()][:_MOST_LABELS]:
        texts = ["" if side is None else _percent(share) for side, share in zip((a, b), both)]
        lines.append(_line(f"    {label}", *texts))
    if len(shares) > _MOST_LABELS:
        lines.append(f"    {len(shares) - _MOST_LABELS} more")
    return lines


def _numbers(side: Side | None) -> str:
    if side is None:
        return ""
    if len(side.values) == 0:
        return "no effect"
    values = side.values.astype(np.float64)
    low, high = np.quantile(values, (0.05, 0.95))
    if values.min() == values.max():
        return f"{values[0]:.3g}"
    return f"{values.mean():.3g} [{low:.3g}, {high:.3g}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _line(name: str, a: str, b: str) -> str:
    """A row of the table; a long name has a line of its own."""
    if len(name) >= _NAME:
        return f"{name}\n{'':<{_NAME}}{a:<{_CELL}}{b}".rstrip()
    return f"{name:<{_NAME}}{a:<{_CELL}}{b}".rstrip()

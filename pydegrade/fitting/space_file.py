"""The file of a fitted space: that of the space it began with, its columns replaced by what was learned, with comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import SpaceError
from ..tasks.space import Space
from ..tasks.space_text import Document, Item, Source, read
from .parameters import MADE_OF
from .population import IDENTIFIED, QUANTILES, Figure, Population

_LEAST_WEIGHT = 0.005


def fitted_space(
    start: Space, populations: Sequence[Population], name: str, photographs: int
) -> tuple[Space, str, tuple[str, ...]]:
    """The space, its text, and names of what was learned and cannot stand in the place of what it began with.

    Args:
        start: what it began with; no mixture, and without files of its own.
        populations: of its columns, and of what is made of columns. One that is not identified changes nothing, but for
            what is known all the same: a noise level where the kind of noise is not, a width where the shape is not, and
            of a choice single classes, such as "off".
        name: of the space.
        photographs: how many there were.
    Raises:
        SpaceError: a name that no space can have.
    """
    begun = read(Source(start.to_toml(), start.name))
    told = f"degrade fit: {photographs} photographs, begun with {start.name}@{start.digest[:8]}"
    head = {key: item for key, item in begun.head.items() if key not in ("summary", "family")}
    document = replace(
        begun, head={**head, **{key: _item(begun, text) for key, text in (("name", name), ("source", told))}}
    )
    said_of: dict[tuple[str, str], str] = {}
    unwritten = []
    by_name = {one.parameter.name: one for one in populations}
    for one in populations:
        slot, _, key = one.parameter.name.partition(".")
        before = next((table.keys[key] for table in begun.slots if table.name == slot and key in table.keys), None)
        if one.parameter.made or before is None:
            continue
        if not one.identified:
            found = _in_part(one, start.name) if one.parameter.classes else _as_made(one, slot, key, by_name)
            if found is None:
                said_of[slot, key] = f"{key}: photographs do not say; as in {start.name}"
                continue
            one, words = found
        else:
            words = said(one)
        changed = _changed(
            document, slot, key, _value(before.value, one, bool(start.column(one.parameter.name).choices))
        )
        if _reads(changed):
            document, said_of[slot, key] = changed, words
        else:
            unwritten.append(one.parameter.name)
            said_of[slot, key] = f"{words}; cannot stand here, as in {start.name}"
    text = (
        f"{FIRST_LINE} {photographs} photographs. Numbers in brackets: 90 % intervals. docs/fitting.md says how.\n"
        + document.to_toml(said_of)
    )
    return Space.loads(text), text, tuple(unwritten)


FIRST_LINE = "# Learned from"
"""Begins every file of a fitted space."""


def _as_made(one: Population, slot: str, key: str, by_name: Mapping[str, Population]) -> tuple[Population, str] | None:
    """A column as what is made of it has it, within the range that it had."""
    for name, columns in MADE_OF.items():
        made = by_name.get(f"{slot}.{name}")
        if key in columns and made is not None and made.identified:
            low, high = one.parameter.edges[[0, -1]]
            quantiles = np.clip(np.array(made.quantiles) * columns[key], low, high)
            words = f"{said(made)}; of {key} alone photographs do not say"
            return replace(one, quantiles=tuple(quantiles.tolist())), words
    return None


def _in_part(one: Population, start: str) -> tuple[Population, str] | None:
    """A choice of which some classes are known: these as they are, the others as they were to each other."""
    known = [share.high - share.low <= IDENTIFIED for share in one.shares]
    open_before = sum(before for before, is_known in zip(one.before, known) if not is_known)
    rest = 1 - sum(share.value for share, is_known in zip(one.shares, known) if is_known)
    if not any(known) or open_before <= 0 or rest <= 0:
        return None
    shares = tuple(
        share if is_known else replace(share, value=rest * before / open_before)
        for share, before, is_known in zip(one.shares, one.before, known)
    )
    parts = [
        f"{text} {_percent(share)}" for text, share, is_known in zip(one.parameter.classes, shares, known) if is_known
    ]
    others = " and ".join(text for text, is_known in zip(one.parameter.classes, known) if not is_known)
    words = f"{one.parameter.name}: {', '.join(parts)}; between {others} photographs do not say: as in {start}"
    return replace(one, shares=shares), words


def _item(document: Document, value: Any) -> Item:
    return Item(value, document.source, ())


def _changed(document: Document, slot: str, key: str, value: Any) -> Document:
    """With another value of one column."""
    tables = tuple(
        replace(table, keys={**table.keys, key: replace(table.keys[key], value=value)}) if table.name == slot else table
        for table in document.slots
    )
    return replace(document, slots=tables)


def _reads(document: Document) -> bool:
    try:
        Space.loads(document.to_toml())
    except SpaceError:
        return False
    return True


def said(one: Population) -> str:
    """A parameter in words."""
    known = f"; {one.known}" if one.known else ""
    if one.parameter.classes:
        parts = [f"{text} {_percent(share)}" for text, share in zip(one.parameter.classes, one.shares)]
        return f"{one.parameter.name}: {', '.join(parts)}{known}"
    assert one.mean is not None
    assert one.spread is not None
    return f"{one.parameter.name}: mean {_number(one.mean)}, standard deviation {_number(one.spread)}{known}"


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.0f} % ({100 * figure.low:.0f} to {100 * figure.high:.0f})"


def _number(figure: Figure) -> str:
    return f"{figure.value:.3g} ({figure.low:.3g} to {figure.high:.3g})"


def _value(before: Any, one: Population, textual: bool) -> Any:
    """What stands in the file for a population, where `before` stood."""
    if one.parameter.classes:
        values: list[Any] = list(one.parameter.classes) if textual else [_plain(text) for text in one.parameter.classes]
        least = 0.0 if one.known else _LEAST_WEIGHT
        pairs = [(value, max(share.value, least)) for value, share in zip(values, one.shares)]
        pairs = [(value, weight) for value, weight in pairs if weight > 0]
        if len(pairs) == 1:
            return pairs[0][0]
        return {"choice": [value for value, _ in pairs], "weights": _weights([weight for _, weight in pairs])}
    rounded = {"round": True} if _rounds(before) else {}
    edges = [float(f"{value:.4g}") for value in one.quantiles]
    steps = np.diff((0.0, *QUANTILES[1:-1], 1.0))
    pieces = [(low, high, step) for low, high, step in zip(edges, edges[1:], steps) if high > low]
    if not pieces:
        middle = edges[len(edges) // 2]
        return round(middle) if rounded else middle
    uniforms = [{"uniform": [low, high], **rounded} for low, high, _ in pieces]
    if len(pieces) == 1:
        return uniforms[0]
    return {"mixture": uniforms, "weights": _weights([step for *_, step in pieces])}


def _plain(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _rounds(value: Any) -> bool:
    """Whether a distribution, or a part of it, gives whole numbers."""
    if isinstance(value, Mapping):
        return value.get("round") is True or "integers" in value or any(map(_rounds, value.values()))
    return isinstance(value, list) and any(map(_rounds, value))


def _weights(shares: Sequence[float]) -> list[float]:
    """Four decimals each, whose sum is 1: what rounding takes or adds goes to the largest."""
    units = np.rint(np.array(shares) / np.sum(shares) * 10_000).astype(int)
    units[units.argmax()] += 10_000 - units.sum()
    return [unit / 10_000 for unit in units.tolist()]

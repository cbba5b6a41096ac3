"""The file of a fitted space: that of the space it began with, its columns replaced by what was learned, with comments."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np

from ..errors import SpaceError
from ..tasks.space import Space
from .population import QUANTILES, Figure, Population

_LEAST_WEIGHT = 0.005


def fitted_space(
    start: Space, populations: Sequence[Population], name: str, photographs: int
) -> tuple[Space, str, tuple[str, ...]]:
    """The space, its text, and names of what was learned and cannot stand in the place of what it began with.

    Args:
        start: what it began with.
        populations: of its columns; those that are made of columns, or not identified, change nothing.
        name: of the space.
        photographs: how many there were.
    Raises:
        SpaceError: a name that no space can have.
    """
    learned = {one.parameter.name: one for one in populations if not one.parameter.made}
    lines = start.to_toml().splitlines()
    head = {
        "name": json.dumps(name, ensure_ascii=False),
        "source": json.dumps(f"degrade fit: {photographs} photographs, begun with {start.name}@{start.digest[:8]}"),
    }
    out = [f"# Learned from {photographs} photographs. Numbers in brackets: 90 % intervals. docs/fitting.md says how."]
    slot = table = ""
    unwritten = []
    for line in lines:
        if line.startswith("["):
            table, slot = line, ""
        key, _, value = line.partition(" = ")
        if table == "[space]" and key in ("name", "source", "summary", "family"):
            if key in head:
                out.append(f"{key} = {head[key]}")
            continue
        if table == "[[slot]]" and key == "name":
            slot = json.loads(value)
        one = learned.get(f"{slot}.{key}") if slot else None
        if one is None:
            out.append(line)
            continue
        replaced = _line(key, value, one) if one.identified else ""
        if replaced and _reads([*out, replaced], lines, line):
            out += [f"# {said(one)}", replaced]
        elif one.identified:
            unwritten.append(one.parameter.name)
            out += [f"# {said(one)}; cannot stand here, as in {start.name}", line]
        else:
            out += [f"# {key}: photographs do not say; as in {start.name}", line]
    text = "\n".join(out) + "\n"
    return Space.loads(text), text, tuple(unwritten)


def _reads(done: Sequence[str], lines: Sequence[str], line: str) -> bool:
    """Whether the file is one with the new line in the place of the old one."""
    rest = lines[_place(lines, done, line) + 1 :]
    try:
        Space.loads("\n".join([*done, *rest]))
    except SpaceError:
        return False
    return True


def _place(lines: Sequence[str], done: Sequence[str], line: str) -> int:
    """Number of the line that is being replaced: equal ones stand in several slots."""
    slots = sum(one.startswith("[[") for one in done)
    for place, one in enumerate(lines):
        slots -= one.startswith("[[")
        if slots == 0 and one == line:
            return place
    raise AssertionError(line)


def said(one: Population) -> str:
    """A parameter in words."""
    if one.parameter.classes:
        parts = [f"{text} {_percent(share)}" for text, share in zip(one.parameter.classes, one.shares)]
        return f"{one.parameter.name}: {', '.join(parts)}"
    assert one.mean is not None
    assert one.spread is not None
    return f"{one.parameter.name}: mean {_number(one.mean)}, standard deviation {_number(one.spread)}"


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.0f} % ({100 * figure.low:.0f} to {100 * figure.high:.0f})"


def _number(figure: Figure) -> str:
    return f"{figure.value:.3g} ({figure.low:.3g} to {figure.high:.3g})"


def _line(key: str, before: str, one: Population) -> str:
    if one.parameter.classes:
        quoted = before.lstrip("{ ").startswith(('"', 'choice = ["')) or '"' in before
        values = [json.dumps(text) if quoted else text for text in one.parameter.classes]
        weights = _weights([max(share.value, _LEAST_WEIGHT) for share in one.shares])
        return f"{key} = {{ choice = [{', '.join(values)}], weights = [{weights}] }}"
    rounded = ", round = true" if re.search(r"round = true|integers = ", before) else ""
    edges = [float(f"{value:.4g}") for value in one.quantiles]
    steps = np.diff((0.0, *QUANTILES[1:-1], 1.0))
    pieces = [(low, high, step) for low, high, step in zip(edges, edges[1:], steps) if high > low]
    if not pieces:
        return f"{key} = {edges[len(edges) // 2]:g}" if not rounded else f"{key} = {round(edges[len(edges) // 2])}"
    uniforms = ", ".join(f"{{ uniform = [{low}, {high}]{rounded} }}" for low, high, _ in pieces)
    if len(pieces) == 1:
        return f"{key} = {uniforms}"
    return f"{key} = {{ mixture = [{uniforms}], weights = [{_weights([step for *_, step in pieces])}] }}"


def _weights(shares: Sequence[float]) -> str:
    """Four decimals each, whose sum is 1: what rounding takes or adds goes to the largest."""
    units = np.rint(np.array(shares) / np.sum(shares) * 10_000).astype(int)
    units[units.argmax()] += 10_000 - units.sum()
    return ", ".join(f"{unit / 10_000:g}" for unit in units)

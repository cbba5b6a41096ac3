"""Addresses: texts that rebuild tasks; the edits in them; and fingerprints, hashes of what a task does.

    realesrgan-x4@c2d470a8/s7/i123                               space, first 8 digits of its digest, seed, sample number
    realesrgan-x4@c2d470a8/s7/i123/n5                            with the noise field of number 5
    mine@5c2a11d0/s7/i123/t40000                                 training step, in spaces with a schedule
    clips@91f0aa3c/s7/i123/f3                                    frame 3 of a clip; /f0-14: frames 0 to 14, one task each
    realesrgan-x4@c2d470a8/s7/i123?blur1.shape=iso&jpeg1.quality=30     with values that a person changed

An edit names a column and its value, or `order` and the slots that run, in running order. Only what differs from the draw
and has an effect is named, in the order in which the space declares it, so that equal tasks have equal addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import TaskError, nearest, shown
from ..native import rng
from ..ops.declaration import BoolArray, Column
from ..ops.registry import find
from .rows import Rows, gated, number_text, resolved, together
from .space import Space, preset_names

ORDER = "order"
_ADDRESS = re.compile(
    r"(?P<space>[^@/\s?]+)@(?P<digest>[0-9a-f]{8})/s(?P<seed>\d{1,19})/i(?P<index>\d{1,19})"
    r"(?:/t(?P<step>\d{1,19}))?(?:/n(?P<noise>\d{1,19}))?"
    r"(?:/f(?P<frame>\d{1,5})(?:-(?P<last>\d{1,5}))?)?(?:\?(?P<edits>\S+))?"
)
_MAX_LETTERS = 20_000
MAX_FRAMES = 2**16
"""Frames of a clip."""

_EXAMPLE = "realesrgan-x4@c2d470a8/s7/i123"


@dataclass(frozen=True)
class Parsed:
    """Addresses of one space, taken apart: int64 [B] numbers, and the edits of each row as (name, text) pairs."""

    space: Space
    seeds: NDArray[np.int64]
    indices: NDArray[np.int64]
    noise_indices: NDArray[np.int64]
    steps: NDArray[np.int64]
    frames: NDArray[np.int64]
    edits: tuple[tuple[tuple[str, str], ...], ...]


def format_addresses(
    space: Space,
    numbers: Mapping[str, NDArray[np.int64]],
    edits: Sequence[Sequence[tuple[str, str]]],
    spans: Sequence[range],
) -> list[str]:
    """One address per row.

    Args:
        space: of the tasks.
        numbers: seeds, indices, noise_indices, steps and frames, [B] each.
        edits: of each row.
        spans: of as many frames as the address stands for.
    """
    stem = f"{space.name}@{space.digest[:8]}"
    texts = []
    names = ("seeds", "indices", "noise_indices", "steps", "frames")
    rows = zip(*(numbers[name].tolist() for name in names), edits, spans)
    for seed, index, noise, step, frame, changes, span in rows:
        at = f"/t{step}" if space.scheduled else ""
        field = "" if noise == index else f"/n{noise}"
        clip = f"/f{frame}" if frame else ""
        if len(span) > 1:
            clip = f"/f{frame}-{frame + len(span) - 1}"
        query = "&".join(f"{name}={quote(text, safe=',')}" for name, text in changes)
        texts.append(f"{stem}/s{seed}/i{index}{at}{field}{clip}" + (f"?{query}" if query else ""))
    return texts


def parse(addresses: Sequence[str], space: Space | None = None) -> Parsed:
    """Take addresses of one space apart.

    Args:
        space: the space; by default the preset that the addresses name.
    Raises:
        TaskError: not an address, several spaces, or a space with another digest.
    """
    if len(addresses) == 0:
        raise TaskError("expected at least one address, got none")
    matches = []
    for address in addresses:
        match = (
            _ADDRESS.fullmatch(address.strip()) if isinstance(address, str) and len(address) < _MAX_LETTERS else None
        )
        if match is None:
            raise TaskError(f"expected an address such as {_EXAMPLE}, got {shown(address)}")
        matches.append(match)
    named = {(match["space"], match["digest"]) for match in matches}
    if len(named) != 1:
        raise TaskError(f"expected addresses of one space, got {sorted(f'{name}@{d}' for name, d in named)[:5]}")
    name, digest = named.pop()
    if space is None:
        if name not in preset_names():
            raise TaskError(
                f"{addresses[0]}: no preset named {name!r}; pass the space it was drawn from (space=, --space)"
            )
        space = Space.load(name)
    if space.name != name or space.digest[:8] != digest:
        raise TaskError(
            f"{addresses[0]}: expected space {name!r} with digest {digest}, got {space.name!r} with digest "
            f"{space.digest[:8]}: {space.changed()}"
        )
    spans = [_span(match) for match in matches]
    counts = [len(span) for span in spans]
    if sum(counts) > rng.MAX_INDICES:
        raise TaskError(f"at most {rng.MAX_INDICES} frames at once, got {sum(counts)}")
    columns = []
    for key in ("seed", "index", "noise", "step"):
        default = "index" if key == "noise" else None
        numbers = [int(match[key] or (match[default] if default else 0)) for match in matches]
        if max(numbers) >= 2**63:
            raise TaskError(f"seed, index, step and noise must be below 2^63, got {max(numbers)}")
        columns.append(np.repeat(np.array(numbers, np.int64), counts))
    columns.append(np.array([frame for span in spans for frame in span], np.int64))
    if not space.scheduled and any(match["step"] for match in matches):
        raise TaskError(f"{addresses[0]}: names a step (/t), but space {name!r} has no schedule")
    pairs = [_pairs(match["edits"], match[0]) for match in matches]
    edits = tuple(edit for edit, count in zip(pairs, counts) for _ in range(count))
    return Parsed(space, columns[0], columns[1], columns[2], columns[3], columns[4], edits)


def _span(match: re.Match[str]) -> range:
    """Frames of an address."""
    first = int(match["frame"] or 0)
    last = first if match["last"] is None else int(match["last"])
    if not first <= last < MAX_FRAMES:
        raise TaskError(
            f"{shown(match[0])[1:-1]}: frames must rise and be below {MAX_FRAMES}, got /f{match['frame']}-{last}"
        )
    return range(first, last + 1)


def _pairs(query: str | None, address: str) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for part in query.split("&") if query else ():
        name, equals, text = part.partition("=")
        if not equals or not name or not text:
            where = shown(address)[1:-1]
            raise TaskError(f"{where}: expected edits such as ?jpeg1.quality=30&blur1.shape=iso, got {shown(part)}")
        if name in dict(pairs):
            raise TaskError(f"{shown(address)[1:-1]}: {shown(name)[1:-1]} is given twice")
        pairs.append((name, unquote(text)))
    return tuple(pairs)


# ---- Edits


def raw(rows: Rows, drawn: Rows) -> Rows:
    """The draw behind resolved rows with what was changed by hand: what each column would be if it had an effect.

    Args:
        rows: B resolved rows.
        drawn: the same rows as the space draws them.
    """
    columns = dict(drawn.columns)
    for name, values in rows.columns.items():
        columns[name] = np.where(rows.mask(name), values, drawn.column(name))
    # A column may be off by its own value ("border"): then only resolving shows that it was changed.
    for _ in range(len(columns)):
        again = resolved(replace(drawn, columns=columns, program=rows.program))
        names = {*again.columns, *rows.columns}
        wrong = {name: again.column(name) != rows.column(name) for name in names}
        if not any(different.any() for different in wrong.values()):
            break
        for name, different in wrong.items():
            if different.any():
                columns[name] = np.where(different, rows.column(name), columns.get(name, drawn.column(name)))
    return replace(drawn, columns=columns)


def edits(rows: Rows, drawn: Rows, behind: Rows) -> list[list[tuple[str, str]]]:
    """What was changed by hand in each row: (name, text) pairs in canonical order.

    Args:
        rows: B resolved rows.
        drawn: the same rows as the space draws them.
        behind: what `raw` finds behind them.
    """
    found: list[list[tuple[str, str]]] = [[] for _ in range(len(rows))]
    for name in rows.space.all_columns:
        if name not in behind.columns:
            continue
        values = behind.columns[name]
        column = rows.space.column(name)
        for row in np.nonzero(values != drawn.column(name))[0].tolist():
            found[row].append((name, _text(column, values[row])))
    moved = np.nonzero((gated(behind).program != rows.program).any(axis=1))[0]
    if len(moved):
        for row, order in zip(moved.tolist(), rows.take(moved).orders()):
            found[row].insert(0, (ORDER, ",".join(order)))
    return found


def _text(column: Column, value: Any) -> str:
    return column.choices[int(value)] if column.choices else number_text(value)


def with_edits(drawn: Rows, changes: Sequence[Sequence[tuple[str, str]]]) -> Rows:
    """Resolved rows: the draw with the edits of each row, as `edits` gives them."""
    columns: dict[str, NDArray[Any]] = dict(drawn.columns)
    orders: dict[int, str] = {}
    for row, pairs in enumerate(changes):
        for name, text in pairs:
            if name == ORDER:
                orders[row] = text
                continue
            value = checked(drawn.space.column(name), name, text, 1)[0]
            if columns.get(name) is drawn.columns.get(name):
                columns[name] = np.array(drawn.column(name))
            columns[name][row] = value
    changed = _as_used(replace(drawn, columns=columns), drawn)
    made = _sized(resolved(_ordered(changed, orders)), resolved(changed), sorted(orders))
    return together(made) if any(changes) else made


def replaced(rows: Rows, before: Rows, drawn: Rows, changes: Mapping[str, Any]) -> Rows:
    """Resolved rows with other values in some columns, and in the order.

    A column that a change brings into effect has the value it was drawn with. A change without effect is not kept.

    Args:
        rows: B resolved rows.
        before: what `raw` finds behind them.
        drawn: the same rows as the space draws them.
        changes: by full name, one value or [B] values; `order`: the slots that run, "blur1,resize1", or B such texts.
    """
    columns = dict(before.columns)
    for name, value in changes.items():
        if name != ORDER:
            columns[name] = checked(rows.space.column(name), name, value, len(rows))
    after = _as_used(replace(before, columns=columns), drawn)
    if ORDER in changes:
        given = changes[ORDER]
        texts = [given] * len(rows) if isinstance(given, str) else [str(text) for text in given]
        if len(texts) != len(rows):
            raise TaskError(f"order must be one order or {len(rows)} orders, got {len(texts)}")
        return together(_sized(resolved(_ordered(after, dict(enumerate(texts)))), resolved(after), range(len(rows))))
    # An order that was changed before stays, for the slots that still run.
    moved = np.nonzero((gated(before).program != rows.program).any(axis=1))[0]
    orders = _merged(rows.take(moved), gated(before).take(moved), gated(after).take(moved)) if len(moved) else []
    return together(resolved(_ordered(after, dict(zip(moved.tolist(), orders)))))


def _as_used(rows: Rows, drawn: Rows) -> Rows:
    """Rows whose values that differ from the draw are those that the ops take: what is recorded of an edit is what runs."""
    columns = dict(rows.columns)
    for slot in rows.space.slots:
        op = find(slot.op)
        for short, values in (op.used(rows.slot_columns(slot.name)) if op.used else {}).items():
            name = f"{slot.name}.{short}"
            given = rows.column(name)
            other = (given != drawn.column(name)) & (given != values)
            if other.any():
                columns[name] = np.where(other, values, given).astype(given.dtype)
    return replace(rows, columns=columns)


def _sized(rows: Rows, before: Rows, changed: Sequence[int]) -> Rows:
    """The rows, of which those whose order was changed must still end at the LR size.

    Args:
        rows: after the change.
        before: the same rows in the order of the space; one that does not end at the LR size itself is not judged.
        changed: positions.
    """
    if not len(changed):
        return rows
    after, before = rows.take(list(changed)), before.take(list(changed))
    ends, final = _end_px(after), rows.space.hr_px // rows.space.scale
    wrong = (ends != final) & (_end_px(before) == final)
    if wrong.any():
        row = int(np.argmax(wrong))
        order = ",".join(after.orders()[row])
        raise TaskError(
            f"order: {order or 'no slots'} must end at the LR size, {final} px of the space's {rows.space.hr_px}, got "
            f"{ends[row]}"
        )
    return rows


def _end_px(rows: Rows) -> NDArray[np.int64]:
    """Side of the last image that comes of the space's square crops, px, [B]; -1 where it is none."""
    space = rows.space
    height = np.full(len(rows), space.hr_px, np.int64)
    width, final = height.copy(), height // space.scale
    for place in range(rows.program.shape[1]):
        for number, slot in enumerate(space.slots):
            out_size = find(slot.op).out_size
            here = np.nonzero(rows.program[:, place] == number)[0]
            if out_size is None or not len(here):
                continue
            values = {name: column[here] for name, column in rows.slot_columns(slot.name).items()}
            height[here], width[here] = out_size(values, height[here], width[here], final[here], final[here])
    return np.where(height == width, height, -1)


def _merged(edited: Rows, before: Rows, after: Rows) -> list[str]:
    """Orders of rows whose order was edited and whose gates may then have changed: the slots of the edited order among
    the places they hold in the drawn one, with those that a gate has opened."""
    texts = []
    for chosen, old, new in zip(edited.orders(), before.orders(), after.orders()):
        left_out = set(old) - set(chosen)
        places = [name for name in new if name not in left_out]
        places += [name for name in chosen if name not in old]
        queue = iter([name for name in chosen if name in places])
        texts.append(",".join(next(queue) if name in chosen else name for name in places))
    return texts


def _ordered(rows: Rows, orders: Mapping[int, str]) -> Rows:
    """Rows of which some run the named slots alone, in that order."""
    if not orders:
        return rows
    names = [slot.name for slot in rows.space.slots]
    program = rows.program.copy()
    for row, text in orders.items():
        chosen = text.split(",") if text else []
        for name in chosen:
            if name not in names:
                raise TaskError(f"order: no slot {shown(name)}{nearest(name, names)}")
        if len(set(chosen)) < len(chosen):
            raise TaskError(f"order: every slot runs at most once, got {shown(text)}")
        if rows.space.target != "hr" and chosen[:1] != [rows.space.target]:
            raise TaskError(f"order: the target {rows.space.target!r} must run first, got {shown(text)}")
        program[row] = -1
        program[row, : len(chosen)] = [names.index(name) for name in chosen]
    moved = replace(rows, program=program)
    changed = sorted(orders)
    if (gated(moved).program[changed] != program[changed]).any():
        raise TaskError("order: names a slot whose gate is closed")
    return moved


def checked(column: Column, name: str, value: ArrayLike | str, count: int) -> NDArray[Any]:
    """New values of a column, [count], in its dtype and range; names for choices, numbers also as text."""
    try:
        given = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists; tensors that NumPy cannot hold
        raise TaskError(f"{name} must be one number or {count} numbers, got {shown(value)}") from None
    if given.dtype.kind == "U" and given.ndim <= 1:
        given = np.asarray([_number(column, name, str(text)) for text in np.atleast_1d(given)])
        given = given[0] if len(given) == 1 else given
    if given.dtype.kind not in "iufb" or given.ndim > 1 or given.size not in (1, count):
        raise TaskError(f"{name} must be one number or {count} numbers, got {shown(value)}")
    low, high = column.limits
    numbers = np.broadcast_to(given.astype(np.float64), count)
    bad = ~((numbers >= low) & (numbers <= high))
    if column.choices or column.integer:
        bad |= numbers != np.rint(numbers)
    if column.name == "size_px":
        bad |= numbers % 2 == 0
    if bad.any():
        row = int(np.argmax(bad))
        kind = "an odd number" if column.name == "size_px" else "a value"
        at = f" at row {row}" if count > 1 else ""
        raise TaskError(f"{name} must be {kind} in [{low:g}, {high:g}], got {numbers[row]:g}{at}")
    return np.ascontiguousarray(numbers.astype(column.dtype))


def _number(column: Column, name: str, text: str) -> float:
    if column.choices:
        if text not in column.choices:
            raise TaskError(f"{name} must be one of {', '.join(column.choices)}, got {shown(text)}")
        return column.choices.index(text)
    try:
        return float(text) if len(text) <= 60 else float("nan")
    except ValueError:
        raise TaskError(f"{name} must be a number, got {shown(text)}") from None


# ---- Fingerprints


def fingerprints(rows: Rows) -> NDArray[np.uint64]:
    """uint64 [B]: hash of what each task does. Equal rows have equal fingerprints, however they were drawn; the noise field
    and columns without effect do not count."""
    total = np.zeros(len(rows), np.uint64)
    rank = np.zeros(len(rows), np.uint64)
    slots = rows.space.slots
    working: dict[str, BoolArray] = {
        slot.name: np.asarray(rows.present(slot.name) & ~rows.neutral(slot.name)) for slot in slots
    }
    for slot in slots:
        active = find(slot.op).active(rows.slot_columns(slot.name))
        for column in find(slot.op).columns:
            name = f"{slot.name}.{column.name}"
            values = rows.column(name)
            masked = working[slot.name] & active.get(column.name, working[slot.name])
            counts = masked & (values != column.neutral_value)
            if not counts.any():
                continue
            bits = (values if values.dtype == np.int32 else (values + np.float32(0)).view(np.int32)).view(np.uint32)
            term = _mix(_mix(bits.astype(np.uint64)) + np.uint64(rng.hash64(name)))
            total += np.where(counts, term, np.uint64(0))
    for place in range(rows.program.shape[1]):
        for number, slot in enumerate(slots):
            here = (rows.program[:, place] == number) & working[slot.name]
            if not here.any():
                continue
            term = _mix(np.uint64(rng.hash64(slot.name)) + _mix(rank + np.uint64(1)))
            total += np.where(here, term, np.uint64(0))
            rank += here.astype(np.uint64)
    return total


def _mix(values: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele et al. 2014): a bijection of 64-bit words that avalanches."""
    with np.errstate(over="ignore"):
        x = np.asarray(values, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

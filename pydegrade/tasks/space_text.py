"""The text of a space: TOML tables with their places, and what a space takes over from its base. No meaning yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomli_w

from ..errors import SpaceError, nearest, shown
from ..toml_lines import KeyPath, key_lines, parsed

MAX_BYTES = 256 * 1024
"""Longest text of a space; the longest preset has 9 kB."""

MAX_SLOTS = 100
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

_HEAD_KEYS = ("name", "base", "without", "scale", "family", "summary", "source", "target", "hr_px")
_TABLES = ("space", "slot", "gate", "order", "vector", "mixture")


@dataclass(frozen=True)
class Source:
    """One TOML text, what messages call it, and the folder whose files it may name."""

    text: str
    origin: str
    folder: Path | None = None

    @cached_property
    def lines(self) -> Mapping[KeyPath, int]:
        return key_lines(self.text)

    def error(self, message: str, path: KeyPath = ()) -> SpaceError:
        """The error of a message, with the line of a key, else of the table it stands in."""
        for length in range(len(path), 0, -1):
            line = self.lines.get(path[:length])
            if line:
                return SpaceError(f"{self.origin}:{line}: {message}")
        return SpaceError(f"{self.origin}: {message}")


@dataclass(frozen=True)
class Item:
    """A TOML value and where it stands."""

    value: Any
    source: Source
    path: KeyPath

    def error(self, message: str, *below: str | int) -> SpaceError:
        return self.source.error(message, (*self.path, *below))


@dataclass(frozen=True)
class Table:
    """A slot or a gate: its name, its other keys with their places, and the place of the whole.

    A slot that overrides one of the base holds the keys that change alone.
    """

    name: str
    keys: Mapping[str, Item]
    place: Item


@dataclass(frozen=True)
class Document:
    """The tables of a space.

    Attributes:
        head: keys of [space].
        slots: in running order; gates: by name.
        order, mixture: keys of these tables; empty without them.
        vectors: by scheme, keys by column.
        source: the text that this space itself was read from.
        derived: whether the tables are not those of that text alone.
    """

    source: Source
    head: Mapping[str, Item]
    slots: tuple[Table, ...] = ()
    gates: tuple[Table, ...] = ()
    order: Mapping[str, Item] = field(default_factory=dict)
    vectors: Mapping[str, Mapping[str, Item]] = field(default_factory=dict)
    mixture: Mapping[str, Item] = field(default_factory=dict)
    derived: bool = False

    def error(self, message: str, *path: str | int) -> SpaceError:
        return self.source.error(message, path)

    def to_toml(self, said: Mapping[tuple[str, str], str] = MappingProxyType({})) -> str:
        """The tables as one TOML text that names no base. Keys keep their order, which means something.

        Args:
            said: (slot, key) -> a comment of one line, which stands above the key.
        """
        told: dict[str, dict[str, str]] = {slot.name: {} for slot in self.slots}
        for (slot, key), text in said.items():
            told[slot][key] = f"# {text}\n"
        parts = [_written("[space]", self.head)]
        parts += [_written("[[slot]]", _named(table), told[table.name]) for table in self.slots]
        parts += [_written("[[gate]]", _named(gate)) for gate in self.gates]
        parts += [_written("[order]", self.order)] if self.order else []
        parts += [_written("[mixture]", self.mixture)] if self.mixture else []
        parts += [_written(f"[vector.{_key(scheme)}]", ranges) for scheme, ranges in self.vectors.items()]
        return "\n".join(parts)


def _written(header: str, table: Mapping[str, Item], said: Mapping[str, str] = MappingProxyType({})) -> str:
    lines = [f"{said.get(key, '')}{_key(key)} = {inline(item.value)}\n" for key, item in table.items()]
    return "".join([f"{header}\n", *lines])


def _named(table: Table) -> dict[str, Item]:
    return {"name": replace(table.place, value=table.name), **table.keys}


def inline(value: Any) -> str:
    """A TOML value in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {inline(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return tomli_w.dumps({"x": value}).partition(" = ")[2].strip()


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else inline(key)


# ---- Reading one text


def read(source: Source) -> Document:
    """The tables of one text, as it stands: the base is only named.

    Raises:
        SpaceError: no TOML, too long or nested too deeply, an unknown table or key of [space], a table of another kind.
    """
    text, origin = source.text, source.origin
    if len(text) > MAX_BYTES:
        raise SpaceError(f"{origin}: a space has at most {MAX_BYTES} letters, got {len(text)}")
    data = parsed(text, origin, "a space", SpaceError)
    _known(data, _TABLES, source, (), "the file")

    head = data.get("space")
    if not isinstance(head, dict):
        raise source.error("the table [space] is missing", ("space",))
    _known(head, _HEAD_KEYS, source, ("space",), "[space]")
    for name in ("order", "mixture"):
        if data.get(name) == {}:
            raise source.error(f"[{name}] is empty", (name,))
    vectors = _table(data, "vector", source)
    for scheme, ranges in vectors.items():
        if not isinstance(ranges.value, dict):
            raise ranges.error(f"[vector]: {scheme} must be a table of ranges, got {shown(ranges.value)}")
    return Document(
        source=source,
        head={key: Item(value, source, ("space", key)) for key, value in head.items()},
        slots=_list(data, "slot", source),
        gates=_list(data, "gate", source),
        order=_table(data, "order", source),
        vectors={scheme: _items(ranges) for scheme, ranges in vectors.items()},
        mixture=_table(data, "mixture", source),
    )


def _known(table: Mapping[str, Any], known: tuple[str, ...], source: Source, path: KeyPath, label: str) -> None:
    for key in table:
        if key not in known:
            raise source.error(f"{label}: unknown key {shown(key)}{nearest(key, known)}", (*path, key))


def known_keys(table: Mapping[str, Item], known: tuple[str, ...], label: str) -> None:
    """Refuse keys that a table does not have."""
    for key, item in table.items():
        if key not in known:
            raise item.error(f"{label}: unknown key {shown(key)}{nearest(key, known)}")


def _items(table: Item) -> dict[str, Item]:
    return {key: Item(value, table.source, (*table.path, key)) for key, value in table.value.items()}


def _table(data: Mapping[str, Any], name: str, source: Source) -> dict[str, Item]:
    value = data.get(name, {})
    if not isinstance(value, dict):
        raise source.error(f"[{name}] must be a table, got {shown(value)}", (name,))
    return _items(Item(value, source, (name,)))


def _list(data: Mapping[str, Any], kind: str, source: Source) -> tuple[Table, ...]:
    """Entries of [[slot]] or [[gate]]."""
    entries = data.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise source.error(f"{kind} must be a list of tables, [[{kind}]], got {shown(entries)}", (kind,))
    if len(entries) > MAX_SLOTS:
        raise source.error(f"a space has at most {MAX_SLOTS} {kind}s, got {len(entries)}", (kind, MAX_SLOTS))
    tables: list[Table] = []
    for number, entry in enumerate(entries):
        name, place = entry.get("name"), Item(entry, source, (kind, number))
        if not isinstance(name, str) or not WORD.fullmatch(name):
            raise place.error(f"{kind} {number + 1}: name must be a word, got {shown(name)}", "name")
        if name in [table.name for table in tables]:
            raise place.error(f"{kind} {name}: the name is used twice", "name")
        keys = _items(place)
        del keys["name"]
        tables.append(Table(name, keys, place))
    return tuple(tables)


# ---- What a base gives


_PLACING = ("before", "after", "without")


def with_base(own: Document, base: Document) -> Document:
    """A space's own tables laid over those of its base.

    Keys of [space], of a slot (unless its op changes), of a gate and of a vector's ranges replace those of the same name;
    [order] and [mixture] as wholes. `without` leaves slots, gates, the order or a vector out, a slot's `without` columns.
    Where a slot goes, its places in the order, gates and vectors go too.
    """
    slots, gates = {slot.name: slot for slot in base.slots}, {gate.name: gate for gate in base.gates}
    order, vectors = base.order, {scheme: dict(ranges) for scheme, ranges in base.vectors.items()}

    # What is left out.
    gone = set()
    without = own.head.get("without")
    for number, name in enumerate(_names(without, "[space]: without")):
        if name in slots:
            gone.add(name)
            del slots[name]
        elif name in gates:
            del gates[name]
        elif name == "order" and order:
            order = {}
        elif name in vectors:
            del vectors[name]
        else:
            assert without is not None
            known = [*slots, *gates, *(["order"] if order else []), *vectors]
            raise without.error(f"[space]: without: the base has no {name!r}{nearest(name, known)}", number)
    order = _order_without(order, gone)
    gates = {name: _gate_without(gate, gone) for name, gate in gates.items()}
    vectors = {
        scheme: {column: item for column, item in ranges.items() if column.partition(".")[0] not in gone}
        for scheme, ranges in vectors.items()
    }

    # What is changed or new.
    places = list(slots)
    for table in own.slots:
        slots[table.name] = _slot_over(table, slots.get(table.name))
        _put(table, places)
    for gate in own.gates:
        earlier = gates.get(gate.name)
        gates[gate.name] = replace(gate, keys={**(earlier.keys if earlier else {}), **gate.keys})
    for scheme, ranges in own.vectors.items():
        vectors[scheme] = {**vectors.get(scheme, {}), **ranges}
    head = {**own.head, **{key: item for key, item in base.head.items() if key not in own.head and key != "name"}}
    return Document(
        source=own.source,
        head={key: item for key, item in head.items() if key not in ("base", "without")},
        slots=tuple(slots[name] for name in places),
        gates=tuple(gates.values()),
        order=own.order or order,
        vectors={scheme: ranges for scheme, ranges in vectors.items() if ranges},
        mixture={**base.mixture, **own.mixture},
        derived=True,
    )


def refuse_base_words(own: Document) -> None:
    """In a space without a base nothing can be left out or moved."""
    if "without" in own.head:
        raise own.head["without"].error("[space]: without belongs to a space with a base")
    for slot in own.slots:
        for key in _PLACING:
            if key in slot.keys:
                raise slot.keys[key].error(f"slot {slot.name}: {key} belongs to a space with a base")


def _names(item: Item | None, label: str) -> list[str]:
    if item is None:
        return []
    if not isinstance(item.value, list) or not all(isinstance(name, str) for name in item.value):
        raise item.error(f"{label} must be a list of names, got {shown(item.value)}")
    return item.value


def _slot_over(own: Table, base: Table | None) -> Table:
    """A slot of the base with the keys that a slot of the same name gives."""
    inherited = dict(base.keys) if base is not None else {}
    if base is None and "without" in own.keys:
        raise own.keys["without"].error(
            f"slot {own.name}: without belongs to a slot of the base, which has no such slot"
        )
    if "op" in own.keys and "op" in inherited and own.keys["op"].value != inherited["op"].value:
        inherited = {}
    for number, name in enumerate(_names(own.keys.get("without"), f"slot {own.name}: without")):
        if name not in inherited or name == "op":
            known = [key for key in inherited if key != "op"]
            hint = nearest(name, known)
            raise own.keys["without"].error(f"slot {own.name}: without: the base gives no {name!r}{hint}", number)
        del inherited[name]
    keys = {**inherited, **{key: item for key, item in own.keys.items() if key not in _PLACING}}
    return Table(own.name, keys, own.place)


def _put(table: Table, places: list[str]) -> None:
    """Take a slot to the place that `before` or `after` names; a new one without either to the end."""
    asked = [key for key in ("before", "after") if key in table.keys]
    if len(asked) == 2:
        raise table.keys["after"].error(f"slot {table.name}: expected before or after, got both")
    if not asked:
        if table.name not in places:
            places.append(table.name)
        return
    item = table.keys[asked[0]]
    others = [name for name in places if name != table.name]
    if not isinstance(item.value, str) or item.value not in others:
        hint = nearest(item.value, others) if isinstance(item.value, str) else ""
        raise item.error(f"slot {table.name}: {asked[0]} must name another slot, got {shown(item.value)}{hint}")
    places[:] = others
    places.insert(others.index(item.value) + (asked[0] == "after"), table.name)


def _order_without(order: Mapping[str, Item], gone: set[str]) -> Mapping[str, Item]:
    """An order of the base without the slots that are left out; none where nothing is left to order."""
    if not gone or not order:
        return order
    changed = dict(order)
    for key in ("choice", "shuffle"):
        if key in changed:
            groups = _filtered(changed[key], lambda name: name not in gone)
            changed[key] = replace(changed[key], value=[group for group in groups if group])
    for key, least in (("choice", 1), ("shuffle", 2)):
        left = changed[key].value if key in changed else None
        if not isinstance(left, list) or not all(isinstance(group, list) for group in left):
            continue
        if len(left) < least or (key == "choice" and len(left[0]) < 2):
            return {}
    if "before" in changed:
        pairs = _filtered(changed["before"], lambda name: name not in gone)
        kept = [pair for pair in pairs if not isinstance(pair, list) or len(pair) == 2]
        changed["before"] = replace(changed["before"], value=kept)
    return changed


def _gate_without(gate: Table, gone: set[str]) -> Table:
    slots = gate.keys.get("slots")
    if slots is None or not isinstance(slots.value, list) or not gone & {str(name) for name in slots.value}:
        return gate
    return replace(
        gate, keys={**gate.keys, "slots": replace(slots, value=[name for name in slots.value if name not in gone])}
    )


def _filtered(item: Item, keep: Callable[[Any], bool]) -> list[Any]:
    """A list of lists without some of the names; anything else as it is, for the reader to refuse."""
    if not isinstance(item.value, list):
        return [item.value]
    return [[name for name in part if keep(name)] if isinstance(part, list) else part for part in item.value]

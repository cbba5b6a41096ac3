"""From tables of plain values to typed frozen structures, by type hints; errors name place, key and value.

Understood hints: str, int, float, bool, Literal, `X | None`, tuple[X, ...], tuple[X, Y], dict[str, X], dataclasses, and
networks (a field whose metadata has `net`: a table whose `type` is a name in `pytrain.nets.NETS`). A field's metadata
also says which texts are paths: `path=True`, or `path="toml"` where only names that end in .toml are.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydegrade.tasks.toml_lines import KeyPath

from ..errors import ConfigError, nearest
from ..nets import NETS


@dataclass(frozen=True)
class Option:
    """One field of a configuration.

    Attributes:
        name: its key.
        hint: its type.
        default: its value when the file does not set it; MISSING where it must.
        metadata: `help`, `unit`, `path`, `net`.
    """

    name: str
    hint: Any
    default: Any
    metadata: Mapping[str, Any]


def options(kind: type[Any]) -> Iterator[Option]:
    """The fields of a dataclass in order, with their types resolved."""
    hints = typing.get_type_hints(kind)
    for member in dataclasses.fields(kind):
        default = member.default if member.default_factory is MISSING else member.default_factory()
        yield Option(member.name, hints[member.name], default, member.metadata)


def without_none(hint: Any) -> Any:
    """`X` of `X | None`; anything else as it is."""
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        return members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007 (built at run time)
    return hint


def dotted(path: KeyPath) -> str:
    """`("evaluate", "sets", 0, "hr")` as people write it: `evaluate.sets[0].hr`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True)
class Places:
    """Where values were set.

    Attributes:
        origin: the file, as messages name it.
        lines: line of every key in it.
        overrides: text of every `--set` by the key that it sets; they come after the file.
    """

    origin: str = ""
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def override(self, path: KeyPath) -> str | None:
        """The `--set` that gave this key its value, or the table in which it lies."""
        texts = (self.overrides[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self.overrides)
        return next(texts, None)

    def name(self, path: KeyPath) -> str:
        """`"file:line"` of a key, or of the nearest table around it; `"--set a.b=1"` where that set it or a part of it."""
        override = self.override(path)
        if override is None and path and path not in self.lines:
            inside = (text for key, text in self.overrides.items() if key[: len(path)] == path)
            override = next(inside, None)
        if override is not None:
            return f"--set {override}"
        lines = (self.lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self.lines)
        line = next(lines, None)
        return self.origin if line is None else f"{self.origin}:{line}"

    def error(self, path: KeyPath, message: str) -> ConfigError:
        """ConfigError with the place of a key before the message."""
        place = self.name(path)
        return ConfigError(f"{place}: {message}" if place else message)

    def located(self, message: str, names: Iterable[str], path: KeyPath = ()) -> ConfigError:
        """ConfigError for a message that begins with a key, as checks of dataclasses write them.

        Args:
            message: e.g. "optimizer.learning_rate must be > 0, got -1".
            names: fields of the structure that was checked; the first part of the key that is one of them counts.
            path: of that structure.
        Returns:
            The message with its key spelled from the root, after the place of that key.
        """
        known = set(names)
        first, space, rest = message.partition(" ")
        parts = first.rstrip(":").split(".")
        begin = next((place for place, part in enumerate(parts) if part in known), None)
        if begin is None:
            return self.error(path, message)
        whole: KeyPath = (*path, *parts[begin:])
        return self.error(whole, dotted(whole) + first[len(first.rstrip(":")) :] + space + rest)


@dataclass(frozen=True)
class Reader:
    """Reads values.

    Attributes:
        places: for messages.
        folder: what relative paths in the file begin at; those of `--set` begin at the current folder.
    """

    places: Places
    folder: Path

    def record(self, kind: type[Any], table: Any, path: KeyPath, start: Any = None, label: str = "") -> Any:
        """A dataclass from a table.

        Args:
            kind: the dataclass.
            table: its values by field name.
            path: of the table.
            start: an instance whose values hold where the table has none; default: the fields' defaults.
            label: what messages call it; default: the path.
        Raises:
            ConfigError: unknown or missing key, a value of another type, or one that the dataclass refuses.
        """
        label = label or f"[{dotted(path)}]"
        if not isinstance(table, dict):
            raise self.places.error(path, f"{dotted(path)} must be a table, got {table!r}")
        fields = {option.name: option for option in options(kind)}
        for key in table:
            if key not in fields:
                hint = nearest(key, fields) if fields else ""
                raise self.places.error((*path, key), f"{label}: unknown key {key!r}{hint}")
        values = {}
        for name, option in fields.items():
            if name in table:
                values[name] = self.field(option, table[name], (*path, name))
            elif start is not None:
                values[name] = getattr(start, name)
            elif option.default is MISSING:
                raise self.places.error(path, f"{label}: the key {name!r} is missing")
        try:
            return kind(**values)
        except ConfigError as error:
            raise self.places.located(str(error), fields, path) from None

    def field(self, option: Option, value: Any, path: KeyPath) -> Any:
        """The value of one field."""
        hint = without_none(option.hint)
        if option.metadata.get("net"):
            default = None if option.default is MISSING else option.default
            return self.net(hint, default, value, path)
        if dataclasses.is_dataclass(hint):
            start = None if option.default is MISSING else option.default
            return self.record(typing.cast(type[Any], hint), value, path, start)
        return self.value(hint, value, path, option.metadata.get("path", False))

    def net(self, hint: Any, default: Any, table: Any, path: KeyPath, allowed: Sequence[str] = tuple(NETS)) -> Any:
        """A network's configuration: `type` names it, or is left out where the default's is meant."""
        if not isinstance(table, dict):
            raise self.places.error(path, f"{dotted(path)} must be a table with a network's options, got {table!r}")
        given = dict(table)
        name = given.pop("type", getattr(default, "type", None))
        where = dotted((*path, "type"))
        if hint is not Any and isinstance(hint, type):
            allowed = [key for key in allowed if NETS[key].config is hint]
        if name is None:
            raise self.places.error(path, f"{where} is missing; known: {', '.join(allowed)}")
        if name not in allowed:
            message = f"{where} must be a known network, got {name!r}{nearest(str(name), allowed)}"
            raise self.places.error((*path, "type"), message)
        kind = NETS[name].config
        start = default if type(default) is kind else None
        return self.record(kind, given, path, start, f"[{dotted(path)}] ({name})")

    def value(self, hint: Any, value: Any, path: KeyPath, is_path: Any = False) -> Any:
        """A value of any hint that is not a field of its own.

        Raises:
            ConfigError: it is of another type.
        """
        origin = get_origin(hint)
        if hint is Any:
            return value
        if dataclasses.is_dataclass(hint):
            return self.record(typing.cast(type[Any], hint), value, path)
        if origin is Literal:
            return self._choice(get_args(hint), value, path)
        if origin is tuple:
            return self._tuple(get_args(hint), value, path, is_path)
        if origin in (dict, Mapping) or getattr(origin, "__name__", "") == "Mapping":
            if not isinstance(value, dict):
                raise self._mismatch(path, "a table", value)
            inner = get_args(hint)[1]
            return {key: self.value(inner, entry, (*path, key), is_path) for key, entry in value.items()}
        if hint is bool:
            return self._checked(isinstance(value, bool), path, "true or false", value)
        if hint is int:
            self._checked(not isinstance(value, float), path, "a whole number, written without a point", value)
            return self._checked(isinstance(value, int) and not isinstance(value, bool), path, "a whole number", value)
        if hint is float:
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return float(self._checked(is_number, path, "a number", value))
        assert hint is str, f"{dotted(path)}: fields of type {hint} are not understood"
        return self._text(value, path, is_path)

    def _text(self, value: Any, path: KeyPath, is_path: Any) -> str:
        override = self.places.override(path)
        if override is not None and path in self.places.overrides and not isinstance(value, (str, list, dict)):
            # `--set run.name=2024` means the text.
            value = override.partition("=")[2].strip()
        self._checked(isinstance(value, str), path, "text", value)
        if not value or not is_path or (is_path == "toml" and not value.endswith(".toml")):
            return str(value)
        folder = self.folder if override is None else Path.cwd()
        return os.path.normpath(folder.absolute() / Path(value).expanduser())

    def _choice(self, choices: tuple[Any, ...], value: Any, path: KeyPath) -> Any:
        if value not in choices or type(value) not in {type(choice) for choice in choices}:
            known = " or ".join(filter(None, (", ".join(map(repr, choices[:-1])), repr(choices[-1]))))
            hint = nearest(value, list(map(str, choices))) if isinstance(value, str) else ""
            hint = hint if "did you mean" in hint else ""
            raise self._mismatch(path, f"one of {known}", value, hint)
        return value

    def _tuple(self, hints: tuple[Any, ...], value: Any, path: KeyPath, is_path: Any) -> tuple[Any, ...]:
        if hints[-1] is Ellipsis:
            if hints[0] is str and isinstance(value, str):
                # One folder needs no brackets.
                return (self.value(str, value, path, is_path),)
            self._checked(isinstance(value, list), path, "a list", value)
            hints = (hints[0],) * len(value)
        else:
            fits = isinstance(value, list) and len(value) == len(hints)
            self._checked(fits, path, f"a list of {len(hints)} values", value)
        entries = zip(hints, value)
        return tuple(self.value(hint, entry, (*path, number), is_path) for number, (hint, entry) in enumerate(entries))

    def _checked(self, holds: bool, path: KeyPath, must: str, value: Any) -> Any:
        if not holds:
            raise self._mismatch(path, must, value)
        return value

    def _mismatch(self, path: KeyPath, must: str, value: Any, hint: str = "") -> ConfigError:
        return self.places.error(path, f"{dotted(path)} must be {must}, got {value!r}{hint}")

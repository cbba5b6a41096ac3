"""Where the values of a configuration were set: line of the file, or text of a `--set`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydegrade.toml_lines import KeyPath

from ..errors import ConfigError
from ..options import dotted


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

    def line(self, path: KeyPath) -> int:
        """The line that orders messages: of a key or the nearest table around it; 0 for values of `--set`."""
        if self.override(path) is not None:
            return 0
        return next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), 0)

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

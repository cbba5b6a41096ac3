"""TOML texts of others: what they hold, or one line about what is wrong, and which line sets which key, which tomllib does
not say."""

from __future__ import annotations

import bisect
import re
import sys
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KeyPath = tuple[str | int, ...]
"""Keys from the root down; entries of arrays by their number: ("slot", 2, "size_px")."""

_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){32}""")
"""A key of very many parts: reading it takes time with the square of their number."""

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]*")
# Multi-line strings first: their quotes begin like the short ones'. They may end in up to five quotes.
_STRING = re.compile(
    r'"""(?:[^\\]|\\[\s\S])*?"""+|' r"'''[\s\S]*?'''+|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'",
)


def parsed(text: str, origin: str, kind: str, error: Callable[[str], Exception]) -> dict[str, Any]:
    """The tables of a text from anywhere.

    Args:
        text: TOML, whose length the caller has limited.
        origin: what messages call it.
        kind: what it should be, "a space".
        error: made of one line where it is no TOML, or a text that would take too long or too deep a stack.
    """
    if _LONG_KEY.search(text):
        raise error(f"{origin}: not {kind}: a key of more than 32 parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as found:
        raise error(decode_error(origin, found)) from None
    except RecursionError:
        raise error(f"{origin}: not {kind}: lists or tables nested too deeply") from None
    except ValueError:
        raise error(f"{origin}: not {kind}: a number with too many digits") from None


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, counted from 1, of every table, key and array entry.

    Args:
        text: valid TOML (what tomllib has parsed); anything else gives lines of no meaning.
    Returns:
        Lines by path. A table that several lines name (`[a]`, `a.b = 1`) has its first one.
    """
    return _Scanner(text).scan()


def decode_error(origin: str, error: Exception) -> str:
    """`"origin:line: not valid TOML: what (column c)"` from what tomllib raised."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.S)
    if found is None:
        return f"{origin}: not valid TOML: {error}"
    return f"{origin}:{found[2]}: not valid TOML: {found[1]} (column {found[3]})"


class _Scanner:
    """Walks once over the text; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.newlines = [place for place, letter in enumerate(text) if letter == "\n"]
        self.lines: dict[KeyPath, int] = {}
        self.lengths: dict[KeyPath, int] = {}  # entries so far of every array of tables

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._more():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.lines

    def _more(self) -> bool:
        """Go to the next letter that is neither space nor comment; False at the end."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return self.at < len(self.text)

    def _note(self, path: KeyPath, at: int) -> None:
        line = bisect.bisect_left(self.newlines, at) + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _header(self) -> KeyPath:
        begin = self.at
        is_array = self.text.startswith("[[", begin)
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        keys = self._keys()
        for key in keys[:-1]:
            path = self._entered((*path, key))
        path = (*path, keys[-1])
        if is_array:
            number = self.lengths.get(path, 0)
            self.lengths[path] = number + 1
            path = (*path, number)
        self._note(path, begin)
        self.at = self.text.find("]", self.at) + (2 if is_array else 1)
        return path

    def _entered(self, path: KeyPath) -> KeyPath:
        """A table by its path, or the newest entry where the path is an array of tables."""
        return (*path, self.lengths[path] - 1) if path in self.lengths else path

    def _keys(self) -> list[str]:
        """A key, dotted or not."""
        keys = []
        while True:
            self._more()
            found = _STRING.match(self.text, self.at) or _BARE_KEY.match(self.text, self.at)
            assert found is not None, "the text is valid TOML"
            self.at = found.end()
            keys.append(next(iter(tomllib.loads(f"{found[0]} = 0"))))
            self._more()
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def _pair(self, table: KeyPath) -> None:
        begin = self.at
        path = (*table, *self._keys())
        self._note(path, begin)
        self.at = self.text.find("=", self.at) + 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._more()
        letter = self.text[self.at : self.at + 1]
        if letter in ("[", "{"):
            self._entries(path, "]" if letter == "[" else "}")
            return
        found = _STRING.match(self.text, self.at) or _BARE_VALUE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def _entries(self, path: KeyPath, end: str) -> None:
        """The inside of an array or an inline table."""
        self.at += 1
        number = 0
        while self._more() and self.text[self.at] != end:
            if end == "}":
                self._pair(path)
            else:
                self._note((*path, number), self.at)
                self._value((*path, number))
                number += 1
            self._more()
            if self.text.startswith(",", self.at):
                self.at += 1
        self.at += 1

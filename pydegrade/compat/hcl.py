"""The part of HCL that configurations of wtp_dataset_destroyer are written in: values, lists, tables and blocks.

    input = "photos"               # comments: #, // and /* */
    tile = { size = 512, no_wb = true }
    degradation {
      type = "blur"
      kernel = [0, 1.5]
    }

Blocks of one name become a list of tables, as python-hcl2 gives them. Nothing is evaluated: expressions, templates,
heredocs, labels of blocks and names in the place of values are refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from ..errors import OptionsError, shown

_DEEPEST = 32

_TOKEN = re.compile(
    r"""(?P<skip>[^\S\n]+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
    |(?P<line>\n)
    |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*")
    |(?P<name>[A-Za-z_][A-Za-z0-9_-]*)
    |(?P<mark>[={}\[\],:])""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = {"true": True, "false": False, "null": None}


def parsed_hcl(text: str, name: str) -> dict[str, Any]:
    """The table of a text.

    Args:
        text: of the file.
        name: of the file, for messages.
    Raises:
        OptionsError: what is not in the part of HCL that is read, one line with its place.
    """
    reader = _Reader(text, name)
    table = reader.body("end", 0)
    return table


class _Reader:
    """Tokens of a text, one behind the other."""

    def __init__(self, text: str, name: str) -> None:
        self._name, self._line = name, 1
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._fail(f"values, lists, tables and blocks alone are read, got {shown(text[at : at + 12])}")
            kind, word = str(found.lastgroup), found.group()
            if kind != "skip":
                self._tokens.append((kind, word, self._line))
            self._line += word.count("\n")
            at = found.end()
        self._tokens.append(("end", "the end of the file", self._line))
        self._at = 0

    def _fail(self, why: str) -> OptionsError:
        return OptionsError(f"{self._name}:{self._line}: not a configuration in HCL: {why}")

    def _peek(self, over_lines: bool = True) -> tuple[str, str]:
        while over_lines and self._tokens[self._at][0] == "line":
            self._at += 1
        kind, word, self._line = self._tokens[self._at]
        return kind, word

    def _take(self, over_lines: bool = True) -> tuple[str, str]:
        token = self._peek(over_lines)
        if token[0] != "end":
            self._at += 1
        return token

    def body(self, end: str, depth: int) -> dict[str, Any]:
        """Attributes and blocks up to `end`: "}" or "end"."""
        if depth > _DEEPEST:
            raise self._fail("nested too deeply")
        table: dict[str, Any] = {}
        blocks: set[str] = set()
        while True:
            kind, word = self._take()
            if word == end if kind == "mark" else kind == end:
                return table
            if kind == "mark" and word == "," and end == "}" and table:
                continue  # between the members of a table
            if kind not in ("name", "string"):
                raise self._fail(f"expected a name, got {shown(word)}")
            key = self._text(word) if kind == "string" else word
            mark = self._take(over_lines=False)[1]
            if mark == "{" and (key not in table or key in blocks):
                blocks.add(key)
                table.setdefault(key, []).append(self.body("}", depth + 1))
            elif mark in ("=", ":") and key not in table:
                table[key] = self._value(depth + 1)
            elif key in table:
                raise self._fail(f"{shown(key)} stands twice")
            else:
                raise self._fail(f"expected '=' or '{{' behind {shown(key)}, got {shown(mark)}")

    def _value(self, depth: int) -> Any:
        kind, word = self._take()
        if depth > _DEEPEST:
            raise self._fail("nested too deeply")
        if kind == "number":
            value = float(word) if set(word) & set(".eE") else int(word[:400])
            if (isinstance(value, int) and len(word) > 18) or not math.isfinite(value):
                raise self._fail(f"a number that is too large: {shown(word[:20])}")
            return value
        if kind == "string":
            return self._text(word)
        if kind == "name" and word in _CONSTANTS:
            return _CONSTANTS[word]
        if word == "[" and kind == "mark":
            return self._list(depth)
        if word == "{" and kind == "mark":
            return self.body("}", depth)
        raise self._fail(f"expected a value, got {shown(word)}")

    def _list(self, depth: int) -> list[Any]:
        values: list[Any] = []
        while self._peek() != ("mark", "]"):
            values.append(self._value(depth + 1))
            if self._peek() == ("mark", ","):
                self._take()
            elif self._peek() != ("mark", "]"):
                raise self._fail(f"expected ',' or ']', got {shown(self._peek()[1])}")
        self._take()
        return values

    def _text(self, word: str) -> str:
        if "${" in word or "%{" in word:
            raise self._fail("templates are not evaluated")
        try:
            text = str(json.loads(word))
            text.encode()
        except ValueError:
            raise self._fail(f"a text that is none: {shown(word[:40])}") from None
        return text

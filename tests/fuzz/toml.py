"""TOML documents with something wrong in them: changed where their structure is known, and in their bytes."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass(frozen=True)
class Raw:
    """A value as it stands in the file."""

    text: str

    def __repr__(self) -> str:
        return self.text if len(self.text) < 40 else f"{self.text[:20]}... ({len(self.text)} characters)"


HOSTILE: tuple[Any, ...] = (
    -1, 0, 1, 2, 5, 255, 2**31, 2**31 - 1, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**9, 10**13, Raw("9" * 400),
    Raw("9" * 5000), Raw("-" + "9" * 5000), Raw("0x" + "f" * 3000), 0.0, -0.0, 0.5, -0.5, 1.5, 1e200, -1e200, 1e-320,
    1e308, Raw("inf"), Raw("-inf"), Raw("nan"), True, False, "", "x", "auto", "none", "a" * 10000, "\0", "\x1b[31m",
    "two\nlines", "../../etc/passwd", "/dev/zero", "/proc/self/mem", ".", "x.toml", "\udcff", "²", "=1+1", "hr",
    "realesrgan-x4", "bicubic", "bicubic-x2", [], [1], [[]], [1, 2], [2, 1], [0.1, 0.2], [1e200, 2e200], ["a", "b"],
    [[1, 2], [3]], [{}], [True], [1, "x"], [-1, -1], {}, {"a": 1}, {"a": {}}, {"choice": []},
    {"uniform": [0, 1e200]}, {"uniform": [1, 0]}, {"integers": [0, 10**13]},
    {"choice": [1, 2], "weights": [1e308, 1e308]}, {"choice": [1], "weights": [-1]}, {"const": 5}, {"bernoulli": 2},
    {"mixture": [{"mixture": [1]}]}, {"by": "x", "cases": {}}, {"bsrgan_covariance": 1e200, "entry": "00"},
    {"type": [1]}, {"type": "psnr"}, {"type": {}}, {"": 1}, Raw("1979-05-27"), Raw("07:32:00"),
    Raw("1979-05-27T07:32:00Z"), Raw("[" * 5000 + "]" * 5000), Raw("{a = " * 3000 + "1" + "}" * 3000),
    Raw("[" * 90 + "1" + "]" * 90), Raw("[" + "1, " * 20000 + "]"),
)  # fmt: skip


def hostile(random: Random) -> Any:
    """A value that nothing else holds: documents are changed in place, and a list must not come to hold itself."""
    return deepcopy(random.choice(HOSTILE))


def nodes(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every value in a document."""
    found = [path] if path else []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += nodes(value, (*path, key))
    return found


def get(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def change(random: Random, tree: dict[str, Any], others: list[Any]) -> str:
    """Change a document in one place; what was done."""
    paths = nodes(tree)
    if not paths:
        tree["space"] = hostile(random)
        return "space"
    path = random.choice(paths)
    inside, key = get(tree, path[:-1]), path[-1]
    place = ".".join(map(str, path))
    kind = random.randrange(10)
    if kind <= 4:
        inside[key] = hostile(random)
        return f"{place} = {inside[key]!r}"
    if kind == 5:
        del inside[key]
        return f"{place} deleted"
    if kind == 6:
        inside[key] = [inside[key]] if random.random() < 0.5 else {"x": inside[key]}
        return f"{place} wrapped"
    if kind == 7 and isinstance(inside, dict):
        name = random.choice((str(key) + "x", "", "name", "type", "op", "\x1b", "a.b", "é", "x" * 300))
        inside[name] = inside.pop(key)
        return f"{place} renamed {name!r}"
    if kind == 8 and others:
        other = random.choice(others)
        inside[key] = deepcopy(get(other, random.choice(nodes(other))))
        return f"{place} = a part of another document"
    value = inside[key]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        inside[key] = random.choice(
            (-value, value * 1000, value + 0.5, value / 7, value * 10**9, int(value), str(value))
        )
        return f"{place} = {inside[key]!r}"
    if isinstance(value, str):
        inside[key] = random.choice((value.upper(), value + "x", value[:-1], value * 50, value + "\n"))
        return f"{place} = {inside[key]!r}"
    if isinstance(value, list) and value:
        value.append(random.choice((value[0], hostile(random))))
        return f"{place} longer"
    inside[key] = hostile(random)
    return f"{place} = {inside[key]!r}"


def mutated_text(random: Random, text: str) -> bytes:
    """The text with bytes changed, lines doubled or torn."""
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(random.choice((1, 1, 2, 4))):
        if not data:
            break
        at = random.randrange(len(data))
        kind = random.randrange(6)
        if kind == 0:
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            del data[at : at + random.choice((1, 5, 50))]
        elif kind == 2:
            data[at:at] = random.choice(
                (b"[", b"]", b'"', b"'''", b"\0", b"\xff", b"\r", b"=", b"#", b"\xef\xbb\xbf", b"1e999")
            )
        elif kind == 3:
            lines = data.split(b"\n")
            number = random.randrange(len(lines))
            lines.insert(number, lines[random.randrange(len(lines))])
            data = bytearray(b"\n".join(lines))
        elif kind == 4:
            numbers = list(re.finditer(rb"\d+", data))
            if numbers:
                found = random.choice(numbers)
                data[found.start() : found.end()] = random.choice(
                    (b"-1", b"0", b"1e200", b"9" * 400, b"9" * 5000, b"1.5", b"nan")
                )
        else:
            data[0:0] = random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n", b"[[space]]\n", b"x = 1\n"))
    return bytes(data)


def dumps(tree: dict[str, Any]) -> str:
    """Any tree as TOML, whole values on one line each, tables of tables as headers."""
    return "".join(_table((str(key),), value) for key, value in tree.items())


def _table(path: tuple[str, ...], value: Any) -> str:
    name = ".".join(map(_key, path))
    if isinstance(value, dict) and len(path) < 2:
        return f"[{name}]\n" + "".join(f"{_key(key)} = {_value(entry)}\n" for key, entry in value.items())
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return "".join(f"[[{name}]]\n" + "".join(f"{_key(k)} = {_value(v)}\n" for k, v in e.items()) for e in value)
    return f"{name} = {_value(value)}\n" if len(path) > 1 else f"{_key(path[0])} = {_value(value)}\n"


def _key(key: Any) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _string(text)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(entry)}" for key, entry in value.items()) + "}"
    return repr(value)

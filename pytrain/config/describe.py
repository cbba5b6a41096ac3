"""What can be configured, for people and editors: a commented TOML file to start from, and a JSON schema.

Both are made from the declarations of the options themselves, so they cannot fall behind them.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import tomli_w

from ..errors import ConfigError, nearest
from ..methods.registry import METHODS, MethodEntry
from ..nets import NETS
from ..options import MISSING, Option, adapter, options_of, plain, records_in
from .config import NAMES, SECTIONS, TRAINABLE, UPSCALERS, Config

WIDTH = 120
COMMENT_COLUMN = 40

NET_OF_METHOD = "srresnet"
"""The network of a method that suggests none."""


def help_text(option: Option) -> str:
    """What an option means, with its unit and its choices."""
    unit = option.extra.get("unit")
    parts = [f"{option.help} ({unit})" if unit and option.help else option.help]
    if get_origin(option.hint) is Literal:
        parts.append(f"one of {', '.join(map(str, get_args(option.hint)))}")
    return "; ".join(part for part in parts if part)


# ---- A file to start from


def template(method: str, net: str | None = None, scale: int = 4, schema: str | None = None) -> str:
    """A commented configuration with every option of a method, as TOML.

    Args:
        method: a name in METHODS.
        net: a name in NETS; None: the one that the method was published with.
        scale: of the network.
        schema: path of the JSON schema for editors, None to name none.
    Returns:
        The text. Values are what the method suggests, else the defaults; options that nothing sets are comments.
    Raises:
        ConfigError: an unknown method or network.
    """
    if method not in METHODS:
        raise ConfigError(f"--method: must be a known method, got {method!r}{nearest(method, METHODS)}")
    entry = METHODS[method]
    net = net or str(entry.suggested.get("net.type", NET_OF_METHOD))
    if net not in TRAINABLE:
        raise ConfigError(f"--net: must be a known network, got {net!r}{nearest(net, TRAINABLE)}")
    crop_px = int(entry.suggested.get("data.crop_px", SECTIONS["data"]().crop_px))
    chosen: dict[str, dict[str, Any]] = {
        "net": {"type": net, "scale": scale} if net in UPSCALERS else {"type": net},
        "method": {"type": method},
        "data": {"crop_px": crop_px - crop_px % scale},
    }
    lines = [f"#:schema {schema}"] if schema else []
    lines += [
        f"# {method}: {entry.summary}.",
        *([f"# Source: {entry.paper}."] if entry.paper else []),
        "# Relative paths begin at this file's folder, run.out at the current one.",
        "# `pytrain check FILE` opens everything that is named here; `pytrain fit FILE` trains.",
    ]
    for name in NAMES:
        kind = NETS[net].config if name == "net" else entry.config if name == "method" else SECTIONS[name]
        lines += ["", *_section((name,), kind, chosen.get(name, {}), entry)]
    return "\n".join(lines) + "\n"


def _section(
    path: tuple[str, ...],
    kind: type[Any],
    chosen: Mapping[str, Any],
    entry: MethodEntry,
    start: Any = None,
    text: str = "",
) -> Iterator[str]:
    """Lines of one table and of the tables in it; `text` says what the table is for."""
    yield f"[{'.'.join(path)}]"
    for line in (text, (inspect.getdoc(kind) or "").partition("\n")[0]):
        if line:
            yield f"# {line}"
    later: list[Iterator[str]] = []
    for option in options_of(kind).values():
        key = ".".join((*path, option.name))
        default = getattr(start, option.name) if start is not None else option.default
        value = chosen.get(option.name, entry.suggested.get(key, default))
        if option.name == "type" and kind not in SECTIONS.values():
            yield f"type = {toml_value(value)}"
        elif dataclasses.is_dataclass(value):
            later.append(_section((*path, option.name), type(value), {}, entry, value, help_text(option)))
        elif get_origin(option.hint) is tuple and records_in(option.hint):
            later.append(_list_entry((*path, option.name), records_in(option.hint)[0], option))
        else:
            source = f" [{entry.paper}]" if key in entry.suggested and entry.paper else ""
            yield from _option_lines(option.name, value, help_text(option) + source)
    for lines in later:
        yield ""
        yield from lines


def _option_lines(name: str, value: Any, text: str) -> Iterator[str]:
    """`name = value  # text`, the text on a line before it where both do not fit; a comment where nothing is set."""
    assignment = f"# {name} =" if value is MISSING else f"{name} = {toml_value(value)}"
    line = f"{assignment:<{COMMENT_COLUMN}}# {text}" if text else assignment
    if len(line) <= WIDTH:
        yield line
    else:
        yield from (f"# {part}" for part in textwrap.wrap(f"{text}:", WIDTH - 2))
        yield assignment


def toml_value(value: Any) -> str:
    """A plain value on one line of TOML; the library puts the entries of lists and tables on lines of their own."""
    value = plain(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {toml_value(entry)}" for key, entry in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return tomli_w.dumps({"value": value}).partition(" = ")[2].rstrip("\n")


def _list_entry(path: tuple[str, ...], kind: type[Any], option: Option) -> Iterator[str]:
    """One entry of a list of tables, as a comment: the list is empty until someone fills it."""
    yield f"# [[{'.'.join(path)}]]" + (f"  # {option.help}" if option.help else "")
    for inner in options_of(kind).values():
        for line in _option_lines(inner.name, inner.default, help_text(inner)):
            yield line if line.startswith("#") else f"# {line}"


# ---- JSON schema


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a configuration file."""
    described = adapter(Config).json_schema()
    definitions = described["$defs"]
    for kind in (*(NETS[name].config for name in TRAINABLE), *(entry.config for entry in METHODS.values())):
        # The reader chooses a table's class by its type, which its declaration has a value for.
        definitions[kind.__name__]["required"] = ["type", *definitions[kind.__name__].get("required", [])]
    _tidy(described)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **described,
        "title": "Configuration of pytrain",
        "description": "What `pytrain fit` is told.",
    }


def _tidy(described: Any) -> None:
    """Leave out titles that only repeat the key, and defaults of whole tables, whose options have their own."""
    if isinstance(described, list):
        for entry in described:
            _tidy(entry)
    if not isinstance(described, dict):
        return
    for member in described.get("properties", {}).values():
        member.pop("title", None)
        if "$ref" in member:
            member.pop("default", None)
    if "title" in described and isinstance(described.get("description"), str):
        described["description"] = re.split(r"\n\s*\n", described["description"])[0].replace("\n", " ")
    for entry in described.values():
        _tidy(entry)

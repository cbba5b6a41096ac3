"""What can be configured, for people and editors: a commented TOML file to start from, and a JSON schema.

Both are made from the dataclasses themselves, so they cannot fall behind them.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING
from typing import Any, Literal, get_args, get_origin

from ..errors import ConfigError, nearest
from ..methods.registry import METHODS, MethodEntry
from ..nets import NETS
from .config import SECTIONS, TRAINABLE, UPSCALERS, Config, toml_key, toml_value
from .parsing import Option, options, without_none

WIDTH = 120
COMMENT_COLUMN = 40

NET_OF_METHOD = "srresnet"
"""The network of a method that suggests none."""


def help_text(kind: type[Any], option: Option) -> str:
    """What an option means, with its unit and its choices: from its metadata, else the comment on its line."""
    text = option.metadata.get("help") or _comments(kind).get(option.name, "")
    unit = option.metadata.get("unit")
    parts = [f"{text} ({unit})" if unit and text else text]
    hint = without_none(option.hint)
    if get_origin(hint) is Literal:
        parts.append(f"one of {', '.join(map(str, get_args(hint)))}")
    return "; ".join(part for part in parts if part)


def _comments(kind: type[Any]) -> dict[str, str]:
    """Trailing comments of a dataclass' fields: networks document theirs that way."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return {}
    return dict(re.findall(r"^    (\w+): .*?  # (.*)$", source, re.M))


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
    for name in (member.name for member in dataclasses.fields(Config) if member.name != "places"):
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
    yield f"[{'.'.join(map(toml_key, path))}]"
    for line in (text, (inspect.getdoc(kind) or "").partition("\n")[0]):
        if line:
            yield f"# {line}"
    if "type" in chosen:
        yield f"type = {toml_value(chosen['type'])}"
    later: list[Iterator[str]] = []
    for option in options(kind):
        key = ".".join((*path, option.name))
        hint = without_none(option.hint)
        default = getattr(start, option.name) if start is not None else option.default
        value = chosen.get(option.name, entry.suggested.get(key, default))
        about = help_text(kind, option)
        if option.metadata.get("net") and dataclasses.is_dataclass(default):
            net_type = {"type": getattr(default, "type", "")}
            inner = typing.cast(type[Any], type(default))
            later.append(_section((*path, option.name), inner, net_type, entry, default, about))
        elif dataclasses.is_dataclass(hint):
            inner, begin = typing.cast(type[Any], hint), None if value is MISSING else value
            later.append(_section((*path, option.name), inner, {}, entry, begin, about))
        elif get_origin(hint) is tuple and dataclasses.is_dataclass(get_args(hint)[0]):
            later.append(_list_entry((*path, option.name), get_args(hint)[0], option))
        else:
            source = f" [{entry.paper}]" if key in entry.suggested and entry.paper else ""
            yield from _option_lines(option.name, value, about + source)
    for lines in later:
        yield ""
        yield from lines


def _option_lines(name: str, value: Any, text: str) -> Iterator[str]:
    """`name = value  # text`, the text on a line before it where both do not fit; a comment where nothing is set."""
    is_set = value is not None and value is not MISSING
    assignment = f"{name} = {toml_value(value)}" if is_set else f"# {name} ="
    line = f"{assignment:<{COMMENT_COLUMN}}# {text}" if text else assignment
    if len(line) <= WIDTH:
        yield line
    else:
        yield from (f"# {part}" for part in textwrap.wrap(f"{text}:", WIDTH - 2))
        yield assignment


def _list_entry(path: tuple[str, ...], kind: type[Any], option: Option) -> Iterator[str]:
    """One entry of a list of tables, as a comment: the list is empty until someone fills it."""
    text = option.metadata.get("help", "")
    yield f"# [[{'.'.join(path)}]]" + (f"  # {text}" if text else "")
    for inner in options(kind):
        value = "" if inner.default in (MISSING, None) else inner.default
        for line in _option_lines(inner.name, value, help_text(kind, inner)):
            yield line if line.startswith("#") else f"# {line}"


# ---- JSON schema


def schema() -> dict[str, Any]:
    """The JSON schema (draft 7) of a configuration file."""
    properties: dict[str, Any] = {}
    for name in (member.name for member in dataclasses.fields(Config) if member.name != "places"):
        if name == "net":
            properties[name] = _net_schema(TRAINABLE, True)
        elif name == "method":
            kinds = [_record(entry.config, kind, True) for kind, entry in METHODS.items()]
            properties[name] = {"description": "What a step learns from and what it minimises.", "oneOf": kinds}
        else:
            properties[name] = _record(SECTIONS[name])
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of pytrain",
        "type": "object",
        "additionalProperties": False,
        "required": ["net", "method"],
        "properties": properties,
    }


def _net_schema(names: Sequence[str], needs_type: bool) -> dict[str, Any]:
    kinds = [_record(NETS[name].config, name, needs_type) for name in names]
    return kinds[0] if len(kinds) == 1 else {"description": "A network.", "oneOf": kinds}


def _record(kind: type[Any], type_name: str = "", needs_type: bool = False) -> dict[str, Any]:
    described: dict[str, Any] = {
        "type": "object",
        "description": (inspect.getdoc(kind) or "").partition("\n")[0],
        "additionalProperties": False,
        "properties": {"type": {"const": type_name}} if type_name else {},
    }
    required = ["type"] if needs_type else []
    for option in options(kind):
        described["properties"][option.name] = _option_schema(kind, option)
        if option.default is MISSING:
            required.append(option.name)
    return {**described, "required": required} if required else described


def _option_schema(kind: type[Any], option: Option) -> dict[str, Any]:
    hint = without_none(option.hint)
    if option.metadata.get("net"):
        names = [name for name, net in NETS.items() if net.config is hint] or list(NETS)
        return {**_net_schema(names, False), "description": help_text(kind, option)}
    described = _type_schema(hint)
    text = help_text(kind, option)
    if text:
        described["description"] = text
    if isinstance(option.default, (str, int, float, bool)):
        described["default"] = option.default
    elif isinstance(option.default, tuple) and not any(map(dataclasses.is_dataclass, option.default)):
        described["default"] = list(option.default)
    return described


def _type_schema(hint: Any) -> dict[str, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _record(typing.cast(type[Any], hint))
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple and inner[-1] is Ellipsis:
        entries = {"type": "array", "items": _type_schema(inner[0])}
        return {"anyOf": [{"type": "string"}, entries]} if inner[0] is str else entries
    if origin is tuple:
        return {"type": "array", "items": _type_schema(inner[0]), "minItems": len(inner), "maxItems": len(inner)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _type_schema(inner[1])}
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": names[hint]} if hint in names else {}

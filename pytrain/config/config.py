"""`Config`: everything a run is told, read from TOML into frozen values. Errors name file, line, key and value.

Relative paths in a file begin at the file's folder; those of `--set`, and `run.out` always, at the current folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydegrade.tasks.toml_lines import KeyPath, decode_error, key_lines

from ..data.source import DataConfig
from ..errors import ConfigError, DataError, PytrainError, nearest
from ..evaluation.evaluate import EvaluateConfig
from ..methods.registry import METHODS
from ..nets import NETS
from ..settings import CheckpointConfig, LogConfig, OptimizerConfig, RunConfig, ScheduleConfig, TrainConfig, require
from .parsing import Option, Places, Reader, options

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "SECTIONS",
    "TRAINABLE",
    "UPSCALERS",
    "Config",
    "digest",
    "load",
    "loads",
    "located",
    "method_name",
    "to_dict",
    "to_toml",
]

SECTIONS: Mapping[str, type[Any]] = {
    "run": RunConfig,
    "data": DataConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "checkpoint": CheckpointConfig,
    "log": LogConfig,
}
"""The sections whose type is always the same; `net` and `method` have one type per `type`."""

UPSCALERS = tuple(
    name for name, net in NETS.items() if "scale" in {member.name for member in dataclasses.fields(net.config)}
)
"""The networks whose configuration has a scale."""

TRAINABLE = tuple(name for name, net in NETS.items() if hasattr(net.config, "scale") or name in UPSCALERS)
"""The networks that a run can train as its model, with those whose scale belongs to their tasks (IPT)."""

FREE = {
    "run": ("name", "out", "device"),
    "data": ("workers", "cache_mb"),
    "train": ("compile", "accumulate", "threads", "bad_steps"),
    "evaluate": (),
    "checkpoint": (),
    "log": (),
}
"""What `digest` leaves out: the whole section where nothing is named. It moves no weight, or only by rounding."""

_KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))((?:\[[0-9]+\])*)\s*(\.|$)""")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A run: one section of the file per field, checked.

    Attributes:
        net: configuration of the network that is trained, one of the dataclasses in `pytrain.nets.NETS`.
        method: one of the dataclasses in `pytrain.methods.registry.METHODS`.
        places: where values were set, for messages; does not take part in comparisons.
    """

    run: RunConfig = field(default_factory=RunConfig)
    net: Any
    method: Any
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    places: Places = field(default_factory=Places, compare=False, repr=False)

    def __post_init__(self) -> None:
        require(self.net.type in TRAINABLE, "net.type", f"one of {', '.join(TRAINABLE)}", self.net.type)
        scale = int(self.net.scale)
        require(scale >= 1, "net.scale", "given (spandrel reads the file only later)", scale)
        crop_px = self.data.crop_px
        require(crop_px % scale == 0, "data.crop_px", f"a multiple of net.scale {scale}", crop_px)
        batch, accumulate = self.data.batch, self.train.accumulate
        require(accumulate <= batch, "train.accumulate", f"at most data.batch {batch}", accumulate)


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """The configuration of a TOML file.

    Args:
        path: the file.
        overrides: texts `section.key=value`, applied in order after the file. The value is TOML; what is no TOML value
            is taken as text: `run.name=first`. Entries of lists by number: `evaluate.sets[0].name=set5`.
    Raises:
        ConfigError: one line, "file:line: section.key must be X, got Y; did you mean Z?".
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return loads(text, overrides, str(path), Path(path).parent)


def loads(
    text: str, overrides: Sequence[str] = (), origin: str = "config", folder: str | os.PathLike[str] = "."
) -> Config:
    """The configuration of a TOML text.

    Args:
        text: what the file holds.
        overrides: see `load`.
        origin: what messages call the file.
        folder: where relative paths begin.
    Raises:
        ConfigError: see `load`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(decode_error(origin, error)) from None
    given: dict[KeyPath, str] = {}
    for override in overrides:
        given[_apply(data, override)] = override
    return _config(data, Reader(Places(origin, key_lines(text), given), Path(folder)))


def _config(data: dict[str, Any], reader: Reader) -> Config:
    places = reader.places
    names = [member.name for member in dataclasses.fields(Config) if member.name != "places"]
    for name, table in data.items():
        if name not in names:
            kind = "section" if isinstance(table, dict) else "key outside of a section:"
            raise places.error((name,), f"unknown {kind} {name!r}{nearest(name, names)}")
    for name, known in (("net", NETS), ("method", METHODS)):
        if name not in data:
            raise places.error((), f"the section [{name}] is missing; its type is one of {', '.join(known)}")
    values: dict[str, Any] = {"places": places}
    values["net"] = reader.net(Any, None, data["net"], ("net",), TRAINABLE)
    values["method"] = _method(data["method"], reader)
    for name, section in SECTIONS.items():
        if name in data:
            values[name] = reader.record(section, data[name], (name,))
    try:
        return Config(**values)
    except ConfigError as error:
        raise places.located(str(error), names) from None


def _method(table: Any, reader: Reader) -> Any:
    path: KeyPath = ("method",)
    if not isinstance(table, dict):
        raise reader.places.error(path, f"method must be a table, got {table!r}")
    given = dict(table)
    name = given.pop("type", None)
    if name is None:
        raise reader.places.error(path, f"method.type is missing; known: {', '.join(METHODS)}")
    if name not in METHODS:
        message = f"method.type must be a known method, got {name!r}{nearest(str(name), METHODS)}"
        raise reader.places.error((*path, "type"), message)
    return reader.record(METHODS[name].config, given, path, label=f"[method] ({name})")


def _apply(data: dict[str, Any], override: str) -> KeyPath:
    """Put the value of one `--set` into the tables; the path of its key."""
    where = f"--set {override}"
    name, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"{where}: must be section.key=value, got no '='")
    path = _override_path(name, where)
    value = _override_value(text.strip(), where)
    inside: Any = data
    for part, following in itertools.pairwise(path):
        if isinstance(part, str) and isinstance(inside, dict):
            inside = inside.setdefault(part, [] if isinstance(following, int) else {})
        else:
            inside = _entry(inside, part, where)
        if not isinstance(inside, (dict, list)):
            raise ConfigError(f"{where}: {part!r} is no table, its value is {inside!r}")
    last = path[-1]
    if isinstance(last, str) and isinstance(inside, dict):
        inside[last] = value
    else:
        _entry(inside, last, where)
        inside[last] = value
    return path


def _entry(inside: Any, part: str | int, where: str) -> Any:
    if isinstance(part, str):
        raise ConfigError(f"{where}: {part!r} lies in a list; write the entry's number, as in sets[0].{part}")
    if not isinstance(inside, list):
        raise ConfigError(f"{where}: [{part}] must follow a list")
    if part >= len(inside):
        raise ConfigError(f"{where}: [{part}] must be below the list's length {len(inside)}")
    return inside[part]


def _override_path(name: str, where: str) -> KeyPath:
    path: list[str | int] = []
    at = 0
    while True:
        found = _KEY.match(name, at)
        if found is None:
            raise ConfigError(f"{where}: must begin with a key like section.key, got {name!r}")
        quoted, literal, bare, numbers, end = found.groups()
        path.append(next(key for key in (quoted, literal, bare) if key is not None))
        path += [int(number) for number in re.findall(r"[0-9]+", numbers)]
        at = found.end()
        if not end:
            return tuple(path)


def _override_value(text: str, where: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if "\n" in text or text[:1] in ("[", "{", '"', "'"):
            reason = re.sub(r" \(at .*\)$", "", str(error))
            raise ConfigError(f"{where}: not a TOML value: {reason}") from None
        return text


def located(config: Config, error: PytrainError) -> PytrainError:
    """An error about a key that was found out later, with the key's place before it; any other error as it is.

    Methods, data and evaluation raise `DataError("data.hr: ...")`; only the configuration knows file and line.
    """
    first = str(error).partition(" ")[0].rstrip(":").split(".")
    names = [member.name for member in dataclasses.fields(Config) if member.name != "places"]
    is_key = len(first) > 1 and first[0] in names
    if not is_key or not isinstance(error, (ConfigError, DataError)) or not config.places.origin:
        return error
    return config.places.located(str(error), names)


# ---- Writing


def method_name(config: Any) -> str:
    """The name in METHODS of a method's configuration."""
    return next(name for name, entry in METHODS.items() if type(config) is entry.config)


def to_dict(config: Config) -> dict[str, Any]:
    """The resolved configuration as plain values that JSON can hold, by section; options that are None are left out."""
    sections = (member.name for member in dataclasses.fields(Config) if member.name != "places")
    return {name: _plain(getattr(config, name)) for name in sections}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {option.name: getattr(value, option.name) for option in options(type(value))}
        return {**_type_of(value), **{key: _plain(member) for key, member in members.items() if member is not None}}
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value


def _type_of(value: Any) -> dict[str, str]:
    """`{"type": name}` of networks and methods, which do not hold it as a field."""
    if any(type(value) is entry.config for entry in METHODS.values()):
        return {"type": method_name(value)}
    if any(type(value) is net.config for net in NETS.values()):
        return {"type": value.type}
    return {}


def to_toml(config: Config) -> str:
    """The resolved configuration as TOML, every option written out; loading it gives an equal `Config`."""
    parts = [_tables((name,), table) for name, table in to_dict(config).items()]
    return "\n".join(part for part in parts if part)


def _tables(path: tuple[str, ...], table: Mapping[str, Any], brackets: str = "[]") -> str:
    """A table with its own keys first, then the tables in it."""
    tables = {key: value for key, value in table.items() if _is_table(value)}
    lists = {key: value for key, value in table.items() if isinstance(value, list) and value and _all_tables(value)}
    name = ".".join(map(toml_key, path))
    text = f"{brackets[0]}{name}{brackets[-1]}\n" if len(brackets) == 2 else f"[[{name}]]\n"
    for key, value in table.items():
        if key not in tables and key not in lists:
            text += f"{toml_key(key)} = {toml_value(value)}\n"
    for key, value in tables.items():
        text += "\n" + _tables((*path, key), value)
    for key, value in lists.items():
        text += "".join("\n" + _tables((*path, key), entry, "[[]]") for entry in value)
    return text


def _is_table(value: Any) -> bool:
    # Small mappings of numbers and texts read better on one line.
    if not isinstance(value, dict):
        return False
    return "type" in value or any(isinstance(entry, (dict, list)) for entry in value.values())


def _all_tables(value: Sequence[Any]) -> bool:
    return all(isinstance(entry, dict) for entry in value)


def toml_key(key: str) -> str:
    """A key as TOML writes it."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def toml_value(value: Any) -> str:
    """A plain value on one line of TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{toml_key(key)} = {toml_value(entry)}" for key, entry in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    assert isinstance(value, (int, float)), f"no TOML form of {value!r}"
    return repr(value)


# ---- Digest


def digest(config: Config) -> str:
    """16 hex digits of what determines the weights: equal digests on equal images give equal training.

    Left out: names, folders of results, logs, checkpoints, evaluation, workers, cache, threads, device, compilation and
    accumulation. Of paths only the last part counts, so that a run may move to another machine; the images themselves
    have a digest of their own (`Source.digest`).
    """
    content: dict[str, Any] = {}
    for member in dataclasses.fields(Config):
        free = FREE.get(member.name)
        if member.name != "places" and free != ():
            section = getattr(config, member.name)
            content[member.name] = {**_type_of(section), **_weighty(section, free or ())}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _weighty(section: Any, free: tuple[str, ...]) -> dict[str, Any]:
    return {
        option.name: _last_part(option, _plain(getattr(section, option.name)))
        for option in options(type(section))
        if option.name not in free
    }


def _last_part(option: Option, value: Any) -> Any:
    if not option.metadata.get("path"):
        return value
    if isinstance(value, str):
        return re.split(r"[\\/]", value)[-1]
    if isinstance(value, list):
        return [_last_part(option, entry) for entry in value]
    if isinstance(value, dict):
        return {key: _last_part(option, entry) for key, entry in value.items()}
    return value

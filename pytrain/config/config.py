"""`Config`: everything that sets a run, read from TOML into frozen values. Errors name file, line, key and value.

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
from dataclasses import field, replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args

import tomli_w
from pydantic import Discriminator, InstanceOf, ValidationError
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import ErrorDetails

from pydegrade.toml_lines import KeyPath, key_lines, parsed

from ..data.source import DataConfig
from ..errors import CheckpointError, ConfigError, DataError, PytrainError, nearest, one_line
from ..evaluation.settings import EvaluateConfig
from ..methods.registry import METHODS
from ..nets import NETS
from ..options import (
    MISSING,
    Option,
    adapter,
    as_json,
    dotted,
    message,
    option,
    options,
    options_of,
    plain,
    records_in,
    require,
    shown,
)
from ..settings import CheckpointConfig, LogConfig, OptimizerConfig, RunConfig, ScheduleConfig, TrainConfig
from .places import Places
from .quickstart import hint_for

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "SECTIONS",
    "TRAINABLE",
    "UPSCALERS",
    "Config",
    "changed_settings",
    "digest",
    "load",
    "loads",
    "located",
    "method_name",
    "to_dict",
    "to_toml",
]

UPSCALERS = tuple(name for name, net in NETS.items() if "scale" in options_of(net.config))
"""The networks whose configuration has a scale."""

TRAINABLE = tuple(name for name, net in NETS.items() if hasattr(net.config, "scale") or name in UPSCALERS)
"""The networks that a run can train as its model, with those whose scale belongs to their tasks (IPT)."""

if TYPE_CHECKING:
    AnyNet = Any
    AnyMethod = Any
else:
    AnyNet = Annotated[Union[tuple(NETS[name].config for name in TRAINABLE)], Discriminator("type")]  # noqa: UP007
    AnyMethod = Annotated[Union[tuple(entry.config for entry in METHODS.values())], Discriminator("type")]  # noqa: UP007

MOST_BYTES = 2**20
"""Of a file."""

_KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))((?:\[[0-9]+\])*)\s*(\.|$)""")


@options("", kw_only=True)
class Config:
    """A run: one section of the file per field, checked.

    Attributes:
        net: configuration of the network that is trained, one of the dataclasses in `pytrain.nets.NETS`.
        method: one of the dataclasses in `pytrain.methods.registry.METHODS`.
        places: where values were set, for messages; does not take part in comparisons.
    """

    run: RunConfig = option(RunConfig(), "the run as a whole")
    net: AnyNet = option(MISSING, "the network that is trained")
    method: AnyMethod = option(MISSING, "what a step learns from and what it minimises")
    data: DataConfig = option(DataConfig(), "what it learns from")
    optimizer: OptimizerConfig = option(OptimizerConfig(), "how weights move")
    schedule: ScheduleConfig = option(ScheduleConfig(), "how the learning rate changes")
    train: TrainConfig = option(TrainConfig(), "how a step is computed")
    evaluate: EvaluateConfig = option(EvaluateConfig(), "when and how it is measured", moves_weights=False)
    checkpoint: CheckpointConfig = option(CheckpointConfig(), "what is saved", moves_weights=False)
    log: LogConfig = option(LogConfig(), "what is written", moves_weights=False)
    places: Annotated[InstanceOf[Places], SkipJsonSchema()] = field(default_factory=Places, compare=False, repr=False)

    def __post_init__(self) -> None:
        scale = int(self.net.scale)
        require(scale >= 1, "net.scale", "given (spandrel reads the file only later)", scale)
        crop_px = self.data.crop_px
        require(crop_px % scale == 0, "data.crop_px", f"a multiple of net.scale {scale}", crop_px)
        batch, accumulate = self.data.batch, self.train.accumulate
        require(accumulate <= batch, "train.accumulate", f"at most data.batch {batch}", accumulate)


NAMES = tuple(name for name in options_of(Config) if name != "places")
"""The sections of a file, in the order in which they are written."""

SECTIONS: Mapping[str, type[Any]] = {
    name: records_in(options_of(Config)[name].hint)[0] for name in NAMES if name not in ("net", "method")
}
"""The sections whose type is always the same; `net` and `method` have one type per `type`."""


# ---- Reading


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """The configuration of a TOML file.

    Args:
        path: the file.
        overrides: texts `section.key=value`, applied in order after the file. The value is TOML; what is no TOML value
            is taken as text: `run.name=first`. Entries of lists by number: `evaluate.sets[0].name=set5`.
    Raises:
        ConfigError: everything that is wrong, one line each: "file:line: section.key must be X, got Y; did you mean Z?".
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = hint_for(Path(path)) if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}{hint}") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{path}: must be a configuration of at most {MOST_BYTES >> 20} MB, got a larger file")
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
    data = parsed(text, origin, "a configuration", ConfigError)
    as_json(data, origin)  # before anything walks over tables that are too deep
    given: dict[KeyPath, str] = {}
    for override in overrides:
        given[_apply(data, override)] = override
    places = _renamed(data, Places(origin, key_lines(text), given))
    read = _read(data, places)
    return replace(_with_whole_paths(read, (), places, Path(folder)), places=places)


def _renamed(data: dict[str, Any], places: Places) -> Places:
    """Give options that files of earlier versions call otherwise the names of this one, in the tables and in the places."""
    for section, kind in SECTIONS.items():
        table = data.get(section)
        for name, known in options_of(kind).items():
            former = known.extra.get("formerly")
            if former and isinstance(table, dict) and former in table and name not in table:
                table[name] = table.pop(former)
                old, new = (section, former), (section, name)
                lines = {new if path == old else path: line for path, line in places.lines.items()}
                overrides = {new if path == old else path: text for path, text in places.overrides.items()}
                places = replace(places, lines=lines, overrides=overrides)
    return places


def _read(data: dict[str, Any], places: Places) -> Config:
    """The checked configuration; paths as they are given."""
    try:
        found: Config = adapter(Config).validate_json(as_json(data, places.origin))
        return found
    except ValidationError as error:
        entries = error.errors(include_url=False)
    # `--set run.name=2024` means the text.
    wanted = {_follow(entry["loc"])[0]: entry["input"] for entry in entries if entry["type"] == "string_type"}
    meant = [path for path, value in wanted.items() if path in places.overrides and isinstance(value, (int, float))]
    if meant:
        for path in meant:
            _put(data, path, places.overrides[path].partition("=")[2].strip())
        return _read(data, places)
    problems = sorted((_problem(entry, places) for entry in entries), key=itemgetter(0))
    raise ConfigError(*dict.fromkeys(line for _, line in problems))


def _follow(loc: tuple[int | str, ...]) -> tuple[KeyPath, type[Any] | None, tuple[type[Any], ...]]:
    """What pydantic's name of a place means.

    Returns:
        (path in the file; class of the table that holds the last key; classes that the table at the place can have). The
        name has one part more where a table can be of several classes: which one it was taken for.
    """
    path: KeyPath = ()
    holder: type[Any] | None = None
    kinds: tuple[type[Any], ...] = (Config,)
    for part in loc:
        by_name = {options_of(kind)["type"].default: kind for kind in kinds} if len(kinds) > 1 else {}
        if part in by_name:
            kinds = (by_name[part],)
            continue
        path = (*path, part)
        if isinstance(part, str):
            holder = kinds[0] if len(kinds) == 1 else None
            member = options_of(holder).get(part) if holder else None
            kinds = records_in(member.hint) if member else ()
    return path, holder, kinds


def _problem(entry: ErrorDetails, places: Places) -> tuple[int, str]:
    """(line in the file, "file:line: ...") of one of pydantic's errors."""
    path, holder, kinds = _follow(entry["loc"])
    what, value = entry["type"], entry["input"]
    if what == "value_error":
        # A check of several options of a table, whose message begins with one of them.
        names = NAMES if kinds[0] is Config else options_of(kinds[0])
        return places.line(path), str(places.located(message(entry, ""), names, path))
    key = path[-1]
    table = f"[{dotted(path[:-1])}]"
    if path[:-1] in (("net",), ("method",)) and holder is not None:
        table += f" ({options_of(holder)['type'].default})"
    if len(path) == 1 and what in ("unexpected_keyword_argument", "is_instance_of"):
        kind = "section" if isinstance(value, dict) else "key outside of a section:"
        text = f"unknown {kind} {shown(key)}{nearest(str(key)[:80], NAMES)}"
    elif what == "unexpected_keyword_argument":
        text = f"{table}: unknown key {shown(key)}{nearest(str(key)[:80], options_of(holder) if holder else ())}"
    elif what == "missing" and len(path) == 1:
        path, text = (), f"the section [{key}] is missing; its type is one of {', '.join(_types(kinds))}"
    elif what == "missing" and isinstance(key, int):
        # One entry of a list of so many; pydantic names every one that is missing.
        path = path[:-1]
        count = len(get_args(options_of(holder)[str(path[-1])].hint)) if holder else 0
        text = f"{dotted(path)} must be a list of {count} values, got {shown(value)}"
    elif what == "missing":
        path, text = path[:-1], f"{table}: the key {key!r} is missing"
    elif len(kinds) > 1 and not isinstance(value, dict):
        text = f"{dotted(path)} must be a table, got {shown(value)}"
    elif what == "union_tag_not_found" and "type" not in value:
        text = f"{dotted(path)}.type is missing; known: {', '.join(_types(kinds))}"
    elif what.startswith("union_tag"):
        path, got = (*path, "type"), value["type"]
        hint = nearest(str(got)[:80], _types(kinds))
        text = f"{dotted(path)} must be a known {'network' if key == 'net' else key}, got {shown(got)}{hint}"
    else:
        text = message(entry, dotted(path))
    return places.line(path), str(places.error(path, text))


def _types(kinds: Sequence[type[Any]]) -> list[str]:
    """The values of `type` among which a table's class is chosen."""
    return [str(options_of(kind)["type"].default) for kind in kinds]


Record = TypeVar("Record")


def _with_whole_paths(record: Record, path: KeyPath, places: Places, folder: Path) -> Record:
    """A table in which every path is absolute."""
    changes = {}
    for name, known in options_of(type(record)).items():
        value, here = getattr(record, name), (*path, name)
        if known.extra.get("path"):
            whole = _whole_path(value, here, known, places, folder)
        elif dataclasses.is_dataclass(value) and name in (NAMES if not path else options_of(type(record))):
            whole = _with_whole_paths(value, here, places, folder)
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            whole = tuple(_with_whole_paths(one, (*here, number), places, folder) for number, one in enumerate(value))
        else:
            continue
        if whole != value:
            changes[name] = whole
    return replace(record, **changes) if changes else record  # type: ignore[type-var]


def _whole_path(value: Any, path: KeyPath, known: Option, places: Places, folder: Path) -> Any:
    if isinstance(value, tuple):
        return tuple(_whole_path(one, (*path, number), known, places, folder) for number, one in enumerate(value))
    if isinstance(value, Mapping):
        return {key: _whole_path(one, (*path, key), known, places, folder) for key, one in value.items()}
    if "\0" in value:
        raise places.error(path, f"{dotted(path)} must be a path, got {shown(value)}")
    if not value or (known.extra["path"] == "toml" and not value.endswith(".toml")):
        return value
    begin = folder if places.override(path) is None else Path.cwd()
    return os.path.normpath(begin.absolute() / Path(value).expanduser())


# ---- Options of the command line


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
            raise ConfigError(f"{where}: {part!r} is no table, its value is {shown(inside)}")
    last = path[-1]
    if not (isinstance(last, str) and isinstance(inside, dict)):
        _entry(inside, last, where)
    inside[last] = value
    return path


def _put(data: Any, path: KeyPath, value: Any) -> None:
    """Set a value that is there."""
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


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
    except (ValueError, RecursionError) as error:
        looks_like_toml = "\n" in text or text[:1] in ("[", "{", '"', "'")
        if looks_like_toml or not isinstance(error, tomllib.TOMLDecodeError):
            reason = one_line(re.sub(r" \(at .*\)$", "", str(error)), 120)
            raise ConfigError(f"{where}: not a TOML value: {reason}") from None
        return text


def located(config: Config, error: PytrainError) -> PytrainError:
    """An error about a key that was found out later, with the key's place before it; any other error as it is.

    Methods, data and evaluation raise `DataError("data.hr: ...")`; only the configuration knows file and line.
    """
    first = str(error).partition(" ")[0].rstrip(":").split(".")
    is_key = len(first) > 1 and first[0] in NAMES
    if not is_key or not isinstance(error, (CheckpointError, ConfigError, DataError)) or not config.places.origin:
        return error
    return config.places.located(str(error), NAMES)


# ---- Writing


def method_name(config: Any) -> str:
    """The name in METHODS of a method's configuration."""
    return str(config.type)


def to_dict(config: Config) -> dict[str, Any]:
    """The resolved configuration as plain values that JSON and TOML can hold, by section."""
    return {name: plain(getattr(config, name)) for name in NAMES}


def to_toml(config: Config) -> str:
    """The resolved configuration as TOML, every option written out; loading it gives an equal `Config`."""
    return tomli_w.dumps(to_dict(config))


# ---- What training depends on


def digest(config: Config) -> str:
    """16 hex digits of what determines the weights: equal digests on equal images give equal training.

    Left out: options declared with `moves_weights=False`. Of paths only the last part counts, so that a run may move to
    another machine; the images themselves have a digest of their own (`Source.digest`).
    """
    text = json.dumps(_weighty(config), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _weighty(record: Any) -> dict[str, Any]:
    """The options of a table that training depends on, as plain values."""
    found = {}
    for name, known in options_of(type(record)).items():
        value = getattr(record, name)
        absent = bool(known.extra.get("came_later")) and value == known.default
        if name != "places" and known.extra.get("moves_weights", True) and not absent:
            is_table = dataclasses.is_dataclass(value)
            found[name] = _weighty(value) if is_table else _last_part(known, plain(value))
    return found


def _last_part(known: Option, value: Any) -> Any:
    if not known.extra.get("path"):
        return value
    if isinstance(value, str):
        return re.split(r"[\\/]", value)[-1]
    if isinstance(value, list):
        return [_last_part(known, entry) for entry in value]
    return {key: _last_part(known, entry) for key, entry in value.items()}


def changed_settings(before: Mapping[str, Any], config: Config) -> list[str]:
    """One line per option that differs and that training depends on: "data.batch: 8, it was 16".

    Args:
        before: `to_dict` of another configuration, possibly written by an older version: options that it does not have
            yet had the value that is their default now.
        config: the one that holds.
    """
    return _changes(before, config, "")


def _changes(before: Mapping[str, Any], record: Any, where: str) -> list[str]:
    lines = []
    known = options_of(type(record))
    for name, member in known.items():
        if name == "places" or not member.extra.get("moves_weights", True):
            continue
        value = getattr(record, name)
        old = before.get(name, before.get(member.extra.get("formerly", name), plain(member.default)))
        if dataclasses.is_dataclass(value) and isinstance(old, Mapping):
            lines += _changes(old, value, f"{where}{name}.")
        elif old != plain(value):
            lines.append(f"{where}{name}: {shown(plain(value))}, it was {shown(old)}")
    former = {member.extra.get("formerly") for member in known.values()}
    gone = [name for name in before if name not in known and name not in former]
    return lines + [f"{where}{name}: no option any more, it was {shown(before[name])}" for name in gone]

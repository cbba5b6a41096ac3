"""How configurations are declared: frozen dataclasses whose fields say what they mean and what they may be.

    @options("data")
    class DataConfig:
        batch: int = option(16, "images of one optimizer step", ge=1, le=MOST_IMAGES)

pydantic checks every value where it enters, from a file and in Python alike; texts, bounds and types of the fields give
the messages, the JSON schema and the commented file of `pytrain init`. Types are strict: 1.0 is no whole number, and
true no number.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic_core import ErrorDetails, PydanticUndefined
from typing_extensions import dataclass_transform

from .errors import ConfigError, nearest, one_line

T = TypeVar("T")

MISSING: Any = PydanticUndefined
"""`Option.default` of an option that a file must set."""

_CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_SHOWN = 80


# ---- declaring


def option(
    default: Any,
    help_text: str,
    unit: str = "",
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    most: int | None = None,
    path: bool | Literal["toml"] = False,
    moves_weights: bool = True,
    formerly: str = "",
    came_later: bool = False,
) -> Any:
    """A field of a configuration.

    Args:
        default: its value where a file has none; MISSING: a file must have one.
        help_text: what `pytrain init`, the JSON schema and the documentation say about it.
        unit: of the value.
        ge, gt, le, lt: bounds of a number: >=, >, <=, <.
        most: entries of a list, letters of a text.
        path: whether a text is a path, whose relative form begins at the folder of the file; "toml": only where it ends
            in .toml, since other texts are names.
        moves_weights: whether training depends on it. What does not may change when a run is resumed, and is no part of
            the digest of a configuration.
        formerly: its name in files of earlier versions, which are read.
        came_later: earlier versions had not got it, and at its default training is theirs: there it is no part of the
            digest.
    """
    extra: dict[str, Any] = {"unit": unit} if unit else {}
    if path:
        extra["path"] = path
    if not moves_weights:
        extra["moves_weights"] = False
    given = {"ge": ge, "gt": gt, "le": le, "lt": lt, "max_length": most}
    bounds: Any = {name: bound for name, bound in given.items() if bound is not None}
    start: Any = {} if default is MISSING else {"default": default}
    if isinstance(default, (dict, list)):
        start = {"default_factory": lambda: type(default)(default)}
    if formerly:
        extra["formerly"] = formerly
    if came_later:
        extra["came_later"] = True
    return Field(**start, description=help_text, json_schema_extra=extra or None, **bounds)


def type_name(name: str) -> Any:
    """The field `type` of a network or method: the name in its registry, by keyword only."""
    return Field(default=name, kw_only=True, description="which one")


def _as_texts(value: Any) -> Any:
    # One folder needs no brackets.
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


if TYPE_CHECKING:
    Texts = tuple[str, ...]
else:
    Texts = Annotated[tuple[str, ...], BeforeValidator(_as_texts, json_schema_input_type=str | list[str])]
"""A list of texts, for which a file may hold one text."""


@dataclass_transform(frozen_default=True)
def options(table: str, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """Decorator: a frozen dataclass whose values are checked where it is made.

    Args:
        table: of the configuration file, for messages: "data".
        kw_only: whether values are given by name only.
    Raises:
        ConfigError: (of the class, when it is called) a value of another type or out of bounds: "data.batch must be >=
            1, got 0", a line for each. Checks of several fields together belong into `__post_init__`, which raises
            ConfigError too, its message beginning with the key: "data.hr must be ...".
    """

    def decorate(cls: type[T]) -> type[T]:
        made: Any = checked_dataclass(frozen=True, config=_CONFIG, kw_only=kw_only)(cls)
        check = made.__init__

        @functools.wraps(check)
        def __init__(self: Any, *args: Any, **values: Any) -> None:
            try:
                check(self, *args, **values)
            except ValidationError as error:
                entries = error.errors(include_url=False)
                found = (message(entry, dotted(entry["loc"], table), type(self)) for entry in entries)
                raise ConfigError(*found) from None

        made.__init__ = __init__
        return typing.cast(type[T], made)

    return decorate


def require(holds: bool, where: str, must: str, got: object) -> None:
    """ConfigError "where must be ..., got ..." unless the condition holds."""
    if not holds:
        raise ConfigError(f"{where} must be {must}, got {shown(got)}")


def require_name(name: str, where: str) -> None:
    """ConfigError unless a text can be the name of one file or folder."""
    holds = bool(name) and not set("/\0") & set(name) and name not in (".", "..")
    require(holds, where, "a plain name, without /", name)


# ---- reading declarations


@dataclass(frozen=True)
class Option:
    """One field of a configuration.

    Attributes:
        name: its key.
        hint: its type, without `Annotated` and `| None`.
        default: its value when the file does not set it; MISSING where it must.
        help: what it means.
        extra: `unit`, `path`, `moves_weights`; see `option`.
    """

    name: str
    hint: Any
    default: Any
    help: str
    extra: Mapping[str, Any]


def options_of(kind: type[Any]) -> Mapping[str, Option]:
    """The fields of a configuration's class by name, in order."""
    return _options_of(kind)  # type: ignore[arg-type]


@functools.cache
def _options_of(kind: Any) -> Mapping[str, Option]:
    hints = typing.get_type_hints(kind)
    found = {}
    # What the others are options of comes first, also in a class whose base has fields before it.
    members = sorted(kind.__pydantic_fields__.items(), key=lambda member: member[0] != "type")
    for name, member in members:
        extra = member.json_schema_extra if isinstance(member.json_schema_extra, dict) else {}
        default = member.get_default(call_default_factory=True)
        found[name] = Option(name, plain_hint(hints[name]), default, member.description or "", extra)
    return types.MappingProxyType(found)


def plain_hint(hint: Any) -> Any:
    """`X` of `X | None` and `Annotated[X, ...]`; anything else as it is."""
    if get_origin(hint) is Annotated:
        return plain_hint(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        return members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007 (built at run time)
    return hint


def records_in(hint: Any) -> tuple[type[Any], ...]:
    """The configuration classes that a value of a type can be, or that its entries can be: several for a union."""
    hint = plain_hint(hint)
    if get_origin(hint) is Union:
        return tuple(kind for member in get_args(hint) for kind in records_in(member))
    if get_origin(hint) is tuple:
        return records_in(get_args(hint)[0])
    return (hint,) if hasattr(hint, "__pydantic_fields__") else ()


# ---- messages


def dotted(path: tuple[str | int, ...], table: str = "") -> str:
    """`("sets", 0, "hr")` of the table "evaluate" as people write it: `evaluate.sets[0].hr`."""
    text = table
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(value: object) -> str:
    """A value in a message, cut where it is long."""
    if isinstance(value, tuple):
        value = list(value)
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits have no decimal form
        text = f"a value of type {type(value).__name__}"
    return one_line(text, _SHOWN)


_MUST = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "dataclass_type": "a table",
    "dataclass_exact_type": "a table",
    "model_attributes_type": "a table",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "> {gt}",
    "greater_than_equal": ">= {ge}",
    "int_type": "a whole number",
    "int_parsing_size": "a whole number of at most 19 digits",
    "less_than": "< {lt}",
    "less_than_equal": "<= {le}",
    "list_type": "a list",
    "literal_error": "one of {expected}",
    "string_too_long": "at most {max_length} letters",
    "string_type": "text",
    "string_unicode": "text in UTF-8",
    "tuple_type": "a list",
}
"""What a value must be, by the name of pydantic's error."""

_BOUNDS = ("ge", "gt", "le", "lt")


def message(entry: ErrorDetails, where: str, kind: type[Any] | None = None) -> str:
    """ "where must be X, got Y" for one of pydantic's errors; our own words where a check of ours raised it.

    Args:
        entry: the error.
        where: the option.
        kind: the class that it should belong to, whose names are known.
    """
    what, context, value = entry["type"], entry.get("ctx", {}), entry["input"]
    if what == "value_error":
        return str(context["error"])
    if what in ("missing", "missing_argument"):
        return f"{where} is missing"
    if what in ("unexpected_keyword_argument", "extra_forbidden"):
        table, _, key = where.rpartition(".")
        return f"{table}: unknown key {shown(key)}{nearest(key[:80], options_of(kind)) if kind else ''}"
    if what == "too_long":
        return f"{where} must be a list of at most {context['max_length']} values, got {context['actual_length']}"
    must = _MUST.get(what)
    if must is None:
        return f"{where}: {one_line(entry['msg'])}, got {shown(value)}"
    if what == "int_type" and isinstance(value, float):
        must += ", written without a point"
    hint = ""
    if what == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        hint = nearest(value, choices) if isinstance(value, str) else ""
        hint = hint if "did you mean" in hint else ""
    bounds = {name: int(bound) if bound == int(bound) else bound for name, bound in context.items() if name in _BOUNDS}
    return f"{where} must be {must.format(**{**context, **bounds})}, got {shown(value)}{hint}"


# ---- plain values


MOST_DEPTH = 32
"""Tables and lists within each other in a file."""


def plain(value: Any) -> Any:
    """A configuration as values that JSON and TOML can hold: tables, lists, texts, numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in options_of(type(value))}
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(entry) for entry in value]
    return value


def as_json(values: Any, where: str) -> str:
    """Plain values as JSON, whose types are as strict as TOML's and which a configuration is read from.

    Raises:
        ConfigError: nested too deep, or a value that JSON does not have.
    """
    level, depth = [values], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            raise ConfigError(f"{where}: tables and lists must be at most {MOST_DEPTH} deep")
        tables = [entry for entry in level if isinstance(entry, (dict, list))]
        level = [inner for entry in tables for inner in (entry.values() if isinstance(entry, dict) else entry)]
    try:
        # TOML's dates become tables, which no option takes for anything else.
        return json.dumps(values, default=lambda date: {"date": str(date)})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {one_line(error, 120)}") from None


def read(kind: type[T], values: Mapping[str, Any], table: str) -> T:
    """A configuration from plain values, as a file holds them.

    Args:
        kind: its class.
        values: by key.
        table: what messages call it.
    Raises:
        ConfigError: a line for each unknown key and each value of another type or out of bounds.
    """
    text = as_json(dict(values), table)
    try:
        return adapter(kind).validate_json(text)
    except ValidationError as error:
        entries = error.errors(include_url=False)
        raise ConfigError(*(message(entry, dotted(entry["loc"], table), kind) for entry in entries)) from None


def adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """pydantic's reader of a class."""
    return _adapter(kind)  # type: ignore[arg-type]


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)

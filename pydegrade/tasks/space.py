"""Spaces: distributions over tasks, read from TOML into frozen values, with errors that name file, line, key and value."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SpaceError, nearest
from ..native.rng import LAYOUT_VERSION
from ..ops.declaration import Column, Op
from ..ops.registry import find, names
from . import distributions as dist
from .toml_lines import KeyPath, decode_error, key_lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRESETS = Path(__file__).parent.parent / "spaces"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Slot:
    """One place in a space: a name, the op that fills it and the distributions of the columns that are drawn."""

    name: str
    op: str
    columns: tuple[tuple[str, dist.Distribution], ...] = ()


@dataclass(frozen=True)
class Order:
    """How the running order of slots is drawn.

    Attributes:
        choice, weights: alternatives for the slots they name, which swap among the places these hold as declared.
        shuffle: groups of slots in uniformly random order, among the places they hold as declared.
        before: (a, b): where the group of b comes before the group of a, the two change places.
    """

    choice: tuple[tuple[str, ...], ...] = ()
    weights: tuple[float, ...] = ()
    shuffle: tuple[tuple[str, ...], ...] = ()
    before: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Space:
    """A distribution over tasks.

    Attributes:
        name: e.g. "realesrgan-x4".
        scale: the SR factor.
        source: paper, section, options file.
        target: "hr", or the sharpen slot whose result a loss compares with.
        hr_px: side of the HR crop the space was published with.
        slots: in declared order; for a mixture the union of its components' slots, without distributions.
        order: None: slots run as declared.
        vectors: normaliser ranges of degradation vectors, by scheme and column.
        components, weights: for a mixture, the spaces among which each image chooses; else empty.
        text: the TOML it came from.
        digest: SHA-256 (hex) of the parsed content; two spaces are equal when their digests are.
    """

    name: str
    scale: int
    source: str
    target: str
    hr_px: int
    slots: tuple[Slot, ...]
    order: Order | None = None
    vectors: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    components: tuple[Space, ...] = ()
    weights: tuple[float, ...] = ()
    text: str = field(default="", compare=False, repr=False)
    digest: str = field(default="", compare=False)

    @staticmethod
    def load(name_or_path: str | Path) -> Space:
        """A preset by name, or a TOML file by path.

        Raises:
            SpaceError: no such preset or file, or a file that cannot be understood.
        """
        text = str(name_or_path)
        path = Path(text)
        if _NAME.fullmatch(text) and not text.endswith(".toml"):
            path = PRESETS / f"{text}.toml"
            if not path.is_file():
                raise SpaceError(f"no preset named {text!r}{nearest(text, preset_names())}")
            return _parse(path.read_text(encoding="utf-8"), path.name, Space.load)
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpaceError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return _parse(content, str(path), Space.load)

    @staticmethod
    def loads(text: str, components: Mapping[str, str] | None = None) -> Space:
        """A space from TOML text; `components` gives the TOML of a mixture's spaces, else they are presets."""

        def find(name: str) -> Space:
            if components is None or name not in components:
                return Space.load(name)
            return Space.loads(components[name])

        return _parse(text, "space", find)

    def to_toml(self) -> str:
        """The TOML text this space was read from."""
        return self.text

    def slot(self, name: str) -> Slot:
        """The slot of that name; SpaceError if there is none."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise SpaceError(f"space {self.name!r}: no slot {name!r}{nearest(name, [slot.name for slot in self.slots])}")

    def op(self, slot: str) -> Op:
        """Declaration of the op that fills a slot."""
        return find(self.slot(slot).op)

    def column(self, name: str) -> Column:
        """Declaration of a column by its full name "slot.column"; SpaceError if there is none."""
        slot, _, short = name.partition(".")
        op = self.op(slot)
        try:
            return op.column(short)
        except KeyError:
            known = [column.name for column in op.columns]
            raise SpaceError(
                f"space {self.name!r}: slot {slot} has no column {short!r}{nearest(short, known)}"
            ) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def preset_names() -> list[str]:
    """Names of the presets that ship with the package, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def _digest(space: Space) -> str:
    """SHA-256 of the parsed space as canonical JSON, with the version of the random-number layout."""
    content: dict[str, Any] = {
        "layout": LAYOUT_VERSION,
        "name": space.name,
        "scale": space.scale,
        "target": space.target,
        "slots": [
            [slot.name, slot.op, {name: [type(d).__name__, asdict(d)] for name, d in slot.columns}, *_versions(slot)]
            for slot in space.slots
        ],
        "order": None if space.order is None else asdict(space.order),
        "vectors": {scheme: dict(ranges) for scheme, ranges in space.vectors.items()},
        "components": [component.digest for component in space.components],
        "weights": space.weights,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _versions(slot: Slot) -> list[dict[str, int]]:
    """Versions of the slot's op and columns that are not the first, in a list that is empty when there are none."""
    op = find(slot.op)
    newer = {name: op.column(name).version for name, _ in slot.columns if op.column(name).version > 1}
    if op.version > 1:
        newer["op"] = op.version
    return [newer] if newer else []


# ---- Reading


class _Where:
    """Places in the text, for messages."""

    def __init__(self, text: str, origin: str) -> None:
        self.origin = origin
        self.lines = key_lines(text)

    def error(self, message: str, key: str = "", table: str = "", number: int = 0) -> SpaceError:
        line = self._line(key, table, number)
        return SpaceError(f"{self.origin}:{line}: {message}" if line else f"{self.origin}: {message}")

    def _line(self, key: str, table: str, number: int) -> int:
        """Line of a key, else of its table, else 0."""
        inside: KeyPath = (table,) if table else ()
        if (table, number) in self.lines:
            inside = (table, number)
        return self.lines.get((*inside, key)) or self.lines.get(inside, 0)


def _parse(text: str, origin: str, find: Callable[[str], Space]) -> Space:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpaceError(decode_error(origin, error)) from None
    where = _Where(text, origin)
    _known_keys(data, ("space", "slot", "order", "vector", "mixture"), where, "", 0, "the file")
    head = data.get("space")
    if not isinstance(head, dict):
        raise where.error("the table [space] is missing")
    _known_keys(head, ("name", "scale", "source", "target", "hr_px"), where, "space", 0, "[space]")
    name = _typed(head, "name", str, where, "space")
    if not _NAME.fullmatch(name):
        raise where.error(f"name must be letters, digits, '.', '_' and '-', got {name!r}", "name", "space")
    scale = _typed(head, "scale", int, where, "space")
    if not 1 <= scale <= 16:
        raise where.error(f"scale must be in 1..16, got {scale}", "scale", "space")
    hr_px = _typed(head, "hr_px", int, where, "space", 64 * scale)
    if hr_px < scale or hr_px % scale:
        raise where.error(f"hr_px must be a multiple of the scale {scale}, got {hr_px}", "hr_px", "space")
    target = _typed(head, "target", str, where, "space", "hr")
    source = _typed(head, "source", str, where, "space")

    if "mixture" in data:
        for table in ("slot", "order", "vector"):
            if table in data:
                raise where.error(f"a mixture has no [{table}]; its components do", table=table)
        components, weights = _mixture(data["mixture"], where, find)
        bad = [space for space in components if (space.scale, space.target) != (scale, target)]
        if bad:
            raise where.error(
                f"components must have scale {scale} and target {target!r}, got {bad[0].scale} and {bad[0].target!r} in "
                f"{bad[0].name!r}",
                "spaces",
                "mixture",
            )
        slots, order, vectors = _united(components, where), None, {}
    else:
        components, weights = (), ()
        slots = _slots(data.get("slot", []), where)
        order = _order(data["order"], slots, where) if "order" in data else None
        vectors = _vectors(data.get("vector", {}), slots, where)
    if target != "hr" and (not slots or slots[0].name != target or slots[0].op != "sharpen"):
        raise where.error(f"target must be 'hr' or the first slot, a sharpen, got {target!r}", "target", "space")

    space = Space(name, scale, source, target, hr_px, slots, order, vectors, components, weights, text)
    object.__setattr__(space, "digest", _digest(space))
    return space


def _known_keys(
    table: Mapping[str, Any], known: tuple[str, ...], where: _Where, header: str, number: int, label: str
) -> None:
    for key in table:
        if key not in known:
            raise where.error(f"{label}: unknown key {key!r}{nearest(key, known)}", key, header, number)


def _typed(table: Mapping[str, Any], key: str, kind: type, where: _Where, header: str, default: Any = None) -> Any:
    if key not in table:
        if default is None:
            raise where.error(f"[{header}]: the key {key!r} is missing", table=header)
        return default
    value = table[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise where.error(f"[{header}]: {key} must be {kind.__name__}, got {value!r}", key, header)
    return value


def _check_weights(weights: Any, count: int, fail: Callable[[str], SpaceError]) -> tuple[float, ...]:
    """Probabilities as floats; equal ones when none are given."""
    if weights is None:
        return (1.0 / count,) * count
    if not isinstance(weights, list) or not all(_is_number(weight) for weight in weights):
        raise fail(f"weights must be a list of numbers, got {weights!r}")
    if len(weights) != count:
        raise fail(f"expected {count} weights, got {len(weights)}")
    if min(weights) < 0 or abs(math.fsum(weights) - 1) > 1e-9:
        raise fail(f"weights must be >= 0 and sum to 1, got {weights} with sum {math.fsum(weights):.12g}")
    return tuple(float(weight) for weight in weights)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _mixture(table: Any, where: _Where, find: Callable[[str], Space]) -> tuple[tuple[Space, ...], tuple[float, ...]]:
    _known_keys(table, ("spaces", "weights"), where, "mixture", 0, "[mixture]")
    names = table.get("spaces")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise where.error(f"[mixture]: spaces must be a list of names, got {names!r}", "spaces", "mixture")
    weights = _check_weights(
        table.get("weights"), len(names), lambda message: where.error(f"[mixture]: {message}", "weights", "mixture")
    )
    components = tuple(find(name) for name in names)
    for name, component in zip(names, components):
        if component.components:
            raise where.error(f"[mixture]: {name!r} is itself a mixture", "spaces", "mixture")
    return components, weights


def _united(components: tuple[Space, ...], where: _Where) -> tuple[Slot, ...]:
    """Slots of all components, by name, in the order in which they first appear; the longest component leads."""
    united: dict[str, Slot] = {}
    for component in sorted(components, key=lambda space: -len(space.slots)):
        for slot in component.slots:
            if united.setdefault(slot.name, Slot(slot.name, slot.op)).op != slot.op:
                raise where.error(
                    f"slot {slot.name} is {united[slot.name].op} in one component and {slot.op} in another",
                    "spaces",
                    "mixture",
                )
    return tuple(united.values())


def _slots(tables: Any, where: _Where) -> tuple[Slot, ...]:
    slots: list[Slot] = []
    earlier: dict[str, Column] = {}
    for number, table in enumerate(tables):
        name, op_name = table.get("name"), table.get("op")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise where.error(f"slot {number + 1}: name must be a word, got {name!r}", "name", "slot", number)
        if name in [slot.name for slot in slots]:
            raise where.error(f"slot {name}: the name is used twice", "name", "slot", number)
        try:
            op = find(op_name)
        except (KeyError, TypeError):
            hint = nearest(str(op_name), names())
            raise where.error(f"slot {name}: unknown op {op_name!r}{hint}", "op", "slot", number) from None
        known = [column.name for column in op.columns]
        columns = []
        for key, value in table.items():
            if key in ("name", "op"):
                continue
            if key not in known:
                raise where.error(f"slot {name}: unknown key {key!r}{nearest(key, known)}", key, "slot", number)
            column = op.column(key)
            reader = _ColumnReader(where, number, name, column, earlier)
            columns.append((key, reader.read(value)))
            earlier[f"{name}.{key}"] = column
        slots.append(Slot(name, op_name, tuple(columns)))
    return tuple(slots)


@dataclass(frozen=True)
class _ColumnReader:
    """Turns the TOML value of one column into a distribution."""

    where: _Where
    number: int
    slot: str
    column: Column
    earlier: Mapping[str, Column]

    def fail(self, message: str) -> SpaceError:
        return self.where.error(
            f"slot {self.slot}: {self.column.name}: {message}", self.column.name, "slot", self.number
        )

    def read(self, value: Any) -> dist.Distribution:
        distribution = self._distribution(value)
        low, high = dist.bounds(distribution)
        least, most = self._limits()
        if not (low >= least and high <= most):
            raise self.fail(f"values must lie in [{least:g}, {most:g}], got [{low:g}, {high:g}]")
        return distribution

    def _limits(self) -> tuple[float, float]:
        if self.column.choices:
            return 0, len(self.column.choices) - 1
        return self.column.low, self.column.high

    def _value(self, value: Any) -> float:
        """A single value: a choice's code or a number; on/off columns also take true and false."""
        if self.column.choices:
            if value not in self.column.choices:
                raise self.fail(f"unknown value {value!r}{nearest(str(value), self.column.choices)}")
            return self.column.choices.index(value)
        if isinstance(value, bool) and self.column.integer:
            return int(value)
        if not _is_number(value):
            raise self.fail(f"expected a finite number, got {value!r}")
        if self.column.integer and value != int(value):
            raise self.fail(f"expected a whole number, got {value!r}")
        if self.column.name == "size_px" and int(value) % 2 == 0:
            raise self.fail(f"a kernel size must be odd, got {value!r}")
        return float(value)

    def _range(self, value: Any, least: float = -math.inf) -> tuple[float, float]:
        if not isinstance(value, list) or len(value) != 2 or not all(_is_number(bound) for bound in value):
            raise self.fail(f"expected [low, high], got {value!r}")
        low, high = float(value[0]), float(value[1])
        if low > high:
            raise self.fail(f"low must not exceed high, got {value!r}")
        if low < least or (least == 0 and low <= 0):
            raise self.fail(f"low must be above {least:g}, got {value!r}")
        if self.column.choices:
            raise self.fail(f"a column of names takes 'choice', got a range {value!r}")
        return low, high

    def _keys(self, table: Mapping[str, Any], *known: str) -> None:
        for key in table:
            if key not in known:
                raise self.fail(f"unknown key {key!r}{nearest(key, known)}")

    def _distribution(self, value: Any) -> dist.Distribution:
        if not isinstance(value, dict):
            return dist.Constant(self._value(value))
        kinds: dict[str, Callable[[Mapping[str, Any]], dist.Distribution]] = {
            "const": self._const,
            "uniform": self._uniform,
            "log_uniform": self._log_uniform,
            "reciprocal_uniform": self._reciprocal_uniform,
            "sqrt_uniform": self._sqrt_uniform,
            "sqrt_uniform_up_to": self._sqrt_uniform_up_to,
            "integers": self._integers,
            "choice": self._choice,
            "bernoulli": self._bernoulli,
            "mixture": self._mixture,
            "by": self._by,
            "bsrgan_covariance": self._covariance,
        }
        named = [key for key in value if key in kinds]
        if len(named) != 1:
            got = ", ".join(map(repr, value)) or "nothing"
            raise self.fail(f"expected one of {', '.join(kinds)}, got {got}")
        return kinds[named[0]](value)

    def _const(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "const")
        return dist.Constant(self._value(table["const"]))

    def _uniform(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "uniform", "round")
        rounded = table.get("round", False)
        if not isinstance(rounded, bool):
            raise self.fail(f"round must be true or false, got {rounded!r}")
        if self.column.integer and not rounded:
            raise self.fail("a whole-number column takes 'integers', or 'uniform' with round = true")
        return dist.Uniform(*self._range(table["uniform"]), rounded)

    def _log_uniform(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "log_uniform")
        return dist.LogUniform(*self._range(table["log_uniform"], 0))

    def _reciprocal_uniform(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "reciprocal_uniform")
        return dist.ReciprocalUniform(*self._range(table["reciprocal_uniform"], 0))

    def _sqrt_uniform(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "sqrt_uniform")
        low, high = self._range(table["sqrt_uniform"])
        if low < 0:
            raise self.fail(f"low must be >= 0, got {low:g}")
        return dist.SqrtUniform(low, high)

    def _sqrt_uniform_up_to(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "sqrt_uniform_up_to", "low")
        full, other = self._earlier_column("sqrt_uniform_up_to", table["sqrt_uniform_up_to"])
        low = table.get("low", 0.0)
        if other.choices or self.column.choices:
            raise self.fail(f"sqrt_uniform_up_to takes a column of numbers, got {full}")
        if not _is_number(low) or low < 0:
            raise self.fail(f"low must be a number >= 0, got {low!r}")
        return dist.SqrtUniformUpTo(float(low), full, other.high)

    def _integers(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "integers", "step")
        low, high = self._range(table["integers"])
        step = table.get("step", 1)
        if not isinstance(step, int) or isinstance(step, bool) or step < 1:
            raise self.fail(f"step must be a whole number >= 1, got {step!r}")
        if low != int(low) or high != int(high):
            raise self.fail(f"expected whole numbers, got {table['integers']!r}")
        if self.column.name == "size_px" and (int(low) % 2 == 0 or (step % 2 and low != high)):
            raise self.fail(f"kernel sizes must be odd, got {table['integers']!r} with step {step}")
        return dist.Integers(int(low), int(high), step)

    def _choice(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "choice", "weights")
        options = table["choice"]
        if not isinstance(options, list) or not options:
            raise self.fail(f"choice must be a list, got {options!r}")
        values = tuple(self._value(option) for option in options)
        return dist.Choice(values, _check_weights(table.get("weights"), len(values), self.fail))

    def _bernoulli(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "bernoulli")
        p = table["bernoulli"]
        if not _is_number(p) or not 0 <= p <= 1:
            raise self.fail(f"bernoulli must be a probability, got {p!r}")
        return dist.Choice((0.0, 1.0), (1.0 - p, float(p)))

    def _mixture(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "mixture", "weights")
        parts = table["mixture"]
        if not isinstance(parts, list) or not parts:
            raise self.fail(f"mixture must be a list, got {parts!r}")
        weights = _check_weights(table.get("weights"), len(parts), self.fail)
        return dist.Mixture(tuple(self._distribution(part) for part in parts), weights)

    def _earlier_column(self, key: str, name: Any) -> tuple[str, Column]:
        """Full name and declaration of a column that was declared before this one."""
        full = name if isinstance(name, str) and "." in name else f"{self.slot}.{name}"
        if full not in self.earlier:
            raise self.fail(f"{key} must name an earlier column, got {name!r}{nearest(full, self.earlier)}")
        return full, self.earlier[full]

    def _by(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "by", "cases", "default")
        full, other = self._earlier_column("by", table["by"])
        cases = table.get("cases", {})
        if not isinstance(cases, dict) or not (cases or "default" in table):
            raise self.fail(f"cases must be a table, got {cases!r}")
        parsed = []
        for key, value in cases.items():
            if other.choices:
                if key not in other.choices:
                    raise self.fail(f"case {key!r} is no value of {full}{nearest(key, other.choices)}")
                code = float(other.choices.index(key))
            else:
                try:
                    code = float(key)
                except ValueError:
                    raise self.fail(f"case {key!r} must be a number, a value of {full}") from None
            parsed.append((code, self._distribution(value)))
        default = self._distribution(table["default"]) if "default" in table else None
        if default is None and not (other.choices and len(parsed) == len(other.choices)):
            default = dist.Constant(float(self.column.neutral_value))
        return dist.By(full, tuple(parsed), default)

    def _covariance(self, table: Mapping[str, Any]) -> dist.Distribution:
        self._keys(table, "bsrgan_covariance", "entry")
        limit, entry = table["bsrgan_covariance"], table.get("entry")
        if not _is_number(limit) or limit < 0:
            raise self.fail(f"bsrgan_covariance must be a level >= 0, got {limit!r}")
        if entry not in dist.COVARIANCE_ENTRIES:
            raise self.fail(f"entry must be one of {', '.join(dist.COVARIANCE_ENTRIES)}, got {entry!r}")
        return dist.BsrganCovariance(float(limit), entry)


def _order(table: Mapping[str, Any], slots: tuple[Slot, ...], where: _Where) -> Order:
    def fail(message: str) -> SpaceError:
        return where.error(f"[order]: {message}", table="order")

    _known_keys(table, ("choice", "weights", "shuffle", "before"), where, "order", 0, "[order]")
    names = [slot.name for slot in slots]
    if ("choice" in table) == ("shuffle" in table):
        raise fail("expected either choice or shuffle")
    lists = table["choice"] if "choice" in table else table["shuffle"]
    if not isinstance(lists, list) or not lists or not all(isinstance(part, list) and part for part in lists):
        raise fail(f"expected a list of lists of slots, got {lists!r}")
    for slot in (slot for part in lists for slot in part):
        if slot not in names:
            raise fail(f"unknown slot {slot!r}{nearest(str(slot), names)}")
    groups = tuple(tuple(part) for part in lists)
    if "choice" in table:
        if "before" in table:
            raise fail("before belongs to shuffle")
        if any(sorted(group) != sorted(groups[0]) or len(set(group)) < len(group) for group in groups):
            raise fail(f"every choice must name the same slots once, got {lists!r}")
        return Order(choice=groups, weights=_check_weights(table.get("weights"), len(groups), fail))
    if "weights" in table:
        raise fail("weights belong to choice")
    flat = [slot for group in groups for slot in group]
    if len(set(flat)) < len(flat):
        raise fail(f"every slot may be in one group only, got {lists!r}")
    firsts = [group[0] for group in groups]
    before = table.get("before", [])
    for pair in before:
        if not isinstance(pair, list) or len(pair) != 2 or any(name not in flat for name in pair):
            raise fail(f"before must list pairs of shuffled slots, got {pair!r}")
    holder = {slot: group[0] for group in groups for slot in group}
    pairs = tuple((holder[first], holder[second]) for first, second in before)
    assert all(first in firsts and second in firsts for first, second in pairs)
    return Order(shuffle=groups, before=pairs)


def _vectors(
    tables: Mapping[str, Any], slots: tuple[Slot, ...], where: _Where
) -> dict[str, dict[str, tuple[float, float]]]:
    known = {f"{slot.name}.{column.name}" for slot in slots for column in find(slot.op).columns}
    vectors: dict[str, dict[str, tuple[float, float]]] = {}
    for scheme, ranges in tables.items():
        if not isinstance(ranges, dict):
            raise where.error(f"[vector]: {scheme} must be a table of ranges, got {ranges!r}", scheme, "vector")
        vectors[scheme] = {}
        for name, limits in ranges.items():
            if name not in known:
                raise where.error(
                    f"[vector]: {scheme}: unknown column {name!r}{nearest(name, known)}", scheme, "vector"
                )
            if (
                not isinstance(limits, list)
                or len(limits) != 2
                or not all(map(_is_number, limits))
                or limits[0] >= limits[1]
            ):
                raise where.error(f"[vector]: {scheme}: {name}: expected [low, high], got {limits!r}", scheme, "vector")
            vectors[scheme][name] = (float(limits[0]), float(limits[1]))
    return vectors

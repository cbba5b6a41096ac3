"""Distributions of a column: data, and pure functions from uniform numbers to values.

Every value is computed from float64 uniforms with + - * / and sqrt alone, so that rows are equal on every machine. A
distribution that nests others takes one more uniform per level of nesting; its branches share it, so that changing one
branch never moves the numbers of another.

A kind of distribution is one class: `register_distribution` makes its `key` a word of space files (docs/adding.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import nearest
from ..ops.eigen import symmetric_eigen3
from .distribution_contract import WALK, ColumnReader, Distribution, Float64Array, Known, Table, register_distribution


def content(distribution: Distribution, column: str, nested: bool = False) -> Any:
    """What a digest is made of: fields by name, those of nested distributions too.

    A nested kind is left unnamed where its fields imply it.
    """
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(distribution):  # type: ignore[arg-type]
        fields[field.name] = _content_of(getattr(distribution, field.name), column)
    kind = type(distribution)
    name = kind.__name__ if kind.version == 1 else f"{kind.__name__}@{kind.version}"
    if not nested:
        return [name, fields]
    # These three have the same fields. Older spaces nest a square root, or a reciprocal in a resize's factor.
    usual = ReciprocalUniform if column == "resize_factor" else SqrtUniform
    implied = kind in _IMPLIED_BY_FIELDS or kind is usual
    return fields if implied else [name, fields]


def _content_of(value: Any, column: str) -> Any:
    if isinstance(value, Distribution):
        return content(value, column, nested=True)
    return [_content_of(part, column) for part in value] if isinstance(value, tuple) else value


# ---- The kinds


@register_distribution
@dataclass(frozen=True)
class Constant(Distribution):
    """Always `value`."""

    key = "const"
    value: float

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "const")
        return cls(reader.value(table["const"]))

    def draws(self) -> int:
        return 0

    def bounds(self) -> tuple[float, float]:
        return self.value, self.value

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        return np.full(len(u), self.value)


@register_distribution
@dataclass(frozen=True)
class Uniform(Distribution):
    """Continuous on [low, high); `round` gives the nearest whole number, halves to even."""

    key = "uniform"
    low: float
    high: float
    round: bool = False

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "uniform", "round")
        rounded = table.get("round", False)
        if not isinstance(rounded, bool):
            raise reader.fail(f"round must be true or false, got {reader.shown(rounded)}")
        if reader.column.integer and not rounded:
            raise reader.fail("a whole-number column takes 'integers', or 'uniform' with round = true")
        if reader.odd:
            raise reader.fail("kernel sizes are odd: take 'integers' with step = 2")
        return cls(*reader.range(table["uniform"]), rounded)

    def bounds(self) -> tuple[float, float]:
        return (float(np.rint(self.low)), float(np.rint(self.high))) if self.round else (self.low, self.high)

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        values = self.low + (self.high - self.low) * u[:, 0]
        return np.rint(values) if self.round else values


@register_distribution
@dataclass(frozen=True)
class LogUniform(Distribution):
    """exp(U(log low, log high)), 0 < low <= high."""

    key = "log_uniform"
    low: float
    high: float

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "log_uniform")
        return cls(*reader.real_range(table["log_uniform"], above=0))

    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def span_log2(self) -> float:
        return float(_log2(np.array([self.high / self.low]))[0])

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        # low 2^(u log2(high / low)), clipped because the last bit may fall outside.
        return np.clip(self.low * _exp2(self.span_log2 * u[:, 0]), self.low, self.high)


@register_distribution
@dataclass(frozen=True)
class ReciprocalUniform(Distribution):
    """1 / U[low, high), 0 < low."""

    key = "reciprocal_uniform"
    low: float
    high: float

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "reciprocal_uniform")
        return cls(*reader.real_range(table["reciprocal_uniform"], above=0))

    def bounds(self) -> tuple[float, float]:
        return 1 / self.high, 1 / self.low

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        return 1.0 / (self.low + (self.high - self.low) * u[:, 0])


@register_distribution
@dataclass(frozen=True)
class SqrtUniform(Distribution):
    """sqrt(U[low, high)), 0 <= low."""

    key = "sqrt_uniform"
    low: float
    high: float

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "sqrt_uniform")
        low, high = reader.real_range(table["sqrt_uniform"])
        if low < 0:
            raise reader.fail(f"low must be >= 0, got {low:g}")
        return cls(low, high)

    def bounds(self) -> tuple[float, float]:
        return float(np.sqrt(self.low)), float(np.sqrt(self.high))

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        return np.sqrt(self.low + (self.high - self.low) * u[:, 0])


@register_distribution
@dataclass(frozen=True)
class SqrtUniformUpTo(Distribution):
    """sqrt(U[low, c^2)) with c the value of an earlier column, by its full name "slot.column"; c where c^2 <= low.

    MZSR's second axis: variances l1 = U[1, L) and l2 = U[1, l1). `limit` is the largest value that c may have.
    """

    key = "sqrt_uniform_up_to"
    low: float
    column: str
    limit: float

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "sqrt_uniform_up_to", "low")
        full, other = reader.earlier_column("sqrt_uniform_up_to", table["sqrt_uniform_up_to"])
        low = reader.number(table.get("low", 0.0), "low")
        if other.choices or reader.column.choices or reader.column.integer:
            raise reader.fail(f"sqrt_uniform_up_to takes a column of numbers, got {full}; it gives real ones")
        if low < 0:
            raise reader.fail(f"low must be a number >= 0, got {low:g}")
        return cls(low, full, other.high)

    def bounds(self) -> tuple[float, float]:
        return min(float(np.sqrt(self.low)), self.limit), self.limit

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        variance = np.square(known.columns[self.column].astype(np.float64))
        return np.sqrt(np.minimum(self.low, variance) + np.maximum(variance - self.low, 0.0) * u[:, 0])


@register_distribution
@dataclass(frozen=True)
class PowerOf(Distribution):
    """factor c^exponent e^(log_std z), c the value of an earlier column, by its full name "slot.column".

    A line between logarithms with normal spread about it, as noise levels of sensors are published: read noise over shot
    noise. z is standard normal, cut at 4 standard deviations.

    Attributes:
        column: whose value is c.
        factor: above 0, the value at c = 1.
        exponent: slope of the line.
        log_std: standard deviation of the natural logarithm, 0 to 10.
        low, high: the values are kept within; the ends that follow from those of c.
    Source: Brooks et al. 2019, Unprocessing Images for Learned Raw Denoising, arXiv:1811.11127, section 3.1.
    """

    key = "power_of"
    column: str
    factor: float
    exponent: float
    log_std: float
    low: float
    high: float

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "power_of", "factor", "exponent", "log_std")
        full, other = reader.earlier_column("power_of", table["power_of"])
        if other.choices or reader.column.choices or reader.column.integer:
            raise reader.fail(f"power_of takes a column of numbers, got {full}; it gives real ones")
        numbers = {name: reader.number(table.get(name, usual), name) for name, usual in _OF_POWERS.items()}
        for name, (least, most) in {"factor": (1e-12, 1e12), "exponent": (-8, 8), "log_std": (0, 10)}.items():
            if not least <= numbers[name] <= most:
                raise reader.fail(f"{name} must lie in [{least:g}, {most:g}], got {numbers[name]:g}")
        least, most = reader.spans[full]
        if least < 0 or (least == 0 and numbers["exponent"] < 0):
            allowed = "above 0 for an exponent below it" if least == 0 else ">= 0"
            raise reader.fail(f"power_of takes values {allowed}, got {full} in [{least:g}, {most:g}]")
        law = cls(full, **numbers, low=0.0, high=np.inf)
        with np.errstate(over="ignore"):
            ends = law._power(np.array([least, most, least, most]), _CUT * np.array([-1.0, -1.0, 1.0, 1.0]))
        return dataclasses.replace(law, low=float(ends.min()), high=float(ends.max()))

    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        source = known.columns[self.column].astype(np.float64)
        # The last bit may fall outside, and so may what lies between two stages of a schedule.
        return np.clip(self._power(source, _cut_normal(u[:, 0])), self.low, self.high)

    def _power(self, source: Float64Array, z: Float64Array) -> Float64Array:
        power = self.exponent * _log2(np.where(source > 0, source, 1.0)) + self.log_std / _LN2 * z
        # 0^exponent is 0, or 1 where the exponent is 0.
        return np.where((source > 0) | (self.exponent == 0), self.factor * _exp2(power), 0.0)


_OF_POWERS = {"factor": 1.0, "exponent": 1.0, "log_std": 0.0}
_CUT = 4.0
_SHARE_BELOW_CUT = 3.1671241833119924e-05


@register_distribution
@dataclass(frozen=True)
class Integers(Distribution):
    """low, low + step, ... up to high, equally likely."""

    key = "integers"
    low: int
    high: int
    step: int = 1

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "integers", "step")
        low, high = reader.range(table["integers"])
        step = table.get("step", 1)
        if not isinstance(step, int) or isinstance(step, bool) or not 1 <= step < 2**31:
            raise reader.fail(f"step must be a whole number >= 1, got {reader.shown(step)}")
        if low != int(low) or high != int(high):
            raise reader.fail(f"expected whole numbers, got {reader.shown(table['integers'])}")
        if reader.odd and (int(low) % 2 == 0 or (step % 2 and low != high)):
            raise reader.fail(f"kernel sizes must be odd, got {table['integers']!r} with step {step}")
        return cls(int(low), int(high), step)

    def bounds(self) -> tuple[float, float]:
        return self.low, self.low + (self.high - self.low) // self.step * self.step

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        count = (self.high - self.low) // self.step + 1
        return self.low + self.step * np.minimum(np.floor(u[:, 0] * count), count - 1)


@register_distribution
@dataclass(frozen=True)
class Choice(Distribution):
    """One of `values` with probabilities `weights`."""

    key = "choice"
    values: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "choice", "weights")
        options = table["choice"]
        if not isinstance(options, list) or not options:
            raise reader.fail(f"choice must be a list, got {reader.shown(options)}")
        values = tuple(reader.value(option) for option in options)
        return cls(values, reader.weights(table.get("weights"), len(values)))

    def bounds(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        return np.asarray(self.values, np.float64)[pick(self.weights, u[:, 0])]


@register_distribution
@dataclass(frozen=True)
class Bernoulli(Choice):
    """A word for the choice of 1 with a probability, else 0."""

    key = "bernoulli"

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "bernoulli")
        p = reader.number(table["bernoulli"], "bernoulli")
        if not 0 <= p <= 1:
            raise reader.fail(f"bernoulli must be a probability, got {reader.shown(table['bernoulli'])}")
        return Choice((0.0, 1.0), (1.0 - p, p))


@register_distribution
@dataclass(frozen=True)
class Mixture(Distribution):
    """One of `parts` with probabilities `weights`; the part draws from the next uniform."""

    key = "mixture"
    parts: tuple[Distribution, ...]
    weights: tuple[float, ...]

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "mixture", "weights")
        parts = table["mixture"]
        if not isinstance(parts, list) or not parts:
            raise reader.fail(f"mixture must be a list, got {reader.shown(parts)}")
        weights = reader.weights(table.get("weights"), len(parts))
        return cls(tuple(reader.distribution(part) for part in parts), weights)

    def draws(self) -> int:
        return 1 + max(part.draws() for part in self.parts)

    def bounds(self) -> tuple[float, float]:
        return hull(self.parts)

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        chosen = pick(self.weights, u[:, 0])
        return merge([(chosen == place, part) for place, part in enumerate(self.parts)], u[:, 1:], known)


@register_distribution
@dataclass(frozen=True)
class By(Distribution):
    """The distribution that belongs to the value of an earlier column, by its full name "slot.column"."""

    key = "by"
    column: str
    cases: tuple[tuple[float, Distribution], ...]
    default: Distribution | None

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "by", "cases", "default")
        full, other = reader.earlier_column("by", table["by"])
        cases = table.get("cases", {})
        if not isinstance(cases, dict) or not (cases or "default" in table):
            raise reader.fail(f"cases must be a table, got {reader.shown(cases)}")
        parsed = []
        for key, value in cases.items():
            if other.choices:
                if key not in other.choices:
                    raise reader.fail(f"case {reader.shown(key)} is no value of {full}{nearest(key, other.choices)}")
                code = float(other.choices.index(key))
            else:
                try:
                    code = float(key)
                except ValueError:
                    code = np.nan
                if not np.isfinite(code):
                    raise reader.fail(f"case {reader.shown(key)} must be a number, a value of {full}")
            parsed.append((code, reader.distribution(value)))
        default = reader.distribution(table["default"]) if "default" in table else None
        if default is None and not (other.choices and len(parsed) == len(other.choices)):
            default = Constant(float(reader.column.neutral_value))
        return cls(full, tuple(parsed), default)

    def branches(self, value: float | None) -> list[Distribution]:
        """What is drawn from where the earlier column has a value; None: where it has any."""
        if value is None:
            return self._branches()
        found = [branch for case, branch in self.cases if case == value]
        return found[:1] or ([] if self.default is None else [self.default])

    def _branches(self) -> list[Distribution]:
        return [branch for _, branch in self.cases] + ([self.default] if self.default is not None else [])

    def draws(self) -> int:
        return max(branch.draws() for branch in self._branches())

    def bounds(self) -> tuple[float, float]:
        return hull(self._branches())

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        column = known.columns[self.column]
        tests = [(column == np.asarray(value).astype(column.dtype), branch) for value, branch in self.cases]
        if self.default is not None:
            rest = ~np.any([test for test, _ in tests], axis=0) if tests else np.ones(len(u), bool)
            tests.append((rest, self.default))
        return merge(tests, u, known)


@register_distribution
@dataclass(frozen=True)
class Schedule(Distribution):
    """Distributions along training: each belongs to a step, and their numbers go linearly from one to the next.

    Attributes:
        steps: rising; before the first and after the last one nothing changes.
        stages: the distribution at each step.
        hold: whether a stage lasts until the next step instead of moving towards it.
    """

    key = "schedule"
    steps: tuple[int, ...]
    stages: tuple[Distribution, ...]
    hold: bool = False

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "schedule", "between")
        entries, between = table["schedule"], table.get("between", "linear")
        if between not in ("linear", "hold"):
            raise reader.fail(f"between must be 'linear' or 'hold', got {reader.shown(between)}")
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise reader.fail("schedule must be a list of tables such as { at = 0, uniform = [0, 1] }")
        steps: list[int] = []
        stages: list[Distribution] = []
        for entry in entries:
            step = entry.get("at")
            if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 2**63:
                raise reader.fail(
                    f"schedule: at must be a whole number in [0, 2^63), a training step, got {reader.shown(step)}"
                )
            if steps and step <= steps[-1]:
                raise reader.fail(f"schedule: steps must rise, got {step} after {steps[-1]}")
            steps.append(step)
            stages.append(reader.distribution({key: value for key, value in entry.items() if key != "at"}))
        schedule = cls(tuple(steps), tuple(stages), between == "hold")
        if any(is_scheduled(stage) for stage in stages):
            raise reader.fail("schedule: a schedule cannot hold another one")
        if not schedule.hold:
            discrete = bool(reader.column.choices) or reader.column.integer
            for step, first, second in zip(steps[1:], stages, stages[1:]):
                if blended(first, second, 0.5, discrete) is None:
                    raise reader.fail(
                        f"schedule: what stands at {step} differs from what comes before in more than numbers; "
                        "between = 'hold' changes it at once"
                    )
        return schedule

    def draws(self) -> int:
        return max(stage.draws() for stage in self.stages)

    def bounds(self) -> tuple[float, float]:
        return hull(self.stages)

    def at(self, step: int) -> Distribution:
        """What is drawn from at a step."""
        after = int(np.searchsorted(np.asarray(self.steps, np.int64), step, side="right"))
        if after == 0:
            return self.stages[0]
        first = self.stages[after - 1]
        if self.hold or after == len(self.steps) or step == self.steps[after - 1]:
            return first
        share = (step - self.steps[after - 1]) / (self.steps[after] - self.steps[after - 1])
        between = blended(first, self.stages[after], share)
        assert between is not None, "looked at when the schedule was read"
        return between

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        each = np.unique(known.steps)
        if len(each) == 1:
            stage = self.at(int(each[0]))
            return stage.evaluate(stage.prepare(u), known)
        return merge([(known.steps == step, self.at(int(step))) for step in each], u, known)


@register_distribution
@dataclass(frozen=True)
class Walk(Distribution):
    """A value of `base` at the first frame of a clip; from frame to frame it moves by U[-max_step, max_step).

    Frame t is base + the sum of t steps, reflected at `low` and `high` as often as it takes: the law of a walk that is
    reflected step by step, without walking through values (steps are symmetric). Step t is a function of its own uniform
    number, the one with number base.draws() + t - 1 of the column's, so that any frame can be drawn alone.

    Attributes:
        base: of frame 0, and of an image that is no part of a clip.
        max_step: longest step.
        low, high: the range of the walk, which holds all values of `base`.
        round: whether values and steps are whole numbers, halves to even; always in columns of whole numbers.
    Source: RealBasicVSR (Chan et al. 2022, arXiv:2111.12704), whose walks stop at the bounds instead.
    """

    key = WALK
    base: Distribution
    max_step: float
    low: float
    high: float
    round: bool = False

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        walk, column = table[WALK], reader.column
        if not isinstance(walk, dict):
            raise reader.fail(f"walk must be a table such as {{ max_step = 0.1 }}, got {reader.shown(walk)}")
        for key in walk:
            if key not in ("max_step", "range", "round"):
                raise reader.fail(
                    f"walk: unknown key {reader.shown(key)}{nearest(key, ('max_step', 'range', 'round'))}"
                )
        if "max_step" not in walk:
            raise reader.fail("walk: the key 'max_step' is missing")
        if column.choices or reader.odd:
            raise reader.fail("walk: names and sizes of kernels do not walk")
        base = reader.distribution({key: value for key, value in table.items() if key != WALK})
        if any(isinstance(part, Walk) for part in parts_of(base)):
            raise reader.fail("walk: what walks cannot hold another walk")
        first = base.bounds()
        low, high = reader.range(walk["range"]) if "range" in walk else first
        if low > first[0] or high < first[1]:
            raise reader.fail(
                f"walk: range must hold all first values, [{first[0]:g}, {first[1]:g}], got [{low:g}, {high:g}]"
            )
        step = reader.number(walk["max_step"], "walk: max_step")
        if not 0 < step <= high - low:
            raise reader.fail(
                f"walk: max_step must be above 0 and at most as wide as the walk's range [{low:g}, {high:g}], got {step:g}"
            )
        rounded = walk.get("round", column.integer)
        if not isinstance(rounded, bool) or (column.integer and not rounded):
            raise reader.fail(
                f"walk: round must be true or false, of whole-number columns true, got {reader.shown(rounded)}"
            )
        if rounded and (low != int(low) or high != int(high) or step < 1):
            raise reader.fail(
                f"walk: among whole numbers the range must be of whole numbers and max_step >= 1, got [{low:g}, {high:g}] "
                f"and {step:g}"
            )
        return cls(base, step, low, high, rounded)

    def draws(self) -> int:
        return self.base.draws()

    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        values = self.base.evaluate(self.base.prepare(u), known)
        values = np.rint(values) if self.round else values
        last = 0 if known.frames is None else int(known.frames.max(initial=0))
        if known.frames is None or last == 0:
            return values
        first = self.base.draws()
        total = np.zeros(len(u))
        # One after the other: a sum in another order has other last bits.
        for step in range(last):
            length = self.max_step * (2.0 * u[:, first + step] - 1.0)
            total = total + np.where(known.frames > step, np.rint(length) if self.round else length, 0.0)
        return np.where(known.frames > 0, self._reflected(values + total), values)

    def _reflected(self, values: Float64Array) -> Float64Array:
        """Values folded into [low, high]."""
        width = self.high - self.low
        above = values - self.low
        above = above - 2.0 * width * np.floor(above / (2.0 * width))
        return np.clip(self.low + np.minimum(above, 2.0 * width - above), self.low, self.high)


COVARIANCE_ENTRIES = {"rr": (0, 0), "rg": (0, 1), "rb": (0, 2), "gg": (1, 1), "gb": (1, 2), "bb": (2, 2)}
_COVARIANCE_DRAWS = 12


@register_distribution
@dataclass(frozen=True)
class BsrganCovariance(Distribution):
    """One entry of BSRGAN's random channel covariance, |limit^2 U^T diag(d) U| element by element.

    d is uniform in [0, 1)^3 and U the left singular vectors of a 3x3 matrix of uniforms. The six entries of a slot share
    their uniforms. Source: KAIR, degradation_bsrgan, add_Gaussian_noise; unit: (8-bit level)^2.
    """

    key = "bsrgan_covariance"
    limit_8bit: float
    entry: str

    @classmethod
    def read(cls, table: Table, reader: ColumnReader) -> Distribution:
        reader.keys(table, "bsrgan_covariance", "entry")
        entry = table.get("entry")
        limit = reader.number(table["bsrgan_covariance"], "bsrgan_covariance")
        if not 0 <= limit <= 255:
            raise reader.fail(f"bsrgan_covariance must be a level in [0, 255], got {limit:g}")
        if entry not in tuple(COVARIANCE_ENTRIES):
            raise reader.fail(f"entry must be one of {', '.join(COVARIANCE_ENTRIES)}, got {reader.shown(entry)}")
        if reader.depth > 0:
            raise reader.fail("bsrgan_covariance stands alone, because the six entries of a slot share their numbers")
        return cls(limit, entry)

    def draws(self) -> int:
        return _COVARIANCE_DRAWS

    def bounds(self) -> tuple[float, float]:
        return 0.0, self.limit_8bit**2

    def stream(self, slot: str, column: str) -> str:
        return f"{slot}.covariance"

    def prepare(self, u: Float64Array) -> Float64Array:
        """|U^T diag(d) U|, [N, 3, 3]; d = u[:, :3], U = left singular vectors of the matrix u[:, 3:12]."""
        d = u[:, :3]
        matrix = u[:, 3:12].reshape(-1, 3, 3)

        def product(i: int, j: int) -> Float64Array:
            return (matrix[:, i, 0] * matrix[:, j, 0] + matrix[:, i, 1] * matrix[:, j, 1]) + matrix[:, i, 2] * matrix[
                :, j, 2
            ]

        gram = [[product(i, j) for j in range(3)] for i in range(3)]
        values, vectors = symmetric_eigen3(gram)
        # Columns by falling eigenvalue, as a singular value decomposition gives them.
        order = np.argsort(-np.stack(values, axis=1), axis=1, kind="stable")
        stacked = np.stack([np.stack(row, axis=1) for row in vectors], axis=1)
        ordered = np.take_along_axis(stacked, order[:, None, :], axis=2)
        basis = ordered.transpose(0, 2, 1)
        terms = basis[:, :, None, :] * d[:, None, None, :] * basis[:, None, :, :]
        return np.abs(terms[..., 0] + terms[..., 1] + terms[..., 2])

    def evaluate(self, u: Float64Array, known: Known) -> Float64Array:
        i, j = COVARIANCE_ENTRIES[self.entry]
        return self.limit_8bit**2 * u[:, i, j]


_IMPLIED_BY_FIELDS = (Constant, Uniform, SqrtUniformUpTo, Integers, Choice, Mixture, By, BsrganCovariance)


# ---- Parts of kinds that nest others


def hull(parts: Sequence[Distribution]) -> tuple[float, float]:
    """Smallest interval that holds the bounds of all parts."""
    limits = [part.bounds() for part in parts]
    return min(low for low, _ in limits), max(high for _, high in limits)


def merge(parts: Sequence[tuple[NDArray[np.bool_], Distribution]], u: Float64Array, known: Known) -> Float64Array:
    """Each row from the part that is marked for it, float64 [N]; NaN where none is."""
    out = np.full(len(u), np.nan)
    for chosen, part in parts:
        rows = np.nonzero(chosen)[0]
        if len(rows):
            out[rows] = part.evaluate(part.prepare(u[rows]), known.take(rows))
    return out


def pick(weights: tuple[float, ...], u: Float64Array) -> NDArray[np.int64]:
    """Position whose share of [0, 1) holds u."""
    edges = np.cumsum(np.asarray(weights, np.float64))[:-1]
    return np.searchsorted(edges, u, side="right")


def parts_of(distribution: Distribution) -> list[Distribution]:
    """The distributions inside one, at every depth, itself included."""
    found = [distribution]

    def look(value: Any) -> None:
        if isinstance(value, Distribution):
            found.extend(parts_of(value))
        elif isinstance(value, tuple):
            for part in value:
                look(part)

    for field in dataclasses.fields(distribution):  # type: ignore[arg-type]
        look(getattr(distribution, field.name))
    return found


def gives_whole(distribution: Distribution) -> bool:
    """Whether it is one of the kinds that give whole numbers."""
    if isinstance(distribution, (Constant, Choice)):
        values = distribution.values if isinstance(distribution, Choice) else (distribution.value,)
        return all(value == int(value) for value in values)
    return isinstance(distribution, Integers) or (isinstance(distribution, Uniform) and distribution.round)


def walks(distribution: Distribution) -> bool:
    """Whether it depends on the frame of a clip."""
    return any(isinstance(part, Walk) for part in parts_of(distribution))


def is_scheduled(distribution: Distribution) -> bool:
    """Whether it depends on the training step."""
    return any(isinstance(part, Schedule) for part in parts_of(distribution))


def blended(first: Any, second: Any, share: float, discrete: bool = False) -> Any:
    """The distribution at a share of the way from one to another: numbers linearly; None where more than numbers differs.

    Args:
        first, second: distributions, or their fields.
        share: in [0, 1].
        discrete: whether values are codes or whole numbers, which have nothing between them.
    """
    if first == second and type(first) is type(second):
        return first
    if isinstance(first, Distribution) and type(first) is type(second):
        values = [[case for case, _ in by.cases] for by in (first, second) if isinstance(by, By)]
        if values and values[0] != values[1]:
            return None
        fields = {}
        for field in dataclasses.fields(first):  # type: ignore[arg-type]
            one, other = getattr(first, field.name), getattr(second, field.name)
            is_value = isinstance(first, (Constant, Choice)) and field.name in ("value", "values")
            fixed = is_value and (discrete or isinstance(first, Choice))
            fields[field.name] = None if fixed and one != other else blended(one, other, share, discrete)
            if fields[field.name] is None and (one is not None or other is not None):
                return None
        return dataclasses.replace(first, **fields)  # type: ignore[type-var]
    if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second):
        parts = tuple(blended(one, other, share, discrete) for one, other in zip(first, second))
        return None if any(part is None for part in parts) else parts
    if isinstance(first, float) and isinstance(second, float):
        return first + (second - first) * share
    return None


_LN2 = 0.6931471805599453


def _exp2(x: Float64Array) -> Float64Array:
    """2^x by a Taylor polynomial on [-1/2, 1/2], in + and * alone; relative error below 1e-15."""
    whole = np.rint(x)
    t = (x - whole) * _LN2
    term = np.ones_like(t)
    total = np.ones_like(t)
    for power in range(1, 16):
        term = term * t / power
        total = total + term
    return np.asarray(np.ldexp(total, whole.astype(np.int32)))


def _log2(x: Float64Array) -> Float64Array:
    """log2 x = exponent + 2 atanh((m - 1) / (m + 1)) / ln 2, m in [sqrt(1/2), sqrt(2)), in + - * / alone."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < 0.7071067811865476
    mantissa = np.where(small, 2 * mantissa, mantissa)
    whole = exponent - small
    z = (mantissa - 1) / (mantissa + 1)
    square = z * z
    total = np.zeros_like(z)
    for power in range(25, 0, -2):
        total = total * square + 1.0 / power
    return np.asarray(whole + 2 * z * total / _LN2)


# Wichura 1988, algorithm AS 241 (PPND16): coefficients of numerator and denominator, highest power first.
_CENTRAL = (
    (2509.0809287301226727, 5226.495278852545925),
    (33430.575583588128105, 28729.085735721942674),
    (67265.770927008700853, 39307.89580009271061),
    (45921.953931549871457, 21213.794301586595867),
    (13731.693765509461125, 5394.1960214247511077),
    (1971.5909503065514427, 687.1870074920579083),
    (133.14166789178437745, 42.313330701600911252),
    (3.387132872796366608, 1.0),
)
_OUTER = (
    (7.7454501427834140764e-4, 1.05075007164441684324e-9),
    (0.0227238449892691845833, 5.475938084995344946e-4),
    (0.24178072517745061177, 0.0151986665636164571966),
    (1.27045825245236838258, 0.14810397642748007459),
    (3.64784832476320460504, 0.68976733498510000455),
    (5.7694972214606914055, 1.6763848301838038494),
    (4.6303378461565452959, 2.05319162663775882187),
    (1.42343711074968357734, 1.0),
)


def _cut_normal(u: Float64Array) -> Float64Array:
    """The number below which a share u of a standard normal lies that is cut at 4 standard deviations: its quantiles are
    those of the whole one, to 1e-12, on [Phi(-4), Phi(4)]."""
    q = (u - 0.5) * (1.0 - 2.0 * _SHARE_BELOW_CUT)
    middle = np.abs(q) <= 0.425
    central = 0.180625 - q * q
    # Where the middle is meant, any number does for the tail.
    share = np.where(middle, 0.25, 0.5 - np.abs(q))
    outer = np.sqrt(-_log2(share) * _LN2) - 1.6
    return np.where(middle, q * _ratio(_CENTRAL, central), np.copysign(_ratio(_OUTER, outer), q))


def _ratio(coefficients: tuple[tuple[float, float], ...], x: Float64Array) -> Float64Array:
    """A rational function by Horner's rule."""
    above, below = np.zeros_like(x), np.zeros_like(x)
    for numerator, denominator in coefficients:
        above = above * x + numerator
        below = below * x + denominator
    return np.asarray(above / below)

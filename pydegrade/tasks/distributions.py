"""Distributions of a column: data, and one pure function from uniform numbers to values.

Every value is computed from float64 uniforms with + - * / and sqrt alone, so that rows are equal on every machine. A
distribution that nests others takes one more uniform per level of nesting; its branches share it, so that changing one
branch never moves the numbers of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ops.eigen import symmetric_eigen3

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Constant:
    """Always `value`."""

    value: float


@dataclass(frozen=True)
class Uniform:
    """Continuous on [low, high); `round` gives the nearest whole number, halves to even."""

    low: float
    high: float
    round: bool = False


@dataclass(frozen=True)
class LogUniform:
    """exp(U(log low, log high)), 0 < low <= high."""

    low: float
    high: float


@dataclass(frozen=True)
class ReciprocalUniform:
    """1 / U[low, high), 0 < low."""

    low: float
    high: float


@dataclass(frozen=True)
class SqrtUniform:
    """sqrt(U[low, high)), 0 <= low."""

    low: float
    high: float


@dataclass(frozen=True)
class SqrtUniformUpTo:
    """sqrt(U[low, c^2)) with c the value of an earlier column, by its full name "slot.column"; c where c^2 <= low.

    MZSR's second axis: variances l1 = U[1, L) and l2 = U[1, l1). `limit` is the largest value that c may have.
    """

    low: float
    column: str
    limit: float


@dataclass(frozen=True)
class Integers:
    """low, low + step, ... up to high, equally likely."""

    low: int
    high: int
    step: int = 1


@dataclass(frozen=True)
class Choice:
    """One of `values` with probabilities `weights`."""

    values: tuple[float, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Mixture:
    """One of `parts` with probabilities `weights`; the part draws from the next uniform."""

    parts: tuple[Distribution, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class By:
    """The distribution that belongs to the value of an earlier column, by its full name "slot.column"."""

    column: str
    cases: tuple[tuple[float, Distribution], ...]
    default: Distribution | None


@dataclass(frozen=True)
class BsrganCovariance:
    """One entry of BSRGAN's random channel covariance, |limit^2 U^T diag(d) U| element by element.

    d is uniform in [0, 1)^3 and U the left singular vectors of a 3x3 matrix of uniforms. The six entries of a slot share
    their uniforms. Source: KAIR, degradation_bsrgan, add_Gaussian_noise; unit: (8-bit level)^2.
    """

    limit_8bit: float
    entry: str


Distribution = (
    Constant
    | Uniform
    | LogUniform
    | ReciprocalUniform
    | SqrtUniform
    | SqrtUniformUpTo
    | Integers
    | Choice
    | Mixture
    | By
    | BsrganCovariance
)

COVARIANCE_DRAWS = 12


def levels(distribution: Distribution) -> int:
    """How many uniforms one value takes."""
    match distribution:
        case Constant():
            return 0
        case Mixture(parts=parts):
            return 1 + max(levels(part) for part in parts)
        case By(cases=cases, default=default):
            branches = [branch for _, branch in cases] + ([default] if default is not None else [])
            return max(levels(branch) for branch in branches)
        case BsrganCovariance():
            return COVARIANCE_DRAWS
        case _:
            return 1


def bounds(distribution: Distribution) -> tuple[float, float]:
    """Closed interval that holds every value."""
    match distribution:
        case Constant(value=value):
            return value, value
        case Uniform(low=low, high=high, round=rounded):
            return (float(np.rint(low)), float(np.rint(high))) if rounded else (low, high)
        case ReciprocalUniform(low=low, high=high):
            return 1 / high, 1 / low
        case SqrtUniform(low=low, high=high):
            return float(np.sqrt(low)), float(np.sqrt(high))
        case SqrtUniformUpTo(low=low, limit=limit):
            return min(float(np.sqrt(low)), limit), limit
        case Integers(low=first, high=last, step=step):
            return first, first + (last - first) // step * step
        case Choice(values=values):
            return min(values), max(values)
        case Mixture(parts=parts):
            limits = [bounds(part) for part in parts]
        case By(cases=cases, default=default):
            limits = [bounds(branch) for _, branch in cases] + ([bounds(default)] if default is not None else [])
        case BsrganCovariance(limit_8bit=limit):
            return 0.0, limit**2
        case _:
            return distribution.low, distribution.high
    return min(low for low, _ in limits), max(high for _, high in limits)


def evaluate(distribution: Distribution, u: Float64Array, known: Mapping[str, NDArray[Any]]) -> Float64Array:
    """Values for N rows.

    Args:
        distribution: what to draw from.
        u: float64 [N, L] in [0, 1), L >= levels(distribution).
        known: values of columns drawn earlier, by full name, [N] each.
    Returns:
        float64 [N]. Rows of a `By` without a fitting case are NaN.
    """
    match distribution:
        case Constant(value=value):
            return np.full(len(u), value)
        case Uniform(low=low, high=high, round=rounded):
            values = low + (high - low) * u[:, 0]
            return np.rint(values) if rounded else values
        case LogUniform(low=low, high=high):
            # low 2^(u log2(high / low)), clipped because the last bit may fall outside.
            span = float(_log2(np.array([high / low]))[0])
            return np.clip(low * _exp2(span * u[:, 0]), low, high)
        case ReciprocalUniform(low=low, high=high):
            return 1.0 / (low + (high - low) * u[:, 0])
        case SqrtUniform(low=low, high=high):
            return np.sqrt(low + (high - low) * u[:, 0])
        case SqrtUniformUpTo(low=low, column=column):
            variance = np.square(known[column].astype(np.float64))
            return np.sqrt(np.minimum(low, variance) + np.maximum(variance - low, 0.0) * u[:, 0])
        case Integers(low=first, high=last, step=step):
            count = (last - first) // step + 1
            return first + step * np.minimum(np.floor(u[:, 0] * count), count - 1)
        case Choice(values=options, weights=weights):
            return np.asarray(options, np.float64)[_pick(weights, u[:, 0])]
        case Mixture(parts=parts, weights=weights):
            chosen = _pick(weights, u[:, 0])
            return _merge([(chosen == place, part) for place, part in enumerate(parts)], u[:, 1:], known)
        case By(column=column, cases=cases, default=default):
            key = known[column]
            tests = [(key == np.asarray(value).astype(key.dtype), branch) for value, branch in cases]
            if default is not None:
                rest = ~np.any([test for test, _ in tests], axis=0) if tests else np.ones(len(u), bool)
                tests.append((rest, default))
            return _merge(tests, u, known)
        case BsrganCovariance(limit_8bit=limit, entry=entry):
            return limit**2 * _covariance_entry(u, entry)


def _merge(
    parts: list[tuple[NDArray[np.bool_], Distribution]], u: Float64Array, known: Mapping[str, NDArray[Any]]
) -> Float64Array:
    """Each row from the part that is marked for it."""
    out = np.full(len(u), np.nan)
    for chosen, part in parts:
        rows = np.nonzero(chosen)[0]
        if len(rows):
            out[rows] = evaluate(part, u[rows], {name: values[rows] for name, values in known.items()})
    return out


def _pick(weights: tuple[float, ...], u: Float64Array) -> NDArray[np.int64]:
    """Position whose share of [0, 1) holds u."""
    edges = np.cumsum(np.asarray(weights, np.float64))[:-1]
    return np.searchsorted(edges, u, side="right")


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


_ENTRIES = {"rr": (0, 0), "rg": (0, 1), "rb": (0, 2), "gg": (1, 1), "gb": (1, 2), "bb": (2, 2)}
COVARIANCE_ENTRIES = tuple(_ENTRIES)


def _covariance_entry(u: Float64Array, entry: str) -> Float64Array:
    """|U^T diag(d) U| at one entry; d = u[:, :3], U = left singular vectors of the matrix u[:, 3:12]."""
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
    i, j = _ENTRIES[entry]
    return np.abs(sum(ordered[:, k, i] * d[:, k] * ordered[:, k, j] for k in range(3)))

"""Exponential, logarithm and power of float64 tensors from + - * / and bits: the same values on every processor."""

from __future__ import annotations

import torch

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-1, 1.90821492927058770002e-10
_INVERSE_FACTORIALS = [1.0]
for _number in range(1, 14):
    _INVERSE_FACTORIALS.append(_INVERSE_FACTORIALS[-1] / _number)


def exp(x: torch.Tensor) -> torch.Tensor:
    """e^x for -700 <= x <= 700: x = k ln 2 + r with |r| <= 0.35, a Taylor sum to r^13; relative error below 1e-15."""
    k = torch.round(x * 1.4426950408889634)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = torch.full_like(r, _INVERSE_FACTORIALS[13])
    for term in reversed(_INVERSE_FACTORIALS[:13]):
        total = total * r + term
    return total * ((k.to(torch.int64) + 1023) << 52).view(torch.float64)


def log(x: torch.Tensor) -> torch.Tensor:
    """ln x for normal x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh((m - 1) / (m + 1)); to 1e-15."""
    bits = x.view(torch.int64) - 0x3FE6A09E667F3BCD
    e = (bits >> 52).to(torch.float64)
    m = ((bits & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD).view(torch.float64)
    z = (m - 1.0) / (m + 1.0)
    square = z * z
    total = torch.full_like(z, 1.0 / 25.0)
    for odd in range(23, 0, -2):
        total = total * square + 1.0 / odd
    return e * 0.6931471805599453 + z * total * 2.0


def power(x: torch.Tensor, exponent: float) -> torch.Tensor:
    """x^exponent in float32 for float32 x in [0, 1] and an exponent above 0; 0 stays 0."""
    wide = x.to(torch.float64)
    safe = torch.where(wide > 1e-30, wide, torch.ones_like(wide))
    raised = exp(torch.clamp(log(safe.contiguous()) * exponent, min=-700.0))
    return torch.where(wide > 1e-30, raised, torch.zeros_like(wide)).to(torch.float32)


def direction(angle_rad: float) -> tuple[float, float]:
    """Cosine and sine for |angle| <= 100, to 1e-15: the nearest multiple of pi/2 is taken off, Taylor sums do the rest."""
    k = round(angle_rad * 0.6366197723675814)
    r = (angle_rad - k * 1.57079632673412561417) - k * 6.07710050650619224932e-11
    square = r * r
    sine = cosine = 0.0
    for n in range(8, 0, -1):
        sine = -square / ((2 * n) * (2 * n + 1)) * (1.0 + sine)
        cosine = -square / ((2 * n - 1) * (2 * n)) * (1.0 + cosine)
    sine, cosine = r * (1.0 + sine), 1.0 + cosine
    return ((cosine, sine), (-sine, cosine), (-cosine, -sine), (sine, -cosine))[k % 4]

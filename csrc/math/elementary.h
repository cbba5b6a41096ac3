// exp, log, sine and cosine in double from + - * / and bit operations: the same bits on every machine.
#pragma once

#include "math/hd.h"

// e^x for x <= 700; 0 below -700. x = k ln 2 + r with |r| <= 0.35 and a Taylor sum to r^13; relative error 3e-16.
PYD_HD double elementary_exp(double x) {
  const double low = x < -700.0 ? -700.0 : x;
  // Adding 1.5 2^52 leaves the nearest integer in the low bits.
  const double shifted = low * 1.4426950408889634 + 6755399441055744.0;
  const double k = shifted - 6755399441055744.0;
  double r = low - k * 6.93147180369123816490e-1;
  r = r - k * 1.90821492927058770002e-10;
  double sum = 1.0 / 6227020800.0;
  sum = sum * r + 1.0 / 479001600.0;
  sum = sum * r + 1.0 / 39916800.0;
  sum = sum * r + 1.0 / 3628800.0;
  sum = sum * r + 1.0 / 362880.0;
  sum = sum * r + 1.0 / 40320.0;
  sum = sum * r + 1.0 / 5040.0;
  sum = sum * r + 1.0 / 720.0;
  sum = sum * r + 1.0 / 120.0;
  sum = sum * r + 1.0 / 24.0;
  sum = sum * r + 1.0 / 6.0;
  sum = sum * r + 0.5;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  // 2^k: of the low bits those twelve count that an exponent has room for. No signed shift, which AVX2 lacks.
  const double result = sum * pyd_double((pyd_bits(shifted) + 1023) << 52);
  return x < -700.0 ? 0.0 : result;
}

// ln x for normal x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh((m - 1) / (m + 1)).
PYD_HD double elementary_log(double x) {
  const uint64_t shifted = pyd_bits(x) - 0x3FE6A09E667F3BCDull;
  // e as a double: 2^52 + 1024 + e has 1024 + e in its low bits. AVX2 neither shifts nor converts signed 64-bit integers.
  const double e = pyd_double(((shifted + 0x4000000000000000ull) >> 52) | 0x4330000000000000ull) - 4503599627371520.0;
  const double m = pyd_double((shifted & 0x000FFFFFFFFFFFFFull) + 0x3FE6A09E667F3BCDull);
  const double z = (m - 1.0) / (m + 1.0);
  const double s = z * z;
  double sum = 1.0 / 25.0;
  sum = sum * s + 1.0 / 23.0;
  sum = sum * s + 1.0 / 21.0;
  sum = sum * s + 1.0 / 19.0;
  sum = sum * s + 1.0 / 17.0;
  sum = sum * s + 1.0 / 15.0;
  sum = sum * s + 1.0 / 13.0;
  sum = sum * s + 1.0 / 11.0;
  sum = sum * s + 1.0 / 9.0;
  sum = sum * s + 1.0 / 7.0;
  sum = sum * s + 1.0 / 5.0;
  sum = sum * s + 1.0 / 3.0;
  sum = sum * s + 1.0;
  return e * 0.6931471805599453 + 2.0 * z * sum;
}

// Sine and cosine for |x| <= 100 or so: the nearest multiple of pi/2 is taken off, Taylor sums do the rest.
PYD_HD void elementary_sin_cos(double x, double* sine, double* cosine) {
  const double shifted = x * 0.6366197723675814 + 6755399441055744.0;
  const double k = shifted - 6755399441055744.0;
  const uint64_t quadrant = pyd_bits(shifted) & 3u;
  double r = x - k * 1.57079632673412561417;
  r = r - k * 6.07710050650619224932e-11;
  const double z = r * r;
  double s = -1.0 / 1307674368000.0;
  s = s * z + 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  s = s * z * r + r;
  double c = 1.0 / 20922789888000.0;
  c = c * z - 1.0 / 87178291200.0;
  c = c * z + 1.0 / 479001600.0;
  c = c * z - 1.0 / 3628800.0;
  c = c * z + 1.0 / 40320.0;
  c = c * z - 1.0 / 720.0;
  c = c * z + 1.0 / 24.0;
  c = c * z - 0.5;
  c = c * z + 1.0;
  const double a = (quadrant & 1u) != 0 ? c : s;
  const double b = (quadrant & 1u) != 0 ? s : c;
  *sine = (quadrant & 2u) != 0 ? -a : a;
  *cosine = quadrant == 1 || quadrant == 2 ? -b : b;
}

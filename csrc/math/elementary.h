// exp, log, sine and cosine, Bessel J1 in double from + - * / and bit operations: the same bits on every machine.
#pragma once

#include "math/hd.h"

// 2^k as a double, -1022 <= k <= 1023.
PYD_HD double elementary_power_of_two(int64_t k) { return pyd_double(static_cast<uint64_t>(k + 1023) << 52); }

// e^x for x <= 700; 0 below -700. x = k ln 2 + r with |r| <= 0.35 and a Taylor sum to r^13; relative error 3e-16.
PYD_HD double elementary_exp(double x) {
  const double low = x < -700.0 ? -700.0 : x;
  // Adding 1.5 2^52 leaves the nearest integer in the low bits.
  const double shifted = low * 1.4426950408889634 + 6755399441055744.0;
  const double k = shifted - 6755399441055744.0;
  const int64_t whole = static_cast<int64_t>(pyd_bits(shifted) << 32) >> 32;
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
  const double result = sum * elementary_power_of_two(whole);
  return x < -700.0 ? 0.0 : result;
}

// ln x for normal x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh((m - 1) / (m + 1)).
PYD_HD double elementary_log(double x) {
  const uint64_t shifted = pyd_bits(x) - 0x3FE6A09E667F3BCDull;
  const double e = static_cast<double>(static_cast<int64_t>(shifted) >> 52);
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

// J1 at eight places, 1e-4 <= x <= 200 (x / 2 below), by Miller's downward recurrence
// J(n - 1) = (2 n / x) J(n) - J(n + 1), normalised by J0 + 2 (J2 + J4 + ...) = 1. Absolute error below 1e-14.
constexpr int kBesselLanes = 8;
PYD_HD void elementary_bessel_j1(const double x[kBesselLanes], double j1[kBesselLanes]) {
  double largest = 0.0;
  for (int l = 0; l < kBesselLanes; ++l) largest = x[l] > largest ? x[l] : largest;
  const int start = 2 * (static_cast<int>(largest * 0.575) + 18);
  double two_over_x[kBesselLanes], above[kBesselLanes], here[kBesselLanes], evens[kBesselLanes];
  for (int l = 0; l < kBesselLanes; ++l) {
    two_over_x[l] = 2.0 / (x[l] > 1e-4 ? x[l] : 1e-4);
    above[l] = 0.0;
    here[l] = 1e-280;
    evens[l] = 1e-280;
  }
  // After the step for n, `here` holds J(n - 1); n - 1 is even for even steps.
  for (int n = start; n > 1; --n) {
    const double even = (n & 1) != 0 ? 1.0 : 0.0;
    for (int l = 0; l < kBesselLanes; ++l) {
      const double below = n * two_over_x[l] * here[l] - above[l];
      above[l] = here[l];
      here[l] = below;
      evens[l] = evens[l] + even * below;
    }
  }
  for (int l = 0; l < kBesselLanes; ++l) {
    const double j0 = two_over_x[l] * here[l] - above[l];
    const double value = here[l] / (j0 + 2.0 * evens[l]);
    j1[l] = x[l] > 1e-4 ? value : 0.5 * x[l];
  }
}

// Standard normals from random words, in float32 with + * sqrt and explicit fma alone: the same bits everywhere.
#pragma once

#include "math/hd.h"

// -2 ln((word + 1/2) 2^-32), >= 0. The logarithm is that of Cephes logf (S. Moshier): x = m 2^e with m in
// [sqrt(1/2), sqrt(2)), a polynomial in m - 1; error below 1 ulp of the result. The uniform never reaches 0, so normals
// reach 6.66 sigma; words near 2^32 round to 1 and give exactly 0.
PYD_HD float normal_minus_two_log(uint32_t word) {
  const float u = pyd_fma(static_cast<float>(word), 2.3283064365386963e-10f, 1.1641532182693481e-10f);
  const uint32_t bits = pyd_bits(u);
  // Subtracting the bits of sqrt(1/2) moves the range of the mantissa to [sqrt(1/2), sqrt(2)).
  const uint32_t shifted = bits - 0x3F3504F3u;
  const float e = static_cast<float>(static_cast<int32_t>(shifted) >> 23);
  const float x = pyd_float((shifted & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
  const float z = x * x;
  float p = 7.0376836292e-2f;
  p = pyd_fma(p, x, -1.1514610310e-1f);
  p = pyd_fma(p, x, 1.1676998740e-1f);
  p = pyd_fma(p, x, -1.2420140846e-1f);
  p = pyd_fma(p, x, 1.4249322787e-1f);
  p = pyd_fma(p, x, -1.6668057665e-1f);
  p = pyd_fma(p, x, 2.0000714765e-1f);
  p = pyd_fma(p, x, -2.4999993993e-1f);
  p = pyd_fma(p, x, 3.3333331174e-1f);
  float y = p * x * z;
  y = pyd_fma(e, -2.12194440e-4f, y);
  y = pyd_fma(z, -0.5f, y);
  const float log = pyd_fma(e, 0.693359375f, x + y);
  const float result = -2.0f * log;
  return result > 0.0f ? result : 0.0f;
}

// Cosine and sine of a uniform angle from a word: the top two bits choose the quadrant, the others an angle in
// [-pi/4, pi/4), by the polynomials of Cephes sinf and cosf.
PYD_HD void normal_cos_sin(uint32_t word, float* cosine, float* sine) {
  const int32_t offset = static_cast<int32_t>(word & 0x3FFFFFFFu) - 0x20000000;
  const float x = pyd_fma(static_cast<float>(offset), 1.4629180792671596e-9f, 7.314590396335798e-10f);
  const float z = x * x;
  float s = pyd_fma(-1.9515295891e-4f, z, 8.3321608736e-3f);
  s = pyd_fma(s, z, -1.6666654611e-1f);
  s = pyd_fma(s * z, x, x);
  float c = pyd_fma(2.443315711809948e-5f, z, -1.388731625493765e-3f);
  c = pyd_fma(c, z, 4.166664568298827e-2f);
  c = pyd_fma(c * z, z, pyd_fma(-0.5f, z, 1.0f));
  const bool swap = (word & 0x40000000u) != 0;
  const bool negative = (word & 0x80000000u) != 0;
  // Quadrants 0..3: (c, s), (-s, c), (-c, -s), (s, -c).
  const float a = swap ? -s : c;
  const float b = swap ? c : s;
  *cosine = negative ? -a : a;
  *sine = negative ? -b : b;
}

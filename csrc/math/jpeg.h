// Quantisation of JPEG: the example tables of ITU-T T.81, annex K, and what a quality makes of them.
#pragma once

#include "math/hd.h"

namespace pyd {
namespace {

// Row = vertical frequency, column = horizontal frequency.
constexpr int16_t kLumaTable[64] = {
    16, 11, 10, 16, 24,  40,  51,  61,   //
    12, 12, 14, 19, 26,  58,  60,  55,   //
    14, 13, 16, 24, 40,  57,  69,  56,   //
    14, 17, 22, 29, 51,  87,  80,  62,   //
    18, 22, 37, 56, 68,  109, 103, 77,   //
    24, 35, 55, 64, 81,  104, 113, 92,   //
    49, 64, 78, 87, 103, 121, 120, 101,  //
    72, 92, 95, 98, 112, 100, 103, 99,
};
constexpr int16_t kChromaTable[64] = {
    17, 18, 24, 47, 99, 99, 99, 99,  //
    18, 21, 26, 66, 99, 99, 99, 99,  //
    24, 26, 56, 99, 99, 99, 99, 99,  //
    47, 66, 99, 99, 99, 99, 99, 99,  //
    99, 99, 99, 99, 99, 99, 99, 99,  //
    99, 99, 99, 99, 99, 99, 99, 99,  //
    99, 99, 99, 99, 99, 99, 99, 99,  //
    99, 99, 99, 99, 99, 99, 99, 99,
};

// libjpeg's percentage for a quality, an integer also for fractional qualities: 5000 / quality below 50, else
// 200 - 2 quality, both rounded down.
PYD_HD int32_t libjpeg_scale_percent(float quality) {
  return static_cast<int32_t>(quality < 50.0f ? 5000.0f / quality : 200.0f - 2.0f * quality);
}

PYD_HD int32_t libjpeg_table_entry(int32_t base, int32_t scale_percent) {
  const int32_t entry = (base * scale_percent + 50) / 100;
  return entry < 1 ? 1 : (entry > 255 ? 255 : entry);
}

// BasicSR's factor on the table entries, which stay unrounded; 0 at quality 100.
PYD_HD float basicsr_factor(float quality) {
  return quality < 50.0f ? 50.0f / quality : 2.0f - quality / 50.0f;
}

// libjpeg divides a coefficient, scaled by 8, by d = 8 * entry and rounds half away from zero. In unsigned 16-bit numbers:
// with s = -1 below zero and 0 otherwise, n = c + s + d / 2 + d k is not negative for a suitable k, and
// floor(n / d) - k is the quotient. floor(n / d) = (n * reciprocal) >> (16 + b), the shift by b done by multiplying with
// 2^(16 - b) and keeping the upper half. tests/test_jpeg.py goes through all entries and all |c| <= 2^13.
struct Quantiser {
  uint16_t bias;        // d / 2 + d k
  uint16_t reciprocal;  // ceil(2^(16 + b) / d), b the largest with reciprocal < 2^16
  uint16_t scale;       // 2^(16 - b)
  uint16_t entry;
  uint16_t offset;      // entry * k
};
PYD_HD constexpr Quantiser quantiser_of(int32_t entry) {
  const int32_t divisor = 8 * entry;
  const int32_t k = 8192 / divisor + 1;
  int b = 0;
  while (2 << b < divisor) ++b;
  const int32_t reciprocal = ((1 << (16 + b)) + divisor - 1) / divisor;
  return {static_cast<uint16_t>(divisor / 2 + divisor * k), static_cast<uint16_t>(reciprocal),
          static_cast<uint16_t>(1 << (16 - b)), static_cast<uint16_t>(entry), static_cast<uint16_t>(entry * k)};
}

}  // namespace
}  // namespace pyd

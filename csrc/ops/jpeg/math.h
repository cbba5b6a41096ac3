// JPEG: the example tables of ITU-T T.81, annex K, what a quality makes of them, and how a picture is divided.
#pragma once

#include "math/hd.h"
#include "ops/jpeg/fields.h"

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
PYD_HD float basicsr_factor(float quality) { return quality < 50.0f ? 50.0f / quality : 2.0f - quality / 50.0f; }

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

// A coefficient, scaled by 8, as the decoder will see it.
PYD_HD int32_t quantise_and_back(const Quantiser& q, int32_t coefficient) {
  const uint32_t n = static_cast<uint16_t>(coefficient + (coefficient >> 15) + q.bias);
  const uint32_t level = (n * q.reciprocal >> 16) * q.scale >> 16;
  return static_cast<int16_t>(level * q.entry - q.offset);
}

// Sample `x` of a row of twice `count` chroma samples: libjpeg's upsampling weighs the nearer sample 3/4, the farther 1/4,
// and the two roundings alternate. `column(i)` is sample i, or 3 near + far of two rows (`rows` 2).
template <typename Column>
PYD_HD int32_t upsampled_level(const Column& column, int32_t x, int32_t count, int32_t rows) {
  const int32_t i = x / 2, other = x % 2 == 0 ? i - 1 : i + 1;
  const int32_t shift = rows == 2 ? 4 : 2, half = 1 << (shift - 1);
  if (other < 0 || other >= count) {
    // The ends of a row stand alone.
    return rows == 2 ? (4 * column(i) + (x == 0 ? 8 : 7)) >> 4 : column(i);
  }
  // One row: left neighbours 1, right ones 2; two rows: left neighbours 8, right ones 7.
  const int32_t bias = rows == 2 ? (x % 2 == 0 ? half : half - 1) : (x % 2 == 0 ? half - 1 : half);
  return (3 * column(i) + column(other) + bias) >> shift;
}

}  // namespace

// How a picture is divided. A chroma sample covers factor_x x factor_y px; a component has whole blocks.
struct JpegGeometry {
  int64_t height, width;  // px
  int64_t factor_y, factor_x;
  int64_t chroma_height, chroma_width;               // samples that a decoder sees
  int64_t luma_blocks_y, luma_blocks_x;              // blocks of 8 x 8 samples
  int64_t chroma_blocks_y, chroma_blocks_x;
  // libjpeg's "fancy" upsampling. It repeats samples instead in 4:1:1, and where the width is halved and a row has one or
  // two of them.
  bool smooth;
};

// `basicsr`: 4:2:0 in whole units of 16 px, without interpolation.
static inline JpegGeometry jpeg_geometry(int64_t height, int64_t width, int32_t subsampling, bool basicsr = false) {
  if (basicsr) subsampling = kJpeg420;
  JpegGeometry g;
  g.height = height;
  g.width = width;
  g.factor_y = subsampling == kJpeg420 || subsampling == kJpeg440 ? 2 : 1;
  g.factor_x = subsampling == kJpeg444 || subsampling == kJpeg440 ? 1 : (subsampling == kJpeg411 ? 4 : 2);
  g.chroma_height = (height + g.factor_y - 1) / g.factor_y;
  g.chroma_width = (width + g.factor_x - 1) / g.factor_x;
  g.luma_blocks_y = (height + 7) / 8;
  g.luma_blocks_x = (width + 7) / 8;
  g.chroma_blocks_y = (g.chroma_height + 7) / 8;
  g.chroma_blocks_x = (g.chroma_width + 7) / 8;
  g.smooth = (g.factor_x == 2 && g.chroma_width > 2) || (g.factor_x == 1 && g.factor_y == 2);
  if (basicsr) {
    g.smooth = false;
    g.chroma_blocks_y = (height + 15) / 16;
    g.chroma_blocks_x = (width + 15) / 16;
    g.luma_blocks_y = 2 * g.chroma_blocks_y;
    g.luma_blocks_x = 2 * g.chroma_blocks_x;
  }
  return g;
}

}  // namespace pyd

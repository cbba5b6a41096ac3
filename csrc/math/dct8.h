// 8-point discrete cosine transforms along one axis, in place on x[0..7]. T is a number or a vector of numbers.
#pragma once

#include "math/hd.h"

namespace pyd {
namespace {

// ---- Integer: the values of libjpeg's "islow" method, that is Loeffler, Ligtenberg and Moschytz (ICASSP 1989) with
// constants rounded to 13 bits. Two passes make a 2-D transform; the first keeps two extra bits.
//
// Ranges. Samples are -128..127. Forward pass 1 gives |x| <= 8 * 128 * 4 * 1.39 < 2^13, pass 2 sums at most
// 2^13 * 8 * 1.39 * 2^13 < 2^30: int32 suffices. Dequantised coefficients are |c| <= 1024 * 1.1 + 128; the inverse's sums
// stay below 2^24 and 2^27.

constexpr int kDctFractionBits = 13;
constexpr int kDctExtraBits = 2;
constexpr int32_t kDctUnit = 1 << kDctFractionBits;

// The odd half of both directions: a rotation network of nine products. On return the four arguments hold the outputs.
template <typename T>
PYD_HD void islow_odd_part(T& a, T& b, T& c, T& d) {
  const T sum_ac = a + c;
  const T sum_bd = b + d;
  const T common = (sum_ac + sum_bd) * 9633;       // 1.175875602
  const T ad = (a + d) * -7373;                    // 0.899976223
  const T bc = (b + c) * -20995;                   // 2.562915447
  const T ac = sum_ac * -16069 + common;           // 1.961570560
  const T bd = sum_bd * -3196 + common;            // 0.390180644
  a = a * 2446 + ad + ac;                          // 0.298631336
  b = b * 16819 + bc + bd;                         // 2.053119869
  c = c * 25172 + bc + ac;                         // 3.072711026
  d = d * 12299 + ad + bd;                         // 1.501321110
}

// (x * 2^13 + half) >> shift, with one multiplication by a power of two less.
template <int Shift, typename T>
PYD_HD T islow_scaled(const T& x) {
  if (Shift < kDctFractionBits) return x * (1 << (Shift < kDctFractionBits ? kDctFractionBits - Shift : 0));
  constexpr int kRest = Shift > kDctFractionBits ? Shift - kDctFractionBits : 1;
  return (x + (1 << (kRest - 1))) >> kRest;
}

// Samples -> frequencies, scaled by sqrt(8) and 2^(13 - Shift), of the samples minus Offset.
template <int Shift, int Offset, typename T>
PYD_HD void islow_forward8(T* x) {
  constexpr int32_t kHalf = 1 << (Shift - 1);
  const T even0 = x[0] + x[7], even1 = x[1] + x[6], even2 = x[2] + x[5], even3 = x[3] + x[4];
  T odd0 = x[3] - x[4], odd1 = x[2] - x[5], odd2 = x[1] - x[6], odd3 = x[0] - x[7];

  // An offset of all samples is seen by frequency 0 alone.
  const T outer = even0 + even3, inner = even1 + even2;
  x[0] = islow_scaled<Shift>(T(outer + inner - 8 * Offset));
  x[4] = islow_scaled<Shift>(T(outer - inner));
  const T low = even1 - even2, high = even0 - even3;
  const T rotated = (low + high) * 4433 + kHalf;   // 0.541196100
  x[2] = (rotated + high * 6270) >> Shift;         // 0.765366865
  x[6] = (rotated - low * 15137) >> Shift;         // 1.847759065

  islow_odd_part(odd0, odd1, odd2, odd3);
  x[7] = (odd0 + kHalf) >> Shift;
  x[5] = (odd1 + kHalf) >> Shift;
  x[3] = (odd2 + kHalf) >> Shift;
  x[1] = (odd3 + kHalf) >> Shift;
}

// Frequencies -> samples plus Offset.
template <int Shift, int Offset, typename T>
PYD_HD void islow_inverse8(T* x) {
  constexpr int32_t kHalf = (1 << (Shift - 1)) + Offset * (1 << Shift);
  const T rotated = (x[2] + x[6]) * 4433;
  const T from2 = rotated + x[2] * 6270;
  const T from6 = rotated - x[6] * 15137;
  const T first = x[0] * kDctUnit + kHalf, fourth = x[4] * kDctUnit;
  const T sum = first + fourth, difference = first - fourth;
  const T even0 = sum + from2, even3 = sum - from2;
  const T even1 = difference + from6, even2 = difference - from6;

  T odd0 = x[7], odd1 = x[5], odd2 = x[3], odd3 = x[1];
  islow_odd_part(odd0, odd1, odd2, odd3);
  x[0] = (even0 + odd3) >> Shift;
  x[7] = (even0 - odd3) >> Shift;
  x[1] = (even1 + odd2) >> Shift;
  x[6] = (even1 - odd2) >> Shift;
  x[2] = (even2 + odd1) >> Shift;
  x[5] = (even2 - odd1) >> Shift;
  x[3] = (even3 + odd0) >> Shift;
  x[4] = (even3 - odd0) >> Shift;
}

// ---- Float: the orthonormal type-II transform, whose inverse is its transpose. Products and sums in a fixed order.

constexpr float kCos0 = 0.35355339059327379f;  // cos(pi / 4) / 2
constexpr float kCos1 = 0.49039264020161522f;  // cos(k pi / 16) / 2, k = 1..7
constexpr float kCos2 = 0.46193976625564337f;
constexpr float kCos3 = 0.41573480615127262f;
constexpr float kCos5 = 0.27778511650980111f;
constexpr float kCos6 = 0.19134171618254489f;
constexpr float kCos7 = 0.09754516100806413f;

template <typename T>
PYD_HD void dct_forward8(T* x) {
  const T even0 = x[0] + x[7], even1 = x[1] + x[6], even2 = x[2] + x[5], even3 = x[3] + x[4];
  const T odd0 = x[0] - x[7], odd1 = x[1] - x[6], odd2 = x[2] - x[5], odd3 = x[3] - x[4];
  x[0] = ((even0 + even3) + (even1 + even2)) * kCos0;
  x[4] = ((even0 + even3) - (even1 + even2)) * kCos0;
  x[2] = (even0 - even3) * kCos2 + (even1 - even2) * kCos6;
  x[6] = (even0 - even3) * kCos6 - (even1 - even2) * kCos2;
  x[1] = odd0 * kCos1 + odd1 * kCos3 + odd2 * kCos5 + odd3 * kCos7;
  x[3] = odd0 * kCos3 - odd1 * kCos7 - odd2 * kCos1 - odd3 * kCos5;
  x[5] = odd0 * kCos5 - odd1 * kCos1 + odd2 * kCos7 + odd3 * kCos3;
  x[7] = odd0 * kCos7 - odd1 * kCos5 + odd2 * kCos3 - odd3 * kCos1;
}

template <typename T>
PYD_HD void dct_inverse8(T* x) {
  const T sum = (x[0] + x[4]) * kCos0, difference = (x[0] - x[4]) * kCos0;
  const T outer = x[2] * kCos2 + x[6] * kCos6, inner = x[2] * kCos6 - x[6] * kCos2;
  const T even0 = sum + outer, even3 = sum - outer, even1 = difference + inner, even2 = difference - inner;
  const T odd0 = x[1] * kCos1 + x[3] * kCos3 + x[5] * kCos5 + x[7] * kCos7;
  const T odd1 = x[1] * kCos3 - x[3] * kCos7 - x[5] * kCos1 - x[7] * kCos5;
  const T odd2 = x[1] * kCos5 - x[3] * kCos1 + x[5] * kCos7 + x[7] * kCos3;
  const T odd3 = x[1] * kCos7 - x[3] * kCos5 + x[5] * kCos3 - x[7] * kCos1;
  x[0] = even0 + odd0;
  x[7] = even0 - odd0;
  x[1] = even1 + odd1;
  x[6] = even1 - odd1;
  x[2] = even2 + odd2;
  x[5] = even2 - odd2;
  x[3] = even3 + odd3;
  x[4] = even3 - odd3;
}

}  // namespace
}  // namespace pyd

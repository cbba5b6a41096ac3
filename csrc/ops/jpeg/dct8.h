// 8-point discrete cosine transforms along one axis, in place on x[0..7].
#pragma once

#include "math/hd.h"

namespace pyd {
namespace {

// ---- Integer: the values of libjpeg's "islow" method, that is Loeffler, Ligtenberg and Moschytz (ICASSP 1989) with
// constants rounded to 13 bits. Two passes make a 2-D transform; the first keeps two extra bits.
//
// The method's flow graph has few multiplications; here it is multiplied out, since processors multiply pairs of 16-bit
// numbers and add the products in one instruction. In integers both are the same: only the results of a pass are rounded.
// (Multiplied out, the constants are no longer perfectly symmetric: 2260 and 2261, 11362 and 11363 ...)
//
// Ranges. Words: samples are 0..255; pass 1 gives at most 128 * 59386 / 2^11 < 3712 (59386 is the largest sum of
// magnitudes in a row of the matrix), frequency 0 between -4096 and 4064, so that the sums of eight in pass 2 lie in
// -32768..32512; its results are within +-8192. The inverse starts from at most 1024 * 1.3 + 128, and its first pass is
// clipped to 16 bits by no input, as in libjpeg-turbo's vector code. Sums: below 2^15 * 59386 < 2^31.

constexpr int kDctFractionBits = 13;
constexpr int kDctExtraBits = 2;

// What the transforms are written with; vectors of numbers bring their own (lanes.h).
struct ScalarDct {
  using Word = int32_t;
  using Sum = int32_t;
  struct Pair {
    int32_t first, second;
  };
  PYD_HD Pair pair(int32_t first, int32_t second) { return {first, second}; }
  PYD_HD int32_t dot(Pair pair, int16_t a, int16_t b) { return pair.first * a + pair.second * b; }
  template <int Shift>
  PYD_HD int32_t shifted(int32_t sum) {
    return sum >> Shift;
  }
};

template <typename A>
struct OddPart {
  typename A::Sum x1, x3, x5, x7;
};

// The odd half of both directions; its matrix is symmetric.
template <typename A>
PYD_HD OddPart<A> islow_odd_part(const typename A::Word& x1, const typename A::Word& x3, const typename A::Word& x5,
                                 const typename A::Word& x7) {
  const typename A::Pair outer = A::pair(x7, x1), inner = A::pair(x5, x3);
  return {A::dot(outer, 2260, 11363) + A::dot(inner, 6437, 9633), A::dot(outer, -6436, 9633) + A::dot(inner, -11362, -2259),
          A::dot(outer, 9633, 6437) + A::dot(inner, 2261, -11362),
          A::dot(outer, -11363, 2260) + A::dot(inner, 9633, -6436)};
}

// Samples -> frequencies of the samples minus 128, scaled by sqrt(8) and 2^2; in the second pass, of rows of those ->
// frequencies scaled by 8 in all.
template <typename A, bool first_pass>
PYD_HD void islow_forward8(typename A::Word* x) {
  constexpr int kShift = first_pass ? kDctFractionBits - kDctExtraBits : kDctFractionBits + kDctExtraBits;
  constexpr int32_t kHalf = 1 << (kShift - 1);
  using Word = typename A::Word;
  const Word even0 = x[0] + x[7], even1 = x[1] + x[6], even2 = x[2] + x[5], even3 = x[3] + x[4];
  const Word odd0 = x[0] - x[7], odd1 = x[1] - x[6], odd2 = x[2] - x[5], odd3 = x[3] - x[4];

  // Frequencies 0 and 4 have the factor 2^13. Subtracting 128 from all samples is seen by frequency 0 alone.
  const Word outer = even0 + even3, inner = even1 + even2;
  if (first_pass) {
    x[0] = (outer + inner - 8 * 128) * (1 << kDctExtraBits);
    x[4] = (outer - inner) * (1 << kDctExtraBits);
  } else {
    x[0] = (outer + inner + (1 << (kDctExtraBits - 1))) >> kDctExtraBits;
    x[4] = (outer - inner + (1 << (kDctExtraBits - 1))) >> kDctExtraBits;
  }
  const typename A::Pair even = A::pair(even0 - even3, even1 - even2);
  x[2] = A::template shifted<kShift>(A::dot(even, 10703, 4433) + kHalf);
  x[6] = A::template shifted<kShift>(A::dot(even, 4433, -10704) + kHalf);

  const OddPart<A> odd = islow_odd_part<A>(odd0, odd1, odd2, odd3);
  x[1] = A::template shifted<kShift>(odd.x1 + kHalf);
  x[3] = A::template shifted<kShift>(odd.x3 + kHalf);
  x[5] = A::template shifted<kShift>(odd.x5 + kHalf);
  x[7] = A::template shifted<kShift>(odd.x7 + kHalf);
}

// Frequencies -> samples, in the second pass plus 128.
template <typename A, bool first_pass>
PYD_HD void islow_inverse8(typename A::Word* x) {
  constexpr int kShift = first_pass ? kDctFractionBits - kDctExtraBits : kDctFractionBits + kDctExtraBits + 3;
  constexpr int32_t kHalf = (1 << (kShift - 1)) + (first_pass ? 0 : 128 << kShift);
  using Sum = typename A::Sum;
  const typename A::Pair quarters = A::pair(x[0], x[4]), eighths = A::pair(x[2], x[6]);
  const Sum sum = A::dot(quarters, 8192, 8192) + kHalf, difference = A::dot(quarters, 8192, -8192) + kHalf;
  const Sum from2 = A::dot(eighths, 10703, 4433), from6 = A::dot(eighths, 4433, -10704);
  const Sum even0 = sum + from2, even1 = difference + from6, even2 = difference - from6, even3 = sum - from2;

  const OddPart<A> odd = islow_odd_part<A>(x[1], x[3], x[5], x[7]);
  x[0] = A::template shifted<kShift>(even0 + odd.x1);
  x[7] = A::template shifted<kShift>(even0 - odd.x1);
  x[1] = A::template shifted<kShift>(even1 + odd.x3);
  x[6] = A::template shifted<kShift>(even1 - odd.x3);
  x[2] = A::template shifted<kShift>(even2 + odd.x5);
  x[5] = A::template shifted<kShift>(even2 - odd.x5);
  x[3] = A::template shifted<kShift>(even3 + odd.x7);
  x[4] = A::template shifted<kShift>(even3 - odd.x7);
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

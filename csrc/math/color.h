// 8-bit levels and the RGB <-> YCbCr conversion of JPEG files (JFIF 1.02: BT.601 weights, full range).
//
// libjpeg computes it in 16-bit fixed point. Here the same integers are scaled by 2^-16 and added in float: every
// product and sum is a multiple of 2^-16 below 2^8, which 24 bits hold exactly, so the results are libjpeg's integers, and
// fusing a multiplication with an addition changes nothing. Only final sums of *_of_ycc may be larger, and those are
// clipped to 255.
#pragma once

#include "math/hd.h"

namespace pyd {
namespace {

// What the functions below are written with; vectors of numbers bring their own (core/lanes.h).
struct ScalarArithmetic {
  using Float = float;
  using Int = int32_t;
  // a * b + c where a * b is exact: the same bits with and without an fma instruction.
#if defined(__FMA__) || defined(__CUDA_ARCH__) || defined(__ARM_FEATURE_FMA)
  PYD_HD float exact_product_add(float a, float b, float c) { return pyd_fma(a, b, c); }
#else
  PYD_HD float exact_product_add(float a, float b, float c) { return a * b + c; }
#endif
  // Clipped to [0, 255]; NaN becomes 0.
  PYD_HD float clip(float x) {
    x = x > 0.0f ? x : 0.0f;
    return x < 255.0f ? x : 255.0f;
  }
  PYD_HD int32_t truncate(float x) { return static_cast<int32_t>(x); }
  // Both for 0 <= x <= 2^22. Adding 2^23 leaves no bits for a fraction: the nearest integer, half to even.
  PYD_HD float nearest(float x) { return (x + 8388608.0f) - 8388608.0f; }
  PYD_HD float floor(float x) { return static_cast<float>(static_cast<int32_t>(x)); }
};

// Clipped to [0, 1]; NaN becomes 0.
PYD_HD float clip01(float x) {
  x = x > 0.0f ? x : 0.0f;
  return x < 1.0f ? x : 1.0f;
}

// rint(clip(255 value, 0, 255)), half to even as torch.round; NaN becomes 0.
template <typename A = ScalarArithmetic>
PYD_HD typename A::Float level_of_value(typename A::Float value) {
  return A::nearest(A::clip(value * 255.0f));
}

// level / 255, correctly rounded, for the integers 0..255: 1/255 = 0x1.01p-8 + 0x1.0101..p-24, the first product is exact.
// tests/test_jpeg.py compares all 256 values with the division.
template <typename A = ScalarArithmetic>
PYD_HD typename A::Float value_of_level(typename A::Float level) {
  return A::exact_product_add(level, 0x1.01p-8f, level * 0x1.010102p-24f);
}

// libjpeg's integer luma and chroma of integer levels, 0..255. FIX(x) = round(65536 x), halves of the chroma offset minus
// one unit as in its tables.
constexpr float kFixUnit = 1.0f / 65536.0f;

template <typename A = ScalarArithmetic>
PYD_HD typename A::Int luma_of_rgb(typename A::Float red, typename A::Float green, typename A::Float blue) {
  typename A::Float sum = A::exact_product_add(red, 19595.0f * kFixUnit, 32768.0f * kFixUnit - typename A::Float{});
  sum = A::exact_product_add(green, 38470.0f * kFixUnit, sum);
  return A::truncate(A::exact_product_add(blue, 7471.0f * kFixUnit, sum));
}
template <typename A = ScalarArithmetic>
PYD_HD typename A::Int cb_of_rgb(typename A::Float red, typename A::Float green, typename A::Float blue) {
  typename A::Float sum = A::exact_product_add(blue, 0.5f, 128.0f + 32767.0f * kFixUnit - typename A::Float{});
  sum = A::exact_product_add(red, -11059.0f * kFixUnit, sum);
  return A::truncate(A::exact_product_add(green, -21709.0f * kFixUnit, sum));
}
template <typename A = ScalarArithmetic>
PYD_HD typename A::Int cr_of_rgb(typename A::Float red, typename A::Float green, typename A::Float blue) {
  typename A::Float sum = A::exact_product_add(red, 0.5f, 128.0f + 32767.0f * kFixUnit - typename A::Float{});
  sum = A::exact_product_add(green, -27439.0f * kFixUnit, sum);
  return A::truncate(A::exact_product_add(blue, -5329.0f * kFixUnit, sum));
}

// libjpeg's RGB levels of integer luma 0..255 and chroma centred on zero, -128..127.
template <typename A = ScalarArithmetic>
PYD_HD typename A::Float red_of_ycc(typename A::Float luma, typename A::Float cr) {
  return A::floor(A::clip(A::exact_product_add(cr, 91881.0f * kFixUnit, luma + 0.5f)));
}
template <typename A = ScalarArithmetic>
PYD_HD typename A::Float green_of_ycc(typename A::Float luma, typename A::Float cb, typename A::Float cr) {
  // Both factors are even multiples of 2^-16, so the sums fit 24 bits up to 2^9.
  const typename A::Float part = A::exact_product_add(cb, -22554.0f * kFixUnit, luma + 0.5f);
  return A::floor(A::clip(A::exact_product_add(cr, -46802.0f * kFixUnit, part)));
}
template <typename A = ScalarArithmetic>
PYD_HD typename A::Float blue_of_ycc(typename A::Float luma, typename A::Float cb) {
  return A::floor(A::clip(A::exact_product_add(cb, 116130.0f * kFixUnit, luma + 0.5f)));
}

// The same conversion without rounding, for the differentiable modes (the decimals of JFIF 1.02; chroma centred on zero).
constexpr float kLumaRed = 0.299f, kLumaGreen = 0.587f, kLumaBlue = 0.114f;
constexpr float kCbRed = -0.168736f, kCbGreen = -0.331264f, kCbBlue = 0.5f;
constexpr float kCrRed = 0.5f, kCrGreen = -0.418688f, kCrBlue = -0.081312f;
constexpr float kRedCr = 1.402f, kGreenCb = -0.344136f, kGreenCr = -0.714136f, kBlueCb = 1.772f;

}  // namespace
}  // namespace pyd

// 8-bit levels and the RGB <-> YCbCr conversion of JPEG files (JFIF 1.02: BT.601 weights, full range).
//
// libjpeg computes it in 16-bit fixed point. Here the same integers are scaled by 2^-16 and added in float: every
// product and sum is a multiple of 2^-16 below 2^8, which 24 bits hold exactly, so the results are libjpeg's integers, and
// fusing a multiplication with an addition changes nothing. The one sum that may exceed 2^8 is the last one of
// ycc_to_rgb_*, where everything from 2^8 on is clipped to 255.
#pragma once

#include "math/hd.h"

namespace pyd {
namespace {

// a * b + c where the caller knows that a * b is exact: the same bits with and without an fma instruction.
#if defined(__FMA__) || defined(__CUDA_ARCH__) || defined(__ARM_FEATURE_FMA)
PYD_HD float exact_product_add(float a, float b, float c) { return pyd_fma(a, b, c); }
#else
PYD_HD float exact_product_add(float a, float b, float c) { return a * b + c; }
#endif

// rint(clip(255 value, 0, 255)), half to even as torch.round; NaN becomes 0.
PYD_HD float level_of_value(float value) {
  float level = value * 255.0f;
  level = level > 0.0f ? level : 0.0f;
  level = level < 255.0f ? level : 255.0f;
  // Adding and subtracting 2^23 rounds to the nearest integer, half to even, for 0 <= level <= 2^22.
  return (level + 8388608.0f) - 8388608.0f;
}

// level / 255, correctly rounded, for the integers 0..255: 1/255 = 0x1.01p-8 + 0x1.0101..p-24, the first product is exact.
// tests/test_jpeg.py compares all 256 values with the division.
PYD_HD float value_of_level(float level) {
  return exact_product_add(level, 0x1.01p-8f, level * 0x1.010102p-24f);
}

// libjpeg's integer luma and chroma of integer levels, 0..255. FIX(x) = round(65536 x), halves of the chroma offset minus
// one unit as in its tables.
PYD_HD int32_t luma_of_rgb(float red, float green, float blue) {
  constexpr float kUnit = 1.0f / 65536.0f;
  float sum = exact_product_add(red, 19595.0f * kUnit, 32768.0f * kUnit);
  sum = exact_product_add(green, 38470.0f * kUnit, sum);
  return static_cast<int32_t>(exact_product_add(blue, 7471.0f * kUnit, sum));
}
PYD_HD int32_t cb_of_rgb(float red, float green, float blue) {
  constexpr float kUnit = 1.0f / 65536.0f;
  float sum = exact_product_add(blue, 32768.0f * kUnit, 128.0f + 32767.0f * kUnit);
  sum = exact_product_add(red, -11059.0f * kUnit, sum);
  return static_cast<int32_t>(exact_product_add(green, -21709.0f * kUnit, sum));
}
PYD_HD int32_t cr_of_rgb(float red, float green, float blue) {
  constexpr float kUnit = 1.0f / 65536.0f;
  float sum = exact_product_add(red, 32768.0f * kUnit, 128.0f + 32767.0f * kUnit);
  sum = exact_product_add(green, -27439.0f * kUnit, sum);
  return static_cast<int32_t>(exact_product_add(blue, -5329.0f * kUnit, sum));
}

// The integer part of x clipped to 0..255. Truncated first: compilers turn integer limits into instructions without
// branches, so that loops around them vectorise.
PYD_HD float clipped_level(float x) {
  int32_t level = static_cast<int32_t>(x);
  level = level > 0 ? level : 0;
  level = level < 255 ? level : 255;
  return static_cast<float>(level);
}

// libjpeg's RGB levels of integer luma 0..255 and chroma centred on zero, -128..127.
PYD_HD float red_of_ycc(float luma, float cr) {
  return clipped_level(exact_product_add(cr, 91881.0f / 65536.0f, luma + 0.5f));
}
PYD_HD float green_of_ycc(float luma, float cb, float cr) {
  const float blue_part = exact_product_add(cb, -22554.0f / 65536.0f, 0.5f);
  return clipped_level(luma + exact_product_add(cr, -46802.0f / 65536.0f, blue_part));
}
PYD_HD float blue_of_ycc(float luma, float cb) {
  return clipped_level(exact_product_add(cb, 116130.0f / 65536.0f, luma + 0.5f));
}

// The same conversion without rounding, for the differentiable modes (the decimals of JFIF 1.02; chroma centred on zero).
constexpr float kLumaRed = 0.299f, kLumaGreen = 0.587f, kLumaBlue = 0.114f;
constexpr float kCbRed = -0.168736f, kCbGreen = -0.331264f, kCbBlue = 0.5f;
constexpr float kCrRed = 0.5f, kCrGreen = -0.418688f, kCrBlue = -0.081312f;
constexpr float kRedCr = 1.402f, kGreenCb = -0.344136f, kGreenCr = -0.714136f, kBlueCb = 1.772f;

}  // namespace
}  // namespace pyd

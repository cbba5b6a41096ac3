// The arithmetic of the differentiable JPEG modes, in which samples and coefficients are floats: luma minus 128, chroma
// around zero.
#pragma once

#include "math/color.h"
#include "ops/jpeg/math.h"

namespace pyd {
namespace {

struct FloatSamples {
  float luma, cb, cr;
};

// Of a pixel in [0, 1].
PYD_HD FloatSamples samples_of_rgb(float red, float green, float blue) {
  const float r = red * 255.0f, g = green * 255.0f, b = blue * 255.0f;
  return {(r * kLumaRed + g * kLumaGreen + b * kLumaBlue) - 128.0f, r * kCbRed + g * kCbGreen + b * kCbBlue,
          r * kCrRed + g * kCrGreen + b * kCrBlue};
}

template <typename A>
PYD_HD void rgb_of_samples(const typename A::Float& luma, const typename A::Float& cb, const typename A::Float& cr,
                           typename A::Float& red, typename A::Float& green, typename A::Float& blue) {
  constexpr float kUnit = 1.0f / 255.0f;
  const typename A::Float level = luma + 128.0f;
  red = A::clip(level + cr * kRedCr) * kUnit;
  green = A::clip(level + cb * kGreenCb + cr * kGreenCr) * kUnit;
  blue = A::clip(level + cb * kBlueCb) * kUnit;
}

// Gradient of the samples from that of the pixel they make; none passes where it was clipped. The scale 1/255 is left
// out: it cancels against the 255 of samples_of_rgb.
PYD_HD FloatSamples samples_gradient(float luma, float cb, float cr, float red_grad, float green_grad, float blue_grad) {
  const float level = luma + 128.0f;
  const float r = level + cr * kRedCr;
  const float g = level + cb * kGreenCb + cr * kGreenCr;
  const float b = level + cb * kBlueCb;
  red_grad = r >= 0.0f && r <= 255.0f ? red_grad : 0.0f;
  green_grad = g >= 0.0f && g <= 255.0f ? green_grad : 0.0f;
  blue_grad = b >= 0.0f && b <= 255.0f ? blue_grad : 0.0f;
  return {red_grad + green_grad + blue_grad, green_grad * kGreenCb + blue_grad * kBlueCb,
          red_grad * kRedCr + green_grad * kGreenCr};
}

// Gradient of the pixel (without the 255) from that of its samples.
PYD_HD void rgb_gradient(const FloatSamples& grad, float* red, float* green, float* blue) {
  *red = grad.luma * kLumaRed + grad.cb * kCbRed + grad.cr * kCrRed;
  *green = grad.luma * kLumaGreen + grad.cb * kCbGreen + grad.cr * kCrGreen;
  *blue = grad.luma * kLumaBlue + grad.cb * kCbBlue + grad.cr * kCrBlue;
}

// Entries of the luma and chroma tables, 64 each.
static inline void float_table_entries(float quality, bool basicsr, float* luma, float* chroma) {
  for (int v = 0; v < 8; ++v) {
    for (int h = 0; h < 8; ++h) {
      const int at = 8 * v + h;
      if (basicsr) {
        // The released code reads its luma table with the axes exchanged.
        luma[at] = kLumaTable[8 * h + v] * basicsr_factor(quality);
        chroma[at] = kChromaTable[at] * basicsr_factor(quality);
      } else {
        const int32_t percent = libjpeg_scale_percent(quality);
        luma[at] = static_cast<float>(libjpeg_table_entry(kLumaTable[at], percent));
        chroma[at] = static_cast<float>(libjpeg_table_entry(kChromaTable[at], percent));
      }
    }
  }
}

// Nearest integer, half to even; 2^22 and more has none of its own to find.
PYD_HD float nearest_whole(float x) {
  const float magnitude = x < 0.0f ? -x : x;
  const float rounded = (magnitude + 8388608.0f) - 8388608.0f;
  const float whole = magnitude < 4194304.0f ? rounded : magnitude;
  return x < 0.0f ? -whole : whole;
}

// A coefficient in steps of `entry`, and back. An entry of 0 is BasicSR's quality 100: infinitely fine steps, which change
// nothing; callers leave it out.
PYD_HD float quantised(float coefficient, float entry, bool cubic) {
  const float steps = coefficient / entry;
  const float whole = nearest_whole(steps);
  const float rest = steps - whole;
  return (cubic ? whole + rest * rest * rest : whole) * entry;
}

// Derivative of cubic rounding: 3 (x - round(x))^2.
PYD_HD float cubic_slope(float coefficient, float entry) {
  const float steps = coefficient / entry;
  const float rest = steps - nearest_whole(steps);
  return 3.0f * rest * rest;
}

}  // namespace
}  // namespace pyd

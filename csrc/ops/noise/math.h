// What the noise op computes per pixel, beside normals and Poisson counts.
#pragma once

#include "math/color.h"

namespace pyd {
namespace {

// Third byte of a noise counter; append only.
enum StreamOp : uint32_t { kStreamGaussian = 1, kStreamPoisson = 2, kStreamCorrelated = 3 };

// 8-bit level of a value, half to even; NaN is level 0.
PYD_HD int32_t level_of(float x) {
  float level = x * 255.0f;
  level = level > 0.0f ? level : 0.0f;
  level = level < 255.0f ? level : 255.0f;
  return static_cast<int32_t>((level + 8388608.0f) - 8388608.0f);
}

// torchvision's rgb_to_grayscale, in its order of operations.
PYD_HD float gray_of(float r, float g, float b) { return (0.2989f * r + 0.587f * g) + 0.114f * b; }

// A Poisson count of a rate level / 255 / share, as a deviation from the level.
PYD_HD float poisson_noise(uint32_t count, float share, int32_t level, float gain) {
  // Counts are small, and processors convert signed numbers faster.
  return gain * (static_cast<float>(static_cast<int32_t>(count)) * share - value_of_level(static_cast<float>(level)));
}

// Noise of one channel from the normals of all three.
PYD_HD float correlated_noise(const float* row, float first, float second, float third) {
  return pyd_fma(row[2], third, pyd_fma(row[1], second, row[0] * first));
}

}  // namespace
}  // namespace pyd

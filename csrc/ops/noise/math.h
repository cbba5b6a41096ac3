// What the noise op computes per pixel, beside normals and Poisson counts.
#pragma once

#include "math/color.h"

namespace pyd {
namespace {

// Third byte of a noise counter; append only.
enum StreamOp : uint32_t {
  kStreamGaussian = 1,
  kStreamPoisson = 2,
  kStreamCorrelated = 3,
  kStreamSpeckle = 4,
  kStreamUniform = 5,
  kStreamSaltPepper = 6,
  kStreamShotRead = 7,
};

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

// x (1 + sigma z)
PYD_HD float speckled(float value, float sigma, float normal) { return pyd_fma(value * sigma, normal, value); }

// Uniform with standard deviation sigma: sqrt(3) sigma times a number in [-1, 1).
PYD_HD float with_uniform(float value, float sigma, uint32_t word) {
  const float number = static_cast<float>(static_cast<int32_t>(word)) * 4.656612873077393e-10f;
  return pyd_fma(sigma * 1.7320508f, number, value);
}

// The upper 31 bits decide whether, the last one which of the two.
PYD_HD uint32_t salt_pepper_threshold(float density) { return static_cast<uint32_t>(density * 2147483648.0f); }
PYD_HD float salted(float value, uint32_t threshold, uint32_t word) {
  return word >> 1 < threshold ? static_cast<float>(static_cast<int32_t>(word & 1u)) : value;
}

// x + sqrt(shot x + sigma^2) z; below zero the image has no shot noise.
PYD_HD float with_shot_and_read(float value, float shot, float sigma, float normal) {
  const float light = value > 0.0f ? value : 0.0f;
  return pyd_fma(pyd_sqrt(pyd_fma(shot, light, sigma * sigma)), normal, value);
}

}  // namespace
}  // namespace pyd

// The Gaussian of unsharp masking.
#pragma once

#include "math/elementary.h"

namespace pyd {
namespace {

// Taps of the longest separable kernel.
constexpr int64_t kMaxTaps = 127;

// OpenCV's Gaussian for a given length: sigma = 0.3 ((taps - 1) / 2 - 1) + 0.8.
PYD_HD void gaussian_line(int64_t taps, float* line) {
  const double sigma = 0.3 * ((static_cast<double>(taps) - 1.0) * 0.5 - 1.0) + 0.8;
  double values[kMaxTaps];
  double sum = 0.0;
  for (int64_t i = 0; i < taps; ++i) {
    const double x = static_cast<double>(i - taps / 2);
    values[i] = elementary_exp(-x * x / (2.0 * sigma * sigma));
    sum += values[i];
  }
  for (int64_t i = 0; i < taps; ++i) line[i] = static_cast<float>(values[i] / sum);
}

}  // namespace
}  // namespace pyd

// The middle one of every neighbourhood.
#pragma once

#include <cstdint>

namespace pyd {

constexpr int64_t kMostMedianPx = 15;

struct MedianArgs {
  int64_t planes, height, width;
  int64_t size;      // side of the neighbourhood, odd, 3 to kMostMedianPx; mirrored at the borders, the outermost once
  const float* src;  // [planes, height, width], without NaN
  float* dst;        // the same shape; must not overlap src
};

}  // namespace pyd

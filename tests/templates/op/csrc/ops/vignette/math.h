// The arithmetic of vignette, for every processor.
#pragma once

#include "math/hd.h"

namespace pyd {

// Share of the light that arrives at (y, x): 1 in the middle, 1 - strength in the corners.
PYD_HD float vignette_light(float strength, int64_t y, int64_t x, int64_t height, int64_t width) {
  const float v = static_cast<float>(2 * y + 1 - height) / static_cast<float>(height);
  const float u = static_cast<float>(2 * x + 1 - width) / static_cast<float>(width);
  return 1.0f - strength * (0.5f * (u * u + v * v));
}

}  // namespace pyd

// What a factor makes of a side, and of coordinates.
#pragma once

#include <cmath>

#include "ops/resize/fields.h"

namespace pyd {

constexpr TapFamily kFamilyOfMode[] = {
#define PYD_MODE(name, Name, Family) kFamily##Family,
    PYD_RESIZE_MODES(PYD_MODE)
#undef PYD_MODE
};
inline bool rounds_up(int32_t mode) {
  return kFamilyOfMode[mode] == kFamilyMatlab || kFamilyOfMode[mode] == kFamilyDecimate;
}
inline bool follows_factor(int32_t mode) {
  const TapFamily family = kFamilyOfMode[mode];
  return family == kFamilyTorch || family == kFamilyTorchArea || family == kFamilyNearestExact ||
         mode == kTorchBilinearAa || mode == kTorchBicubicAa || rounds_up(mode);
}

// `side` times `factor`, rounded down, or up; at least 1.
inline int64_t scaled_side(int64_t side, double factor, bool up) {
  const double size = static_cast<double>(side) * factor;
  // A stored 1/3 may lie above it by a rounding error of float32, which must not add a pixel.
  const double whole = up ? std::ceil(size * (1.0 - 0x1p-23)) : std::floor(size);
  return whole > 1.0 ? static_cast<int64_t>(whole) : 1;
}

// Scale for coordinates, 0 for the ratio of the sizes. MATLAB's is 1/n where the factor is 1/n in float32.
inline double coordinate_scale(int32_t mode, double factor) {
  if (!follows_factor(mode)) return 0.0;
  const double whole = std::nearbyint(1.0 / factor);
  const double inverse = 1.0 / (whole > 1.0 ? whole : 1.0);
  const bool is_inverse = static_cast<float>(inverse) == static_cast<float>(factor);
  return rounds_up(mode) && is_inverse ? inverse : factor;
}

}  // namespace pyd

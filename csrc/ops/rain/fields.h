// Rain: streaks added to all planes, see math.h.
#pragma once

#include "core/fields.h"

namespace pyd {

#define PYD_RAIN_FIELDS(X)                                                                         \
  X(const float, streaks_per_kpx, per_item(), "mean number per 1000 px, 0..20")                    \
  X(const float, length_px, per_item(), "1..128")                                                  \
  X(const float, width_px, per_item(), "0.5..16")                                                  \
  X(const float, angle_rad, per_item(), "-1.3..1.3 from the vertical, the lower end to the right") \
  X(const float, blur_px, per_item(), "0..16, below 1 counts as 1")                                \
  X(const float, brightness, per_item(), "0..1")                                                   \
  X(const uint32_t, key, per_item(4), "the image's derived words o0..o3, o3 already combined with the slot")
PYD_PARAMS(RainParams, PYD_RAIN_FIELDS)

}  // namespace pyd

#define PYD_KERNELS_rain X(rain, 128, 0)

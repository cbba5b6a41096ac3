// Which items of rain are legal, for every processor. The ranges keep loops short and the numbers of cells within their 16
// bits.
#pragma once

#include "core/rows.h"
#include "math/place.h"
#include "ops/rain/fields.h"
#include "ops/rain/math.h"

namespace pyd {

PYD_HD bool is_between(float value, float low, float high) { return value >= low && value <= high; }

PYD_HD const char* rain_fault(const RainParams& params, int64_t item, const Size& src, const Size&) {
  if (!fits_counter(src.height, src.width)) return "size of the image";
  if (!is_between(params.streaks_per_kpx[item], 0.0f, 20.0f)) return "streaks_per_kpx";
  if (!is_between(params.length_px[item], 1.0f, 128.0f)) return "length_px";
  if (!is_between(params.width_px[item], 0.5f, 16.0f)) return "width_px";
  if (!is_between(params.angle_rad[item], -kRainSteepest, kRainSteepest)) return "angle_rad";
  if (!is_between(params.blur_px[item], 0.0f, 16.0f)) return "blur_px";
  return is_between(params.brightness[item], 0.0f, 1.0f) ? nullptr : "brightness";
}

}  // namespace pyd

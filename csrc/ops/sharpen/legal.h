// Which items of sharpen are legal, for every processor.
#pragma once

#include "core/rows.h"
#include "ops/sharpen/fields.h"
#include "ops/sharpen/math.h"

namespace pyd {

PYD_HD int32_t sharpen_taps(int32_t radius_px) { return radius_px % 2 == 0 ? radius_px + 1 : radius_px; }

PYD_HD const char* sharpen_fault(const SharpenParams& params, int64_t item, const Size&, const Size&) {
  const int32_t radius_px = params.radius_px[item];
  return radius_px < 0 || radius_px > kMaxTaps || sharpen_taps(radius_px) > kMaxTaps ? "radius_px" : nullptr;
}

}  // namespace pyd

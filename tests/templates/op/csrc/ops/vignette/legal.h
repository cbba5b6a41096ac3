// Which items of vignette are legal, for every processor.
#pragma once

#include "core/rows.h"
#include "math/hd.h"
#include "ops/vignette/fields.h"

namespace pyd {

PYD_HD const char* vignette_fault(const VignetteParams& params, int64_t item, const Size&, const Size&) {
  const float strength = params.strength[item];
  return strength >= 0.0f && strength <= 1.0f ? nullptr : "strength";
}

}  // namespace pyd

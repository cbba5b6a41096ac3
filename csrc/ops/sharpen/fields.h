// Sharpen: unsharp masking.
#pragma once

#include "core/fields.h"

namespace pyd {

#define PYD_SHARPEN_FIELDS(X)                                                                   \
  X(const float, weight, per_item(), "0 copies the image")                                      \
  X(const int32_t, radius_px, per_item(), "even radii are raised by one, as the kernel length") \
  X(const float, threshold_8bit, per_item(), "least absolute residual that is sharpened")
PYD_PARAMS(SharpenParams, PYD_SHARPEN_FIELDS)

}  // namespace pyd

#define PYD_KERNELS_sharpen \
  X(sharpen_mask, 128, 8)   \
  X(sharpen_blend, 128, 8)

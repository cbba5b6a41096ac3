// Vignette: an image that grows darker towards its corners.
#pragma once

#include "core/fields.h"

namespace pyd {

#define PYD_VIGNETTE_FIELDS(X) X(const float, strength, per_item(), "what the corners lose, 0..1")
PYD_PARAMS(VignetteParams, PYD_VIGNETTE_FIELDS)

}  // namespace pyd

#define PYD_KERNELS_vignette X(vignette, 128, 0)

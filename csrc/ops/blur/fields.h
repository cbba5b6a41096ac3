// Blur: cross-correlation with one kernel per image, mirrored borders, the same kernel on all planes.
#pragma once

#include "core/fields.h"

namespace pyd {

enum BlurPath : int32_t {
  kBlurIdentity = 0,   // copies the image
  kBlurSeparable = 1,  // weights: size horizontal taps, then size vertical taps
  kBlurDense = 2,      // weights: size rows of size taps
};

enum BlurBorder : int32_t {
  kBorderReflect101 = 0,  // ... 2 1 | 0 1 2 ...
  kBorderSymmetric = 1,   // ... 1 0 | 0 1 2 ...
};

#define PYD_BLUR_FIELDS(X)                                                       \
  X(const float, weights, shared_by_items(), "all kernels, one after the other") \
  X(const int64_t, start, per_item(), "first weight of the item")                \
  X(const int32_t, size_px, per_item(), "odd, 1..51")                            \
  X(const int32_t, path, per_item(), "BlurPath")                                 \
  X(const int32_t, border, per_item().or_none(), "BlurBorder; none: all reflect_101")
PYD_PARAMS(BlurParams, PYD_BLUR_FIELDS)

}  // namespace pyd

// Kernels: name, threads per block, blocks that are to fit on a multiprocessor at once (0: as the compiler likes; the
// filters would spill registers for more of them).
#define PYD_KERNELS_blur \
  X(blur, 128, 8)        \
  X(blur_part, 128, 8)   \
  X(blur_adjoint, 128, 0)

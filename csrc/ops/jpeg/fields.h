// JPEG: the pixels of an encode and decode, exact or differentiable.
#pragma once

#include "core/fields.h"

namespace pyd {

enum JpegMode : int32_t {
  kJpegOff = 0,
  kJpegLibjpeg = 1,          // the pixels of libjpeg-turbo's encode -> decode
  kJpegDiffjpeg = 2,         // float approximation with libjpeg's conventions
  kJpegDiffjpegBasicsr = 3,  // the arithmetic of BasicSR's DiffJPEG
};
enum JpegSubsampling : int32_t {
  kJpeg444 = 0,
  kJpeg422 = 1,
  kJpeg420 = 2,
  kJpeg440 = 3,
  kJpeg411 = 4,
};
enum JpegRounding : int32_t {
  kJpegRoundPlain = 0,  // to the nearest; gradients pass straight through
  kJpegRoundCubic = 1,  // round(x) + (x - round(x))^3 and its derivative
};

#define PYD_JPEG_FIELDS(X)                                                                       \
  X(const int32_t, mode, per_item(), "JpegMode")                                                 \
  X(const float, quality, per_item(), "1..100, an integer in libjpeg mode")                      \
  X(const int32_t, subsampling, per_item(), "JpegSubsampling; diffjpeg_basicsr is always 4:2:0") \
  X(const int32_t, rounding, per_item(), "JpegRounding of the two differentiable modes")         \
  X(const int32_t, libjpeg_gradient, per_item().or_none(),                                       \
    "of the adjoint in libjpeg mode, constant almost everywhere: 0 (or none) zero, 1 the gradient where src is in [0, 1]")
PYD_PARAMS(JpegParams, PYD_JPEG_FIELDS)

}  // namespace pyd

#define PYD_KERNELS_jpeg               \
  X(libjpeg_encode, 128, 0)            \
  X(libjpeg_decode, 256, 0)            \
  X(diffjpeg_encode, 128, 0)           \
  X(diffjpeg_decode, 256, 0)           \
  X(diffjpeg_merge_adjoint, 256, 0)    \
  X(diffjpeg_upsample_adjoint, 256, 0) \
  X(diffjpeg_code_adjoint, 128, 0)     \
  X(diffjpeg_split_adjoint, 256, 0)

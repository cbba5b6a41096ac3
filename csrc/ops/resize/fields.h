// Resize: one sparse matrix per axis.
#pragma once

#include "core/fields.h"

namespace pyd {

enum ResizeMode : int32_t {
  kTorchArea = 0,
  kTorchBilinear = 1,
  kTorchBicubic = 2,
  kCv2Linear = 3,
  kCv2Cubic = 4,
  kCv2Area = 5,
  kMatlabBicubic = 6,
  kMatlabBilinear = 7,
  kMatlabBox = 8,
  kMatlabLanczos2 = 9,
  kMatlabLanczos3 = 10,
  kMatlabNearest = 11,
  kDecimate = 12,  // every n-th sample, phase 0
  kResizeModes,
};

#define PYD_RESIZE_FIELDS(X)                                                                                         \
  X(const int32_t, mode, per_item(), "ResizeMode")                                                                   \
  X(const double, scale_y, per_item(), "output px per input px used for coordinates; 0: ratio of the sizes")         \
  X(const double, scale_x, per_item(), "the same along x")
PYD_PARAMS(ResizeParams, PYD_RESIZE_FIELDS)

}  // namespace pyd

#define PYD_KERNELS_resize     \
  X(resize_tables, 128, 0)     \
  X(resize, 256, 0)

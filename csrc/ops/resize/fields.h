// Resize: one sparse matrix per axis.
#pragma once

#include "core/fields.h"

namespace pyd {

// How taps are found: X(Family, taps of an output, most taps of an output), two functions of math.h.
#define PYD_TAP_FAMILIES(X)                  \
  X(TorchArea, torch_area_taps, area_bound)  \
  X(Torch, torch_taps, few_bound)            \
  X(Cv2, cv2_taps, few_bound)                \
  X(Cv2Area, cv2_area_taps, cv2_area_bound)  \
  X(Matlab, matlab_mode_taps, matlab_bound)  \
  X(Decimate, decimate_taps, decimate_bound) \
  X(LowPass, low_pass_taps, low_pass_bound)  \
  X(NearestExact, nearest_exact_taps, decimate_bound)

// X(name, Name, Family). The numbers are those of the rows, and part of tasks: append only.
#define PYD_RESIZE_MODES(X)                               \
  X(torch_area, TorchArea, TorchArea)                     \
  X(torch_bilinear, TorchBilinear, Torch)                 \
  X(torch_bicubic, TorchBicubic, Torch)                   \
  X(cv2_linear, Cv2Linear, Cv2)                           \
  X(cv2_cubic, Cv2Cubic, Cv2)                             \
  X(cv2_area, Cv2Area, Cv2Area)                           \
  X(matlab_bicubic, MatlabBicubic, Matlab)                \
  X(matlab_bilinear, MatlabBilinear, Matlab)              \
  X(matlab_box, MatlabBox, Matlab)                        \
  X(matlab_lanczos2, MatlabLanczos2, Matlab)              \
  X(matlab_lanczos3, MatlabLanczos3, Matlab)              \
  X(matlab_nearest, MatlabNearest, Matlab)                \
  X(decimate, Decimate, Decimate)                         \
  X(torch_bilinear_aa, TorchBilinearAa, LowPass)          \
  X(torch_bicubic_aa, TorchBicubicAa, LowPass)            \
  X(torch_nearest_exact, TorchNearestExact, NearestExact) \
  X(lanczos3, Lanczos3, LowPass)                          \
  X(mitchell, Mitchell, LowPass)                          \
  X(catmull_rom, CatmullRom, LowPass)                     \
  X(hermite, Hermite, LowPass)                            \
  X(b_spline, BSpline, LowPass)

enum ResizeMode : int32_t {
#define PYD_MODE(name, Name, Family) k##Name,
  PYD_RESIZE_MODES(PYD_MODE)
#undef PYD_MODE
      kResizeModes,
};
enum TapFamily : int32_t {
#define PYD_FAMILY(Family, taps, bound) kFamily##Family,
  PYD_TAP_FAMILIES(PYD_FAMILY)
#undef PYD_FAMILY
};

#define PYD_RESIZE_FIELDS(X)                                                                                 \
  X(const int32_t, mode, per_item(), "ResizeMode")                                                           \
  X(const double, scale_y, per_item(), "output px per input px used for coordinates; 0: ratio of the sizes") \
  X(const double, scale_x, per_item(), "the same along x")
PYD_PARAMS(ResizeParams, PYD_RESIZE_FIELDS)

}  // namespace pyd

#define PYD_KERNELS_resize \
  X(resize_tables, 128, 1) \
  X(resize, 256, 0)

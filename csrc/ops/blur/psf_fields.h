// Psf: blur kernels from their parameters, in double, then trimmed and rounded to float.
#pragma once

#include "core/fields.h"
#include "core/status.h"

namespace pyd {

enum PsfShape : int32_t {
  kPsfDelta = 0,
  kPsfIso = 1,
  kPsfAniso = 2,
  kPsfGeneralizedIso = 3,
  kPsfGeneralizedAniso = 4,
  kPsfPlateauIso = 5,
  kPsfPlateauAniso = 6,
  kPsfSinc = 7,
  kPsfBox = 8,
  kPsfDisk = 9,
  kPsfPolygon = 10,
  kPsfMotion = 11,
};

#define PYD_PSF_FIELDS(X)                                                                                          \
  X(const int32_t, shape, per_item(), "PsfShape")                                                                  \
  X(const int32_t, size_px, per_item(), "odd, 1..51")                                                              \
  X(const float, sigma_x_px, per_item(), "along (cos angle, sin angle), y down")                                   \
  X(const float, sigma_y_px, per_item(), "across")                                                                 \
  X(const float, angle_rad, per_item(), "of sigma_x, from x towards y")                                            \
  X(const float, beta, per_item(), "exponent of generalized and plateau kernels")                                  \
  X(const float, cutoff_rad, per_item(), "of sinc kernels")                                                        \
  X(const float, shift_px, per_item(), "moves the filtered image to the upper left (BSRGAN's aligned decimation)") \
  X(const int64_t, start, per_item(), "where the kernel begins in full and in weights: size_px^2 places each")     \
  X(double, full, shared_by_items().or_none(), "untrimmed kernels, sum 1")                                         \
  X(float, weights, shared_by_items().or_none(), "what blur reads; none: nor are the next two written")            \
  X(int32_t, trimmed_size_px, per_item().or_none(), "size after trimming")                                         \
  X(int32_t, path, per_item().or_none(), "BlurPath")                                                               \
  X(const float, radius_px, per_item().or_none(),                                                                  \
    "box: half its side; disk; polygon: of its corners; motion: half its length")                                  \
  X(const int32_t, blades, per_item().or_none(), "corners of a polygon, 3..12")
PYD_PARAMS(PsfParams, PYD_PSF_FIELDS)

// Outer rings of a kernel are dropped while their weights sum to at most this, below float32 rounding of a blur.
constexpr double kPsfTrim = 1e-7;

struct PsfArgs {
  PsfParams params;
  double trim;  // outer rings whose absolute weights sum to at most this are dropped
};

}  // namespace pyd

// Which items of blur and psf are legal, for every processor.
#pragma once

#include "core/rows.h"
#include "math/hd.h"
#include "ops/blur/fields.h"
#include "ops/blur/psf_fields.h"

namespace pyd {

constexpr int32_t kMaxBlurSizePx = 51;
constexpr int32_t kMaxBlades = 12;

PYD_HD bool is_blur_size(int32_t size_px) { return size_px >= 1 && size_px <= kMaxBlurSizePx && size_px % 2 == 1; }

PYD_HD int32_t blur_border(const BlurParams& params, int64_t item) {
  return params.border.given() ? params.border[item] : int32_t{kBorderReflect101};
}
// Weights that an item reads.
PYD_HD int64_t blur_weights(int32_t path, int64_t size_px) {
  return path == kBlurIdentity ? 0 : path == kBlurSeparable ? 2 * size_px : size_px * size_px;
}

// The name of the first field that is out of range, or null.
PYD_HD const char* blur_fault(const BlurParams& params, int64_t item, const Size&, const Size&) {
  if (!is_blur_size(params.size_px[item])) return "size_px";
  const int32_t path = params.path[item], border = blur_border(params, item);
  if (path < kBlurIdentity || path > kBlurDense) return "path";
  if (border != kBorderReflect101 && border != kBorderSymmetric) return "border";
  const int64_t start = params.start[item], count = blur_weights(path, params.size_px[item]);
  return start < 0 || start > params.weights.count - count ? "start" : nullptr;
}

PYD_HD const char* psf_fault(const PsfParams& params, int64_t item) {
  if (params.shape[item] < kPsfDelta || params.shape[item] > kPsfMotion) return "shape";
  if (!is_blur_size(params.size_px[item])) return "size_px";
  const float shift = params.shift_px[item];
  if (!(shift >= 0.0f && shift <= static_cast<float>(kMaxBlurSizePx))) return "shift_px";
  if (params.shape[item] >= kPsfBox) {
    if (!params.radius_px.given()) return "radius_px";
    const float radius = params.radius_px[item];
    if (!(radius >= 0.0f && radius <= static_cast<float>(kMaxBlurSizePx))) return "radius_px";
  }
  if (params.shape[item] == kPsfPolygon) {
    if (!params.blades.given() || params.blades[item] < 3 || params.blades[item] > kMaxBlades) return "blades";
  }
  const int64_t start = params.start[item], count = int64_t{params.size_px[item]} * params.size_px[item];
  if (start < 0) return "start";
  if (params.full.given() && start > params.full.count - count) return "full";
  if (!params.weights.given()) return nullptr;
  if (start > params.weights.count - count) return "weights";
  if (!params.trimmed_size_px.given()) return "trimmed_size_px";
  return params.path.given() ? nullptr : "path";
}

}  // namespace pyd

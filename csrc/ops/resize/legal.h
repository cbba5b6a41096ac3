// Which items of resize are legal, for every processor, and what follows from a legal one.
#pragma once

#include "core/rows.h"
#include "ops/resize/fields.h"
#include "ops/resize/math.h"

namespace pyd {

struct ResizeAxes {
  Axis vertical, horizontal;
  double scale_y, scale_x;
};
PYD_HD ResizeAxes resize_axes(const ResizeParams& params, int64_t item, const Size& src, const Size& dst) {
  const int32_t mode = params.mode[item];
  ResizeAxes axes = {{mode, src.height, dst.height, params.scale_y[item], 0},
                     {mode, src.width, dst.width, params.scale_x[item], 0},
                     0.0,
                     0.0};
  axes.scale_y = axis_scale(axes.vertical);
  axes.scale_x = axis_scale(axes.horizontal);
  axes.vertical.both_shrink = axes.horizontal.both_shrink = axes.scale_y <= 1.0 && axes.scale_x <= 1.0;
  return axes;
}

// Beyond this, positions of samples would not fit 64-bit integers.
PYD_HD bool is_resize_scale(double scale) { return scale > 1e-9 && scale < 1e9; }

// The name of the first field that is out of range, or null. Sizes are those of the forward pass.
PYD_HD const char* resize_fault(const ResizeParams& params, int64_t item, const Size& src, const Size& dst) {
  if (params.mode[item] < 0 || params.mode[item] >= kResizeModes) return "mode";
  const ResizeAxes axes = resize_axes(params, item, src, dst);
  if (!is_resize_scale(axes.scale_y)) return "scale_y";
  return is_resize_scale(axes.scale_x) ? nullptr : "scale_x";
}

}  // namespace pyd

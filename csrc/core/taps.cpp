#include "core/taps.h"

#include "math/taps.h"

namespace pyd {

Status imresize_taps(int32_t mode, bool antialias, bool replicate, int64_t in_px, int64_t out_px, double scale,
                     int64_t room, int32_t* start, int32_t* index, double* weight) {
  const Axis axis = {mode, in_px, out_px, scale, 0};
  const MatlabRule rule = {antialias, replicate};
  if (!matlab_axis_is_sound(axis, rule) || out_px * matlab_tap_bound(axis, rule) > room) return Status::kBadArgument;
  matlab_table(axis, rule, start, index, weight);
  return Status::kOk;
}

}  // namespace pyd

// The tables of imresize for callers that apply them elsewhere.

#include "ops/resize/imresize_fields.h"
#include "ops/resize/math.h"

namespace pyd {
namespace PYD_ISA {

Status imresize_taps_cpu(const ImresizeTapsArgs& args) {
  const Axis axis = {args.mode, args.in_px, args.out_px, args.scale, 0};
  const MatlabRule rule = {args.antialias, args.replicate};
  if (!matlab_axis_is_sound(axis, rule)) return Status::kBadArgument;
  const int64_t room = args.out_px * matlab_tap_bound(axis, rule);
  if (room > args.index.count || room > args.weight.count || args.out_px >= args.start.count) return Status::kBadArgument;
  matlab_table(axis, rule, args.start.data, args.index.data, args.weight.data);
  return Status::kOk;
}

}  // namespace PYD_ISA
}  // namespace pyd

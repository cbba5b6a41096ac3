// Work on single values: zeros, copies, rounding, clipping.

#include "cuda/platform.h"
#include "math/color.h"

namespace pyd {

PYD_KERNEL(clear, ClearRow) {
  const Share share = share_of_block(bases, stage);
  const ClearRow& row = descriptor<ClearRow>(bases, stage, share.row);
  const int32_t i = share.block * kThreads_clear + thread_index();
  if (i < row.count) global_memory<uint32_t>(bases, row.place, row.count).set(i, 0);
}

PYD_KERNEL(point, PointRow) {
  const Share share = share_of_block(bases, stage);
  const PointRow& row = descriptor<PointRow>(bases, stage, share.row);
  const Global<float> src = global_memory<float>(bases, row.src, row.count);
  const Global<float> dst = global_memory<float>(bases, row.dst, row.count);
  const Global<float> other = global_memory<float>(bases, row.other, row.count);
  const int32_t op = row.op;
  for (int32_t k = 0; k < kPointPerBlock / kThreads_point; ++k) {
    const int64_t i = int64_t{share.block} * kPointPerBlock + k * kThreads_point + thread_index();
    if (i >= row.count) return;
    float value = op == kPointZero ? 0.0f : src.get(i);
    if (op == kPointRound8bit) {
      value = level_of_value(value) / 255.0f;
    } else if (op == kPointClip) {
      value = clip01(value);
    } else if (op == kPointInside) {
      const float x = other.get(i);
      value = x >= 0.0f && x <= 1.0f ? value : 0.0f;
    }
    dst.set(i, value);
  }
}

}  // namespace pyd

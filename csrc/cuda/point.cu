// Work on single values: copies, rounding, clipping; and what a program prepares for later stages.

#include "cuda/platform.h"
#include "math/color.h"
#include "math/noise.h"

namespace pyd {

// Tables of taps, and zeros. One thread per output sample or word.
PYD_KERNEL(prepare) {
  const Share share = share_of_block(bases, stage);
  const PrepareRow& row = descriptor<PrepareRow>(bases, stage, share.row);
  const int32_t j = share.block * kThreads_prepare + thread_index();
  if (j >= row.count) return;
  if (row.clears != 0) {
    global_memory<uint32_t>(bases, row.place, row.count).set(j, 0);
    return;
  }
  const Axis axis = row.axis;
  const int64_t out_px = axis.out_px, stride = tap_bound(axis);
  const Global<int32_t> numbers = global_memory<int32_t>(bases, row.place, table_bytes(out_px, stride) / 4);
  int32_t* const index = numbers.raw(3 * out_px + j * stride, stride);
  float* const weight = reinterpret_cast<float*>(numbers.raw((3 + stride) * out_px + j * stride, stride));
  const int32_t taps = static_cast<int32_t>(axis_taps(axis, j, index, weight));
  int32_t low = 0x7FFFFFFF, high = -1;
  for (int32_t t = 0; t < taps; ++t) {
    low = smaller(low, index[t]);
    high = larger(high, index[t]);
  }
  numbers.set(j, taps);
  numbers.set(out_px + j, low);
  numbers.set(2 * out_px + j, high);
}

PYD_KERNEL(point) {
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

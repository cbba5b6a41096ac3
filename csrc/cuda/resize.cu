// Resize: both passes of a tile of output pixels in one block, with what lies between them in shared memory. A pixel is the
// chain of fused multiply-adds of cpu/resize_cpu.cpp, in its order of passes.

#include "cuda/platform.h"

namespace pyd {

struct TapView {
  Global<int32_t> numbers;
  Global<float> weights;
  int32_t out_px, stride;

  PYD_DEVICE TapView of(const Bases& bases, const TapTable& table) {
    const int64_t words = table_bytes(table.out_px, table.stride) / 4;
    return {global_memory<int32_t>(bases, table.place, words), global_memory<float>(bases, table.place, words), table.out_px,
            table.stride};
  }
#if defined(__CUDACC__)
#define PYD_MEMBER __device__ __forceinline__
#else
#define PYD_MEMBER inline
#endif
  PYD_MEMBER int32_t count(int32_t j) const { return numbers.get(j); }
  PYD_MEMBER int32_t low(int32_t j) const { return numbers.get(out_px + j); }
  PYD_MEMBER int32_t high(int32_t j) const { return numbers.get(2 * out_px + j); }
  PYD_MEMBER int32_t index(int32_t j, int32_t t) const { return numbers.get(3 * out_px + j * stride + t); }
  PYD_MEMBER float weight(int32_t j, int32_t t) const { return weights.get((3 + stride) * out_px + j * stride + t); }
#undef PYD_MEMBER
};

// Sum over the taps of output j of value(index).
template <typename Value>
PYD_DEVICE float sum_of_taps(const TapView& taps, int32_t j, const Value& value) {
  float sum = 0.0f;
  const int32_t count = taps.count(j);
  for (int32_t t = 0; t < count; ++t) sum = pyd_fma(value(taps.index(j, t)), taps.weight(j, t), sum);
  return sum;
}

PYD_KERNEL(resize) {
  const Share share = share_of_block(bases, stage);
  const ResizeRow& row = descriptor<ResizeRow>(bases, stage, share.row);
  const int32_t tiles = row.tiles_y * row.tiles_x, tile = share.block % tiles, plane = share.block / tiles;
  const int32_t top = tile / row.tiles_x * row.tile_height, left = tile % row.tiles_x * row.tile_width;
  const int32_t rows = smaller(row.tile_height, row.dst.height - top);
  const int32_t columns = smaller(row.tile_width, row.dst.width - left);
  const int32_t src_width = row.src.width, dst_width = row.dst.width;
  const int64_t src_plane = static_cast<int64_t>(plane) * pixels_of(row.src);
  const int64_t dst_plane = static_cast<int64_t>(plane) * pixels_of(row.dst);
  const Global<float> src = picture_memory(bases, row.src);
  const Global<float> dst = picture_memory(bases, row.dst);
  const TapView vertical = TapView::of(bases, row.vertical), horizontal = TapView::of(bases, row.horizontal);
  const bool vertical_first = row.vertical_first != 0;

  // The range of input samples along the axis of the first pass that the second pass looks at.
  const Shared<int32_t> range = shared_memory<int32_t>(0, 4);
  if (thread_index() == 0) {
    range.set(0, 0x7FFFFFFF);
    range.set(1, -1);
  }
  PYD_BARRIER();
  PYD_ROLLED
  for (int32_t j = thread_index(); j < (vertical_first ? columns : rows); j += kThreads_resize) {
    range.minimum(0, vertical_first ? horizontal.low(left + j) : vertical.low(top + j));
    range.maximum(1, vertical_first ? horizontal.high(left + j) : vertical.high(top + j));
  }
  PYD_BARRIER();
  const int32_t low = range.get(0), span = larger(range.get(1) - low + 1, 0);

  const auto vertical_sum = [&](int32_t y, int32_t x) {
    return sum_of_taps(vertical, y, [&](int32_t i) { return src.get(src_plane + static_cast<int64_t>(i) * src_width + x); });
  };
  const auto horizontal_sum = [&](int32_t y, int32_t x) {
    return sum_of_taps(horizontal, x, [&](int32_t i) { return src.get(src_plane + static_cast<int64_t>(y) * src_width + i); });
  };

  // A range that does not fit, as in extreme shrinking, is worked out again for every pixel.
  if (int64_t{span} * (vertical_first ? rows : columns) > kResizeShared) {
    PYD_ROLLED
    for (int32_t i = thread_index(); i < rows * columns; i += kThreads_resize) {
      const int32_t y = top + i / columns, x = left + i % columns;
      const float sum = vertical_first ? sum_of_taps(horizontal, x, [&](int32_t at) { return vertical_sum(y, at); })
                                       : sum_of_taps(vertical, y, [&](int32_t at) { return horizontal_sum(at, x); });
      dst.set(dst_plane + static_cast<int64_t>(y) * dst_width + x, sum);
    }
    return;
  }

  // [rows][span] after a vertical first pass, [span][columns] after a horizontal one.
  const Shared<float> middle = shared_memory<float>(16, kResizeShared);
  const int32_t stride = vertical_first ? span : columns, values = vertical_first ? rows * span : span * columns;
  PYD_ROLLED
  for (int32_t i = thread_index(); i < values; i += kThreads_resize) {
    const int32_t y = i / stride, x = i % stride;
    middle.set(i, vertical_first ? vertical_sum(top + y, low + x) : horizontal_sum(low + y, left + x));
  }
  PYD_BARRIER();
  PYD_ROLLED
  for (int32_t i = thread_index(); i < rows * columns; i += kThreads_resize) {
    const int32_t y = i / columns, x = i % columns;
    const float sum = vertical_first
                          ? sum_of_taps(horizontal, left + x, [&](int32_t at) { return middle.get(y * span + at - low); })
                          : sum_of_taps(vertical, top + y, [&](int32_t at) { return middle.get((at - low) * columns + x); });
    dst.set(dst_plane + static_cast<int64_t>(top + y) * dst_width + left + x, sum);
  }
}

}  // namespace pyd

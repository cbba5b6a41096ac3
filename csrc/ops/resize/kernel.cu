// Resize: both passes of a tile of output pixels in one block, with what lies between them in shared memory. A pixel is the
// chain of fused multiply-adds of cpu.cpp, in its order of passes.

#include "cuda/platform.h"
#include "ops/resize/device.h"

namespace pyd {

// The table of taps of an axis, one thread per output sample.
PYD_KERNEL(resize_tables, ResizeTableRow) {
  const Share share = share_of_block(bases, stage);
  const ResizeTableRow& row = descriptor<ResizeTableRow>(bases, stage, share.row);
  const int32_t j = share.block * kThreads_resize_tables + thread_index();
  const Axis axis = row.axis;
  const int64_t out_px = axis.out_px, stride = tap_bound(axis);
  if (j >= out_px) return;
  const Global<int32_t> numbers =
      global_memory<int32_t>(bases, row.place, table_bytes(out_px, stride) / 4 + (row.of_part != 0 ? out_px * stride : 0));
  int32_t* const index = numbers.raw(3 * out_px + j * stride, stride);
  float* const weight = reinterpret_cast<float*>(numbers.raw((3 + stride) * out_px + j * stride, stride));
  const int32_t taps = static_cast<int32_t>(axis_taps(axis, j, index, weight));
  if (row.of_part != 0) {
    const int32_t first = static_cast<int32_t>(j * stride);
    for (int32_t t = 0; t < stride; ++t) {
      numbers.set((3 + 2 * stride) * out_px + first + t, taps == 0 ? 0 : index[smaller(t, taps - 1)]);
    }
    for (int32_t t = 0; t < taps; ++t) index[t] = first + t;
  }
  int32_t low = 0x7FFFFFFF, high = -1;
  for (int32_t t = 0; t < taps; ++t) {
    low = smaller(low, index[t]);
    high = larger(high, index[t]);
  }
  numbers.set(j, taps);
  numbers.set(out_px + j, low);
  numbers.set(2 * out_px + j, high);
}

struct TapView {
  Global<int32_t> numbers;
  Global<float> weights;
  int32_t out_px, stride;

  PYD_DEVICE TapView of(const Bases& bases, const TapTable& table) {
    const int64_t words = table_bytes(table.out_px, table.stride) / 4;
    return {global_memory<int32_t>(bases, table.place, words), global_memory<float>(bases, table.place, words),
            table.out_px, table.stride};
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

// The taps of one output in registers, for the modes that have at most four: read once, used for many rows or columns.
constexpr int32_t kFewTaps = 4;
struct FewTaps {
  int32_t count;
  int32_t index[kFewTaps];
  float weight[kFewTaps];
};
PYD_DEVICE FewTaps few_taps(const TapView& taps, int32_t j) {
  FewTaps few;
  few.count = taps.stride <= kFewTaps ? taps.count(j) : 0;
#pragma unroll
  for (int32_t t = 0; t < kFewTaps; ++t) {
    few.index[t] = t < few.count ? taps.index(j, t) : 0;
    few.weight[t] = t < few.count ? taps.weight(j, t) : 0.0f;
  }
  return few;
}

// Sum over the taps of output j, which are `few` where there are few.
template <typename Value>
PYD_DEVICE float sum_of(const TapView& taps, const FewTaps& few, int32_t j, const Value& value) {
  if (taps.stride > kFewTaps) return sum_of_taps(taps, j, value);
  float sum = 0.0f;
#pragma unroll
  for (int32_t t = 0; t < kFewTaps; ++t) {
    if (t < few.count) sum = pyd_fma(value(few.index[t]), few.weight[t], sum);
  }
  return sum;
}

// Threads stand in lines of 64. store(y, x, sum of value(y, index)) for rows x columns outputs from `first` on along x ...
constexpr int32_t kLine = 64;
template <typename Value, typename Store>
PYD_DEVICE void pass_along_x(const TapView& taps, int32_t first, int32_t rows, int32_t columns, const Value& value,
                             const Store& store) {
  for (int32_t x = thread_index() % kLine; x < columns; x += kLine) {
    const FewTaps few = few_taps(taps, first + x);
    PYD_ROLLED
    for (int32_t y = thread_index() / kLine; y < rows; y += kThreads_resize / kLine) {
      store(y, x, sum_of(taps, few, first + x, [&](int32_t i) { return value(y, i); }));
    }
  }
}
// ... and along y, of value(index, x).
template <typename Value, typename Store>
PYD_DEVICE void pass_along_y(const TapView& taps, int32_t first, int32_t rows, int32_t columns, const Value& value,
                             const Store& store) {
  for (int32_t y = thread_index() / kLine; y < rows; y += kThreads_resize / kLine) {
    const FewTaps few = few_taps(taps, first + y);
    PYD_ROLLED
    for (int32_t x = thread_index() % kLine; x < columns; x += kLine) {
      store(y, x, sum_of(taps, few, first + y, [&](int32_t i) { return value(i, x); }));
    }
  }
}

PYD_KERNEL(resize, ResizeRow) {
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

  const auto pixel = [&](int32_t y, int32_t x) { return src.get(src_plane + static_cast<int64_t>(y) * src_width + x); };
  const auto result = [&](int32_t y, int32_t x, float sum) {
    dst.set(dst_plane + static_cast<int64_t>(top + y) * dst_width + left + x, sum);
  };

  // A range that does not fit, as in extreme shrinking, is worked out again for every pixel.
  if (int64_t{span} * (vertical_first ? rows : columns) > kResizeShared) {
    PYD_ROLLED
    for (int32_t i = thread_index(); i < rows * columns; i += kThreads_resize) {
      const int32_t y = i / columns, x = i % columns;
      const auto vertical_sum = [&](int32_t at) {
        return sum_of_taps(vertical, top + y, [&](int32_t from) { return pixel(from, at); });
      };
      const auto horizontal_sum = [&](int32_t at) {
        return sum_of_taps(horizontal, left + x, [&](int32_t from) { return pixel(at, from); });
      };
      result(y, x,
             vertical_first ? sum_of_taps(horizontal, left + x, vertical_sum)
                            : sum_of_taps(vertical, top + y, horizontal_sum));
    }
    return;
  }

  // Between the passes: [rows][span] after a vertical first one, [span][columns] after a horizontal one.
  const Shared<float> middle = shared_memory<float>(16, kResizeShared);
  if (vertical_first) {
    pass_along_y(
        vertical, top, rows, span, [&](int32_t i, int32_t x) { return pixel(i, low + x); },
        [&](int32_t y, int32_t x, float sum) { middle.set(y * span + x, sum); });
    PYD_BARRIER();
    pass_along_x(
        horizontal, left, rows, columns, [&](int32_t y, int32_t i) { return middle.get(y * span + i - low); }, result);
  } else {
    pass_along_x(
        horizontal, left, span, columns, [&](int32_t y, int32_t i) { return pixel(low + y, i); },
        [&](int32_t y, int32_t x, float sum) { middle.set(y * columns + x, sum); });
    PYD_BARRIER();
    pass_along_y(
        vertical, top, rows, columns, [&](int32_t i, int32_t x) { return middle.get((i - low) * columns + x); }, result);
  }
}

}  // namespace pyd

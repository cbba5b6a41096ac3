// Blur of the pixels alone that a resize without antialiasing reads. They lie scattered, so that no window of pixels serves
// neighbouring outputs: a thread has one column and kPartRows rows of the part, and what it loads of a row of the source
// serves all of its rows whose kernels cover that row, the same in all threads of a warp. Sums are those of
// cuda/filter.cuh, tap by tap.
#pragma once

#include "cuda/filter.cuh"
#include "ops/blur/device.h"

namespace pyd {

// Source row y meets weight y * step + offset[r], and those after it, of the kernel of row r.
struct PartSums {
  float at[kPartRows];
  int32_t offset[kPartRows];
};

// add(k, pixels, count) for `count` neighbouring taps from the k-th on, ascending; sizes are odd.
template <typename Add>
PYD_DEVICE void for_each_taps(const Shared<float>& pixels, int32_t at, int32_t taps, const Add& add) {
  int32_t k = 0;
  PYD_ROLLED
  for (; k + 4 <= taps; k += 4) {
    const Float4 four = {{pixels.get(at + k), pixels.get(at + k + 1), pixels.get(at + k + 2), pixels.get(at + k + 3)}};
    add(k, four, 4);
  }
  Float4 rest = {};
  rest.x[0] = pixels.get(at + k);
  if (taps - k == 3) rest.x[1] = pixels.get(at + k + 1), rest.x[2] = pixels.get(at + k + 2);
  add(k, rest, taps - k);
}

// A source row for those rows of the part, bits of `rows`, that it belongs to; `weight` is y * step.
PYD_DEVICE void add_dense_row(const Shared<float>& kernel, const Shared<float>& pixels, int32_t at, int32_t weight,
                              uint32_t rows, int32_t taps, PartSums& sums) {
  for_each_taps(pixels, at, taps, [&](int32_t k, const Float4& near, int32_t count) {
#pragma unroll
    for (int32_t r = 0; r < kPartRows; ++r) {
      if ((rows & 1u << r) == 0) continue;
      const Float4 factor = kernel.get4(weight + sums.offset[r] + k);
#pragma unroll
      for (int32_t t = 0; t < 4; ++t) {
        if (t < count) sums.at[r] = pyd_fma(factor.x[t], near.x[t], sums.at[r]);
      }
    }
  });
}
PYD_DEVICE void add_separable_row(const Shared<float>& across, const Shared<float>& down, const Shared<float>& pixels,
                                  int32_t at, int32_t weight, uint32_t rows, int32_t taps, PartSums& sums) {
  float filtered = 0.0f;
  for_each_taps(pixels, at, taps, [&](int32_t k, const Float4& near, int32_t count) {
    const Float4 factor = across.get4(k);
#pragma unroll
    for (int32_t t = 0; t < 4; ++t) {
      if (t < count) filtered = pyd_fma(factor.x[t], near.x[t], filtered);
    }
  });
#pragma unroll
  for (int32_t r = 0; r < kPartRows; ++r) {
    if ((rows & 1u << r) != 0) sums.at[r] = pyd_fma(down.get(weight + sums.offset[r]), filtered, sums.at[r]);
  }
}

template <typename Pixel>
PYD_DEVICE void make_part(const Bases& bases, const BlurRow& row, int32_t block, const Source<Pixel>& source) {
  const int32_t taps = row.size_px, radius = taps / 2, padded = round_up4(taps);
  const bool separable = row.path == kBlurSeparable;
  const int32_t number = block % (row.tiles_y * row.tiles_x);
  const int32_t top = number / row.tiles_x * kPartTileRows, left = number % row.tiles_x * kPartColumns;
  const int32_t rows = smaller(kPartTileRows, row.row_count - top);
  const int32_t columns = smaller(kPartColumns, row.column_count - left);
  const int32_t me = thread_index(), lane = me % kPartColumns, own = me / kPartColumns * kPartRows;

  // Which rows and columns these are, and where they begin and end.
  const Shared<int32_t> range = shared_memory<int32_t>(0, 4), places = shared_memory<int32_t>(16, kPartTileRows);
  if (me < 4) range.set(me, me % 2 == 0 ? 0x7FFFFFFF : -1);
  PYD_BARRIER();
  int32_t x = 0;
  if (lane < columns) {
    x = left + lane;
    if (row.some_columns != 0) x = global_memory<int32_t>(bases, row.columns, row.column_count).get(x);
    range.minimum(0, x);
    range.maximum(1, x);
  }
  if (me < rows) {
    int32_t y = top + me;
    if (row.some_rows != 0) y = global_memory<int32_t>(bases, row.rows, row.row_count).get(y);
    places.set(me, y);
    range.minimum(2, y);
    range.maximum(3, y);
  }

  // The kernel.
  const Global<float> weights = global_memory<float>(bases, row.weights, separable ? 2 * taps : taps * taps);
  const Shared<float> kernel = shared_memory<float>(kPartPlaceBytes, part_weights(taps, separable));
  PYD_ROLLED
  for (int32_t i = me; i < part_weights(taps, separable); i += kFilterThreads) {
    const int32_t j = i / padded, k = i % padded;
    kernel.set(i, k < taps ? weights.get(j * taps + k) : 0.0f);
  }
  const Shared<float> down = shared_memory<float>(kPartPlaceBytes + 4 * padded, separable ? padded : 0);
  const Shared<float> pixels = shared_memory<float>(kPartPlaceBytes + 4 * part_weights(taps, separable), kPartPixels);
  PYD_BARRIER();

  // Read again from shared memory where they are needed: registers are scarce in the loop.
  const auto first_x = [&] { return range.get(0) - radius; };
  const auto end = [&] { return range.get(3) + radius + 1; };
  const int32_t width = range.get(1) + radius + 1 - first_x(), most = kPartPixels / width;
  const int32_t column = lane < columns ? x - radius - first_x() : 0;
  // A line of vertical taps, or lines of them.
  const int32_t step = separable ? 1 : padded;
  PartSums sums = {};
#pragma unroll
  for (int32_t r = 0; r < kPartRows; ++r) sums.offset[r] = own + r < rows ? (radius - places.get(own + r)) * step : 1 << 30;
  PYD_ROLLED
  for (int32_t first = range.get(2) - radius; first < end(); first += most) {
    const int32_t here = smaller(most, end() - first);
    load_tile(source, first, first_x(), here, width, pixels);
    PYD_BARRIER();
    PYD_ROLLED
    for (int32_t y = first * step, at = column; y < (first + here) * step; y += step, at += width) {
      uint32_t here_read = 0;
#pragma unroll
      for (int32_t r = 0; r < kPartRows; ++r) {
        here_read |= static_cast<uint32_t>(y + sums.offset[r]) < static_cast<uint32_t>(taps * step) ? 1u << r : 0u;
      }
      if (here_read == 0) continue;
      separable ? add_separable_row(kernel, down, pixels, at, y, here_read, taps, sums)
                : add_dense_row(kernel, pixels, at, y, here_read, taps, sums);
    }
    PYD_BARRIER();
  }

  const int64_t part = int64_t{row.row_count} * row.column_count;
  const Global<float> dst = global_memory<float>(bases, row.dst, row.src.channels * part);
  const int64_t first_out =
      block / (row.tiles_y * row.tiles_x) * part + int64_t{top + own} * row.column_count + left + lane;
#pragma unroll
  for (int32_t r = 0; r < kPartRows; ++r) {
    if (own + r >= rows || lane >= columns) continue;
    dst.set(first_out + int64_t{r} * row.column_count, sums.at[r]);
  }
}

}  // namespace pyd

// Correlation of a tile of kFilterTileHeight x kFilterTileWidth px with a small kernel, by 128 threads of 4 x 4 px each.
// Every pixel is one chain of fused multiply-adds in the order of cpu/filter.h. Kernels are padded with zero weights, which
// change no sum.
#pragma once

#include "cuda/filter.h"
#include "cuda/platform.h"
#include "math/border.h"

namespace pyd {

constexpr int32_t kFilterThreads = 128;
constexpr int32_t kFilterColumns = 4;  // px per thread, and kFilterRows
constexpr int32_t kFilterAcross = kFilterTileWidth / kFilterColumns;  // threads side by side
static_assert(kFilterAcross * kFilterTileHeight / kFilterRows == kFilterThreads, "one thread per 4 x 4 px");

struct Tile {
  int32_t plane;
  int32_t top, left;  // px
};
PYD_DEVICE Tile tile_of_block(int32_t block, int32_t tiles_y, int32_t tiles_x) {
  const int32_t tile = block % (tiles_y * tiles_x);
  return {block / (tiles_y * tiles_x), tile / tiles_x * kFilterTileHeight, tile % tiles_x * kFilterTileWidth};
}

PYD_DEVICE int32_t reflected(int32_t index, int32_t count, bool symmetric) {
  if (index >= 0 && index < count) return index;
  return symmetric ? reflect_symmetric(index, count) : reflect_101(index, count);
}

// How a plane is read: its size, its border rule, `pixel(y, x)`.
template <typename Pixel>
struct Source {
  Pixel pixel;
  int32_t height, width;
  bool symmetric;
};
template <typename Pixel>
PYD_DEVICE Source<Pixel> source_of(const Picture& picture, bool symmetric, const Pixel& pixel) {
  return {pixel, picture.height, picture.width, symmetric};
}

// rows x columns px from (top, left) on into shared memory.
template <typename Pixel>
PYD_DEVICE void load_tile(const Source<Pixel>& source, int32_t top, int32_t left, int32_t rows, int32_t columns,
                          const Shared<float>& to) {
  const int32_t lane = thread_index() % 32;
  for (int32_t row = thread_index() / 32; row < rows; row += kFilterThreads / 32) {
    const int32_t y = reflected(top + row, source.height, source.symmetric);
    for (int32_t column = lane; column < columns; column += 32) {
      to.set(row * columns + column, source.pixel(y, reflected(left + column, source.width, source.symmetric)));
    }
  }
}

struct Sums {
  float at[kFilterRows][kFilterColumns];
};

// The thread's pixels begin at row 4 (t / 16), column 4 (t % 16) of the tile.
PYD_DEVICE int32_t thread_row() { return thread_index() / kFilterAcross * kFilterRows; }
PYD_DEVICE int32_t thread_column() { return thread_index() % kFilterAcross * kFilterColumns; }

// Where a row of pixels and the kernel row of the thread's first row begin, floats; of a thread's rows those from `least`
// to `most` have a kernel row there.
struct DenseRow {
  int32_t pixels, weights;
  int32_t padded;
  int32_t least, most;
};

// kTaps taps from the k-th on, for all of the thread's rows or those that have them.
template <int32_t kTaps, bool kAllRows>
PYD_DEVICE void add_taps(const Shared<float>& pixels, const Shared<float>& kernel, const DenseRow& row, int32_t k,
                         Sums& sums) {
  const Float4 near = pixels.get4(row.pixels + k);
  Float4 far = {};
  if constexpr (kTaps > 1) far = pixels.get4(row.pixels + k + 4);
  const float window[8] = {near.x[0], near.x[1], near.x[2], near.x[3], far.x[0], far.x[1], far.x[2], far.x[3]};
#pragma unroll
  for (int32_t r = 0; r < kFilterRows; ++r) {
    if constexpr (!kAllRows) {
      if (r < row.least || r > row.most) continue;
    }
    const Float4 weight = kernel.get4(row.weights - r * row.padded + k);
#pragma unroll
    for (int32_t t = 0; t < kTaps; ++t) {
#pragma unroll
      for (int32_t c = 0; c < kFilterColumns; ++c) {
        sums.at[r][c] = pyd_fma(weight.x[t], window[t + c], sums.at[r][c]);
      }
    }
  }
}

template <typename Pixel>
PYD_DEVICE Sums correlate_dense(const Source<Pixel>& source, const Tile& tile, const Global<float>& weights, int32_t taps) {
  const int32_t padded = round_up4(taps), radius = taps / 2, stride = kFilterTileWidth + padded;
  const int32_t rows = kFilterTileHeight + taps - 1;
  const Shared<float> kernel = shared_memory<float>(0, dense_weights(taps));
  const Shared<float> pixels = shared_memory<float>(4 * dense_weights(taps), rows * stride);
  PYD_ROLLED
  for (int32_t i = thread_index(); i < dense_weights(taps); i += kFilterThreads) {
    const int32_t row = i / padded - kFilterPad, column = i % padded;
    const bool inside = row >= 0 && row < taps && column < taps;
    kernel.set(i, inside ? weights.get(row * taps + column) : 0.0f);
  }
  load_tile(source, tile.top - radius, tile.left - radius, rows, stride, pixels);
  PYD_BARRIER();

  // Row i of the thread's pixels meets row i - r of the kernel for its row r; at both ends not all rows have one.
  Sums sums = {};
  const int32_t first = thread_row() * stride + thread_column();
  for (int32_t i = 0; i < taps + kFilterPad; ++i) {
    const DenseRow row = {first + i * stride, (i + kFilterPad) * padded, padded, i - taps + 1, i};
    const bool is_whole = row.least <= 0 && row.most >= kFilterRows - 1;
    int32_t k = 0;
    for (; k + 4 <= taps; k += 4) {
      is_whole ? add_taps<4, true>(pixels, kernel, row, k, sums) : add_taps<4, false>(pixels, kernel, row, k, sums);
    }
    // Sizes are odd.
    taps - k == 1 ? add_taps<1, false>(pixels, kernel, row, k, sums) : add_taps<3, false>(pixels, kernel, row, k, sums);
  }
  return sums;
}

// Horizontal taps first. `line` holds them, `line` + vertical the others.
template <typename Pixel>
PYD_DEVICE Sums correlate_separable(const Source<Pixel>& source, const Tile& tile, const Global<float>& line,
                                    int32_t vertical, int32_t taps) {
  const int32_t padded = round_up4(taps), radius = taps / 2, stride = kFilterTileWidth + padded;
  const int32_t rows = kFilterTileHeight + taps - 1, vertical_padded = round_up4(taps + 2 * kFilterPad);
  const Shared<float> across = shared_memory<float>(0, padded);
  const Shared<float> down = shared_memory<float>(4 * padded, vertical_padded);
  const Shared<float> pixels = shared_memory<float>(4 * separable_weights(taps), kFilterChunk * stride);
  const Shared<float> middle =
      shared_memory<float>(4 * (separable_weights(taps) + kFilterChunk * stride), rows * kFilterTileWidth);
  PYD_ROLLED
  for (int32_t i = thread_index(); i < padded; i += kFilterThreads) across.set(i, i < taps ? line.get(i) : 0.0f);
  PYD_ROLLED
  for (int32_t i = thread_index(); i < vertical_padded; i += kFilterThreads) {
    const int32_t tap = i - kFilterPad;
    down.set(i, tap >= 0 && tap < taps ? line.get(vertical + tap) : 0.0f);
  }

  const int32_t x0 = thread_column();
  for (int32_t first = 0; first < rows; first += kFilterChunk) {
    const int32_t here = smaller(kFilterChunk, rows - first);
    load_tile(source, tile.top - radius + first, tile.left - radius, here, stride, pixels);
    PYD_BARRIER();
    for (int32_t row = thread_index() / kFilterAcross; row < here; row += kFilterThreads / kFilterAcross) {
      Float4 sum = {};
      for (int32_t k = 0; k < padded; k += 4) {
        const Float4 near = pixels.get4(row * stride + x0 + k), far = pixels.get4(row * stride + x0 + k + 4);
        const float window[8] = {near.x[0], near.x[1], near.x[2], near.x[3], far.x[0], far.x[1], far.x[2], far.x[3]};
        const Float4 weight = across.get4(k);
#pragma unroll
        for (int32_t t = 0; t < 4; ++t) {
#pragma unroll
          for (int32_t c = 0; c < kFilterColumns; ++c) sum.x[c] = pyd_fma(weight.x[t], window[t + c], sum.x[c]);
        }
      }
      middle.set4((first + row) * kFilterTileWidth + x0, sum);
    }
    PYD_BARRIER();
  }

  Sums sums = {};
  const int32_t y0 = thread_row();
  for (int32_t i = 0; i < taps + kFilterPad; ++i) {
    const Float4 values = middle.get4((y0 + i) * kFilterTileWidth + x0);
#pragma unroll
    for (int32_t r = 0; r < kFilterRows; ++r) {
      const float weight = down.get(i - r + kFilterPad);
#pragma unroll
      for (int32_t c = 0; c < kFilterColumns; ++c) sums.at[r][c] = pyd_fma(weight, values.x[c], sums.at[r][c]);
    }
  }
  return sums;
}

// store(place in the picture, sum) for the thread's pixels that lie in the picture.
template <typename Store>
PYD_DEVICE void store_tile(const Sums& sums, const Tile& tile, int32_t height, int32_t width, const Store& store) {
  const int32_t y0 = tile.top + thread_row(), x0 = tile.left + thread_column();
  const int64_t plane = static_cast<int64_t>(tile.plane) * height * width;
#pragma unroll
  for (int32_t r = 0; r < kFilterRows; ++r) {
#pragma unroll
    for (int32_t c = 0; c < kFilterColumns; ++c) {
      if (y0 + r < height && x0 + c < width) store(plane + (y0 + r) * width + x0 + c, sums.at[r][c]);
    }
  }
}

}  // namespace pyd

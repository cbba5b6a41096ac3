// A separable filter with the same kernel along both axes, down a tall tile: rows that were filtered horizontally wait in a
// ring of shared memory, so that few are filtered twice. Every pixel is one chain of fused multiply-adds in the order of
// cpu/filter.h.
#pragma once

#include "cuda/filter.cuh"

namespace pyd {

// A tile of RollingTiles: `line` filters it along x, then along y. store(place in the picture, sum) for its pixels.
template <typename Pixel, typename Store>
PYD_DEVICE void correlate_rolling(const Source<Pixel>& source, const RollingTiles& tiles, int32_t block,
                                  const Global<float>& line, int32_t taps, const Store& store) {
  const int32_t tile = block % (tiles.tiles_y * tiles.tiles_x), plane = block / (tiles.tiles_y * tiles.tiles_x);
  const int32_t top = tile / tiles.tiles_x * tiles.height, left = tile % tiles.tiles_x * tiles.width;
  // Rows and columns that are there, in groups of four.
  const int32_t rows = round_up4(smaller(tiles.height, source.height - top));
  const int32_t columns = round_up4(smaller(tiles.width, source.width - left)), groups = columns / 4;
  const int32_t padded = round_up4(taps), radius = taps / 2, stride = columns + padded;
  const int32_t ring_rows = rolling_ring_rows(taps);
  const Shared<float> across = shared_memory<float>(0, padded);
  const Shared<float> down = shared_memory<float>(4 * padded, separable_weights(taps) - padded);
  const Shared<float> pixels = shared_memory<float>(4 * separable_weights(taps), kRollingRows * stride);
  const Shared<float> ring =
      shared_memory<float>(4 * (separable_weights(taps) + kRollingRows * stride), ring_rows * columns);
  PYD_ROLLED
  for (int32_t i = thread_index(); i < padded; i += kFilterThreads) across.set(i, i < taps ? line.get(i) : 0.0f);
  PYD_ROLLED
  for (int32_t i = thread_index(); i < separable_weights(taps) - padded; i += kFilterThreads) {
    const int32_t tap = i - kFilterPad;
    down.set(i, tap >= 0 && tap < taps ? line.get(tap) : 0.0f);
  }

  // Row `first` of what is filtered lies `radius` above the tile; output y is made of rows y .. y + taps - 1. The rows
  // above the first output come alone, then as many rows as outputs.
  const int32_t above = taps - 1;
  int32_t slot = 0;  // of row `first` in the ring
  PYD_ROLLED
  for (int32_t first = 0; first < rows + above;) {
    const int32_t here = smaller(kRollingRows, first < above ? above - first : rows + above - first);
    load_tile(source, top - radius + first, left - radius, here, stride, pixels);
    PYD_BARRIER();
    PYD_ROLLED
    for (int32_t item = thread_index(); item < here * groups; item += kFilterThreads) {
      const int32_t row = item / groups, x0 = item % groups * 4;
      Float4 sum = {};
      Float4 near = pixels.get4(row * stride + x0);
      PYD_ROLLED
      for (int32_t k = 0; k < padded; k += 4) {
        const Float4 far = pixels.get4(row * stride + x0 + k + 4);
        const float window[8] = {near.x[0], near.x[1], near.x[2], near.x[3], far.x[0], far.x[1], far.x[2], far.x[3]};
        const Float4 weight = across.get4(k);
#pragma unroll
        for (int32_t t = 0; t < 4; ++t) {
#pragma unroll
          for (int32_t c = 0; c < 4; ++c) sum.x[c] = pyd_fma(weight.x[t], window[t + c], sum.x[c]);
        }
        near = far;
      }
      const int32_t place = slot + row < ring_rows ? slot + row : slot + row - ring_rows;
      ring.set4(place * columns + x0, sum);
    }
    PYD_BARRIER();
    const int32_t made = first - above;  // outputs before these
    first += here;
    slot = slot + here < ring_rows ? slot + here : slot + here - ring_rows;
    if (made < 0 || thread_index() >= here / 4 * groups) continue;

    // 4 x 4 outputs; the ring is full but for rows that none of them meets.
    const int32_t y0 = thread_index() / groups * 4, x0 = thread_index() % groups * 4;
    int32_t at = (made + y0) % ring_rows * columns + x0;
    Sums sums = {};
    Float4 near = down.get4(0);
    PYD_ROLLED
    for (int32_t i = 0; i < taps + kFilterPad; i += 4) {
      const Float4 far = down.get4(i + 4);
      const float weight[8] = {near.x[0], near.x[1], near.x[2], near.x[3], far.x[0], far.x[1], far.x[2], far.x[3]};
#pragma unroll
      for (int32_t u = 0; u < 4; ++u) {
        if (i + u >= taps + kFilterPad) break;
        const Float4 values = ring.get4(at);
#pragma unroll
        for (int32_t r = 0; r < kFilterRows; ++r) {
#pragma unroll
          for (int32_t c = 0; c < 4; ++c) sums.at[r][c] = pyd_fma(weight[u + kFilterPad - r], values.x[c], sums.at[r][c]);
        }
        at += columns;
        if (at >= ring_rows * columns) at -= ring_rows * columns;
      }
      near = far;
    }
    const int32_t y = top + made + y0, x = left + x0;
    // 32 bits hold the places of a picture.
    const int32_t place = (plane * source.height + y) * source.width + x;
    const int32_t high = source.height - y, wide = source.width - x;
#pragma unroll
    for (int32_t r = 0; r < kFilterRows; ++r) {
#pragma unroll
      for (int32_t c = 0; c < 4; ++c) {
        if (r < high && c < wide) store(place + r * source.width + c, sums.at[r][c]);
      }
    }
  }
}

}  // namespace pyd

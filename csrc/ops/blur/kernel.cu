#include "cuda/filter.cuh"
#include "ops/blur/part.cuh"

namespace pyd {

PYD_KERNEL(blur, BlurRow) {
  const Share share = share_of_block(bases, stage);
  const BlurRow& row = descriptor<BlurRow>(bases, stage, share.row);
  const int32_t height = row.src.height, width = row.src.width, taps = row.size_px, path = row.path;
  const Tile tile = tile_of_block(share.block, row.tiles_y, row.tiles_x);
  const Global<float> src = picture_memory(bases, row.src);
  const int64_t plane = static_cast<int64_t>(tile.plane) * height * width;
  const auto source = source_of(row.src, row.border == kBorderSymmetric,
                                [&](int32_t y, int32_t x) { return src.get(plane + y * width + x); });
  const Global<float> dst = picture_memory(bases, row.src, row.dst);
  if (path == kBlurIdentity) return store_tile({}, tile, height, width, [&](int64_t i, float) { dst.set(i, src.get(i)); });
  const bool separable = path == kBlurSeparable;
  const Global<float> weights = global_memory<float>(bases, row.weights, separable ? 2 * taps : taps * taps);
  const Sums sums =
      separable ? correlate_separable(source, tile, weights, taps, taps) : correlate_dense(source, tile, weights, taps);
  store_tile(sums, tile, height, width, [&](int64_t i, float sum) { dst.set(i, sum); });
}

// The part of a blur that a resize reads.
PYD_KERNEL(blur_part, BlurRow) {
  const Share share = share_of_block(bases, stage);
  const BlurRow& row = descriptor<BlurRow>(bases, stage, share.row);
  const Global<float> src = picture_memory(bases, row.src);
  const int32_t width = row.src.width;
  const int64_t plane = int64_t{share.block / (row.tiles_y * row.tiles_x)} * row.src.height * width;
  const auto source = source_of(row.src, row.border == kBorderSymmetric,
                                [&](int32_t y, int32_t x) { return src.get(plane + y * width + x); });
  make_part(bases, row, share.block, source);
}

// One pixel of the padded gradient that cpu.cpp spreads out: all products that meet there, in its order.
PYD_DEVICE float spread_pixel(const Global<float>& grad, int64_t plane, int32_t height, int32_t width,
                              const Global<float>& weights, int32_t taps, bool separable, int32_t y, int32_t x) {
  float sum = 0.0f;
  for (int32_t from_y = larger(0, y - taps + 1); from_y <= smaller(y, height - 1); ++from_y) {
    const int32_t j = y - from_y;
    for (int32_t i = larger(0, x - width + 1); i <= smaller(taps - 1, x); ++i) {
      const float weight = separable ? weights.get(i) * weights.get(taps + j) : weights.get(j * taps + i);
      sum = pyd_fma(weight, grad.get(plane + from_y * width + x - i), sum);
    }
  }
  return sum;
}

// dst = A^T src, one thread per pixel: gathers the padded pixels that the border rule folds onto it. Slow and exact; the
// gradient of a blur is not on the hot path.
PYD_KERNEL(blur_adjoint, BlurRow) {
  const Share share = share_of_block(bases, stage);
  const BlurRow& row = descriptor<BlurRow>(bases, stage, share.row);
  const int32_t height = row.src.height, width = row.src.width, taps = row.size_px, radius = taps / 2;
  const int64_t at = int64_t{share.block} * kThreads_blur_adjoint + thread_index();
  if (at >= static_cast<int64_t>(row.src.channels) * height * width) return;
  const int64_t plane = at / (height * width) * (height * width);
  const int32_t y = static_cast<int32_t>(at - plane) / width, x = static_cast<int32_t>(at - plane) % width;
  const Global<float> grad = picture_memory(bases, row.src);
  const Global<float> dst = picture_memory(bases, row.src, row.dst);
  const bool separable = row.path == kBlurSeparable;
  const Global<float> weights = global_memory<float>(bases, row.weights, separable ? 2 * taps : taps * taps);
  const bool symmetric = row.border == kBorderSymmetric;
  float sum = 0.0f;
  for (int32_t padded_y = 0; padded_y < height + 2 * radius; ++padded_y) {
    if (reflected(padded_y - radius, height, symmetric) != y) continue;
    for (int32_t padded_x = 0; padded_x < width + 2 * radius; ++padded_x) {
      if (reflected(padded_x - radius, width, symmetric) != x) continue;
      sum += spread_pixel(grad, plane, height, width, weights, taps, separable, padded_y, padded_x);
    }
  }
  dst.set(at, sum);
}

}  // namespace pyd

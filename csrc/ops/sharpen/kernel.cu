// Unsharp masking in two launches, the steps of cpu.cpp.

#include "cuda/rolling.cuh"
#include "math/color.h"
#include "ops/sharpen/device.h"

namespace pyd {

// Residual and mask.
PYD_KERNEL(sharpen_mask, SharpenRow) {
  const Share share = share_of_block(bases, stage);
  const SharpenRow& row = descriptor<SharpenRow>(bases, stage, share.row);
  const int32_t height = row.src.height, width = row.src.width;
  const int64_t values = static_cast<int64_t>(row.src.channels) * height * width;
  const int32_t plane_of_block = share.block / (row.tiles.tiles_y * row.tiles.tiles_x);
  const Global<float> src = picture_memory(bases, row.src);
  const Global<float> residual = global_memory<float>(bases, row.residual, values);
  const Global<uint8_t> mask = global_memory<uint8_t>(bases, row.mask, values);
  const Global<float> line = global_memory<float>(bases, row.line, row.taps);
  const int64_t plane = static_cast<int64_t>(plane_of_block) * height * width;
  const auto source = source_of(row.src, false, [&](int32_t y, int32_t x) { return src.get(plane + y * width + x); });
  const float threshold = row.threshold_8bit;
  correlate_rolling(source, row.tiles, share.block, line, row.taps, [&](int32_t i, float blurred) {
    const float r = src.get(i) - blurred;
    residual.set(i, r);
    mask.set(i, static_cast<uint8_t>((r < 0.0f ? -r : r) * 255.0f > threshold));
  });
}

// Soft mask and blend.
PYD_KERNEL(sharpen_blend, SharpenRow) {
  const Share share = share_of_block(bases, stage);
  const SharpenRow& row = descriptor<SharpenRow>(bases, stage, share.row);
  const int32_t height = row.src.height, width = row.src.width;
  const int64_t values = static_cast<int64_t>(row.src.channels) * height * width;
  const int32_t plane_of_block = share.block / (row.tiles.tiles_y * row.tiles.tiles_x);
  const Global<float> src = picture_memory(bases, row.src);
  const Global<float> dst = picture_memory(bases, row.src, row.dst);
  const Global<float> residual = global_memory<float>(bases, row.residual, values);
  const Global<uint8_t> mask = global_memory<uint8_t>(bases, row.mask, values);
  const Global<float> line = global_memory<float>(bases, row.line, row.taps);
  const int64_t plane = static_cast<int64_t>(plane_of_block) * height * width;
  const auto source =
      source_of(row.src, false, [&](int32_t y, int32_t x) { return static_cast<float>(mask.get(plane + y * width + x)); });
  const float weight = row.weight;
  correlate_rolling(source, row.tiles, share.block, line, row.taps, [&](int32_t i, float soft) {
    const float value = src.get(i);
    const float sharp = clip01(pyd_fma(weight, residual.get(i), value));
    dst.set(i, soft * sharp + (1.0f - soft) * value);
  });
}

}  // namespace pyd

// libjpeg mode: integers, the values of cpu/jpeg_libjpeg_cpu.cpp.

#include "math/color.h"
#include "ops/jpeg/math.h"
#include "ops/jpeg/region.cuh"

namespace pyd {

struct LibjpegCodec {
  using Sample = int32_t;
  struct Pixel {
    int32_t luma, cb, cr;
  };
  PYD_DEVICE Pixel pixel(float red, float green, float blue, const JpegRow&) {
    const float r = level_of_value(red), g = level_of_value(green), b = level_of_value(blue);
    return {luma_of_rgb(r, g, b), cb_of_rgb(r, g, b), cr_of_rgb(r, g, b)};
  }
  PYD_DEVICE Pixel black() { return {0, 128, 128}; }
  // The bias alternates along the row, so that halves are not always rounded up.
  PYD_DEVICE int32_t mean_of_two(int32_t a, int32_t b, int32_t x) { return (a + b + (x & 1)) >> 1; }
  PYD_DEVICE int32_t mean_of_four(int32_t a, int32_t b, int32_t c, int32_t d, int32_t x) {
    return (a + b + c + d + 1 + (x & 1)) >> 2;
  }
  PYD_DEVICE int32_t mean_of_rows(int32_t a, int32_t b) { return (a + b + 1) >> 1; }
  PYD_DEVICE int32_t mean_of_line(int32_t a, int32_t b, int32_t c, int32_t d) { return (a + b + c + d + 2) >> 2; }
};

PYD_KERNEL(libjpeg_encode, JpegRow) {
  const Share share = share_of_block(bases, stage);
  const JpegRow& row = descriptor<JpegRow>(bases, stage, share.row);
  const Region region = region_of_block(row, share.block);
  const Shared<int32_t> blocks = shared_memory<int32_t>(0, kMostJpegBlocks * kBlockWords);
  gather_region<LibjpegCodec>(bases, row, region, blocks);
  const int32_t count = blocks_of(region);
  const Quantiser* const luma = program_memory<Quantiser>(bases, row.tables.offset);

  for_each_line(count, [&](int32_t block, int32_t k) {
    change_line(blocks, block * kBlockWords + k * kBlockRow, 1, [](int32_t* x) { islow_forward8<ScalarDct, true>(x); });
  });
  PYD_BARRIER();
  for_each_line(count, [&](int32_t block, int32_t k) {
    const Quantiser* const table = block < 16 ? luma : luma + 64;
    change_line(blocks, block * kBlockWords + k, kBlockRow, [&](int32_t* x) {
      islow_forward8<ScalarDct, false>(x);
#pragma unroll
      for (int32_t i = 0; i < 8; ++i) x[i] = quantise_and_back(table[8 * i + k], x[i]);
      islow_inverse8<ScalarDct, true>(x);
    });
  });
  PYD_BARRIER();
  for_each_line(count, [&](int32_t block, int32_t k) {
    change_line(blocks, block * kBlockWords + k * kBlockRow, 1, [](int32_t* x) { islow_inverse8<ScalarDct, false>(x); });
  });
  PYD_BARRIER();
  scatter_region(row, region, blocks, [&](int32_t component, int64_t at, int32_t sample) {
    plane_memory<uint8_t>(bases, row, row.plane[component], component)
        .set(at, static_cast<uint8_t>(smaller(larger(sample, 0), 255)));
  });
}

// Chroma at a pixel, centred on zero.
PYD_DEVICE int32_t chroma_at(const Global<uint8_t>& plane, const JpegRow& row, int32_t y, int32_t x) {
  const int32_t stride = plane_width(row, 1), near_y = y / row.factor_y;
  if (row.smooth == 0) return plane.get(static_cast<int64_t>(near_y) * stride + x / row.factor_x) - 128;
  int32_t far_y = near_y;
  if (row.factor_y == 2) far_y = smaller(larger(y % 2 == 0 ? near_y - 1 : near_y + 1, 0), row.chroma_height - 1);
  const int64_t near = static_cast<int64_t>(near_y) * stride, far = static_cast<int64_t>(far_y) * stride;
  if (row.factor_x == 1) return ((3 * plane.get(near + x) + plane.get(far + x) + (y % 2 == 0 ? 1 : 2)) >> 2) - 128;
  const bool two_rows = row.factor_y == 2;
  const auto column = [&](int32_t i) {
    const int32_t value = plane.get(near + i);
    return two_rows ? 3 * value + plane.get(far + i) : value;
  };
  return upsampled_level(column, x, row.chroma_width, row.factor_y) - 128;
}

PYD_KERNEL(libjpeg_decode, JpegRow) {
  const Share share = share_of_block(bases, stage);
  const JpegRow& row = descriptor<JpegRow>(bases, stage, share.row);
  const int32_t at = share.block * kThreads_libjpeg_decode + thread_index(), count = pixels_of(row.src);
  if (at >= count) return;
  const int32_t y = at / row.src.width, x = at % row.src.width;
  const Global<float> dst = picture_memory(bases, row.src, row.dst);
  const Global<uint8_t> luma = plane_memory<uint8_t>(bases, row, row.plane[0], 0);
  const float level = luma.get(static_cast<int64_t>(y) * plane_width(row, 0) + x);
  const float cb = static_cast<float>(chroma_at(plane_memory<uint8_t>(bases, row, row.plane[1], 1), row, y, x));
  const float cr = static_cast<float>(chroma_at(plane_memory<uint8_t>(bases, row, row.plane[2], 2), row, y, x));
  dst.set(at, value_of_level(red_of_ycc(level, cr)));
  dst.set(int64_t{count} + at, value_of_level(green_of_ycc(level, cb, cr)));
  dst.set(int64_t{2} * count + at, value_of_level(blue_of_ycc(level, cb)));
}

}  // namespace pyd

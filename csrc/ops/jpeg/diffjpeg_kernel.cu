// The differentiable modes and their adjoint, the values of cpu/jpeg_diff_cpu.cpp.

#include "ops/jpeg/float_math.h"
#include "ops/jpeg/region.cuh"

namespace pyd {

struct FloatCodec {
  using Sample = float;
  using Pixel = FloatSamples;
  PYD_DEVICE Pixel pixel(float red, float green, float blue, const JpegRow& row) {
    return row.clips != 0 ? samples_of_rgb(clip01(red), clip01(green), clip01(blue)) : samples_of_rgb(red, green, blue);
  }
  PYD_DEVICE Pixel black() { return {-128.0f, 0.0f, 0.0f}; }
  PYD_DEVICE float mean_of_two(float a, float b, int32_t) { return (a + b) * 0.5f; }
  PYD_DEVICE float mean_of_four(float a, float b, float c, float d, int32_t) { return ((a + b) + (c + d)) * 0.25f; }
  PYD_DEVICE float mean_of_rows(float a, float b) { return (a + b) * 0.5f; }
  PYD_DEVICE float mean_of_line(float a, float b, float c, float d) { return ((a + b) + (c + d)) * 0.25f; }
};

PYD_DEVICE void forward_rows(const Shared<float>& blocks, int32_t count) {
  for_each_line(count, [&](int32_t block, int32_t k) {
    change_line(blocks, block * kBlockWords + k * kBlockRow, 1, [](float* x) { dct_forward8(x); });
  });
  PYD_BARRIER();
}
PYD_DEVICE void inverse_rows(const Shared<float>& blocks, int32_t count) {
  PYD_BARRIER();
  for_each_line(count, [&](int32_t block, int32_t k) {
    change_line(blocks, block * kBlockWords + k * kBlockRow, 1, [](float* x) { dct_inverse8(x); });
  });
  PYD_BARRIER();
}

PYD_KERNEL(diffjpeg_encode, JpegRow) {
  const Share share = share_of_block(bases, stage);
  const JpegRow& row = descriptor<JpegRow>(bases, stage, share.row);
  const Region region = region_of_block(row, share.block);
  const Shared<float> blocks = shared_memory<float>(0, kMostJpegBlocks * kBlockWords);
  gather_region<FloatCodec>(bases, row, region, blocks);
  const int32_t count = blocks_of(region);
  if (row.keeps_before != 0) {
    scatter_region(row, region, blocks, [&](int32_t component, int64_t at, float sample) {
      plane_memory<float>(bases, row, row.before[component], component).set(at, sample);
    });
    PYD_BARRIER();
  }
  const float* const luma = program_memory<float>(bases, row.tables.offset);
  const bool cubic = row.cubic != 0;

  forward_rows(blocks, count);
  for_each_line(count, [&](int32_t block, int32_t k) {
    const float* const table = block < 16 ? luma : luma + 64;
    change_line(blocks, block * kBlockWords + k, kBlockRow, [&](float* x) {
      dct_forward8(x);
#pragma unroll
      for (int32_t i = 0; i < 8; ++i) {
        const float entry = table[8 * i + k];
        if (entry != 0.0f) x[i] = quantised(x[i], entry, cubic);
      }
      dct_inverse8(x);
    });
  });
  inverse_rows(blocks, count);
  scatter_region(row, region, blocks, [&](int32_t component, int64_t at, float sample) {
    plane_memory<float>(bases, row, row.plane[component], component).set(at, sample);
  });
}

PYD_DEVICE int32_t far_row(const JpegRow& row, int32_t y) {
  const int32_t near_y = y / row.factor_y;
  if (row.factor_y == 1) return near_y;
  return smaller(larger(y % 2 == 0 ? near_y - 1 : near_y + 1, 0), row.chroma_height - 1);
}

// Chroma at a pixel. Interpolation weighs the nearer sample 3/4, the farther 1/4.
PYD_DEVICE float chroma_at(const Global<float>& plane, const JpegRow& row, int32_t y, int32_t x) {
  const int32_t stride = plane_width(row, 1);
  const int64_t near = static_cast<int64_t>(y / row.factor_y) * stride;
  if (row.smooth == 0) return plane.get(near + x / row.factor_x);
  const int64_t far = static_cast<int64_t>(far_row(row, y)) * stride;
  const auto blended = [&](int32_t i) { return plane.get(near + i) * 0.75f + plane.get(far + i) * 0.25f; };
  if (row.factor_x == 1) return blended(x);
  const int32_t i = x / 2, other = x % 2 == 0 ? i - 1 : i + 1;
  if (other < 0 || other >= row.chroma_width) return blended(i);
  return blended(i) * 0.75f + blended(other) * 0.25f;
}

// The coded samples at a pixel, chroma at full size.
PYD_DEVICE FloatSamples samples_at(const Bases& bases, const JpegRow& row, int32_t y, int32_t x) {
  const Global<float> luma = plane_memory<float>(bases, row, row.plane[0], 0);
  return {luma.get(static_cast<int64_t>(y) * plane_width(row, 0) + x),
          chroma_at(plane_memory<float>(bases, row, row.plane[1], 1), row, y, x),
          chroma_at(plane_memory<float>(bases, row, row.plane[2], 2), row, y, x)};
}

PYD_KERNEL(diffjpeg_decode, JpegRow) {
  const Share share = share_of_block(bases, stage);
  const JpegRow& row = descriptor<JpegRow>(bases, stage, share.row);
  const int32_t at = share.block * kThreads_diffjpeg_decode + thread_index(), count = pixels_of(row.src);
  if (at >= count) return;
  const FloatSamples samples = samples_at(bases, row, at / row.src.width, at % row.src.width);
  const Global<float> dst = picture_memory(bases, row.src, row.dst);
  float red, green, blue;
  rgb_of_samples<ScalarArithmetic>(samples.luma, samples.cb, samples.cr, red, green, blue);
  dst.set(at, red);
  dst.set(int64_t{count} + at, green);
  dst.set(int64_t{2} * count + at, blue);
}

// ---- Adjoint: the transposed steps in reverse order, each sum gathered in the order in which the CPU scatters it.

// Gradients of luma and of full-size chroma from that of the image. One thread per sample of the luma plane.
PYD_KERNEL(diffjpeg_merge_adjoint, JpegRow) {
  const Share share = share_of_block(bases, stage);
  const JpegRow& row = descriptor<JpegRow>(bases, stage, share.row);
  const int32_t stride = plane_width(row, 0);
  const int32_t at = share.block * kThreads_diffjpeg_merge_adjoint + thread_index();
  if (at >= stride * plane_height(row, 0)) return;
  const int32_t y = at / stride, x = at % stride, count = pixels_of(row.src);
  const Global<float> luma = plane_memory<float>(bases, row, row.gradient[0], 0);
  if (y >= row.src.height || x >= row.src.width) {
    luma.set(at, 0.0f);
    return;
  }
  const int32_t pixel = y * row.src.width + x;
  const FloatSamples samples = samples_at(bases, row, y, x);
  const Global<float> grad = picture_memory(bases, row.src, row.grad);
  const Global<float> chroma = global_memory<float>(bases, row.chroma_grad, int64_t{2} * count);
  const FloatSamples own = samples_gradient(samples.luma, samples.cb, samples.cr, grad.get(pixel),
                                            grad.get(int64_t{count} + pixel), grad.get(int64_t{2} * count + pixel));
  luma.set(at, own.luma);
  chroma.set(pixel, own.cb);
  chroma.set(int64_t{count} + pixel, own.cr);
}

// Gradients of chroma samples from those at full size. One thread per sample of both planes.
PYD_KERNEL(diffjpeg_upsample_adjoint, JpegRow) {
  const Share share = share_of_block(bases, stage);
  const JpegRow& row = descriptor<JpegRow>(bases, stage, share.row);
  const int32_t stride = plane_width(row, 1), each = stride * plane_height(row, 1);
  const int32_t item = share.block * kThreads_diffjpeg_upsample_adjoint + thread_index();
  if (item >= 2 * each) return;
  const int32_t component = item / each, at = item % each, y = at / stride, x = at % stride;
  const int32_t height = row.src.height, width = row.src.width;
  const Global<float> out = plane_memory<float>(bases, row, row.gradient[1 + component], 1);
  const Global<float> full = global_memory<float>(bases, row.chroma_grad, int64_t{2} * height * width);
  const int64_t plane = static_cast<int64_t>(component) * height * width;
  float sum = 0.0f;
  // Pixels that look at this sample lie at most one sample away.
  const int32_t reach = row.smooth;
  const int32_t first_y = larger(row.factor_y * (y - reach), 0), end_y = smaller(row.factor_y * (y + 1 + reach), height);
  const int32_t first_x = larger(row.factor_x * (x - reach), 0), end_x = smaller(row.factor_x * (x + 1 + reach), width);
  for (int32_t from_y = first_y; from_y < end_y; ++from_y) {
    const int32_t near_y = from_y / row.factor_y, far_y = row.smooth != 0 ? far_row(row, from_y) : near_y;
    for (int32_t from_x = first_x; from_x < end_x; ++from_x) {
      const float grad = full.get(plane + static_cast<int64_t>(from_y) * width + from_x);
      const int32_t near_x = from_x / row.factor_x;
      if (row.smooth == 0) {
        if (near_y == y && near_x == x) sum += grad;
        continue;
      }
      if (row.factor_x == 1) {
        if (near_y == y && near_x == x) sum += grad * 0.75f;
        if (far_y == y && near_x == x) sum += grad * 0.25f;
        continue;
      }
      const int32_t far_x = smaller(larger(from_x % 2 == 0 ? near_x - 1 : near_x + 1, 0), row.chroma_width - 1);
      if (near_y == y && near_x == x) sum += grad * 0.5625f;
      if (near_y == y && far_x == x) sum += grad * 0.1875f;
      if (far_y == y && near_x == x) sum += grad * 0.1875f;
      if (far_y == y && far_x == x) sum += grad * 0.0625f;
    }
  }
  out.set(at, sum);
}

// Gradients of the samples before coding, with cubic rounding. Straight through the rounding, the two transforms cancel and
// this launch is left out. One block of threads for the blocks that fit into shared memory beside each other.
PYD_KERNEL(diffjpeg_code_adjoint, JpegRow) {
  const Share share = share_of_block(bases, stage);
  const JpegRow& row = descriptor<JpegRow>(bases, stage, share.row);
  const Region region = region_of_block(row, share.block);
  const int32_t count = blocks_of(region);
  const Shared<float> samples = shared_memory<float>(0, kMostJpegBlocks * kBlockWords);
  const Shared<float> grads = shared_memory<float>(4 * kMostJpegBlocks * kBlockWords, kMostJpegBlocks * kBlockWords);
  for (int32_t i = thread_index(); i < 64 * count; i += 128) {
    const BlockPlace place = place_of(row, region, i / 64);
    const int32_t in_y = i % 64 / 8, in_x = i % 8, to = i / 64 * kBlockWords + in_y * kBlockRow + in_x;
    const int64_t at = static_cast<int64_t>(8 * place.y + in_y) * plane_width(row, place.component) + 8 * place.x + in_x;
    float sample = 0.0f, grad = 0.0f;
    if (place.inside) {
      sample = plane_memory<float>(bases, row, row.before[place.component], place.component).get(at);
      grad = plane_memory<float>(bases, row, row.gradient[place.component], place.component).get(at);
    }
    samples.set(to, sample);
    grads.set(to, grad);
  }
  PYD_BARRIER();
  const float* const luma = program_memory<float>(bases, row.tables.offset);
  forward_rows(samples, count);
  forward_rows(grads, count);
  for_each_line(count, [&](int32_t block, int32_t k) {
    const float* const table = block < 16 ? luma : luma + 64;
    change_line(samples, block * kBlockWords + k, kBlockRow, [](float* x) { dct_forward8(x); });
    change_line(grads, block * kBlockWords + k, kBlockRow, [&](float* x) {
      dct_forward8(x);
#pragma unroll
      for (int32_t i = 0; i < 8; ++i) {
        const float entry = table[8 * i + k];
        if (entry != 0.0f) x[i] *= cubic_slope(samples.get(block * kBlockWords + i * kBlockRow + k), entry);
      }
      dct_inverse8(x);
    });
  });
  inverse_rows(grads, count);
  scatter_region(row, region, grads, [&](int32_t component, int64_t at, float grad) {
    plane_memory<float>(bases, row, row.gradient[component], component).set(at, grad);
  });
}

// A sample's gradient; the last row of the picture collects those of the rows that repeat it.
PYD_DEVICE float folded(const Global<float>& plane, int32_t stride, int32_t rows, int32_t seen, bool folds, int32_t y,
                        int32_t x) {
  float sum = plane.get(static_cast<int64_t>(y) * stride + x);
  if (folds && y == seen - 1) {
    for (int32_t below = seen; below < rows; ++below) sum += plane.get(static_cast<int64_t>(below) * stride + x);
  }
  return sum;
}

// Gradient of the image from those of the planes. What was repeated collects its copies; what was padded with black is
// dropped.
PYD_KERNEL(diffjpeg_split_adjoint, JpegRow) {
  const Share share = share_of_block(bases, stage);
  const JpegRow& row = descriptor<JpegRow>(bases, stage, share.row);
  const int32_t height = row.src.height, width = row.src.width, count = pixels_of(row.src);
  const int32_t at = share.block * kThreads_diffjpeg_split_adjoint + thread_index();
  if (at >= count) return;
  const int32_t y = at / width, x = at % width;
  const bool folds = row.basicsr == 0, last_column = folds && x == width - 1;
  const int32_t luma_stride = plane_width(row, 0), chroma_stride = plane_width(row, 1);
  const Global<float> plane[3] = {plane_memory<float>(bases, row, row.gradient[0], 0),
                                  plane_memory<float>(bases, row, row.gradient[1], 1),
                                  plane_memory<float>(bases, row, row.gradient[2], 2)};
  const auto luma_at = [&](int32_t column) {
    return folded(plane[0], luma_stride, plane_height(row, 0), height, folds, y, column);
  };
  FloatSamples own;
  own.luma = luma_at(x);
  if (last_column) {
    for (int32_t beyond = width; beyond < luma_stride; ++beyond) own.luma += luma_at(beyond);
  }

  const float mean = 1.0f / static_cast<float>(row.factor_y * row.factor_x);
  // An odd last row counts twice.
  const bool doubled = folds && row.factor_y == 2 && y == height - 1 && height % 2 == 1;
  const float part = doubled ? 2.0f * mean : mean;
  const auto chroma_of = [&](const Global<float>& from) {
    const auto value = [&](int32_t column) {
      return folded(from, chroma_stride, plane_height(row, 1), row.chroma_height, folds, y / row.factor_y,
                    column / row.factor_x) *
             part;
    };
    float sum = value(x);
    if (last_column) {
      for (int32_t beyond = width; beyond < chroma_stride * row.factor_x; ++beyond) sum += value(beyond);
    }
    return sum;
  };
  own.cb = chroma_of(plane[1]);
  own.cr = chroma_of(plane[2]);
  float red, green, blue;
  rgb_gradient(own, &red, &green, &blue);
  const Global<float> dst = picture_memory(bases, row.src, row.dst);
  dst.set(at, red);
  dst.set(int64_t{count} + at, green);
  dst.set(int64_t{2} * count + at, blue);
}

}  // namespace pyd

#include "cpu/filter.h"
#include "math/border.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int32_t kMaxSizePx = 51;

bool good_item(const BlurParams& params, int64_t item) {
  const int32_t size = params.size_px[item];
  const int32_t path = params.path[item];
  const int32_t border = params.border == nullptr ? kBorderReflect101 : params.border[item];
  return size >= 1 && size <= kMaxSizePx && size % 2 == 1 && path >= kBlurIdentity && path <= kBlurDense &&
         (border == kBorderReflect101 || border == kBorderSymmetric);
}

bool is_symmetric(const BlurParams& params, int64_t item) {
  return params.border != nullptr && params.border[item] == kBorderSymmetric;
}

Status correlate(int32_t path, const float* weights, int64_t size, const float* src, int64_t height, int64_t width,
                 int64_t begin, int64_t end, float* dst) {
  return path == kBlurSeparable ? correlate_separable(src, height, width, weights, weights + size, size, begin, end, dst)
                                : correlate_dense(src, height, width, weights, size, begin, end, dst);
}

// Rows begin .. end - 1 of a plane with symmetric borders: of a padded copy, whose own borders no kept pixel looks at.
Status correlate_symmetric(int32_t path, const float* weights, int64_t size, const float* src, int64_t height,
                           int64_t width, int64_t begin, int64_t end, float* dst) {
  const int64_t radius = size / 2;
  const int64_t padded_width = width + 2 * radius, padded_height = end - begin + 2 * radius;
  Scratch scratch;
  float* padded = scratch.take<float>(padded_height * padded_width);
  float* made = scratch.take<float>(padded_height * padded_width);
  if (padded == nullptr || made == nullptr) return Status::kOutOfMemory;
  for (int64_t y = 0; y < padded_height; ++y) {
    const float* from = src + reflect_symmetric(begin + y - radius, height) * width;
    float* to = padded + y * padded_width;
    for (int64_t x = 0; x < radius; ++x) to[x] = from[reflect_symmetric(x - radius, width)];
    memcpy(to + radius, from, static_cast<size_t>(width) * sizeof(float));
    for (int64_t x = 0; x < radius; ++x) to[radius + width + x] = from[reflect_symmetric(width + x, width)];
  }
  const Status status = correlate(path, weights, size, padded, padded_height, padded_width, radius,
                                  padded_height - radius, made);
  if (status != Status::kOk) return status;
  for (int64_t y = begin; y < end; ++y) {
    memcpy(dst + y * width, made + (y - begin + radius) * padded_width + radius,
           static_cast<size_t>(width) * sizeof(float));
  }
  return Status::kOk;
}

// dst = A^T grad for one plane: the gradient spread over the padded plane, then the borders folded back. One thread, fixed
// order; gradients of a blur are not on the hot path.
Status adjoint_plane(const float* weights, int64_t size, bool separable, bool symmetric, const float* grad,
                     int64_t height, int64_t width, float* dst) {
  const int64_t radius = size / 2;
  const int64_t padded_height = height + 2 * radius, padded_width = width + 2 * radius;
  Scratch scratch;
  float* spread = scratch.take<float>(padded_height * padded_width);
  if (spread == nullptr) return Status::kOutOfMemory;
  memset(spread, 0, static_cast<size_t>(padded_height * padded_width) * sizeof(float));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t j = 0; j < size; ++j) {
      for (int64_t i = 0; i < size; ++i) {
        const float weight = separable ? weights[i] * weights[size + j] : weights[j * size + i];
        float* PYD_RESTRICT to = spread + (y + j) * padded_width + i;
        const float* PYD_RESTRICT from = grad + y * width;
        for (int64_t x = 0; x < width; ++x) to[x] = pyd_fma(weight, from[x], to[x]);
      }
    }
  }
  memset(dst, 0, static_cast<size_t>(height * width) * sizeof(float));
  auto inside = [&](int64_t index, int64_t count) {
    return symmetric ? reflect_symmetric(index, count) : reflect_101(index, count);
  };
  for (int64_t y = 0; y < padded_height; ++y) {
    float* to = dst + inside(y - radius, height) * width;
    const float* from = spread + y * padded_width;
    for (int64_t x = 0; x < padded_width; ++x) to[inside(x - radius, width)] += from[x];
  }
  return Status::kOk;
}

}  // namespace

Status blur_image(const BlurParams& params, int64_t item, ConstImage src, Image dst) {
  if (!good_item(params, item)) return Status::kBadArgument;
  const int64_t size = params.size_px[item];
  const float* weights = params.weights + params.start[item];
  const int32_t path = params.path[item];
  if (path == kBlurIdentity) return copy_image(src, dst);
  const int64_t plane = src.height * src.width;
  const int64_t rows = strip_rows(src.height, src.channels);
  const int64_t strips = (src.height + rows - 1) / rows;
  int32_t failure = 0;
  parallel_for(src.channels * strips, [&](int64_t work) {
    const int64_t at = work / strips * plane;
    const int64_t begin = work % strips * rows;
    const int64_t end = begin + rows < src.height ? begin + rows : src.height;
    const auto run = is_symmetric(params, item) ? correlate_symmetric : correlate;
    const Status status =
        run(path, weights, size, src.data + at, src.height, src.width, begin, end, dst.data + at);
    if (status != Status::kOk) __atomic_store_n(&failure, static_cast<int32_t>(status), __ATOMIC_RELAXED);
  });
  return static_cast<Status>(failure);
}

Status blur_cpu(const BlurArgs& args) {
  prepare_output(args.rows, args.dst);
  return for_each_row(args.rows.count, [&](int64_t row) {
    return blur_image(args.params, row, row_image(args.rows, args.src, row), row_image(args.rows, args.dst, row));
  });
}

Status blur_adjoint_cpu(const BlurArgs& args) {
  prepare_output(args.rows, args.dst);
  const int64_t channels = args.rows.channels;
  for (int64_t row = 0; row < args.rows.count; ++row) {
    if (!good_item(args.params, row)) return Status::kBadArgument;
  }
  return for_each_row(args.rows.count * channels, [&](int64_t work) {
    const int64_t row = work / channels;
    const ConstImage grad = row_image(args.rows, args.src, row);
    const Image dst = row_image(args.rows, args.dst, row);
    const int64_t plane = grad.height * grad.width;
    const int64_t at = work % channels * plane;
    if (args.params.path[row] == kBlurIdentity) {
      memcpy(dst.data + at, grad.data + at, static_cast<size_t>(plane) * sizeof(float));
      return Status::kOk;
    }
    return adjoint_plane(args.params.weights + args.params.start[row], args.params.size_px[row],
                         args.params.path[row] == kBlurSeparable, is_symmetric(args.params, row), grad.data + at,
                         grad.height, grad.width, dst.data + at);
  });
}

}  // namespace PYD_ISA
}  // namespace pyd

#include "cpu/filter.h"
#include "math/border.h"

namespace pyd {
namespace PYD_ISA {
namespace {

Status correlate(int32_t path, const float* weights, int64_t size, const float* src, int64_t height, int64_t width,
                 int64_t begin, int64_t end, float* dst) {
  return path == kBlurSeparable ? correlate_separable(src, height, width, weights, weights + size, size, begin, end, dst)
                                : correlate_dense(src, height, width, weights, size, begin, end, dst);
}

// Rows top .. top + rows - 1 of a plane continued by symmetric borders, `radius` px more on both sides of each.
void pad_symmetric(const float* src, int64_t height, int64_t width, int64_t radius, int64_t top, int64_t rows,
                   float* padded) {
  const int64_t padded_width = width + 2 * radius;
  for (int64_t y = 0; y < rows; ++y) {
    const float* from = src + reflect_symmetric(top + y, height) * width;
    float* to = padded + y * padded_width;
    for (int64_t x = 0; x < radius; ++x) to[x] = from[reflect_symmetric(x - radius, width)];
    memcpy(to + radius, from, static_cast<size_t>(width) * sizeof(float));
    for (int64_t x = 0; x < radius; ++x) to[radius + width + x] = from[reflect_symmetric(width + x, width)];
  }
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
  pad_symmetric(src, height, width, radius, begin - radius, padded_height, padded);
  const Status status =
      correlate(path, weights, size, padded, padded_height, padded_width, radius, padded_height - radius, made);
  if (status != Status::kOk) return status;
  for (int64_t y = begin; y < end; ++y) {
    memcpy(dst + y * width, made + (y - begin + radius) * padded_width + radius,
           static_cast<size_t>(width) * sizeof(float));
  }
  return Status::kOk;
}

// The same two for the rows begin .. end - 1 of what `reads` names alone.
Status correlate_at(int32_t path, const float* weights, int64_t size, const float* src, const Reads& reads, int64_t begin,
                    int64_t end, float* dst) {
  return path == kBlurSeparable ? correlate_separable_at(src, reads, weights, weights + size, size, begin, end, dst)
                                : correlate_dense_at(src, reads, weights, size, begin, end, dst);
}
Status correlate_symmetric_at(int32_t path, const float* weights, int64_t size, const float* src, const Reads& reads,
                              int64_t begin, int64_t end, float* dst) {
  const int64_t radius = size / 2, count = end - begin;
  const auto row = [&](int64_t k) { return reads.rows != nullptr ? int64_t{reads.rows[k]} : k; };
  const int64_t top = row(begin) - radius, padded_height = row(end - 1) + radius + 1 - top;
  const int64_t padded_width = reads.full.width + 2 * radius;
  Scratch scratch;
  float* padded = scratch.take<float>(padded_height * padded_width);
  int32_t* rows = scratch.take<int32_t>(count);
  int32_t* columns = scratch.take<int32_t>(reads.column_count);
  if (padded == nullptr || rows == nullptr || columns == nullptr) return Status::kOutOfMemory;
  pad_symmetric(src, reads.full.height, reads.full.width, radius, top, padded_height, padded);
  for (int64_t k = 0; k < count; ++k) rows[k] = static_cast<int32_t>(row(begin + k) - top);
  for (int64_t l = 0; l < reads.column_count; ++l) columns[l] = static_cast<int32_t>(reads.columns[l] + radius);
  const Reads moved = {{1, padded_height, padded_width}, rows, columns, count, reads.column_count};
  return correlate_at(path, weights, size, padded, moved, 0, count, dst + begin * reads.column_count);
}

Status blur_at(const BlurParams& params, const Use& use, const Reads& reads) {
  const int64_t size = params.size_px[use.item];
  const int32_t path = params.path[use.item];
  const float* weights = params.weights.data + params.start[use.item];
  const auto run = blur_border(params, use.item) == kBorderSymmetric ? correlate_symmetric_at : correlate_at;
  const int64_t rows = strip_rows(reads.row_count, use.src.channels);
  const int64_t strips = (reads.row_count + rows - 1) / rows;
  int32_t failure = 0;
  parallel_for(use.src.channels * strips, [&](int64_t work) {
    const float* const src = use.src.data + work / strips * use.src.height * use.src.width;
    float* const dst = use.dst.data + work / strips * reads.row_count * reads.column_count;
    const int64_t begin = work % strips * rows;
    const int64_t end = begin + rows < reads.row_count ? begin + rows : reads.row_count;
    const Status status = run(path, weights, size, src, reads, begin, end, dst);
    if (status != Status::kOk) __atomic_store_n(&failure, static_cast<int32_t>(status), __ATOMIC_RELAXED);
  });
  return static_cast<Status>(failure);
}

// dst = A^T grad for one plane: the gradient spread over the padded plane, then the borders folded back. One thread, fixed
// order; gradients of a blur are not on the hot path.
Status adjoint_plane(const float* weights, int64_t size, bool separable, bool symmetric, const float* grad, int64_t height,
                     int64_t width, float* dst) {
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

Status blur_image(const BlurParams& params, const Use& use) {
  const ConstImage& src = use.src;
  const int64_t size = params.size_px[use.item];
  const int32_t path = params.path[use.item];
  if (path == kBlurIdentity) return copy_image(src, use.dst);
  if (use.reads != nullptr) return blur_at(params, use, *use.reads);
  const float* weights = params.weights.data + params.start[use.item];
  const auto run = blur_border(params, use.item) == kBorderSymmetric ? correlate_symmetric : correlate;
  const int64_t plane = src.height * src.width;
  const int64_t rows = strip_rows(src.height, src.channels);
  const int64_t strips = (src.height + rows - 1) / rows;
  int32_t failure = 0;
  parallel_for(src.channels * strips, [&](int64_t work) {
    const int64_t at = work / strips * plane;
    const int64_t begin = work % strips * rows;
    const int64_t end = begin + rows < src.height ? begin + rows : src.height;
    const Status status = run(path, weights, size, src.data + at, src.height, src.width, begin, end, use.dst.data + at);
    if (status != Status::kOk) __atomic_store_n(&failure, static_cast<int32_t>(status), __ATOMIC_RELAXED);
  });
  return static_cast<Status>(failure);
}

Status blur_adjoint_image(const BlurParams& params, const AdjointUse& use) {
  const ConstImage& grad = use.src;
  const int32_t path = params.path[use.item];
  if (path == kBlurIdentity) return copy_image(grad, use.dst);
  const float* weights = params.weights.data + params.start[use.item];
  const bool symmetric = blur_border(params, use.item) == kBorderSymmetric;
  const int64_t plane = grad.height * grad.width;
  return for_each_row(grad.channels, [&](int64_t channel) {
    return adjoint_plane(weights, params.size_px[use.item], path == kBlurSeparable, symmetric, grad.data + channel * plane,
                         grad.height, grad.width, use.dst.data + channel * plane);
  });
}

void blur_skips(const BlurParams& params, int64_t item, Reads& reads) {
  const int32_t path = params.path[item];
  if (reads.columns != nullptr && !pays_to_skip_columns(reads, params.size_px[item], path == kBlurSeparable)) {
    reads.columns = nullptr;
  }
  // Symmetric borders are those of a padded copy, of whose columns some have to be picked.
  const bool all = blur_border(params, item) == kBorderSymmetric && reads.columns == nullptr;
  if (path == kBlurIdentity || all) reads.rows = reads.columns = nullptr;
  if (reads.rows == nullptr) reads.row_count = reads.full.height;
  if (reads.columns == nullptr) reads.column_count = reads.full.width;
}

double blur_ns_per_px(const BlurParams& params, int64_t item) {
  const double size = params.size_px[item];
  return 1.0 + (params.path[item] == kBlurDense ? 0.07 * size * size : 0.2 * size);
}

}  // namespace PYD_ISA
}  // namespace pyd

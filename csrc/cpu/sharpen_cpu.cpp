// Unsharp masking as Real-ESRGAN's USMSharp, with its 51x51 Gaussian taken as what it is: an outer product.
//
//   B = K * I;  R = I - B;  M = 1 where 255 |R| > threshold;  S = K * M;  out = S clip(I + weight R) + (1 - S) I

#include "cpu/filter.h"
#include "math/gaussian_line.h"

namespace pyd {
namespace PYD_ISA {

Status sharpen_image(const SharpenParams& params, int64_t item, ConstImage src, Image dst) {
  const float weight = params.weight[item];
  const float threshold = params.threshold_8bit[item];
  const int32_t radius_px = params.radius_px[item];
  const int64_t taps = radius_px % 2 == 0 ? radius_px + 1 : radius_px;
  if (radius_px < 0 || taps > kMaxTaps) return Status::kBadArgument;
  if (weight == 0.0f) return copy_image(src, dst);
  float line[kMaxTaps];
  gaussian_line(taps, line);

  const int64_t plane = src.height * src.width;
  const int64_t rows = strip_rows(src.height, src.channels);
  const int64_t strips = (src.height + rows - 1) / rows;
  Scratch scratch;
  float* residual = scratch.take<float>(src.channels * plane);
  float* mask = scratch.take<float>(src.channels * plane);
  if (residual == nullptr || mask == nullptr) return Status::kOutOfMemory;
  int32_t failure = 0;
  auto strip_of = [&](int64_t work, int64_t* at, int64_t* begin, int64_t* end) {
    *at = work / strips * plane;
    *begin = work % strips * rows;
    *end = *begin + rows < src.height ? *begin + rows : src.height;
  };
  auto note = [&](Status status) {
    if (status != Status::kOk) __atomic_store_n(&failure, static_cast<int32_t>(status), __ATOMIC_RELAXED);
  };

  // Residual and mask.
  parallel_for(src.channels * strips, [&](int64_t work) {
    int64_t at, begin, end;
    strip_of(work, &at, &begin, &end);
    note(correlate_separable(src.data + at, src.height, src.width, line, line, taps, begin, end, residual + at));
    for (int64_t i = at + begin * src.width; i < at + end * src.width; ++i) {
      const float r = src.data[i] - residual[i];
      const float size = (r < 0.0f ? -r : r) * 255.0f;
      residual[i] = r;
      mask[i] = size > threshold ? 1.0f : 0.0f;
    }
  });
  if (failure != 0) return static_cast<Status>(failure);

  // Soft mask and blend.
  parallel_for(src.channels * strips, [&](int64_t work) {
    int64_t at, begin, end;
    strip_of(work, &at, &begin, &end);
    note(correlate_separable(mask + at, src.height, src.width, line, line, taps, begin, end, dst.data + at));
    for (int64_t i = at + begin * src.width; i < at + end * src.width; ++i) {
      const float soft = dst.data[i];
      float sharp = pyd_fma(weight, residual[i], src.data[i]);
      sharp = sharp > 0.0f ? sharp : 0.0f;
      sharp = sharp < 1.0f ? sharp : 1.0f;
      dst.data[i] = soft * sharp + (1.0f - soft) * src.data[i];
    }
  });
  return static_cast<Status>(failure);
}

Status sharpen_cpu(const SharpenArgs& args) {
  prepare_output(args.rows, args.dst);
  return for_each_row(args.rows.count, [&](int64_t row) {
    return sharpen_image(args.params, row, row_image(args.rows, args.src, row), row_image(args.rows, args.dst, row));
  });
}

}  // namespace PYD_ISA
}  // namespace pyd

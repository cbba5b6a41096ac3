// Unsharp masking as Real-ESRGAN's USMSharp, with its 51x51 Gaussian taken as what it is: an outer product.
//
//   B = K * I;  R = I - B;  M = 1 where 255 |R| > threshold;  S = K * M;  out = S clip(I + weight R) + (1 - S) I

#include "cpu/filter.h"
#include "ops/sharpen/math.h"

namespace pyd {
namespace PYD_ISA {

Status sharpen_image(const SharpenParams& params, const Use& use) {
  const ConstImage& src = use.src;
  const Image& dst = use.dst;
  const float weight = params.weight[use.item];
  const float threshold = params.threshold_8bit[use.item];
  const int64_t taps = sharpen_taps(params.radius_px[use.item]);
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

double sharpen_ns_per_px(const SharpenParams&, int64_t) { return 20.0; }

}  // namespace PYD_ISA
}  // namespace pyd

#include "ops/jpeg/modes.h"

namespace pyd {
namespace PYD_ISA {
namespace {

// The gradient of an image that is copied, or is taken to be copied where it lies in [0, 1].
void pass_gradient(ConstImage src, ConstImage grad, Image dst, bool only_inside) {
  const int64_t count = src.channels * src.height * src.width;
  for (int64_t i = 0; i < count; ++i) {
    const bool inside = src.data[i] >= 0.0f && src.data[i] <= 1.0f;
    dst.data[i] = inside || !only_inside ? grad.data[i] : 0.0f;
  }
}

void clip(const float* src, int64_t count, float* dst) {
  for (int64_t i = 0; i < count; ++i) dst[i] = clip01(src[i]);
}

}  // namespace

Status jpeg_image(const JpegParams& params, const Use& use) {
  const ConstImage& src = use.src;
  const Image& dst = use.dst;
  switch (params.mode[use.item]) {
    case kJpegLibjpeg: {
      const JpegGeometry geometry = jpeg_geometry(src.height, src.width, params.subsampling[use.item]);
      return libjpeg_image(params.quality[use.item], geometry, src, dst);
    }
    case kJpegDiffjpeg:
    case kJpegDiffjpegBasicsr:
      // libjpeg mode clips by itself; these leave it to their caller, as the models do before every JPEG.
      if (!use.clips) return diffjpeg_image(params, use.item, src, dst);
      clip(src.data, src.channels * src.height * src.width, dst.data);
      return diffjpeg_image(params, use.item, {dst.data, dst.channels, dst.height, dst.width}, dst);
    default: return pass_image(src, dst);
  }
}

Status jpeg_adjoint_image(const JpegParams& params, const AdjointUse& use) {
  const Image& dst = use.dst;
  const int32_t mode = params.mode[use.item];
  if (is_differentiable(mode)) return diffjpeg_adjoint(params, use.item, use.src, use.grad, dst);
  const bool has_gradient = params.libjpeg_gradient.given() && params.libjpeg_gradient[use.item] != 0;
  if (mode == kJpegOff || has_gradient) {
    pass_gradient(use.src, use.grad, dst, mode != kJpegOff);
  } else {
    memset(dst.data, 0, static_cast<size_t>(dst.channels * dst.height * dst.width) * sizeof(float));
  }
  return Status::kOk;
}

double jpeg_ns_per_px(const JpegParams&, int64_t) { return 4.0; }

}  // namespace PYD_ISA
}  // namespace pyd

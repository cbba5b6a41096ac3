#include "cpu/jpeg_modes.h"

namespace pyd {
namespace PYD_ISA {
namespace {

bool in_range(const JpegParams& params, int64_t item, int64_t channels) {
  const float quality = params.quality[item];
  return channels == 3 && quality >= 1.0f && quality <= 100.0f && params.subsampling[item] >= kJpeg444 &&
         params.subsampling[item] <= kJpeg420;
}

// The gradient of an image that is copied, or is taken to be copied where it lies in [0, 1].
void pass_gradient(ConstImage src, ConstImage grad, Image dst, bool only_inside) {
  const int64_t count = src.channels * src.height * src.width;
  for (int64_t i = 0; i < count; ++i) {
    const bool inside = src.data[i] >= 0.0f && src.data[i] <= 1.0f;
    dst.data[i] = inside || !only_inside ? grad.data[i] : 0.0f;
  }
}

}  // namespace

Status jpeg_image(const JpegParams& params, int64_t item, ConstImage src, Image dst) {
  const int32_t mode = params.mode[item];
  if (mode == kJpegOff) return src.data == dst.data ? Status::kOk : copy_image(src, dst);
  if (!in_range(params, item, src.channels) || src.height != dst.height || src.width != dst.width) {
    return Status::kBadArgument;
  }
  switch (mode) {
    case kJpegLibjpeg:
      return libjpeg_image(params.quality[item], jpeg_geometry(src.height, src.width, params.subsampling[item]), src,
                           dst);
    case kJpegDiffjpeg:
    case kJpegDiffjpegBasicsr: return diffjpeg_image(params, item, src, dst);
    default: return Status::kBadArgument;
  }
}

Status jpeg_cpu(const JpegArgs& args) {
  prepare_output(args.rows, args.dst);
  return for_each_row(args.rows.count, [&](int64_t row) {
    return jpeg_image(args.params, row, row_image(args.rows, args.src, row), row_image(args.rows, args.dst, row));
  });
}

Status jpeg_adjoint_cpu(const JpegAdjointArgs& args) {
  prepare_output(args.rows, args.dst);
  return for_each_row(args.rows.count, [&](int64_t row) {
    const ConstImage src = row_image(args.rows, args.src, row);
    const ConstImage grad = row_image(args.rows, args.grad, row);
    const Image dst = row_image(args.rows, args.dst, row);
    const int32_t mode = args.params.mode[row];
    if (mode == kJpegOff) {
      pass_gradient(src, grad, dst, false);
      return Status::kOk;
    }
    if (!in_range(args.params, row, src.channels)) return Status::kBadArgument;
    if (mode == kJpegDiffjpeg || mode == kJpegDiffjpegBasicsr) return diffjpeg_adjoint(args.params, row, src, grad, dst);
    if (mode != kJpegLibjpeg) return Status::kBadArgument;
    if (args.libjpeg_gradient != 0) {
      pass_gradient(src, grad, dst, true);
    } else {
      memset(dst.data, 0, static_cast<size_t>(dst.channels * dst.height * dst.width) * sizeof(float));
    }
    return Status::kOk;
  });
}

}  // namespace PYD_ISA
}  // namespace pyd

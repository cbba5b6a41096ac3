// What the files of the JPEG op share: geometry, and one function per mode.
#pragma once

#include "cpu/images.h"
#include "math/color.h"
#include "ops/jpeg/math.h"

namespace pyd {
namespace PYD_ISA {

// src and dst may be the same memory.
Status libjpeg_image(float quality, const JpegGeometry& geometry, ConstImage src, Image dst);
Status diffjpeg_image(const JpegParams& params, int64_t item, ConstImage src, Image dst);

// dst = gradient with respect to src of <grad, diffjpeg(src)>. dst overlaps neither src nor grad.
Status diffjpeg_adjoint(const JpegParams& params, int64_t item, ConstImage src, ConstImage grad, Image dst);

}  // namespace PYD_ISA
}  // namespace pyd

// What the files of the JPEG op share: geometry, and one function per mode.
#pragma once

#include "cpu/image_ops.h"
#include "math/color.h"
#include "math/jpeg.h"

namespace pyd {
namespace PYD_ISA {

// How a picture is divided. A chroma sample covers factor_x x factor_y px; a component has whole blocks.
struct JpegGeometry {
  int64_t height, width;  // px
  int64_t factor_y, factor_x;
  int64_t chroma_height, chroma_width;               // samples that a decoder sees
  int64_t luma_blocks_y, luma_blocks_x;              // blocks of 8 x 8 samples
  int64_t chroma_blocks_y, chroma_blocks_x;
  bool smooth;  // libjpeg's "fancy" upsampling; it repeats samples instead when a row has one or two of them
};

static inline JpegGeometry jpeg_geometry(int64_t height, int64_t width, int32_t subsampling) {
  JpegGeometry g;
  g.height = height;
  g.width = width;
  g.factor_y = subsampling == kJpeg420 ? 2 : 1;
  g.factor_x = subsampling == kJpeg444 ? 1 : 2;
  g.chroma_height = (height + g.factor_y - 1) / g.factor_y;
  g.chroma_width = (width + g.factor_x - 1) / g.factor_x;
  g.luma_blocks_y = (height + 7) / 8;
  g.luma_blocks_x = (width + 7) / 8;
  g.chroma_blocks_y = (g.chroma_height + 7) / 8;
  g.chroma_blocks_x = (g.chroma_width + 7) / 8;
  g.smooth = g.factor_x == 2 && g.chroma_width > 2;
  return g;
}

// src and dst may be the same memory.
Status libjpeg_image(float quality, const JpegGeometry& geometry, ConstImage src, Image dst);
Status diffjpeg_image(const JpegParams& params, int64_t item, ConstImage src, Image dst);

// dst = gradient with respect to src of <grad, diffjpeg(src)>. dst overlaps neither src nor grad.
Status diffjpeg_adjoint(const JpegParams& params, int64_t item, ConstImage src, ConstImage grad, Image dst);

}  // namespace PYD_ISA
}  // namespace pyd

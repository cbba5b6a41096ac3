// Which items of jpeg are legal, for every processor.
#pragma once

#include "core/rows.h"
#include "math/hd.h"
#include "ops/jpeg/fields.h"

namespace pyd {

PYD_HD bool is_differentiable(int32_t mode) { return mode == kJpegDiffjpeg || mode == kJpegDiffjpegBasicsr; }

PYD_HD const char* jpeg_fault(const JpegParams& params, int64_t item, const Size& src, const Size&) {
  const int32_t mode = params.mode[item], subsampling = params.subsampling[item];
  if (mode == kJpegOff) return nullptr;
  if (mode < kJpegOff || mode > kJpegDiffjpegBasicsr) return "mode";
  if (src.channels != 3) return "number of channels";
  const float quality = params.quality[item];
  if (!(quality >= 1.0f && quality <= 100.0f)) return "quality";
  return subsampling < kJpeg444 || subsampling > kJpeg411 ? "subsampling" : nullptr;
}

}  // namespace pyd

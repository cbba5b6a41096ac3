// Which items of noise are legal, for every processor.
#pragma once

#include "core/rows.h"
#include "math/place.h"
#include "ops/noise/fields.h"

namespace pyd {

PYD_HD const char* noise_fault(const NoiseParams& params, int64_t item, const Size& src, const Size&) {
  const int32_t kind = params.kind[item];
  if (kind < kNoiseOff || kind > kNoiseShotRead) return "kind";
  if (!fits_counter(src.height, src.width)) return "size of the image";
  if (params.gray[item] != 0 && src.channels != 3) return "gray";
  if (kind == kNoiseCorrelated && (src.channels != 3 || !params.matrix.given())) return "matrix";
  return kind == kNoisePoisson && !params.poisson_tables.given() ? "poisson_tables" : nullptr;
}

}  // namespace pyd

// What the recorder tells the kernels.
#pragma once

#include "cuda/filter.h"

namespace pyd {

struct SharpenRow {
  Picture src;
  Place dst;
  Place line;      // taps floats
  Place residual;  // floats
  Place mask;      // bytes, 0 or 1
  RollingTiles tiles;
  int32_t taps;
  float weight, threshold_8bit;
  int32_t unused;
};

}  // namespace pyd

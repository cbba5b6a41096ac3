// What the recorder tells the kernels.
#pragma once

#include "cuda/filter.h"

namespace pyd {

struct BlurRow {
  Picture src;
  Place dst;
  Place weights;
  int32_t path, size_px;
  int32_t border;  // BlurBorder
  int32_t tiles_y, tiles_x;
  int32_t unused;
};

}  // namespace pyd

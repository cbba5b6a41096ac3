// What the recorder tells the kernels.
#pragma once

#include "cuda/program.h"
#include "ops/rain/math.h"

namespace pyd {

struct RainRow {
  Picture src;
  Place dst;
  RainShape shape;
};

}  // namespace pyd

// What the recorder tells the kernel.
#pragma once

#include "cuda/program.h"

namespace pyd {

struct VignetteRow {
  Picture src;
  Place dst;
  float strength;
  int32_t unused;
};

}  // namespace pyd

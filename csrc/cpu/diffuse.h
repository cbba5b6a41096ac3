// Few levels with diffused errors.
#pragma once

#include <cstdint>

namespace pyd {

// How the error of a value is shared out; the order of pydegrade/ops/quantize.py.
enum Diffusion : int32_t {
  kFloydSteinberg = 0,
  kAtkinson = 1,
  kJarvis = 2,
  kDiffusions,
};

struct DiffuseArgs {
  int64_t channels, height, width;
  int32_t diffusion;
  float top;         // the highest level; the lowest is 0
  const float* src;  // [channels, height, width] in [0, 1]
  float* dst;        // whole levels
};

}  // namespace pyd

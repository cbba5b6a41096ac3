// What the recorder tells the kernels.
#pragma once

#include "cuda/program.h"

namespace pyd {

struct NoiseRow {
  Picture src;
  Place dst;
  Place seen;  // Poisson: 8 words, one bit for every 8-bit level of the image
  int32_t kind, gray;
  float sigma, gain;
  uint32_t key[4];
  float matrix[9];
  int32_t unused;
};
constexpr int32_t kLevelsPerBlock = 16384;  // px

}  // namespace pyd

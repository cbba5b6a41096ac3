// Noise from a counter: every field a function of a key and a place.
#pragma once

#include "core/fields.h"
#include "math/poisson.h"

namespace pyd {

enum NoiseKind : int32_t {
  kNoiseOff = 0,
  kNoiseGaussian = 1,
  kNoisePoisson = 2,
  kNoiseCorrelated = 3,  // Gaussian, correlated between channels
  kNoiseSpeckle = 4,     // Gaussian, proportional to the image
  kNoiseUniform = 5,
  kNoiseSaltPepper = 6,  // values that become 0 or 1
  kNoiseShotRead = 7,    // Gaussian, its variance linear in the image
};

#define PYD_NOISE_FIELDS(X)                                                                                     \
  X(const int32_t, kind, per_item(), "NoiseKind")                                                               \
  X(const float, sigma, per_item(), "standard deviation, 1 = full range")                                       \
  X(const float, gain, per_item(),                                                                              \
    "Poisson: multiplies the noise; salt and pepper: share of values; shot and read: variance of a value of 1") \
  X(const int32_t, gray, per_item(), "1: one field for all channels")                                           \
  X(const float, matrix, per_item(9).or_none(), "correlated: noise = matrix * normals, 1 = full range")         \
  X(const uint32_t, key, per_item(4), "the image's derived words o0..o3, o3 already combined with the slot")    \
  X(const uint32_t, poisson_tables, shared_by_items(kPoissonWords).or_none(), "from poisson_tables(), for Poisson items")
PYD_PARAMS(NoiseParams, PYD_NOISE_FIELDS)

}  // namespace pyd

#define PYD_KERNELS_noise \
  X(levels, 256, 0)       \
  X(noise, 128, 0)

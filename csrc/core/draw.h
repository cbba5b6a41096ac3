// Random words for the host: named draws, derived keys, and the tables of the Poisson sampler.
#pragma once

#include <cstdint>

namespace pyd {

// out[i * draws + j] = uniform in [0, 1) of named draw j of sample i (layout in pydegrade/rng.py).
void philox_uniform(uint32_t seed_lo, uint32_t seed_hi, const int64_t* indices, int64_t count, const uint32_t* hash,
                    const uint32_t* draw, int64_t draws, double* out);

// out[i] = Philox4x32-10 of key[i] (2 words) and counter[i] (4 words).
void philox_words(int64_t count, const uint32_t* key, const uint32_t* counter, uint32_t* out);

// The kPoissonWords words of math/poisson.h, made at the first call and kept: 2.3 MB, about 20 ms.
const uint32_t* shared_poisson_tables();

}  // namespace pyd

// Philox4x32-10: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once

#include "math/hd.h"

struct Philox4 {
  uint32_t w[4];
};

PYD_HD Philox4 philox4x32_10(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// 53 bits of two words as a double in [0, 1).
PYD_HD double philox_uniform53(uint32_t high, uint32_t low) {
  return ((high >> 5) * 67108864.0 + (low >> 6)) * (1.0 / 9007199254740992.0);
}

// Word 3 of a named draw: the top bit separates it from the counters of image keys (see pydegrade/rng.py).
constexpr uint32_t kPhiloxNamedDraw = 0x80000000u;

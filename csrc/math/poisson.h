// Poisson counts from one random word by alias tables (Walker 1977, Vose 1991).
//
// Rates are q / 255 * V with q = 0..255 and V = 2^v, v = 0..8, so there are 9 x 256 of them. Table (v, q) has 256 entries
// `threshold << 8 | alias`, counted from a first count lo(v, q): within 128 of the rate, more than 8 standard deviations.
#pragma once

#include "math/hd.h"

constexpr int64_t kPoissonEntries = 9 * 256 * 256;
constexpr int64_t kPoissonWords = kPoissonEntries + 9 * 256;  // the entries, then lo

// lo(v, q) = max(0, floor(q / 255 * 2^v) - 128). The quotient by 255 of a number up to 2^16 is (257 n + 257) / 2^16.
PYD_HD uint32_t poisson_first(uint32_t v, uint32_t q) {
  const uint32_t mode = (257 * (q << v) + 257) >> 16;
  return mode > 128 ? mode - 128 : 0;
}

PYD_HD uint32_t poisson_count(const uint32_t* tables, uint32_t v, uint32_t q, uint32_t word) {
  const uint32_t bin = word >> 24;
  const uint32_t row = v * 256 + q;
  const uint32_t entry = tables[row * 256 + bin];
  const uint32_t chosen = (word & 0x00FFFFFFu) < (entry >> 8) ? bin : entry & 0xFFu;
  return tables[kPoissonEntries + row] + chosen;
}

#include "core/draw.h"

#include <atomic>
#include <memory>

#include "core/pool.h"
#include "math/philox.h"
#include "math/poisson.h"

namespace pyd {
namespace {

constexpr int64_t kRowsPerTask = 256;
constexpr int kBins = 256;

// One alias table. The probabilities follow from p(k + 1) = p(k) rate / (k + 1), started at the mode and normalised by
// their sum: + * / alone, so the tables are the same on every machine. What lies outside the window is below 1e-14.
void alias_table(double rate, uint32_t* entries, uint32_t* first_count) {
  const int mode = static_cast<int>(rate);
  const int first = mode > kBins / 2 ? mode - kBins / 2 : 0;
  double p[kBins];
  p[mode - first] = 1.0;
  for (int k = mode - first; k + 1 < kBins; ++k) p[k + 1] = p[k] * rate / (first + k + 1);
  for (int k = mode - first; k > 0; --k) p[k - 1] = p[k] * (first + k) / rate;
  double sum = 0.0;
  for (int k = 0; k < kBins; ++k) sum += p[k];
  for (int k = 0; k < kBins; ++k) p[k] = p[k] / sum * kBins;

  // Vose's method: every bin keeps a share of itself and gives the rest to one alias.
  int small[kBins], large[kBins];
  int smalls = 0, larges = 0;
  for (int k = kBins - 1; k >= 0; --k) {
    if (p[k] < 1.0) small[smalls++] = k;
    else large[larges++] = k;
  }
  auto store = [&](int bin, double share, int alias) {
    double threshold = share * 16777216.0 + 0.5;
    if (threshold > 16777215.0) threshold = 16777215.0;
    entries[bin] = static_cast<uint32_t>(threshold) << 8 | static_cast<uint32_t>(alias);
  };
  while (smalls > 0 && larges > 0) {
    const int bin = small[--smalls];
    const int donor = large[larges - 1];
    store(bin, p[bin], donor);
    p[donor] = (p[donor] + p[bin]) - 1.0;
    if (p[donor] < 1.0) {
      --larges;
      small[smalls++] = donor;
    }
  }
  while (larges > 0) {
    const int bin = large[--larges];
    store(bin, 1.0, bin);
  }
  while (smalls > 0) {
    const int bin = small[--smalls];
    store(bin, 1.0, bin);
  }
  *first_count = static_cast<uint32_t>(first);
}

}  // namespace

void philox_uniform(uint32_t seed_lo, uint32_t seed_hi, const int64_t* indices, int64_t count, const uint32_t* hash,
                    const uint32_t* draw, int64_t draws, double* out) {
  parallel_for((count + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t block) {
    const int64_t end = (block + 1) * kRowsPerTask < count ? (block + 1) * kRowsPerTask : count;
    for (int64_t row = block * kRowsPerTask; row < end; ++row) {
      const uint64_t index = static_cast<uint64_t>(indices[row]);
      double* PYD_RESTRICT values = out + row * draws;
      for (int64_t j = 0; j < draws; ++j) {
        const Philox4 words = philox4x32_10(seed_lo, seed_hi, static_cast<uint32_t>(index),
                                            static_cast<uint32_t>(index >> 32), hash[j], kPhiloxNamedDraw | draw[j]);
        values[j] = philox_uniform53(words.w[0], words.w[1]);
      }
    }
  });
}

void philox_words(int64_t count, const uint32_t* key, const uint32_t* counter, uint32_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t* c = counter + 4 * i;
    const Philox4 words = philox4x32_10(key[2 * i], key[2 * i + 1], c[0], c[1], c[2], c[3]);
    for (int j = 0; j < 4; ++j) out[4 * i + j] = words.w[j];
  }
}

const uint32_t* shared_poisson_tables() {
  // Without a lock, which a child that was forked meanwhile would wait for: who comes second throws its own away.
  static std::atomic<uint32_t*> shared{nullptr};
  uint32_t* found = shared.load(std::memory_order_acquire);
  if (found != nullptr) return found;
  auto made = std::make_unique<uint32_t[]>(kPoissonWords);
  for (int v = 0; v < 9; ++v) {
    for (int q = 0; q < 256; ++q) {
      const int row = v * 256 + q;
      alias_table(q / 255.0 * (1 << v), made.get() + row * kBins, made.get() + kPoissonEntries + row);
    }
  }
  return shared.compare_exchange_strong(found, made.get(), std::memory_order_acq_rel) ? made.release() : found;
}

}  // namespace pyd

// Philox of one build, of one block at a time and in vectors of sixteen. Reads lines of counter (4 words) and key (2
// words), in hexadecimal; prints for each the four words of every way to make them, one way a line.
//
// Compiled by tests/test_philox.py for every instruction set, and with PYD_EMULATED as what a CUDA kernel calls.

#include <cinttypes>
#include <cstdio>

#if defined(PYD_EMULATED)
#include "cuda/platform.h"
#endif
#include "math/philox.h"

#if defined(PYD_ISA)
#include "ops/noise/philox_lanes.h"
#endif

namespace {

void print(const char* way, const uint32_t w[4]) {
  printf("%s %08" PRIx32 " %08" PRIx32 " %08" PRIx32 " %08" PRIx32 "\n", way, w[0], w[1], w[2], w[3]);
}

}  // namespace

int main() {
  uint32_t c[4], k[2];
  while (scanf("%" SCNx32 "%" SCNx32 "%" SCNx32 "%" SCNx32 "%" SCNx32 "%" SCNx32, c, c + 1, c + 2, c + 3, k, k + 1) == 6) {
    print("one", philox4x32_10(k[0], k[1], c[0], c[1], c[2], c[3]).w);
#if defined(PYD_ISA)
    // The counter in each of the sixteen places of the vectors.
    for (int place = 0; place < pyd::PYD_ISA::kBlocks; ++place) {
      uint32_t words[4][pyd::PYD_ISA::kBlocks];
      const uint32_t first = c[0] - static_cast<uint32_t>(pyd::PYD_ISA::block_at(place));
      pyd::PYD_ISA::philox_blocks(k[0], k[1], first, c[1], c[2], c[3], words);
      const uint32_t made[4] = {words[0][place], words[1][place], words[2][place], words[3][place]};
      print("lanes", made);
    }
#endif
  }
  return 0;
}

// Vectors as wide as the instruction set's registers, and the transposition between rows of samples and lanes of blocks.
// Written with the vector extensions of GCC and Clang, so that one text serves every instruction set.
#pragma once

#include "math/hd.h"

namespace pyd {
namespace PYD_ISA {
namespace {

// Blocks of 8 x 8 are transformed sixteen at a time: sample k of block b stands in lane b of vector k.
constexpr int kGroupBlocks = 16;
constexpr int kGroupWidth = 8 * kGroupBlocks;  // samples in one row of a group

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef int32_t Int32Lanes __attribute__((vector_size(4 * kLanes)));
typedef float FloatLanes __attribute__((vector_size(4 * kLanes)));
typedef uint8_t ByteLanes __attribute__((vector_size(kLanes)));
typedef uint8_t Bytes16 __attribute__((vector_size(16)));

template <typename V>
static inline __attribute__((always_inline)) void load(const void* from, V& vector) {
  memcpy(&vector, from, sizeof vector);
}
template <typename V>
static inline __attribute__((always_inline)) void store(void* to, const V& vector) {
  memcpy(to, &vector, sizeof vector);
}

// a0 b0 a1 b1 .. and the same of the upper halves.
static inline __attribute__((always_inline)) void interleave(Bytes16& a, Bytes16& b) {
#if defined(__clang__) || __GNUC__ >= 12
  const Bytes16 low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const Bytes16 high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#else
  const Bytes16 low = __builtin_shuffle(a, b, Bytes16{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
  const Bytes16 high = __builtin_shuffle(a, b, Bytes16{8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});
#endif
  a = low;
  b = high;
}

// One row of a group, 128 samples, as a 16 x 8 matrix (block, sample) -> sample k of all blocks in out + 16 k.
//
// The position of a byte has seven bits: three say which of eight vectors, four where in it. Interleaving two vectors that
// differ in one vector bit moves that bit to the end of the inner ones and the first inner bit into its place, so four
// rounds turn (b3 b2 b1 | b0 s2 s1 s0) into (s0 s2 s1 | b3 b2 b1 b0), three turn (s2 s1 s0 | b3 b2 b1 b0) back.
static inline __attribute__((always_inline)) void row_to_lanes(const uint8_t* row, uint8_t* out) {
  Bytes16 v[8];
  for (int i = 0; i < 8; ++i) load(row + 16 * i, v[i]);
  for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4]);
  for (int i = 0; i < 8; i += 4) interleave(v[i], v[i + 2]), interleave(v[i + 1], v[i + 3]);
  for (int i = 0; i < 8; i += 2) interleave(v[i], v[i + 1]);
  for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4]);
  constexpr int kSample[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  for (int i = 0; i < 8; ++i) store(out + 16 * kSample[i], v[i]);
}
static inline __attribute__((always_inline)) void lanes_to_row(const uint8_t* lanes, uint8_t* row) {
  Bytes16 v[8];
  for (int i = 0; i < 8; ++i) load(lanes + 16 * i, v[i]);
  for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4]);
  for (int i = 0; i < 8; i += 4) interleave(v[i], v[i + 2]), interleave(v[i + 1], v[i + 3]);
  for (int i = 0; i < 8; i += 2) interleave(v[i], v[i + 1]);
  for (int i = 0; i < 8; ++i) store(row + 16 * i, v[i]);
}

}  // namespace
}  // namespace PYD_ISA
}  // namespace pyd

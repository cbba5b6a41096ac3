// Vectors as wide as the instruction set's registers, and the transposition between rows of samples and lanes of blocks.
// Written with the vector extensions of GCC and Clang, so that one text serves every instruction set.
#pragma once

#if defined(__x86_64__)
// GCC 12 takes the deliberately undefined operands of its own AVX-512 header for mistakes (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

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
typedef uint8_t Bytes16 __attribute__((vector_size(16)));

// The same, wherever it lies in memory and whatever lies there.
typedef int32_t Int32Memory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef float FloatMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef uint8_t BytesMemory __attribute__((vector_size(16), aligned(1), may_alias));

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

// kLanes bytes -> numbers, and sixteen numbers -> bytes, clipped to 0..255.
static inline __attribute__((always_inline)) void load_bytes(const uint8_t* from, Int32Lanes& numbers) {
#if defined(__AVX512F__)
  numbers = (Int32Lanes)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from));
#elif defined(__AVX2__)
  numbers = (Int32Lanes)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from));
#elif defined(__SSE4_1__)
  int32_t four;
  memcpy(&four, from, sizeof four);
  numbers = (Int32Lanes)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
#else
  for (int lane = 0; lane < kLanes; ++lane) numbers[lane] = from[lane];
#endif
}
static inline __attribute__((always_inline)) void clip_to_bytes(const Int32Lanes* numbers, Bytes16& bytes) {
#if defined(__AVX512F__)
  const __m512i positive = _mm512_max_epi32((__m512i)numbers[0], _mm512_setzero_si512());
  bytes = (Bytes16)_mm512_cvtusepi32_epi8(positive);
#elif defined(__AVX2__)
  const __m256i words = _mm256_packs_epi32((__m256i)numbers[0], (__m256i)numbers[1]);
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  bytes = (Bytes16)_mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
#elif defined(__SSE4_1__)
  const __m128i low = _mm_packs_epi32((__m128i)numbers[0], (__m128i)numbers[1]);
  const __m128i high = _mm_packs_epi32((__m128i)numbers[2], (__m128i)numbers[3]);
  bytes = (Bytes16)_mm_packus_epi16(low, high);
#else
  for (int i = 0; i < 16; ++i) {
    const int32_t number = numbers[i / kLanes][i % kLanes];
    bytes[i] = static_cast<uint8_t>(number < 0 ? 0 : (number > 255 ? 255 : number));
  }
#endif
}

// math/color.h on vectors. GCC does not make minimum and maximum instructions of comparisons, and fuses nothing without
// leave to do it everywhere, hence the intrinsics.
struct LaneArithmetic {
  using Float = FloatLanes;
  using Int = Int32Lanes;
  PYD_HD FloatLanes exact_product_add(const FloatLanes& a, float b, const FloatLanes& c) {
#if defined(__AVX512F__)
    return (FloatLanes)_mm512_fmadd_ps((__m512)a, _mm512_set1_ps(b), (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
    return (FloatLanes)_mm256_fmadd_ps((__m256)a, _mm256_set1_ps(b), (__m256)c);
#else
    return a * b + c;
#endif
  }
  PYD_HD FloatLanes clip(const FloatLanes& x) {
    // The maximum of x86 returns its second operand where the first is NaN.
#if defined(__AVX512F__)
    const __m512 positive = _mm512_max_ps((__m512)x, _mm512_setzero_ps());
    return (FloatLanes)_mm512_min_ps(positive, _mm512_set1_ps(255.0f));
#elif defined(__AVX2__)
    return (FloatLanes)_mm256_min_ps(_mm256_max_ps((__m256)x, _mm256_setzero_ps()), _mm256_set1_ps(255.0f));
#elif defined(__SSE4_1__)
    return (FloatLanes)_mm_min_ps(_mm_max_ps((__m128)x, _mm_setzero_ps()), _mm_set1_ps(255.0f));
#else
    const FloatLanes zero = {}, positive = x > zero ? x : zero;
    return positive < 255.0f ? positive : zero + 255.0f;
#endif
  }
  PYD_HD Int32Lanes truncate(const FloatLanes& x) { return __builtin_convertvector(x, Int32Lanes); }
  PYD_HD FloatLanes number(const Int32Lanes& x) { return __builtin_convertvector(x, FloatLanes); }
};

// One row of a group, 128 samples, as a 16 x 8 matrix (block, sample) -> sample k of all blocks in out + 16 k.
//
// The position of a byte has seven bits: three say which of eight vectors, four where in it. Interleaving two vectors that
// differ in one vector bit moves that bit to the end of the inner ones and the first inner bit into its place, so four
// rounds turn (b3 b2 b1 | b0 s2 s1 s0) into (s0 s2 s1 | b3 b2 b1 b0), three turn (s2 s1 s0 | b3 b2 b1 b0) back.
static inline __attribute__((always_inline)) void row_to_lanes(const uint8_t* row, uint8_t* out) {
  Bytes16 v[8];
  for (int i = 0; i < 8; ++i) v[i] = *reinterpret_cast<const BytesMemory*>(row + 16 * i);
  for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4]);
  for (int i = 0; i < 8; i += 4) interleave(v[i], v[i + 2]), interleave(v[i + 1], v[i + 3]);
  for (int i = 0; i < 8; i += 2) interleave(v[i], v[i + 1]);
  for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4]);
  constexpr int kSample[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  for (int i = 0; i < 8; ++i) *reinterpret_cast<BytesMemory*>(out + 16 * kSample[i]) = v[i];
}
static inline __attribute__((always_inline)) void lanes_to_row(Bytes16* v, uint8_t* row) {
  for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4]);
  for (int i = 0; i < 8; i += 4) interleave(v[i], v[i + 2]), interleave(v[i + 1], v[i + 3]);
  for (int i = 0; i < 8; i += 2) interleave(v[i], v[i + 1]);
  for (int i = 0; i < 8; ++i) *reinterpret_cast<BytesMemory*>(row + 16 * i) = v[i];
}

}  // namespace
}  // namespace PYD_ISA
}  // namespace pyd

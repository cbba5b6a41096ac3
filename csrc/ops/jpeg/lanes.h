// What the JPEG loops need of vectors beside core/lanes.h: words and bytes of groups of blocks, the DCT on them, and the
// transposition between rows of samples and lanes of blocks.
#pragma once

#include "core/lanes.h"

namespace pyd {
namespace PYD_ISA {
namespace {

// Blocks of 8 x 8 are transformed a group at a time: sample k of block b stands in lane b of vector k.
constexpr int kGroupBlocks = kWordLanes < 16 ? 16 : kWordLanes;
constexpr int kGroupParts = kGroupBlocks / kWordLanes;
constexpr int kGroupWidth = 8 * kGroupBlocks;  // samples in one row of a group

typedef uint8_t ByteLanes __attribute__((vector_size(kGroupBlocks)));  // one sample of every block of a group

// Part of a group's bytes -> words.
PYD_HD WordLanes words_of(const ByteLanes& bytes, int part) {
#if defined(__AVX512BW__)
  (void)part;
  return (WordLanes)_mm512_cvtepu8_epi16((__m256i)bytes);
#elif defined(__AVX2__)
  (void)part;
  return (WordLanes)_mm256_cvtepu8_epi16((__m128i)bytes);
#elif defined(__SSE4_1__)
  const __m128i zero = _mm_setzero_si128();
  return (WordLanes)(part == 0 ? _mm_unpacklo_epi8((__m128i)bytes, zero) : _mm_unpackhi_epi8((__m128i)bytes, zero));
#else
  WordLanes words;
  for (int lane = 0; lane < kWordLanes; ++lane) words[lane] = bytes[part * kWordLanes + lane];
  return words;
#endif
}

// A group's words -> bytes, clipped to 0..255.
PYD_HD ByteLanes clipped_bytes(const WordLanes* words) {
#if defined(__AVX512BW__)
  return (ByteLanes)_mm512_cvtusepi16_epi8(_mm512_max_epi16((__m512i)words[0], _mm512_setzero_si512()));
#elif defined(__AVX2__)
  const __m256i all = (__m256i)words[0];
  return (ByteLanes)_mm_packus_epi16(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
#elif defined(__SSE4_1__)
  return (ByteLanes)_mm_packus_epi16((__m128i)words[0], (__m128i)words[1]);
#else
  ByteLanes bytes;
  for (int lane = 0; lane < kGroupBlocks; ++lane) {
    const int16_t word = words[lane / kWordLanes][lane % kWordLanes];
    bytes[lane] = static_cast<uint8_t>(word < 0 ? 0 : (word > 255 ? 255 : word));
  }
  return bytes;
#endif
}

// The upper halves of products.
PYD_HD UnsignedWordLanes multiply_high(const UnsignedWordLanes& a, const UnsignedWordLanes& b) {
#if defined(__AVX512BW__)
  return (UnsignedWordLanes)_mm512_mulhi_epu16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (UnsignedWordLanes)_mm256_mulhi_epu16((__m256i)a, (__m256i)b);
#elif defined(__SSE4_1__)
  return (UnsignedWordLanes)_mm_mulhi_epu16((__m128i)a, (__m128i)b);
#else
  UnsignedWordLanes high;
  for (int lane = 0; lane < kWordLanes; ++lane) high[lane] = static_cast<uint16_t>(uint32_t{a[lane]} * b[lane] >> 16);
  return high;
#endif
}

// math/dct8.h on vectors. Pairs and sums have their lanes in an order of their own, which `shifted` undoes.
struct LaneDct {
  using Word = WordLanes;
  struct Pair {
    WordLanes low, high;
  };
  struct Sum {
    Int32Lanes low, high;
    friend inline __attribute__((always_inline)) Sum operator+(const Sum& a, const Sum& b) {
      return {a.low + b.low, a.high + b.high};
    }
    friend inline __attribute__((always_inline)) Sum operator-(const Sum& a, const Sum& b) {
      return {a.low - b.low, a.high - b.high};
    }
    friend inline __attribute__((always_inline)) Sum operator+(const Sum& a, int32_t b) { return {a.low + b, a.high + b}; }
  };

  PYD_HD Pair pair(const WordLanes& first, const WordLanes& second) {
#if defined(__AVX512BW__)
    return {(WordLanes)_mm512_unpacklo_epi16((__m512i)first, (__m512i)second),
            (WordLanes)_mm512_unpackhi_epi16((__m512i)first, (__m512i)second)};
#elif defined(__AVX2__)
    return {(WordLanes)_mm256_unpacklo_epi16((__m256i)first, (__m256i)second),
            (WordLanes)_mm256_unpackhi_epi16((__m256i)first, (__m256i)second)};
#elif defined(__SSE4_1__)
    return {(WordLanes)_mm_unpacklo_epi16((__m128i)first, (__m128i)second),
            (WordLanes)_mm_unpackhi_epi16((__m128i)first, (__m128i)second)};
#else
    return {first, second};
#endif
  }
  PYD_HD Sum dot(const Pair& pair, int16_t a, int16_t b) {
#if defined(__SSE4_1__)
    const int32_t both =
        static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint16_t>(b)) << 16 | static_cast<uint16_t>(a));
#endif
#if defined(__AVX512BW__)
    const __m512i factors = _mm512_set1_epi32(both);
    return {(Int32Lanes)_mm512_madd_epi16((__m512i)pair.low, factors),
            (Int32Lanes)_mm512_madd_epi16((__m512i)pair.high, factors)};
#elif defined(__AVX2__)
    const __m256i factors = _mm256_set1_epi32(both);
    return {(Int32Lanes)_mm256_madd_epi16((__m256i)pair.low, factors),
            (Int32Lanes)_mm256_madd_epi16((__m256i)pair.high, factors)};
#elif defined(__SSE4_1__)
    const __m128i factors = _mm_set1_epi32(both);
    return {(Int32Lanes)_mm_madd_epi16((__m128i)pair.low, factors),
            (Int32Lanes)_mm_madd_epi16((__m128i)pair.high, factors)};
#else
    Sum sum;
    for (int lane = 0; lane < kLanes; ++lane) {
      sum.low[lane] = pair.low[lane] * a + pair.high[lane] * b;
      sum.high[lane] = pair.low[kLanes + lane] * a + pair.high[kLanes + lane] * b;
    }
    return sum;
#endif
  }
  template <int Shift>
  PYD_HD WordLanes shifted(const Sum& sum) {
    const Int32Lanes low = sum.low >> Shift, high = sum.high >> Shift;
#if defined(__AVX512BW__)
    return (WordLanes)_mm512_packs_epi32((__m512i)low, (__m512i)high);
#elif defined(__AVX2__)
    return (WordLanes)_mm256_packs_epi32((__m256i)low, (__m256i)high);
#elif defined(__SSE4_1__)
    return (WordLanes)_mm_packs_epi32((__m128i)low, (__m128i)high);
#else
    WordLanes words;
    for (int lane = 0; lane < kWordLanes; ++lane) {
      words[lane] = static_cast<int16_t>(lane < kLanes ? low[lane] : high[lane - kLanes]);
    }
    return words;
#endif
  }
};

// ---- Transposition

// a0 b0 a1 b1 .. of the lower and of the upper halves of every sixteen bytes.
PYD_HD void interleave(ByteLanes& a, ByteLanes& b) {
#if defined(__AVX512BW__)
  const __m256i low = _mm256_unpacklo_epi8((__m256i)a, (__m256i)b);
  const __m256i high = _mm256_unpackhi_epi8((__m256i)a, (__m256i)b);
#elif defined(__SSE4_1__)
  const __m128i low = _mm_unpacklo_epi8((__m128i)a, (__m128i)b);
  const __m128i high = _mm_unpackhi_epi8((__m128i)a, (__m128i)b);
#else
  ByteLanes low, high;
  for (int lane = 0; lane < 16; ++lane) {
    low[lane] = lane % 2 == 0 ? a[lane / 2] : b[lane / 2];
    high[lane] = lane % 2 == 0 ? a[8 + lane / 2] : b[8 + lane / 2];
  }
#endif
  a = (ByteLanes)low;
  b = (ByteLanes)high;
}

// One row of a group as a matrix (block, sample) <-> sample k of all blocks in v[k].
//
// Sixteen blocks make 128 bytes. The position of a byte has seven bits: three say which of eight vectors, four where in
// it. Interleaving two vectors that differ in one vector bit moves that bit to the end of the inner ones and the first
// inner bit into its place, so four rounds turn (b3 b2 b1 | b0 s2 s1 s0) into (s0 s2 s1 | b3 b2 b1 b0), three turn
// (s2 s1 s0 | b3 b2 b1 b0) back. Groups of 32 blocks do it twice, in the two halves of their vectors.
PYD_HD void row_to_lanes(const uint8_t* row, ByteLanes* out) {
  ByteLanes v[8];
  for (int i = 0; i < 8; ++i) {
#if defined(__AVX512BW__)
    const __m128i* const from = (const __m128i*)(row + 16 * i);
    v[i] = (ByteLanes)_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(from)), _mm_loadu_si128(from + 8), 1);
#else
    v[i] = *reinterpret_cast<const BytesMemory*>(row + 16 * i);
#endif
  }
  for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4]);
  for (int i = 0; i < 8; i += 4) interleave(v[i], v[i + 2]), interleave(v[i + 1], v[i + 3]);
  for (int i = 0; i < 8; i += 2) interleave(v[i], v[i + 1]);
  for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4]);
  for (int s0 = 0; s0 < 2; ++s0) {
    for (int rest = 0; rest < 4; ++rest) out[2 * rest + s0] = v[4 * s0 + rest];
  }
}
PYD_HD void lanes_to_row(ByteLanes* v, uint8_t* row) {
  for (int i = 0; i < 4; ++i) interleave(v[i], v[i + 4]);
  for (int i = 0; i < 8; i += 4) interleave(v[i], v[i + 2]), interleave(v[i + 1], v[i + 3]);
  for (int i = 0; i < 8; i += 2) interleave(v[i], v[i + 1]);
  for (int i = 0; i < 8; ++i) {
#if defined(__AVX512BW__)
    __m128i* const to = (__m128i*)(row + 16 * i);
    _mm_storeu_si128(to, _mm256_castsi256_si128((__m256i)v[i]));
    _mm_storeu_si128(to + 8, _mm256_extracti128_si256((__m256i)v[i], 1));
#else
    *reinterpret_cast<BytesMemory*>(row + 16 * i) = v[i];
#endif
  }
}

}  // namespace
}  // namespace PYD_ISA
}  // namespace pyd

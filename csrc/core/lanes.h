// Vectors as wide as the instruction set's registers, what the JPEG loops need of them, and the transposition between rows
// of samples and lanes of blocks. Written with the vector extensions of GCC and Clang where these suffice, so that most of
// it serves every instruction set.
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

#if defined(__AVX512BW__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kWordLanes = 2 * kLanes;

// Blocks of 8 x 8 are transformed a group at a time: sample k of block b stands in lane b of vector k.
constexpr int kGroupBlocks = kWordLanes < 16 ? 16 : kWordLanes;
constexpr int kGroupParts = kGroupBlocks / kWordLanes;
constexpr int kGroupWidth = 8 * kGroupBlocks;  // samples in one row of a group

typedef int32_t Int32Lanes __attribute__((vector_size(4 * kLanes)));
typedef float FloatLanes __attribute__((vector_size(4 * kLanes)));
typedef int16_t WordLanes __attribute__((vector_size(2 * kWordLanes)));
typedef uint16_t UnsignedWordLanes __attribute__((vector_size(2 * kWordLanes)));
typedef uint8_t ByteLanes __attribute__((vector_size(kGroupBlocks)));  // one sample of every block of a group
typedef uint8_t Bytes16 __attribute__((vector_size(16)));

// The same, wherever it lies in memory and whatever lies there.
typedef float FloatMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int16_t WordMemory __attribute__((vector_size(2 * kWordLanes), aligned(2), may_alias));
typedef uint8_t BytesMemory __attribute__((vector_size(16), aligned(1), may_alias));

// Values and not references: a reference would forget that the memory may be unaligned.
PYD_HD FloatLanes load_floats(const float* from) { return *reinterpret_cast<const FloatMemory*>(from); }
PYD_HD void store_floats(float* to, FloatLanes values) { *reinterpret_cast<FloatMemory*>(to) = values; }
PYD_HD WordLanes load_words(const int16_t* from) { return *reinterpret_cast<const WordMemory*>(from); }
PYD_HD void store_words(int16_t* to, WordLanes values) { *reinterpret_cast<WordMemory*>(to) = values; }

// ---- Bytes and numbers

// kLanes bytes -> numbers.
PYD_HD Int32Lanes load_bytes(const uint8_t* from) {
#if defined(__AVX512BW__)
  return (Int32Lanes)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from));
#elif defined(__AVX2__)
  return (Int32Lanes)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from));
#elif defined(__SSE4_1__)
  int32_t four;
  memcpy(&four, from, sizeof four);
  return (Int32Lanes)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
#else
  Int32Lanes numbers;
  for (int lane = 0; lane < kLanes; ++lane) numbers[lane] = from[lane];
  return numbers;
#endif
}

// Sixteen numbers 0..255 -> bytes.
PYD_HD Bytes16 bytes_of(const Int32Lanes* numbers) {
#if defined(__AVX512BW__)
  return (Bytes16)_mm512_cvtepi32_epi8((__m512i)numbers[0]);
#elif defined(__AVX2__)
  const __m256i words = _mm256_packs_epi32((__m256i)numbers[0], (__m256i)numbers[1]);
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  return (Bytes16)_mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
#elif defined(__SSE4_1__)
  const __m128i low = _mm_packs_epi32((__m128i)numbers[0], (__m128i)numbers[1]);
  const __m128i high = _mm_packs_epi32((__m128i)numbers[2], (__m128i)numbers[3]);
  return (Bytes16)_mm_packus_epi16(low, high);
#else
  Bytes16 bytes;
  for (int i = 0; i < 16; ++i) bytes[i] = static_cast<uint8_t>(numbers[i / kLanes][i % kLanes]);
  return bytes;
#endif
}

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

// ---- Arithmetic

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
    const int32_t both = static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint16_t>(b)) << 16 | static_cast<uint16_t>(a));
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
    return {(Int32Lanes)_mm_madd_epi16((__m128i)pair.low, factors), (Int32Lanes)_mm_madd_epi16((__m128i)pair.high, factors)};
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

// math/color.h on vectors. GCC does not make minimum and maximum instructions of comparisons, and fuses nothing without
// leave to do it everywhere, hence the intrinsics.
struct LaneArithmetic {
  using Float = FloatLanes;
  using Int = Int32Lanes;
  PYD_HD FloatLanes exact_product_add(const FloatLanes& a, float b, const FloatLanes& c) {
#if defined(__AVX512BW__)
    return (FloatLanes)_mm512_fmadd_ps((__m512)a, _mm512_set1_ps(b), (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
    return (FloatLanes)_mm256_fmadd_ps((__m256)a, _mm256_set1_ps(b), (__m256)c);
#else
    return a * b + c;
#endif
  }
  PYD_HD FloatLanes clip(const FloatLanes& x) {
    // The maximum of x86 returns its second operand where the first is NaN.
#if defined(__AVX512BW__)
    const __m512 positive = _mm512_max_ps((__m512)x, _mm512_setzero_ps());
    return (FloatLanes)_mm512_min_ps(positive, _mm512_set1_ps(255.0f));
#elif defined(__AVX2__)
    return (FloatLanes)_mm256_min_ps(_mm256_max_ps((__m256)x, _mm256_setzero_ps()), _mm256_set1_ps(255.0f));
#elif defined(__SSE4_1__)
    return (FloatLanes)_mm_min_ps(_mm_max_ps((__m128)x, _mm_setzero_ps()), _mm_set1_ps(255.0f));
#else
    const FloatLanes zero = {}, limit = zero + 255.0f, positive = x > zero ? x : zero;
    return positive < limit ? positive : limit;
#endif
  }
  PYD_HD Int32Lanes truncate(const FloatLanes& x) { return __builtin_convertvector(x, Int32Lanes); }
  PYD_HD FloatLanes nearest(const FloatLanes& x) {
#if defined(__AVX512BW__)
    return (FloatLanes)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
    return (FloatLanes)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__SSE4_1__)
    return (FloatLanes)_mm_round_ps((__m128)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    return (x + 8388608.0f) - 8388608.0f;
#endif
  }
  PYD_HD FloatLanes floor(const FloatLanes& x) {
#if defined(__AVX512BW__)
    return (FloatLanes)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
    return (FloatLanes)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(__SSE4_1__)
    return (FloatLanes)_mm_round_ps((__m128)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#else
    return __builtin_convertvector(__builtin_convertvector(x, Int32Lanes), FloatLanes);
#endif
  }
};

// Bytes -> float.
PYD_HD FloatLanes load_levels(const uint8_t* from) { return __builtin_convertvector(load_bytes(from), FloatLanes); }

// Calls body(first) for pieces of sixteen px that cover a row of at least sixteen; the last one may overlap its neighbour.
constexpr int64_t kPiece = 16;
constexpr int kPieceVectors = kPiece / kLanes;
template <typename Body>
static inline __attribute__((always_inline)) void for_each_piece(int64_t width, const Body& body) {
  for (int64_t x = 0; x + kPiece <= width; x += kPiece) body(x);
  if (width % kPiece != 0) body(width - kPiece);
}

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

// Vectors as wide as the instruction set's registers: the one place where loops meet intrinsics of arithmetic. Written with
// the vector extensions of GCC and Clang where these suffice, so that most of it serves every instruction set. The lanes of
// sums never mix, so their width changes no result.
//
// Three ways to multiply and add, which differ in the last bit: fused_multiply_add rounds once, multiply_then_add twice.
// loose_multiply_add does whichever is faster, for callers whose results do not depend on it and who say why.
//
// Not Highway, which was tried on the filters: its MulAdd is not fused below AVX2, its levels are not those of the psABI
// (SSE4 and AVX2 there ask for AES), and the loops took as many instructions as these (-5 to +1 per cent).
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
#elif defined(__ARM_NEON)
#include <arm_neon.h>
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

typedef int32_t Int32Lanes __attribute__((vector_size(4 * kLanes)));
typedef float FloatLanes __attribute__((vector_size(4 * kLanes)));
typedef int16_t WordLanes __attribute__((vector_size(2 * kWordLanes)));
typedef uint16_t UnsignedWordLanes __attribute__((vector_size(2 * kWordLanes)));
typedef uint8_t Bytes16 __attribute__((vector_size(16)));

// The same, wherever it lies in memory and whatever lies there.
typedef float FloatMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int16_t WordMemory __attribute__((vector_size(2 * kWordLanes), aligned(2), may_alias));
typedef uint8_t BytesMemory __attribute__((vector_size(16), aligned(1), may_alias));

// Values and not references: a reference would forget that the memory may be unaligned.
PYD_HD FloatLanes load_floats(const float* from) { return *reinterpret_cast<const FloatMemory*>(from); }
PYD_HD void store_floats(float* to, FloatLanes values) { *reinterpret_cast<FloatMemory*>(to) = values; }
// For one that is used several times and stays in its register: the compiler must not read it from memory for every use.
PYD_HD FloatLanes load_floats_once(const float* from) {
  FloatLanes values = load_floats(from);
#if defined(PYD_EMULATED_AVX512)
  // Two registers hold what is one elsewhere.
#elif defined(__AVX512F__)
  __asm__("" : "+v"(values));
#elif defined(__x86_64__)
  __asm__("" : "+x"(values));
#elif defined(__ARM_NEON)
  __asm__("" : "+w"(values));
#endif
  return values;
}
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

// ---- Arithmetic

// a b + c, rounded once.
PYD_HD FloatLanes fused_multiply_add(const FloatLanes& a, const FloatLanes& b, const FloatLanes& c) {
#if defined(__AVX512BW__)
  return (FloatLanes)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
  return (FloatLanes)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
  return (FloatLanes)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  FloatLanes sum;
  for (int lane = 0; lane < kLanes; ++lane) sum[lane] = pyd_fma(a[lane], b[lane], c[lane]);
  return sum;
#endif
}
PYD_HD FloatLanes fused_multiply_add(const FloatLanes& a, float b, const FloatLanes& c) {
  return fused_multiply_add(a, b - FloatLanes{}, c);
}

// a b + c, rounded after each of both; for vectors of any type.
template <typename Lanes, typename Factor>
PYD_HD Lanes multiply_then_add(const Lanes& a, Factor b, const Lanes& c) {
  return a * b + c;
}

// a b + c, rounded once or twice.
PYD_HD FloatLanes loose_multiply_add(const FloatLanes& a, float b, const FloatLanes& c) {
#if defined(__FMA__) || defined(__ARM_NEON)
  return fused_multiply_add(a, b, c);
#else
  return multiply_then_add(a, b, c);
#endif
}

// math/color.h on vectors. GCC does not make minimum and maximum instructions of comparisons, and fuses nothing without
// leave to do it everywhere, hence the intrinsics.
struct LaneArithmetic {
  using Float = FloatLanes;
  using Int = Int32Lanes;
  // Where the product is exact both ways give the same.
  PYD_HD FloatLanes exact_product_add(const FloatLanes& a, float b, const FloatLanes& c) {
    return loose_multiply_add(a, b, c);
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

// ---- Transposition

// Rows of a kLanes x kLanes matrix -> its columns.
PYD_HD void transpose_lanes(FloatLanes* v) {
#if defined(__AVX512BW__)
  FloatLanes w[16];
#pragma GCC unroll 4
  for (int k = 0; k < 16; k += 4) {
    const __m512 a = _mm512_unpacklo_ps((__m512)v[k], (__m512)v[k + 1]);
    const __m512 b = _mm512_unpackhi_ps((__m512)v[k], (__m512)v[k + 1]);
    const __m512 c = _mm512_unpacklo_ps((__m512)v[k + 2], (__m512)v[k + 3]);
    const __m512 d = _mm512_unpackhi_ps((__m512)v[k + 2], (__m512)v[k + 3]);
    w[k] = (FloatLanes)_mm512_unpacklo_pd((__m512d)a, (__m512d)c);
    w[k + 1] = (FloatLanes)_mm512_unpackhi_pd((__m512d)a, (__m512d)c);
    w[k + 2] = (FloatLanes)_mm512_unpacklo_pd((__m512d)b, (__m512d)d);
    w[k + 3] = (FloatLanes)_mm512_unpackhi_pd((__m512d)b, (__m512d)d);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512 a = _mm512_shuffle_f32x4((__m512)w[c], (__m512)w[c + 4], 0x88);
    const __m512 b = _mm512_shuffle_f32x4((__m512)w[c], (__m512)w[c + 4], 0xdd);
    const __m512 d = _mm512_shuffle_f32x4((__m512)w[c + 8], (__m512)w[c + 12], 0x88);
    const __m512 e = _mm512_shuffle_f32x4((__m512)w[c + 8], (__m512)w[c + 12], 0xdd);
    v[c] = (FloatLanes)_mm512_shuffle_f32x4(a, d, 0x88);
    v[c + 4] = (FloatLanes)_mm512_shuffle_f32x4(b, e, 0x88);
    v[c + 8] = (FloatLanes)_mm512_shuffle_f32x4(a, d, 0xdd);
    v[c + 12] = (FloatLanes)_mm512_shuffle_f32x4(b, e, 0xdd);
  }
#elif defined(__AVX2__)
  FloatLanes w[8];
#pragma GCC unroll 2
  for (int k = 0; k < 8; k += 4) {
    const __m256 a = _mm256_unpacklo_ps((__m256)v[k], (__m256)v[k + 1]);
    const __m256 b = _mm256_unpackhi_ps((__m256)v[k], (__m256)v[k + 1]);
    const __m256 c = _mm256_unpacklo_ps((__m256)v[k + 2], (__m256)v[k + 3]);
    const __m256 d = _mm256_unpackhi_ps((__m256)v[k + 2], (__m256)v[k + 3]);
    w[k] = (FloatLanes)_mm256_unpacklo_pd((__m256d)a, (__m256d)c);
    w[k + 1] = (FloatLanes)_mm256_unpackhi_pd((__m256d)a, (__m256d)c);
    w[k + 2] = (FloatLanes)_mm256_unpacklo_pd((__m256d)b, (__m256d)d);
    w[k + 3] = (FloatLanes)_mm256_unpackhi_pd((__m256d)b, (__m256d)d);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    v[c] = (FloatLanes)_mm256_permute2f128_ps((__m256)w[c], (__m256)w[c + 4], 0x20);
    v[c + 4] = (FloatLanes)_mm256_permute2f128_ps((__m256)w[c], (__m256)w[c + 4], 0x31);
  }
#else
  const FloatLanes a = v[0], b = v[1], c = v[2], d = v[3];
  for (int column = 0; column < 4; ++column) v[column] = FloatLanes{a[column], b[column], c[column], d[column]};
#endif
}

// columns[x * kLanes + r] = rows[r][x]
static inline __attribute__((unused)) void rows_to_columns(const float* const* rows, int64_t width, float* columns) {
  int64_t x = 0;
  for (; x + kLanes <= width; x += kLanes) {
    FloatLanes block[kLanes];
    for (int r = 0; r < kLanes; ++r) block[r] = load_floats(rows[r] + x);
    transpose_lanes(block);
    for (int r = 0; r < kLanes; ++r) store_floats(columns + (x + r) * kLanes, block[r]);
  }
  for (; x < width; ++x) {
    for (int r = 0; r < kLanes; ++r) columns[x * kLanes + r] = rows[r][x];
  }
}

// ---- Pieces

// Calls body(first) for pieces of sixteen px that cover a row of at least sixteen; the last one may overlap its neighbour.
constexpr int64_t kPiece = 16;
constexpr int kPieceVectors = kPiece / kLanes;
template <typename Body>
static inline __attribute__((always_inline)) void for_each_piece(int64_t width, const Body& body) {
  for (int64_t x = 0; x + kPiece <= width; x += kPiece) body(x);
  if (width % kPiece != 0) body(width - kPiece);
}

}  // namespace
}  // namespace PYD_ISA
}  // namespace pyd

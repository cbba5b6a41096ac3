// Philox4x32-10 (math/philox.h) for sixteen counters that follow each other, in as few vectors as the instruction set has
// room for.
#pragma once

#include "core/lanes.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int kBlocks = 16;
constexpr int kBlockVectors = kBlocks / kLanes;

typedef uint32_t Uint32Lanes __attribute__((vector_size(4 * kLanes)));

// 32 x 32 -> 64 bits. Processors multiply the lower halves of 64-bit lanes: once for the even numbers, once for the odd
// ones; the halves of the products then change places.
PYD_HD void multiply_wide(const Uint32Lanes& a, uint32_t b, Uint32Lanes* high, Uint32Lanes* low) {
#if defined(__AVX512BW__)
  const __m512i factor = _mm512_set1_epi32(static_cast<int32_t>(b));
  const __m512i even = _mm512_mul_epu32((__m512i)a, factor);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), factor);
  *high = (Uint32Lanes)_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_CDAB);
  *low = (Uint32Lanes)_mm512_mask_shuffle_epi32(even, 0xaaaa, odd, _MM_PERM_CDAB);
#elif defined(__AVX2__)
  const __m256i factor = _mm256_set1_epi32(static_cast<int32_t>(b));
  const __m256i even = _mm256_mul_epu32((__m256i)a, factor);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), factor);
  *high = (Uint32Lanes)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  *low = (Uint32Lanes)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
#elif defined(__SSE4_1__)
  const __m128i factor = _mm_set1_epi32(static_cast<int32_t>(b));
  const __m128i even = _mm_mul_epu32((__m128i)a, factor);
  const __m128i odd = _mm_mul_epu32(_mm_srli_epi64((__m128i)a, 32), factor);
  *high = (Uint32Lanes)_mm_blend_epi16(_mm_srli_epi64(even, 32), odd, 0xcc);
  *low = (Uint32Lanes)_mm_blend_epi16(even, _mm_slli_epi64(odd, 32), 0xcc);
#else
  for (int lane = 0; lane < kLanes; ++lane) {
    const uint64_t product = uint64_t{b} * a[lane];
    (*high)[lane] = static_cast<uint32_t>(product >> 32);
    (*low)[lane] = static_cast<uint32_t>(product);
  }
#endif
}

// Which of the sixteen blocks stands in a place of the arrays below. In this order `interleave` moves nothing between the
// 128-bit parts of a vector, which takes long.
constexpr int block_at(int place) { return place / kLanes * kLanes + kLanes / 4 * (place % 4) + place % kLanes / 4; }

// words[j][place] = word j of the block with counter (c0 + block_at(place), c1, c2, c3).
PYD_HD void philox_blocks(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                          uint32_t words[4][kBlocks]) {
  Uint32Lanes x0[kBlockVectors], x1[kBlockVectors], x2[kBlockVectors], x3[kBlockVectors];
  for (int v = 0; v < kBlockVectors; ++v) {
    for (int lane = 0; lane < kLanes; ++lane) x0[v][lane] = c0 + static_cast<uint32_t>(block_at(v * kLanes + lane));
    x1[v] = c1 - Uint32Lanes{};
    x2[v] = c2 - Uint32Lanes{};
    x3[v] = c3 - Uint32Lanes{};
  }
  for (int round = 0; round < 10; ++round) {
    for (int v = 0; v < kBlockVectors; ++v) {
      Uint32Lanes high0, low0, high1, low1;
      multiply_wide(x0[v], 0xD2511F53u, &high0, &low0);
      multiply_wide(x2[v], 0xCD9E8D57u, &high1, &low1);
      x0[v] = high1 ^ x1[v] ^ k0;
      x2[v] = high0 ^ x3[v] ^ k1;
      x1[v] = low1;
      x3[v] = low0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int v = 0; v < kBlockVectors; ++v) {
    memcpy(words[0] + v * kLanes, &x0[v], sizeof x0[v]);
    memcpy(words[1] + v * kLanes, &x1[v], sizeof x1[v]);
    memcpy(words[2] + v * kLanes, &x2[v], sizeof x2[v]);
    memcpy(words[3] + v * kLanes, &x3[v], sizeof x3[v]);
  }
}

// out[4 block_at(place) + j] = in[j][place]: numbers of four words per block, in the order of the pixels.
template <typename Number>
PYD_HD void interleave(const Number in[4][kBlocks], Number out[4 * kBlocks]) {
  static_assert(sizeof(Number) == 4, "32-bit lanes");
#if defined(__AVX512BW__)
  const __m512i a = _mm512_loadu_si512(in[0]), b = _mm512_loadu_si512(in[1]);
  const __m512i c = _mm512_loadu_si512(in[2]), d = _mm512_loadu_si512(in[3]);
  const __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
  _mm512_storeu_si512(out, _mm512_unpacklo_epi64(ab_low, cd_low));
  _mm512_storeu_si512(out + 16, _mm512_unpackhi_epi64(ab_low, cd_low));
  _mm512_storeu_si512(out + 32, _mm512_unpacklo_epi64(ab_high, cd_high));
  _mm512_storeu_si512(out + 48, _mm512_unpackhi_epi64(ab_high, cd_high));
#elif defined(__AVX2__)
  for (int v = 0; v < kBlockVectors; ++v) {
    auto load = [&](int j) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in[j] + 8 * v)); };
    auto store = [&](int t, __m256i value) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32 * v + 8 * t), value);
    };
    const __m256i a = load(0), b = load(1), c = load(2), d = load(3);
    const __m256i ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
    const __m256i cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);
    store(0, _mm256_unpacklo_epi64(ab_low, cd_low));
    store(1, _mm256_unpackhi_epi64(ab_low, cd_low));
    store(2, _mm256_unpacklo_epi64(ab_high, cd_high));
    store(3, _mm256_unpackhi_epi64(ab_high, cd_high));
  }
#else
  for (int place = 0; place < kBlocks; ++place) {
    for (int j = 0; j < 4; ++j) out[4 * block_at(place) + j] = in[j][place];
  }
#endif
}

// out[i] = table[place[i]]
PYD_HD void gather_words(const uint32_t* table, const int32_t place[kBlocks], uint32_t out[kBlocks]) {
#if defined(__AVX512BW__)
  const __m512i from = _mm512_loadu_si512(place);
  _mm512_storeu_si512(out, _mm512_i32gather_epi32(from, table, 4));
#elif defined(__AVX2__)
  for (int i = 0; i < kBlocks; i += 8) {
    const __m256i from = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(place + i));
    const __m256i values = _mm256_i32gather_epi32(reinterpret_cast<const int*>(table), from, 4);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), values);
  }
#else
  for (int i = 0; i < kBlocks; ++i) out[i] = table[place[i]];
#endif
}

}  // namespace
}  // namespace PYD_ISA
}  // namespace pyd

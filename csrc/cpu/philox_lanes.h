// Philox4x32-10 (math/philox.h) for sixteen counters that follow each other, in as few vectors as the instruction set has
// room for.
#pragma once

#include "cpu/lanes.h"

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

// words[j][l] = word j of the block with counter (c0 + l, c1, c2, c3).
PYD_HD void philox_blocks(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                          uint32_t words[4][kBlocks]) {
  Uint32Lanes x0[kBlockVectors], x1[kBlockVectors], x2[kBlockVectors], x3[kBlockVectors];
  for (int v = 0; v < kBlockVectors; ++v) {
    for (int lane = 0; lane < kLanes; ++lane) x0[v][lane] = c0 + static_cast<uint32_t>(v * kLanes + lane);
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

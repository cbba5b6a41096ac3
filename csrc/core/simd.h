// Vectors of float for the two loops that need registers by name. The lanes never mix, so their width changes no result.
#pragma once

#include "math/hd.h"

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace pyd {
namespace PYD_ISA {

#if defined(__AVX512F__)
constexpr int kVectorFloats = 16;
constexpr int kTileVectors = 5;
#elif defined(__AVX2__)
constexpr int kVectorFloats = 8;
constexpr int kTileVectors = 3;
#else
constexpr int kVectorFloats = 4;
constexpr int kTileVectors = 3;
#endif

typedef float Vector __attribute__((vector_size(4 * kVectorFloats)));
typedef float UnalignedVector __attribute__((vector_size(4 * kVectorFloats), aligned(4), may_alias));

static inline __attribute__((always_inline)) Vector load(const float* from) {
  return *reinterpret_cast<const UnalignedVector*>(from);
}
static inline __attribute__((always_inline)) void store(float* to, Vector value) {
  *reinterpret_cast<UnalignedVector*>(to) = value;
}

// A vector that is used several times stays in its register: the compiler must not read it from memory for every use.
static inline __attribute__((always_inline)) Vector load_once(const float* from) {
  Vector value = load(from);
#if defined(__AVX512F__)
  __asm__("" : "+v"(value));
#elif defined(__x86_64__)
  __asm__("" : "+x"(value));
#elif defined(__ARM_NEON)
  __asm__("" : "+w"(value));
#endif
  return value;
}

// a b + c with one rounding; `-ffp-contract=off` keeps the compiler from making others.
static inline __attribute__((always_inline)) Vector multiply_add(float a, Vector b, Vector c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c);
#elif defined(__AVX2__) && defined(__FMA__)
  return _mm256_fmadd_ps(_mm256_set1_ps(a), b, c);
#elif defined(__ARM_NEON)
  return vfmaq_f32(c, vdupq_n_f32(a), b);
#else
  for (int l = 0; l < kVectorFloats; ++l) c[l] = pyd_fma(a, b[l], c[l]);
  return c;
#endif
}

}  // namespace PYD_ISA
}  // namespace pyd

// What every header in math/ is written with: functions that compile as C++ for each instruction set and as CUDA.
//
// PYD_HD functions have internal linkage, so that the copy compiled for AVX-512 can never be the one the linker keeps for
// a machine without it. Only + - * / sqrt, explicit fma, integers and the functions of elementary.h may be used: this is
// what makes results equal on every instruction set and device.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define PYD_HD static __host__ __device__ __forceinline__
#else
#define PYD_HD static inline __attribute__((always_inline, unused))
#endif
#define PYD_RESTRICT __restrict__

// Before a loop: keeps nvcc from unrolling it, where that would cost more registers than it is worth.
#if defined(__CUDA_ARCH__)
#define PYD_ROLLED _Pragma("unroll 1")
#else
#define PYD_ROLLED
#endif

#if defined(__CUDA_ARCH__)
PYD_HD float pyd_fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
PYD_HD double pyd_fma(double a, double b, double c) { return __fma_rn(a, b, c); }
PYD_HD float pyd_sqrt(float a) { return __fsqrt_rn(a); }
PYD_HD double pyd_sqrt(double a) { return __dsqrt_rn(a); }
#else
#if defined(PYD_EMULATED)
extern int64_t pyd_multiply_adds;  // made in float so far; defined in cuda/emulate.cpp
PYD_HD float pyd_fma(float a, float b, float c) {
  ++pyd_multiply_adds;
  return __builtin_fmaf(a, b, c);
}
#else
PYD_HD float pyd_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#endif
PYD_HD double pyd_fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
PYD_HD float pyd_sqrt(float a) { return __builtin_sqrtf(a); }
PYD_HD double pyd_sqrt(double a) { return __builtin_sqrt(a); }
#endif

PYD_HD uint32_t pyd_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
PYD_HD float pyd_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
PYD_HD uint64_t pyd_bits(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
PYD_HD double pyd_double(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

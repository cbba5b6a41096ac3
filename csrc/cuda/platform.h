// The few words in which kernels are written, so that one source is a CUDA kernel under nvcc and, with PYD_EMULATED, a
// C++ function whose block is run thread by thread (emulate.h). Memory is reached through Shared and Global only: on a
// GPU they are pointers, in the emulator every access is checked.
//
// PYD_KERNEL(name, Row) { ... } defines kernel `name` of PYD_KERNELS (program.h), whose descriptors are Rows. In its body:
// `bases`, `stage`.
#pragma once

#include "cuda/program.h"

#if defined(__CUDACC__)
#define PYD_DEVICE static __device__ __forceinline__
#else
#include "cuda/emulate.h"
#define PYD_DEVICE static inline __attribute__((unused))
#endif

namespace pyd {

struct alignas(16) Float4 {
  float x[4];
};

#if defined(__CUDACC__)

template <typename T>
struct Shared {
  T* data;
  __device__ __forceinline__ T get(int32_t i) const { return data[i]; }
  __device__ __forceinline__ void set(int32_t i, T value) const { data[i] = value; }
  __device__ __forceinline__ Float4 get4(int32_t i) const { return *reinterpret_cast<const Float4*>(data + i); }
  __device__ __forceinline__ void set4(int32_t i, const Float4& value) const {
    *reinterpret_cast<Float4*>(data + i) = value;
  }
  __device__ __forceinline__ void bits_or(int32_t i, T bits) const { atomicOr(data + i, bits); }
  __device__ __forceinline__ void minimum(int32_t i, T value) const { atomicMin(data + i, value); }
  __device__ __forceinline__ void maximum(int32_t i, T value) const { atomicMax(data + i, value); }
};

template <typename T>
struct Global {
  T* data;
  __device__ __forceinline__ T get(int64_t i) const { return data[i]; }
  __device__ __forceinline__ void set(int64_t i, T value) const { data[i] = value; }
  __device__ __forceinline__ Float4 get4(int64_t i) const { return *reinterpret_cast<const Float4*>(data + i); }
  __device__ __forceinline__ void set4(int64_t i, const Float4& value) const {
    *reinterpret_cast<Float4*>(data + i) = value;
  }
  __device__ __forceinline__ bool aligned4(int64_t i) const { return (reinterpret_cast<uintptr_t>(data + i) & 15u) == 0; }
  __device__ __forceinline__ void bits_or(int64_t i, T bits) const { atomicOr(data + i, bits); }
  // `count` elements from i on, for code that writes through plain pointers.
  __device__ __forceinline__ T* raw(int64_t i, int64_t) const { return data + i; }
};

// Memory of the block, from `first_byte` on.
template <typename T>
__device__ __forceinline__ Shared<T> shared_memory(int32_t first_byte, int32_t) {
  extern __shared__ __align__(16) uint8_t pyd_shared[];
  return {reinterpret_cast<T*>(pyd_shared + first_byte)};
}

template <typename T>
__device__ __forceinline__ Global<T> global_memory(const Bases& bases, const Place& place, int64_t) {
  return {reinterpret_cast<T*>(bases.at[place.base] + place.offset)};
}

__device__ __forceinline__ int32_t thread_index() { return static_cast<int32_t>(threadIdx.x); }
__device__ __forceinline__ int32_t block_index() { return static_cast<int32_t>(blockIdx.x); }
__device__ __forceinline__ int32_t count_bits(uint32_t word) { return __popc(word); }
#define PYD_BARRIER() __syncthreads()

#define PYD_KERNEL(name, Row)                                                                                           \
  __global__ void __launch_bounds__(kThreads_##name, kBlocks_##name)                                                    \
      name##_kernel(const __grid_constant__ Bases bases, int64_t stage);                                                \
  int launch_##name(const Bases& bases, const Launch& launch, void* stream) {                                           \
    if (launch.row_bytes != sizeof(Row)) return kAnotherBuild;                                                          \
    /* Above 48 KiB a kernel has to ask; the answer is the same for every call. */                                      \
    if (launch.shared_bytes > 48 * 1024) {                                                                              \
      const cudaError_t asked = cudaFuncSetAttribute(reinterpret_cast<const void*>(name##_kernel),                      \
                                                     cudaFuncAttributeMaxDynamicSharedMemorySize, launch.shared_bytes); \
      if (asked != cudaSuccess) return asked;                                                                           \
    }                                                                                                                   \
    name##_kernel<<<static_cast<uint32_t>(launch.blocks), kThreads_##name, launch.shared_bytes,                         \
                    static_cast<cudaStream_t>(stream)>>>(bases, launch.stage);                                          \
    return cudaGetLastError();                                                                                          \
  }                                                                                                                     \
  __global__ void name##_kernel(const __grid_constant__ Bases bases, int64_t stage)

#else

template <typename T>
using Shared = emulate::Shared<T, Float4>;
template <typename T>
using Global = emulate::Global<T, Float4>;

template <typename T>
static inline Shared<T> shared_memory(int32_t first_byte, int32_t count) {
  return {first_byte, count};
}
template <typename T>
static inline Global<T> global_memory(const Bases& bases, const Place& place, int64_t count) {
  return {bases.at[place.base] + place.offset, place.base, place.offset, count};
}
static inline int32_t thread_index() { return emulate::thread_index(); }
static inline int32_t block_index() { return emulate::block_index(); }
static inline int32_t count_bits(uint32_t word) { return __builtin_popcount(word); }
#define PYD_BARRIER() ::pyd::emulate::barrier(__LINE__)

#define PYD_KERNEL(name, Row)                                                  \
  static void name##_kernel(const Bases& bases, int64_t stage);                \
  int launch_##name(const Bases& bases, const Launch& launch, void*) {         \
    if (launch.row_bytes != sizeof(Row)) return kAnotherBuild;                 \
    return emulate::run(name##_kernel, #name, kThreads_##name, bases, launch); \
  }                                                                            \
  static void name##_kernel(const Bases& bases, int64_t stage)

#endif

// ---- Rows of a stage

template <typename T>
PYD_DEVICE const T* program_memory(const Bases& bases, int64_t offset) {
  return reinterpret_cast<const T*>(bases.at[kBaseProgram] + offset);
}

struct Share {
  int32_t row;
  int32_t block;  // of the blocks that work for this row
};

// Which row this block works for.
PYD_DEVICE Share share_of_block(const Bases& bases, int64_t stage) {
  const Stage* const s = program_memory<Stage>(bases, stage);
  const int32_t* const first_block = program_memory<int32_t>(bases, s->first_block);
  const int32_t block = block_index();
  int32_t low = 0, high = static_cast<int32_t>(s->rows);
  while (high - low > 1) {
    const int32_t middle = (low + high) / 2;
    if (first_block[middle] <= block) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return {low, block - first_block[low]};
}

template <typename Row>
PYD_DEVICE const Row& descriptor(const Bases& bases, int64_t stage, int32_t row) {
  return program_memory<Row>(bases, program_memory<Stage>(bases, stage)->descriptors)[row];
}

PYD_DEVICE int32_t pixels_of(const Picture& picture) { return picture.height * picture.width; }

PYD_DEVICE Global<float> picture_memory(const Bases& bases, const Picture& picture) {
  return global_memory<float>(bases, picture.place, static_cast<int64_t>(picture.channels) * pixels_of(picture));
}
// A picture of the same size elsewhere.
PYD_DEVICE Global<float> picture_memory(const Bases& bases, const Picture& picture, const Place& place) {
  return global_memory<float>(bases, place, static_cast<int64_t>(picture.channels) * pixels_of(picture));
}

PYD_DEVICE int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
PYD_DEVICE int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

}  // namespace pyd

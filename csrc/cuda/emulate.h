// Runs a kernel's blocks on the host, one thread after the other: every thread is a fiber that gives way at barriers, in an
// order drawn from a seed. Shared memory starts poisoned; every access to shared and global memory is checked for bounds,
// for reads of what nobody wrote, and for conflicts between threads that no barrier separates. The first defect ends the
// run with a message. Built for tests only.
#pragma once

#include "cuda/program.h"

namespace pyd {
namespace emulate {

using Kernel = void (*)(const Bases& bases, int64_t stage);

// Runs all blocks of a launch; 0, or 1 after a defect (see message()).
int run(Kernel kernel, const char* name, int32_t threads, const Bases& bases, const Launch& launch);

int32_t thread_index();
int32_t block_index();
void barrier(int32_t line);

// Ends the run: the calling fiber is never resumed.
void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

enum class Access { kRead, kWrite, kAtomic };

// Checks an access of `bytes` bytes and returns where they lie in the block's shared memory.
uint8_t* shared_access(int64_t first_byte, int64_t bytes, Access access);
// The same for memory of a base; `offset` counts from the base.
void global_access(int32_t base, int64_t offset, int64_t bytes, Access access);

template <typename T, typename Four>
struct Shared {
  int32_t first_byte;
  int32_t count;

  uint8_t* at(int32_t i, int32_t elements, Access access) const {
    if (i < 0 || i + elements > count) fail("shared memory: index %d of an array of %d", i, count);
    if (elements == 4 && i % 4 != 0) fail("shared memory: index %d of four floats is not aligned", i);
    return shared_access(first_byte + int64_t{i} * sizeof(T), elements * sizeof(T), access);
  }
  T get(int32_t i) const { return *reinterpret_cast<T*>(at(i, 1, Access::kRead)); }
  void set(int32_t i, T value) const { *reinterpret_cast<T*>(at(i, 1, Access::kWrite)) = value; }
  Four get4(int32_t i) const { return *reinterpret_cast<Four*>(at(i, 4, Access::kRead)); }
  void set4(int32_t i, const Four& value) const { *reinterpret_cast<Four*>(at(i, 4, Access::kWrite)) = value; }
  void bits_or(int32_t i, T bits) const { *reinterpret_cast<T*>(at(i, 1, Access::kAtomic)) |= bits; }
  void minimum(int32_t i, T value) const {
    T& held = *reinterpret_cast<T*>(at(i, 1, Access::kAtomic));
    held = value < held ? value : held;
  }
  void maximum(int32_t i, T value) const {
    T& held = *reinterpret_cast<T*>(at(i, 1, Access::kAtomic));
    held = value > held ? value : held;
  }
};

template <typename T, typename Four>
struct Global {
  uint8_t* data;
  int32_t base;
  int64_t offset;
  int64_t count;

  T* at(int64_t i, int64_t elements, Access access) const {
    if (i < 0 || i + elements > count) {
      fail("memory of base %d: index %lld of an array of %lld", base, static_cast<long long>(i),
           static_cast<long long>(count));
    }
    global_access(base, offset + i * static_cast<int64_t>(sizeof(T)), elements * static_cast<int64_t>(sizeof(T)), access);
    return reinterpret_cast<T*>(data) + i;
  }
  T get(int64_t i) const { return *at(i, 1, Access::kRead); }
  void set(int64_t i, T value) const { *at(i, 1, Access::kWrite) = value; }
  Four get4(int64_t i) const {
    if (!aligned4(i)) fail("memory of base %d: four floats at an address that is not a multiple of 16", base);
    return *reinterpret_cast<Four*>(at(i, 4, Access::kRead));
  }
  void set4(int64_t i, const Four& value) const {
    if (!aligned4(i)) fail("memory of base %d: four floats at an address that is not a multiple of 16", base);
    *reinterpret_cast<Four*>(at(i, 4, Access::kWrite)) = value;
  }
  bool aligned4(int64_t i) const { return (reinterpret_cast<uintptr_t>(reinterpret_cast<T*>(data) + i) & 15u) == 0; }
  void bits_or(int64_t i, T bits) const { *at(i, 1, Access::kAtomic) |= bits; }
  T* raw(int64_t i, int64_t elements) const { return at(i, elements, Access::kWrite); }
};

}  // namespace emulate
}  // namespace pyd

// Per-thread scratch memory for the CPU ops: grows to what the largest image needed, is reused by the next.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyd {

// A stack of blocks. Everything taken while a Scratch object lives is given back when it is destroyed.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // `bytes` bytes aligned to 64, uninitialised; nullptr when memory is exhausted.
  void* take_bytes(size_t bytes);

  template <typename T>
  T* take(int64_t count) {
    return static_cast<T*>(take_bytes(static_cast<size_t>(count) * sizeof(T)));
  }

 private:
  size_t chunk_;
  size_t used_;
};

}  // namespace pyd

// Thread pool of our own: no OpenMP runtime, survives fork, results never depend on the number of threads.
#pragma once

#include <cstdint>

namespace pyd {

// Threads used by parallel_for, the calling one included; >= 1.
void set_num_threads(int threads);
int num_threads();

// Whether the caller runs inside a parallel_for already, so that its own would not spread.
bool inside_parallel();

// Calls body(context, i) for i in [0, count), each once, in any order, on up to num_threads() threads; returns when all
// are done. Inside a body, a nested parallel_for runs on the calling thread.
void parallel_for_raw(int64_t count, void (*body)(void* context, int64_t index), void* context);

namespace {
template <typename Body>
inline void parallel_for(int64_t count, const Body& body) {
  auto call = [](void* context, int64_t index) { (*static_cast<const Body*>(context))(index); };
  parallel_for_raw(count, call, const_cast<void*>(static_cast<const void*>(&body)));
}
}  // namespace

}  // namespace pyd

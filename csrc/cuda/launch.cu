// The door for Python: runs a program on a stream. Queues launches and returns; allocates nothing and waits for nothing, so
// that it can be captured in a CUDA graph.

#include <cuda_runtime.h>

#include <cstdio>

#include "cuda/launch.h"

namespace pyd {
namespace {

using LaunchFunction = int (*)(const Bases& bases, const Launch& launch, void* stream);

constexpr LaunchFunction kLaunchers[kKernelCount] = {
#define X(name, threads, blocks) launch_##name,
    PYD_KERNELS
#undef X
};

}  // namespace
}  // namespace pyd

// program: in host memory; bases: addresses by Base, that of the program on the device. 0, or an error of the CUDA runtime
// with its text in `message`.
extern "C" __attribute__((visibility("default"))) int pyd_run(const void* program, void* const* bases, const int64_t*,
                                                              uint64_t stream, char* message, int64_t message_bytes) {
  using namespace pyd;
  const auto another_build = [&] {
    snprintf(message, static_cast<size_t>(message_bytes),
             "the CUDA kernels belong to another build of pydegrade; build again");
    return kAnotherBuild;
  };
  const auto* header = static_cast<const ProgramHeader*>(program);
  if (header->magic != kProgramMagic) return another_build();
  Bases all;
  for (int32_t base = 0; base < kBaseCount; ++base) all.at[base] = static_cast<uint8_t*>(bases[base]);
  all.at[kBaseScratch] = all.at[kBaseArena] + header->scratch_start;
  const auto* launch = reinterpret_cast<const Launch*>(static_cast<const uint8_t*>(program) + header->first_launch);
  for (int64_t i = 0; i < header->launches; ++i) {
    const int status = kLaunchers[launch[i].kernel](all, launch[i], reinterpret_cast<void*>(stream));
    if (status == kAnotherBuild) return another_build();
    if (status != cudaSuccess) {
      snprintf(message, static_cast<size_t>(message_bytes), "%s", cudaGetErrorString(static_cast<cudaError_t>(status)));
      return status;
    }
  }
  return cudaSuccess;
}

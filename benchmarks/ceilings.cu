// What a GPU can do at most, measured beside the kernels: multiply-adds and launches. Built by gpu_check.sh.

#include <cuda_runtime.h>

#include <cstdint>

namespace {

constexpr int kChains = 8;  // independent ones per thread, enough to hide the latency of an instruction
constexpr int kSteps = 4096;

__global__ void multiply_add(float* out, float factor) {
  float sum[kChains];
  for (int k = 0; k < kChains; ++k) sum[k] = static_cast<float>(threadIdx.x + k);
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int k = 0; k < kChains; ++k) sum[k] = __fmaf_rn(sum[k], factor, 1.0f);
  }
  float total = 0.0f;
  for (int k = 0; k < kChains; ++k) total += sum[k];
  if (total == 12345.0f) out[0] = total;  // never, but the compiler cannot know
}

__global__ void nothing() {}

}  // namespace

// Milliseconds of `launches` launches that make 2 * kChains * kSteps * blocks * 256 floating-point operations each, which
// `flop` receives; negative after an error.
extern "C" float ceiling_multiply_add(float* scratch, int blocks, int launches, double* flop) {
  cudaEvent_t start, end;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  multiply_add<<<blocks, 256>>>(scratch, 0.999f);
  cudaEventRecord(start);
  for (int i = 0; i < launches; ++i) multiply_add<<<blocks, 256>>>(scratch, 0.999f);
  cudaEventRecord(end);
  float milliseconds = -1.0f;
  if (cudaEventSynchronize(end) == cudaSuccess) cudaEventElapsedTime(&milliseconds, start, end);
  *flop = 2.0 * kChains * kSteps * blocks * 256;
  return milliseconds;
}

// Milliseconds of `launches` kernels that do nothing.
extern "C" float ceiling_launch(int launches) {
  cudaEvent_t start, end;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  nothing<<<1, 32>>>();
  cudaEventRecord(start);
  for (int i = 0; i < launches; ++i) nothing<<<1, 32>>>();
  cudaEventRecord(end);
  float milliseconds = -1.0f;
  if (cudaEventSynchronize(end) == cudaSuccess) cudaEventElapsedTime(&milliseconds, start, end);
  return milliseconds;
}

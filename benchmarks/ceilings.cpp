// What this processor can do at most, in loops that do nothing else. Prints name and value per line:
//   fma_gflops          float32 multiply-adds (2 operations each) on independent accumulators in vector registers
//   integer_gops        32-bit additions and exclusive-ors on independent accumulators
//   copy_gb_per_s BYTES read + written by memcpy, each thread between two buffers of BYTES bytes of its own
// Usage: ceilings THREADS BYTES...
// Compiled with -O3 -march=native by benchmarks/measure.py. Best of several short rounds: neighbours only make it slower.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
typedef float Floats __attribute__((vector_size(kVectorBytes)));
typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));

// Enough to cover 4 cycles of latency on 2 pipes, few enough for 16 registers.
constexpr int kAccumulators = 12;
constexpr int kRounds = 40;

volatile float float_sink;
volatile uint32_t word_sink;

// `steps` rounds of acc = acc * a + b; the compiler contracts to fma. a < 1 keeps the values finite.
void fma_loop(int64_t steps, float start) {
  Floats acc[kAccumulators], a, b;
  for (int i = 0; i < kAccumulators; ++i) acc[i] = Floats{} + (start + static_cast<float>(i));
  a = Floats{} + (0.75f + start * 1e-9f);
  b = Floats{} + (0.25f + start * 1e-9f);
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kAccumulators; ++i) acc[i] = acc[i] * a + b;
  }
  Floats sum = acc[0];
  for (int i = 1; i < kAccumulators; ++i) sum += acc[i];
  float_sink = sum[0];
}

void integer_loop(int64_t steps, uint32_t start) {
  Words acc[kAccumulators], a, b;
  for (int i = 0; i < kAccumulators; ++i) acc[i] = Words{} + (start + static_cast<uint32_t>(i));
  a = Words{} + (start * 2654435761u);
  b = Words{} + (start + 12345u);
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kAccumulators; ++i) acc[i] = (acc[i] ^ a) + b;
  }
  Words sum = acc[0];
  for (int i = 1; i < kAccumulators; ++i) sum += acc[i];
  word_sink = sum[0];
}

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Work per second of `threads` threads that run `body` side by side, each doing `work`: the sum of their own rates, by the
// processor time of each, so that other programs that take turns on a core do not lower it. Best of several rounds.
template <typename Body>
double rate(int threads, double work, const Body& body) {
  double best = 0.0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> rates(threads);
    auto timed = [&](int i) {
      const double begin = cpu_seconds();
      body(i);
      rates[i] = work / (cpu_seconds() - begin);
    };
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back(timed, i);
    timed(0);
    for (std::thread& other : others) other.join();
    double sum = 0.0;
    for (double one : rates) sum += one;
    best = sum > best ? sum : best;
  }
  return best;
}

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const double lanes = kVectorBytes / 4.0;
  const int64_t steps = 1000000;
  const double operations = 2.0 * lanes * kAccumulators * static_cast<double>(steps);
  std::printf("fma_gflops %.3f\n", rate(threads, operations, [](int i) { fma_loop(steps, 1.0f + i); }) / 1e9);
  std::printf("integer_gops %.3f\n", rate(threads, operations, [](int i) { integer_loop(steps, 1u + i); }) / 1e9);
  for (int argument = 2; argument < argc; ++argument) {
    const size_t bytes = static_cast<size_t>(std::atoll(argv[argument]));
    const int repeats = static_cast<int>(60000000 / bytes) + 1;
    std::vector<std::vector<char>> src(threads), dst(threads);
    for (int i = 0; i < threads; ++i) {
      src[i].assign(bytes, 1);
      dst[i].assign(bytes, 2);
    }
    const double copied = rate(threads, 2.0 * static_cast<double>(bytes) * repeats, [&](int i) {
      for (int r = 0; r < repeats; ++r) {
        std::memcpy(dst[i].data(), src[i].data(), bytes);
        // The compiler must not drop a copy that the next one repeats.
        __asm__ volatile("" : : "r"(dst[i].data()) : "memory");
      }
    });
    std::printf("copy_gb_per_s_%zu %.3f\n", bytes, copied / 1e9);
  }
  return 0;
}

#include "cuda/emulate.h"

#include <ucontext.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cuda/launch.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

int64_t pyd_multiply_adds = 0;

namespace pyd {
namespace emulate {
namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr int32_t kMostThreads = 1024;
constexpr int64_t kMostSharedBytes = 99 * 1024;  // what a block may have on sm_86, sm_89 and sm_120

// Who last touched a byte: 0 nobody, else a number of the thread (and, for shared memory, of the time between barriers).
struct Touch {
  uint64_t writer, reader;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<uint8_t[]> stack;
  bool done;
  int32_t line;  // of the barrier it waits at
};

// What the launches of a kernel did, all threads together. A load of four floats is one load.
struct Work {
  int64_t launches, blocks, multiply_adds;
  int64_t shared_loads, shared_stores, global_loads, global_stores, global_bytes;
};

struct Machine {
  Work work[kKernelCount];  // of the last program
  Work* now;

  uint64_t random;
  char* message;
  int64_t message_bytes;
  bool failed;

  // The launch.
  Kernel kernel;
  const char* name;
  const Bases* bases;
  int64_t stage;
  uint64_t launch_number;
  int64_t blocks;
  int64_t base_bytes[kBaseCount];
  std::vector<Touch> touched[kBaseCount];  // by byte; empty for memory that is only read

  // The block.
  int32_t block, thread;
  bool in_fiber;
  uint64_t epoch;  // counts the times between barriers, over all blocks
  std::unique_ptr<uint8_t[]> shared;
  int64_t shared_bytes;
  std::vector<Touch> shared_touched;

  ucontext_t scheduler;
  std::vector<Fiber> fibers;
};

Machine machine;

uint64_t random_word() {  // splitmix64
  uint64_t z = machine.random += 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Seed 0: ascending order.
void shuffle(std::vector<int32_t>& order) {
  if (machine.random == 0) return;
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_word() % i]);
}

void switch_context(ucontext_t* from, ucontext_t* to, const void* stack, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack, bytes);
  swapcontext(from, to);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#else
  (void)stack, (void)bytes;
  swapcontext(from, to);
#endif
}

#if defined(__SANITIZE_ADDRESS__)
const void* scheduler_stack;
size_t scheduler_stack_bytes;
#else
constexpr const void* scheduler_stack = nullptr;
constexpr size_t scheduler_stack_bytes = 0;
#endif

void give_way() {
  switch_context(&machine.fibers[machine.thread].context, &machine.scheduler, scheduler_stack, scheduler_stack_bytes);
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
  machine.kernel(*machine.bases, machine.stage);
  machine.fibers[machine.thread].done = true;
  give_way();
}

// Runs the block's threads from barrier to barrier.
void run_block(int32_t threads) {
  memset(machine.shared.get(), 0xFF, static_cast<size_t>(machine.shared_bytes));
  machine.shared_touched.assign(static_cast<size_t>(machine.shared_bytes), {});
  std::vector<int32_t> order(threads);
  for (int32_t t = 0; t < threads; ++t) {
    order[t] = t;
    Fiber& fiber = machine.fibers[t];
    fiber.done = false;
    fiber.line = 0;
    getcontext(&fiber.context);
    if (!fiber.stack) fiber.stack.reset(new uint8_t[kStackBytes]);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
  }
  for (;;) {
    ++machine.epoch;
    shuffle(order);
    for (const int32_t t : order) {
      machine.thread = t;
      machine.in_fiber = true;
      switch_context(&machine.scheduler, &machine.fibers[t].context, machine.fibers[t].stack.get(), kStackBytes);
      machine.in_fiber = false;
      if (machine.failed) return;
    }
    const Fiber& first = machine.fibers[0];
    for (int32_t t = 1; t < threads; ++t) {
      const Fiber& other = machine.fibers[t];
      machine.thread = t;
      if (other.done == first.done && (other.done || other.line == first.line)) continue;
      const auto where = [](const Fiber& fiber) { return fiber.done ? 0 : fiber.line; };
      fail("barrier: thread 0 is at line %d and thread %d at line %d (0: at the end)", where(first), t, where(other));
      return;
    }
    if (first.done) return;
  }
}

uint64_t thread_number() {
  return static_cast<uint64_t>(machine.block) * kMostThreads + static_cast<uint64_t>(machine.thread) + 1;
}

// Checks a touch by `me` in a memory where touches of `since` and later are not separated from it by a barrier (a launch).
void check_touch(Touch& touch, Access access, uint64_t since, uint64_t me, const char* memory, int64_t byte) {
  constexpr uint64_t kManyReaders = 0xFFFFFFFFull;
  constexpr uint64_t kAtomicWriter = 0xFFFFFFFEull;
  const uint64_t writer_time = touch.writer >> 32, writer = touch.writer & 0xFFFFFFFFull;
  const uint64_t reader_time = touch.reader >> 32, reader = touch.reader & 0xFFFFFFFFull;
  const uint64_t now = since << 32;
  if (access == Access::kRead) {
    if (touch.writer == 0) fail("%s: byte %lld is read but was never written", memory, static_cast<long long>(byte));
    if (writer_time == since && writer != me) {
      fail("%s: byte %lld is read while another thread writes it", memory, static_cast<long long>(byte));
    }
    touch.reader = now | (reader_time == since && reader != me ? kManyReaders : me);
    return;
  }
  const uint64_t identity = access == Access::kAtomic ? kAtomicWriter : me;
  if (writer_time == since && writer != identity && writer != me) {
    fail("%s: byte %lld is written by two threads", memory, static_cast<long long>(byte));
  }
  if (reader_time == since && reader != me) {
    fail("%s: byte %lld is written while another thread reads it", memory, static_cast<long long>(byte));
  }
  if (access == Access::kAtomic && touch.writer == 0) {
    fail("%s: byte %lld is changed but was never written", memory, static_cast<long long>(byte));
  }
  touch.writer = now | identity;
}

}  // namespace

int32_t thread_index() { return machine.thread; }
int32_t block_index() { return machine.block; }

void fail(const char* format, ...) {
  if (!machine.failed) {
    const int used = snprintf(machine.message, static_cast<size_t>(machine.message_bytes),
                              "%s, block %d, thread %d: ", machine.name, machine.block, machine.thread);
    va_list arguments;
    va_start(arguments, format);
    if (used > 0 && used < machine.message_bytes) {
      vsnprintf(machine.message + used, static_cast<size_t>(machine.message_bytes - used), format, arguments);
    }
    va_end(arguments);
  }
  machine.failed = true;
  if (machine.in_fiber) give_way();
}

void barrier(int32_t line) {
  machine.fibers[machine.thread].line = line;
  give_way();
}

uint8_t* shared_access(int64_t first_byte, int64_t bytes, Access access) {
  ++(access == Access::kRead ? machine.now->shared_loads : machine.now->shared_stores);
  if (first_byte < 0 || first_byte + bytes > machine.shared_bytes) {
    fail("shared memory: byte %lld of %lld", static_cast<long long>(first_byte + bytes - 1),
         static_cast<long long>(machine.shared_bytes));
  }
  // Values are at least words; one note per word is enough.
  for (int64_t byte = first_byte; byte < first_byte + bytes; byte += 4) {
    check_touch(machine.shared_touched[byte], access, machine.epoch, static_cast<uint64_t>(machine.thread) + 1,
                "shared memory", byte);
  }
  return machine.shared.get() + first_byte;
}

void global_access(int32_t base, int64_t offset, int64_t bytes, Access access) {
  ++(access == Access::kRead ? machine.now->global_loads : machine.now->global_stores);
  machine.now->global_bytes += bytes;
  if (machine.bases->at[base] == nullptr) fail("memory of base %d is missing", base);
  if (offset < 0 || offset + bytes > machine.base_bytes[base]) {
    fail("memory of base %d: byte %lld of %lld", base, static_cast<long long>(offset + bytes - 1),
         static_cast<long long>(machine.base_bytes[base]));
  }
  std::vector<Touch>& touched = machine.touched[base];
  if (touched.empty()) {
    if (access != Access::kRead) fail("memory of base %d is only for reading", base);
    return;
  }
  // Bytes and floats never share a place within a program, so the first byte speaks for a float.
  const int64_t step = bytes % 4 == 0 ? 4 : 1;
  for (int64_t byte = offset; byte < offset + bytes; byte += step) {
    check_touch(touched[byte], access, machine.launch_number, thread_number(), "global memory", byte);
  }
}

int run(Kernel kernel, const char* name, int32_t threads, const Bases& bases, const Launch& launch) {
  machine.kernel = kernel;
  machine.now = &machine.work[launch.kernel];
  const int64_t multiply_adds = pyd_multiply_adds;
  machine.name = name;
  machine.bases = &bases;
  machine.stage = launch.stage;
  machine.shared_bytes = launch.shared_bytes;
  machine.shared.reset(new uint8_t[static_cast<size_t>(launch.shared_bytes) + 1]);
  if (machine.fibers.size() < static_cast<size_t>(threads)) machine.fibers.resize(static_cast<size_t>(threads));
  ++machine.launch_number;
  std::vector<int32_t> order(static_cast<size_t>(launch.blocks));
  for (size_t b = 0; b < order.size(); ++b) order[b] = static_cast<int32_t>(b);
  shuffle(order);
  for (const int32_t b : order) {
    machine.block = b;
    run_block(threads);
    if (machine.failed) return 1;
  }
  ++machine.now->launches;
  machine.now->blocks += launch.blocks;
  machine.now->multiply_adds += pyd_multiply_adds - multiply_adds;
  return 0;
}

int launch_kernel(const Bases& bases, const Launch& launch) {
  switch (launch.kernel) {
#define X(name, threads, blocks) \
  case kKernel_##name: return launch_##name(bases, launch, nullptr);
    PYD_KERNELS
#undef X
    default: return 2;
  }
}

}  // namespace emulate
}  // namespace pyd

// The door for Python, the same as that of launch.cu. `stream` is the seed of the orders of blocks and threads.
extern "C" __attribute__((visibility("default"))) int pyd_run(const void* program, void* const* bases,
                                                              const int64_t* base_bytes, uint64_t stream, char* message,
                                                              int64_t message_bytes) {
  using namespace pyd;
  using namespace pyd::emulate;
  const auto* header = static_cast<const ProgramHeader*>(program);
  if (header->magic != kProgramMagic) return 3;
  machine.random = stream;
  machine.message = message;
  machine.message_bytes = message_bytes;
  machine.failed = false;
  machine.launch_number = 0;
  machine.epoch = 0;
  memset(machine.work, 0, sizeof machine.work);
  Bases all;
  for (int32_t base = 0; base < kBaseCount; ++base) {
    const bool scratch = base == kBaseScratch;
    const int64_t start = scratch ? header->scratch_start : 0;
    all.at[base] = static_cast<uint8_t*>(bases[scratch ? kBaseArena : base]);
    if (scratch && all.at[base] != nullptr) all.at[base] += start;
    machine.base_bytes[base] = scratch ? header->arena_bytes - start : base_bytes[base];
    const bool written = base == kBaseDst || base == kBaseTarget || base == kBaseArena || scratch;
    machine.touched[base].assign(written ? static_cast<size_t>(machine.base_bytes[base]) : 0, {});
  }
  const auto* launch = reinterpret_cast<const Launch*>(static_cast<const uint8_t*>(program) + header->first_launch);
  for (int64_t i = 0; i < header->launches; ++i) {
    const int status = launch_kernel(all, launch[i]);
    if (status != 0) return status;
  }
  return 0;
}

// What kernel `kernel` did in the last program: its name, and the eight numbers of Work. Null behind the last kernel.
extern "C" __attribute__((visibility("default"))) const char* pyd_work(int32_t kernel, int64_t* numbers) {
  using namespace pyd;
  static const char* const names[] = {
#define X(name, threads, blocks) #name,
      PYD_KERNELS
#undef X
  };
  if (kernel < 0 || kernel >= kKernelCount) return nullptr;
  memcpy(numbers, &emulate::machine.work[kernel], sizeof(emulate::Work));
  return names[kernel];
}

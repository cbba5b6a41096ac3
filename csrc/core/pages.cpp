#include "core/pages.h"

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pyd {

#if defined(__linux__) && defined(MADV_HUGEPAGE)

namespace {

constexpr uintptr_t kLargePage = uintptr_t{1} << 21;
constexpr size_t kWorthAsking = size_t{1} << 22;

}  // namespace

void prefer_large_pages(void* memory, size_t bytes) {
  if (bytes < kWorthAsking) return;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kLargePage - 1) & ~(kLargePage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) & ~(kLargePage - 1);
  // Advice: where it is refused, everything works as before.
  if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

#else

void prefer_large_pages(void*, size_t) {}

#endif

}  // namespace pyd

#include "core/scratch.h"

#include <new>

#include "core/pages.h"

namespace pyd {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kFirstChunkBytes = size_t{1} << 22;
constexpr size_t kMaxChunks = 48;

// Chunks double in size, so kMaxChunks can never be reached with real memory. When the outermost Scratch of a thread
// ends and more than one chunk was needed, they are replaced by one of their total size.
struct Arena {
  char* chunk[kMaxChunks] = {};
  size_t bytes[kMaxChunks] = {};
  size_t count = 0;
  size_t current = 0;
  size_t used = 0;
  int depth = 0;

  ~Arena() { clear(); }

  void clear() {
    for (size_t i = 0; i < count; ++i) ::operator delete(chunk[i], std::align_val_t{kAlignment});
    count = 0;
  }

  bool add(size_t at_least) {
    if (count == kMaxChunks) return false;
    size_t size = count == 0 ? kFirstChunkBytes : 2 * bytes[count - 1];
    while (size < at_least) size *= 2;
    void* memory = ::operator new(size, std::align_val_t{kAlignment}, std::nothrow);
    if (memory == nullptr) return false;
    prefer_large_pages(memory, size);
    chunk[count] = static_cast<char*>(memory);
    bytes[count] = size;
    ++count;
    return true;
  }
};

thread_local Arena arena;

}  // namespace

Scratch::Scratch() : chunk_(arena.current), used_(arena.used) { ++arena.depth; }

Scratch::~Scratch() {
  arena.current = chunk_;
  arena.used = used_;
  if (--arena.depth > 0 || arena.count < 2) return;
  size_t total = 0;
  for (size_t i = 0; i < arena.count; ++i) total += arena.bytes[i];
  arena.clear();
  arena.add(total);
}

void* Scratch::take_bytes(size_t bytes) {
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  while (arena.current < arena.count && arena.bytes[arena.current] - arena.used < size) {
    ++arena.current;
    arena.used = 0;
  }
  if (arena.current == arena.count && !arena.add(size)) return nullptr;
  void* memory = arena.chunk[arena.current] + arena.used;
  arena.used += size;
  return memory;
}

}  // namespace pyd

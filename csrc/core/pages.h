// Memory that is about to be written for the first time.
#pragma once

#include <cstddef>

namespace pyd {

// Asks for large pages behind the whole pages of [memory, memory + bytes). A large output is fresh memory whose pages the
// system hands out one by one as they are first written: with pages of 4 KiB that takes longer than most ops. Values are
// untouched; small buffers and other systems than Linux are left alone.
void prefer_large_pages(void* memory, size_t bytes);

}  // namespace pyd

// Random words belong to places: which images have places that fit into a counter.
#pragma once

#include "math/hd.h"

namespace pyd {

// 16 bits of a counter word hold y, 16 hold x / 4 (of a Philox block of four pixels); cells of rain need fewer.
constexpr int64_t kMaxCounterHeight = 65535;
constexpr int64_t kMaxCounterWidth = 4 * 65536 - 1;

PYD_HD bool fits_counter(int64_t height, int64_t width) { return height <= kMaxCounterHeight && width <= kMaxCounterWidth; }

}  // namespace pyd

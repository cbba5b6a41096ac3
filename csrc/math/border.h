// Borders: which pixel of a line of `count` stands in for one outside it.
#pragma once

#include "math/hd.h"

// Reflect-101: ... 2 1 | 0 1 2 ... n-1 | n-2 n-3 ..., repeated as often as needed; a single pixel repeats itself.
PYD_HD int64_t reflect_101(int64_t index, int64_t count) {
  if (count == 1) return 0;
  const int64_t period = 2 * (count - 1);
  index %= period;
  if (index < 0) index += period;
  return index < count ? index : period - index;
}

// Half-sample symmetric: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..., repeated as often as needed (SciPy's "reflect").
PYD_HD int64_t reflect_symmetric(int64_t index, int64_t count) {
  const int64_t period = 2 * count;
  index %= period;
  if (index < 0) index += period;
  return index < count ? index : period - 1 - index;
}

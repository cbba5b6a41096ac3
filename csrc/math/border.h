// Borders: which pixel of a line of `count` stands in for one outside it.
#pragma once

#include "math/hd.h"

// Reflect-101: ... 2 1 | 0 1 2 ... n-1 | n-2 n-3 ..., repeated as often as needed; a single pixel repeats itself.
template <typename Integer>
PYD_HD Integer reflect_101(Integer index, Integer count) {
  if (count == 1) return 0;
  const Integer period = 2 * (count - 1);
  index %= period;
  if (index < 0) index += period;
  return index < count ? index : period - index;
}

// Half-sample symmetric: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..., repeated as often as needed (SciPy's "reflect").
template <typename Integer>
PYD_HD Integer reflect_symmetric(Integer index, Integer count) {
  const Integer period = 2 * count;
  index %= period;
  if (index < 0) index += period;
  return index < count ? index : period - 1 - index;
}

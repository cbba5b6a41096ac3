// Columns are sorted once and serve all neighbourhoods that they lie in; then, of a vector of neighbouring pixels at a
// time, each rank of the columns is sorted across. Sorting the ranks leaves the columns sorted, so that at least (i + 1) (j
// + 1) values are no larger than the one at rank i, place j, and by symmetry as many are no smaller than its mirror image:
// most values cannot be the middle one. Of the others, the least and the largest are dropped until one is left.
#include "cpu/median.h"

#include <utility>

#include "core/lanes.h"
#include "core/scratch.h"
#include "core/status.h"
#include "math/hd.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int kMost = static_cast<int>(kMostMedianPx);
constexpr int kMostUnrolled = 7;

// GCC does not make minimum and maximum instructions of comparisons of vectors.
// Of equal values (0 and -0) the second is taken twice, as those instructions do.
PYD_HD void order(FloatLanes& low, FloatLanes& high) {
  const FloatLanes first = low, second = high;
#if defined(__AVX512BW__)
  low = (FloatLanes)_mm512_min_ps((__m512)first, (__m512)second);
  high = (FloatLanes)_mm512_max_ps((__m512)first, (__m512)second);
#elif defined(__AVX2__)
  low = (FloatLanes)_mm256_min_ps((__m256)first, (__m256)second);
  high = (FloatLanes)_mm256_max_ps((__m256)first, (__m256)second);
#elif defined(__x86_64__)
  low = (FloatLanes)_mm_min_ps((__m128)first, (__m128)second);
  high = (FloatLanes)_mm_max_ps((__m128)first, (__m128)second);
#else
  low = first < second ? first : second;
  high = first > second ? first : second;
#endif
}

// Calls function(0) ... function(count - 1), each with a constant: what they index stays in registers.
template <typename Function, int... number>
PYD_HD void each(const Function& function, std::integer_sequence<int, number...>) {
  (function(number), ...);
}
template <int count, typename Function>
PYD_HD void each(const Function& function) {
  each(function, std::make_integer_sequence<int, count>());
}

// Which values Batcher's odd-even merge sort compares, one after the other.
struct Network {
  int count = 0;
  int low[64] = {}, high[64] = {};
};
template <int size>
constexpr Network network() {
  Network made;
  for (int block = 1; block < size; block *= 2) {
    for (int step = block; step >= 1; step /= 2) {
      for (int j = step % block; j + step < size; j += 2 * step) {
        for (int i = 0; i < step && i + j + step < size; ++i) {
          if ((i + j) / (2 * block) != (i + j + step) / (2 * block)) continue;
          made.low[made.count] = i + j;
          made.high[made.count++] = i + j + step;
        }
      }
    }
  }
  return made;
}

template <int size>
PYD_HD void sort(FloatLanes* values) {
  constexpr Network kNetwork = network<size>();
  each<kNetwork.count>([&](int i)
                           __attribute__((always_inline)) { order(values[kNetwork.low[i]], values[kNetwork.high[i]]); });
}

// The middle one of 2 pool - 3 vectors, of which `pool` are looked at; they are moved about.
template <int pool>
PYD_HD FloatLanes middle(FloatLanes* values, const FloatLanes* others) {
  if constexpr (pool == 3) {
    order(values[0], values[1]);
    order(values[1], values[2]);
    order(values[0], values[1]);
    return values[1];
  } else {
    each<pool / 2>([&](int i) __attribute__((always_inline)) { order(values[i], values[pool - 1 - i]); });
    each<(pool + 1) / 2 - 1>([&](int i) __attribute__((always_inline)) { order(values[0], values[i + 1]); });
    each<pool - 1 - pool / 2>([&](int i) __attribute__((always_inline)) { order(values[pool / 2 + i], values[pool - 1]); });
    // The least and the largest go; one of the others takes the place of the first.
    values[0] = *others;
    return middle<pool - 1>(values, others + 1);
  }
}

// The same of many, which no registers hold.
FloatLanes middle_of_many(FloatLanes* values, int count) {
  int pool = count / 2 + 2, next = pool;
  for (; pool > 3; --pool) {
    for (int i = 0; i < pool / 2; ++i) order(values[i], values[pool - 1 - i]);
    FloatLanes least = values[0], largest = values[pool - 1];
    for (int i = 1; i < (pool + 1) / 2; ++i) order(least, values[i]);
    for (int i = pool / 2; i < pool - 1; ++i) order(values[i], largest);
    values[0] = values[next++];
  }
  return middle<3>(values, values);
}

// Places of a rank, first to last, whose values may be the middle one.
template <int size>
constexpr int first_kept(int rank) {
  const int place = size - (size * size + 1) / 2 / (size - rank);
  return place > 0 ? place : 0;
}
template <int size>
constexpr int last_kept(int rank) {
  const int place = (size * size + 1) / 2 / (rank + 1) - 1;
  return place < size ? place : size - 1;
}
template <int size>
constexpr int kept_before(int rank) {
  int count = 0;
  for (int i = 0; i < rank; ++i) count += last_kept<size>(i) - first_kept<size>(i) + 1;
  return count;
}

template <int size>
PYD_HD FloatLanes middle_of(const float* sorted, int64_t row_values) {
  constexpr int kCount = kept_before<size>(size);
  static_assert(kCount % 2 == 1, "as many are too small as too large");
  FloatLanes kept[kCount];
  const auto keep = [&](int rank) __attribute__((always_inline)) {
    FloatLanes across[size];
    each<size>([&](int place)
                   __attribute__((always_inline)) { across[place] = load_floats(sorted + rank * row_values + place); });
    sort<size>(across);
    const int first = first_kept<size>(rank), last = last_kept<size>(rank), to = kept_before<size>(rank) - first;
    each<size>([&](int place) __attribute__((always_inline)) {
      if (place >= first && place <= last) kept[to + place] = across[place];
    });
  };
  if constexpr (size <= kMostUnrolled) {
    each<size>(keep);
    constexpr int kPool = kCount / 2 + 2;
    return middle<kPool>(kept, kept + kPool);
  } else {
    for (int rank = 0; rank < size; ++rank) keep(rank);
    return middle_of_many(kept, kCount);
  }
}

// Place of a value outside [0, count), mirrored as often as it takes.
int64_t mirrored(int64_t at, int64_t count) {
  if (count == 1) return 0;
  const int64_t period = 2 * (count - 1);
  at = (at % period + period) % period;
  return at < count ? at : period - at;
}

template <int size>
Status median_of(const MedianArgs& args) {
  constexpr int kRadius = size / 2;
  const int64_t height = args.height, width = args.width;
  // Whole vectors, and what a neighbourhood reads beside its own.
  const int64_t wide = (width + kLanes - 1) / kLanes * kLanes;
  const int64_t row_values = (wide + 2 * kRadius + kLanes - 1) / kLanes * kLanes;
  Scratch scratch;
  float* const rows = scratch.take<float>(size * row_values);
  float* const sorted = scratch.take<float>(size * row_values);
  if (rows == nullptr || sorted == nullptr) return Status::kOutOfMemory;
  for (int64_t plane = 0; plane < args.planes; ++plane) {
    const float* const src = args.src + plane * height * width;
    float* const dst = args.dst + plane * height * width;
    const auto lay_out = [&](int64_t y) {
      const float* const from = src + mirrored(y, height) * width;
      float* const to = rows + (y + size) % size * row_values;
      for (int64_t x = 0; x < width; ++x) to[kRadius + x] = from[x];
      for (int64_t x = 0; x < kRadius; ++x) to[x] = from[mirrored(x - kRadius, width)];
      // Behind the mirrored ones any value does.
      for (int64_t x = width; x < row_values - kRadius; ++x) to[kRadius + x] = from[mirrored(x, width)];
    };
    for (int64_t y = -kRadius; y < kRadius; ++y) lay_out(y);
    for (int64_t y = 0; y < height; ++y) {
      lay_out(y + kRadius);
      for (int64_t x = 0; x < row_values; x += kLanes) {
        FloatLanes column[size];
        for (int row = 0; row < size; ++row) column[row] = load_floats(rows + row * row_values + x);
        sort<size>(column);
        for (int rank = 0; rank < size; ++rank) store_floats(sorted + rank * row_values + x, column[rank]);
      }
      float* const to = dst + y * width;
      int64_t x = 0;
      for (; x + kLanes <= width; x += kLanes) store_floats(to + x, middle_of<size>(sorted + x, row_values));
      if (x < width) {
        float last[kLanes];
        store_floats(last, middle_of<size>(sorted + x, row_values));
        for (int64_t i = 0; x + i < width; ++i) to[x + i] = last[i];
      }
    }
  }
  return Status::kOk;
}

}  // namespace

Status median_cpu(const MedianArgs& args) {
  static_assert(kMost == 15, "one case for each side");
  if (args.height == 0 || args.width == 0) return Status::kOk;
  switch (args.size) {
    case 3: return median_of<3>(args);
    case 5: return median_of<5>(args);
    case 7: return median_of<7>(args);
    case 9: return median_of<9>(args);
    case 11: return median_of<11>(args);
    case 13: return median_of<13>(args);
    case 15: return median_of<15>(args);
    default: return Status::kBadArgument;
  }
}

}  // namespace PYD_ISA
}  // namespace pyd

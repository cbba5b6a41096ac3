// Register-tiled correlation: a tile of kTileRows x kTileVectors accumulators stays in registers while the input rows pass
// by, each loaded vector feeding kTileRows outputs.

#include "cpu/filter.h"

#include "core/lanes.h"
#include "math/border.h"

namespace pyd {
namespace PYD_ISA {
namespace {

// As many accumulators as there are registers for.
constexpr int64_t kTileRows = 4;
constexpr int kTileVectors = kLanes == 16 ? 5 : 3;
constexpr int64_t kCacheLineFloats = 16;
constexpr int64_t kTileWidth = kTileVectors * kLanes;

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Copies a row and continues it by reflection by `radius` px on both sides. What lies behind, up to the end of `stride`,
// meets only outputs that are not stored: zeros.
void pad_row(const float* src, int64_t width, int64_t radius, int64_t stride, float* dst) {
  float* const middle = dst + radius;
  // So does the row that will be asked for after the next tiles.
  for (int64_t x = 0; x < width; x += kCacheLineFloats) __builtin_prefetch(src + kTileRows * width + x);
  memcpy(middle, src, static_cast<size_t>(width) * sizeof(float));
  if (radius < width) {
    for (int64_t x = 1; x <= radius; ++x) middle[-x] = src[x];
    for (int64_t x = 1; x <= radius; ++x) middle[width - 1 + x] = src[width - 1 - x];
  } else {
    for (int64_t x = 1; x <= radius; ++x) middle[-x] = src[reflect_101(-x, width)];
    for (int64_t x = 0; x < radius; ++x) middle[width + x] = src[reflect_101(width + x, width)];
  }
  memset(middle + width + radius, 0, static_cast<size_t>(stride - width - 2 * radius) * sizeof(float));
}

// The rows that a tile looks at, kept in a ring that is small enough for the cache nearest to the processor. Row y of the
// source stands in place y % kept; the window of a tile never holds more than that. `fill(y, count)` makes rows y ..
// y + count - 1, each once, and none that no tile looks at.
class RowRing {
 public:
  // Serves tiles whose outputs span up to `most_rows` rows, `radius` rows above and below included; filled `batch` rows at
  // a time.
  RowRing(int64_t height, int64_t radius, int64_t stride, int64_t most_rows = kTileRows, int64_t batch = 1)
      : height_(height), radius_(radius), stride_(stride), window_(2 * radius + most_rows), batch_(batch) {
    kept_ = window_ + batch - 1 < height ? window_ + batch - 1 : height;
  }
  bool allocate(Scratch& scratch) {
    memory_ = scratch.take<float>(kept_ * stride_);
    rows_ = scratch.take<const float*>(window_);
    return memory_ != nullptr && rows_ != nullptr;
  }
  float* place(int64_t row) const { return memory_ + row % kept_ * stride_; }
  // rows[i] = row y - radius + i of the picture continued by reflection, for a tile whose outputs are rows y .. last.
  template <typename Fill>
  const float* const* move_to(int64_t y, int64_t last, const Fill& fill) {
    // Where the picture is no higher than the ring, reflection may lead to any row.
    const bool whole = kept_ == height_;
    const int64_t needed = !whole && last + radius_ < height_ ? last + radius_ + 1 : height_;
    if (!whole && next_ < y - radius_) next_ = y - radius_;
    for (; next_ < needed; next_ += batch_) fill(next_, height_ - next_ < batch_ ? height_ - next_ : batch_);
    for (int64_t i = 0; i < window_; ++i) {
      // Rows below the last one meet only outputs that are not stored: any row serves.
      const int64_t row = y - radius_ + i < last + radius_ ? y - radius_ + i : last + radius_;
      rows_[i] = place(mirrored(row));
    }
    return rows_;
  }

 private:
  int64_t mirrored(int64_t row) const { return row >= 0 && row < height_ ? row : reflect_101(row, height_); }

  int64_t height_, radius_, stride_, window_, batch_, kept_, next_ = 0;
  float* memory_ = nullptr;
  const float** rows_ = nullptr;
};

template <int Vectors>
void store_tile_row(const FloatLanes* sums, float* dst, int64_t length) {
  if (length >= Vectors * kLanes) {
    for (int v = 0; v < Vectors; ++v) store_floats(dst + v * kLanes, sums[v]);
    return;
  }
  float row[Vectors * kLanes];
  for (int v = 0; v < Vectors; ++v) store_floats(row + v * kLanes, sums[v]);
  memcpy(dst, row, static_cast<size_t>(length) * sizeof(float));
}

// Adds one input row to the outputs First .. Last - 1 of a tile; output r meets the weights from weights - lag[r] on. The
// pixels of a tap lie `step` behind those of the tap before.
template <int Vectors, int First, int Last, typename Lag>
PYD_HD void add_row(const float* in, int64_t step, const float* weights, const Lag& lag, int64_t row_taps,
                    FloatLanes sums[kTileRows][Vectors]) {
  for (int64_t tap = 0; tap < row_taps; ++tap) {
    FloatLanes pixels[Vectors];
    for (int v = 0; v < Vectors; ++v) pixels[v] = load_floats_once(in + tap * step + v * kLanes);
    for (int64_t r = First; r < Last; ++r) {
      const float weight = weights[tap - lag(r)];
      for (int v = 0; v < Vectors; ++v) sums[r][v] = fused_multiply_add(pixels[v], weight, sums[r][v]);
    }
  }
}

// One tile of a kernel of `kernel_rows` >= kTileRows - 1 rows of `row_taps` weights. The first and the last input rows do
// not meet all outputs.
template <int Vectors>
void correlate_tile(const float* const* rows, int64_t x, const float* weights, int64_t kernel_rows, int64_t row_taps,
                    float* dst, int64_t stride, int64_t tile_rows, int64_t length) {
  static_assert(kTileRows == 4, "the first and the last input rows are written out");
  // The outputs come into the cache while the sums are made.
  for (int64_t r = 0; r < tile_rows; ++r) {
    for (int v = 0; v < Vectors; ++v) __builtin_prefetch(dst + r * stride + v * kLanes, 1);
  }
  FloatLanes sums[kTileRows][Vectors] = {};
  // Output r meets kernel row `row` - r.
  const auto lag = [row_taps](int64_t r) { return r * row_taps; };
  const auto weights_of = [weights, row_taps](int64_t row) { return weights + row * row_taps; };
  add_row<Vectors, 0, 1>(rows[0] + x, 1, weights_of(0), lag, row_taps, sums);
  add_row<Vectors, 0, 2>(rows[1] + x, 1, weights_of(1), lag, row_taps, sums);
  add_row<Vectors, 0, 3>(rows[2] + x, 1, weights_of(2), lag, row_taps, sums);
  int64_t row = 3;
  for (; row < kernel_rows; ++row) add_row<Vectors, 0, 4>(rows[row] + x, 1, weights_of(row), lag, row_taps, sums);
  add_row<Vectors, 1, 4>(rows[row] + x, 1, weights_of(row), lag, row_taps, sums);
  add_row<Vectors, 2, 4>(rows[row + 1] + x, 1, weights_of(row + 1), lag, row_taps, sums);
  add_row<Vectors, 3, 4>(rows[row + 2] + x, 1, weights_of(row + 2), lag, row_taps, sums);
  for (int64_t r = 0; r < tile_rows; ++r) store_tile_row<Vectors>(sums[r], dst + r * stride, length);
}

// A tile whose outputs are not neighbours: output r is `at[r]` rows below output 0, ascending.
struct SpreadRows {
  int64_t at[kTileRows];
  int64_t count;
};
SpreadRows spread_rows(const int32_t* rows, int64_t k, int64_t end) {
  SpreadRows tile = {{}, end - k < kTileRows ? end - k : kTileRows};
  for (int64_t r = 0; r < tile.count; ++r) tile.at[r] = rows[k + r] - rows[k];
  return tile;
}

template <int Vectors>
void correlate_spread_tile(const float* const* rows, int64_t x, int64_t step, const float* weights, int64_t kernel_rows,
                           int64_t row_taps, const SpreadRows& tile, float* dst, int64_t stride, int64_t length) {
  FloatLanes sums[kTileRows][Vectors] = {};
  int64_t lags[kTileRows];
  for (int64_t r = 0; r < tile.count; ++r) lags[r] = tile.at[r] * row_taps;
  const auto lag = [&lags](int64_t r) { return lags[r]; };
  // Outputs first .. last - 1 meet an input row.
  int64_t first = 0, last = 0;
  for (int64_t row = 0; first < tile.count; ++row) {
    while (last < tile.count && tile.at[last] <= row) ++last;
    while (first < tile.count && tile.at[first] + kernel_rows <= row) ++first;
    if (first == last) {
      // No output until the next one begins.
      if (last < tile.count) row = tile.at[last] - 1;
      continue;
    }
    const float* const in = rows[row] + x;
    const float* const w = weights + row * row_taps;
    switch (4 * first + last - 1) {
#define PYD_OUTPUTS(first, last) \
  case 4 * first + last - 1: add_row<Vectors, first, last>(in, step, w, lag, row_taps, sums); break;
      PYD_OUTPUTS(0, 1)
      PYD_OUTPUTS(0, 2)
      PYD_OUTPUTS(0, 3)
      PYD_OUTPUTS(0, 4)
      PYD_OUTPUTS(1, 2)
      PYD_OUTPUTS(1, 3)
      PYD_OUTPUTS(1, 4)
      PYD_OUTPUTS(2, 3)
      PYD_OUTPUTS(2, 4)
      PYD_OUTPUTS(3, 4)
#undef PYD_OUTPUTS
      default: break;
    }
  }
  for (int64_t r = 0; r < tile.count; ++r) store_tile_row<Vectors>(sums[r], dst + r * stride, length);
}

// One tile of horizontal taps over one padded row.
template <int Vectors>
void horizontal_tile(const float* padded, const float* weights, int64_t taps, float* dst) {
  FloatLanes sums[Vectors] = {};
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int v = 0; v < Vectors; ++v) {
      sums[v] = fused_multiply_add(load_floats(padded + tap + v * kLanes), weights[tap], sums[v]);
    }
  }
  for (int v = 0; v < Vectors; ++v) store_floats(dst + v * kLanes, sums[v]);
}

// Covers a row of `width` px with tiles: calls body(vectors, x), where the number of vectors is a type's value so that it
// is known at compile time. All tiles but the last have kTileVectors.
template <int Count>
struct Vectors {
  static constexpr int value = Count;
};
template <typename Body>
PYD_HD void for_each_tile(int64_t width, const Body& body) {
  int64_t x = 0;
  for (; x + kTileWidth <= width; x += kTileWidth) body(Vectors<kTileVectors>{}, x);
  const int64_t rest = (width - x + kLanes - 1) / kLanes;
  if (rest == 1) body(Vectors<1>{}, x);
  if (rest == 2) body(Vectors<2>{}, x);
  if (rest == 3) body(Vectors<3>{}, x);
  if (kTileVectors > 3 && rest == 4) body(Vectors<4>{}, x);
  if (kTileVectors > 4 && rest == 5) body(Vectors<5>{}, x);
}

}  // namespace

int64_t strip_rows(int64_t height, int64_t planes) {
  if (inside_parallel() || num_threads() == 1) return height;
  const int64_t strips = (2 * num_threads() + planes - 1) / planes;
  return round_up((height + strips - 1) / strips, kTileRows);
}

Status correlate_dense(const float* src, int64_t height, int64_t width, const float* weights, int64_t taps, int64_t begin,
                       int64_t end, float* dst) {
  if (taps == 1) {
    for (int64_t i = begin * width; i < end * width; ++i) dst[i] = pyd_fma(weights[0], src[i], 0.0f);
    return Status::kOk;
  }
  const int64_t radius = taps / 2;
  const int64_t stride = round_up(width, kLanes) + 2 * radius;
  Scratch scratch;
  RowRing ring(height, radius, stride);
  if (!ring.allocate(scratch)) return Status::kOutOfMemory;
  const auto fill = [&](int64_t row, int64_t) { pad_row(src + row * width, width, radius, stride, ring.place(row)); };
  for (int64_t y = begin; y < end; y += kTileRows) {
    const int64_t tile_rows = end - y < kTileRows ? end - y : kTileRows;
    const float* const* const rows = ring.move_to(y, y + tile_rows - 1, fill);
    for_each_tile(width, [&](auto vectors, int64_t x) {
      correlate_tile<vectors.value>(rows, x, weights, taps, taps, dst + y * width + x, width, tile_rows, width - x);
    });
  }
  return Status::kOk;
}

Status correlate_separable(const float* src, int64_t height, int64_t width, const float* horizontal, const float* vertical,
                           int64_t taps, int64_t begin, int64_t end, float* dst) {
  if (taps == 1) {
    for (int64_t i = begin * width; i < end * width; ++i) {
      dst[i] = pyd_fma(vertical[0], pyd_fma(horizontal[0], src[i], 0.0f), 0.0f);
    }
    return Status::kOk;
  }
  const int64_t radius = taps / 2;
  const int64_t stride = round_up(width, kLanes);
  const int64_t padded_stride = stride + 2 * radius;
  Scratch scratch;
  RowRing ring(height, radius, stride);
  float* const padded = scratch.take<float>(padded_stride);
  if (padded == nullptr || !ring.allocate(scratch)) return Status::kOutOfMemory;
  const auto fill = [&](int64_t row, int64_t) {
    float* const to = ring.place(row);
    pad_row(src + row * width, width, radius, padded_stride, padded);
    for_each_tile(width,
                  [&](auto vectors, int64_t x) { horizontal_tile<vectors.value>(padded + x, horizontal, taps, to + x); });
  };
  for (int64_t y = begin; y < end; y += kTileRows) {
    const int64_t tile_rows = end - y < kTileRows ? end - y : kTileRows;
    const float* const* const rows = ring.move_to(y, y + tile_rows - 1, fill);
    for_each_tile(width, [&](auto vectors, int64_t x) {
      correlate_tile<vectors.value>(rows, x, vertical, taps, 1, dst + y * width + x, width, tile_rows, width - x);
    });
  }
  return Status::kOk;
}

// ---- Pixels that are looked at alone

namespace {

// What `reads` leaves of an image whose rows and columns are all named.
struct Picked {
  int64_t height, width;  // of the source
  const int32_t* rows;
  const int32_t* columns;  // null: all
  int64_t columns_made;
};
bool pick_all(Scratch& scratch, const Reads& reads, Picked& picked) {
  picked = {reads.full.height, reads.full.width, reads.rows, reads.columns, reads.column_count};
  if (reads.rows != nullptr) return true;
  int32_t* const rows = scratch.take<int32_t>(reads.full.height);
  if (rows == nullptr) return false;
  for (int64_t y = 0; y < reads.full.height; ++y) rows[y] = static_cast<int32_t>(y);
  picked.rows = rows;
  return true;
}

// Most rows that the outputs of a tile span.
int64_t widest_tile(const int32_t* rows, int64_t begin, int64_t end) {
  int64_t most = 1;
  for (int64_t k = begin; k < end; k += kTileRows) {
    const int64_t last = k + kTileRows < end ? k + kTileRows - 1 : end - 1;
    most = rows[last] - rows[k] + 1 > most ? rows[last] - rows[k] + 1 : most;
  }
  return most;
}

// Calls body(y, x) for every pixel that is made, in the order of dst.
template <typename Body>
void for_each_picked(const Picked& picked, int64_t begin, int64_t end, const Body& body) {
  for (int64_t k = begin; k < end; ++k) {
    const int64_t row = picked.rows[k] * picked.width;
    for (int64_t l = 0; l < picked.columns_made; ++l) body(row + (picked.columns != nullptr ? picked.columns[l] : l));
  }
}

// Tiles of the outputs rows[begin] .. rows[end - 1] over rows of a ring.
template <int Vectors, typename Fill>
void correlate_spread(RowRing& ring, const Fill& fill, const Picked& picked, int64_t step, const float* weights,
                      int64_t kernel_rows, int64_t row_taps, int64_t begin, int64_t end, float* dst, int64_t length) {
  for (int64_t k = begin; k < end; k += kTileRows) {
    const SpreadRows tile = spread_rows(picked.rows, k, end);
    const float* const* const rows = ring.move_to(picked.rows[k], picked.rows[k] + tile.at[tile.count - 1], fill);
    correlate_spread_tile<Vectors>(rows, 0, step, weights, kernel_rows, row_taps, tile, dst + k * picked.columns_made,
                                   picked.columns_made, length);
  }
}

// Vectors of outputs from column `l` on: the ring holds, for each row and tap, what the taps of these outputs look at. It
// is turned out of the row kLanes outputs x kLanes taps at a time.
template <int Vectors>
bool correlate_dense_columns(const float* src, const Picked& picked, int64_t l, const float* weights, int64_t taps,
                             int64_t begin, int64_t end, float* dst) {
  constexpr int64_t kStep = Vectors * kLanes;
  const int64_t radius = taps / 2, width = picked.width, tap_rows = round_up(taps, kLanes);
  const int64_t padded_stride = width + 2 * radius + kLanes;
  Scratch scratch;
  RowRing ring(picked.height, radius, tap_rows * kStep, widest_tile(picked.rows, begin, end));
  float* const padded = scratch.take<float>(padded_stride);
  if (padded == nullptr || !ring.allocate(scratch)) return false;
  int32_t column[kStep];
  for (int64_t i = 0; i < kStep; ++i) {
    column[i] = picked.columns[l + i < picked.columns_made ? l + i : picked.columns_made - 1];
  }
  const auto fill = [&](int64_t row, int64_t) {
    float* const to = ring.place(row);
    pad_row(src + row * width, width, radius, padded_stride, padded);
    for (int64_t tap = 0; tap < taps; tap += kLanes) {
      for (int v = 0; v < Vectors; ++v) {
        FloatLanes block[kLanes];
        for (int i = 0; i < kLanes; ++i) block[i] = load_floats(padded + column[v * kLanes + i] + tap);
        transpose_lanes(block);
        for (int i = 0; i < kLanes; ++i) store_floats(to + (tap + i) * kStep + v * kLanes, block[i]);
      }
    }
  };
  correlate_spread<Vectors>(ring, fill, picked, kStep, weights, taps, taps, begin, end, dst + l, picked.columns_made - l);
  return true;
}

// Horizontal taps of kLanes rows that lie in the lanes, `columns` continued by reflection; output i is at column[i].
void horizontal_columns(const float* columns, const int32_t* column, const float* weights, int64_t taps, FloatLanes* sums) {
  // So many sums at a time that none waits for its last addition.
  constexpr int kAtOnce = kLanes < 8 ? kLanes : 8;
  for (int i = 0; i < kLanes; i += kAtOnce) {
    FloatLanes some[kAtOnce] = {};
    const float* from[kAtOnce];
    for (int s = 0; s < kAtOnce; ++s) from[s] = columns + column[i + s] * kLanes;
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int s = 0; s < kAtOnce; ++s) {
        some[s] = fused_multiply_add(load_floats(from[s] + tap * kLanes), weights[tap], some[s]);
      }
    }
    for (int s = 0; s < kAtOnce; ++s) sums[i + s] = some[s];
  }
}

}  // namespace

Status correlate_dense_at(const float* src, const Reads& reads, const float* weights, int64_t taps, int64_t begin,
                          int64_t end, float* dst) {
  Scratch scratch;
  Picked picked;
  if (!pick_all(scratch, reads, picked)) return Status::kOutOfMemory;
  const int64_t width = picked.width, radius = taps / 2;
  if (taps == 1) {
    float* to = dst + begin * picked.columns_made;
    for_each_picked(picked, begin, end, [&](int64_t i) { *to++ = pyd_fma(weights[0], src[i], 0.0f); });
    return Status::kOk;
  }
  if (picked.columns != nullptr) {
    bool good = true;
    for_each_tile(picked.columns_made, [&](auto vectors, int64_t l) {
      good &= correlate_dense_columns<vectors.value>(src, picked, l, weights, taps, begin, end, dst);
    });
    return good ? Status::kOk : Status::kOutOfMemory;
  }
  const int64_t stride = round_up(width, kLanes) + 2 * radius;
  RowRing ring(picked.height, radius, stride, widest_tile(picked.rows, begin, end));
  if (!ring.allocate(scratch)) return Status::kOutOfMemory;
  const auto fill = [&](int64_t row, int64_t) { pad_row(src + row * width, width, radius, stride, ring.place(row)); };
  for (int64_t k = begin; k < end; k += kTileRows) {
    const SpreadRows tile = spread_rows(picked.rows, k, end);
    const float* const* const rows = ring.move_to(picked.rows[k], picked.rows[k] + tile.at[tile.count - 1], fill);
    for_each_tile(width, [&](auto vectors, int64_t x) {
      correlate_spread_tile<vectors.value>(rows, x, 1, weights, taps, taps, tile, dst + k * width + x, width, width - x);
    });
  }
  return Status::kOk;
}

Status correlate_separable_at(const float* src, const Reads& reads, const float* horizontal, const float* vertical,
                              int64_t taps, int64_t begin, int64_t end, float* dst) {
  Scratch scratch;
  Picked picked;
  if (!pick_all(scratch, reads, picked)) return Status::kOutOfMemory;
  const int64_t width = picked.width, made = picked.columns_made, radius = taps / 2;
  if (taps == 1) {
    float* to = dst + begin * made;
    for_each_picked(picked, begin, end,
                    [&](int64_t i) { *to++ = pyd_fma(vertical[0], pyd_fma(horizontal[0], src[i], 0.0f), 0.0f); });
    return Status::kOk;
  }
  const int64_t stride = round_up(made, kLanes), most_rows = widest_tile(picked.rows, begin, end);
  const auto down = [&](RowRing& ring, const auto& fill) {
    for (int64_t k = begin; k < end; k += kTileRows) {
      const SpreadRows tile = spread_rows(picked.rows, k, end);
      const float* const* const rows = ring.move_to(picked.rows[k], picked.rows[k] + tile.at[tile.count - 1], fill);
      for_each_tile(made, [&](auto vectors, int64_t x) {
        correlate_spread_tile<vectors.value>(rows, x, 1, vertical, taps, 1, tile, dst + k * made + x, made, made - x);
      });
    }
  };
  if (picked.columns == nullptr) {
    const int64_t padded_stride = stride + 2 * radius;
    RowRing ring(picked.height, radius, stride, most_rows);
    float* const padded = scratch.take<float>(padded_stride);
    if (padded == nullptr || !ring.allocate(scratch)) return Status::kOutOfMemory;
    down(ring, [&](int64_t row, int64_t) {
      float* const to = ring.place(row);
      pad_row(src + row * width, width, radius, padded_stride, padded);
      for_each_tile(width,
                    [&](auto vectors, int64_t x) { horizontal_tile<vectors.value>(padded + x, horizontal, taps, to + x); });
    });
    return Status::kOk;
  }

  // kLanes rows at a time lie in the lanes, so that neighbouring columns need not be made together.
  RowRing ring(picked.height, radius, stride, most_rows, kLanes);
  float* const columns = scratch.take<float>((width + 2 * radius) * kLanes);
  int32_t* const column = scratch.take<int32_t>(stride);
  if (columns == nullptr || column == nullptr || !ring.allocate(scratch)) return Status::kOutOfMemory;
  for (int64_t l = 0; l < stride; ++l) column[l] = picked.columns[l < made ? l : made - 1];
  down(ring, [&](int64_t first, int64_t count) {
    const float* rows[kLanes];
    for (int64_t r = 0; r < kLanes; ++r) rows[r] = src + (first + (r < count ? r : 0)) * width;
    float* const middle = columns + radius * kLanes;
    rows_to_columns(rows, width, middle);
    for (int64_t x = 1; x <= radius; ++x) {
      store_floats(middle - x * kLanes, load_floats(middle + reflect_101(-x, width) * kLanes));
      store_floats(middle + (width - 1 + x) * kLanes, load_floats(middle + reflect_101(width - 1 + x, width) * kLanes));
    }
    for (int64_t l = 0; l < stride; l += kLanes) {
      FloatLanes block[kLanes];
      horizontal_columns(columns, column + l, horizontal, taps, block);
      transpose_lanes(block);
      for (int64_t r = 0; r < count; ++r) store_floats(ring.place(first + r) + l, block[r]);
    }
  });
  return Status::kOk;
}

// In instructions of a vector per row of the source: multiply-adds against turning kLanes x kLanes blocks, which takes
// about as many shuffles as loads and stores.
bool pays_to_skip_columns(const Reads& reads, int64_t taps, bool separable) {
  if (taps == 1) return true;
  const double turn = kLanes == 16 ? 96.0 : kLanes == 8 ? 40.0 : 20.0;
  const double all = static_cast<double>(round_up(reads.full.width, kLanes)) / kLanes;
  const double made = static_cast<double>(round_up(reads.column_count, kLanes)) / kLanes;
  const double rows = static_cast<double>(reads.row_count) / static_cast<double>(reads.full.height);
  const double each = static_cast<double>(taps);
  if (separable) {
    const double turned = (all + made) * turn / kLanes;
    return made * each * (1.0 + rows) + turned < all * each * (1.0 + rows);
  }
  const double turned = made * static_cast<double>(round_up(taps, kLanes) / kLanes) * turn;
  return made * each * each * rows + turned < all * each * each * rows;
}

}  // namespace PYD_ISA
}  // namespace pyd

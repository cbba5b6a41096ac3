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
// source, made once by `fill(y, destination)`, stands in place y % kept; the window of a tile never holds more than that.
class RowRing {
 public:
  // Serves tiles of kTileRows rows from row `begin` on, `radius` rows above and below included.
  RowRing(int64_t height, int64_t radius, int64_t begin, int64_t stride)
      : height_(height), radius_(radius), stride_(stride), window_(2 * radius + kTileRows) {
    kept_ = window_ < height ? window_ : height;
    // Where the picture is lower than the window, reflection may lead to any row.
    next_ = window_ < height && begin > radius ? begin - radius : 0;
  }
  bool allocate(Scratch& scratch) {
    memory_ = scratch.take<float>(kept_ * stride_);
    rows_ = scratch.take<const float*>(window_);
    return memory_ != nullptr && rows_ != nullptr;
  }
  // rows[i] = row y - radius + i of the picture continued by reflection, for a tile whose outputs are rows y .. end - 1.
  template <typename Fill>
  const float* const* move_to(int64_t y, int64_t end, const Fill& fill) {
    const int64_t last = y + kTileRows < end ? y + kTileRows - 1 : end - 1;
    const int64_t needed = window_ < height_ && last + radius_ < height_ ? last + radius_ + 1 : height_;
    for (; next_ < needed; ++next_) fill(next_, place(next_));
    for (int64_t i = 0; i < window_; ++i) {
      // Rows below the last one meet only outputs that are not stored: any row serves.
      const int64_t row = y - radius_ + i < last + radius_ ? y - radius_ + i : last + radius_;
      rows_[i] = place(mirrored(row));
    }
    return rows_;
  }

 private:
  float* place(int64_t row) const { return memory_ + row % kept_ * stride_; }
  int64_t mirrored(int64_t row) const { return row >= 0 && row < height_ ? row : reflect_101(row, height_); }

  int64_t height_, radius_, stride_, window_, kept_, next_;
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

// Adds one input row to the outputs First .. Last - 1 of a tile; output r meets kernel row `row` - r.
template <int Vectors, int First, int Last>
PYD_HD void add_row(const float* in, const float* weights, int64_t row, int64_t row_taps,
                    FloatLanes sums[kTileRows][Vectors]) {
  const float* const w = weights + row * row_taps;
  for (int64_t tap = 0; tap < row_taps; ++tap) {
    FloatLanes pixels[Vectors];
    for (int v = 0; v < Vectors; ++v) pixels[v] = load_floats_once(in + tap + v * kLanes);
    for (int64_t r = First; r < Last; ++r) {
      const float weight = w[tap - r * row_taps];
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
  add_row<Vectors, 0, 1>(rows[0] + x, weights, 0, row_taps, sums);
  add_row<Vectors, 0, 2>(rows[1] + x, weights, 1, row_taps, sums);
  add_row<Vectors, 0, 3>(rows[2] + x, weights, 2, row_taps, sums);
  int64_t row = 3;
  for (; row < kernel_rows; ++row) add_row<Vectors, 0, 4>(rows[row] + x, weights, row, row_taps, sums);
  add_row<Vectors, 1, 4>(rows[row] + x, weights, row, row_taps, sums);
  add_row<Vectors, 2, 4>(rows[row + 1] + x, weights, row + 1, row_taps, sums);
  add_row<Vectors, 3, 4>(rows[row + 2] + x, weights, row + 2, row_taps, sums);
  for (int64_t r = 0; r < tile_rows; ++r) store_tile_row<Vectors>(sums[r], dst + r * stride, length);
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
  RowRing ring(height, radius, begin, stride);
  if (!ring.allocate(scratch)) return Status::kOutOfMemory;
  const auto fill = [&](int64_t row, float* to) { pad_row(src + row * width, width, radius, stride, to); };
  for (int64_t y = begin; y < end; y += kTileRows) {
    const float* const* const rows = ring.move_to(y, end, fill);
    const int64_t tile_rows = end - y < kTileRows ? end - y : kTileRows;
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
  RowRing ring(height, radius, begin, stride);
  float* const padded = scratch.take<float>(padded_stride);
  if (padded == nullptr || !ring.allocate(scratch)) return Status::kOutOfMemory;
  const auto fill = [&](int64_t row, float* to) {
    pad_row(src + row * width, width, radius, padded_stride, padded);
    for_each_tile(width,
                  [&](auto vectors, int64_t x) { horizontal_tile<vectors.value>(padded + x, horizontal, taps, to + x); });
  };
  for (int64_t y = begin; y < end; y += kTileRows) {
    const float* const* const rows = ring.move_to(y, end, fill);
    const int64_t tile_rows = end - y < kTileRows ? end - y : kTileRows;
    for_each_tile(width, [&](auto vectors, int64_t x) {
      correlate_tile<vectors.value>(rows, x, vertical, taps, 1, dst + y * width + x, width, tile_rows, width - x);
    });
  }
  return Status::kOk;
}

}  // namespace PYD_ISA
}  // namespace pyd

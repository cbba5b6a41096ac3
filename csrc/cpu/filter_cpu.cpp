// Register-tiled correlation: a tile of kTileRows x kTileVectors accumulators stays in registers while the input rows pass
// by, each loaded vector feeding kTileRows outputs. Kernels are padded with zero rows so that the loop has no branches; a
// multiply-add with weight zero changes no accumulator.

#include "cpu/filter.h"
#include "cpu/simd.h"
#include "math/border.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int64_t kTileRows = 4;
constexpr int64_t kTileWidth = kTileVectors * kVectorFloats;

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Copies a row and continues it by reflection: `radius` px on the left, on the right to the end of `stride`.
void pad_row(const float* src, int64_t width, int64_t radius, int64_t stride, float* dst) {
  for (int64_t x = 0; x < radius; ++x) dst[x] = src[reflect_101(x - radius, width)];
  memcpy(dst + radius, src, static_cast<size_t>(width) * sizeof(float));
  for (int64_t x = radius + width; x < stride; ++x) dst[x] = src[reflect_101(x - radius, width)];
}

// The source rows that the output rows begin .. end - 1 look at: rows[i] points to row begin - radius + i, reflected.
// Each is made once, by `fill(source row, destination)`, in memory of `stride` floats a row.
template <typename Fill>
Status gather_rows(int64_t height, int64_t radius, int64_t begin, int64_t end, int64_t stride, Scratch& scratch,
                   const float** rows, const Fill& fill) {
  int64_t lowest = height, highest = 0;
  for (int64_t y = begin - radius; y < end + radius; ++y) {
    const int64_t row = reflect_101(y, height);
    lowest = row < lowest ? row : lowest;
    highest = row > highest ? row : highest;
  }
  float* memory = scratch.take<float>((highest - lowest + 1) * stride);
  if (memory == nullptr) return Status::kOutOfMemory;
  for (int64_t row = lowest; row <= highest; ++row) fill(row, memory + (row - lowest) * stride);
  for (int64_t y = begin - radius; y < end + radius; ++y) {
    *rows++ = memory + (reflect_101(y, height) - lowest) * stride;
  }
  return Status::kOk;
}

void store_tile_row(const Vector sums[kTileVectors], float* dst, int64_t length) {
  if (length >= kTileWidth) {
    for (int v = 0; v < kTileVectors; ++v) store(dst + v * kVectorFloats, sums[v]);
    return;
  }
  float row[kTileWidth];
  for (int v = 0; v < kTileVectors; ++v) store(row + v * kVectorFloats, sums[v]);
  memcpy(dst, row, static_cast<size_t>(length) * sizeof(float));
}

// One tile of a dense kernel. `weights` has kTileRows - 1 zero rows before and after the kernel's own.
void dense_tile(const float* const* rows, int64_t x, const float* weights, int64_t taps, float* dst, int64_t stride,
                int64_t tile_rows, int64_t length) {
  Vector sums[kTileRows][kTileVectors] = {};
  for (int64_t row = 0; row < taps + kTileRows - 1; ++row) {
    const float* in = rows[row] + x;
    const float* w = weights + (row + kTileRows - 1) * taps;
    for (int64_t tap = 0; tap < taps; ++tap) {
      Vector pixels[kTileVectors];
      for (int v = 0; v < kTileVectors; ++v) pixels[v] = load(in + tap + v * kVectorFloats);
      for (int64_t r = 0; r < kTileRows; ++r) {
        const float weight = w[tap - r * taps];
        for (int v = 0; v < kTileVectors; ++v) sums[r][v] = multiply_add(weight, pixels[v], sums[r][v]);
      }
    }
  }
  for (int64_t r = 0; r < tile_rows; ++r) store_tile_row(sums[r], dst + r * stride, length);
}

// One tile of vertical taps; `weights` has kTileRows - 1 zeros before and after.
void vertical_tile(const float* const* rows, int64_t x, const float* weights, int64_t taps, float* dst, int64_t stride,
                   int64_t tile_rows, int64_t length) {
  Vector sums[kTileRows][kTileVectors] = {};
  for (int64_t row = 0; row < taps + kTileRows - 1; ++row) {
    Vector pixels[kTileVectors];
    for (int v = 0; v < kTileVectors; ++v) pixels[v] = load(rows[row] + x + v * kVectorFloats);
    for (int64_t r = 0; r < kTileRows; ++r) {
      const float weight = weights[row + kTileRows - 1 - r];
      for (int v = 0; v < kTileVectors; ++v) sums[r][v] = multiply_add(weight, pixels[v], sums[r][v]);
    }
  }
  for (int64_t r = 0; r < tile_rows; ++r) store_tile_row(sums[r], dst + r * stride, length);
}

// Horizontal taps over one padded row; writes whole tiles.
void horizontal_row(const float* padded, const float* weights, int64_t taps, int64_t width, float* dst) {
  for (int64_t x = 0; x < width; x += kTileWidth) {
    Vector sums[kTileVectors] = {};
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int v = 0; v < kTileVectors; ++v) {
        sums[v] = multiply_add(weights[tap], load(padded + x + tap + v * kVectorFloats), sums[v]);
      }
    }
    store_tile_row(sums, dst + x, kTileWidth);
  }
}

}  // namespace

int64_t strip_rows(int64_t height, int64_t planes) {
  if (inside_parallel() || num_threads() == 1) return height;
  const int64_t strips = (2 * num_threads() + planes - 1) / planes;
  return round_up((height + strips - 1) / strips, kTileRows);
}

Status correlate_dense(const float* src, int64_t height, int64_t width, const float* weights, int64_t taps, int64_t begin,
                       int64_t end, float* dst) {
  const int64_t radius = taps / 2;
  const int64_t stride = round_up(width, kTileWidth) + 2 * radius + kVectorFloats;
  const int64_t extra = kTileRows - 1;
  Scratch scratch;
  float* padded_weights = scratch.take<float>((taps + 2 * extra) * taps);
  const float** rows = scratch.take<const float*>(end - begin + 2 * radius + extra);
  if (padded_weights == nullptr || rows == nullptr) return Status::kOutOfMemory;
  memset(padded_weights, 0, static_cast<size_t>((taps + 2 * extra) * taps) * sizeof(float));
  memcpy(padded_weights + extra * taps, weights, static_cast<size_t>(taps * taps) * sizeof(float));
  const Status status = gather_rows(height, radius, begin, end, stride, scratch, rows, [&](int64_t row, float* to) {
    pad_row(src + row * width, width, radius, stride, to);
  });
  if (status != Status::kOk) return status;
  // The last tile may look at rows below the strip; they meet weight zero or outputs that are not stored.
  for (int64_t row = 0; row < extra; ++row) rows[end - begin + 2 * radius + row] = rows[end - begin + 2 * radius - 1];

  for (int64_t y = begin; y < end; y += kTileRows) {
    const int64_t tile_rows = end - y < kTileRows ? end - y : kTileRows;
    for (int64_t x = 0; x < width; x += kTileWidth) {
      dense_tile(rows + (y - begin), x, padded_weights, taps, dst + y * width + x, width, tile_rows, width - x);
    }
  }
  return Status::kOk;
}

Status correlate_separable(const float* src, int64_t height, int64_t width, const float* horizontal, const float* vertical,
                           int64_t taps, int64_t begin, int64_t end, float* dst) {
  const int64_t radius = taps / 2;
  const int64_t tiled = round_up(width, kTileWidth);
  const int64_t extra = kTileRows - 1;
  float weights[kMaxTaps + 2 * extra] = {};
  memcpy(weights + extra, vertical, static_cast<size_t>(taps) * sizeof(float));
  Scratch scratch;
  const int64_t padded_stride = tiled + 2 * radius + kVectorFloats;
  float* padded = scratch.take<float>(padded_stride);
  const float** rows = scratch.take<const float*>(end - begin + 2 * radius + extra);
  if (padded == nullptr || rows == nullptr) return Status::kOutOfMemory;
  const Status status = gather_rows(height, radius, begin, end, tiled, scratch, rows, [&](int64_t row, float* to) {
    pad_row(src + row * width, width, radius, padded_stride, padded);
    horizontal_row(padded, horizontal, taps, width, to);
  });
  if (status != Status::kOk) return status;
  for (int64_t row = 0; row < extra; ++row) rows[end - begin + 2 * radius + row] = rows[end - begin + 2 * radius - 1];

  for (int64_t y = begin; y < end; y += kTileRows) {
    const int64_t tile_rows = end - y < kTileRows ? end - y : kTileRows;
    for (int64_t x = 0; x < width; x += kTileWidth) {
      vertical_tile(rows + (y - begin), x, weights, taps, dst + y * width + x, width, tile_rows, width - x);
    }
  }
  return Status::kOk;
}

}  // namespace PYD_ISA
}  // namespace pyd

// What the recorder tells the kernels.
#pragma once

#include "cuda/program.h"
#include "ops/resize/math.h"

namespace pyd {

// Fills the table of an axis. `of_part`: of an image that has those samples alone that are read; sample j * stride + t is
// tap t of output j. Behind the table stands then which samples these are, int32 [out][stride]; any where there is no tap.
struct ResizeTableRow {
  Axis axis;
  Place place;  // of the TapTable
  int32_t of_part;
  int32_t unused;
};

// Taps of every output sample along one axis (math/taps.h): int32 count[out], low[out], high[out] (the range of the
// indices), int32 index[out][stride], float weight[out][stride].
struct TapTable {
  Place place;
  int32_t out_px;
  int32_t stride;
};
PYD_HD int64_t table_bytes(int64_t out_px, int64_t stride) { return 4 * out_px * (3 + 2 * stride); }

struct ResizeRow {
  Picture src, dst;
  TapTable vertical, horizontal;
  int32_t vertical_first;
  int32_t tile_height, tile_width;
  int32_t tiles_y, tiles_x;
  int32_t unused;
};
// Floats of shared memory for what lies between the two passes.
constexpr int32_t kResizeShared = 8192;

}  // namespace pyd

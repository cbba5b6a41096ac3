// What the recorder tells the kernels.
#pragma once

#include "cuda/filter.h"

namespace pyd {

struct BlurRow {
  Picture src;
  Place dst;
  Place weights;
  Place rows, columns;  // of a part that has not all of them: int32 numbers of those that it has
  int32_t path, size_px;
  int32_t border;  // BlurBorder
  int32_t tiles_y, tiles_x;
  int32_t row_count, column_count;  // of a part, which is all that dst has of the result
  int32_t some_rows, some_columns;
  int32_t unused;
};

// Of a part, a block makes kPartColumns columns, one per thread of a warp, and kPartRows rows per warp. Shared memory: the
// range and the rows, the kernel, rows of pixels.
constexpr int32_t kPartColumns = 32;
constexpr int32_t kPartRows = 6;
constexpr int32_t kPartTileRows = kThreads_blur_part / kPartColumns * kPartRows;
constexpr int32_t kPartPlaceBytes = 4 * (4 + kPartTileRows);
constexpr int32_t kPartPixels = 4096;  // at least the columns of a block with the kernel's reach
PYD_HD int32_t part_weights(int32_t taps, bool separable) { return (separable ? 2 : taps) * round_up4(taps); }

}  // namespace pyd

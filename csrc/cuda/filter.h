// What recorders and kernels of the filters (blur, sharpen) agree on.
#pragma once

#include "cuda/program.h"

namespace pyd {

// Output tile of the filters, px.
constexpr int32_t kFilterTileWidth = 64;
constexpr int32_t kFilterTileHeight = 32;
constexpr int32_t kFilterRows = 4;    // px per thread
constexpr int32_t kFilterChunk = 16;  // rows filtered horizontally at a time
constexpr int32_t kFilterPad = kFilterRows - 1;

PYD_HD int32_t round_up4(int32_t value) { return (value + 3) / 4 * 4; }

// Shared memory of a dense kernel, in floats: the padded weights, then the pixels.
PYD_HD int32_t dense_weights(int32_t taps) { return (taps + 2 * kFilterPad) * round_up4(taps); }
PYD_HD int32_t dense_shared(int32_t taps) {
  return dense_weights(taps) + (kFilterTileHeight + taps - 1) * (kFilterTileWidth + round_up4(taps));
}
// Of a separable one: horizontal taps, padded vertical taps, some rows of pixels, all rows filtered horizontally.
PYD_HD int32_t separable_weights(int32_t taps) { return round_up4(taps) + round_up4(taps + 2 * kFilterPad); }
PYD_HD int32_t separable_shared(int32_t taps) {
  return separable_weights(taps) + kFilterChunk * (kFilterTileWidth + round_up4(taps)) +
         (kFilterTileHeight + taps - 1) * kFilterTileWidth;
}

// Blocks of threads for the tiles of a picture.
static inline int64_t filter_tiles(const Picture& picture, int32_t& tiles_y, int32_t& tiles_x) {
  tiles_y = (picture.height + kFilterTileHeight - 1) / kFilterTileHeight;
  tiles_x = (picture.width + kFilterTileWidth - 1) / kFilterTileWidth;
  return int64_t{picture.channels} * tiles_y * tiles_x;
}

}  // namespace pyd

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

// A separable filter by rolling: a block goes down a tall tile, and rows that were filtered horizontally stay in a ring
// until the last output that needs them is made, so that hardly any is filtered twice.
constexpr int32_t kRollingRows = 16;           // outputs from one move to the next
constexpr int32_t kRollingWidth = 128;  // px, at most: kRollingRows x kRollingWidth outputs are 4 x 4 px per thread
constexpr int32_t kRollingHeight = 160;  // px, at least, where there are enough blocks
constexpr int64_t kRollingBlocks = 256;  // so many keep a large GPU busy; for fewer, tiles are cut
constexpr int32_t kRollingLeastHeight = 32;

struct RollingTiles {
  int32_t tiles_y, tiles_x;
  int32_t height, width;  // of a tile, px; multiples of 4
};
static inline RollingTiles rolling_tiles(const Picture& picture, int32_t cuts) {
  const int32_t tall = picture.height / kRollingHeight > 1 ? picture.height / kRollingHeight : 1;
  RollingTiles tiles = {tall * cuts, (picture.width + kRollingWidth - 1) / kRollingWidth, 0, 0};
  tiles.height = round_up4((picture.height + tiles.tiles_y - 1) / tiles.tiles_y);
  tiles.width = round_up4((picture.width + tiles.tiles_x - 1) / tiles.tiles_x);
  // Rounded up, fewer may do.
  tiles.tiles_y = (picture.height + tiles.height - 1) / tiles.height;
  tiles.tiles_x = (picture.width + tiles.width - 1) / tiles.width;
  return tiles;
}

// Shared memory in floats: both lines of taps, rows of pixels, the ring.
PYD_HD int32_t rolling_ring_rows(int32_t taps) { return kRollingRows + taps - 1; }
PYD_HD int32_t rolling_shared(int32_t taps, int32_t width) {
  return separable_weights(taps) + kRollingRows * (width + round_up4(taps)) + rolling_ring_rows(taps) * width;
}

// Blocks of threads for the tiles of a picture.
static inline int64_t filter_tiles(const Picture& picture, int32_t& tiles_y, int32_t& tiles_x) {
  tiles_y = (picture.height + kFilterTileHeight - 1) / kFilterTileHeight;
  tiles_x = (picture.width + kFilterTileWidth - 1) / kFilterTileWidth;
  return int64_t{picture.channels} * tiles_y * tiles_x;
}

}  // namespace pyd

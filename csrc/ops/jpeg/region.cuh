// JPEG, what both codecs share: 128 threads encode a region of 64 x 16 px, whole minimum coded units of every subsampling,
// so that no block needs another's samples. Blocks of 8 x 8 samples lie in shared memory, eight threads to a block.
#pragma once

#include "cuda/platform.h"
#include "math/color.h"
#include "ops/jpeg/dct8.h"
#include "ops/jpeg/device.h"

namespace pyd {

struct Region {
  int32_t top, left;              // px
  int32_t chroma_top, chroma_left;  // samples
  int32_t chroma_across, chroma_down;  // blocks of one chroma component
};
PYD_DEVICE Region region_of_block(const JpegRow& row, int32_t block) {
  Region region;
  region.top = block / row.regions_x * kJpegRegionHeight;
  region.left = block % row.regions_x * kJpegRegionWidth;
  region.chroma_top = region.top / row.factor_y;
  region.chroma_left = region.left / row.factor_x;
  region.chroma_across = kJpegRegionWidth / 8 / row.factor_x;
  region.chroma_down = kJpegRegionHeight / 8 / row.factor_y;
  return region;
}

// One of the region's blocks: which component, and where it lies in that component's plane, in blocks.
struct BlockPlace {
  int32_t component, y, x;
  bool inside;
};
PYD_DEVICE int32_t blocks_of(const Region& region) { return 16 + 2 * region.chroma_across * region.chroma_down; }
PYD_DEVICE BlockPlace place_of(const JpegRow& row, const Region& region, int32_t block) {
  BlockPlace place;
  if (block < 16) {
    place.component = 0;
    place.y = region.top / 8 + block / 8;
    place.x = region.left / 8 + block % 8;
    place.inside = place.y < row.luma_blocks_y && place.x < row.luma_blocks_x;
  } else {
    const int32_t each = region.chroma_across * region.chroma_down, b = (block - 16) % each;
    place.component = 1 + (block - 16) / each;
    place.y = region.chroma_top / 8 + b / region.chroma_across;
    place.x = region.chroma_left / 8 + b % region.chroma_across;
    place.inside = place.y < row.chroma_blocks_y && place.x < row.chroma_blocks_x;
  }
  return place;
}

PYD_DEVICE int32_t plane_width(const JpegRow& row, int32_t component) {
  return 8 * (component == 0 ? row.luma_blocks_x : row.chroma_blocks_x);
}
PYD_DEVICE int32_t plane_height(const JpegRow& row, int32_t component) {
  return 8 * (component == 0 ? row.luma_blocks_y : row.chroma_blocks_y);
}
template <typename T>
PYD_DEVICE Global<T> plane_memory(const Bases& bases, const JpegRow& row, const Place& place, int32_t component) {
  return global_memory<T>(bases, place, static_cast<int64_t>(plane_width(row, component)) * plane_height(row, component));
}

// body(block, k): for the eight rows (columns) of every block.
template <typename Body>
PYD_DEVICE void for_each_line(int32_t blocks, const Body& body) {
  for (int32_t item = thread_index(); item < 8 * blocks; item += 128) body(item / 8, item % 8);
}

// Reads line k of a block (rows: step 1; columns: step kBlockRow), changes it, writes it back.
template <typename T, typename Change>
PYD_DEVICE void change_line(const Shared<T>& samples, int32_t first, int32_t step, const Change& change) {
  T x[8];
#pragma unroll
  for (int32_t i = 0; i < 8; ++i) x[i] = samples.get(first + i * step);
  change(x);
#pragma unroll
  for (int32_t i = 0; i < 8; ++i) samples.set(first + i * step, x[i]);
}

// Fills the region's blocks. Edges are the encoder's: columns repeat at full size before chroma is averaged, an odd last
// row is doubled, further rows repeat averaged chroma. `Codec` converts and averages.
template <typename Codec>
PYD_DEVICE void gather_region(const Bases& bases, const JpegRow& row, const Region& region,
                              const Shared<typename Codec::Sample>& blocks) {
  using Sample = typename Codec::Sample;
  const Shared<Sample> chroma = shared_memory<Sample>(4 * kMostJpegBlocks * kBlockWords, 2 * kJpegRegionWords);
  const Global<float> src = picture_memory(bases, row.src);
  const int64_t plane = pixels_of(row.src);
  for (int32_t i = thread_index(); i < kJpegRegionWords; i += 128) {
    const int32_t in_y = i / kJpegRegionWidth, in_x = i % kJpegRegionWidth;
    const int32_t y = region.top + in_y, x = region.left + in_x;
    const int64_t at = static_cast<int64_t>(smaller(y, row.src.height - 1)) * row.src.width + smaller(x, row.src.width - 1);
    const typename Codec::Pixel pixel = row.basicsr == 0 || (y < row.src.height && x < row.src.width)
                                            ? Codec::pixel(src.get(at), src.get(plane + at), src.get(2 * plane + at), row)
                                            : Codec::black();
    blocks.set((in_y / 8 * 8 + in_x / 8) * kBlockWords + in_y % 8 * kBlockRow + in_x % 8, pixel.luma);
    chroma.set(i, pixel.cb);
    chroma.set(kJpegRegionWords + i, pixel.cr);
  }
  PYD_BARRIER();

  const int32_t across = kJpegRegionWidth / row.factor_x, each = across * (kJpegRegionHeight / row.factor_y);
  for (int32_t i = thread_index(); i < 2 * each; i += 128) {
    const int32_t component = i / each, in_y = i % each / across, in_x = i % across;
    int32_t y = region.chroma_top + in_y;
    if (row.basicsr == 0) y = smaller(y, row.chroma_height - 1);
    const int32_t upper = y * row.factor_y - region.top;
    int32_t lower = upper + row.factor_y - 1;
    if (row.basicsr == 0) lower = smaller(lower, row.src.height - 1 - region.top);
    const int32_t base = component * kJpegRegionWords, left = in_x * row.factor_x;
    Sample value = chroma.get(base + upper * kJpegRegionWidth + left);
    if (row.factor_x == 1 && row.factor_y == 2) {
      value = Codec::mean_of_rows(value, chroma.get(base + lower * kJpegRegionWidth + left));
    } else if (row.factor_x == 4) {
      const int32_t first = base + upper * kJpegRegionWidth + left;
      value = Codec::mean_of_line(value, chroma.get(first + 1), chroma.get(first + 2), chroma.get(first + 3));
    } else if (row.factor_x == 2) {
      const Sample right = chroma.get(base + upper * kJpegRegionWidth + left + 1);
      if (row.factor_y == 2) {
        value = Codec::mean_of_four(value, right, chroma.get(base + lower * kJpegRegionWidth + left),
                                    chroma.get(base + lower * kJpegRegionWidth + left + 1), in_x);
      } else {
        value = Codec::mean_of_two(value, right, in_x);
      }
    }
    const int32_t block =
        16 + component * region.chroma_across * region.chroma_down + in_y / 8 * region.chroma_across + in_x / 8;
    blocks.set(block * kBlockWords + in_y % 8 * kBlockRow + in_x % 8, value);
  }
  PYD_BARRIER();
}

// store(component, place in its plane, sample) for every sample of the region that belongs to the picture's blocks.
template <typename Sample, typename Store>
PYD_DEVICE void scatter_region(const JpegRow& row, const Region& region, const Shared<Sample>& blocks, const Store& store) {
  for (int32_t i = thread_index(); i < 64 * blocks_of(region); i += 128) {
    const BlockPlace place = place_of(row, region, i / 64);
    if (!place.inside) continue;
    const int32_t in_y = i % 64 / 8, in_x = i % 8;
    const int64_t at = static_cast<int64_t>(8 * place.y + in_y) * plane_width(row, place.component) + 8 * place.x + in_x;
    store(place.component, at, blocks.get(i / 64 * kBlockWords + in_y * kBlockRow + in_x));
  }
}

}  // namespace pyd

// A packed batch: images of different sizes, one row each, planar, in one float buffer.
#pragma once

#include <cstdint>

namespace pyd {

struct Rows {
  int64_t count;          // number of images
  int64_t channels;       // planes per image, the same for all rows
  const int64_t* offset;  // [count] first float of the row; plane c starts at offset + c * height * width
  const int32_t* height;  // [count] px, >= 1
  const int32_t* width;   // [count] px, >= 1
};

// One image of a packed batch: `channels` contiguous planes of height x width floats.
struct ConstImage {
  const float* data;
  int64_t channels;
  int64_t height;
  int64_t width;
};
struct Image {
  float* data;
  int64_t channels;
  int64_t height;
  int64_t width;
};

static inline ConstImage row_image(const Rows& rows, const float* base, int64_t row) {
  return {base + rows.offset[row], rows.channels, rows.height[row], rows.width[row]};
}
static inline Image row_image(const Rows& rows, float* base, int64_t row) {
  return {base + rows.offset[row], rows.channels, rows.height[row], rows.width[row]};
}

}  // namespace pyd

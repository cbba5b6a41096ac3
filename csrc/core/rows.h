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

struct Size {
  int64_t channels, height, width;
};

// More floats than any memory has; places in bytes still fit 64 bits by far.
constexpr int64_t kMaxFloats = int64_t{1} << 48;
static inline bool is_size(const Size& size) {
  if (size.channels < 1 || size.height < 1 || size.width < 1 || size.channels > kMaxFloats) return false;
  return size.height <= kMaxFloats / size.channels && size.width <= kMaxFloats / (size.channels * size.height);
}

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

static inline Size row_size(const Rows& rows, int64_t row) { return {rows.channels, rows.height[row], rows.width[row]}; }
static inline bool same_size(const Size& a, const Size& b) {
  return a.channels == b.channels && a.height == b.height && a.width == b.width;
}
template <typename Picture>
static inline Size size_of(const Picture& image) {
  return {image.channels, image.height, image.width};
}

static inline ConstImage row_image(const Rows& rows, const float* base, int64_t row) {
  return {base + rows.offset[row], rows.channels, rows.height[row], rows.width[row]};
}
static inline Image row_image(const Rows& rows, float* base, int64_t row) {
  return {base + rows.offset[row], rows.channels, rows.height[row], rows.width[row]};
}

// What the reader of an image looks at: rows[k] and columns[l], ascending, named again where it looks again; null: all of
// them. An image can be handed over as these pixels alone, row_count x column_count of them.
struct Reads {
  Size full;  // of the whole image
  const int32_t* rows;
  const int32_t* columns;
  int64_t row_count, column_count;
};

// One use of an op for a whole packed batch: item i belongs to row i.
template <typename Params>
struct Batch {
  Rows src_rows;
  Rows dst_rows;      // those of src for ops that keep the size
  const float* src;   // of an adjoint: the gradient of the output, or the input of the forward pass when `grad` is there
  const float* grad;  // of an adjoint that needs both; else null
  float* dst;
  Params params;
};

}  // namespace pyd

// Imresize: MATLAB's resize of images of any type, in double, with its rounding.
#pragma once

#include "core/fields.h"
#include "core/status.h"

namespace pyd {

enum PixelType : int32_t { kPixelUint8 = 0, kPixelUint16 = 1, kPixelFloat32 = 2, kPixelFloat64 = 3 };

struct ImresizeArgs {
  int32_t type;              // PixelType of src and dst
  int32_t mode;              // ResizeMode, one of MATLAB's
  int32_t antialias;         // 1: the kernel is widened to a low-pass filter when shrinking
  int32_t replicate;         // 1: the edge is repeated; 0: the image is mirrored at it
  int32_t im2double;         // integer types. 0: rounded after each pass; 1: resized in [0, 1], rounded at the end
  int64_t planes;            // images of one size, resized alike
  int64_t channels;          // interleaved samples per px
  int64_t src_height;        // px, >= 1
  int64_t src_width;         // px, >= 1
  int64_t src_row_stride;    // samples from a row to the next; px and channels are contiguous
  int64_t src_plane_stride;  // samples from a plane to the next
  int64_t dst_height;        // px, >= 1
  int64_t dst_width;         // px, >= 1
  double scale_y;            // output px per input px, > 0
  double scale_x;
  const void* src;
  void* dst;                 // [planes, dst_height, dst_width, channels], does not overlap src
};

// The table of one axis, for callers that apply it elsewhere: output j sums weight[k] * input[index[k]] over k in
// [start[j], start[j + 1]), ascending.
struct ImresizeTapsArgs {
  int32_t mode;       // ResizeMode, one of MATLAB's
  int32_t antialias;  // as above
  int32_t replicate;
  int64_t in_px;
  int64_t out_px;
  double scale;
  Span<int32_t> start;  // out_px + 1 places
  Span<int32_t> index;  // room for all taps, as in `weight`
  Span<double> weight;
};

}  // namespace pyd

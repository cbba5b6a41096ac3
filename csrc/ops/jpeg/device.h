// What the recorder tells the kernels.
#pragma once

#include "cuda/program.h"
#include "ops/jpeg/math.h"

namespace pyd {

struct JpegRow {
  Picture src;
  Place dst;
  Place plane[3];    // coded samples, bytes or floats: luma, Cb, Cr
  Place before[3];   // adjoint with cubic rounding: samples before coding
  Place gradient[3]; // adjoint: gradients of the planes
  Place grad, chroma_grad;  // adjoint: gradient of the output; of full-size chroma, 2 planes
  Place tables;      // libjpeg: 2 x 64 Quantiser; differentiable: 2 x 64 float
  int32_t factor_y, factor_x;
  int32_t chroma_height, chroma_width;
  int32_t luma_blocks_y, luma_blocks_x;
  int32_t chroma_blocks_y, chroma_blocks_x;
  int32_t smooth, basicsr, cubic;
  int32_t clips;         // the input is clipped to [0, 1] first
  int32_t keeps_before;  // `before` is wanted
  int32_t unused;
  int32_t regions_y, regions_x;
};
// Pixels that one block of threads encodes.
constexpr int32_t kJpegRegionHeight = 16;
constexpr int32_t kJpegRegionWidth = 64;
// Its blocks of samples in shared memory, rows one word longer against bank conflicts; 48 of them in 4:4:4. Behind them
// full-size Cb and Cr, in the adjoint a second set of blocks.
constexpr int32_t kBlockRow = 9;
constexpr int32_t kBlockWords = 8 * kBlockRow;
constexpr int32_t kMostJpegBlocks = 48;
constexpr int32_t kJpegRegionWords = kJpegRegionHeight * kJpegRegionWidth;
constexpr int32_t kJpegSharedBytes = 4 * (kMostJpegBlocks * kBlockWords + 2 * kJpegRegionWords);
constexpr int32_t kJpegAdjointSharedBytes = 4 * 2 * kMostJpegBlocks * kBlockWords;

}  // namespace pyd

// A program: what a device has to do for a packed batch, settled on the host before any pixel is read. It is one block of
// bytes (a header, launches, stages with one descriptor per row, tables) that is copied to the device once; kernels find
// everything else by their stage. Memory is named by base and offset, so a program can run again on other images.
#pragma once

#include "math/jpeg.h"
#include "math/rain.h"
#include "math/taps.h"

namespace pyd {

enum Base : int32_t {
  kBaseSrc = 0,
  kBaseDst = 1,
  kBaseTarget = 2,   // of a chain
  kBaseGrad = 3,     // of jpeg_adjoint: gradient of the output
  kBaseProgram = 4,  // the program itself
  kBasePoisson = 5,  // tables of math/poisson.h
  kBaseArena = 6,    // memory of the caller, for what outlives a stage
  kBaseScratch = 7,  // its second part, for what does not; follows from the arena
  kBaseCount = 8,
};

// The only kernel parameter beside the stage's offset.
struct Bases {
  uint8_t* at[kBaseCount];
};

struct Place {
  int64_t offset;  // bytes
  int32_t base;    // Base
  int32_t unused;
};

// Kernel, threads per block, blocks that are to fit on a multiprocessor at once. 0: as the compiler likes; in the filters it
// would spill registers for more of them. launch.h declares one function for each.
#define PYD_KERNELS(X)                 \
  X(prepare, 128, 0)                   \
  X(point, 256, 0)                     \
  X(blur, 128, 8)                      \
  X(sharpen_mask, 128, 8)              \
  X(sharpen_blend, 128, 8)             \
  X(blur_adjoint, 128, 0)              \
  X(resize, 256, 0)                    \
  X(levels, 256, 0)                    \
  X(noise, 128, 0)                     \
  X(rain, 128, 0)                      \
  X(libjpeg_encode, 128, 0)            \
  X(libjpeg_decode, 256, 0)            \
  X(diffjpeg_encode, 128, 0)           \
  X(diffjpeg_decode, 256, 0)           \
  X(diffjpeg_merge_adjoint, 256, 0)    \
  X(diffjpeg_upsample_adjoint, 256, 0) \
  X(diffjpeg_code_adjoint, 128, 0)     \
  X(diffjpeg_split_adjoint, 256, 0)

enum KernelId : int32_t {
#define PYD_ID(name, threads, blocks) kKernel_##name,
  PYD_KERNELS(PYD_ID)
#undef PYD_ID
  kKernelCount
};
#define PYD_THREADS(name, threads, blocks)    \
  constexpr int32_t kThreads_##name = threads; \
  constexpr int32_t kBlocks_##name = blocks;
PYD_KERNELS(PYD_THREADS)
#undef PYD_THREADS

struct ProgramHeader {
  int64_t magic;
  int64_t bytes;
  int64_t launches;
  int64_t first_launch;  // offset of the first Launch
  int64_t scratch_start;  // offset of the scratch part in the arena
  int64_t arena_bytes;    // both parts
};
struct Launch {
  int32_t kernel;  // KernelId
  int32_t shared_bytes;
  int64_t blocks;
  int64_t stage;  // offset of the Stage
};
// Block b works for row r with first_block[r] <= b < first_block[r + 1].
struct Stage {
  int64_t rows;
  int64_t first_block;  // offset of int32 [rows + 1]
  int64_t descriptors;  // offset of one descriptor per row
};

// ---- Descriptors

// An image in memory: `channels` planes of height x width floats.
struct Picture {
  Place place;
  int32_t channels, height, width;
  int32_t unused;
};

struct PrepareRow {
  int32_t clears;  // 1: sets `count` words at `place` to zero; 0: fills the table of `axis`
  int32_t count;
  Axis axis;
  Place place;  // of the table or the words
};

enum PointOp : int32_t { kPointCopy = 0, kPointRound8bit = 1, kPointClip = 2, kPointZero = 3, kPointInside = 4 };
struct PointRow {
  int64_t count;  // floats
  Place src, dst;
  Place other;  // kPointInside: dst = src where `other` lies in [0, 1], else 0
  int32_t op;   // PointOp
  int32_t unused;
};
constexpr int32_t kPointPerBlock = 1024;

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

struct BlurRow {
  Picture src;
  Place dst;
  Place weights;
  int32_t path, size_px;
  int32_t border;  // BlurBorder
  int32_t tiles_y, tiles_x;
  int32_t unused;
};
struct SharpenRow {
  Picture src;
  Place dst;
  Place line;      // taps floats
  Place residual;  // floats
  Place mask;      // bytes, 0 or 1
  int32_t taps;
  int32_t tiles_x, tiles_y;
  float weight, threshold_8bit;
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

struct NoiseRow {
  Picture src;
  Place dst;
  Place seen;  // Poisson: 8 words, one bit for every 8-bit level of the image
  int32_t kind, gray;
  float sigma, gain;
  uint32_t key[4];
  float matrix[9];
  int32_t unused;
};
constexpr int32_t kLevelsPerBlock = 16384;  // px

struct RainRow {
  Picture src;
  Place dst;
  RainShape shape;
};

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

// A library of kernels runs programs of its own build only: "PDPROG" read as bytes, and the sizes of all descriptors.
constexpr int64_t kProgramMagic =
    0x474f52504450 + (int64_t{sizeof(PrepareRow) + 3 * sizeof(PointRow) + 5 * sizeof(BlurRow) + 7 * sizeof(SharpenRow) +
                             11 * sizeof(ResizeRow) + 13 * sizeof(NoiseRow) + 17 * sizeof(JpegRow) + 19 * sizeof(RainRow) +
                             kKernelCount}
                      << 48);

}  // namespace pyd

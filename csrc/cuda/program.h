// A program: what a device has to do for a packed batch, settled on the host before any pixel is read. It is one block of
// bytes (a header, launches, stages with one descriptor per row, tables) that is copied to the device once; kernels find
// everything else by their stage. Memory is named by base and offset, so a program can run again on other images.
#pragma once

#include "ops/list.h"

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

// Every kernel, X(name, threads per block, blocks that are to fit on a multiprocessor at once; 0: as the compiler likes),
// X to be defined where the list is used: those of no op, then those of the ops' fields.h. launch.h declares one function
// for each.
#define PYD_KERNELS_OF(name, ...) PYD_KERNELS_##name
#define PYD_KERNELS \
  X(clear, 128, 0)  \
  X(point, 256, 0)  \
  PYD_OPS(PYD_KERNELS_OF)

enum KernelId : int32_t {
#define X(name, threads, blocks) kKernel_##name,
  PYD_KERNELS
#undef X
      kKernelCount
};
#define X(name, threads, blocks)               \
  constexpr int32_t kThreads_##name = threads; \
  constexpr int32_t kBlocks_##name = blocks;
PYD_KERNELS
#undef X

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
  int64_t stage;      // offset of the Stage
  int64_t row_bytes;  // size of a descriptor: host and kernels have to mean the same
};
// Block b works for row r with first_block[r] <= b < first_block[r + 1].
struct Stage {
  int64_t rows;
  int64_t first_block;  // offset of int32 [rows + 1]
  int64_t descriptors;  // offset of one descriptor per row
};

// ---- Descriptors; those of an op stand in its device.h

// An image in memory: `channels` planes of height x width floats.
struct Picture {
  Place place;
  int32_t channels, height, width;
  int32_t unused;
};

// Sets `count` words to zero.
struct ClearRow {
  Place place;
  int32_t count;
  int32_t unused;
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

// A library of kernels runs programs of its own build only: "PDPROG" read as bytes, and how many kernels there are.
constexpr int64_t kProgramMagic = 0x474f52504450 + (int64_t{kKernelCount} << 48);
constexpr int kAnotherBuild = -1;  // what a launch function answers to descriptors of another size

}  // namespace pyd

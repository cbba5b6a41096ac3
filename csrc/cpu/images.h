// What the loops of one instruction set offer to each other: each op on one image. Compiled once per instruction set;
// PYD_ISA is v2, v3, v4 or base. No STL and no inline function with external linkage may be used in what is compiled so.
#pragma once

#include "core/pages.h"
#include "core/pool.h"
#include "core/scratch.h"
#include "core/status.h"
#include "math/hd.h"
#include "ops/legal.h"

namespace pyd {
namespace PYD_ISA {

// One use of an op: item `item` of its parameters, legal for these sizes. src and dst do not overlap; for ops with the
// trait kInPlace dst may be src.
struct Use {
  int64_t item;
  ConstImage src;
  Image dst;
  bool clips;  // src is to be clipped to [0, 1] first; asked of ops with the trait kClipsInput alone
  // Not null where blur makes, and the resize after it is given, these pixels of the image between them alone.
  const Reads* reads = nullptr;
};
// The same for the gradient of its input: dst = A^T src, or at the input `src` with the gradient `grad` of the output.
struct AdjointUse {
  int64_t item;
  ConstImage src;
  ConstImage grad;  // data null: src is the gradient
  Image dst;        // overlaps neither
};

// Per op, in its cpu.cpp: the op, its gradient, and about how many ns it takes per px of its result, so that those who
// share out work can begin with the longest. Each takes its own Scratch; kOutOfMemory when it cannot grow.
#define PYD_DECLARE(name, Name, code, adjoint, traits)                                             \
  Status name##_image(const Name##Params& params, const Use& use);                                 \
  PYD_IF(adjoint, Status name##_adjoint_image(const Name##Params& params, const AdjointUse& use);) \
  double name##_ns_per_px(const Name##Params& params, int64_t item);
PYD_OPS(PYD_DECLARE)
#undef PYD_DECLARE

// What a resize reads of its source, for memory that is taken from `scratch`; and the share of the pixels, at most.
Status resize_reads(Scratch& scratch, const ResizeParams& params, int64_t item, const Size& src, const Size& dst,
                    Reads& reads);
double resize_share_read(const ResizeParams& params, int64_t item, const Size& src, const Size& dst);
// Leaves of `reads` what blur can skip to advantage.
void blur_skips(const BlurParams& params, int64_t item, Reads& reads);

Status copy_image(ConstImage src, Image dst);
// The same where dst may be src, which leaves nothing to do.
Status pass_image(ConstImage src, Image dst);

// To be called before a packed batch is written.
static inline void prepare_output(const Rows& rows, float* data) {
  if (rows.count == 0) return;
  const Image last = row_image(rows, data, rows.count - 1);
  const float* const end = last.data + last.channels * last.height * last.width;
  prefer_large_pages(data, static_cast<size_t>(end - data) * sizeof(float));
}

// Runs `body(row)` for every row and keeps the first failure. With at least as many rows as threads, rows are spread over
// the threads; the few rows left over run one after the other, so that the loops inside them get the threads.
template <typename Body>
static inline Status for_each_row(int64_t count, const Body& body) {
  const int64_t threads = num_threads();
  const int64_t spread = count / threads * threads;
  int32_t failure = 0;
  auto run = [&](int64_t row) {
    const Status status = body(row);
    if (status != Status::kOk) __atomic_store_n(&failure, static_cast<int32_t>(status), __ATOMIC_RELAXED);
  };
  parallel_for(spread, run);
  for (int64_t row = spread; row < count; ++row) run(row);
  return static_cast<Status>(failure);
}

}  // namespace PYD_ISA
}  // namespace pyd

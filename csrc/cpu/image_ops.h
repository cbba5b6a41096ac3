// What the loops of one instruction set offer to each other: each op on one image. Compiled once per instruction set;
// PYD_ISA is v2, v3, v4 or base. No STL and no inline function with external linkage may be used in this folder.
#pragma once

#include "core/pages.h"
#include "core/pool.h"
#include "core/scratch.h"
#include "math/hd.h"
#include "ops.h"

namespace pyd {
namespace PYD_ISA {

// dst has the size the step is planned to give. src and dst do not overlap unless said.
// Each takes its own Scratch; kOutOfMemory when it cannot grow.
Status blur_image(const BlurParams& params, int64_t item, ConstImage src, Image dst);
Status resize_image(const ResizeParams& params, int64_t item, ConstImage src, Image dst);
Status noise_image(const NoiseParams& params, int64_t item, ConstImage src, Image dst);      // dst may be src
Status jpeg_image(const JpegParams& params, int64_t item, ConstImage src, Image dst);        // dst may be src
Status sharpen_image(const SharpenParams& params, int64_t item, ConstImage src, Image dst);
Status rain_image(const RainParams& params, int64_t item, ConstImage src, Image dst);        // dst may be src
Status copy_image(ConstImage src, Image dst);

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

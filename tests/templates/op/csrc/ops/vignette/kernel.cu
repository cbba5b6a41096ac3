#include "cuda/platform.h"
#include "ops/vignette/device.h"
#include "ops/vignette/math.h"

namespace pyd {

// One thread per value.
PYD_KERNEL(vignette, VignetteRow) {
  const Share share = share_of_block(bases, stage);
  const VignetteRow& row = descriptor<VignetteRow>(bases, stage, share.row);
  const int32_t i = share.block * kThreads_vignette + thread_index();
  const int32_t plane = pixels_of(row.src);
  if (i >= row.src.channels * plane) return;
  const Global<float> src = picture_memory(bases, row.src);
  const Global<float> dst = picture_memory(bases, row.src, row.dst);
  const int32_t y = i % plane / row.src.width, x = i % row.src.width;
  dst.set(i, src.get(i) * vignette_light(row.strength, y, x, row.src.height, row.src.width));
}

}  // namespace pyd

// Rain: one thread per pixel adds up the streaks of the cells around it, in the order of math.h.

#include "cuda/platform.h"
#include "ops/rain/device.h"

namespace pyd {

PYD_KERNEL(rain, RainRow) {
  const Share share = share_of_block(bases, stage);
  const RainRow& row = descriptor<RainRow>(bases, stage, share.row);
  const int32_t i = share.block * kThreads_rain + thread_index();
  const int32_t plane = pixels_of(row.src);
  if (i >= plane) return;
  const Global<float> src = picture_memory(bases, row.src);
  const Global<float> dst = picture_memory(bases, row.src, row.dst);
  const float layer = rain_at(row.shape, i / row.src.width, i % row.src.width);
  for (int32_t channel = 0; channel < row.src.channels; ++channel) {
    const int64_t at = static_cast<int64_t>(channel) * plane + i;
    dst.set(at, rain_clip(src.get(at) + layer));
  }
}

}  // namespace pyd

#include "cuda/record.h"

#include "ops/vignette/device.h"

namespace pyd {

void record_vignette(Recorder& recorder, const VignetteParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<VignetteRow> rows;
  std::vector<int64_t> blocks;
  for (const DeviceUse& use : uses) {
    rows.push_back({use.src, use.dst.place, params.strength[use.item], 0});
    blocks.push_back(divide_up(floats_of(use.src), kThreads_vignette));
  }
  recorder.launch(kKernel_vignette, 0, rows, blocks);
}

}  // namespace pyd

// Descriptors and tables for the kernels.

#include "cuda/record.h"

#include "ops/rain/device.h"

namespace pyd {

void record_rain(Recorder& recorder, const RainParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<RainRow> rows;
  std::vector<int64_t> blocks;
  for (const DeviceUse& use : uses) {
    rows.push_back({use.src, use.dst.place, rain_shape_of(params, use.item)});
    blocks.push_back(divide_up(int64_t{use.src.height} * use.src.width, kThreads_rain));
  }
  recorder.launch(kKernel_rain, 0, rows, blocks);
}

}  // namespace pyd

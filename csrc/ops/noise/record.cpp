// Descriptors and tables for the kernels.

#include "cuda/record.h"

#include "ops/noise/device.h"

namespace pyd {

void record_noise(Recorder& recorder, const NoiseParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<NoiseRow> rows, poisson;
  std::vector<int64_t> blocks, poisson_blocks;
  std::vector<PointRow> copies;
  for (const DeviceUse& use : uses) {
    const int32_t kind = params.kind[use.item], gray = params.gray[use.item];
    const Picture& src = use.src;
    if (kind == kNoiseOff) {
      if (!same_place(src.place, use.dst.place)) copies.push_back(point_row(kPointCopy, src, use.dst.place));
      continue;
    }
    NoiseRow row = {};
    row.src = src;
    row.dst = use.dst.place;
    row.kind = kind;
    row.gray = gray;
    row.sigma = params.sigma[use.item];
    row.gain = params.gain[use.item];
    memcpy(row.key, params.key.data + 4 * use.item, sizeof row.key);
    if (kind == kNoiseCorrelated) memcpy(row.matrix, params.matrix.data + 9 * use.item, sizeof row.matrix);
    if (kind == kNoisePoisson) {
      row.seen = recorder.zeros(8);
      poisson.push_back(row);
      const int64_t pixels = int64_t{src.height} * src.width;
      poisson_blocks.push_back(divide_up(gray != 0 ? pixels : floats_of(src), kLevelsPerBlock));
    }
    rows.push_back(row);
    blocks.push_back(divide_up(int64_t{src.height} * divide_up(src.width, 4), kThreads_noise));
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_levels, 32, poisson, poisson_blocks);
  recorder.launch(kKernel_noise, 0, rows, blocks);
}

}  // namespace pyd

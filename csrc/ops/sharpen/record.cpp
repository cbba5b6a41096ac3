// Descriptors and tables for the kernels.

#include "cuda/record.h"

#include "ops/sharpen/device.h"

namespace pyd {

void record_sharpen(Recorder& recorder, const SharpenParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<SharpenRow> rows;
  std::vector<int64_t> blocks;
  std::vector<PointRow> copies;
  int64_t shared = 0;
  for (const DeviceUse& use : uses) {
    const int32_t taps = sharpen_taps(params.radius_px[use.item]);
    if (params.weight[use.item] == 0.0f) {
      copies.push_back(point_row(kPointCopy, use.src, use.dst.place));
      continue;
    }
    float line[kMaxTaps];
    gaussian_line(taps, line);
    SharpenRow row = {};
    row.src = use.src;
    row.dst = use.dst.place;
    row.line = recorder.add(line, 4 * taps);
    row.residual = recorder.scratch(4 * floats_of(use.src));
    row.mask = recorder.scratch(floats_of(use.src));
    row.taps = taps;
    row.weight = params.weight[use.item];
    row.threshold_8bit = params.threshold_8bit[use.item];
    blocks.push_back(filter_tiles(use.src, row.tiles_y, row.tiles_x));
    rows.push_back(row);
    shared = 4 * separable_shared(taps) > shared ? 4 * separable_shared(taps) : shared;
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_sharpen_mask, shared, rows, blocks);
  recorder.launch(kKernel_sharpen_blend, shared, rows, blocks);
}

}  // namespace pyd

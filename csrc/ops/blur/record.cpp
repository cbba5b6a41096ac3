// Descriptors and tables for the kernels.

#include "cuda/record.h"

#include "ops/blur/device.h"

namespace pyd {
namespace {

BlurRow blur_row(Recorder& recorder, const BlurParams& params, const DeviceUse& use) {
  const int32_t size = params.size_px[use.item], path = params.path[use.item];
  const int64_t count = blur_weights(path, size);
  const Place weights = recorder.add(params.weights.data + params.start[use.item], 4 * count);
  return {use.src, use.dst.place, weights, path, size, blur_border(params, use.item), 0, 0, 0};
}

}  // namespace

void record_blur(Recorder& recorder, const BlurParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<BlurRow> rows;
  std::vector<int64_t> blocks;
  std::vector<PointRow> copies;
  int64_t shared = 0;
  for (const DeviceUse& use : uses) {
    if (params.path[use.item] == kBlurIdentity) {
      copies.push_back(point_row(kPointCopy, use.src, use.dst.place));
      continue;
    }
    BlurRow row = blur_row(recorder, params, use);
    blocks.push_back(filter_tiles(use.src, row.tiles_y, row.tiles_x));
    rows.push_back(row);
    const int64_t floats = row.path == kBlurSeparable ? separable_shared(row.size_px) : dense_shared(row.size_px);
    shared = 4 * floats > shared ? 4 * floats : shared;
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_blur, shared, rows, blocks);
}

void record_blur_adjoint(Recorder& recorder, const BlurParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<BlurRow> rows;
  std::vector<int64_t> blocks;
  std::vector<PointRow> copies;
  for (const DeviceUse& use : uses) {
    if (params.path[use.item] == kBlurIdentity) {
      copies.push_back(point_row(kPointCopy, use.src, use.dst.place));
      continue;
    }
    rows.push_back(blur_row(recorder, params, use));
    blocks.push_back(divide_up(floats_of(use.src), kThreads_blur_adjoint));
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_blur_adjoint, 0, rows, blocks);
}

}  // namespace pyd

// Descriptors and tables for the kernels.

#include "cuda/record.h"

#include "ops/sharpen/device.h"

namespace pyd {

namespace {

// Tiles as tall as leaves enough blocks; how many blocks each row has.
std::vector<int64_t> cut_tiles(std::vector<SharpenRow>& rows) {
  std::vector<int64_t> blocks;
  for (int32_t cuts = 1;; cuts *= 2) {
    int64_t total = 0;
    bool tall = false;
    blocks.clear();
    for (SharpenRow& row : rows) {
      row.tiles = rolling_tiles(row.src, cuts);
      blocks.push_back(int64_t{row.src.channels} * row.tiles.tiles_y * row.tiles.tiles_x);
      total += blocks.back();
      tall = tall || row.tiles.height >= 2 * kRollingLeastHeight;
    }
    if (total >= kRollingBlocks || !tall) return blocks;
  }
}

}  // namespace

void record_sharpen(Recorder& recorder, const SharpenParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<SharpenRow> rows;
  std::vector<PointRow> copies;
  float line[kMaxTaps];
  int32_t line_taps = 0;  // most spaces sharpen with one radius
  for (const DeviceUse& use : uses) {
    const int32_t taps = sharpen_taps(params.radius_px[use.item]);
    if (params.weight[use.item] == 0.0f) {
      copies.push_back(point_row(kPointCopy, use.src, use.dst.place));
      continue;
    }
    if (taps != line_taps) gaussian_line(taps, line);
    line_taps = taps;
    SharpenRow row = {};
    row.src = use.src;
    row.dst = use.dst.place;
    row.line = recorder.add(line, 4 * taps);
    row.residual = recorder.scratch(4 * floats_of(use.src));
    row.mask = recorder.scratch(floats_of(use.src));
    row.taps = taps;
    row.weight = params.weight[use.item];
    row.threshold_8bit = params.threshold_8bit[use.item];
    rows.push_back(row);
  }
  const std::vector<int64_t> blocks = cut_tiles(rows);
  int64_t shared = 0;
  for (const SharpenRow& row : rows) {
    const int64_t bytes = 4 * int64_t{rolling_shared(row.taps, row.tiles.width)};
    shared = bytes > shared ? bytes : shared;
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_sharpen_mask, shared, rows, blocks);
  recorder.launch(kKernel_sharpen_blend, shared, rows, blocks);
}

}  // namespace pyd

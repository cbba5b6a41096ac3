// Descriptors and tables for the kernels.

#include "cuda/record.h"

#include "ops/blur/device.h"

namespace pyd {
namespace {

BlurRow blur_row(Recorder& recorder, const BlurParams& params, const DeviceUse& use) {
  const int32_t size = params.size_px[use.item], path = params.path[use.item];
  const int64_t count = blur_weights(path, size);
  const Place weights = recorder.add(params.weights.data + params.start[use.item], 4 * count);
  BlurRow row = {};
  row.src = use.src;
  row.dst = use.dst.place;
  row.weights = weights;
  row.path = path;
  row.size_px = size;
  row.border = blur_border(params, use.item);
  return row;
}

int64_t part_tiles(BlurRow& row, const DevicePart& part) {
  row.rows = part.rows;
  row.columns = part.columns;
  row.row_count = part.row_count;
  row.column_count = part.column_count;
  row.some_rows = part.some_rows;
  row.some_columns = part.some_columns;
  row.tiles_y = static_cast<int32_t>(divide_up(part.row_count, kPartTileRows));
  row.tiles_x = static_cast<int32_t>(divide_up(part.column_count, kPartColumns));
  return int64_t{row.src.channels} * row.tiles_y * row.tiles_x;
}

// Shared memory, floats.
int32_t whole_shared(const BlurRow& row) {
  if (row.path == kBlurIdentity) return 0;
  return row.path == kBlurSeparable ? separable_shared(row.size_px) : dense_shared(row.size_px);
}
int32_t part_shared(const BlurRow& row) {
  return kPartPlaceBytes / 4 + part_weights(row.size_px, row.path == kBlurSeparable) + kPartPixels;
}

// About how long a blur takes, in cycles of a multiprocessor per 32 px: it issues four instructions of 32 threads in one,
// and serves one load from shared memory of 128 different bytes. Counted from the loops of the kernels, not measured.
double cycles(double instructions, double loads) { return instructions > 4.0 * loads ? instructions / 4.0 : loads; }

double whole_cost(const Size& size, double taps, bool separable) {
  const double pixels = static_cast<double>(divide_up(size.height, kFilterTileHeight) * kFilterTileHeight) *
                        static_cast<double>(divide_up(size.width, kFilterTileWidth) * kFilterTileWidth);
  const double steps = (taps + 3.0) / 4.0, twice = (kFilterTileHeight + taps - 1.0) / kFilterTileHeight;
  if (separable) return pixels * (twice * steps * cycles(21.0, 9.0) / 4.0 + (taps + 3.0) * cycles(22.0, 8.0) / 16.0);
  return pixels * (taps + 3.0) * steps * cycles(72.0, 12.0) / 16.0;
}
double part_cost(const DevicePart& part, double taps, bool separable) {
  const double steps = (taps + 3.0) / 4.0;
  const double pixels = static_cast<double>(divide_up(part.row_count, kPartRows) * kPartRows) *
                        static_cast<double>(divide_up(part.column_count, kPartColumns) * kPartColumns);
  // Source rows that a block goes through, and how many of its rows need one of them. Pixels that do not lie side by side
  // come from the same banks of memory.
  const double gap_y = static_cast<double>(part.full.height) / part.row_count;
  const double gap_x = static_cast<double>(part.full.width) / part.column_count;
  const double through = (kPartRows - 1) * gap_y + taps, together = kPartRows * taps / through;
  const double conflicts = gap_x < 4.0 ? gap_x : 4.0;
  const double row = separable
                         ? steps * cycles(11.0, 4.0 * conflicts + 1.0) + cycles(2.0 * kPartRows + 2.0 * together, together)
                         : steps * cycles(2.0 * kPartRows + 6.0 * together + 8.0, together + 4.0 * conflicts);
  return pixels * through / kPartRows * (row + cycles(3.0 * kPartRows, 0.0));
}

}  // namespace

void record_blur(Recorder& recorder, const BlurParams& params, const std::vector<DeviceUse>& uses) {
  struct Rows {
    std::vector<BlurRow> rows;
    std::vector<int64_t> blocks;
    int64_t shared = 0;
  } whole, parts;
  for (const DeviceUse& use : uses) {
    Rows& to = use.part != nullptr ? parts : whole;
    BlurRow row = blur_row(recorder, params, use);
    to.blocks.push_back(use.part != nullptr ? part_tiles(row, *use.part) : filter_tiles(use.src, row.tiles_y, row.tiles_x));
    to.rows.push_back(row);
    const int64_t bytes = 4 * int64_t{use.part != nullptr ? part_shared(row) : whole_shared(row)};
    to.shared = bytes > to.shared ? bytes : to.shared;
  }
  recorder.launch(kKernel_blur, whole.shared, whole.rows, whole.blocks);
  recorder.launch(kKernel_blur_part, parts.shared, parts.rows, parts.blocks);
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

void blur_skips(const BlurParams& params, int64_t item, DevicePart& part) {
  const int32_t path = params.path[item], size = params.size_px[item];
  const bool separable = path == kBlurSeparable;
  const DevicePart asked = part;
  part.some_rows = part.some_columns = false;
  part.row_count = static_cast<int32_t>(part.full.height), part.column_count = static_cast<int32_t>(part.full.width);
  if (path == kBlurIdentity) return;
  double least = whole_cost(part.full, size, separable);
  // A block holds at least one row of all its columns, which may be anywhere.
  const bool fits = part.full.width + size - 1 <= kPartPixels;
  for (const bool skips_rows : {false, true}) {
    for (const bool skips_columns : {false, true}) {
      if (skips_rows > asked.some_rows || skips_columns > asked.some_columns || skips_columns > fits) continue;
      DevicePart tried = part;
      tried.some_rows = skips_rows, tried.some_columns = skips_columns;
      tried.row_count = skips_rows ? asked.row_count : static_cast<int32_t>(part.full.height);
      tried.column_count = skips_columns ? asked.column_count : static_cast<int32_t>(part.full.width);
      const double cost = part_cost(tried, size, separable);
      if ((!skips_rows && !skips_columns) || cost >= least) continue;
      least = cost;
      part = tried;
    }
  }
}

}  // namespace pyd

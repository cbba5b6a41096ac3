// Descriptors and tables for the kernels.

#include "cuda/record.h"

#include <new>

#include "ops/resize/device.h"
#include "ops/resize/table.h"

namespace pyd {
namespace {

constexpr int32_t kTileWidthPx = 128, kTileHeightPx = 16;

Size picture_size(const Picture& picture) { return {picture.channels, picture.height, picture.width}; }

TapTable table_at(const Place& place, const Axis& axis) {
  return {place, static_cast<int32_t>(axis.out_px), static_cast<int32_t>(tap_bound(axis))};
}
// The table of an axis in the arena, which the device makes before the first stage.
Place prepare_taps(Recorder& recorder, const Axis& axis, bool of_part) {
  const int64_t stride = tap_bound(axis);
  const Place place = recorder.arena(table_bytes(axis.out_px, stride) + (of_part ? 4 * axis.out_px * stride : 0));
  const ResizeTableRow row = {axis, place, of_part ? 1 : 0, 0};
  recorder.prepare(kKernel_resize_tables, row, divide_up(axis.out_px, kThreads_resize_tables));
  return place;
}
// The same of an axis that skips samples, and where stands which are read.
Place prepare_part(Recorder& recorder, const Axis& axis, Place& samples) {
  const Place place = prepare_taps(recorder, axis, true);
  samples = place;
  samples.offset += table_bytes(axis.out_px, tap_bound(axis));
  return place;
}

// Input samples that `outputs` neighbouring outputs look at, roughly; the kernel looks for itself.
int64_t likely_span(int64_t outputs, int64_t in_px, int64_t out_px, int64_t stride) {
  const int64_t span = outputs * in_px / out_px + stride;
  return span < in_px ? span : in_px;
}

void tile_resize(ResizeRow& row) {
  row.tile_height = kTileHeightPx;
  row.tile_width = kTileWidthPx;
  const bool across = row.vertical_first != 0;
  const Picture &src = row.src, &dst = row.dst;
  for (;;) {
    const int64_t span = across ? likely_span(row.tile_width, src.width, dst.width, row.horizontal.stride)
                                : likely_span(row.tile_height, src.height, dst.height, row.vertical.stride);
    int32_t& along = across ? row.tile_width : row.tile_height;
    int32_t& other = across ? row.tile_height : row.tile_width;
    if (span * other <= kResizeShared) break;
    if (along > 1 && span > 2 * (across ? row.horizontal.stride : row.vertical.stride)) {
      along /= 2;
    } else if (other > 1) {
      other /= 2;
    } else {
      break;
    }
  }
  row.tiles_y = static_cast<int32_t>(divide_up(dst.height, row.tile_height));
  row.tiles_x = static_cast<int32_t>(divide_up(dst.width, row.tile_width));
}

void launch_resize(Recorder& recorder, std::vector<ResizeRow>& rows) {
  std::vector<int64_t> blocks;
  for (ResizeRow& row : rows) {
    tile_resize(row);
    blocks.push_back(int64_t{row.dst.channels} * row.tiles_y * row.tiles_x);
  }
  recorder.launch(kKernel_resize, 16 + 4 * kResizeShared, rows, blocks);
}

// The table of an axis with rows and columns exchanged: for every input sample the outputs it goes to, ascending.
TapTable transposed_taps(Recorder& recorder, const Axis& axis) {
  Scratch scratch;
  SparseRows<float> rows, columns;
  if (!axis_rows(scratch, axis, rows) || !transpose_rows(scratch, rows, axis.in_px, columns)) throw std::bad_alloc();
  const int64_t inputs = columns.outputs, most = most_entries(columns), stride = most < 1 ? 1 : most;
  std::vector<int32_t> words(static_cast<size_t>(table_bytes(inputs, stride) / 4));
  for (int64_t i = 0; i < inputs; ++i) {
    const int64_t first = columns.start[i], taps = columns.start[i + 1] - first;
    words[static_cast<size_t>(i)] = static_cast<int32_t>(taps);
    words[static_cast<size_t>(inputs + i)] = taps != 0 ? columns.index[first] : 0x7FFFFFFF;
    words[static_cast<size_t>(2 * inputs + i)] = taps != 0 ? columns.index[first + taps - 1] : -1;
    const size_t bytes = static_cast<size_t>(taps) * sizeof(int32_t);
    if (taps == 0) continue;
    memcpy(&words[static_cast<size_t>(3 * inputs + i * stride)], columns.index + first, bytes);
    memcpy(&words[static_cast<size_t>((3 + stride) * inputs + i * stride)], columns.weight + first, bytes);
  }
  const Place place = recorder.add(words.data(), 4 * static_cast<int64_t>(words.size()));
  return {place, static_cast<int32_t>(inputs), static_cast<int32_t>(stride)};
}

}  // namespace

void record_resize(Recorder& recorder, const ResizeParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<ResizeRow> rows;
  for (const DeviceUse& use : uses) {
    const DevicePart* const part = use.part;
    const Size src = part != nullptr ? part->full : picture_size(use.src);
    const ResizeAxes axes = resize_axes(params, use.item, src, picture_size(use.dst));
    const auto table = [&](const Axis& axis, bool some, const Place DevicePart::* ready) {
      return table_at(some ? part->*ready : prepare_taps(recorder, axis, false), axis);
    };
    ResizeRow row = {};
    row.src = use.src;
    row.dst = use.dst;
    row.vertical = table(axes.vertical, part != nullptr && part->some_rows, &DevicePart::vertical);
    row.horizontal = table(axes.horizontal, part != nullptr && part->some_columns, &DevicePart::horizontal);
    row.vertical_first = is_vertical_first(axes.vertical, axes.horizontal) ? 1 : 0;
    rows.push_back(row);
  }
  launch_resize(recorder, rows);
}

// src holds the gradient of a forward pass's output, dst receives that of its input.
void record_resize_adjoint(Recorder& recorder, const ResizeParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<ResizeRow> rows;
  for (const DeviceUse& use : uses) {
    const ResizeAxes axes = resize_axes(params, use.item, picture_size(use.dst), picture_size(use.src));
    ResizeRow row = {};
    row.src = use.src;
    row.dst = use.dst;
    row.vertical = transposed_taps(recorder, axes.vertical);
    row.horizontal = transposed_taps(recorder, axes.horizontal);
    row.vertical_first = is_vertical_first(axes.vertical, axes.horizontal) ? 0 : 1;
    rows.push_back(row);
  }
  launch_resize(recorder, rows);
}

DevicePart resize_part(const ResizeParams& params, int64_t item, const Size& src, const Size& dst) {
  const ResizeAxes axes = resize_axes(params, item, src, dst);
  DevicePart part = {};
  part.full = src;
  part.some_rows = skips_inputs(axes.vertical);
  part.some_columns = skips_inputs(axes.horizontal);
  const auto count = [](const Axis& axis, bool some) {
    return static_cast<int32_t>(some ? axis.out_px * tap_bound(axis) : axis.in_px);
  };
  part.row_count = count(axes.vertical, part.some_rows);
  part.column_count = count(axes.horizontal, part.some_columns);
  return part;
}

void place_part(Recorder& recorder, const ResizeParams& params, int64_t item, const Size& dst, DevicePart& part) {
  const ResizeAxes axes = resize_axes(params, item, part.full, dst);
  if (part.some_rows) part.vertical = prepare_part(recorder, axes.vertical, part.rows);
  if (part.some_columns) part.horizontal = prepare_part(recorder, axes.horizontal, part.columns);
}

}  // namespace pyd

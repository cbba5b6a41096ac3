// Descriptors and tables for the kernels.

#include "cuda/record.h"

#include "ops/jpeg/device.h"
#include "ops/jpeg/float_math.h"

namespace pyd {
namespace {

// Of every entry that a table can have, 1 to 255: a division each.
struct AllQuantisers {
  Quantiser of[256] = {};
  AllQuantisers() {
    for (int32_t entry = 1; entry < 256; ++entry) of[entry] = quantiser_of(entry);
  }
};

Place libjpeg_tables(Recorder& recorder, float quality) {
  static const AllQuantisers quantisers;
  const int32_t percent = libjpeg_scale_percent(quality);
  Quantiser tables[2][64];
  for (int i = 0; i < 64; ++i) {
    tables[0][i] = quantisers.of[libjpeg_table_entry(kLumaTable[i], percent)];
    tables[1][i] = quantisers.of[libjpeg_table_entry(kChromaTable[i], percent)];
  }
  return recorder.add(tables, sizeof tables);
}

Place float_tables(Recorder& recorder, float quality, bool basicsr) {
  float tables[2][64];
  float_table_entries(quality, basicsr, tables[0], tables[1]);
  return recorder.add(tables, sizeof tables);
}

JpegRow jpeg_row(Recorder& recorder, const JpegParams& params, const DeviceUse& use) {
  const int32_t mode = params.mode[use.item];
  const bool basicsr = mode == kJpegDiffjpegBasicsr;
  const JpegGeometry g = jpeg_geometry(use.src.height, use.src.width, params.subsampling[use.item], basicsr);
  JpegRow row = {};
  row.src = use.src;
  row.dst = use.dst.place;
  row.factor_y = static_cast<int32_t>(g.factor_y);
  row.factor_x = static_cast<int32_t>(g.factor_x);
  row.chroma_height = static_cast<int32_t>(g.chroma_height);
  row.chroma_width = static_cast<int32_t>(g.chroma_width);
  row.luma_blocks_y = static_cast<int32_t>(g.luma_blocks_y);
  row.luma_blocks_x = static_cast<int32_t>(g.luma_blocks_x);
  row.chroma_blocks_y = static_cast<int32_t>(g.chroma_blocks_y);
  row.chroma_blocks_x = static_cast<int32_t>(g.chroma_blocks_x);
  row.smooth = g.smooth ? 1 : 0;
  row.basicsr = basicsr ? 1 : 0;
  row.cubic = params.rounding[use.item] == kJpegRoundCubic ? 1 : 0;
  row.clips = use.clips;
  row.regions_y = static_cast<int32_t>(divide_up(use.src.height, kJpegRegionHeight));
  row.regions_x = static_cast<int32_t>(divide_up(use.src.width, kJpegRegionWidth));
  const float quality = params.quality[use.item];
  row.tables = is_differentiable(mode) ? float_tables(recorder, quality, basicsr) : libjpeg_tables(recorder, quality);
  return row;
}

int64_t samples_of(const JpegRow& row, int component) {
  return 64 * (component == 0 ? int64_t{row.luma_blocks_y} * row.luma_blocks_x
                              : int64_t{row.chroma_blocks_y} * row.chroma_blocks_x);
}
void take_planes(Recorder& recorder, const JpegRow& row, int64_t sample_bytes, Place* planes) {
  for (int component = 0; component < 3; ++component) {
    planes[component] = recorder.scratch(sample_bytes * samples_of(row, component));
  }
}

std::vector<int64_t> region_blocks(const std::vector<JpegRow>& rows) {
  std::vector<int64_t> blocks;
  for (const JpegRow& row : rows) blocks.push_back(int64_t{row.regions_y} * row.regions_x);
  return blocks;
}
template <typename Count>
std::vector<int64_t> sample_blocks(const std::vector<JpegRow>& rows, int32_t threads, const Count& count) {
  std::vector<int64_t> blocks;
  for (const JpegRow& row : rows) blocks.push_back(divide_up(count(row), threads));
  return blocks;
}
int64_t pixels_of_row(const JpegRow& row) { return int64_t{row.src.height} * row.src.width; }

}  // namespace

void record_jpeg(Recorder& recorder, const JpegParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<JpegRow> exact, smooth;
  std::vector<PointRow> copies;
  for (const DeviceUse& use : uses) {
    const int32_t mode = params.mode[use.item];
    if (mode == kJpegOff) {
      if (!same_place(use.src.place, use.dst.place)) copies.push_back(point_row(kPointCopy, use.src, use.dst.place));
      continue;
    }
    JpegRow row = jpeg_row(recorder, params, use);
    take_planes(recorder, row, is_differentiable(mode) ? 4 : 1, row.plane);
    (is_differentiable(mode) ? smooth : exact).push_back(row);
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_libjpeg_encode, kJpegSharedBytes, exact, region_blocks(exact));
  recorder.launch(kKernel_libjpeg_decode, 0, exact, sample_blocks(exact, kThreads_libjpeg_decode, pixels_of_row));
  recorder.launch(kKernel_diffjpeg_encode, kJpegSharedBytes, smooth, region_blocks(smooth));
  recorder.launch(kKernel_diffjpeg_decode, 0, smooth, sample_blocks(smooth, kThreads_diffjpeg_decode, pixels_of_row));
}

void record_jpeg_adjoint(Recorder& recorder, const JpegParams& params, const std::vector<DeviceUse>& uses) {
  std::vector<JpegRow> rows, cubic;
  std::vector<PointRow> points;
  for (const DeviceUse& use : uses) {
    const int32_t mode = params.mode[use.item];
    const Place grad = {use.src.place.offset, kBaseGrad, 0};
    if (!is_differentiable(mode)) {
      const bool has_gradient = params.libjpeg_gradient.given() && params.libjpeg_gradient[use.item] != 0;
      const PointOp op = mode == kJpegOff ? kPointCopy : (has_gradient ? kPointInside : kPointZero);
      points.push_back({floats_of(use.src), grad, use.dst.place, use.src.place, op, 0});
      continue;
    }
    JpegRow row = jpeg_row(recorder, params, use);
    take_planes(recorder, row, 4, row.plane);
    take_planes(recorder, row, 4, row.gradient);
    row.grad = grad;
    row.chroma_grad = recorder.scratch(4 * 2 * pixels_of_row(row));
    if (row.cubic != 0) {
      row.keeps_before = 1;
      take_planes(recorder, row, 4, row.before);
      cubic.push_back(row);
    }
    rows.push_back(row);
  }
  record_points(recorder, points);
  recorder.launch(kKernel_diffjpeg_encode, kJpegSharedBytes, rows, region_blocks(rows));
  recorder.launch(
      kKernel_diffjpeg_merge_adjoint, 0, rows,
      sample_blocks(rows, kThreads_diffjpeg_merge_adjoint, [](const JpegRow& row) { return samples_of(row, 0); }));
  recorder.launch(
      kKernel_diffjpeg_upsample_adjoint, 0, rows,
      sample_blocks(rows, kThreads_diffjpeg_upsample_adjoint, [](const JpegRow& row) { return 2 * samples_of(row, 1); }));
  recorder.launch(kKernel_diffjpeg_code_adjoint, kJpegAdjointSharedBytes, cubic, region_blocks(cubic));
  recorder.launch(kKernel_diffjpeg_split_adjoint, 0, rows,
                  sample_blocks(rows, kThreads_diffjpeg_split_adjoint, pixels_of_row));
}

}  // namespace pyd

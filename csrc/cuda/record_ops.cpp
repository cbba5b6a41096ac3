// Descriptors and tables of each op. What is refused here is what the CPU ops refuse.

#include "cuda/record.h"
#include "math/gaussian_line.h"
#include "math/jpeg_float.h"

namespace pyd {
namespace {

constexpr int32_t kMostKernelPx = 51;

int64_t filter_tiles(const Picture& picture, int32_t& tiles_y, int32_t& tiles_x) {
  tiles_y = static_cast<int32_t>(divide_up(picture.height, kFilterTileHeight));
  tiles_x = static_cast<int32_t>(divide_up(picture.width, kFilterTileWidth));
  return int64_t{picture.channels} * tiles_y * tiles_x;
}

int32_t border_of(const BlurParams& params, int64_t item) {
  return params.border == nullptr ? int32_t{kBorderReflect101} : params.border[item];
}

bool good_kernel(const BlurParams& params, int64_t item) {
  const int32_t size = params.size_px[item], path = params.path[item], border = border_of(params, item);
  return size >= 1 && size <= kMostKernelPx && size % 2 == 1 && path >= kBlurIdentity && path <= kBlurDense &&
         (border == kBorderReflect101 || border == kBorderSymmetric);
}

BlurRow blur_row(Recorder& recorder, const BlurParams& params, const Job& job) {
  const int32_t size = params.size_px[job.item], path = params.path[job.item];
  const int64_t count = path == kBlurSeparable ? 2 * size : int64_t{size} * size;
  const Place weights = recorder.add(params.weights + params.start[job.item], 4 * count);
  return {job.src, job.dst.place, weights, path, size, border_of(params, job.item), 0, 0, 0};
}

}  // namespace

Status record_blur(Recorder& recorder, const BlurParams& params, const std::vector<Job>& jobs) {
  std::vector<BlurRow> rows;
  std::vector<int64_t> blocks;
  std::vector<PointRow> copies;
  int64_t shared = 0;
  for (const Job& job : jobs) {
    if (!good_kernel(params, job.item)) return Status::kBadArgument;
    if (params.path[job.item] == kBlurIdentity) {
      copies.push_back(point_row(kPointCopy, job.src, job.dst.place));
      continue;
    }
    BlurRow row = blur_row(recorder, params, job);
    blocks.push_back(filter_tiles(job.src, row.tiles_y, row.tiles_x));
    rows.push_back(row);
    const int64_t floats = row.path == kBlurSeparable ? separable_shared(row.size_px) : dense_shared(row.size_px);
    shared = 4 * floats > shared ? 4 * floats : shared;
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_blur, shared, rows, blocks);
  return Status::kOk;
}

Status record_blur_adjoint(Recorder& recorder, const BlurParams& params, const std::vector<Job>& jobs) {
  std::vector<BlurRow> rows;
  std::vector<int64_t> blocks;
  std::vector<PointRow> copies;
  for (const Job& job : jobs) {
    if (!good_kernel(params, job.item)) return Status::kBadArgument;
    if (params.path[job.item] == kBlurIdentity) {
      copies.push_back(point_row(kPointCopy, job.src, job.dst.place));
      continue;
    }
    rows.push_back(blur_row(recorder, params, job));
    blocks.push_back(divide_up(floats_of(job.src), kThreads_blur_adjoint));
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_blur_adjoint, 0, rows, blocks);
  return Status::kOk;
}

Status record_sharpen(Recorder& recorder, const SharpenParams& params, const std::vector<Job>& jobs) {
  std::vector<SharpenRow> rows;
  std::vector<int64_t> blocks;
  std::vector<PointRow> copies;
  int64_t shared = 0;
  for (const Job& job : jobs) {
    const int32_t radius_px = params.radius_px[job.item];
    const int32_t taps = radius_px % 2 == 0 ? radius_px + 1 : radius_px;
    if (radius_px < 0 || taps > kMaxTaps) return Status::kBadArgument;
    if (params.weight[job.item] == 0.0f) {
      copies.push_back(point_row(kPointCopy, job.src, job.dst.place));
      continue;
    }
    float line[kMaxTaps];
    gaussian_line(taps, line);
    SharpenRow row = {};
    row.src = job.src;
    row.dst = job.dst.place;
    row.line = recorder.add(line, 4 * taps);
    row.residual = recorder.scratch(4 * floats_of(job.src));
    row.mask = recorder.scratch(floats_of(job.src));
    row.taps = taps;
    row.weight = params.weight[job.item];
    row.threshold_8bit = params.threshold_8bit[job.item];
    blocks.push_back(filter_tiles(job.src, row.tiles_y, row.tiles_x));
    rows.push_back(row);
    shared = 4 * separable_shared(taps) > shared ? 4 * separable_shared(taps) : shared;
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_sharpen_mask, shared, rows, blocks);
  recorder.launch(kKernel_sharpen_blend, shared, rows, blocks);
  return Status::kOk;
}

// ---- Resize

namespace {

constexpr int32_t kTileWidthPx = 128, kTileHeightPx = 16;

struct Axes {
  Axis vertical, horizontal;
};

Status axes_of(const ResizeParams& params, int64_t item, const Picture& src, const Picture& dst, Axes& axes) {
  const int32_t mode = params.mode[item];
  if (mode < kTorchArea || mode > kDecimate) return Status::kBadArgument;
  axes.vertical = {mode, src.height, dst.height, params.scale_y[item], 0};
  axes.horizontal = {mode, src.width, dst.width, params.scale_x[item], 0};
  const double scale_y = axis_scale(axes.vertical), scale_x = axis_scale(axes.horizontal);
  // Beyond this, positions of samples would not fit 64-bit integers.
  if (!(scale_y > 1e-9 && scale_y < 1e9 && scale_x > 1e-9 && scale_x < 1e9)) return Status::kBadArgument;
  axes.vertical.both_shrink = axes.horizontal.both_shrink = scale_y <= 1.0 && scale_x <= 1.0;
  return Status::kOk;
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
  const int64_t bound = tap_bound(axis), inputs = axis.in_px;
  std::vector<std::vector<int32_t>> index(static_cast<size_t>(inputs));
  std::vector<std::vector<float>> weight(static_cast<size_t>(inputs));
  std::vector<int32_t> from(static_cast<size_t>(bound));
  std::vector<float> factor(static_cast<size_t>(bound));
  size_t stride = 1;
  for (int64_t j = 0; j < axis.out_px; ++j) {
    const int64_t taps = axis_taps(axis, j, from.data(), factor.data());
    for (int64_t t = 0; t < taps; ++t) {
      const auto i = static_cast<size_t>(from[static_cast<size_t>(t)]);
      index[i].push_back(static_cast<int32_t>(j));
      weight[i].push_back(factor[static_cast<size_t>(t)]);
      stride = index[i].size() > stride ? index[i].size() : stride;
    }
  }
  std::vector<int32_t> words(static_cast<size_t>(table_bytes(inputs, static_cast<int64_t>(stride)) / 4));
  const auto all = static_cast<size_t>(inputs);
  for (size_t i = 0; i < all; ++i) {
    const size_t taps = index[i].size();
    words[i] = static_cast<int32_t>(taps);
    words[all + i] = taps != 0 ? index[i].front() : 0x7FFFFFFF;
    words[2 * all + i] = taps != 0 ? index[i].back() : -1;
    for (size_t t = 0; t < taps; ++t) {
      words[3 * all + i * stride + t] = index[i][t];
      memcpy(&words[(3 + stride) * all + i * stride + t], &weight[i][t], sizeof(float));
    }
  }
  const Place place = recorder.add(words.data(), 4 * static_cast<int64_t>(words.size()));
  return {place, static_cast<int32_t>(inputs), static_cast<int32_t>(stride)};
}

}  // namespace

Status record_resize(Recorder& recorder, const ResizeParams& params, const std::vector<Job>& jobs) {
  std::vector<ResizeRow> rows;
  for (const Job& job : jobs) {
    Axes axes;
    const Status status = axes_of(params, job.item, job.src, job.dst, axes);
    if (status != Status::kOk) return status;
    ResizeRow row = {};
    row.src = job.src;
    row.dst = job.dst;
    row.vertical = recorder.taps(axes.vertical);
    row.horizontal = recorder.taps(axes.horizontal);
    row.vertical_first = is_vertical_first(axes.vertical, axes.horizontal) ? 1 : 0;
    rows.push_back(row);
  }
  launch_resize(recorder, rows);
  return Status::kOk;
}

// src holds the gradient of a forward pass's output, dst receives that of its input.
Status record_resize_adjoint(Recorder& recorder, const ResizeParams& params, const std::vector<Job>& jobs) {
  std::vector<ResizeRow> rows;
  for (const Job& job : jobs) {
    Axes axes;
    const Status status = axes_of(params, job.item, job.dst, job.src, axes);
    if (status != Status::kOk) return status;
    ResizeRow row = {};
    row.src = job.src;
    row.dst = job.dst;
    row.vertical = transposed_taps(recorder, axes.vertical);
    row.horizontal = transposed_taps(recorder, axes.horizontal);
    row.vertical_first = is_vertical_first(axes.vertical, axes.horizontal) ? 0 : 1;
    rows.push_back(row);
  }
  launch_resize(recorder, rows);
  return Status::kOk;
}

// ---- Noise

Status record_noise(Recorder& recorder, const NoiseParams& params, const std::vector<Job>& jobs) {
  std::vector<NoiseRow> rows, poisson;
  std::vector<int64_t> blocks, poisson_blocks;
  std::vector<PointRow> copies;
  for (const Job& job : jobs) {
    const int32_t kind = params.kind[job.item], gray = params.gray[job.item];
    const Picture& src = job.src;
    // 16 bits of the counter for y, 16 for x / 4.
    if (src.height > 65535 || src.width > 262143 || kind < kNoiseOff || kind > kNoiseCorrelated) return Status::kBadArgument;
    if ((gray != 0 || kind == kNoiseCorrelated) && src.channels != 3) return Status::kBadArgument;
    if (kind == kNoiseCorrelated && params.matrix == nullptr) return Status::kBadArgument;
    if (kind == kNoiseOff) {
      if (!same_place(src.place, job.dst.place)) copies.push_back(point_row(kPointCopy, src, job.dst.place));
      continue;
    }
    NoiseRow row = {};
    row.src = src;
    row.dst = job.dst.place;
    row.kind = kind;
    row.gray = gray;
    if (kind == kNoiseGaussian) row.sigma = params.sigma[job.item];
    if (kind == kNoisePoisson) row.gain = params.gain[job.item];
    memcpy(row.key, params.key + 4 * job.item, sizeof row.key);
    if (kind == kNoiseCorrelated) memcpy(row.matrix, params.matrix + 9 * job.item, sizeof row.matrix);
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
  return Status::kOk;
}

// ---- Rain

Status record_rain(Recorder& recorder, const RainParams& params, const std::vector<Job>& jobs) {
  std::vector<RainRow> rows;
  std::vector<int64_t> blocks;
  for (const Job& job : jobs) {
    const int64_t item = job.item;
    const float values[6] = {params.streaks_per_kpx[item], params.length_px[item], params.width_px[item],
                             params.angle_rad[item],       params.blur_px[item],   params.brightness[item]};
    if (job.src.height > 65535 || job.src.width > 262143 || !rain_is_legal(values)) return Status::kBadArgument;
    rows.push_back({job.src, job.dst.place, rain_shape(values, params.key + 4 * item)});
    blocks.push_back(divide_up(int64_t{job.src.height} * job.src.width, kThreads_rain));
  }
  recorder.launch(kKernel_rain, 0, rows, blocks);
  return Status::kOk;
}

// ---- JPEG

namespace {

bool good_jpeg(const JpegParams& params, const Job& job) {
  const float quality = params.quality[job.item];
  const int32_t mode = params.mode[job.item], subsampling = params.subsampling[job.item];
  return job.src.channels == 3 && quality >= 1.0f && quality <= 100.0f && subsampling >= kJpeg444 &&
         subsampling <= kJpeg420 && mode >= kJpegLibjpeg && mode <= kJpegDiffjpegBasicsr && same_size(job.src, job.dst);
}

bool is_differentiable(int32_t mode) { return mode == kJpegDiffjpeg || mode == kJpegDiffjpegBasicsr; }

Place libjpeg_tables(Recorder& recorder, float quality) {
  const int32_t percent = libjpeg_scale_percent(quality);
  Quantiser tables[2][64];
  for (int i = 0; i < 64; ++i) {
    tables[0][i] = quantiser_of(libjpeg_table_entry(kLumaTable[i], percent));
    tables[1][i] = quantiser_of(libjpeg_table_entry(kChromaTable[i], percent));
  }
  return recorder.add(tables, sizeof tables);
}

Place float_tables(Recorder& recorder, float quality, bool basicsr) {
  float tables[2][64];
  float_table_entries(quality, basicsr, tables[0], tables[1]);
  return recorder.add(tables, sizeof tables);
}

JpegRow jpeg_row(Recorder& recorder, const JpegParams& params, const Job& job) {
  const int32_t mode = params.mode[job.item];
  const bool basicsr = mode == kJpegDiffjpegBasicsr;
  const JpegGeometry g = jpeg_geometry(job.src.height, job.src.width, params.subsampling[job.item], basicsr);
  JpegRow row = {};
  row.src = job.src;
  row.dst = job.dst.place;
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
  row.cubic = params.rounding[job.item] == kJpegRoundCubic ? 1 : 0;
  row.clips = job.clips;
  row.regions_y = static_cast<int32_t>(divide_up(job.src.height, kJpegRegionHeight));
  row.regions_x = static_cast<int32_t>(divide_up(job.src.width, kJpegRegionWidth));
  const float quality = params.quality[job.item];
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

Status record_jpeg(Recorder& recorder, const JpegParams& params, const std::vector<Job>& jobs) {
  std::vector<JpegRow> exact, smooth;
  std::vector<PointRow> copies;
  for (const Job& job : jobs) {
    const int32_t mode = params.mode[job.item];
    if (mode == kJpegOff) {
      if (!same_place(job.src.place, job.dst.place)) copies.push_back(point_row(kPointCopy, job.src, job.dst.place));
      continue;
    }
    if (!good_jpeg(params, job)) return Status::kBadArgument;
    JpegRow row = jpeg_row(recorder, params, job);
    take_planes(recorder, row, is_differentiable(mode) ? 4 : 1, row.plane);
    (is_differentiable(mode) ? smooth : exact).push_back(row);
  }
  record_points(recorder, copies);
  recorder.launch(kKernel_libjpeg_encode, kJpegSharedBytes, exact, region_blocks(exact));
  recorder.launch(kKernel_libjpeg_decode, 0, exact, sample_blocks(exact, kThreads_libjpeg_decode, pixels_of_row));
  recorder.launch(kKernel_diffjpeg_encode, kJpegSharedBytes, smooth, region_blocks(smooth));
  recorder.launch(kKernel_diffjpeg_decode, 0, smooth, sample_blocks(smooth, kThreads_diffjpeg_decode, pixels_of_row));
  return Status::kOk;
}

Status record_jpeg_adjoint(Recorder& recorder, const JpegParams& params, const std::vector<Job>& jobs,
                           bool libjpeg_gradient) {
  std::vector<JpegRow> rows, cubic;
  std::vector<PointRow> points;
  for (const Job& job : jobs) {
    const int32_t mode = params.mode[job.item];
    const Place grad = {job.src.place.offset, kBaseGrad, 0};
    if (mode != kJpegOff && !good_jpeg(params, job)) return Status::kBadArgument;
    if (!is_differentiable(mode)) {
      const PointOp op = mode == kJpegOff ? kPointCopy : (libjpeg_gradient ? kPointInside : kPointZero);
      points.push_back({floats_of(job.src), grad, job.dst.place, job.src.place, op, 0});
      continue;
    }
    JpegRow row = jpeg_row(recorder, params, job);
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
  recorder.launch(kKernel_diffjpeg_merge_adjoint, 0, rows,
                  sample_blocks(rows, kThreads_diffjpeg_merge_adjoint, [](const JpegRow& row) { return samples_of(row, 0); }));
  recorder.launch(
      kKernel_diffjpeg_upsample_adjoint, 0, rows,
      sample_blocks(rows, kThreads_diffjpeg_upsample_adjoint, [](const JpegRow& row) { return 2 * samples_of(row, 1); }));
  recorder.launch(kKernel_diffjpeg_code_adjoint, kJpegAdjointSharedBytes, cubic, region_blocks(cubic));
  recorder.launch(kKernel_diffjpeg_split_adjoint, 0, rows, sample_blocks(rows, kThreads_diffjpeg_split_adjoint, pixels_of_row));
  return Status::kOk;
}

}  // namespace pyd

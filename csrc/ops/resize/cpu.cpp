// Resize: one sparse matrix per axis (math/taps.h), applied in two passes. A pixel is one chain of fused multiply-adds in
// the order of its taps, whatever the instruction set, the number of threads and the strip it lies in.
#include "core/lanes.h"
#include "cpu/images.h"
#include "ops/resize/table.h"

namespace pyd {
namespace PYD_ISA {
namespace {

using Table = SparseRows<float>;

constexpr int64_t kStripRows = 64;  // output rows per task, a multiple of every kLanes

// ---- Vertical pass

template <int Vectors>
PYD_HD void sum_rows_at(const float* src, int64_t stride, const int32_t* index, const float* weight, int64_t taps,
                        float* dst) {
  FloatLanes sum[Vectors];
  for (int v = 0; v < Vectors; ++v) sum[v] = FloatLanes{};
  for (int64_t t = 0; t < taps; ++t) {
    const float* const row = src + index[t] * stride;
    const float factor = weight[t];
    for (int v = 0; v < Vectors; ++v) sum[v] = fused_multiply_add(load_floats(row + v * kLanes), factor, sum[v]);
  }
  for (int v = 0; v < Vectors; ++v) store_floats(dst + v * kLanes, sum[v]);
}

// One output row: the weighted sum of rows of src.
void sum_rows(const float* src, int64_t stride, int64_t width, const Table& table, int64_t j, float* dst) {
  const int32_t* const index = table.index + table.start[j];
  const float* const weight = table.weight + table.start[j];
  const int64_t taps = table.start[j + 1] - table.start[j];
  if (width < kLanes) {
    for (int64_t x = 0; x < width; ++x) {
      float sum = 0.0f;
      for (int64_t t = 0; t < taps; ++t) sum = pyd_fma(src[index[t] * stride + x], weight[t], sum);
      dst[x] = sum;
    }
    return;
  }
  int64_t x = 0;
  for (; x + 4 * kLanes <= width; x += 4 * kLanes) sum_rows_at<4>(src + x, stride, index, weight, taps, dst + x);
  for (; x + kLanes <= width; x += kLanes) sum_rows_at<1>(src + x, stride, index, weight, taps, dst + x);
  if (x < width) {
    x = width - kLanes;
    sum_rows_at<1>(src + x, stride, index, weight, taps, dst + x);
  }
}

// ---- Horizontal pass, where neighbouring outputs look at a few neighbouring inputs: kLanes outputs of one row at a time.
// Their taps are picked from a window of kWindow inputs by permutation.

#if defined(__AVX512BW__) || defined(__AVX2__)
constexpr bool kPermutes = true;
#else
constexpr bool kPermutes = false;
#endif
#if defined(__AVX512BW__)
constexpr int kWindowVectors = 4;
#else
constexpr int kWindowVectors = 2;
#endif
constexpr int64_t kWindow = kWindowVectors * kLanes;
constexpr int64_t kPermutedRows = 4;

// Block b makes outputs output[b] .. output[b] + kLanes - 1 from inputs first[b] .. first[b] + kWindow - 1. Outputs have
// different numbers of taps: `present` is -1 where there is a tap, and `full` says that all have one.
struct Blocks {
  int64_t count;
  int64_t taps;
  bool narrow;            // all windows are no wider than two vectors
  int64_t* output;        // [count]
  int64_t* first;         // [count]
  int32_t* full;          // [count, taps]
  int32_t* place;         // [count, taps, kLanes] from first[b] on
  float* weight;          // [count, taps, kLanes]
  int32_t* present;       // [count, taps, kLanes]
};

// False when scratch memory cannot grow. `blocks.count` is 0 where the pass cannot be done this way.
bool build_blocks(Scratch& scratch, const Table& table, int64_t inputs, Blocks& blocks) {
  blocks = {};
  if (!kPermutes || inputs < kWindow || table.outputs < kLanes) return true;
  const int64_t count = (table.outputs + kLanes - 1) / kLanes;
  const int64_t taps = most_entries(table);
  blocks.taps = taps;
  blocks.output = scratch.take<int64_t>(count);
  blocks.first = scratch.take<int64_t>(count);
  blocks.full = scratch.take<int32_t>(count * taps);
  blocks.place = scratch.take<int32_t>(count * taps * kLanes);
  blocks.weight = scratch.take<float>(count * taps * kLanes);
  blocks.present = scratch.take<int32_t>(count * taps * kLanes);
  if (!blocks.output || !blocks.first || !blocks.full || !blocks.place || !blocks.weight || !blocks.present) return false;

  int64_t widest = 0;
  for (int64_t b = 0; b < count; ++b) {
    // The last block overlaps its neighbour.
    const int64_t j = b * kLanes < table.outputs - kLanes ? b * kLanes : table.outputs - kLanes;
    int64_t low, high;
    inputs_used(table, j, j + kLanes, low, high);
    widest = high - low + 1 > widest ? high - low + 1 : widest;
    blocks.output[b] = j;
    blocks.first[b] = low;
  }
  if (widest > kWindow) return true;
  blocks.narrow = widest <= 2 * kLanes;
  const int64_t last_first = inputs - (blocks.narrow ? 2 * kLanes : kWindow);
  for (int64_t b = 0; b < count; ++b) {
    if (blocks.first[b] > last_first) blocks.first[b] = last_first;
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t at = b * taps + t;
      blocks.full[at] = 1;
      for (int lane = 0; lane < kLanes; ++lane) {
        const int64_t j = blocks.output[b] + lane, k = table.start[j] + t;
        const bool present = k < table.start[j + 1];
        blocks.place[at * kLanes + lane] = present ? static_cast<int32_t>(table.index[k] - blocks.first[b]) : 0;
        blocks.weight[at * kLanes + lane] = present ? table.weight[k] : 0.0f;
        blocks.present[at * kLanes + lane] = present ? -1 : 0;
        if (!present) blocks.full[at] = 0;
      }
    }
  }
  blocks.count = count;
  return true;
}

#if defined(__AVX512BW__) || defined(__AVX2__)
// Lane l of the result is number places[l] of the window.
template <int Vectors>
PYD_HD FloatLanes pick(const FloatLanes* window, const Int32Lanes& places) {
#if defined(__AVX512BW__)
  const __m512 low = _mm512_permutex2var_ps((__m512)window[0], (__m512i)places, (__m512)window[1]);
  if constexpr (Vectors == 2) {
    return (FloatLanes)low;
  } else {
    const __mmask16 upper = _mm512_test_epi32_mask((__m512i)places, _mm512_set1_epi32(2 * kLanes));
    const __m512 high = _mm512_permutex2var_ps((__m512)window[2], (__m512i)places, (__m512)window[3]);
    return (FloatLanes)_mm512_mask_mov_ps(low, upper, high);
  }
#else
  const __m256 low = _mm256_permutevar8x32_ps((__m256)window[0], (__m256i)places);
  const __m256 high = _mm256_permutevar8x32_ps((__m256)window[1], (__m256i)places);
  const __m256i upper = _mm256_slli_epi32((__m256i)places, 28);
  return (FloatLanes)_mm256_blendv_ps(low, high, _mm256_castsi256_ps(upper));
#endif
}

PYD_HD FloatLanes fused_multiply_add_where(const Int32Lanes& present, const FloatLanes& a, const FloatLanes& b,
                                           const FloatLanes& c) {
#if defined(__AVX512BW__)
  const __mmask16 mask = _mm512_test_epi32_mask((__m512i)present, (__m512i)present);
  return (FloatLanes)_mm512_mask3_fmadd_ps((__m512)a, (__m512)b, (__m512)c, mask);
#else
  const __m256 sum = _mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  return (FloatLanes)_mm256_blendv_ps((__m256)c, sum, (__m256)present);
#endif
}
PYD_HD Int32Lanes load_numbers(const int32_t* from) {
  Int32Lanes numbers;
  memcpy(&numbers, from, sizeof numbers);
  return numbers;
}

// kPermutedRows rows at a time share the tables' loads.
template <int Vectors>
void filter_blocks(const float* const* rows, const Blocks& blocks, float* const* out) {
  for (int64_t b = 0; b < blocks.count; ++b) {
    FloatLanes window[kPermutedRows][Vectors], sum[kPermutedRows] = {};
    for (int r = 0; r < kPermutedRows; ++r) {
      for (int v = 0; v < Vectors; ++v) window[r][v] = load_floats(rows[r] + blocks.first[b] + v * kLanes);
    }
    for (int64_t at = b * blocks.taps; at < (b + 1) * blocks.taps; ++at) {
      const Int32Lanes places = load_numbers(blocks.place + at * kLanes);
      const FloatLanes weights = load_floats(blocks.weight + at * kLanes);
      if (blocks.full[at] != 0) {
        for (int r = 0; r < kPermutedRows; ++r)
          sum[r] = fused_multiply_add(pick<Vectors>(window[r], places), weights, sum[r]);
      } else {
        const Int32Lanes present = load_numbers(blocks.present + at * kLanes);
        for (int r = 0; r < kPermutedRows; ++r) {
          sum[r] = fused_multiply_add_where(present, pick<Vectors>(window[r], places), weights, sum[r]);
        }
      }
    }
    for (int r = 0; r < kPermutedRows; ++r) store_floats(out[r] + blocks.output[b], sum[r]);
  }
}
#endif

void filter_rows(const float* const* rows, const Blocks& blocks, float* const* out) {
#if defined(__AVX512BW__) || defined(__AVX2__)
  if (blocks.narrow) filter_blocks<2>(rows, blocks, out);
  else filter_blocks<kWindowVectors>(rows, blocks, out);
#else
  (void)rows, (void)blocks, (void)out;
#endif
}

// ---- Horizontal pass otherwise: kLanes rows at a time, turned so that they lie in the lanes.

PYD_HD FloatLanes sum_columns(const float* columns, const Table& table, int64_t j) {
  const int32_t* const index = table.index + table.start[j];
  const float* const weight = table.weight + table.start[j];
  const int64_t taps = table.start[j + 1] - table.start[j];
  FloatLanes sum = {};
  if (taps == 4) {  // the common case, without a loop
    for (int t = 0; t < 4; ++t) sum = fused_multiply_add(load_floats(columns + int64_t{index[t]} * kLanes), weight[t], sum);
    return sum;
  }
  for (int64_t t = 0; t < taps; ++t) {
    sum = fused_multiply_add(load_floats(columns + int64_t{index[t]} * kLanes), weight[t], sum);
  }
  return sum;
}

// dst[r * stride + j] for the first `valid` rows.
void filter_columns(const float* columns, const Table& table, int64_t valid, float* dst, int64_t stride) {
  const int64_t width = table.outputs;
  for (int64_t first = 0; first < width; first += kLanes) {
    int64_t j = first;
    if (width >= kLanes && j > width - kLanes) j = width - kLanes;  // the last block overlaps its neighbour
    const int64_t here = width < kLanes ? width : kLanes;
    FloatLanes block[kLanes];
    if (here == kLanes) {
      for (int c = 0; c < kLanes; ++c) block[c] = sum_columns(columns, table, j + c);
    } else {
      for (int c = 0; c < kLanes; ++c) block[c] = c < here ? sum_columns(columns, table, j + c) : FloatLanes{};
    }
    transpose_lanes(block);
    if (here == kLanes && valid == kLanes) {
      for (int r = 0; r < kLanes; ++r) store_floats(dst + r * stride + j, block[r]);
    } else {
      float values[kLanes * kLanes];
      for (int r = 0; r < kLanes; ++r) store_floats(values + r * kLanes, block[r]);
      for (int64_t r = 0; r < valid; ++r) memcpy(dst + r * stride + j, values + r * kLanes, sizeof(float) * here);
    }
  }
}

// ---- Both passes

struct Passes {
  Table vertical;
  Table horizontal;
  Blocks blocks;  // of the horizontal table
  bool vertical_first;
};

// The horizontal pass of rows row(0) .. row(count - 1) to dst.
template <typename Row>
void filter_each_row(const Blocks& blocks, int64_t count, const Row& row, float* dst, int64_t dst_width) {
  for (int64_t y = 0; y < count; y += kPermutedRows) {
    const float* from[kPermutedRows];
    float* to[kPermutedRows];
    for (int64_t r = 0; r < kPermutedRows; ++r) {
      // Rows that are missing in the last group repeat its first one.
      const int64_t here = y + r < count ? r : 0;
      from[r] = here == r ? row(y + r) : from[0];
      to[r] = dst + (y + here) * dst_width;
    }
    filter_rows(from, blocks, to);
  }
}

// Output rows [begin, end) of one plane, by permutation.
bool resize_strip_by_blocks(const Passes& passes, const float* src, int64_t src_width, float* dst, int64_t begin,
                            int64_t end) {
  Scratch scratch;
  const Table& vertical = passes.vertical;
  const int64_t dst_width = passes.horizontal.outputs;
  if (passes.vertical_first) {
    float* const sums = scratch.take<float>(src_width * kPermutedRows);
    if (!sums) return false;
    const auto row = [&](int64_t y) {
      float* const sum = sums + y % kPermutedRows * src_width;
      sum_rows(src, src_width, src_width, vertical, begin + y, sum);
      return sum;
    };
    filter_each_row(passes.blocks, end - begin, row, dst + begin * dst_width, dst_width);
    return true;
  }
  int64_t low, high;
  inputs_used(vertical, begin, end, low, high);
  float* const wide = scratch.take<float>((high - low + 1) * dst_width);
  if (!wide) return false;
  const auto row = [&](int64_t y) { return src + (low + y) * src_width; };
  filter_each_row(passes.blocks, high - low + 1, row, wide, dst_width);
  for (int64_t y = begin; y < end; ++y) {
    sum_rows(wide - low * dst_width, dst_width, dst_width, vertical, y, dst + y * dst_width);
  }
  return true;
}

// Output rows [begin, end) of one plane.
bool resize_strip(const Passes& passes, const float* src, int64_t src_width, float* dst, int64_t begin, int64_t end) {
  if (passes.blocks.count > 0) return resize_strip_by_blocks(passes, src, src_width, dst, begin, end);
  Scratch scratch;
  const Table& vertical = passes.vertical;
  const int64_t dst_width = passes.horizontal.outputs;
  float* const columns = scratch.take<float>(src_width * kLanes);
  if (!columns) return false;
  const float* rows[kLanes];
  if (passes.vertical_first) {
    float* const sums = scratch.take<float>(src_width * kLanes);
    if (!sums) return false;
    for (int64_t y = begin; y < end; y += kLanes) {
      const int64_t valid = end - y < kLanes ? end - y : kLanes;
      for (int64_t r = 0; r < kLanes; ++r) {
        rows[r] = sums + (r < valid ? r : 0) * src_width;
        if (r < valid) sum_rows(src, src_width, src_width, vertical, y + r, sums + r * src_width);
      }
      rows_to_columns(rows, src_width, columns);
      filter_columns(columns, passes.horizontal, valid, dst + y * dst_width, dst_width);
    }
    return true;
  }
  int64_t low, high;
  inputs_used(vertical, begin, end, low, high);
  float* const wide = scratch.take<float>((high - low + 1) * dst_width);
  if (!wide) return false;
  for (int64_t y = low; y <= high; y += kLanes) {
    const int64_t valid = high + 1 - y < kLanes ? high + 1 - y : kLanes;
    for (int64_t r = 0; r < kLanes; ++r) rows[r] = src + (y + (r < valid ? r : 0)) * src_width;
    rows_to_columns(rows, src_width, columns);
    filter_columns(columns, passes.horizontal, valid, wide + (y - low) * dst_width, dst_width);
  }
  const float* const origin = wide - low * dst_width;
  for (int64_t y = begin; y < end; ++y) sum_rows(origin, dst_width, dst_width, vertical, y, dst + y * dst_width);
  return true;
}

Status run_passes(const Passes& passes, ConstImage src, Image dst) {
  const int64_t strips = (dst.height + kStripRows - 1) / kStripRows;
  int32_t failed = 0;
  parallel_for(src.channels * strips, [&](int64_t task) {
    const int64_t plane = task / strips, begin = task % strips * kStripRows;
    const int64_t end = begin + kStripRows < dst.height ? begin + kStripRows : dst.height;
    const float* const from = src.data + plane * src.height * src.width;
    float* const to = dst.data + plane * dst.height * dst.width;
    if (!resize_strip(passes, from, src.width, to, begin, end)) __atomic_store_n(&failed, 1, __ATOMIC_RELAXED);
  });
  return failed ? Status::kOutOfMemory : Status::kOk;
}

// Tables and order of the passes from `src` to `dst`; where `reads` is given, from what it names of src alone.
Status plan_passes(Scratch& scratch, const ResizeParams& params, int64_t item, const Size& src, const Size& dst,
                   const Reads* reads, Passes& passes) {
  const ResizeAxes axes = resize_axes(params, item, src, dst);
  passes.vertical_first = is_vertical_first(axes.vertical, axes.horizontal);
  const bool few_rows = reads != nullptr && reads->rows != nullptr;
  const bool few_columns = reads != nullptr && reads->columns != nullptr;
  if (!axis_rows(scratch, axes.vertical, passes.vertical) || !axis_rows(scratch, axes.horizontal, passes.horizontal) ||
      (few_rows && !skip_nothing(scratch, passes.vertical)) || (few_columns && !skip_nothing(scratch, passes.horizontal)) ||
      !build_blocks(scratch, passes.horizontal, few_columns ? reads->column_count : src.width, passes.blocks)) {
    return Status::kOutOfMemory;
  }
  return Status::kOk;
}

}  // namespace

Status resize_image(const ResizeParams& params, const Use& use) {
  Scratch scratch;
  Passes passes;
  const Size src = use.reads != nullptr ? use.reads->full : size_of(use.src);
  const Status status = plan_passes(scratch, params, use.item, src, size_of(use.dst), use.reads, passes);
  return status == Status::kOk ? run_passes(passes, use.src, use.dst) : status;
}

// Of a pass from dst to src: src holds the gradient of its output, dst receives that of its input.
Status resize_adjoint_image(const ResizeParams& params, const AdjointUse& use) {
  const Image& dst = use.dst;
  Scratch scratch;
  Passes forward, adjoint;
  const Status status = plan_passes(scratch, params, use.item, size_of(dst), size_of(use.src), nullptr, forward);
  if (status != Status::kOk) return status;
  if (!transpose_rows(scratch, forward.vertical, dst.height, adjoint.vertical) ||
      !transpose_rows(scratch, forward.horizontal, dst.width, adjoint.horizontal) ||
      !build_blocks(scratch, adjoint.horizontal, use.src.width, adjoint.blocks)) {
    return Status::kOutOfMemory;
  }
  adjoint.vertical_first = !forward.vertical_first;
  return run_passes(adjoint, use.src, dst);
}

// Tap k of an axis that skips inputs is row (column) k.
Status resize_reads(Scratch& scratch, const ResizeParams& params, int64_t item, const Size& src, const Size& dst,
                    Reads& reads) {
  const ResizeAxes axes = resize_axes(params, item, src, dst);
  reads = {src, nullptr, nullptr, src.height, src.width};
  Table table;
  if (skips_inputs(axes.vertical)) {
    if (!axis_rows(scratch, axes.vertical, table)) return Status::kOutOfMemory;
    reads.rows = table.index;
    reads.row_count = table.start[table.outputs];
  }
  if (skips_inputs(axes.horizontal)) {
    if (!axis_rows(scratch, axes.horizontal, table)) return Status::kOutOfMemory;
    reads.columns = table.index;
    reads.column_count = table.start[table.outputs];
  }
  return Status::kOk;
}

double resize_share_read(const ResizeParams& params, int64_t item, const Size& src, const Size& dst) {
  const ResizeAxes axes = resize_axes(params, item, src, dst);
  return share_read(axes.vertical) * share_read(axes.horizontal);
}

double resize_ns_per_px(const ResizeParams&, int64_t) { return 4.0; }

}  // namespace PYD_ISA
}  // namespace pyd

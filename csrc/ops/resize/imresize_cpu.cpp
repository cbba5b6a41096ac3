// MATLAB's imresize of integer and floating point images, planar or interleaved, equal to its double arithmetic.
//
// The definition: one sparse matrix per axis (math/taps.h, MATLAB's kernels), the axis with the smaller scale first, each
// sum taken in double over ascending taps, every product and every sum rounded. Integer images are rounded after each
// pass ("class"), or taken to [0, 1] first and rounded once at the end ("im2double").
//
// Rows of pixels are rows of samples: pixel x, channel c of an interleaved image is sample x * channels + c. The vertical
// pass runs along rows. The horizontal pass takes kRows rows at a time, turned so that the rows lie in the lanes of
// vectors; then every tap is one multiplication of contiguous memory, whatever the scale.
//
// uint8 in float. A sum S of taps times levels is taken in float (fused or not) and rounded to floor(S + 1/2). Let u be
// 2^-24, A the largest sum of absolute weights of the table and T its largest number of taps. Rounding the weights moves S
// by at most 255 A u, rounding the products (if they are) by as much, rounding each of the T partial sums, which begin at
// 1/2, by at most (255 A + 1) u (1 + T u); the double sum itself is within 255 A T 2^-53 of the true one. All together
// stays below slack = 1.01 u (255 A + 1) (T + 3). So wherever S + 1/2 is further than slack from a whole number, the
// double sum rounds to the same level. The other samples, about two slacks (1e-3) of them plus the exact ties, are summed
// again in double. Where all weights are multiples of 2^-k with (255 A + 1) 2^k < 2^24 (scales 1/2, 1/4, 2, 4, ..) no
// partial sum is ever rounded, in float or in double, and nothing needs a second look. Where slack exceeds kMaxSlack
// (hundreds of taps) the double loops run instead, as for all other types.
#include "core/lanes.h"
#include "cpu/images.h"
#include "ops/resize/imresize_fields.h"
#include "ops/resize/table.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int kRows = 16;                            // rows turned into lanes at a time
constexpr int kRowVectors = kRows / kLanes;          // float
constexpr int kDoubleLanes = kLanes / 2;
constexpr int kDoubleRowVectors = kRows / kDoubleLanes;
constexpr int64_t kStripRows = 64;                   // rows of the result per task, at most
constexpr float kMaxSlack = 1.0f / 32;

typedef double DoubleLanes __attribute__((vector_size(8 * kDoubleLanes)));
typedef double DoubleMemory __attribute__((vector_size(8 * kDoubleLanes), aligned(8), may_alias));
PYD_HD DoubleLanes load_doubles(const double* from) { return *reinterpret_cast<const DoubleMemory*>(from); }
PYD_HD void store_doubles(double* to, DoubleLanes values) { *reinterpret_cast<DoubleMemory*>(to) = values; }

// ---- Tables

// The taps of one axis, and what sums of uint8 in float need of them.
struct Table : SparseRows<double> {
  const float* fast;  // the weights in float
  float slack;        // see above; -1 where float is exact, infinite where it must not be used
};
Table table_of(const SparseRows<double>& rows) { return {rows, nullptr, __builtin_inff()}; }

// Fills in what sums of uint8 in float need.
bool add_fast_weights(Scratch& scratch, Table& table) {
  const int64_t count = table.start[table.outputs];
  float* const fast = scratch.take<float>(count);
  if (!fast) return false;
  double magnitude = 0.0;
  const int64_t taps = most_entries(table);
  for (int64_t j = 0; j < table.outputs; ++j) {
    double sum = 0.0;
    for (int64_t k = table.start[j]; k < table.start[j + 1]; ++k) sum += absolute(table.weight[k]);
    if (sum > magnitude) magnitude = sum;
  }
  double unit = 1.0;
  while (2.0 * unit * (255.0 * magnitude + 1.0) < 16777216.0) unit *= 2.0;
  bool exact = true;
  for (int64_t k = 0; k < count; ++k) {
    fast[k] = static_cast<float>(table.weight[k]);
    const double scaled = table.weight[k] * unit;
    exact = exact && scaled == static_cast<double>(static_cast<int64_t>(scaled));
  }
  table.fast = fast;
  const double slack = 1.01 * (255.0 * magnitude + 1.0) * static_cast<double>(taps + 3) / 16777216.0;
  table.slack = exact ? -1.0f : static_cast<float>(slack);
  return true;
}

// One plane and how it is to be resized.
struct Plan {
  Table vertical;
  Table horizontal;
  bool vertical_first;
  int64_t channels;
  int64_t src_samples;  // in a row
  int64_t dst_samples;
};

// ---- uint8 in float

// Halves away from zero, cut to [0, highest], highest <= 65535.
PYD_HD int32_t rounded(double value, double highest) {
  const double inside = value > 0.0 ? (value < highest ? value : highest) : 0.0;
  const int32_t whole = static_cast<int32_t>(inside);
  return whole + (inside - static_cast<double>(whole) >= 0.5);
}

// The sum of one sample in double: of samples first, first + step * index ..
PYD_HD uint8_t exact_level(const uint8_t* first, int64_t step, const int32_t* index, const double* weight, int64_t taps) {
  double sum = 0.0;
  for (int64_t t = 0; t < taps; ++t) sum += weight[t] * static_cast<double>(first[index[t] * step]);
  return static_cast<uint8_t>(rounded(sum, 255.0));
}

PYD_HD FloatLanes smaller_of(const FloatLanes& a, const FloatLanes& b) {
#if defined(__AVX512BW__)
  return (FloatLanes)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (FloatLanes)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE4_1__)
  return (FloatLanes)_mm_min_ps((__m128)a, (__m128)b);
#else
  return a < b ? a : b;
#endif
}

// Bit l is set where x[l] <= limit.
PYD_HD uint32_t lanes_up_to(const FloatLanes& x, float limit) {
#if defined(__AVX512BW__)
  return _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(limit), _CMP_LE_OQ);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)x, _mm256_set1_ps(limit), _CMP_LE_OQ)));
#elif defined(__SSE4_1__)
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmple_ps((__m128)x, _mm_set1_ps(limit))));
#else
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) bits |= static_cast<uint32_t>(x[lane] <= limit) << lane;
  return bits;
#endif
}

// Sixteen numbers -> bytes, cut to 0..255.
PYD_HD Bytes16 clipped_levels(const Int32Lanes* numbers) {
#if defined(__AVX512BW__)
  return (Bytes16)_mm512_cvtusepi32_epi8(_mm512_max_epi32((__m512i)numbers[0], _mm512_setzero_si512()));
#elif defined(__SSE4_1__)
  return bytes_of(numbers);  // packs with saturation
#else
  Int32Lanes inside[kPieceVectors];
  for (int v = 0; v < kPieceVectors; ++v) {
    const Int32Lanes positive = numbers[v] & (numbers[v] > 0);
    inside[v] = (positive & (positive < 255)) | (255 & (positive >= 255));
  }
  return bytes_of(inside);
#endif
}

// Sixteen sums, 1/2 included, -> levels. Between -1 and 0 truncation gives 0, as it should.
PYD_HD Bytes16 levels_of(const FloatLanes* sums) {
  Int32Lanes numbers[kPieceVectors];
  for (int v = 0; v < kPieceVectors; ++v) numbers[v] = LaneArithmetic::truncate(sums[v]);
  return clipped_levels(numbers);
}

// How far sums, 1/2 included, are from where rounding jumps.
PYD_HD FloatLanes distance_to_tie(const FloatLanes& sum) {
  return (FloatLanes)((Int32Lanes)(sum - LaneArithmetic::nearest(sum)) & 0x7fffffff);
}
// Whether any of several vectors of sums needs the second look.
template <int Vectors>
PYD_HD bool any_doubtful(const FloatLanes* sums, float slack) {
  FloatLanes distance = distance_to_tie(sums[0]);
  for (int v = 1; v < Vectors; ++v) distance = smaller_of(distance, distance_to_tie(sums[v]));
  return __builtin_expect(lanes_up_to(distance, slack) != 0, 0);
}
// Calls look(i) for those of sixteen sums that need it.
template <typename Look>
PYD_HD void for_each_doubtful(const FloatLanes* sums, float slack, const Look& look) {
  for (int v = 0; v < kPieceVectors; ++v) {
    for (uint32_t bits = lanes_up_to(distance_to_tie(sums[v]), slack); bits != 0; bits &= bits - 1) {
      look(v * kLanes + __builtin_ctz(bits));
    }
  }
}

// Where the source samples of some rows lie as bytes and, at the same places, as floats.
struct StagedRows {
  const float* levels;   // row i of the plane at i * level_stride
  int64_t level_stride;
  const uint8_t* bytes;  // row i of the plane at i * byte_stride
  int64_t byte_stride;
};

// Samples [x, x + 16 Pieces) of output row j.
template <bool Exact, int Pieces>
PYD_HD void fast_rows_at(const StagedRows& src, const Table& table, int64_t j, int64_t x, uint8_t* dst) {
  constexpr int kVectors = Pieces * kPieceVectors;
  const int32_t* const index = table.index + table.start[j];
  const float* const weight = table.fast + table.start[j];
  const int64_t taps = table.start[j + 1] - table.start[j];
  FloatLanes sums[kVectors];
  for (int v = 0; v < kVectors; ++v) sums[v] = FloatLanes{} + 0.5f;
  for (int64_t t = 0; t < taps; ++t) {
    const float* const row = src.levels + index[t] * src.level_stride + x;
    for (int v = 0; v < kVectors; ++v) sums[v] = loose_multiply_add(load_floats(row + v * kLanes), weight[t], sums[v]);
  }
  for (int piece = 0; piece < Pieces; ++piece) {
    *reinterpret_cast<BytesMemory*>(dst + 16 * piece) = levels_of(sums + piece * kPieceVectors);
  }
  if (Exact || !any_doubtful<kVectors>(sums, table.slack)) return;
  for (int piece = 0; piece < Pieces; ++piece) {
    for_each_doubtful(sums + piece * kPieceVectors, table.slack, [&](int i) {
      const int64_t place = 16 * piece + i;
      dst[place] = exact_level(src.bytes + x + place, src.byte_stride, index, table.weight + table.start[j], taps);
    });
  }
}

// Output rows [begin, end) of `samples` samples. Meanwhile the input rows of output rows [end, next) are asked for.
template <bool Exact>
bool fast_rows_of(const uint8_t* src, int64_t stride, int64_t samples, const Table& table, int64_t begin, int64_t end,
                  int64_t next, uint8_t* dst, int64_t dst_stride) {
  constexpr int kPieces = kLanes == 16 ? 8 : kLanes == 8 ? 4 : 2;  // as many sums as there are registers for
  int64_t low, high;
  inputs_used(table, begin, end, low, high);
  // A few columns at a time, so that the floats of all rows stay in the first-level cache.
  const int64_t inputs = high - low + 1;
  const int64_t fitting = (int64_t{1} << 13) / inputs / (16 * kPieces) * (16 * kPieces);
  const int64_t chunk = fitting < 16 * kPieces ? 16 * kPieces : (fitting > 1024 ? 1024 : fitting);
  Scratch scratch;
  float* const levels = scratch.take<float>(inputs * chunk);
  if (!levels) return false;
  int64_t next_low = 0, next_high = -1;
  if (next > end) inputs_used(table, end, next, next_low, next_high);
  for (int64_t first = 0; first < samples; first += chunk) {
    const int64_t here = samples - first < chunk ? samples - first : chunk;
    // Pieces of rows are too short for the processor to guess where the next one lies.
    for (int64_t i = next_low > high ? next_low : high + 1; i <= next_high; ++i) {
      for (int64_t x = 0; x < here; x += 64) __builtin_prefetch(src + i * stride + first + x, 0, 2);
    }
    for (int64_t i = 0; i < inputs; ++i) {
      const uint8_t* const from = src + (low + i) * stride + first;
      float* const to = levels + i * chunk;
      int64_t x = 0;
      for (; x + 16 <= here; x += 16) {
        for (int v = 0; v < kPieceVectors; ++v) store_floats(to + x + v * kLanes, load_levels(from + x + v * kLanes));
      }
      // Zeros behind the end are far from every tie, so that nobody reads the bytes there.
      for (const int64_t full = x + 16; x < here || (x < full && here % 16 != 0); ++x) to[x] = x < here ? from[x] : 0.0f;
    }
    const StagedRows staged = {levels - low * chunk, chunk, src + first, stride};
    for (int64_t j = begin; j < end; ++j) {
      uint8_t* const to = dst + (j - begin) * dst_stride + first;
      int64_t x = 0;
      for (; x + 16 * kPieces <= here; x += 16 * kPieces) fast_rows_at<Exact, kPieces>(staged, table, j, x, to + x);
      for (; x + 16 <= here; x += 16) fast_rows_at<Exact, 1>(staged, table, j, x, to + x);
      if (x < here) {
        uint8_t last[16];
        fast_rows_at<Exact, 1>(staged, table, j, x, last);
        memcpy(to + x, last, static_cast<size_t>(here - x));
      }
    }
  }
  return true;
}

bool fast_rows(const uint8_t* src, int64_t stride, int64_t samples, const Table& table, int64_t begin, int64_t end,
               int64_t next, uint8_t* dst, int64_t dst_stride) {
  return table.slack < 0.0f ? fast_rows_of<true>(src, stride, samples, table, begin, end, next, dst, dst_stride)
                            : fast_rows_of<false>(src, stride, samples, table, begin, end, next, dst, dst_stride);
}

PYD_HD void interleave_bytes(const Bytes16& a, const Bytes16& b, Bytes16& low, Bytes16& high) {
#if defined(__SSE4_1__)
  low = (Bytes16)_mm_unpacklo_epi8((__m128i)a, (__m128i)b);
  high = (Bytes16)_mm_unpackhi_epi8((__m128i)a, (__m128i)b);
#else
  for (int lane = 0; lane < 16; ++lane) {
    low[lane] = lane % 2 == 0 ? a[lane / 2] : b[lane / 2];
    high[lane] = lane % 2 == 0 ? a[8 + lane / 2] : b[8 + lane / 2];
  }
#endif
}

// Rows of a 16 x 16 matrix -> its columns. Each round moves one bit of a byte's position from the number of the vector to
// the place in it.
PYD_HD void transpose_bytes(Bytes16* v) {
  Bytes16 w[16];
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 8; ++i) interleave_bytes(v[i], v[i + 8], w[2 * i], w[2 * i + 1]);
    for (int i = 0; i < 8; ++i) interleave_bytes(w[i], w[i + 8], v[2 * i], v[2 * i + 1]);
  }
}

// Bytes kLanes * v .. of sixteen -> float.
PYD_HD FloatLanes part_of(const Bytes16& bytes, int v) {
#if defined(__AVX512BW__)
  (void)v;
  return __builtin_convertvector((Int32Lanes)_mm512_cvtepu8_epi32((__m128i)bytes), FloatLanes);
#elif defined(__AVX2__)
  const __m128i part = v == 0 ? (__m128i)bytes : _mm_srli_si128((__m128i)bytes, 8);
  return __builtin_convertvector((Int32Lanes)_mm256_cvtepu8_epi32(part), FloatLanes);
#elif defined(__SSE4_1__)
  __m128i part = (__m128i)bytes;
  if (v == 1) part = _mm_srli_si128(part, 4);
  if (v == 2) part = _mm_srli_si128(part, 8);
  if (v == 3) part = _mm_srli_si128(part, 12);
  return __builtin_convertvector((Int32Lanes)_mm_cvtepu8_epi32(part), FloatLanes);
#else
  FloatLanes numbers;
  for (int lane = 0; lane < kLanes; ++lane) numbers[lane] = bytes[kLanes * v + lane];
  return numbers;
#endif
}

// columns[s * kRows + r] = rows[r][s], room for samples rounded up to 16.
void levels_to_columns(const uint8_t* const* rows, int64_t samples, float* columns) {
  for (int64_t s = 0; s < samples; s += 16) {
    Bytes16 block[16];
    for (int r = 0; r < kRows; ++r) {
      if (s + 16 <= samples) {
        block[r] = *reinterpret_cast<const BytesMemory*>(rows[r] + s);
      } else {
        block[r] = Bytes16{};
        memcpy(&block[r], rows[r] + s, static_cast<size_t>(samples - s));
      }
    }
    transpose_bytes(block);
    for (int i = 0; i < 16; ++i) {
      for (int v = 0; v < kRowVectors; ++v) store_floats(columns + (s + i) * kRows + v * kLanes, part_of(block[i], v));
    }
  }
}

// The horizontal pass of up to kRows rows: `rows` are the bytes in `columns`, dst[r] receives the first `valid` of them.
template <bool Exact, int Channels>
void fast_columns_of(const float* columns, const uint8_t* const* rows, int64_t valid, const Table& table,
                     int64_t any_channels, uint8_t* const* dst) {
  const int64_t channels = Channels ? Channels : any_channels;
  const int64_t samples = table.outputs * channels;
  Bytes16 block[16];
  int64_t s = 0;
  auto flush = [&](int64_t first, int64_t count) {
    transpose_bytes(block);
    for (int64_t r = 0; r < valid; ++r) {
      if (count == 16) {
        *reinterpret_cast<BytesMemory*>(dst[r] + first) = block[r];
      } else {
        memcpy(dst[r] + first, &block[r], static_cast<size_t>(count));
      }
    }
  };
  for (int64_t j = 0; j < table.outputs; ++j) {
    const int32_t* const index = table.index + table.start[j];
    const float* const weight = table.fast + table.start[j];
    const int64_t taps = table.start[j + 1] - table.start[j];
    constexpr int kAtOnce = Channels ? Channels : 1;
    for (int64_t channel = 0; channel < channels; channel += kAtOnce) {
      FloatLanes sums[kAtOnce * kRowVectors];
      for (int v = 0; v < kAtOnce * kRowVectors; ++v) sums[v] = FloatLanes{} + 0.5f;
      for (int64_t t = 0; t < taps; ++t) {
        const float* const from = columns + (index[t] * channels + channel) * kRows;
        for (int v = 0; v < kAtOnce * kRowVectors; ++v) {
          sums[v] = loose_multiply_add(load_floats(from + v * kLanes), weight[t], sums[v]);
        }
      }
      const bool doubtful = !Exact && any_doubtful<kAtOnce * kRowVectors>(sums, table.slack);
      for (int c = 0; c < kAtOnce; ++c, ++s) {
        Bytes16& levels = block[s % 16];
        levels = levels_of(sums + c * kRowVectors);
        if (doubtful) {
          for_each_doubtful(sums + c * kRowVectors, table.slack, [&](int r) {
            levels[r] = exact_level(rows[r] + channel + c, channels, index, table.weight + table.start[j], taps);
          });
        }
        if (s % 16 == 15) flush(s - 15, 16);
      }
    }
  }
  if (samples % 16 != 0) flush(samples - samples % 16, samples % 16);
}

template <bool Exact>
void fast_columns_of(const float* columns, const uint8_t* const* rows, int64_t valid, const Table& table, int64_t channels,
                     uint8_t* const* dst) {
  switch (channels) {
    case 1: return fast_columns_of<Exact, 1>(columns, rows, valid, table, channels, dst);
    case 3: return fast_columns_of<Exact, 3>(columns, rows, valid, table, channels, dst);
    case 4: return fast_columns_of<Exact, 4>(columns, rows, valid, table, channels, dst);
    default: return fast_columns_of<Exact, 0>(columns, rows, valid, table, channels, dst);
  }
}

void fast_columns(const float* columns, const uint8_t* const* rows, int64_t valid, const Table& table, int64_t channels,
                  uint8_t* const* dst) {
  return table.slack < 0.0f ? fast_columns_of<true>(columns, rows, valid, table, channels, dst)
                            : fast_columns_of<false>(columns, rows, valid, table, channels, dst);
}

// Output rows [begin, end) of one plane.
bool fast_strip(const Plan& plan, const uint8_t* src, int64_t src_stride, uint8_t* dst, int64_t dst_stride, int64_t begin,
                int64_t end) {
  Scratch scratch;
  float* const columns = scratch.take<float>((plan.src_samples + 15) * kRows);
  if (!columns) return false;
  const uint8_t* rows[kRows];
  uint8_t* to[kRows];
  if (plan.vertical_first) {
    uint8_t* const sums = scratch.take<uint8_t>(plan.src_samples * kRows);
    if (!sums) return false;
    for (int64_t y = begin; y < end; y += kRows) {
      const int64_t valid = end - y < kRows ? end - y : kRows;
      for (int64_t r = 0; r < kRows; ++r) {
        const int64_t row = r < valid ? r : 0;
        rows[r] = sums + row * plan.src_samples;
        to[r] = dst + (y + row) * dst_stride;
      }
      const int64_t next = end - y < 2 * kRows ? end : y + 2 * kRows;
      if (!fast_rows(src, src_stride, plan.src_samples, plan.vertical, y, y + valid, next, sums, plan.src_samples)) {
        return false;
      }
      levels_to_columns(rows, plan.src_samples, columns);
      fast_columns(columns, rows, valid, plan.horizontal, plan.channels, to);
    }
    return true;
  }
  int64_t low, high;
  inputs_used(plan.vertical, begin, end, low, high);
  uint8_t* const wide = scratch.take<uint8_t>((high - low + 1) * plan.dst_samples);
  if (!wide) return false;
  for (int64_t y = low; y <= high; y += kRows) {
    const int64_t valid = high + 1 - y < kRows ? high + 1 - y : kRows;
    for (int64_t r = 0; r < kRows; ++r) {
      const int64_t row = y + (r < valid ? r : 0);
      rows[r] = src + row * src_stride;
      to[r] = wide + (row - low) * plan.dst_samples;
    }
    levels_to_columns(rows, plan.src_samples, columns);
    fast_columns(columns, rows, valid, plan.horizontal, plan.channels, to);
  }
  const uint8_t* const origin = wide - low * plan.dst_samples;
  for (int64_t y = begin; y < end; y += kRows) {
    const int64_t last = end - y < kRows ? end : y + kRows;
    uint8_t* const rows_to = dst + y * dst_stride;
    if (!fast_rows(origin, plan.dst_samples, plan.dst_samples, plan.vertical, y, last, last, rows_to, dst_stride)) {
      return false;
    }
  }
  return true;
}

// ---- Every type in double

// How samples become doubles, and doubles samples.
enum Rounding : int32_t {
  kRoundNever = 0,  // floating point images
  kRoundEach = 1,   // after each pass
  kRoundLast = 2,   // [0, 1] inside, rounded at the end
};

template <typename T>
PYD_HD double highest_level() {
  return sizeof(T) == 1 ? 255.0 : 65535.0;
}

template <typename T>
void read_samples(const T* from, int64_t count, int32_t rounding, double* to) {
  if (rounding == kRoundLast) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<double>(from[i]) / highest_level<T>();
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<double>(from[i]);
  }
}

// Between the passes.
template <typename T>
void settle_samples(double* values, int64_t count, int32_t rounding) {
  if (rounding != kRoundEach) return;
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<double>(rounded(values[i], highest_level<T>()));
}

template <typename T>
void write_samples(const double* from, int64_t count, int32_t rounding, T* to) {
  const double highest = highest_level<T>();
  if (rounding == kRoundEach) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(rounded(from[i], highest));
  } else if (rounding == kRoundLast) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(rounded(from[i] * highest, highest));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(from[i]);
  }
}

template <int Vectors>
PYD_HD void sum_rows_at(const double* src, int64_t stride, const int32_t* index, const double* weight, int64_t taps,
                        double* dst) {
  DoubleLanes sums[Vectors];
  for (int v = 0; v < Vectors; ++v) sums[v] = DoubleLanes{};
  for (int64_t t = 0; t < taps; ++t) {
    const double* const row = src + index[t] * stride;
    for (int v = 0; v < Vectors; ++v) sums[v] = multiply_then_add(load_doubles(row + v * kDoubleLanes), weight[t], sums[v]);
  }
  for (int v = 0; v < Vectors; ++v) store_doubles(dst + v * kDoubleLanes, sums[v]);
}

// One output row of `samples` samples.
void sum_rows(const double* src, int64_t stride, int64_t samples, const Table& table, int64_t j, double* dst) {
  const int32_t* const index = table.index + table.start[j];
  const double* const weight = table.weight + table.start[j];
  const int64_t taps = table.start[j + 1] - table.start[j];
  int64_t x = 0;
  for (; x + 4 * kDoubleLanes <= samples; x += 4 * kDoubleLanes) {
    sum_rows_at<4>(src + x, stride, index, weight, taps, dst + x);
  }
  for (; x + kDoubleLanes <= samples; x += kDoubleLanes) sum_rows_at<1>(src + x, stride, index, weight, taps, dst + x);
  for (; x < samples; ++x) {
    double sum = 0.0;
    for (int64_t t = 0; t < taps; ++t) sum += weight[t] * src[index[t] * stride + x];
    dst[x] = sum;
  }
}

// columns[s * kRows + r] = rows[r][s]
void doubles_to_columns(const double* const* rows, int64_t samples, double* columns) {
  for (int64_t s = 0; s < samples; ++s) {
    for (int r = 0; r < kRows; ++r) columns[s * kRows + r] = rows[r][s];
  }
}

// The horizontal pass of up to kRows rows. put(r, s, count, sums) takes `count` sums of row r from sample s on.
template <typename Put>
void sum_columns(const double* columns, int64_t valid, const Table& table, int64_t channels, const Put& put) {
  constexpr int64_t kBlock = 64;
  double block[kBlock * kRows], line[kBlock];
  const int64_t samples = table.outputs * channels;
  int64_t s = 0;
  for (int64_t j = 0; j < table.outputs; ++j) {
    const int32_t* const index = table.index + table.start[j];
    const double* const weight = table.weight + table.start[j];
    const int64_t taps = table.start[j + 1] - table.start[j];
    for (int64_t channel = 0; channel < channels; ++channel, ++s) {
      DoubleLanes sums[kDoubleRowVectors];
      for (int v = 0; v < kDoubleRowVectors; ++v) sums[v] = DoubleLanes{};
      for (int64_t t = 0; t < taps; ++t) {
        const double* const from = columns + (index[t] * channels + channel) * kRows;
        for (int v = 0; v < kDoubleRowVectors; ++v) {
          sums[v] = multiply_then_add(load_doubles(from + v * kDoubleLanes), weight[t], sums[v]);
        }
      }
      double* const to = block + s % kBlock * kRows;
      for (int v = 0; v < kDoubleRowVectors; ++v) store_doubles(to + v * kDoubleLanes, sums[v]);
      if (s % kBlock == kBlock - 1 || s == samples - 1) {
        const int64_t first = s - s % kBlock;
        for (int64_t r = 0; r < valid; ++r) {
          for (int64_t i = 0; i <= s - first; ++i) line[i] = block[i * kRows + r];
          put(r, first, s + 1 - first, line);
        }
      }
    }
  }
}

template <typename T>
bool double_strip(const Plan& plan, int32_t rounding, const T* src, int64_t src_stride, T* dst, int64_t dst_stride,
                  int64_t begin, int64_t end) {
  Scratch scratch;
  double* const columns = scratch.take<double>(plan.src_samples * kRows);
  double* const sums = scratch.take<double>(plan.src_samples * kRows);
  if (!columns || !sums) return false;
  const double* rows[kRows];
  for (int64_t r = 0; r < kRows; ++r) rows[r] = sums + r * plan.src_samples;
  int64_t low, high;

  if (plan.vertical_first) {
    for (int64_t y = begin; y < end; y += kRows) {
      const int64_t valid = end - y < kRows ? end - y : kRows;
      // Vertical, a few columns at a time so that their samples stay in cache as doubles.
      inputs_used(plan.vertical, y, y + valid, low, high);
      const int64_t inputs = high - low + 1;
      const int64_t fitting = (int64_t{1} << 15) / inputs / 16 * 16;
      const int64_t chunk = fitting < 16 ? 16 : (fitting > 512 ? 512 : fitting);
      Scratch inner;
      double* const staged = inner.take<double>(inputs * chunk);
      if (!staged) return false;
      for (int64_t x = 0; x < plan.src_samples; x += chunk) {
        const int64_t here = plan.src_samples - x < chunk ? plan.src_samples - x : chunk;
        for (int64_t i = 0; i < inputs; ++i) {
          read_samples(src + (low + i) * src_stride + x, here, rounding, staged + i * chunk);
        }
        for (int64_t r = 0; r < valid; ++r) {
          sum_rows(staged - low * chunk, chunk, here, plan.vertical, y + r, sums + r * plan.src_samples + x);
        }
      }
      // Horizontal.
      settle_samples<T>(sums, valid * plan.src_samples, rounding);
      for (int64_t r = valid; r < kRows; ++r) rows[r] = rows[0];
      doubles_to_columns(rows, plan.src_samples, columns);
      sum_columns(columns, valid, plan.horizontal, plan.channels,
                  [&](int64_t r, int64_t first, int64_t count, const double* values) {
                    write_samples(values, count, rounding, dst + (y + r) * dst_stride + first);
                  });
    }
    return true;
  }

  // Horizontal, of all rows that these output rows need.
  inputs_used(plan.vertical, begin, end, low, high);
  double* const wide = scratch.take<double>((high - low + 1) * plan.dst_samples);
  double* const line = scratch.take<double>(plan.dst_samples);
  if (!wide || !line) return false;
  for (int64_t y = low; y <= high; y += kRows) {
    const int64_t valid = high + 1 - y < kRows ? high + 1 - y : kRows;
    for (int64_t r = 0; r < valid; ++r) {
      read_samples(src + (y + r) * src_stride, plan.src_samples, rounding, sums + r * plan.src_samples);
    }
    for (int64_t r = valid; r < kRows; ++r) rows[r] = rows[0];
    doubles_to_columns(rows, plan.src_samples, columns);
    sum_columns(columns, valid, plan.horizontal, plan.channels,
                [&](int64_t r, int64_t first, int64_t count, const double* values) {
                  memcpy(wide + (y - low + r) * plan.dst_samples + first, values, sizeof(double) * count);
                });
    settle_samples<T>(wide + (y - low) * plan.dst_samples, valid * plan.dst_samples, rounding);
  }
  // Vertical.
  for (int64_t y = begin; y < end; ++y) {
    sum_rows(wide - low * plan.dst_samples, plan.dst_samples, plan.dst_samples, plan.vertical, y, line);
    write_samples(line, plan.dst_samples, rounding, dst + y * dst_stride);
  }
  return true;
}

// ---- All planes

// strip(src of the plane, dst of the plane, first row, last row + 1) for every strip of every plane, on all threads.
template <typename T, typename Strip>
Status for_each_strip(const ImresizeArgs& args, const Plan& plan, const Strip& strip) {
  // With the vertical pass first strips share no work, so they may be small enough for two per thread.
  const int64_t share = args.planes * args.dst_height / (2 * num_threads()) / kRows * kRows;
  const int64_t small = share < kRows ? kRows : (share < kStripRows ? share : kStripRows);
  const int64_t rows = plan.vertical_first ? small : kStripRows;
  const int64_t strips = (args.dst_height + rows - 1) / rows;
  int32_t failed = 0;
  parallel_for(args.planes * strips, [&](int64_t task) {
    const int64_t plane = task / strips, begin = task % strips * rows;
    const int64_t end = begin + rows < args.dst_height ? begin + rows : args.dst_height;
    const T* const from = static_cast<const T*>(args.src) + plane * args.src_plane_stride;
    T* const to = static_cast<T*>(args.dst) + plane * args.dst_height * plan.dst_samples;
    if (!strip(from, to, begin, end)) __atomic_store_n(&failed, 1, __ATOMIC_RELAXED);
  });
  return failed ? Status::kOutOfMemory : Status::kOk;
}

template <typename T>
Status run_double(const ImresizeArgs& args, const Plan& plan, int32_t rounding) {
  return for_each_strip<T>(args, plan, [&](const T* from, T* to, int64_t begin, int64_t end) {
    return double_strip(plan, rounding, from, args.src_row_stride, to, plan.dst_samples, begin, end);
  });
}

Status run_fast(const ImresizeArgs& args, const Plan& plan) {
  return for_each_strip<uint8_t>(args, plan, [&](const uint8_t* from, uint8_t* to, int64_t begin, int64_t end) {
    return fast_strip(plan, from, args.src_row_stride, to, plan.dst_samples, begin, end);
  });
}

Status run_type(const ImresizeArgs& args, Plan& plan, Scratch& scratch) {
  const bool integer = args.type == kPixelUint8 || args.type == kPixelUint16;
  const int32_t rounding = !integer ? kRoundNever : (args.im2double ? kRoundLast : kRoundEach);
  switch (args.type) {
    case kPixelUint8:
      if (rounding == kRoundEach) {
        if (!add_fast_weights(scratch, plan.vertical) || !add_fast_weights(scratch, plan.horizontal)) {
          return Status::kOutOfMemory;
        }
        if (plan.vertical.slack <= kMaxSlack && plan.horizontal.slack <= kMaxSlack) return run_fast(args, plan);
      }
      return run_double<uint8_t>(args, plan, rounding);
    case kPixelUint16: return run_double<uint16_t>(args, plan, rounding);
    case kPixelFloat32: return run_double<float>(args, plan, rounding);
    case kPixelFloat64: return run_double<double>(args, plan, rounding);
    default: return Status::kBadArgument;
  }
}

bool is_legal(const ImresizeArgs& args, const Axis& vertical, const Axis& horizontal, MatlabRule rule) {
  return matlab_axis_is_sound(vertical, rule) && matlab_axis_is_sound(horizontal, rule) && args.channels >= 1;
}

Plan plan_of(const ImresizeArgs& args, const SparseRows<double>& vertical, const SparseRows<double>& horizontal,
             bool vertical_first) {
  return {table_of(vertical), table_of(horizontal),           vertical_first,
          args.channels,      args.src_width * args.channels, args.dst_width * args.channels};
}

}  // namespace

Status imresize_cpu(const ImresizeArgs& args) {
  const Axis vertical = {args.mode, args.src_height, args.dst_height, args.scale_y, 0};
  const Axis horizontal = {args.mode, args.src_width, args.dst_width, args.scale_x, 0};
  const MatlabRule rule = {args.antialias, args.replicate};
  if (!is_legal(args, vertical, horizontal, rule)) return Status::kBadArgument;
  Scratch scratch;
  SparseRows<double> rows, columns;
  if (!matlab_rows(scratch, vertical, rule, rows) || !matlab_rows(scratch, horizontal, rule, columns)) {
    return Status::kOutOfMemory;
  }
  Plan plan = plan_of(args, rows, columns, args.scale_y <= args.scale_x);
  return run_type(args, plan, scratch);
}

// Of a pass from dst to src: `src` is the gradient of its output, `dst` receives that of its input. Scales are the
// forward ones. Floating point types only.
Status imresize_adjoint_cpu(const ImresizeArgs& args) {
  const Axis vertical = {args.mode, args.dst_height, args.src_height, args.scale_y, 0};
  const Axis horizontal = {args.mode, args.dst_width, args.src_width, args.scale_x, 0};
  const MatlabRule rule = {args.antialias, args.replicate};
  const bool floating = args.type == kPixelFloat32 || args.type == kPixelFloat64;
  if (!floating || !is_legal(args, vertical, horizontal, rule)) return Status::kBadArgument;
  Scratch scratch;
  SparseRows<double> rows, columns, back_rows, back_columns;
  if (!matlab_rows(scratch, vertical, rule, rows) || !matlab_rows(scratch, horizontal, rule, columns) ||
      !transpose_rows(scratch, rows, args.dst_height, back_rows) ||
      !transpose_rows(scratch, columns, args.dst_width, back_columns)) {
    return Status::kOutOfMemory;
  }
  Plan plan = plan_of(args, back_rows, back_columns, !(args.scale_y <= args.scale_x));
  return run_type(args, plan, scratch);
}

}  // namespace PYD_ISA
}  // namespace pyd

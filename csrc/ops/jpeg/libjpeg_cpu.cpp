// libjpeg mode: what libjpeg-turbo's decoder returns for what its encoder wrote, without writing it: everything between
// the quantised coefficients and the file is lossless. Integers, in the order of operations of the library.
//
// An image is worked through in strips of some rows of blocks. A strip holds its samples as eight long rows of bytes,
// the rows of blocks one after the other: row y of a component stands in row y % 8, from block row y / 8 on. So sixteen
// neighbouring blocks, whichever row of blocks they belong to, are 128 neighbouring bytes in each of the eight rows.
// Strips are independent up to here; the second loop, back to pixels, reads chroma across their borders.

#include "ops/jpeg/dct8.h"
#include "ops/jpeg/lanes.h"
#include "ops/jpeg/modes.h"

namespace pyd {
namespace PYD_ISA {
namespace {

// Enough blocks per strip to fill groups of sixteen, few enough to stay in the first-level cache.
constexpr int64_t kStripBlocks = 400;
// Loops over pixels may run past the end of a row by less than this.
constexpr int64_t kRowSlack = 128;

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

struct Strips {
  int64_t count;
  int64_t block_rows;      // of chroma, per strip; the luma has factor_y times as many
  int64_t luma_row_bytes;  // length of one of the eight rows
  int64_t chroma_row_bytes;
  uint8_t* luma;    // [count, 8, luma_row_bytes]
  uint8_t* chroma;  // [count, 8, chroma_row_bytes]: Cb, then Cr
};

int64_t cr_offset(const JpegGeometry& g, const Strips& s) { return s.block_rows * g.chroma_blocks_x * 8; }

// Where row y of a component begins; strips hold strip_rows rows of it. 32-bit divisions are the faster ones.
uint8_t* sample_row(uint8_t* strips, int64_t row_bytes, int64_t strip_rows, int64_t width, int64_t y) {
  const uint32_t strip = static_cast<uint32_t>(y) / static_cast<uint32_t>(strip_rows);
  const uint32_t row = static_cast<uint32_t>(y) - strip * static_cast<uint32_t>(strip_rows);
  return strips + (int64_t{strip} * 8 + row % 8) * row_bytes + row / 8 * width;
}
uint8_t* luma_row(const JpegGeometry& g, const Strips& s, int64_t y) {
  return sample_row(s.luma, s.luma_row_bytes, 8 * s.block_rows * g.factor_y, 8 * g.luma_blocks_x, y);
}
// Cb; Cr lies cr_offset further.
uint8_t* chroma_row(const JpegGeometry& g, const Strips& s, int64_t y) {
  return sample_row(s.chroma, s.chroma_row_bytes, 8 * s.block_rows, 8 * g.chroma_blocks_x, y);
}

// ---- Pixels -> samples

void rgb_row_to_ycc(const float* red, const float* green, const float* blue, int64_t width, uint8_t* luma, uint8_t* cb,
                    uint8_t* cr) {
  for_each_piece(width, [&](int64_t x) {
    Int32Lanes y[kPieceVectors], u[kPieceVectors], v[kPieceVectors];
    for (int i = 0; i < kPieceVectors; ++i) {
      const int64_t at = x + i * kLanes;
      const FloatLanes r = level_of_value<LaneArithmetic>(load_floats(red + at));
      const FloatLanes g = level_of_value<LaneArithmetic>(load_floats(green + at));
      const FloatLanes b = level_of_value<LaneArithmetic>(load_floats(blue + at));
      y[i] = luma_of_rgb<LaneArithmetic>(r, g, b);
      u[i] = cb_of_rgb<LaneArithmetic>(r, g, b);
      v[i] = cr_of_rgb<LaneArithmetic>(r, g, b);
    }
    *reinterpret_cast<BytesMemory*>(luma + x) = bytes_of(y);
    *reinterpret_cast<BytesMemory*>(cb + x) = bytes_of(u);
    *reinterpret_cast<BytesMemory*>(cr + x) = bytes_of(v);
  });
}

// luma, cb and cr have room for sixteen px.
void rgb_row_to_ycc(ConstImage src, int64_t y, uint8_t* luma, uint8_t* cb, uint8_t* cr) {
  const int64_t plane = src.height * src.width;
  const float* const red = src.data + y * src.width;
  if (src.width >= kPiece) {
    rgb_row_to_ycc(red, red + plane, red + 2 * plane, src.width, luma, cb, cr);
    return;
  }
  float copy[3][kPiece] = {};
  for (int c = 0; c < 3; ++c) memcpy(copy[c], red + c * plane, static_cast<size_t>(src.width) * sizeof(float));
  rgb_row_to_ycc(copy[0], copy[1], copy[2], kPiece, luma, cb, cr);
}

// Two neighbouring bytes of a row.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first of two bytes is the lower half");
typedef uint16_t BytePair __attribute__((aligned(1), may_alias));
// Loops over samples go in steps of this, past the end of the row: a fixed count leaves no remainder to a slow loop.
constexpr int64_t kStep = 32;

// Means of pairs or squares of samples. The bias alternates along the row, so that halves are not always rounded up.
void downsample_pairs(const uint8_t* row, uint8_t* PYD_RESTRICT out, int64_t count) {
  for (int64_t start = 0; start < count; start += kStep) {
    const BytePair* const pairs = reinterpret_cast<const BytePair*>(row) + start;
    for (int64_t i = 0; i < kStep; ++i) {
      const int32_t sum = (pairs[i] & 255) + (pairs[i] >> 8);
      out[start + i] = static_cast<uint8_t>((sum + (i & 1)) >> 1);
    }
  }
}
void downsample_squares(const uint8_t* upper, const uint8_t* lower, uint8_t* PYD_RESTRICT out, int64_t count) {
  for (int64_t start = 0; start < count; start += kStep) {
    const BytePair* const above = reinterpret_cast<const BytePair*>(upper) + start;
    const BytePair* const below = reinterpret_cast<const BytePair*>(lower) + start;
    for (int64_t i = 0; i < kStep; ++i) {
      const int32_t sum = (above[i] & 255) + (above[i] >> 8) + (below[i] & 255) + (below[i] >> 8);
      out[start + i] = static_cast<uint8_t>((sum + 1 + (i & 1)) >> 2);
    }
  }
}

// Means of two rows, and of four samples: the generic routine of the library, which rounds halves up.
void downsample_columns(const uint8_t* upper, const uint8_t* lower, uint8_t* PYD_RESTRICT out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>((upper[i] + lower[i] + 1) >> 1);
}
void downsample_fours(const uint8_t* row, uint8_t* PYD_RESTRICT out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* const four = row + 4 * i;
    out[i] = static_cast<uint8_t>((four[0] + four[1] + four[2] + four[3] + 2) >> 2);
  }
}

void extend_row(uint8_t* row, int64_t width, int64_t padded_width) {
  memset(row + width, row[width - 1], static_cast<size_t>(padded_width - width));
}

// Fills the strip. Edges are the encoder's: columns are repeated before chroma is averaged; an odd last row is doubled,
// and further rows repeat the averaged ones.
Status gather_strip(const JpegGeometry& g, const Strips& s, int64_t strip, ConstImage src) {
  const int64_t luma_width = 8 * g.luma_blocks_x, chroma_width = 8 * g.chroma_blocks_x;
  const int64_t padded_width = chroma_width * g.factor_x;
  const int64_t row_bytes = round_up(padded_width, 64) + kRowSlack;
  Scratch scratch;
  uint8_t* const memory = scratch.take<uint8_t>(5 * row_bytes);
  if (memory == nullptr) return Status::kOutOfMemory;
  uint8_t* const cb[2] = {memory, memory + row_bytes};
  uint8_t* const cr[2] = {memory + 2 * row_bytes, memory + 3 * row_bytes};
  uint8_t* const small = memory + 4 * row_bytes;
  const int64_t to_cr = cr_offset(g, s);

  const int64_t first = strip * s.block_rows * 8;
  const int64_t end = first + s.block_rows * 8;
  const int64_t last = end < g.chroma_height ? end : g.chroma_height;
  for (int64_t chroma_y = first; chroma_y < last; ++chroma_y) {
    int64_t rows = 0;
    for (int64_t y = chroma_y * g.factor_y; rows < g.factor_y && y < g.height; ++rows, ++y) {
      // A row shorter than a piece is written beyond its end, where later rows or nothing will stand.
      uint8_t* const luma = luma_row(g, s, y);
      rgb_row_to_ycc(src, y, luma, cb[rows], cr[rows]);
      extend_row(luma, g.width, luma_width);
      extend_row(cb[rows], g.width, padded_width);
      extend_row(cr[rows], g.width, padded_width);
    }
    for (int c = 0; c < 2; ++c) {
      uint8_t* const* const full = c == 0 ? cb : cr;
      const uint8_t* row = small;
      if (g.factor_x == 1 && g.factor_y == 1) {
        row = full[0];
      } else if (g.factor_x == 1) {
        downsample_columns(full[0], full[rows - 1], small, chroma_width);
      } else if (g.factor_x == 4) {
        downsample_fours(full[0], small, chroma_width);
      } else if (g.factor_y == 1) {
        downsample_pairs(full[0], small, chroma_width);
      } else {
        downsample_squares(full[0], full[rows - 1], small, chroma_width);
      }
      memcpy(chroma_row(g, s, chroma_y) + c * to_cr, row, static_cast<size_t>(chroma_width));
    }
  }

  // Rows below the picture, in the last strip.
  if (end < g.chroma_height) return Status::kOk;
  const uint8_t* const last_luma = luma_row(g, s, g.height - 1);
  for (int64_t y = g.height; y < 8 * g.luma_blocks_y; ++y) {
    memcpy(luma_row(g, s, y), last_luma, static_cast<size_t>(luma_width));
  }
  const uint8_t* const last_chroma = chroma_row(g, s, g.chroma_height - 1);
  for (int64_t y = g.chroma_height; y < 8 * g.chroma_blocks_y; ++y) {
    memcpy(chroma_row(g, s, y), last_chroma, static_cast<size_t>(chroma_width));
    memcpy(chroma_row(g, s, y) + to_cr, last_chroma + to_cr, static_cast<size_t>(chroma_width));
  }
  return Status::kOk;
}

// ---- Samples -> coefficients -> samples

// For every table entry, at compile time: the divisions would take as long as a small image.
struct EveryQuantiser {
  Quantiser of_entry[256];
};
constexpr EveryQuantiser every_quantiser() {
  EveryQuantiser all = {};
  for (int32_t entry = 1; entry < 256; ++entry) all.of_entry[entry] = quantiser_of(entry);
  return all;
}
constexpr EveryQuantiser kEveryQuantiser = every_quantiser();

void quantisers(const int16_t* table, float quality, Quantiser* out) {
  const int32_t percent = libjpeg_scale_percent(quality);
  for (int i = 0; i < 64; ++i) out[i] = kEveryQuantiser.of_entry[libjpeg_table_entry(table[i], percent)];
}

// A coefficient, scaled by 8, as the decoder will see it.
PYD_HD void quantise_and_back(const Quantiser& q, WordLanes& coefficient) {
  const UnsignedWordLanes zero = {};
  const UnsignedWordLanes shifted = (UnsignedWordLanes)(coefficient + (coefficient >> 15)) + q.bias;
  const UnsignedWordLanes level = multiply_high(multiply_high(shifted, zero + q.reciprocal), zero + q.scale);
  coefficient = (WordLanes)(level * q.entry - q.offset);
}

// A group of blocks, in place.
void transform_group(uint8_t* samples, int64_t row_bytes, const Quantiser* quantiser) {
  alignas(64) int16_t lanes[64][kGroupBlocks];
  ByteLanes bytes[8];
  WordLanes x[8];

  // Rows.
  for (int row = 0; row < 8; ++row) {
    row_to_lanes(samples + row * row_bytes, bytes);
    for (int part = 0; part < kGroupParts; ++part) {
      for (int k = 0; k < 8; ++k) x[k] = words_of(bytes[k], part);
      islow_forward8<LaneDct, true>(x);
      for (int k = 0; k < 8; ++k) store_words(&lanes[8 * row + k][part * kWordLanes], x[k]);
    }
  }

  // Columns, there and back.
  for (int column = 0; column < 8; ++column) {
    for (int part = 0; part < kGroupParts; ++part) {
      int16_t* const first = &lanes[column][part * kWordLanes];
      for (int k = 0; k < 8; ++k) x[k] = load_words(first + 8 * k * kGroupBlocks);
      islow_forward8<LaneDct, false>(x);
      for (int k = 0; k < 8; ++k) quantise_and_back(quantiser[8 * k + column], x[k]);
      islow_inverse8<LaneDct, true>(x);
      for (int k = 0; k < 8; ++k) store_words(first + 8 * k * kGroupBlocks, x[k]);
    }
  }

  // Rows.
  for (int row = 0; row < 8; ++row) {
    WordLanes levels[8][kGroupParts];
    for (int part = 0; part < kGroupParts; ++part) {
      for (int k = 0; k < 8; ++k) {
        x[k] = load_words(&lanes[8 * row + k][part * kWordLanes]);
      }
      islow_inverse8<LaneDct, false>(x);
      for (int k = 0; k < 8; ++k) levels[k][part] = x[k];
    }
    for (int k = 0; k < 8; ++k) bytes[k] = clipped_bytes(levels[k]);
    lanes_to_row(bytes, samples + row * row_bytes);
  }
}

void transform_strip(const JpegGeometry& g, const Strips& s, int64_t strip, const Quantiser* luma,
                     const Quantiser* chroma) {
  // The last strip may have fewer rows of blocks; what lies behind them is not looked at.
  const int64_t rows_left = g.luma_blocks_y - strip * s.block_rows * g.factor_y;
  const int64_t luma_rows = rows_left < s.block_rows * g.factor_y ? rows_left : s.block_rows * g.factor_y;
  uint8_t* const luma_samples = s.luma + strip * 8 * s.luma_row_bytes;
  for (int64_t x = 0; x < luma_rows * g.luma_blocks_x * 8; x += kGroupWidth) {
    transform_group(luma_samples + x, s.luma_row_bytes, luma);
  }
  uint8_t* const chroma_samples = s.chroma + strip * 8 * s.chroma_row_bytes;
  for (int64_t x = 0; x < 2 * cr_offset(g, s); x += kGroupWidth) {
    transform_group(chroma_samples + x, s.chroma_row_bytes, chroma);
  }
}

// ---- Samples -> pixels

// libjpeg's upsampling weighs the nearer sample 3/4, the farther 1/4; the two roundings alternate. Every step makes the
// right neighbour of sample i - 1 and the left one of sample i.
void upsample_row(const uint8_t* row, int64_t count, uint8_t* PYD_RESTRICT out) {
  for (int64_t start = 1; start < count; start += kStep) {
    const uint8_t* const left = row + start - 1;
    const uint8_t* const right = row + start;
    BytePair* const pairs = reinterpret_cast<BytePair*>(out + 2 * start - 1);
    for (int64_t i = 0; i < kStep; ++i) {
      const int32_t first = (3 * left[i] + right[i] + 2) >> 2;
      const int32_t second = (3 * right[i] + left[i] + 1) >> 2;
      pairs[i] = static_cast<uint16_t>(first | second << 8);
    }
  }
  out[0] = row[0];
  out[2 * count - 1] = row[count - 1];
}

void upsample_rows(const uint8_t* near, const uint8_t* far, int64_t count, uint8_t* PYD_RESTRICT out) {
  const auto column = [&](int64_t i) { return 3 * near[i] + far[i]; };
  for (int64_t start = 1; start < count; start += kStep) {
    BytePair* const pairs = reinterpret_cast<BytePair*>(out + 2 * start - 1);
    for (int64_t i = 0; i < kStep; ++i) {
      const int32_t left = column(start + i - 1), right = column(start + i);
      const int32_t first = (3 * left + right + 7) >> 4;
      const int32_t second = (3 * right + left + 8) >> 4;
      pairs[i] = static_cast<uint16_t>(first | second << 8);
    }
  }
  out[0] = static_cast<uint8_t>((4 * column(0) + 8) >> 4);
  out[2 * count - 1] = static_cast<uint8_t>((4 * column(count - 1) + 7) >> 4);
}

// Of two rows of which the lower (`is_lower`) or the upper one is wanted.
void upsample_columns(const uint8_t* near, const uint8_t* far, bool is_lower, int64_t count, uint8_t* PYD_RESTRICT out) {
  const int32_t bias = is_lower ? 2 : 1;
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>((3 * near[i] + far[i] + bias) >> 2);
}

void repeat_row(const uint8_t* row, int64_t count, int64_t times, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) memset(out + times * i, row[i], static_cast<size_t>(times));
}

void ycc_row_to_rgb(const uint8_t* luma, const uint8_t* cb, const uint8_t* cr, int64_t width, float* red, float* green,
                    float* blue) {
  for_each_piece(width, [&](int64_t x) {
    for (int i = 0; i < kPieceVectors; ++i) {
      const int64_t at = x + i * kLanes;
      const FloatLanes level = load_levels(luma + at);
      const FloatLanes blueness = load_levels(cb + at) - 128.0f;
      const FloatLanes redness = load_levels(cr + at) - 128.0f;
      store_floats(red + at, value_of_level<LaneArithmetic>(red_of_ycc<LaneArithmetic>(level, redness)));
      store_floats(green + at, value_of_level<LaneArithmetic>(green_of_ycc<LaneArithmetic>(level, blueness, redness)));
      store_floats(blue + at, value_of_level<LaneArithmetic>(blue_of_ycc<LaneArithmetic>(level, blueness)));
    }
  });
}

// luma, cb and cr can be read up to sixteen px.
void ycc_row_to_rgb(const uint8_t* luma, const uint8_t* cb, const uint8_t* cr, Image dst, int64_t y) {
  const int64_t plane = dst.height * dst.width;
  float* const red = dst.data + y * dst.width;
  if (dst.width >= kPiece) {
    ycc_row_to_rgb(luma, cb, cr, dst.width, red, red + plane, red + 2 * plane);
    return;
  }
  float copy[3][kPiece];
  ycc_row_to_rgb(luma, cb, cr, kPiece, copy[0], copy[1], copy[2]);
  for (int c = 0; c < 3; ++c) memcpy(red + c * plane, copy[c], static_cast<size_t>(dst.width) * sizeof(float));
}

Status scatter_rows(const JpegGeometry& g, const Strips& s, int64_t first, int64_t last, Image dst) {
  const int64_t row_bytes = round_up(g.factor_x * g.chroma_width, 64) + kRowSlack;
  Scratch scratch;
  uint8_t* const upsampled = scratch.take<uint8_t>(2 * row_bytes);
  if (upsampled == nullptr) return Status::kOutOfMemory;
  const int64_t to_cr[2] = {0, cr_offset(g, s)};

  for (int64_t y = first; y < last; ++y) {
    const uint8_t* chroma[2];
    const int64_t near_y = y / g.factor_y;
    const uint8_t* const near = chroma_row(g, s, near_y);
    for (int c = 0; c < 2; ++c) {
      uint8_t* const out = upsampled + c * row_bytes;
      chroma[c] = out;
      if (g.factor_x == 1 && g.factor_y == 1) {
        chroma[c] = near + to_cr[c];
      } else if (!g.smooth) {
        repeat_row(near + to_cr[c], g.chroma_width, g.factor_x, out);
      } else if (g.factor_y == 1) {
        upsample_row(near + to_cr[c], g.chroma_width, out);
      } else {
        const int64_t other_y = y % 2 == 0 ? near_y - 1 : near_y + 1;
        const int64_t far_y = other_y < 0 ? 0 : (other_y < g.chroma_height ? other_y : g.chroma_height - 1);
        const uint8_t* const far = chroma_row(g, s, far_y);
        if (g.factor_x == 1) {
          upsample_columns(near + to_cr[c], far + to_cr[c], y % 2 == 1, g.chroma_width, out);
        } else {
          upsample_rows(near + to_cr[c], far + to_cr[c], g.chroma_width, out);
        }
      }
    }
    ycc_row_to_rgb(luma_row(g, s, y), chroma[0], chroma[1], dst, y);
  }
  return Status::kOk;
}

}  // namespace

Status libjpeg_image(float quality, const JpegGeometry& g, ConstImage src, Image dst) {
  // Strips of the same height for every number of threads.
  Strips s;
  const int64_t blocks_per_row = g.luma_blocks_x * g.factor_y;
  s.block_rows = (kStripBlocks + blocks_per_row - 1) / blocks_per_row;
  if (s.block_rows > g.chroma_blocks_y) s.block_rows = g.chroma_blocks_y;
  s.count = (g.chroma_blocks_y + s.block_rows - 1) / s.block_rows;
  s.luma_row_bytes = round_up(s.block_rows * g.factor_y * g.luma_blocks_x * 8, kGroupWidth) + kRowSlack;
  s.chroma_row_bytes = round_up(2 * cr_offset(g, s), kGroupWidth) + kRowSlack;
  Scratch scratch;
  s.luma = scratch.take<uint8_t>(s.count * 8 * s.luma_row_bytes);
  s.chroma = scratch.take<uint8_t>(s.count * 8 * s.chroma_row_bytes);
  if (s.luma == nullptr || s.chroma == nullptr) return Status::kOutOfMemory;

  // Encode.
  Quantiser luma[64], chroma[64];
  quantisers(kLumaTable, quality, luma);
  quantisers(kChromaTable, quality, chroma);
  int32_t failure = 0;
  parallel_for(s.count, [&](int64_t strip) {
    const Status status = gather_strip(g, s, strip, src);
    if (status != Status::kOk) __atomic_store_n(&failure, static_cast<int32_t>(status), __ATOMIC_RELAXED);
    if (status == Status::kOk) transform_strip(g, s, strip, luma, chroma);
  });
  if (failure != 0) return static_cast<Status>(failure);

  // Decode. Everything has been read, so dst may be src.
  const int64_t strip_rows = 8 * s.block_rows * g.factor_y;
  parallel_for(s.count, [&](int64_t strip) {
    const int64_t first = strip * strip_rows;
    const int64_t last = first + strip_rows < g.height ? first + strip_rows : g.height;
    const Status status = scatter_rows(g, s, first, last, dst);
    if (status != Status::kOk) __atomic_store_n(&failure, static_cast<int32_t>(status), __ATOMIC_RELAXED);
  });
  return static_cast<Status>(failure);
}

}  // namespace PYD_ISA
}  // namespace pyd

// The differentiable modes: the codec in float, with rounding only of the coefficients.
//
// An image becomes three planes of samples (levels, 0..255; luma minus 128, chroma around zero), padded to whole blocks;
// blocks are transformed, quantised and transformed back in place; planes become an image. Apart from the rounding and
// the final clipping every step is linear, and the adjoint takes the transposed steps in reverse order.

#include "core/lanes.h"
#include "ops/jpeg/dct8.h"
#include "ops/jpeg/float_math.h"
#include "ops/jpeg/modes.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int kBlocksAtOnce = 16;

struct Codec {
  JpegGeometry geometry;
  bool basicsr;  // padded with black to multiples of 16 px, chroma repeated instead of interpolated
  bool cubic;
  float luma_entry[64];
  float chroma_entry[64];
};

// One component, padded to whole blocks.
struct Plane {
  float* data;
  int64_t height, width;
  float* row(int64_t y) const { return data + y * width; }
};
struct Planes {
  Plane component[3];  // luma, Cb, Cr
};

Codec make_codec(const JpegParams& params, int64_t item, int64_t height, int64_t width) {
  Codec codec;
  codec.basicsr = params.mode[item] == kJpegDiffjpegBasicsr;
  codec.cubic = params.rounding[item] == kJpegRoundCubic;
  codec.geometry = jpeg_geometry(height, width, params.subsampling[item], codec.basicsr);
  float_table_entries(params.quality[item], codec.basicsr, codec.luma_entry, codec.chroma_entry);
  return codec;
}

bool take_planes(Scratch& scratch, const JpegGeometry& g, Planes& planes) {
  for (int c = 0; c < 3; ++c) {
    Plane& plane = planes.component[c];
    plane.height = 8 * (c == 0 ? g.luma_blocks_y : g.chroma_blocks_y);
    plane.width = 8 * (c == 0 ? g.luma_blocks_x : g.chroma_blocks_x);
    plane.data = scratch.take<float>(plane.height * plane.width);
    if (plane.data == nullptr) return false;
  }
  return true;
}

// ---- Image -> planes

// Luma and chroma of one row of pixels, extended to padded_width.
void ycc_row(const Codec& codec, ConstImage src, int64_t y, int64_t padded_width, float* PYD_RESTRICT luma,
             float* PYD_RESTRICT cb, float* PYD_RESTRICT cr) {
  const int64_t plane = src.height * src.width;
  const float* PYD_RESTRICT red = src.data + y * src.width;
  const float* PYD_RESTRICT green = red + plane;
  const float* PYD_RESTRICT blue = green + plane;
  for (int64_t x = 0; x < src.width; ++x) {
    const FloatSamples samples = samples_of_rgb(red[x], green[x], blue[x]);
    luma[x] = samples.luma;
    cb[x] = samples.cb;
    cr[x] = samples.cr;
  }
  for (int64_t x = src.width; x < padded_width; ++x) {
    luma[x] = codec.basicsr ? -128.0f : luma[src.width - 1];
    cb[x] = codec.basicsr ? 0.0f : cb[src.width - 1];
    cr[x] = codec.basicsr ? 0.0f : cr[src.width - 1];
  }
}

// Fills rows [first, last) of chroma and the rows of luma that go with them. Edges as in libjpeg mode: an odd last row is
// doubled, rows below repeat averaged chroma.
void split_rows(const Codec& codec, ConstImage src, int64_t first, int64_t last, float* rows, const Planes& planes) {
  const JpegGeometry& g = codec.geometry;
  const int64_t padded_width = planes.component[1].width * g.factor_x;
  float* const luma = rows;
  float* const chroma[2][2] = {{rows + padded_width, rows + 2 * padded_width},
                               {rows + 3 * padded_width, rows + 4 * padded_width}};
  const float share = 1.0f / static_cast<float>(g.factor_y * g.factor_x);
  for (int64_t chroma_y = first; chroma_y < last; ++chroma_y) {
    for (int64_t v = 0; v < g.factor_y; ++v) {
      int64_t y = chroma_y * g.factor_y + v;
      y = y < g.height ? y : g.height - 1;
      ycc_row(codec, src, y, padded_width, luma, chroma[0][v], chroma[1][v]);
      memcpy(planes.component[0].row(y), luma, static_cast<size_t>(planes.component[0].width) * sizeof(float));
      if (codec.basicsr && chroma_y * 2 + v >= g.height) {
        for (int c = 0; c < 2; ++c) memset(chroma[c][v], 0, static_cast<size_t>(padded_width) * sizeof(float));
      }
    }
    for (int c = 0; c < 2; ++c) {
      float* PYD_RESTRICT out = planes.component[1 + c].row(chroma_y);
      const float* PYD_RESTRICT upper = chroma[c][0];
      const float* PYD_RESTRICT lower = chroma[c][1];
      for (int64_t x = 0; x < planes.component[1].width; ++x) {
        if (g.factor_x == 1) {
          out[x] = g.factor_y == 1 ? upper[x] : (upper[x] + lower[x]) * share;
        } else if (g.factor_x == 4) {
          out[x] = ((upper[4 * x] + upper[4 * x + 1]) + (upper[4 * x + 2] + upper[4 * x + 3])) * share;
        } else if (g.factor_y == 1) {
          out[x] = (upper[2 * x] + upper[2 * x + 1]) * share;
        } else {
          out[x] = ((upper[2 * x] + upper[2 * x + 1]) + (lower[2 * x] + lower[2 * x + 1])) * share;
        }
      }
    }
  }
}

Status split(const Codec& codec, ConstImage src, const Planes& planes) {
  const JpegGeometry& g = codec.geometry;
  int32_t failure = 0;
  parallel_for((g.chroma_height + 7) / 8, [&](int64_t part) {
    Scratch scratch;
    float* const rows = scratch.take<float>(5 * planes.component[1].width * g.factor_x);
    if (rows == nullptr) {
      __atomic_store_n(&failure, static_cast<int32_t>(Status::kOutOfMemory), __ATOMIC_RELAXED);
      return;
    }
    const int64_t first = 8 * part;
    split_rows(codec, src, first, first + 8 < g.chroma_height ? first + 8 : g.chroma_height, rows, planes);
  });
  if (failure != 0) return static_cast<Status>(failure);

  // Rows below the picture.
  for (int c = 0; c < 3; ++c) {
    const Plane& plane = planes.component[c];
    const int64_t seen = c == 0 ? g.height : g.chroma_height;
    for (int64_t y = seen; y < plane.height; ++y) {
      for (int64_t x = 0; x < plane.width; ++x) {
        plane.row(y)[x] = codec.basicsr ? (c == 0 ? -128.0f : 0.0f) : plane.row(seen - 1)[x];
      }
    }
  }
  return Status::kOk;
}

// The transpose of split: dst = gradient of the image, from gradients of the planes, which are overwritten.
void split_adjoint(const Codec& codec, const Planes& grads, Image dst) {
  const JpegGeometry& g = codec.geometry;

  // What was repeated collects its copies; what was padded with black is dropped.
  if (!codec.basicsr) {
    for (int c = 0; c < 3; ++c) {
      const Plane& plane = grads.component[c];
      const int64_t seen = c == 0 ? g.height : g.chroma_height;
      for (int64_t y = seen; y < plane.height; ++y) {
        for (int64_t x = 0; x < plane.width; ++x) plane.row(seen - 1)[x] += plane.row(y)[x];
      }
    }
    for (int64_t y = 0; y < g.height; ++y) {
      float* const luma = grads.component[0].row(y);
      for (int64_t x = g.width; x < grads.component[0].width; ++x) luma[g.width - 1] += luma[x];
    }
  }

  const int64_t plane = g.height * g.width;
  const float share = 1.0f / static_cast<float>(g.factor_y * g.factor_x);
  parallel_for(g.height, [&](int64_t y) {
    float* const red = dst.data + y * g.width;
    const float* const luma = grads.component[0].row(y);
    const float* const cb = grads.component[1].row(y / g.factor_y);
    const float* const cr = grads.component[2].row(y / g.factor_y);
    // An odd last row counts twice, the last column as often as it was repeated.
    const bool doubled = !codec.basicsr && g.factor_y == 2 && y == g.height - 1 && g.height % 2 == 1;
    const float row_share = doubled ? 2.0f * share : share;
    for (int64_t x = 0; x < g.width; ++x) {
      float u = cb[x / g.factor_x] * row_share, v = cr[x / g.factor_x] * row_share;
      if (!codec.basicsr && x == g.width - 1) {
        for (int64_t beyond = g.width; beyond < grads.component[1].width * g.factor_x; ++beyond) {
          u += cb[beyond / g.factor_x] * row_share;
          v += cr[beyond / g.factor_x] * row_share;
        }
      }
      rgb_gradient({luma[x], u, v}, &red[x], &red[plane + x], &red[2 * plane + x]);
    }
  });
}

// ---- Blocks

typedef float Lanes[kBlocksAtOnce];

void load_blocks(const Plane& plane, int64_t block_y, int64_t block_x, int64_t blocks, Lanes* lanes) {
  for (int row = 0; row < 8; ++row) {
    const float* const from = plane.row(8 * block_y + row) + 8 * block_x;
    for (int k = 0; k < 8; ++k) {
      for (int64_t block = 0; block < kBlocksAtOnce; ++block) {
        lanes[8 * row + k][block] = block < blocks ? from[8 * block + k] : 0.0f;
      }
    }
  }
}
void store_blocks(const Lanes* lanes, int64_t block_y, int64_t block_x, int64_t blocks, const Plane& plane) {
  for (int row = 0; row < 8; ++row) {
    float* const to = plane.row(8 * block_y + row) + 8 * block_x;
    for (int64_t block = 0; block < blocks; ++block) {
      for (int k = 0; k < 8; ++k) to[8 * block + k] = lanes[8 * row + k][block];
    }
  }
}

template <bool forward>
void transform(Lanes* PYD_RESTRICT lanes, int first, int step) {
  for (int lane = 0; lane < kBlocksAtOnce; ++lane) {
    float x[8];
    for (int k = 0; k < 8; ++k) x[k] = lanes[first + k * step][lane];
    if (forward) {
      dct_forward8(x);
    } else {
      dct_inverse8(x);
    }
    for (int k = 0; k < 8; ++k) lanes[first + k * step][lane] = x[k];
  }
}
void forward_blocks(Lanes* lanes) {
  for (int row = 0; row < 8; ++row) transform<true>(lanes, 8 * row, 1);
  for (int column = 0; column < 8; ++column) transform<true>(lanes, column, 8);
}
void inverse_blocks(Lanes* lanes) {
  for (int column = 0; column < 8; ++column) transform<false>(lanes, column, 8);
  for (int row = 0; row < 8; ++row) transform<false>(lanes, 8 * row, 1);
}

// An entry of 0 is BasicSR's quality 100: infinitely fine steps, which change nothing.
void quantise_blocks(const float* entry, bool cubic, Lanes* lanes) {
  for (int at = 0; at < 64; ++at) {
    if (entry[at] == 0.0f) continue;
    for (int lane = 0; lane < kBlocksAtOnce; ++lane) {
      lanes[at][lane] = quantised(lanes[at][lane], entry[at], cubic);
    }
  }
}

// lanes of gradients times the derivative 3 (x - round(x))^2.
void cubic_derivative(const float* entry, const Lanes* coefficients, Lanes* grads) {
  for (int at = 0; at < 64; ++at) {
    if (entry[at] == 0.0f) continue;
    for (int lane = 0; lane < kBlocksAtOnce; ++lane) {
      grads[at][lane] *= cubic_slope(coefficients[at][lane], entry[at]);
    }
  }
}

// body(block_y, block_x, blocks, table entries, component) for all groups of blocks of all planes.
template <typename Body>
void for_each_group(const Codec& codec, const Planes& planes, const Body& body) {
  const int64_t luma_rows = planes.component[0].height / 8, chroma_rows = planes.component[1].height / 8;
  parallel_for(luma_rows + 2 * chroma_rows, [&](int64_t index) {
    const bool is_luma = index < luma_rows;
    const int c = is_luma ? 0 : (index - luma_rows < chroma_rows ? 1 : 2);
    const int64_t block_y = is_luma ? index : (index - luma_rows) % chroma_rows;
    const int64_t blocks_x = planes.component[c].width / 8;
    for (int64_t block_x = 0; block_x < blocks_x; block_x += kBlocksAtOnce) {
      const int64_t left = blocks_x - block_x;
      body(block_y, block_x, left < kBlocksAtOnce ? left : kBlocksAtOnce, is_luma ? codec.luma_entry : codec.chroma_entry,
           c);
    }
  });
}

void code_planes(const Codec& codec, const Planes& from, const Planes& to) {
  for_each_group(codec, from, [&](int64_t block_y, int64_t block_x, int64_t blocks, const float* entry, int c) {
    alignas(64) Lanes lanes[64];
    load_blocks(from.component[c], block_y, block_x, blocks, lanes);
    forward_blocks(lanes);
    quantise_blocks(entry, codec.cubic, lanes);
    inverse_blocks(lanes);
    store_blocks(lanes, block_y, block_x, blocks, to.component[c]);
  });
}

// grads <- their product with the derivative at `samples`. Straight through the rounding, the two transforms cancel.
void code_planes_adjoint(const Codec& codec, const Planes& samples, const Planes& grads) {
  if (!codec.cubic) return;
  for_each_group(codec, grads, [&](int64_t block_y, int64_t block_x, int64_t blocks, const float* entry, int c) {
    alignas(64) Lanes coefficients[64];
    alignas(64) Lanes lanes[64];
    load_blocks(samples.component[c], block_y, block_x, blocks, coefficients);
    forward_blocks(coefficients);
    load_blocks(grads.component[c], block_y, block_x, blocks, lanes);
    forward_blocks(lanes);
    cubic_derivative(entry, coefficients, lanes);
    inverse_blocks(lanes);
    store_blocks(lanes, block_y, block_x, blocks, grads.component[c]);
  });
}

// ---- Planes -> image

// One row of a chroma plane at full resolution. Interpolation weighs the nearer sample 3/4, the farther 1/4.
void upsample(const JpegGeometry& g, const Plane& plane, int64_t y, float* PYD_RESTRICT blended, float* PYD_RESTRICT out) {
  const int64_t near_y = y / g.factor_y;
  const float* const near = plane.row(near_y);
  if (!g.smooth) {
    if (g.factor_x == 1) memcpy(out, near, static_cast<size_t>(g.width) * sizeof(float));
    for (int64_t x = 0; g.factor_x == 2 && x < g.chroma_width; ++x) out[2 * x] = out[2 * x + 1] = near[x];
    for (int64_t x = 0; g.factor_x == 4 && x < g.chroma_width; ++x) {
      out[4 * x] = out[4 * x + 1] = out[4 * x + 2] = out[4 * x + 3] = near[x];
    }
    return;
  }
  int64_t far_y = g.factor_y == 1 ? near_y : (y % 2 == 0 ? near_y - 1 : near_y + 1);
  far_y = far_y < 0 ? 0 : (far_y < g.chroma_height ? far_y : g.chroma_height - 1);
  const float* const far = plane.row(far_y);
  for (int64_t x = 0; x < g.chroma_width; ++x) blended[x] = near[x] * 0.75f + far[x] * 0.25f;
  if (g.factor_x == 1) {
    memcpy(out, blended, static_cast<size_t>(g.width) * sizeof(float));
    return;
  }
  out[0] = blended[0];
  for (int64_t x = 1; x < g.chroma_width; ++x) {
    out[2 * x - 1] = blended[x - 1] * 0.75f + blended[x] * 0.25f;
    out[2 * x] = blended[x] * 0.75f + blended[x - 1] * 0.25f;
  }
  out[2 * g.chroma_width - 1] = blended[g.chroma_width - 1];
}

// Scatters a row of gradients into the rows of the plane it came from.
void upsample_adjoint(const JpegGeometry& g, const float* grad, int64_t y, const Plane& plane) {
  const int64_t near_y = y / g.factor_y;
  float* const near = plane.row(near_y);
  if (!g.smooth) {
    for (int64_t x = 0; x < g.width; ++x) near[x / g.factor_x] += grad[x];
    return;
  }
  int64_t far_y = g.factor_y == 1 ? near_y : (y % 2 == 0 ? near_y - 1 : near_y + 1);
  far_y = far_y < 0 ? 0 : (far_y < g.chroma_height ? far_y : g.chroma_height - 1);
  float* const far = plane.row(far_y);
  for (int64_t x = 0; g.factor_x == 1 && x < g.width; ++x) {
    near[x] += grad[x] * 0.75f;
    far[x] += grad[x] * 0.25f;
  }
  for (int64_t x = 0; g.factor_x == 2 && x < g.width; ++x) {
    const int64_t near_x = x / 2;
    int64_t far_x = x % 2 == 0 ? near_x - 1 : near_x + 1;
    far_x = far_x < 0 ? 0 : (far_x < g.chroma_width ? far_x : g.chroma_width - 1);
    near[near_x] += grad[x] * 0.5625f;
    near[far_x] += grad[x] * 0.1875f;
    far[near_x] += grad[x] * 0.1875f;
    far[far_x] += grad[x] * 0.0625f;
  }
}

// body(y, luma, cb, cr) for the rows of the picture, chroma at full resolution.
template <typename Body>
Status for_each_ycc_row(const JpegGeometry& g, const Planes& planes, const Body& body) {
  int32_t failure = 0;
  const int64_t row_size = g.factor_x * g.chroma_width;
  parallel_for((g.height + 7) / 8, [&](int64_t part) {
    Scratch scratch;
    float* const rows = scratch.take<float>(3 * row_size);
    if (rows == nullptr) {
      __atomic_store_n(&failure, static_cast<int32_t>(Status::kOutOfMemory), __ATOMIC_RELAXED);
      return;
    }
    for (int64_t y = 8 * part; y < 8 * part + 8 && y < g.height; ++y) {
      upsample(g, planes.component[1], y, rows, rows + row_size);
      upsample(g, planes.component[2], y, rows, rows + 2 * row_size);
      body(y, planes.component[0].row(y), rows + row_size, rows + 2 * row_size);
    }
  });
  return static_cast<Status>(failure);
}

Status merge(const Codec& codec, const Planes& planes, Image dst) {
  const int64_t plane = dst.height * dst.width;
  return for_each_ycc_row(codec.geometry, planes, [&](int64_t y, const float* luma, const float* cb, const float* cr) {
    float* const red = dst.data + y * dst.width;
    float* const green = red + plane;
    float* const blue = green + plane;
    if (dst.width < kPiece) {
      for (int64_t x = 0; x < dst.width; ++x) {
        rgb_of_samples<ScalarArithmetic>(luma[x], cb[x], cr[x], red[x], green[x], blue[x]);
      }
      return;
    }
    for_each_piece(dst.width, [&](int64_t x) {
      for (int64_t at = x; at < x + kPiece; at += kLanes) {
        FloatLanes r, g, b;
        rgb_of_samples<LaneArithmetic>(load_floats(luma + at), load_floats(cb + at), load_floats(cr + at), r, g, b);
        store_floats(red + at, r);
        store_floats(green + at, g);
        store_floats(blue + at, b);
      }
    });
  });
}

// The transpose of merge at `planes`: gradients of the planes from those of the image. Where the result was clipped, none
// passes. The scale 1/255 cancels against that of split.
Status merge_adjoint(const Codec& codec, const Planes& planes, ConstImage grad, Scratch& scratch, const Planes& grads) {
  const JpegGeometry& g = codec.geometry;
  const int64_t plane = g.height * g.width;
  float* const chroma[2] = {scratch.take<float>(plane), scratch.take<float>(plane)};
  if (chroma[0] == nullptr || chroma[1] == nullptr) return Status::kOutOfMemory;
  for (const Plane& p : grads.component) memset(p.data, 0, static_cast<size_t>(p.height * p.width) * sizeof(float));

  const Status status = for_each_ycc_row(g, planes, [&](int64_t y, const float* luma, const float* cb, const float* cr) {
    const float* const red = grad.data + y * g.width;
    for (int64_t x = 0; x < g.width; ++x) {
      const FloatSamples own = samples_gradient(luma[x], cb[x], cr[x], red[x], red[plane + x], red[2 * plane + x]);
      grads.component[0].row(y)[x] = own.luma;
      chroma[0][y * g.width + x] = own.cb;
      chroma[1][y * g.width + x] = own.cr;
    }
  });
  if (status != Status::kOk) return status;

  // Neighbouring rows write to the same samples: one thread per plane, in order.
  parallel_for(2, [&](int64_t c) {
    for (int64_t y = 0; y < g.height; ++y) upsample_adjoint(g, chroma[c] + y * g.width, y, grads.component[1 + c]);
  });
  return Status::kOk;
}

}  // namespace

Status diffjpeg_image(const JpegParams& params, int64_t item, ConstImage src, Image dst) {
  const Codec codec = make_codec(params, item, src.height, src.width);
  Scratch scratch;
  Planes planes;
  if (!take_planes(scratch, codec.geometry, planes)) return Status::kOutOfMemory;
  const Status status = split(codec, src, planes);
  if (status != Status::kOk) return status;
  code_planes(codec, planes, planes);
  return merge(codec, planes, dst);
}

Status diffjpeg_adjoint(const JpegParams& params, int64_t item, ConstImage src, ConstImage grad, Image dst) {
  const Codec codec = make_codec(params, item, src.height, src.width);
  Scratch scratch;
  Planes samples, coded, grads;
  if (!take_planes(scratch, codec.geometry, samples) || !take_planes(scratch, codec.geometry, coded) ||
      !take_planes(scratch, codec.geometry, grads)) {
    return Status::kOutOfMemory;
  }
  Status status = split(codec, src, samples);
  if (status != Status::kOk) return status;
  code_planes(codec, samples, coded);
  status = merge_adjoint(codec, coded, grad, scratch, grads);
  if (status != Status::kOk) return status;
  code_planes_adjoint(codec, samples, grads);
  split_adjoint(codec, grads, dst);
  return Status::kOk;
}

}  // namespace PYD_ISA
}  // namespace pyd

// Noise from a counter: the word of a pixel depends on its place, channel, image and slot, never on who computes it.
//
// Words are made 64 pixels at a time (16 Philox blocks side by side), so that the loops below become vectors; the
// arithmetic of each lane is that of math/normal.h and math/poisson.h.

#include "cpu/image_ops.h"
#include "math/normal.h"
#include "math/philox.h"
#include "math/poisson.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int64_t kStripRows = 32;
constexpr int kLanes = 16;
constexpr int kRun = 4 * kLanes;

enum StreamOp : uint32_t { kStreamGaussian = 1, kStreamPoisson = 2, kStreamCorrelated = 3 };  // append only

// One noise slot of one image.
struct Stream {
  uint32_t key[4];
  uint32_t op;
};

// Sixteen Philox blocks: word j of block l stands at words[j][l]. Block l covers pixels first_x + 4 l .. + 3.
void philox_run(const Stream& stream, uint32_t channel, uint32_t y, uint32_t first_x, uint32_t words[4][kLanes]) {
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  const uint32_t second = stream.op << 24 | channel << 8;
  for (int l = 0; l < kLanes; ++l) {
    c0[l] = y << 16 | ((first_x >> 2) + static_cast<uint32_t>(l));
    c1[l] = second;
    c2[l] = stream.key[2];
    c3[l] = stream.key[3];
  }
  uint32_t k0 = stream.key[0], k1 = stream.key[1];
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < kLanes; ++l) {
      const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0[l];
      const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2[l];
      const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1[l] ^ k0;
      const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<uint32_t>(p1);
      c3[l] = static_cast<uint32_t>(p0);
      c0[l] = n0;
      c2[l] = n2;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int l = 0; l < kLanes; ++l) {
    words[0][l] = c0[l];
    words[1][l] = c1[l];
    words[2][l] = c2[l];
    words[3][l] = c3[l];
  }
}

// 64 standard normals: words 0 and 1 of a block make its pixels 0 and 1, words 2 and 3 its pixels 2 and 3.
void normal_run(const Stream& stream, uint32_t channel, uint32_t y, uint32_t first_x, float normals[kRun]) {
  uint32_t words[4][kLanes];
  philox_run(stream, channel, y, first_x, words);
  float out[4][kLanes];
  for (int pair = 0; pair < 4; pair += 2) {
    for (int l = 0; l < kLanes; ++l) {
      const float radius = pyd_sqrt(normal_minus_two_log(words[pair][l]));
      float cosine, sine;
      normal_cos_sin(words[pair + 1][l], &cosine, &sine);
      out[pair][l] = radius * cosine;
      out[pair + 1][l] = radius * sine;
    }
  }
  for (int l = 0; l < kLanes; ++l) {
    for (int j = 0; j < 4; ++j) normals[4 * l + j] = out[j][l];
  }
}

PYD_HD float clip01(float x) {
  x = x > 0.0f ? x : 0.0f;
  return x < 1.0f ? x : 1.0f;
}

// 8-bit level of a value, half to even; NaN is level 0.
PYD_HD int32_t level_of(float x) {
  float level = x * 255.0f;
  level = level > 0.0f ? level : 0.0f;
  level = level < 255.0f ? level : 255.0f;
  return static_cast<int32_t>((level + 8388608.0f) - 8388608.0f);
}

// torchvision's rgb_to_grayscale, in its order of operations.
PYD_HD float gray_of(float r, float g, float b) { return (0.2989f * r + 0.587f * g) + 0.114f * b; }

// Calls body(y, x, length) for runs of at most 64 pixels, strips of rows spread over the threads.
template <typename Body>
void for_each_run(int64_t height, int64_t width, const Body& body) {
  parallel_for((height + kStripRows - 1) / kStripRows, [&](int64_t strip) {
    const int64_t end = (strip + 1) * kStripRows < height ? (strip + 1) * kStripRows : height;
    for (int64_t y = strip * kStripRows; y < end; ++y) {
      for (int64_t x = 0; x < width; x += kRun) body(y, x, width - x < kRun ? width - x : int64_t{kRun});
    }
  });
}

void gaussian(const Stream& stream, float sigma, bool gray, ConstImage src, Image dst) {
  const int64_t plane = src.height * src.width;
  for_each_run(src.height, src.width, [&](int64_t y, int64_t x, int64_t length) {
    float normals[kRun];
    for (int64_t channel = 0; channel < src.channels; ++channel) {
      if (!gray || channel == 0) {
        normal_run(stream, static_cast<uint32_t>(channel), static_cast<uint32_t>(y), static_cast<uint32_t>(x), normals);
      }
      const int64_t at = channel * plane + y * src.width + x;
      for (int64_t i = 0; i < length; ++i) dst.data[at + i] = clip01(pyd_fma(normals[i], sigma, src.data[at + i]));
    }
  });
}

void correlated(const Stream& stream, const float* matrix, ConstImage src, Image dst) {
  const int64_t plane = src.height * src.width;
  for_each_run(src.height, src.width, [&](int64_t y, int64_t x, int64_t length) {
    float normals[3][kRun];
    for (uint32_t channel = 0; channel < 3; ++channel) {
      normal_run(stream, channel, static_cast<uint32_t>(y), static_cast<uint32_t>(x), normals[channel]);
    }
    for (int64_t channel = 0; channel < 3; ++channel) {
      const float* row = matrix + 3 * channel;
      const int64_t at = channel * plane + y * src.width + x;
      for (int64_t i = 0; i < length; ++i) {
        const float noise = pyd_fma(row[2], normals[2][i], pyd_fma(row[1], normals[1][i], row[0] * normals[0][i]));
        dst.data[at + i] = clip01(src.data[at + i] + noise);
      }
    }
  });
}

// log2 of V = 2^ceil(log2(number of different 8-bit levels)).
uint32_t level_exponent(ConstImage src, bool gray) {
  const int64_t plane = src.height * src.width;
  uint8_t seen[256] = {};
  if (gray) {
    for (int64_t i = 0; i < plane; ++i) {
      seen[level_of(gray_of(src.data[i], src.data[plane + i], src.data[2 * plane + i]))] = 1;
    }
  } else {
    for (int64_t i = 0; i < src.channels * plane; ++i) seen[level_of(src.data[i])] = 1;
  }
  uint32_t levels = 0, exponent = 0;
  for (uint8_t flag : seen) levels += flag;
  while ((1u << exponent) < levels) ++exponent;
  return exponent;
}

void poisson(const Stream& stream, float gain, bool gray, const uint32_t* tables, ConstImage src, Image dst) {
  const uint32_t exponent = level_exponent(src, gray);
  const float share = 1.0f / static_cast<float>(1u << exponent);
  const int64_t plane = src.height * src.width;
  for_each_run(src.height, src.width, [&](int64_t y, int64_t x, int64_t length) {
    uint32_t words[4][kLanes];
    float noise[kRun];
    for (int64_t channel = 0; channel < src.channels; ++channel) {
      const int64_t at = channel * plane + y * src.width + x;
      if (!gray || channel == 0) {
        philox_run(stream, static_cast<uint32_t>(channel), static_cast<uint32_t>(y), static_cast<uint32_t>(x), words);
        int32_t level[kRun];
        uint32_t word[kRun];
        for (int64_t i = 0; i < length; ++i) {
          const float* value = src.data + at + i;
          level[i] = level_of(gray ? gray_of(value[0], value[plane], value[2 * plane]) : value[0]);
        }
        for (int l = 0; l < kLanes; ++l) {
          for (int j = 0; j < 4; ++j) word[4 * l + j] = words[j][l];
        }
        for (int64_t i = 0; i < length; ++i) {
          const uint32_t count = poisson_count(tables, exponent, static_cast<uint32_t>(level[i]), word[i]);
          noise[i] = gain * (static_cast<float>(count) * share - static_cast<float>(level[i]) / 255.0f);
        }
      }
      for (int64_t i = 0; i < length; ++i) dst.data[at + i] = clip01(src.data[at + i] + noise[i]);
    }
  });
}

}  // namespace

Status noise_image(const NoiseParams& params, int64_t item, ConstImage src, Image dst) {
  // 16 bits of the counter for y, 16 for x / 4.
  if (src.height > 65535 || src.width > 262143) return Status::kBadArgument;
  const uint32_t* key = params.key + 4 * item;
  Stream stream = {{key[0], key[1], key[2], key[3]}, 0};
  const bool gray = params.gray[item] != 0;
  if (gray && src.channels != 3) return Status::kBadArgument;
  switch (params.kind[item]) {
    case kNoiseOff:
      if (dst.data != src.data) return copy_image(src, dst);
      return Status::kOk;
    case kNoiseGaussian:
      stream.op = kStreamGaussian;
      gaussian(stream, params.sigma[item], gray, src, dst);
      return Status::kOk;
    case kNoisePoisson:
      if (params.poisson_tables == nullptr) return Status::kBadArgument;
      stream.op = kStreamPoisson;
      poisson(stream, params.gain[item], gray, params.poisson_tables, src, dst);
      return Status::kOk;
    case kNoiseCorrelated:
      if (params.matrix == nullptr || src.channels != 3) return Status::kBadArgument;
      stream.op = kStreamCorrelated;
      correlated(stream, params.matrix + 9 * item, src, dst);
      return Status::kOk;
    default: return Status::kBadArgument;
  }
}

Status noise_cpu(const NoiseArgs& args) {
  return for_each_row(args.rows.count, [&](int64_t row) {
    return noise_image(args.params, row, row_image(args.rows, args.src, row), row_image(args.rows, args.dst, row));
  });
}

}  // namespace PYD_ISA
}  // namespace pyd

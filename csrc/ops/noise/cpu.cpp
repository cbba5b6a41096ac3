// Noise from a counter: the word of a pixel depends on its place, channel, image and slot, never on who computes it.
//
// Words are made 64 pixels at a time (16 Philox blocks side by side), so that the loops below become vectors; the
// arithmetic of each lane is that of math/normal.h and math/poisson.h.

#include "cpu/images.h"
#include "math/poisson.h"
#include "ops/noise/math.h"
#include "ops/noise/normal.h"
#include "ops/noise/philox_lanes.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int64_t kStripRows = 32;
constexpr int kRun = 4 * kBlocks;

// One noise slot of one image.
struct Stream {
  uint32_t key[4];
  uint32_t op;
};

// Sixteen Philox blocks; block b covers pixels first_x + 4 b .. + 3. Their order in `words` is that of block_at.
void philox_run(const Stream& stream, uint32_t channel, uint32_t y, uint32_t first_x, uint32_t words[4][kBlocks]) {
  philox_blocks(stream.key[0], stream.key[1], y << 16 | first_x >> 2, stream.op << 24 | channel << 8, stream.key[2],
                stream.key[3], words);
}

// 64 standard normals: words 0 and 1 of a block make its pixels 0 and 1, words 2 and 3 its pixels 2 and 3.
void normal_run(const Stream& stream, uint32_t channel, uint32_t y, uint32_t first_x, float normals[kRun]) {
  uint32_t words[4][kBlocks];
  philox_run(stream, channel, y, first_x, words);
  float out[4][kBlocks];
  for (int pair = 0; pair < 4; pair += 2) {
    for (int l = 0; l < kBlocks; ++l) {
      const float radius = pyd_sqrt(normal_minus_two_log(words[pair][l]));
      float cosine, sine;
      normal_cos_sin(words[pair + 1][l], &cosine, &sine);
      out[pair][l] = radius * cosine;
      out[pair + 1][l] = radius * sine;
    }
  }
  interleave(out, normals);
}

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

// dst = value(src, normal), clipped.
template <typename Value>
void by_normals(const Stream& stream, bool gray, ConstImage src, Image dst, const Value& value) {
  const int64_t plane = src.height * src.width;
  for_each_run(src.height, src.width, [&](int64_t y, int64_t x, int64_t length) {
    float normals[kRun];
    for (int64_t channel = 0; channel < src.channels; ++channel) {
      if (!gray || channel == 0) {
        normal_run(stream, static_cast<uint32_t>(channel), static_cast<uint32_t>(y), static_cast<uint32_t>(x), normals);
      }
      const int64_t at = channel * plane + y * src.width + x;
      for (int64_t i = 0; i < length; ++i) dst.data[at + i] = clip01(value(src.data[at + i], normals[i]));
    }
  });
}

// dst = value(src, word), clipped.
template <typename Value>
void by_words(const Stream& stream, bool gray, ConstImage src, Image dst, const Value& value) {
  const int64_t plane = src.height * src.width;
  for_each_run(src.height, src.width, [&](int64_t y, int64_t x, int64_t length) {
    uint32_t word[kRun];
    for (int64_t channel = 0; channel < src.channels; ++channel) {
      if (!gray || channel == 0) {
        uint32_t words[4][kBlocks];
        philox_run(stream, static_cast<uint32_t>(channel), static_cast<uint32_t>(y), static_cast<uint32_t>(x), words);
        interleave(words, word);
      }
      const int64_t at = channel * plane + y * src.width + x;
      for (int64_t i = 0; i < length; ++i) dst.data[at + i] = clip01(value(src.data[at + i], word[i]));
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
        const float noise = correlated_noise(row, normals[0][i], normals[1][i], normals[2][i]);
        dst.data[at + i] = clip01(src.data[at + i] + noise);
      }
    }
  });
}

// Which of the 256 levels occur in an image.
struct Levels {
  uint8_t seen[256];

  // Adds the levels of `length` <= kLevelRun values, made by `level(i)`.
  template <typename Level>
  void add(int64_t length, const Level& level) {
    int32_t levels[kLevelRun];
    for (int64_t i = 0; i < length; ++i) levels[i] = level(i);
    for (int64_t i = 0; i < length; ++i) seen[levels[i]] = 1;
  }
  uint32_t count() const {
    uint32_t levels = 0;
    for (uint8_t flag : seen) levels += flag;
    return levels;
  }

  static constexpr int64_t kLevelRun = 1024;
};

// log2 of V = 2^ceil(log2(number of different 8-bit levels)). Above 128 levels it can grow no more, which most photographs
// show in their first rows.
uint32_t level_exponent(ConstImage src, bool gray) {
  const int64_t plane = src.height * src.width;
  const int64_t values = gray ? plane : src.channels * plane;
  Levels levels = {};
  for (int64_t begin = 0; begin < values; begin += Levels::kLevelRun) {
    const int64_t length = values - begin < Levels::kLevelRun ? values - begin : Levels::kLevelRun;
    const float* const at = src.data + begin;
    if (gray) {
      levels.add(length, [&](int64_t i) { return level_of(gray_of(at[i], at[plane + i], at[2 * plane + i])); });
    } else {
      levels.add(length, [&](int64_t i) { return level_of(at[i]); });
    }
    if (levels.count() > 128) return 8;
  }
  uint32_t exponent = 0;
  while ((1u << exponent) < levels.count()) ++exponent;
  return exponent;
}

// What poisson_count gives for sixteen pixels.
void poisson_counts(const uint32_t* tables, uint32_t exponent, const int32_t level[kBlocks], const uint32_t word[kBlocks],
                    int32_t count[kBlocks]) {
  const uint32_t* const table = tables + (exponent << 16);
  int32_t place[kBlocks];
  uint32_t entry[kBlocks];
  for (int i = 0; i < kBlocks; ++i) place[i] = level[i] << 8 | static_cast<int32_t>(word[i] >> 24);
  gather_words(table, place, entry);
  for (int i = 0; i < kBlocks; ++i) {
    const uint32_t chosen = (word[i] & 0x00FFFFFFu) < (entry[i] >> 8) ? word[i] >> 24 : entry[i] & 0xFFu;
    count[i] = static_cast<int32_t>(poisson_first(exponent, static_cast<uint32_t>(level[i])) + chosen);
  }
}

void poisson(const Stream& stream, float gain, bool gray, const uint32_t* tables, ConstImage src, Image dst) {
  const uint32_t exponent = level_exponent(src, gray);
  const float share = 1.0f / static_cast<float>(1u << exponent);
  const int64_t plane = src.height * src.width;
  for_each_run(src.height, src.width, [&](int64_t y, int64_t x, int64_t length) {
    float noise[kRun];
    for (int64_t channel = 0; channel < src.channels; ++channel) {
      const int64_t at = channel * plane + y * src.width + x;
      if (!gray || channel == 0) {
        uint32_t words[4][kBlocks];
        uint32_t word[kRun];
        int32_t level[kRun], count[kRun];
        philox_run(stream, static_cast<uint32_t>(channel), static_cast<uint32_t>(y), static_cast<uint32_t>(x), words);
        interleave(words, word);
        const float* const value = src.data + at;
        auto level_at = [&](int64_t i) {
          return level_of(gray ? gray_of(value[i], value[plane + i], value[2 * plane + i]) : value[i]);
        };
        for (int64_t i = 0; i < length; ++i) level[i] = level_at(i);
        for (int64_t i = length; i < kRun; ++i) level[i] = 0;
        for (int i = 0; i < kRun; i += kBlocks) poisson_counts(tables, exponent, level + i, word + i, count + i);
        for (int i = 0; i < kRun; ++i) {
          noise[i] = poisson_noise(static_cast<uint32_t>(count[i]), share, level[i], gain);
        }
      }
      for (int64_t i = 0; i < length; ++i) dst.data[at + i] = clip01(src.data[at + i] + noise[i]);
    }
  });
}

}  // namespace

Status noise_image(const NoiseParams& params, const Use& use) {
  const uint32_t* key = params.key.data + 4 * use.item;
  Stream stream = {{key[0], key[1], key[2], key[3]}, 0};
  const bool gray = params.gray[use.item] != 0;
  switch (params.kind[use.item]) {
    case kNoiseGaussian:
      stream.op = kStreamGaussian;
      gaussian(stream, params.sigma[use.item], gray, use.src, use.dst);
      return Status::kOk;
    case kNoisePoisson:
      stream.op = kStreamPoisson;
      poisson(stream, params.gain[use.item], gray, params.poisson_tables.data, use.src, use.dst);
      return Status::kOk;
    case kNoiseCorrelated:
      stream.op = kStreamCorrelated;
      correlated(stream, params.matrix.data + 9 * use.item, use.src, use.dst);
      return Status::kOk;
    case kNoiseSpeckle: {
      stream.op = kStreamSpeckle;
      const float sigma = params.sigma[use.item];
      by_normals(stream, gray, use.src, use.dst, [&](float x, float normal) { return speckled(x, sigma, normal); });
      return Status::kOk;
    }
    case kNoiseUniform: {
      stream.op = kStreamUniform;
      const float sigma = params.sigma[use.item];
      by_words(stream, gray, use.src, use.dst, [&](float x, uint32_t word) { return with_uniform(x, sigma, word); });
      return Status::kOk;
    }
    case kNoiseSaltPepper: {
      stream.op = kStreamSaltPepper;
      const uint32_t threshold = salt_pepper_threshold(params.gain[use.item]);
      by_words(stream, gray, use.src, use.dst, [&](float x, uint32_t word) { return salted(x, threshold, word); });
      return Status::kOk;
    }
    case kNoiseShotRead: {
      stream.op = kStreamShotRead;
      const float shot = params.gain[use.item], sigma = params.sigma[use.item];
      by_normals(stream, gray, use.src, use.dst,
                 [&](float x, float normal) { return with_shot_and_read(x, shot, sigma, normal); });
      return Status::kOk;
    }
    default: return pass_image(use.src, use.dst);
  }
}

double noise_ns_per_px(const NoiseParams&, int64_t) { return 4.0; }

}  // namespace PYD_ISA
}  // namespace pyd

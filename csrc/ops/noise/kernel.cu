// Noise: one thread makes the four pixels of a Philox block, in every channel. Every field is what cpu.cpp draws.

#include "cuda/platform.h"
#include "math/philox.h"
#include "math/poisson.h"
#include "ops/noise/device.h"
#include "ops/noise/math.h"
#include "ops/noise/normal.h"

namespace pyd {

// Notes the 8-bit levels that a picture has.
PYD_KERNEL(levels, NoiseRow) {
  const Share share = share_of_block(bases, stage);
  const NoiseRow& row = descriptor<NoiseRow>(bases, stage, share.row);
  const Global<float> src = picture_memory(bases, row.src);
  const Global<uint32_t> all = global_memory<uint32_t>(bases, row.seen, 8);
  const Shared<uint32_t> seen = shared_memory<uint32_t>(0, 8);
  if (thread_index() < 8) seen.set(thread_index(), 0);
  PYD_BARRIER();
  const bool gray = row.gray != 0;
  const int64_t plane = pixels_of(row.src);
  const int64_t count = gray ? plane : plane * row.src.channels;
  // Every thread collects for itself: hundreds of threads would queue for the same few words of shared memory.
  uint32_t own[8] = {};
  for (int32_t k = 0; k < kLevelsPerBlock / kThreads_levels; ++k) {
    const int64_t i = int64_t{share.block} * kLevelsPerBlock + k * kThreads_levels + thread_index();
    if (i >= count) break;
    const float value = gray ? gray_of(src.get(i), src.get(plane + i), src.get(2 * plane + i)) : src.get(i);
    const int32_t level = level_of(value);
#pragma unroll
    for (int32_t word = 0; word < 8; ++word) own[word] |= level / 32 == word ? 1u << (level % 32) : 0u;
  }
#pragma unroll
  for (int32_t word = 0; word < 8; ++word) {
    if (own[word] != 0) seen.bits_or(word, own[word]);
  }
  PYD_BARRIER();
  if (thread_index() < 8) all.bits_or(thread_index(), seen.get(thread_index()));
}

PYD_DEVICE Float4 normals_of(const Philox4& words) {
  Float4 normals;
#pragma unroll
  for (int32_t pair = 0; pair < 4; pair += 2) {
    const float radius = pyd_sqrt(normal_minus_two_log(words.w[pair]));
    float cosine, sine;
    normal_cos_sin(words.w[pair + 1], &cosine, &sine);
    normals.x[pair] = radius * cosine;
    normals.x[pair + 1] = radius * sine;
  }
  return normals;
}

// Float4 neighbouring pixels, fewer at the end of a line.
PYD_DEVICE Float4 load_quad(const Global<float>& from, int64_t at, int32_t length) {
  Float4 values = {};
  if (length == 4 && from.aligned4(at)) {
    values = from.get4(at);
  } else {
#pragma unroll
    for (int32_t j = 0; j < 4; ++j) {
      if (j < length) values.x[j] = from.get(at + j);
    }
  }
  return values;
}
PYD_DEVICE void store_quad(const Global<float>& to, int64_t at, int32_t length, const Float4& values) {
  if (length == 4 && to.aligned4(at)) {
    to.set4(at, values);
  } else {
#pragma unroll
    for (int32_t j = 0; j < 4; ++j) {
      if (j < length) to.set(at + j, values.x[j]);
    }
  }
}

// log2 of V = 2^ceil(log2(number of different 8-bit levels)).
PYD_DEVICE uint32_t level_exponent(const Global<uint32_t>& seen) {
  int32_t levels = 0;
  for (int32_t word = 0; word < 8; ++word) levels += count_bits(seen.get(word));
  uint32_t exponent = 0;
  while ((1 << exponent) < levels) ++exponent;
  return exponent;
}

PYD_KERNEL(noise, NoiseRow) {
  const Share share = share_of_block(bases, stage);
  const NoiseRow& row = descriptor<NoiseRow>(bases, stage, share.row);
  const int32_t width = row.src.width, quads = (width + 3) / 4, channels = row.src.channels;
  const int32_t quad = share.block * kThreads_noise + thread_index();
  if (quad >= quads * row.src.height) return;
  const int32_t y = quad / quads, x = quad % quads * 4, length = smaller(4, width - x);
  const int64_t plane = pixels_of(row.src), at = static_cast<int64_t>(y) * width + x;
  const Global<float> src = picture_memory(bases, row.src);
  const Global<float> dst = picture_memory(bases, row.src, row.dst);
  const int32_t kind = row.kind;
  const bool gray = row.gray != 0;
  const uint32_t op = static_cast<uint32_t>(kind);  // StreamOp has the numbers of NoiseKind
  const auto words_of = [&](int32_t channel) {
    return philox4x32_10(row.key[0], row.key[1], static_cast<uint32_t>(y) << 16 | static_cast<uint32_t>(x) >> 2,
                         op << 24 | static_cast<uint32_t>(channel) << 8, row.key[2], row.key[3]);
  };

  if (kind == kNoiseCorrelated) {
    const Float4 normals[3] = {normals_of(words_of(0)), normals_of(words_of(1)), normals_of(words_of(2))};
#pragma unroll
    for (int32_t channel = 0; channel < 3; ++channel) {
      const float line[3] = {row.matrix[3 * channel], row.matrix[3 * channel + 1], row.matrix[3 * channel + 2]};
      Float4 values = load_quad(src, channel * plane + at, length);
#pragma unroll
      for (int32_t j = 0; j < 4; ++j) {
        values.x[j] = clip01(values.x[j] + correlated_noise(line, normals[0].x[j], normals[1].x[j], normals[2].x[j]));
      }
      store_quad(dst, channel * plane + at, length, values);
    }
    return;
  }

  if (kind == kNoiseGaussian) {
    Float4 normals = {};
    for (int32_t channel = 0; channel < channels; ++channel) {
      if (!gray || channel == 0) normals = normals_of(words_of(channel));
      Float4 values = load_quad(src, channel * plane + at, length);
#pragma unroll
      for (int32_t j = 0; j < 4; ++j) values.x[j] = clip01(pyd_fma(normals.x[j], row.sigma, values.x[j]));
      store_quad(dst, channel * plane + at, length, values);
    }
    return;
  }

  if (kind > kNoiseCorrelated) {
    const bool by_words = kind == kNoiseUniform || kind == kNoiseSaltPepper;
    const uint32_t threshold = kind == kNoiseSaltPepper ? salt_pepper_threshold(row.gain) : 0u;
    Philox4 words = {};
    Float4 normals = {};
    for (int32_t channel = 0; channel < channels; ++channel) {
      if (!gray || channel == 0) {
        words = words_of(channel);
        if (!by_words) normals = normals_of(words);
      }
      Float4 values = load_quad(src, channel * plane + at, length);
#pragma unroll
      for (int32_t j = 0; j < 4; ++j) {
        const float x = values.x[j];
        float noisy = x;
        if (kind == kNoiseSpeckle) noisy = speckled(x, row.sigma, normals.x[j]);
        if (kind == kNoiseUniform) noisy = with_uniform(x, row.sigma, words.w[j]);
        if (kind == kNoiseSaltPepper) noisy = salted(x, threshold, words.w[j]);
        if (kind == kNoiseShotRead) noisy = with_shot_and_read(x, row.gain, row.sigma, normals.x[j]);
        values.x[j] = clip01(noisy);
      }
      store_quad(dst, channel * plane + at, length, values);
    }
    return;
  }

  const uint32_t exponent = level_exponent(global_memory<uint32_t>(bases, row.seen, 8));
  const float share_of_level = 1.0f / static_cast<float>(1u << exponent);
  const uint32_t* const tables = reinterpret_cast<const uint32_t*>(bases.at[kBasePoisson]);
  Float4 noise = {};
  for (int32_t channel = 0; channel < channels; ++channel) {
    Float4 values = load_quad(src, channel * plane + at, length);
    if (!gray || channel == 0) {
      const Philox4 words = words_of(channel);
      Float4 rates = values;
      if (gray) {
        const Float4 green = load_quad(src, plane + at, length), blue = load_quad(src, 2 * plane + at, length);
#pragma unroll
        for (int32_t j = 0; j < 4; ++j) rates.x[j] = gray_of(values.x[j], green.x[j], blue.x[j]);
      }
#pragma unroll
      for (int32_t j = 0; j < 4; ++j) {
        const int32_t level = level_of(rates.x[j]);
        const uint32_t count = poisson_count(tables, exponent, static_cast<uint32_t>(level), words.w[j]);
        noise.x[j] = poisson_noise(count, share_of_level, level, row.gain);
      }
    }
#pragma unroll
    for (int32_t j = 0; j < 4; ++j) values.x[j] = clip01(values.x[j] + noise.x[j]);
    store_quad(dst, channel * plane + at, length, values);
  }
}

}  // namespace pyd

#include "cpu/pixels.h"

#include "core/status.h"
#include "math/hd.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int64_t kBlock = 1024;  // pixels at a time, so that what is between two passes stays in the first cache
constexpr int64_t kColumns = 256;  // the same, of doubles; even

// The nearest integer, even on a tie.
PYD_HD float rounded(float value) {
  constexpr float kMagic = 12582912.0f;
  return (value + kMagic) - kMagic;
}
PYD_HD double rounded(double value) {
  constexpr double kMagic = 6755399441055744.0;
  return (value + kMagic) - kMagic;
}

// Levels 0 to 255 of `count` values of a row from column `begin` on, the last one repeated beyond the width.
void levels_of_row(const float* row, int64_t width, int64_t begin, int64_t count, double* out) {
  const int64_t left = width - begin, inside = left < 0 ? 0 : left < count ? left : count;
  for (int64_t i = 0; i < inside; ++i) {
    float value = row[begin + i];
    value = value > 0.0f ? value : 0.0f;
    value = value < 1.0f ? value : 1.0f;
    out[i] = static_cast<double>(rounded(value * 255.0f));
  }
  if (inside == count) return;
  double last;
  if (inside > 0) {
    last = out[inside - 1];
  } else {
    levels_of_row(row, width, width - 1, 1, &last);
  }
  for (int64_t i = inside; i < count; ++i) out[i] = last;
}

// A level from 0 to 255, over 255.
PYD_HD float share_of_level(double value) {
  double level = rounded(value);
  level = level > 0.0 ? level : 0.0;
  level = level < 255.0 ? level : 255.0;
  return static_cast<float>(level) / 255.0f;
}

// Three channels at once: the compiler makes shuffles of vectors of their loads and stores.
void planes_of_rgb(const PlanesOfBytesArgs& args) {
  const uint8_t* const from = args.bytes;
  float* const red = args.planes;
  float* const green = red + args.pixels;
  float* const blue = green + args.pixels;
  for (int64_t i = 0; i < args.pixels; ++i) {
    red[i] = static_cast<float>(from[3 * i]) / 255.0f;
    green[i] = static_cast<float>(from[3 * i + 1]) / 255.0f;
    blue[i] = static_cast<float>(from[3 * i + 2]) / 255.0f;
  }
}

void interleave_rgb(const uint8_t (*planes)[kBlock], int64_t count, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[3 * i] = planes[0][i];
    out[3 * i + 1] = planes[1][i];
    out[3 * i + 2] = planes[2][i];
  }
}

}  // namespace

Status planes_of_bytes_cpu(const PlanesOfBytesArgs& args) {
  if (args.channels == 3) {
    planes_of_rgb(args);
    return Status::kOk;
  }
  float level[256];
  for (int i = 0; i < 256; ++i) level[i] = static_cast<float>(i) / 255.0f;
  const int64_t pixels = args.pixels, channels = args.channels;
  for (int64_t begin = 0; begin < pixels; begin += kBlock) {
    const int64_t end = begin + kBlock < pixels ? begin + kBlock : pixels;
    for (int64_t channel = 0; channel < channels; ++channel) {
      const uint8_t* const from = args.bytes + channel;
      float* const to = args.planes + channel * pixels;
      for (int64_t i = begin; i < end; ++i) to[i] = level[from[i * channels]];
    }
  }
  return Status::kOk;
}

// kBadPixels, and bytes that mean nothing, where a value times 255 is not finite.
Status bytes_of_planes_cpu(const BytesOfPlanesArgs& args) {
  constexpr float kMagic = 12582912.0f;  // adding 1.5 2^23 leaves the nearest integer, even on a tie, in the low bits
  constexpr uint32_t kExponent = 0x7f800000u;
  const int64_t pixels = args.pixels, channels = args.channels;
  uint32_t bad = 0;
  uint8_t blocks[3][kBlock];
  for (int64_t begin = 0; begin < pixels; begin += kBlock) {
    const int64_t count = begin + kBlock < pixels ? kBlock : pixels - begin;
    for (int64_t channel = 0; channel < channels; ++channel) {
      const float* const from = args.planes + channel * pixels + begin;
      uint8_t* const rounded = blocks[channels == 3 ? channel : 0];
      for (int64_t i = 0; i < count; ++i) {
        const float wide = from[i] * 255.0f;
        bad |= (pyd_bits(wide) & kExponent) == kExponent ? 1u : 0u;
        float clipped = wide > 0.0f ? wide : 0.0f;
        clipped = clipped < 255.0f ? clipped : 255.0f;
        rounded[i] = static_cast<uint8_t>(pyd_bits(clipped + kMagic));
      }
      if (channels == 3) continue;
      uint8_t* const to = args.bytes + begin * channels + channel;
      for (int64_t i = 0; i < count; ++i) to[i * channels] = rounded[i];
    }
    if (channels == 3) interleave_rgb(blocks, count, args.bytes + 3 * begin);
  }
  return bad == 0 ? Status::kOk : Status::kBadPixels;
}

Status yuv_of_planes_cpu(const YuvOfPlanesArgs& args) {
  const int64_t height = args.height, width = args.width, plane = height * width;
  const int64_t yuv_height = args.yuv_height, yuv_width = args.yuv_width, half = yuv_width / 2;
  uint8_t* const cb = args.yuv + yuv_height * yuv_width;
  uint8_t* const cr = cb + yuv_height / 2 * half;
  double level[3][kColumns], to_blue[2][kColumns], to_red[2][kColumns];
  for (int64_t y = 0; y < yuv_height; y += 2) {
    for (int64_t begin = 0; begin < yuv_width; begin += kColumns) {
      const int64_t count = begin + kColumns < yuv_width ? kColumns : yuv_width - begin;
      for (int line = 0; line < 2; ++line) {
        const int64_t row = y + line < height ? y + line : height - 1;
        for (int channel = 0; channel < 3; ++channel) {
          levels_of_row(args.planes + channel * plane + row * width, width, begin, count, level[channel]);
        }
        uint8_t* const to = args.yuv + (y + line) * yuv_width + begin;
        for (int64_t i = 0; i < count; ++i) {
          const double luma = 0.299 * level[0][i] + 0.587 * level[1][i] + 0.114 * level[2][i];
          to[i] = static_cast<uint8_t>(static_cast<int32_t>(rounded(16.0 + luma * (219.0 / 255.0))));
          to_blue[line][i] = level[2][i] - luma;
          to_red[line][i] = level[0][i] - luma;
        }
      }
      const int64_t at = y / 2 * half + begin / 2;
      for (int64_t i = 0; i < count / 2; ++i) {
        const double blue = (to_blue[0][2 * i] + to_blue[1][2 * i]) + (to_blue[0][2 * i + 1] + to_blue[1][2 * i + 1]);
        const double red = (to_red[0][2 * i] + to_red[1][2 * i]) + (to_red[0][2 * i + 1] + to_red[1][2 * i + 1]);
        const double at_cb = rounded(128.0 + blue / 4.0 * (224.0 / 255.0 / 1.772));
        const double at_cr = rounded(128.0 + red / 4.0 * (224.0 / 255.0 / 1.402));
        cb[at + i] = static_cast<uint8_t>(static_cast<int32_t>(at_cb));
        cr[at + i] = static_cast<uint8_t>(static_cast<int32_t>(at_cr));
      }
    }
  }
  return Status::kOk;
}

Status planes_of_yuv_cpu(const PlanesOfYuvArgs& args) {
  const int64_t height = args.height, width = args.width, plane = height * width, half = args.yuv_width / 2;
  const uint8_t* const cb = args.yuv + args.yuv_height * args.yuv_width;
  const uint8_t* const cr = cb + args.yuv_height / 2 * half;
  double blue[kColumns], red[kColumns];
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t begin = 0; begin < width; begin += kColumns) {
      const int64_t count = begin + kColumns < width ? kColumns : width - begin;
      const int64_t at = y / 2 * half + begin / 2;
      for (int64_t i = 0; i < (count + 1) / 2; ++i) {
        blue[2 * i] = blue[2 * i + 1] = static_cast<double>(cb[at + i]) - 128.0;
        red[2 * i] = red[2 * i + 1] = static_cast<double>(cr[at + i]) - 128.0;
      }
      const uint8_t* const from = args.yuv + y * args.yuv_width + begin;
      float* const to = args.planes + y * width + begin;
      for (int64_t i = 0; i < count; ++i) {
        const double luma = (static_cast<double>(from[i]) - 16.0) * (255.0 / 219.0);
        const double r = luma + red[i] * (1.402 * 255.0 / 224.0);
        const double b = luma + blue[i] * (1.772 * 255.0 / 224.0);
        const double g = (luma - 0.299 * r - 0.114 * b) / 0.587;
        to[i] = share_of_level(r);
        to[plane + i] = share_of_level(g);
        to[2 * plane + i] = share_of_level(b);
      }
    }
  }
  return Status::kOk;
}

}  // namespace PYD_ISA
}  // namespace pyd

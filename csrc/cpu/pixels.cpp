#include "cpu/pixels.h"

#include "core/status.h"
#include "math/hd.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int64_t kBlock = 1024;  // pixels at a time, so that what is between two passes stays in the first cache

}  // namespace

Status planes_of_bytes_cpu(const PlanesOfBytesArgs& args) {
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
  for (int64_t begin = 0; begin < pixels; begin += kBlock) {
    const int64_t count = begin + kBlock < pixels ? kBlock : pixels - begin;
    for (int64_t channel = 0; channel < channels; ++channel) {
      const float* const from = args.planes + channel * pixels + begin;
      uint8_t rounded[kBlock];
      for (int64_t i = 0; i < count; ++i) {
        const float wide = from[i] * 255.0f;
        bad |= (pyd_bits(wide) & kExponent) == kExponent ? 1u : 0u;
        float clipped = wide > 0.0f ? wide : 0.0f;
        clipped = clipped < 255.0f ? clipped : 255.0f;
        rounded[i] = static_cast<uint8_t>(pyd_bits(clipped + kMagic));
      }
      uint8_t* const to = args.bytes + begin * channels + channel;
      for (int64_t i = 0; i < count; ++i) to[i * channels] = rounded[i];
    }
  }
  return bad == 0 ? Status::kOk : Status::kBadPixels;
}

}  // namespace PYD_ISA
}  // namespace pyd

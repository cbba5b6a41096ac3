// Between images in files, bytes with the channels of a pixel side by side, and planes of floats.
#pragma once

#include <cstdint>

namespace pyd {

struct PlanesOfBytesArgs {
  int64_t pixels;
  int64_t channels;
  const uint8_t* bytes;  // [pixels, channels]
  float* planes;         // [channels, pixels]: bytes / 255
};

struct BytesOfPlanesArgs {
  int64_t pixels;
  int64_t channels;
  const float* planes;  // [channels, pixels]
  uint8_t* bytes;       // [pixels, channels]: 255 planes, clipped to [0, 255], rounded half to even
};

}  // namespace pyd

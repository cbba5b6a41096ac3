// Between planes of floats and bytes: of images in files, with the channels of a pixel side by side, and of video codecs.
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

// Y'CbCr 4:2:0 of BT.601, 16 to 235 and 240, as planes one after the other: Y [yuv_height, yuv_width], then Cb and Cr of
// half the sides, which are even and at least those of the image. What pydegrade/ops/video.py says, in double.
struct YuvOfPlanesArgs {
  int64_t height, width, yuv_height, yuv_width;
  const float* planes;  // RGB [3, height, width], clipped to [0, 1] and rounded to bytes, half to even; NaN counts as 0
  uint8_t* yuv;         // outside the image the last row and column go on; chroma is the mean of 2 x 2
};

struct PlanesOfYuvArgs {
  int64_t height, width, yuv_height, yuv_width;
  const uint8_t* yuv;
  float* planes;  // RGB [3, height, width], the upper left part, rounded to bytes, over 255; chroma counts for its 2 x 2
};

}  // namespace pyd

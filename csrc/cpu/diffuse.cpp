#include "cpu/diffuse.h"

#include "core/scratch.h"
#include "core/status.h"
#include "math/hd.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int kReach = 2;  // rows and columns that an error goes
constexpr int64_t kTogether = 4;

// A share of the error of the value so many rows above and columns to the left.
struct Share {
  int down, right;
  float parts;
};

// In the order in which a value gets them, which is part of its bits: as if all values at one x + 3 y were looked at
// together, one such slope after the other. Those of the same row stand where they do for that reason.
struct Kind {
  int count;
  float parts;
  Share shares[12];
};
constexpr Kind kKinds[kDiffusions] = {
    {4, 16.0f, {{1, 1, 1.0f}, {1, 0, 5.0f}, {1, -1, 3.0f}, {0, 1, 7.0f}}},
    {6, 8.0f, {{2, 0, 1.0f}, {1, 1, 1.0f}, {1, 0, 1.0f}, {0, 2, 1.0f}, {1, -1, 1.0f}, {0, 1, 1.0f}}},
    {12,
     48.0f,
     {{2, 2, 1.0f},
      {2, 1, 3.0f},
      {2, 0, 5.0f},
      {1, 2, 3.0f},
      {2, -1, 3.0f},
      {1, 1, 5.0f},
      {2, -2, 1.0f},
      {1, 0, 7.0f},
      {0, 2, 5.0f},
      {1, -1, 5.0f},
      {0, 1, 7.0f},
      {1, -2, 3.0f}}},
};

// Up to kTogether channels side by side, so that none waits for its own additions: errors are [kReach + 1 rows, width +
// 2 kReach, kTogether], 0 outside the image.
template <int diffusion>
void diffuse_together(const DiffuseArgs& args, int64_t first, int64_t channels, float* errors, int64_t row_values) {
  constexpr Kind kind = kKinds[diffusion];
  const int64_t plane = args.height * args.width;
  for (int64_t i = 0; i < (kReach + 1) * row_values; ++i) errors[i] = 0.0f;
  for (int64_t y = 0; y < args.height; ++y) {
    // The row of y lies where that of y - 3 did: all of it is written before it is read, but for the columns outside.
    float* rows[kReach + 1];
    for (int down = 0; down <= kReach; ++down) rows[down] = errors + (y + kReach + 1 - down) % (kReach + 1) * row_values;
    const float* const src = args.src + first * plane + y * args.width;
    float* const dst = args.dst + first * plane + y * args.width;
    for (int64_t x = 0; x < args.width; ++x) {
      float value[kTogether] = {0.0f, 0.0f, 0.0f, 0.0f};
      for (int64_t c = 0; c < channels; ++c) value[c] = src[c * plane + x] * args.top;
      for (int k = 0; k < kind.count; ++k) {
        const Share share = kind.shares[k];
        const float* const from = rows[share.down] + (x + kReach - share.right) * kTogether;
        for (int64_t c = 0; c < kTogether; ++c) value[c] += from[c] * share.parts;
      }
      float level[kTogether];
      float* const error = rows[0] + (x + kReach) * kTogether;
      for (int64_t c = 0; c < kTogether; ++c) {
        // Clipped first, for the magic number's sake: the limits are whole.
        float near = value[c] > 0.0f ? value[c] : 0.0f;
        near = near < args.top ? near : args.top;
        level[c] = (near + 12582912.0f) - 12582912.0f;
        error[c] = (value[c] - level[c]) / kind.parts;
      }
      for (int64_t c = 0; c < channels; ++c) dst[c * plane + x] = level[c];
    }
  }
}

}  // namespace

Status diffuse_cpu(const DiffuseArgs& args) {
  if (args.diffusion < 0 || args.diffusion >= kDiffusions) return Status::kBadArgument;
  Scratch scratch;
  const int64_t row_values = (args.width + 2 * kReach) * kTogether;
  float* const errors = scratch.take<float>((kReach + 1) * row_values);
  if (errors == nullptr) return Status::kOutOfMemory;
  for (int64_t first = 0; first < args.channels; first += kTogether) {
    const int64_t channels = args.channels - first < kTogether ? args.channels - first : kTogether;
    if (args.diffusion == kFloydSteinberg) diffuse_together<kFloydSteinberg>(args, first, channels, errors, row_values);
    if (args.diffusion == kAtkinson) diffuse_together<kAtkinson>(args, first, channels, errors, row_values);
    if (args.diffusion == kJarvis) diffuse_together<kJarvis>(args, first, channels, errors, row_values);
  }
  return Status::kOk;
}

}  // namespace PYD_ISA
}  // namespace pyd

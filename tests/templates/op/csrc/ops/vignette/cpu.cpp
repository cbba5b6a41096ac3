#include "cpu/images.h"
#include "ops/vignette/math.h"

namespace pyd {
namespace PYD_ISA {

Status vignette_image(const VignetteParams& params, const Use& use) {
  const float strength = params.strength[use.item];
  const int64_t height = use.src.height, width = use.src.width;
  parallel_for(use.src.channels * height, [&](int64_t row) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t at = row * width + x;
      use.dst.data[at] = use.src.data[at] * vignette_light(strength, row % height, x, height, width);
    }
  });
  return Status::kOk;
}

double vignette_ns_per_px(const VignetteParams&, int64_t) { return 1.0; }

}  // namespace PYD_ISA
}  // namespace pyd

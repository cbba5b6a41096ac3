#include "ops/plan.h"

#include <cmath>

namespace pyd {
namespace {

#define PYD_JPEG_COLUMNS(X) \
  X(int32_t, mode)          \
  X(float, quality)         \
  X(int32_t, subsampling)
PYD_COLUMNS(JpegColumns, PYD_JPEG_COLUMNS)

struct JpegPlan : KeepsSize {
  using Columns = JpegColumns;
  using Params = JpegParams;
  std::vector<int32_t> mode, subsampling, rounding;
  std::vector<float> quality;

  static bool is_neutral(const Columns& columns, int64_t row) { return columns.mode[row] == kJpegOff; }
  void add(const Columns& columns, int64_t row, const uint32_t*) {
    mode.push_back(columns.mode[row]);
    subsampling.push_back(columns.subsampling[row]);
    rounding.push_back(kJpegRoundPlain);
    // Files have whole qualities, so libjpeg mode rounds what a space draws, half to even.
    const float drawn = columns.quality[row];
    quality.push_back(columns.mode[row] == kJpegLibjpeg ? std::nearbyint(drawn) : drawn);
  }
  Status finish() { return Status::kOk; }
  Params params() const {
    return {
        static_cast<int64_t>(mode.size()), span_of(mode), span_of(quality), span_of(subsampling), span_of(rounding), {}};
  }
};

}  // namespace

PYD_PLAN(jpeg, Jpeg, JpegPlan)

}  // namespace pyd

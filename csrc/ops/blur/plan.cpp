#include "ops/plan.h"

#include "ops/blur/legal.h"

namespace pyd {

Status psf_cpu(const PsfArgs& args);

namespace {

#define PYD_BLUR_COLUMNS(X) \
  X(int32_t, shape)         \
  X(int32_t, size_px)       \
  X(float, sigma_x_px)      \
  X(float, sigma_y_px)      \
  X(float, angle_rad)       \
  X(float, beta)            \
  X(float, cutoff_rad)      \
  X(float, shift_px)        \
  X(int32_t, border)        \
  X(float, radius_px)       \
  X(int32_t, blades)
PYD_COLUMNS(BlurColumns, PYD_BLUR_COLUMNS)

struct BlurPlan : KeepsSize {
  using Columns = BlurColumns;
  using Params = BlurParams;
  std::vector<int32_t> shape, drawn_size_px, border, blades, size_px, path;
  std::vector<float> sigma_x_px, sigma_y_px, angle_rad, beta, cutoff_rad, shift_px, radius_px;
  std::vector<int64_t> start;
  std::vector<float> weights;
  int64_t places = 0;

  static bool is_neutral(const Columns& columns, int64_t row) { return columns.shape[row] == kPsfDelta; }
  void add(const Columns& columns, int64_t row, const uint32_t*) {
    shape.push_back(columns.shape[row]);
    const int64_t size = columns.size_px[row];
    drawn_size_px.push_back(columns.size_px[row]);
    sigma_x_px.push_back(columns.sigma_x_px[row]);
    sigma_y_px.push_back(columns.sigma_y_px[row]);
    angle_rad.push_back(columns.angle_rad[row]);
    beta.push_back(columns.beta[row]);
    cutoff_rad.push_back(columns.cutoff_rad[row]);
    shift_px.push_back(columns.shift_px[row]);
    border.push_back(columns.border[row]);
    radius_px.push_back(columns.radius_px[row]);
    blades.push_back(columns.blades[row]);
    start.push_back(places);
    places += size >= 1 && size <= kMaxBlurSizePx ? size * size : 0;  // psf refuses others
  }
  Status finish() {
    const int64_t items = static_cast<int64_t>(shape.size());
    weights.resize(static_cast<size_t>(places));
    size_px.resize(shape.size());
    path.resize(shape.size());
    PsfArgs args = {};
    args.params = {items,
                   span_of(shape),
                   span_of(drawn_size_px),
                   span_of(sigma_x_px),
                   span_of(sigma_y_px),
                   span_of(angle_rad),
                   span_of(beta),
                   span_of(cutoff_rad),
                   span_of(shift_px),
                   span_of(start),
                   {nullptr, 0},
                   {weights.data(), places},
                   {size_px.data(), items},
                   {path.data(), items},
                   span_of(radius_px),
                   span_of(blades)};
    args.trim = kPsfTrim;
    return items == 0 ? Status::kOk : psf_cpu(args);
  }
  Params params() const {
    return {static_cast<int64_t>(shape.size()),
            span_of(weights),
            span_of(start),
            span_of(size_px),
            span_of(path),
            span_of(border)};
  }
};

}  // namespace

PYD_PLAN(blur, Blur, BlurPlan)

}  // namespace pyd

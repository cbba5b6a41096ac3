#include "ops/plan.h"

#include "ops/resize/size.h"

namespace pyd {
namespace {

enum ResizeRule : int32_t { kRuleInput = 0, kRuleFinal = 1 };  // what the factor multiplies

#define PYD_RESIZE_COLUMNS(X) \
  X(int32_t, mode)            \
  X(float, resize_factor)     \
  X(int32_t, rule)
PYD_COLUMNS(ResizeColumns, PYD_RESIZE_COLUMNS)

struct ResizePlan {
  using Columns = ResizeColumns;
  using Params = ResizeParams;
  static constexpr bool kResizes = true;
  std::vector<int32_t> mode;
  std::vector<double> scale;

  // Modes are looked up before anything refuses them.
  static int32_t known_mode(const Columns& columns, int64_t row) {
    const int32_t mode = columns.mode[row];
    return mode >= 0 && mode < kResizeModes ? mode : 0;
  }
  static bool is_neutral(const Columns& columns, int64_t row) {
    return columns.rule[row] == kRuleInput && columns.resize_factor[row] == 1.0f;
  }
  static Size size_after(const Columns& columns, int64_t row, const Size& before, const Size& last) {
    const bool of_input = columns.rule[row] == kRuleInput;
    const bool up = of_input && rounds_up(known_mode(columns, row));
    const double factor = columns.resize_factor[row];
    const Size& base = of_input ? before : last;
    return {before.channels, scaled_side(base.height, factor, up), scaled_side(base.width, factor, up)};
  }
  // Coordinates follow the ratio of the sizes: with equal sizes nothing happens.
  static bool idles_at_equal_size(const Columns& columns, int64_t row) { return columns.rule[row] != kRuleInput; }

  void add(const Columns& columns, int64_t row, const uint32_t*) {
    mode.push_back(columns.mode[row]);
    const bool of_input = columns.rule[row] == kRuleInput;
    scale.push_back(of_input ? coordinate_scale(known_mode(columns, row), columns.resize_factor[row]) : 0.0);
  }
  Status finish() { return Status::kOk; }
  Params params() const { return {static_cast<int64_t>(mode.size()), span_of(mode), span_of(scale), span_of(scale)}; }
};

}  // namespace

PYD_PLAN(resize, Resize, ResizePlan)

}  // namespace pyd

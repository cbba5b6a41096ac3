#include "ops/plan.h"

namespace pyd {
namespace {

PYD_FIELDS_ARE_COLUMNS(Rain, PYD_RAIN_FIELDS)
struct RainPlan : RainFields {
  static bool is_neutral(const Columns& columns, int64_t row) {
    return columns.streaks_per_kpx[row] == 0.0f || columns.brightness[row] == 0.0f;
  }
};

}  // namespace

PYD_PLAN(rain, Rain, RainPlan)

}  // namespace pyd

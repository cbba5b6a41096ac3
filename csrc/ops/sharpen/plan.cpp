#include "ops/plan.h"

namespace pyd {
namespace {

PYD_FIELDS_ARE_COLUMNS(Sharpen, PYD_SHARPEN_FIELDS)
struct SharpenPlan : SharpenFields {
  static bool is_neutral(const Columns& columns, int64_t row) { return columns.weight[row] == 0.0f; }
};

}  // namespace

PYD_PLAN(sharpen, Sharpen, SharpenPlan)

}  // namespace pyd

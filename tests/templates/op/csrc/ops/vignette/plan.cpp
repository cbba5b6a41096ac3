#include "ops/plan.h"

namespace pyd {
namespace {

PYD_FIELDS_ARE_COLUMNS(Vignette, PYD_VIGNETTE_FIELDS)
struct VignettePlan : VignetteFields {
  static bool is_neutral(const Columns& columns, int64_t row) { return columns.strength[row] == 0.0f; }
};

}  // namespace

PYD_PLAN(vignette, Vignette, VignettePlan)

}  // namespace pyd

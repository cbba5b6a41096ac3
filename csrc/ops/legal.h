// What every executor asks before an op runs: the one question of legality.
#pragma once

#include "core/rows.h"
#include "ops/list.h"

namespace pyd {

// Item `item` from an image of one size to one of another (those of the forward pass): what is out of range, or null.
#define PYD_FAULT(name, Name, code, adjoint, traits)                                                        \
  PYD_HD const char* fault_of(const Name##Params& params, int64_t item, const Size& src, const Size& dst) { \
    if (item < 0 || item >= params.items) return "item";                                                    \
    if (((traits) & kChangesSize) == 0 && !same_size(src, dst)) return "size of the result";                \
    return name##_fault(params, item, src, dst);                                                            \
  }
PYD_OPS(PYD_FAULT)
#undef PYD_FAULT

}  // namespace pyd

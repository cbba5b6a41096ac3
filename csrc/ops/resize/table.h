// The taps of a whole axis as one table.
#pragma once

#include "core/sparse_rows.h"
#include "ops/resize/math.h"

namespace pyd {
namespace {

// Of any mode, in float: what resize sums with.
PYD_HD bool axis_rows(Scratch& scratch, const Axis& axis, SparseRows<float>& rows) {
  SparseRowsMemory<float> memory;
  if (!take_rows(scratch, axis.out_px, axis.out_px * tap_bound(axis), memory)) return false;
  int64_t count = 0;
  for (int64_t j = 0; j < axis.out_px; ++j) {
    memory.start[j] = static_cast<int32_t>(count);
    count += axis_taps(axis, j, memory.index + count, memory.weight + count);
  }
  memory.start[axis.out_px] = static_cast<int32_t>(count);
  rows = {axis.out_px, memory.start, memory.index, memory.weight};
  return true;
}

// The table for an image that holds what resize_reads says alone.
PYD_HD bool skip_nothing(Scratch& scratch, SparseRows<float>& rows) {
  const int64_t count = rows.start[rows.outputs];
  int32_t* const index = scratch.take<int32_t>(count);
  if (index == nullptr) return false;
  for (int64_t k = 0; k < count; ++k) index[k] = static_cast<int32_t>(k);
  rows.index = index;
  return true;
}

// Of a sound axis of MATLAB's, in double: what imresize sums with.
PYD_HD bool matlab_rows(Scratch& scratch, const Axis& axis, MatlabRule rule, SparseRows<double>& rows) {
  SparseRowsMemory<double> memory;
  if (!take_rows(scratch, axis.out_px, axis.out_px * matlab_tap_bound(axis, rule), memory)) return false;
  matlab_table(axis, rule, memory.start, memory.index, memory.weight);
  rows = {axis.out_px, memory.start, memory.index, memory.weight};
  return true;
}

}  // namespace
}  // namespace pyd

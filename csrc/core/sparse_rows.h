// The one form of a resampling table: a sparse matrix by rows.
#pragma once

#include "core/scratch.h"
#include "math/hd.h"

namespace pyd {

// Output j sums weight[k] * input[index[k]] for k in [start[j], start[j + 1]), in this order.
template <typename Weight>
struct SparseRows {
  int64_t outputs;
  const int32_t* start;
  const int32_t* index;
  const Weight* weight;
};

namespace {

// Memory of a table that is to be filled; false when there is none.
template <typename Weight>
struct SparseRowsMemory {
  int32_t* start;
  int32_t* index;
  Weight* weight;
};
template <typename Weight>
PYD_HD bool take_rows(Scratch& scratch, int64_t outputs, int64_t entries, SparseRowsMemory<Weight>& memory) {
  memory = {scratch.take<int32_t>(outputs + 1), scratch.take<int32_t>(entries), scratch.take<Weight>(entries)};
  return memory.start != nullptr && memory.index != nullptr && memory.weight != nullptr;
}

// Rows become columns; the entries of each new row stay in the order of the old rows.
template <typename Weight>
PYD_HD bool transpose_rows(Scratch& scratch, const SparseRows<Weight>& rows, int64_t inputs, SparseRows<Weight>& columns) {
  const int64_t count = rows.start[rows.outputs];
  SparseRowsMemory<Weight> memory;
  if (!take_rows(scratch, inputs + 1, count, memory)) return false;
  // start[i + 1] is where the next entry of row i goes, and in the end where row i + 1 begins.
  int32_t* const start = memory.start;
  memset(start, 0, sizeof(int32_t) * static_cast<size_t>(inputs + 2));
  for (int64_t k = 0; k < count; ++k) ++start[rows.index[k] + 2];
  for (int64_t i = 1; i < inputs + 2; ++i) start[i] += start[i - 1];
  for (int64_t j = 0; j < rows.outputs; ++j) {
    for (int64_t k = rows.start[j]; k < rows.start[j + 1]; ++k) {
      const int32_t place = start[rows.index[k] + 1]++;
      memory.index[place] = static_cast<int32_t>(j);
      memory.weight[place] = rows.weight[k];
    }
  }
  columns = {inputs, start, memory.index, memory.weight};
  return true;
}

// First and last input that outputs begin .. end - 1 are made of; 0 and 0 where they have no entries.
template <typename Weight>
PYD_HD void inputs_used(const SparseRows<Weight>& rows, int64_t begin, int64_t end, int64_t& first, int64_t& last) {
  int64_t low = 0x7fffffff, high = -1;
  for (int64_t k = rows.start[begin]; k < rows.start[end]; ++k) {
    low = rows.index[k] < low ? rows.index[k] : low;
    high = rows.index[k] > high ? rows.index[k] : high;
  }
  first = high < 0 ? 0 : low;
  last = high < 0 ? 0 : high;
}

// Most entries of an output.
template <typename Weight>
PYD_HD int64_t most_entries(const SparseRows<Weight>& rows) {
  int64_t most = 0;
  for (int64_t j = 0; j < rows.outputs; ++j) {
    const int64_t here = rows.start[j + 1] - rows.start[j];
    most = here > most ? here : most;
  }
  return most;
}

}  // namespace
}  // namespace pyd

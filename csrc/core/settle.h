// Which values of drawn tasks have an effect, from flat tables that pydegrade/tasks/tables.py makes of a space: slots of
// closed gates leave the running orders, and every column without an effect gets its neutral value.
#pragma once

#include <cstdint>

#include "core/fields.h"
#include "core/status.h"

namespace pyd {

struct SettleColumnsArgs {
  int64_t rows, gate_rows, slot_count;
  Span<const int32_t> neutral;    // [rows], float32 or int32 as the columns
  Span<const int32_t> component;  // [N], which space of a mixture, else 0
  // Gates, whose columns are the first `gate_rows` rows: component, row, how many slots, the slots; the next one.
  Span<const int32_t> gates;
  // Slots: number, how many deciders, how many columns, first effect; row and cases of each decider; row of each column;
  // the next one. The cases of a decider are the codes of a choice, or `kByInteger`, `kByReal`: whether the value is
  // neutral.
  Span<const int32_t> slots;
  // Of each slot [cases of the first decider, of the second, ..., columns]: whether a column has an effect.
  Span<const uint8_t> effects;
  Span<int32_t> words;  // [rows, N] values of the columns, changed in place; rows of no slot and no gate are left alone
  Span<uint8_t> program;  // [N, slot_count] slot numbers in running order, int8 in Python, negative = absent; in place
};
constexpr int32_t kByInteger = 0, kByReal = -1;

// What is wrong with tables, or null. Values of `words` and `component` are not looked at.
const char* fault_of(const SettleColumnsArgs& args);

// After `fault_of` gave null. kBadArgument: a choice has a code that it does not know; `words` and `program` are then half
// done.
Status settle_columns(const SettleColumnsArgs& args);

}  // namespace pyd

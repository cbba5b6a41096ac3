// Columns of tasks, drawn row by row from flat tables that pydegrade/tasks/tables.py makes of a space.
//
// What a node gives is written down in pydegrade/tasks/distributions.py, the class of the same name; both compute in
// float64 with + - * / and sqrt in the same order, so that their results are equal bit for bit.
#pragma once

#include <cstdint>

#include "core/fields.h"
#include "core/status.h"

namespace pyd {

// Kinds of nodes, with their numbers behind `first_number` and what else they take.
enum NodeKind : int32_t {
  kNodeConstant = 0,    // value
  kNodeUniform,         // low, span; option 1: rounded to the nearest whole number
  kNodeLogUniform,      // low, high, log2(high / low)
  kNodeReciprocal,      // low, span
  kNodeSqrt,            // low, span
  kNodeSqrtUpTo,        // low; source
  kNodeIntegers,        // low, step, how many
  kNodeChoice,          // `count` - 1 edges, `count` values
  kNodeMixture,         // `count` - 1 edges; `count` children
  kNodeBy,  // `count` cases, values of the source; as many children, and one more with option 1: for all others
  kNodeCovariance,  // limit^2; option: 3 i + j, the entry
  kNodeKinds,
};

// Tables are int32, so many values each.
struct Node {
  int32_t kind, first_number, first_child, count, option;
  int32_t source;  // row of an earlier column
  int32_t source_is_real;  // whether that row holds float32, else int32
};
struct DrawnColumn {
  int32_t node, row, first_uniform;
  int32_t is_real;  // whether the row holds float32, else int32
};
constexpr int64_t kNodeValues = sizeof(Node) / sizeof(int32_t);
constexpr int64_t kDrawnColumnValues = sizeof(DrawnColumn) / sizeof(int32_t);

struct DrawColumnsArgs {
  uint32_t seed_lo, seed_hi;
  Span<const int64_t> indices;  // [N] sample numbers
  Span<const uint32_t> hash, draw;  // [M] named draws of a sample (layout in pydegrade/native/rng.py)
  Span<const int32_t> nodes;  // Node [.]; children stand before their parents
  Span<const int32_t> children;  // nodes
  Span<const double> numbers;  // of all nodes and of the order
  Span<const int32_t> columns;  // DrawnColumn [.], in the order in which they are drawn
  int64_t rows;
  Span<int32_t> words;  // [rows, N] values of the columns, float32 or int32; other rows are left alone
  // Running orders: [K options, K slots, first number, first uniform], then a table [options, slots], one of which is
  // chosen by options - 1 edges. Or [0, slots, groups, first uniform, pairs, head, ...]: `head` slots that stand first,
  // groups in uniformly random order, each with its size before it, the other slots; then pairs of groups that change
  // places where the second stands before the first. Empty: no orders, and no program.
  Span<const int32_t> order;
  Span<uint8_t> program;  // [N, slots], int8 in Python
};

// What is wrong with tables, or null. Nothing else is looked at while they are used.
const char* fault_of(const DrawColumnsArgs& args);

// After `fault_of` gave null.
Status draw_columns(const DrawColumnsArgs& args);

}  // namespace pyd

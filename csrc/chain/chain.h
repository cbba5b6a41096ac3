// Chain: every step of every row, one image after the other, so that an image's whole chain stays in cache.
//
// An *item* is one use of an op: item i of BlurParams describes one blur. In a batch op, item i belongs to row i; in a
// chain the steps of each row name their items. Memory belongs to the caller; nothing keeps a pointer after return.
#pragma once

#include "core/fields.h"
#include "core/rows.h"
#include "core/status.h"
#include "ops/list.h"

namespace pyd {

struct ChainArgs {
  Rows src_rows;
  Rows dst_rows;
  const float* src;
  float* dst;
  float* target;                // packed like src, or null; receives the image after `target_step`
  const int32_t* target_step;   // [count] number of steps done when the target is taken (0 = the source itself)
  const int64_t* step_start;    // [count + 1] row r runs steps step_start[r] .. step_start[r + 1] - 1
  const int32_t* step_op;       // [steps] OpCode
  const int64_t* step_item;     // [steps] item in that op's params
  const int32_t* step_height;   // [steps] height of the image after the step, px
  const int32_t* step_width;    // [steps] width of the image after the step, px
  int32_t check_range;          // 1: kBadPixels when a source value is NaN or outside [0, 1]
  int32_t round_8bit;           // 1: the result is rounded to multiples of 1/255 in [0, 1], half to even
#define PYD_PARAMS_OF(name, Name, ...) Name##Params name;
  PYD_OPS(PYD_PARAMS_OF)
#undef PYD_PARAMS_OF
};

}  // namespace pyd

// From tasks to the steps of a chain: every order, size and parameter is settled here, before any pixel is read. Host code
// of every build.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chain/chain.h"
#include "ops/plan.h"

namespace pyd {

// A slot of a space.
struct Slot {
  int32_t op;        // OpCode; -1 - k: the k-th slot whose op is not of this module
  uint32_t hash;     // of its name: what image keys are combined with
  bool resizes;      // of an op that is not of this module: may change the size
};

// Tasks of one space on images of given sizes.
struct TaskArgs {
  Rows src_rows;
  int64_t scale;                                // HR px per LR px
  int64_t target;                               // slot whose image is the target; -1: the source itself
  int64_t places;                               // length of a row of `program`
  const int8_t* program;                        // [count, places] slots in running order, -1 = absent
  const int64_t *seed, *index, *noise_index;    // [count]
  const std::vector<Slot>* slots;
  std::vector<std::vector<ColumnValues>> columns;  // of every slot, as OpRules::info; of others none
  std::vector<const bool*> neutral;  // [count] where an op that is not of this module does nothing; else null
};

// Sizes after ops that are not of this module, for some rows at one place of their programs.
class OtherSizes {
 public:
  virtual ~OtherSizes() = default;
  // height, width: before, and after the call afterwards; `idles` becomes 1 where the op does nothing at these sizes.
  virtual void after(int64_t slot, const std::vector<int64_t>& rows, std::vector<int64_t>& height,
                     std::vector<int64_t>& width, const std::vector<int64_t>& last_height,
                     const std::vector<int64_t>& last_width, std::vector<bool>& idles) = 0;
};

class Steps {
 public:
  // Why tasks and images do not go together.
  enum Reason : int32_t {
    kFits = 0,
    kNotMultiple = 1,  // a side of the image is no multiple of the scale
    kWrongSize = 2,  // the chain does not end at the LR size: height x width
    kTooLargeSide = 3,  // a step would make height x width
  };
  struct Fault {
    Reason reason;
    int64_t row, height, width;
  };

  // kOk, and what `fault` says.
  Status plan(const TaskArgs& args, OtherSizes& others);

  const Fault& fault() const { return fault_; }
  bool has_target() const { return has_target_; }  // whether any target differs from the source
  bool has_others() const { return has_others_; }  // whether any step is of an op that is not of this module
  // Without pixels; valid as long as the steps are. Items of other ops are rows.
  const ChainArgs& args() const { return args_; }
  const std::vector<int32_t>& step_slot() const { return step_slot_; }
  // uint32 [count, 4] Philox words of every image.
  const std::vector<uint32_t>& keys() const { return keys_; }
  int64_t steps() const { return static_cast<int64_t>(step_op_.size()); }

 private:
  bool sizes(const TaskArgs& args, OtherSizes& others);
  void draw_keys(const TaskArgs& args);
  void list_steps(const TaskArgs& args);
  Status make_params(const TaskArgs& args);

  // Of every row and place.
  struct Stand {
    int32_t height, width;
    bool kept;
  };
  std::vector<Stand> stands_;
  Fault fault_ = {};
  bool has_target_ = false, has_others_ = false;
  std::vector<int64_t> src_offset_, dst_offset_, step_start_, step_item_;
  std::vector<int32_t> src_height_, src_width_, dst_height_, dst_width_, target_step_, step_op_, step_height_, step_width_,
      step_slot_;
  std::vector<uint32_t> keys_;
#define PYD_ITEMS(name, Name, ...) std::unique_ptr<Items<Name##Params>> name##_items_;
  PYD_OPS(PYD_ITEMS)
#undef PYD_ITEMS
  ChainArgs args_ = {};
};

// By OpCode.
const OpRules& op_rules(int32_t op);

}  // namespace pyd

// Where the image of a row is after each of its steps: the one plan of buffers, which the loops of the CPU carry out and
// the CUDA recorder writes down.
#pragma once

#include "chain/chain.h"
#include "ops/legal.h"

namespace pyd {
namespace {

// Who holds an image. Source, target and result must stay what they are once they are written; the image in a buffer may
// be written over by ops that work in place.
enum Holder : int32_t { kBuffer0 = 0, kBuffer1 = 1, kSource = 2, kTarget = 3, kResult = 4 };

// Where the last step of a row leaves its image, unless it is the target.
enum LastImage : int32_t {
  kLastInResult = 0,
  kLastInBuffer = 1,  // one more pass over all rows makes the results
};

class RowPlan {
 public:
  RowPlan(const ChainArgs& args, int64_t row, LastImage last)
      : args_(args),
        first_(args.step_start[row]),
        end_(args.step_start[row + 1]),
        last_(last),
        target_step_(args.target == nullptr ? -1 : first_ + args.target_step[row]),
        source_(row_size(args.src_rows, row)),
        result_(row_size(args.dst_rows, row)) {}

  int64_t first() const { return first_; }
  int64_t end() const { return end_; }
  bool source_is_target() const { return target_step_ == first_; }

  // Of the image after a step; before the first one it is the source.
  Size size_after(int64_t step) const {
    if (step < first_) return source_;
    return {source_.channels, args_.step_height[step], args_.step_width[step]};
  }

  // Who holds the image after a step, given who held it before.
  Holder holder_after(int64_t step, Holder before) const {
    if (step + 1 == target_step_) return kTarget;
    if (step + 1 == end_ && last_ == kLastInResult) return kResult;
    const bool buffered = before == kBuffer0 || before == kBuffer1;
    if (buffered && (kOps[args_.step_op[step]].traits & kInPlace) != 0) return before;
    return before == kBuffer0 ? kBuffer1 : kBuffer0;
  }

  // Whether a step is a blur whose result the resize after it is alone to see, so that it may be made in part.
  bool is_blur_before_resize(int64_t step) const {
    return step + 1 < end_ && step + 1 != target_step_ && args_.step_op[step] == kOpBlur &&
           args_.step_op[step + 1] == kOpResize;
  }

  // What the two buffers have to hold.
  void measure(int64_t* floats) const {
    floats[kBuffer0] = floats[kBuffer1] = 0;
    Holder holder = kSource;
    for (int64_t step = first_; step < end_; ++step) {
      holder = holder_after(step, holder);
      if (holder != kBuffer0 && holder != kBuffer1) continue;
      const Size size = size_after(step);
      const int64_t needed = size.channels * size.height * size.width;
      floats[holder] = needed > floats[holder] ? needed : floats[holder];
    }
  }

  // The first step that cannot run, and why. A null reason: all can, from the source to a result and a target of the right
  // sizes. `op` is null where the fault is the chain's own.
  struct Fault {
    const char* reason;
    const char* op;
    int64_t step;
  };
  Fault fault() const {
    for (int64_t step = first_; step < end_; ++step) {
      const int32_t op = args_.step_op[step];
      const Size src = size_after(step - 1), dst = size_after(step);
      if (op < 0 || op >= kOpCount) return {"step_op", nullptr, step};
      if (dst.height < 1) return {"step_height", nullptr, step};
      if (!is_size(dst)) return {"step_width", nullptr, step};
      const char* const reason = op_fault(op, args_.step_item[step], src, dst);
      if (reason != nullptr) return {reason, kOps[op].name, step};
    }
    if (!same_size(size_after(end_ - 1), result_)) return {"size of the result", nullptr, end_ - 1};
    if (args_.target == nullptr) return {nullptr, nullptr, 0};
    if (target_step_ < first_ || target_step_ > end_) return {"target_step", nullptr, target_step_};
    if (!same_size(size_after(target_step_ - 1), source_)) return {"size of the target", nullptr, target_step_ - 1};
    return {nullptr, nullptr, 0};
  }

 private:
  const char* op_fault(int32_t op, int64_t item, const Size& src, const Size& dst) const {
    switch (op) {
#define PYD_CASE(name, Name, ...) \
  case kOp##Name: return fault_of(args_.name, item, src, dst);
      PYD_OPS(PYD_CASE)
#undef PYD_CASE
      default: return "step_op";
    }
  }

  const ChainArgs& args_;
  int64_t first_, end_;
  LastImage last_;
  int64_t target_step_;  // -1: there is no target
  Size source_, result_;
};

}  // namespace
}  // namespace pyd

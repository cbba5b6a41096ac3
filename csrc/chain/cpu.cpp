// The chain on the CPU: the plan of buffers carried out, row by row.

#include "chain/plan.h"
#include "cpu/images.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int64_t kRoundBlock = 1 << 14;

// x <- round(255 x) / 255 clipped to [0, 1], half to even as torch.round. NaN becomes 0.
void round_8bit(float* data, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    float level = data[i] * 255.0f;
    level = level > 0.0f ? level : 0.0f;
    level = level < 255.0f ? level : 255.0f;
    // Adding and subtracting 2^23 rounds to the nearest integer, half to even, for 0 <= level <= 2^22.
    level = (level + 8388608.0f) - 8388608.0f;
    data[i] = level / 255.0f;
  }
}

// Whether every value lies in [0, 1]; false for NaN.
bool in_range(const float* data, int64_t count) {
  for (int64_t begin = 0; begin < count; begin += kRoundBlock) {
    const int64_t end = begin + kRoundBlock < count ? begin + kRoundBlock : count;
    int32_t good = 1;
    for (int64_t i = begin; i < end; ++i) good &= (data[i] >= 0.0f) & (data[i] <= 1.0f);
    if (good == 0) return false;
  }
  return true;
}

// One step of a row.
Status run_step(const ChainArgs& args, int32_t op, const Use& use) {
  switch (op) {
#define PYD_CASE(name, Name, ...) \
  case kOp##Name: return name##_image(args.name, use);
    PYD_OPS(PYD_CASE)
#undef PYD_CASE
    default: return Status::kBadArgument;
  }
}

Status run_row(const ChainArgs& args, int64_t row) {
  const RowPlan plan(args, row, kLastInResult);
  const ConstImage source = row_image(args.src_rows, args.src, row);
  const Image result = row_image(args.dst_rows, args.dst, row);
  if (args.check_range != 0 && !in_range(source.data, source.channels * source.height * source.width)) {
    return Status::kBadPixels;
  }
  Scratch scratch;
  int64_t floats[2];
  plan.measure(floats);
  float* memory[5] = {};
  for (int buffer = kBuffer0; buffer <= kBuffer1; ++buffer) {
    memory[buffer] = scratch.take<float>(floats[buffer]);
    if (memory[buffer] == nullptr) return Status::kOutOfMemory;
  }
  if (args.target != nullptr) memory[kTarget] = row_image(args.src_rows, args.target, row).data;
  memory[kResult] = result.data;

  // Steps.
  ConstImage image = source;
  Holder holder = kSource;
  if (plan.source_is_target()) copy_image(source, row_image(args.src_rows, args.target, row));
  Reads reads;
  bool reads_some = false;  // the image in hand is what `reads` names of it
  for (int64_t step = plan.first(); step < plan.end(); ++step) {
    holder = plan.holder_after(step, holder);
    const Size size = plan.size_after(step);
    Image out = {memory[holder], size.channels, size.height, size.width};
    const int32_t op = args.step_op[step];
    const bool clips = (kOps[op].traits & kClipsInput) != 0;
    const bool given_some = reads_some;
    reads_some = false;
    if (plan.is_blur_before_resize(step)) {
      const Size next = plan.size_after(step + 1);
      const Status found = resize_reads(scratch, args.resize, args.step_item[step + 1], size, next, reads);
      if (found != Status::kOk) return found;
      blur_skips(args.blur, args.step_item[step], reads);
      reads_some = reads.rows != nullptr || reads.columns != nullptr;
      if (reads_some) out.height = reads.row_count, out.width = reads.column_count;
    }
    const Reads* const part = given_some || reads_some ? &reads : nullptr;
    const Status status = run_step(args, op, {args.step_item[step], image, out, clips, part});
    if (status != Status::kOk) return status;
    image = {out.data, out.channels, out.height, out.width};
  }

  // Result.
  if (image.data != result.data) copy_image(image, result);
  if (args.round_8bit != 0) {
    const int64_t count = result.channels * result.height * result.width;
    parallel_for((count + kRoundBlock - 1) / kRoundBlock, [&](int64_t block) {
      const int64_t begin = block * kRoundBlock;
      round_8bit(result.data + begin, count - begin < kRoundBlock ? count - begin : kRoundBlock);
    });
  }
  return Status::kOk;
}

double step_ns_per_px(const ChainArgs& args, int32_t op, int64_t item) {
  switch (op) {
#define PYD_CASE(name, Name, ...) \
  case kOp##Name: return name##_ns_per_px(args.name, item);
    PYD_OPS(PYD_CASE)
#undef PYD_CASE
    default: return 0.0;
  }
}

// About how long a row takes, in ns, so that the longest can begin first: with few rows per thread, a long last one would
// keep the other threads waiting.
double row_cost(const ChainArgs& args, int64_t row) {
  const RowPlan plan(args, row, kLastInResult);
  double cost = 0.0;
  for (int64_t step = plan.first(); step < plan.end(); ++step) {
    const Size size = plan.size_after(step);
    double pixels = static_cast<double>(size.height) * static_cast<double>(size.width);
    if (plan.is_blur_before_resize(step)) {
      pixels *= resize_share_read(args.resize, args.step_item[step + 1], size, plan.size_after(step + 1));
    }
    cost += step_ns_per_px(args, args.step_op[step], args.step_item[step]) * pixels;
  }
  return cost;
}

// Sorts `order`, row numbers, by falling cost (Shell's method).
void sort_by_cost(const double* cost, int64_t count, int64_t* order) {
  for (int64_t gap = count / 2; gap > 0; gap /= 2) {
    for (int64_t i = gap; i < count; ++i) {
      const int64_t row = order[i];
      int64_t place = i;
      for (; place >= gap && cost[order[place - gap]] < cost[row]; place -= gap) order[place] = order[place - gap];
      order[place] = row;
    }
  }
}

}  // namespace

Status chain_cpu(const ChainArgs& args) {
  const int64_t count = args.src_rows.count;
  Scratch scratch;
  double* const cost = scratch.take<double>(count);
  int64_t* const order = scratch.take<int64_t>(count);
  if (cost == nullptr || order == nullptr) return Status::kOutOfMemory;
  for (int64_t row = 0; row < count; ++row) {
    if (RowPlan(args, row, kLastInResult).fault().reason != nullptr) return Status::kBadArgument;
    cost[row] = row_cost(args, row);
    order[row] = row;
  }
  sort_by_cost(cost, count, order);
  prepare_output(args.dst_rows, args.dst);
  if (args.target != nullptr) prepare_output(args.src_rows, args.target);
  return for_each_row(count, [&](int64_t place) { return run_row(args, order[place]); });
}

}  // namespace PYD_ISA
}  // namespace pyd

// Programs of whole batches: ops by themselves, and the chain, whose plan of buffers is written down stage by stage.

#include "cuda/record.h"

#include <limits>

#include "chain/plan.h"

namespace pyd {
namespace {

bool fits_device(const Size& size) {
  // Kernels count the values of a picture in 32 bits.
  return size.channels <= 65535 && size.channels * size.height <= std::numeric_limits<int32_t>::max() / size.width;
}
Picture picture_at(const Place& place, const Size& size) {
  return {place, static_cast<int32_t>(size.channels), static_cast<int32_t>(size.height), static_cast<int32_t>(size.width),
          0};
}
Picture picture_of_row(const Rows& rows, int64_t row, Base base) {
  return picture_at({rows.offset[row] * static_cast<int64_t>(sizeof(float)), base, 0}, row_size(rows, row));
}

template <typename Params>
Status record_batch(const Batch<Params>& args, bool is_adjoint, Program& program,
                    void (*record)(Recorder&, const Params&, const std::vector<DeviceUse>&)) {
  std::vector<DeviceUse> uses;
  for (int64_t row = 0; row < args.src_rows.count; ++row) {
    const Size src = row_size(args.src_rows, row), dst = row_size(args.dst_rows, row);
    if (fault_of(args.params, row, is_adjoint ? dst : src, is_adjoint ? src : dst) != nullptr) return Status::kBadArgument;
    if (!fits_device(src) || !fits_device(dst)) return Status::kTooLarge;
    uses.push_back({row, picture_of_row(args.src_rows, row, kBaseSrc), picture_of_row(args.dst_rows, row, kBaseDst), 0});
  }
  Recorder recorder;
  record(recorder, args.params, uses);
  return recorder.finish(program);
}

}  // namespace

#define PYD_FORWARD_PROGRAM(name, Name, ...)                              \
  Status name##_cuda(const Batch<Name##Params>& args, Program& program) { \
    return record_batch(args, false, program, record_##name);             \
  }
PYD_OPS(PYD_FORWARD_PROGRAM)

#define PYD_ADJOINT_PROGRAM_OF(name, Name)                                        \
  Status name##_adjoint_cuda(const Batch<Name##Params>& args, Program& program) { \
    return record_batch(args, true, program, record_##name##_adjoint);            \
  }
#define PYD_ADJOINT_PROGRAM(name, Name, code, adjoint, traits) PYD_IF(adjoint, PYD_ADJOINT_PROGRAM_OF(name, Name))
PYD_OPS(PYD_ADJOINT_PROGRAM)

// ---- Chain: one stage after the other for all rows. Rows may run their steps in different orders; at every stage the op
// that most remaining steps wait for goes first, and all rows whose next step it is take part.

namespace {

class ChainRecorder {
 public:
  explicit ChainRecorder(const ChainArgs& args) : args_(args), recorder_(likely_bytes(args)) {
    rows_.reserve(static_cast<size_t>(args.src_rows.count));
  }

  Status record(Program& program) {
    const int64_t count = args_.src_rows.count;
    std::vector<PointRow> copies;
    for (int64_t row = 0; row < count; ++row) {
      const RowPlan plan(args_, row, kLastInBuffer);
      if (plan.fault().reason != nullptr) return Status::kBadArgument;
      for (int64_t step = plan.first() - 1; step < plan.end(); ++step) {
        if (!fits_device(plan.size_after(step))) return Status::kTooLarge;
      }
      begin_row(plan, row);
      if (plan.source_is_target()) copies.push_back(point_row(kPointCopy, rows_.back().image, target_of(row)));
    }
    record_points(recorder_, copies);
    for (int32_t op = next_op(); op >= 0; op = next_op()) record_stage(op);
    finish_rows();
    return recorder_.finish(program);
  }

 private:
  // Blur kernels, and descriptors of a few hundred bytes for every step and row.
  static int64_t likely_bytes(const ChainArgs& args) {
    const int64_t count = args.src_rows.count, steps = count == 0 ? 0 : args.step_start[count];
    return 4 * args.blur.weights.count + 320 * (steps + 2 * count) + 4096;
  }

  struct Row {
    RowPlan plan;
    int64_t step;
    Picture image;
    Holder holder;
    Place buffer[2];
    DevicePart part;
    bool is_part;  // the image is `part` of it
  };

  Place target_of(int64_t row) const { return picture_of_row(args_.src_rows, row, kBaseTarget).place; }

  void begin_row(const RowPlan& plan, int64_t row) {
    rows_.push_back({plan, plan.first(), picture_of_row(args_.src_rows, row, kBaseSrc), kSource, {}, {}, false});
    int64_t floats[2];
    plan.measure(floats);
    for (int i = 0; i < 2; ++i) rows_.back().buffer[i] = recorder_.arena(4 * floats[i]);
  }

  int32_t next_op() const {
    int64_t waiting[kOpCount] = {};
    for (const Row& row : rows_) {
      if (row.step < row.plan.end()) waiting[args_.step_op[row.step]] += row.plan.end() - row.step;
    }
    int32_t best = -1;
    for (int32_t op = 0; op < kOpCount; ++op) {
      if (waiting[op] > 0 && (best < 0 || waiting[op] > waiting[best])) best = op;
    }
    return best;
  }

  // Whether the row's next step is to make a part of its image, which is row.part then.
  bool make_part(Row& row) {
    if (!row.plan.is_blur_before_resize(row.step)) return false;
    const int64_t next = args_.step_item[row.step + 1];
    const Size size = row.plan.size_after(row.step), after = row.plan.size_after(row.step + 1);
    row.part = resize_part(args_.resize, next, size, after);
    blur_skips(args_.blur, args_.step_item[row.step], row.part);
    if (!row.part.some_rows && !row.part.some_columns) return false;
    place_part(recorder_, args_.resize, next, after, row.part);
    return true;
  }

  void record_stage(int32_t op) {
    std::vector<DeviceUse> uses;
    for (int64_t number = 0; number < args_.src_rows.count; ++number) {
      Row& row = rows_[static_cast<size_t>(number)];
      if (row.step == row.plan.end() || args_.step_op[row.step] != op) continue;
      row.holder = row.plan.holder_after(row.step, row.holder);
      const Place place = row.holder == kTarget ? target_of(number) : row.buffer[row.holder];
      Picture out = picture_at(place, row.plan.size_after(row.step));
      const bool given_part = row.is_part;
      row.is_part = make_part(row);
      if (row.is_part) out.height = row.part.row_count, out.width = row.part.column_count;
      const DevicePart* const part = given_part || row.is_part ? &row.part : nullptr;
      uses.push_back({args_.step_item[row.step], row.image, out, (kOps[op].traits & kClipsInput) != 0, part});
      row.image = out;
      ++row.step;
    }
    recorder_.begin_stage();
    switch (op) {
#define PYD_CASE(name, Name, ...) \
  case kOp##Name: return record_##name(recorder_, args_.name, uses);
      PYD_OPS(PYD_CASE)
#undef PYD_CASE
      default: return;
    }
  }

  void finish_rows() {
    std::vector<PointRow> points;
    for (int64_t row = 0; row < args_.src_rows.count; ++row) {
      const Picture& image = rows_[static_cast<size_t>(row)].image;
      const Place result = picture_of_row(args_.dst_rows, row, kBaseDst).place;
      points.push_back(point_row(args_.round_8bit != 0 ? kPointRound8bit : kPointCopy, image, result));
    }
    record_points(recorder_, points);
  }

  const ChainArgs& args_;
  Recorder recorder_;
  std::vector<Row> rows_;
};

}  // namespace

Status chain_cuda(const ChainArgs& args, Program& program) { return ChainRecorder(args).record(program); }

}  // namespace pyd

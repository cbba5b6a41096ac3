#include "cuda/record.h"

#include <limits>

namespace pyd {
namespace {

constexpr int64_t kAlignment = 256;
constexpr int64_t kMostBlocks = std::numeric_limits<int32_t>::max();

int64_t aligned(int64_t bytes) { return divide_up(bytes, kAlignment) * kAlignment; }

}  // namespace

Recorder::Recorder() : bytes_(static_cast<size_t>(aligned(sizeof(ProgramHeader)))) {}

Place Recorder::add(const void* data, int64_t bytes) {
  const int64_t offset = divide_up(static_cast<int64_t>(bytes_.size()), 16) * 16;
  bytes_.resize(static_cast<size_t>(offset + bytes));
  if (bytes > 0) memcpy(bytes_.data() + offset, data, static_cast<size_t>(bytes));
  return {offset, kBaseProgram, 0};
}

Place Recorder::arena(int64_t bytes) {
  const Place place = {arena_used_, kBaseArena, 0};
  arena_used_ += aligned(bytes);
  return place;
}

Place Recorder::scratch(int64_t bytes) {
  const Place place = {scratch_used_, kBaseScratch, 0};
  scratch_used_ += aligned(bytes);
  scratch_bytes_ = scratch_used_ > scratch_bytes_ ? scratch_used_ : scratch_bytes_;
  return place;
}

Launch Recorder::make_launch(KernelId kernel, int64_t shared_bytes, const void* rows, int64_t row_bytes,
                             const std::vector<int64_t>& blocks) {
  std::vector<int32_t> first_block;
  int64_t total = 0;
  for (const int64_t here : blocks) {
    first_block.push_back(static_cast<int32_t>(total));
    total += here;
    if (total > kMostBlocks) {
      overflow_ = true;
      total = 0;
    }
  }
  first_block.push_back(static_cast<int32_t>(total));
  const int64_t count = static_cast<int64_t>(blocks.size());
  const Stage stage = {count, add(first_block.data(), 4 * (count + 1)).offset, add(rows, row_bytes * count).offset};
  return {kernel, static_cast<int32_t>(shared_bytes), total, add(&stage, sizeof stage).offset};
}

void Recorder::add_launch(KernelId kernel, int64_t shared_bytes, const void* rows, int64_t row_bytes,
                          const std::vector<int64_t>& blocks) {
  if (!blocks.empty()) launches_.push_back(make_launch(kernel, shared_bytes, rows, row_bytes, blocks));
}

Place Recorder::zeros(int32_t words) {
  const Place place = arena(4 * int64_t{words});
  prepare_.push_back({1, words, {}, place});
  return place;
}

TapTable Recorder::taps(const Axis& axis) {
  const int64_t stride = tap_bound(axis);
  const Place place = arena(table_bytes(axis.out_px, stride));
  prepare_.push_back({0, static_cast<int32_t>(axis.out_px), axis, place});
  return {place, static_cast<int32_t>(axis.out_px), static_cast<int32_t>(stride)};
}

Status Recorder::finish(Program& program) {
  if (!prepare_.empty()) {
    std::vector<int64_t> blocks;
    for (const PrepareRow& row : prepare_) blocks.push_back(divide_up(row.count, kThreads_prepare));
    launches_.insert(launches_.begin(), make_launch(kKernel_prepare, 0, prepare_.data(), sizeof(PrepareRow), blocks));
  }
  if (overflow_) return Status::kBadArgument;
  ProgramHeader header = {};
  header.magic = kProgramMagic;
  header.launches = static_cast<int64_t>(launches_.size());
  header.first_launch = add(launches_.data(), header.launches * static_cast<int64_t>(sizeof(Launch))).offset;
  header.bytes = static_cast<int64_t>(bytes_.size());
  header.scratch_start = arena_used_;
  header.arena_bytes = arena_used_ + scratch_bytes_;
  memcpy(bytes_.data(), &header, sizeof header);
  program.bytes = std::move(bytes_);
  return Status::kOk;
}

void record_points(Recorder& recorder, const std::vector<PointRow>& rows) {
  std::vector<int64_t> blocks;
  for (const PointRow& row : rows) blocks.push_back(divide_up(row.count, kPointPerBlock));
  recorder.launch(kKernel_point, 0, rows, blocks);
}

// ---- Ops on a packed batch: item i belongs to row i.

namespace {

bool picture_of_row(const Rows& rows, int64_t row, Base base, Picture& picture) {
  const int64_t height = rows.height[row], width = rows.width[row];
  if (rows.channels < 1 || height < 1 || width < 1 || rows.offset[row] < 0) return false;
  // Kernels count the pixels of a picture in 32 bits.
  if (rows.channels > 65535 || rows.channels * height > std::numeric_limits<int32_t>::max() / width) return false;
  picture = {{rows.offset[row] * static_cast<int64_t>(sizeof(float)), base, 0}, static_cast<int32_t>(rows.channels),
             rows.height[row], rows.width[row], 0};
  return true;
}

bool jobs_of_rows(const Rows& src, const Rows& dst, std::vector<Job>& jobs) {
  if (src.count != dst.count || src.channels != dst.channels) return false;
  for (int64_t row = 0; row < src.count; ++row) {
    Job job = {row, {}, {}, 0};
    if (!picture_of_row(src, row, kBaseSrc, job.src) || !picture_of_row(dst, row, kBaseDst, job.dst)) return false;
    jobs.push_back(job);
  }
  return true;
}

template <typename Record>
Status record_rows(const Rows& src, const Rows& dst, Program& program, const Record& record) {
  std::vector<Job> jobs;
  if (!jobs_of_rows(src, dst, jobs)) return Status::kBadArgument;
  Recorder recorder;
  const Status status = record(recorder, jobs);
  return status == Status::kOk ? recorder.finish(program) : status;
}

}  // namespace

Status blur_cuda(const BlurArgs& args, Program& program) {
  return record_rows(args.rows, args.rows, program, [&](Recorder& recorder, const std::vector<Job>& jobs) {
    return record_blur(recorder, args.params, jobs);
  });
}
Status blur_adjoint_cuda(const BlurArgs& args, Program& program) {
  return record_rows(args.rows, args.rows, program, [&](Recorder& recorder, const std::vector<Job>& jobs) {
    return record_blur_adjoint(recorder, args.params, jobs);
  });
}
Status resize_cuda(const ResizeArgs& args, Program& program) {
  return record_rows(args.src_rows, args.dst_rows, program, [&](Recorder& recorder, const std::vector<Job>& jobs) {
    return record_resize(recorder, args.params, jobs);
  });
}
Status resize_adjoint_cuda(const ResizeArgs& args, Program& program) {
  return record_rows(args.src_rows, args.dst_rows, program, [&](Recorder& recorder, const std::vector<Job>& jobs) {
    return record_resize_adjoint(recorder, args.params, jobs);
  });
}
Status noise_cuda(const NoiseArgs& args, Program& program) {
  return record_rows(args.rows, args.rows, program, [&](Recorder& recorder, const std::vector<Job>& jobs) {
    return record_noise(recorder, args.params, jobs);
  });
}
Status jpeg_cuda(const JpegArgs& args, Program& program) {
  return record_rows(args.rows, args.rows, program, [&](Recorder& recorder, const std::vector<Job>& jobs) {
    return record_jpeg(recorder, args.params, jobs);
  });
}
Status jpeg_adjoint_cuda(const JpegAdjointArgs& args, Program& program) {
  return record_rows(args.rows, args.rows, program, [&](Recorder& recorder, const std::vector<Job>& jobs) {
    return record_jpeg_adjoint(recorder, args.params, jobs, args.libjpeg_gradient != 0);
  });
}
Status sharpen_cuda(const SharpenArgs& args, Program& program) {
  return record_rows(args.rows, args.rows, program, [&](Recorder& recorder, const std::vector<Job>& jobs) {
    return record_sharpen(recorder, args.params, jobs);
  });
}

Status rain_cuda(const RainArgs& args, Program& program) {
  return record_rows(args.rows, args.rows, program, [&](Recorder& recorder, const std::vector<Job>& jobs) {
    return record_rain(recorder, args.params, jobs);
  });
}

// ---- Chain: one stage after the other for all rows. Rows may run their steps in different orders; at every stage the op
// that most remaining steps wait for goes first, and all rows whose next step it is take part.

namespace {

class ChainRecorder {
 public:
  explicit ChainRecorder(const ChainArgs& args) : args_(args) {}

  Status record(Program& program) {
    const int64_t count = args_.src_rows.count;
    if (count != args_.dst_rows.count || args_.src_rows.channels != args_.dst_rows.channels) return Status::kBadArgument;
    rows_.resize(static_cast<size_t>(count));
    for (int64_t row = 0; row < count; ++row) {
      if (!begin_row(row)) return Status::kBadArgument;
    }
    record_points(recorder_, points_);
    for (int32_t op = next_op(); op >= 0; op = next_op()) {
      const Status status = record_stage(op);
      if (status != Status::kOk) return status;
    }
    if (!finish_rows()) return Status::kBadArgument;
    return recorder_.finish(program);
  }

 private:
  struct Row {
    int64_t step, last;
    Picture image;
    int holder;  // which of the two buffers the image is in; -1: elsewhere, where it must stay
    Place buffer[2];
  };

  // Noise, JPEG and rain may work in place; the others need a second buffer.
  static bool works_in_place(int32_t op) { return op == kOpNoise || op == kOpJpeg || op == kOpRain; }

  bool takes_target(int64_t row, int64_t steps_done) const {
    return args_.target != nullptr && args_.target_step[row] == steps_done;
  }

  // Where the result of a step goes: -1 is the target.
  int holder_after(const Row& state, int64_t row, int64_t step, int holder) const {
    (void)state;
    if (takes_target(row, step - args_.step_start[row] + 1)) return -1;
    return holder >= 0 && works_in_place(args_.step_op[step]) ? holder : (holder == 0 ? 1 : 0);
  }

  bool begin_row(int64_t row) {
    Row& state = rows_[static_cast<size_t>(row)];
    state.step = args_.step_start[row];
    state.last = args_.step_start[row + 1];
    state.holder = -1;
    if (!picture_of_row(args_.src_rows, row, kBaseSrc, state.image)) return false;
    int64_t floats[2] = {0, 0};
    int holder = -1;
    for (int64_t step = state.step; step < state.last; ++step) {
      const int64_t height = args_.step_height[step], width = args_.step_width[step];
      if (height < 1 || width < 1 || height * state.image.channels > std::numeric_limits<int32_t>::max() / width) return false;
      holder = holder_after(state, row, step, holder);
      const int64_t needed = state.image.channels * height * width;
      if (holder >= 0 && needed > floats[holder]) floats[holder] = needed;
    }
    for (int i = 0; i < 2; ++i) state.buffer[i] = recorder_.arena(4 * floats[i]);
    if (takes_target(row, 0)) {
      points_.push_back(point_row(kPointCopy, state.image, {state.image.place.offset, kBaseTarget, 0}));
    }
    return true;
  }

  int32_t next_op() const {
    int64_t waiting[kOpCount] = {};
    for (const Row& row : rows_) {
      if (row.step == row.last) continue;
      const int32_t op = args_.step_op[row.step];
      if (op < kOpBlur || op >= kOpCount) return kOpCount;
      waiting[op] += row.last - row.step;
    }
    int32_t best = -1;
    for (int32_t op = 0; op < kOpCount; ++op) {
      if (waiting[op] > 0 && (best < 0 || waiting[op] > waiting[best])) best = op;
    }
    return best;
  }

  Status record_stage(int32_t op) {
    std::vector<Job> jobs;
    for (int64_t row = 0; row < args_.src_rows.count; ++row) {
      Row& state = rows_[static_cast<size_t>(row)];
      if (state.step == state.last || args_.step_op[state.step] != op) continue;
      const int64_t step = state.step;
      const int holder = holder_after(state, row, step, state.holder);
      Picture out = state.image;
      out.height = args_.step_height[step];
      out.width = args_.step_width[step];
      if (op != kOpResize && !same_size(out, state.image)) return Status::kBadArgument;
      if (holder >= 0) {
        out.place = state.buffer[holder];
      } else {
        Picture target;
        if (!picture_of_row(args_.src_rows, row, kBaseTarget, target) || !same_size(out, target)) {
          return Status::kBadArgument;
        }
        out.place = target.place;
      }
      jobs.push_back({args_.step_item[step], state.image, out, 1});
      state.image = out;
      state.holder = holder;
      ++state.step;
    }
    recorder_.begin_stage();
    switch (op) {
      case kOpBlur: return record_blur(recorder_, args_.blur, jobs);
      case kOpResize: return record_resize(recorder_, args_.resize, jobs);
      case kOpNoise: return record_noise(recorder_, args_.noise, jobs);
      case kOpJpeg: return record_jpeg(recorder_, args_.jpeg, jobs);
      case kOpSharpen: return record_sharpen(recorder_, args_.sharpen, jobs);
      case kOpRain: return record_rain(recorder_, args_.rain, jobs);
      default: return Status::kBadArgument;
    }
  }

  bool finish_rows() {
    std::vector<PointRow> points;
    for (int64_t row = 0; row < args_.src_rows.count; ++row) {
      const Picture& image = rows_[static_cast<size_t>(row)].image;
      Picture result;
      if (!picture_of_row(args_.dst_rows, row, kBaseDst, result) || !same_size(image, result)) return false;
      points.push_back(point_row(args_.round_8bit != 0 ? kPointRound8bit : kPointCopy, image, result.place));
    }
    record_points(recorder_, points);
    return true;
  }

  const ChainArgs& args_;
  Recorder recorder_;
  std::vector<Row> rows_;
  std::vector<PointRow> points_;
};

}  // namespace

Status chain_cuda(const ChainArgs& args, Program& program) { return ChainRecorder(args).record(program); }

}  // namespace pyd

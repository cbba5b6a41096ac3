// Builds programs. Plain C++ of the host, part of every build; one file per group of ops beside it.
#pragma once

#include <vector>

#include "cuda/program.h"
#include "ops.h"

namespace pyd {

struct Program {
  std::vector<uint8_t> bytes;
};

// One use of an op: item `item` of its parameters, from one picture to another.
struct Job {
  int64_t item;
  Picture src, dst;
  int32_t clips;  // jpeg: the input is to be clipped to [0, 1] first, which the differentiable modes leave to the caller
};

class Recorder {
 public:
  Recorder();

  // Memory in the program, in the arena, in the scratch part (until the next begin_stage).
  Place add(const void* data, int64_t bytes);
  Place arena(int64_t bytes);
  Place scratch(int64_t bytes);
  void begin_stage() { scratch_used_ = 0; }

  // A launch of `kernel` with blocks[i] blocks for rows[i]. Nothing when there are none.
  template <typename Row>
  void launch(KernelId kernel, int64_t shared_bytes, const std::vector<Row>& rows, const std::vector<int64_t>& blocks) {
    add_launch(kernel, shared_bytes, rows.data(), sizeof(Row), blocks);
  }
  // Work for the program's first launch.
  Place zeros(int32_t words);
  TapTable taps(const Axis& axis);

  // Writes the header, the first launch and the list of launches. kBadArgument when sizes overflow.
  Status finish(Program& program);

 private:
  void add_launch(KernelId kernel, int64_t shared_bytes, const void* rows, int64_t row_bytes,
                  const std::vector<int64_t>& blocks);
  Launch make_launch(KernelId kernel, int64_t shared_bytes, const void* rows, int64_t row_bytes,
                     const std::vector<int64_t>& blocks);

  std::vector<uint8_t> bytes_;
  std::vector<Launch> launches_;
  std::vector<PrepareRow> prepare_;
  int64_t arena_used_ = 0;
  int64_t scratch_used_ = 0, scratch_bytes_ = 0;
  bool overflow_ = false;
};

// Jobs of one stage.
Status record_blur(Recorder& recorder, const BlurParams& params, const std::vector<Job>& jobs);
Status record_blur_adjoint(Recorder& recorder, const BlurParams& params, const std::vector<Job>& jobs);
Status record_resize(Recorder& recorder, const ResizeParams& params, const std::vector<Job>& jobs);
Status record_resize_adjoint(Recorder& recorder, const ResizeParams& params, const std::vector<Job>& jobs);
Status record_noise(Recorder& recorder, const NoiseParams& params, const std::vector<Job>& jobs);
Status record_jpeg(Recorder& recorder, const JpegParams& params, const std::vector<Job>& jobs);
Status record_jpeg_adjoint(Recorder& recorder, const JpegParams& params, const std::vector<Job>& jobs,
                           bool libjpeg_gradient);
Status record_sharpen(Recorder& recorder, const SharpenParams& params, const std::vector<Job>& jobs);
Status record_rain(Recorder& recorder, const RainParams& params, const std::vector<Job>& jobs);
void record_points(Recorder& recorder, const std::vector<PointRow>& rows);

static inline int64_t divide_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }
static inline int64_t floats_of(const Picture& picture) {
  return static_cast<int64_t>(picture.channels) * picture.height * picture.width;
}
static inline bool same_place(const Place& a, const Place& b) { return a.base == b.base && a.offset == b.offset; }
static inline bool same_size(const Picture& a, const Picture& b) {
  return a.channels == b.channels && a.height == b.height && a.width == b.width;
}
static inline PointRow point_row(PointOp op, const Picture& src, const Place& dst) {
  return {floats_of(src), src.place, dst, src.place, op, 0};
}

}  // namespace pyd

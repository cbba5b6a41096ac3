// Builds programs. Plain C++ of the host, part of every build.
#pragma once

#include <vector>

#include "core/status.h"
#include "cuda/program.h"

namespace pyd {

struct Program {
  std::vector<uint8_t> bytes;
};

// The pixels that a blur makes, and the resize after it is given, alone, since that reads no others: of `full`,
// row_count x column_count px, which are `rows` and `columns`, int32 numbers of them; all of an axis where it is not
// `some`.
struct DevicePart {
  Size full;
  int32_t row_count, column_count;
  bool some_rows, some_columns;
  Place rows, columns;
  Place vertical, horizontal;  // tables of taps for such an image
};

// One use of an op: item `item` of its parameters, legal for these sizes, from one picture to another. For ops with the
// trait kInPlace they may be the same.
struct DeviceUse {
  int64_t item;
  Picture src, dst;
  int32_t clips;  // src is to be clipped to [0, 1] first; asked of ops with the trait kClipsInput alone
  const DevicePart* part = nullptr;  // of dst for blur, of src for resize
};

class Recorder {
 public:
  // `bytes`: about how many the program will have, so that it need not be moved while it grows.
  explicit Recorder(int64_t bytes = 0);

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
  // The same before all other launches, together with whatever else `kernel` is to do then.
  template <typename Row>
  void prepare(KernelId kernel, const Row& row, int64_t blocks) {
    add_preparation(kernel, &row, sizeof(Row), blocks);
  }
  // Memory in the arena that is zero when the first stage begins.
  Place zeros(int32_t words);

  // Writes the header and the list of launches. kTooLarge when numbers of blocks overflow.
  Status finish(Program& program);

 private:
  void add_launch(KernelId kernel, int64_t shared_bytes, const void* rows, int64_t row_bytes,
                  const std::vector<int64_t>& blocks);
  Launch make_launch(KernelId kernel, int64_t shared_bytes, const void* rows, int64_t row_bytes,
                     const std::vector<int64_t>& blocks);

  void add_preparation(KernelId kernel, const void* row, int64_t row_bytes, int64_t blocks);

  struct Preparation {
    std::vector<uint8_t> rows;
    std::vector<int64_t> blocks;
    int64_t row_bytes;
  };
  std::vector<uint8_t> bytes_;
  std::vector<Launch> launches_;
  Preparation preparations_[kKernelCount];
  int64_t arena_used_ = 0;
  int64_t scratch_used_ = 0, scratch_bytes_ = 0;
  bool overflow_ = false;
};

// Per op, in its record.cpp: the uses of one stage. In an adjoint, src is the gradient; or src is the input of the forward
// pass, and the gradient lies at the same place of kBaseGrad.
#define PYD_DECLARE(name, Name, code, adjoint, traits)                                                    \
  void record_##name(Recorder& recorder, const Name##Params& params, const std::vector<DeviceUse>& uses); \
  PYD_IF(adjoint, void record_##name##_adjoint(Recorder& recorder, const Name##Params& params,            \
                                               const std::vector<DeviceUse>& uses);)
PYD_OPS(PYD_DECLARE)
#undef PYD_DECLARE

// Counts of what a resize reads of its source; what of it blur can skip to advantage; and where kernels find which pixels
// these are.
DevicePart resize_part(const ResizeParams& params, int64_t item, const Size& src, const Size& dst);
void blur_skips(const BlurParams& params, int64_t item, DevicePart& part);
void place_part(Recorder& recorder, const ResizeParams& params, int64_t item, const Size& dst, DevicePart& part);

void record_points(Recorder& recorder, const std::vector<PointRow>& rows);

static inline int64_t divide_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }
static inline int64_t floats_of(const Picture& picture) {
  return static_cast<int64_t>(picture.channels) * picture.height * picture.width;
}
static inline bool same_place(const Place& a, const Place& b) { return a.base == b.base && a.offset == b.offset; }
static inline PointRow point_row(PointOp op, const Picture& src, const Place& dst) {
  return {floats_of(src), src.place, dst, src.place, op, 0};
}

}  // namespace pyd

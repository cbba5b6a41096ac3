#include "cuda/record.h"

#include <limits>

namespace pyd {
namespace {

constexpr int64_t kAlignment = 256;
constexpr int64_t kMostBlocks = std::numeric_limits<int32_t>::max();

int64_t aligned(int64_t bytes) { return divide_up(bytes, kAlignment) * kAlignment; }

}  // namespace

Recorder::Recorder(int64_t bytes) {
  bytes_.reserve(static_cast<size_t>(bytes));
  bytes_.resize(static_cast<size_t>(aligned(sizeof(ProgramHeader))));
}

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
  return {kernel, static_cast<int32_t>(shared_bytes), total, add(&stage, sizeof stage).offset, row_bytes};
}

void Recorder::add_launch(KernelId kernel, int64_t shared_bytes, const void* rows, int64_t row_bytes,
                          const std::vector<int64_t>& blocks) {
  if (!blocks.empty()) launches_.push_back(make_launch(kernel, shared_bytes, rows, row_bytes, blocks));
}

void Recorder::add_preparation(KernelId kernel, const void* row, int64_t row_bytes, int64_t blocks) {
  Preparation& all = preparations_[kernel];
  const auto* const first = static_cast<const uint8_t*>(row);
  all.rows.insert(all.rows.end(), first, first + row_bytes);
  all.blocks.push_back(blocks);
  all.row_bytes = row_bytes;
}

Place Recorder::zeros(int32_t words) {
  const Place place = arena(4 * int64_t{words});
  prepare(kKernel_clear, ClearRow{place, words, 0}, divide_up(words, kThreads_clear));
  return place;
}

Status Recorder::finish(Program& program) {
  std::vector<Launch> first;
  for (int32_t kernel = 0; kernel < kKernelCount; ++kernel) {
    const Preparation& all = preparations_[kernel];
    if (all.blocks.empty()) continue;
    first.push_back(make_launch(static_cast<KernelId>(kernel), 0, all.rows.data(), all.row_bytes, all.blocks));
  }
  launches_.insert(launches_.begin(), first.begin(), first.end());
  if (overflow_) return Status::kTooLarge;
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

}  // namespace pyd

#include "chain/steps.h"

#include <cstdlib>

#include "math/philox.h"

namespace pyd {
namespace {

constexpr int64_t kMostSidePx = 1 << 24;

uint32_t low_word(int64_t value) { return static_cast<uint32_t>(value); }
uint32_t high_word(int64_t value) { return static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32); }

}  // namespace

const OpRules& op_rules(int32_t op) {
  switch (op) {
#define PYD_CASE(name, Name, ...) \
  case kOp##Name: return name##_rules();
    PYD_OPS(PYD_CASE)
#undef PYD_CASE
    default: abort();
  }
}

Status Steps::plan(const TaskArgs& args, OtherSizes& others) {
  if (!sizes(args, others)) return Status::kOk;
  draw_keys(args);
  list_steps(args);
  return make_params(args);
}

// The size of every row after each place, and which steps do something.
bool Steps::sizes(const TaskArgs& args, OtherSizes& others) {
  const int64_t count = args.src_rows.count;
  const std::vector<Slot>& slots = *args.slots;
  std::vector<Size> size(static_cast<size_t>(count)), last(static_cast<size_t>(count));
  for (int64_t row = 0; row < count; ++row) {
    const Size src = row_size(args.src_rows, row);
    if (src.height % args.scale != 0 || src.width % args.scale != 0) {
      fault_ = {kNotMultiple, row, src.height, src.width};
      return false;
    }
    size[row] = src;
    last[row] = {src.channels, src.height / args.scale, src.width / args.scale};
    src_offset_.push_back(args.src_rows.offset[row]);
    src_height_.push_back(args.src_rows.height[row]);
    src_width_.push_back(args.src_rows.width[row]);
    dst_offset_.push_back(
        row == 0 ? 0 : dst_offset_.back() + last[row - 1].channels * last[row - 1].height * last[row - 1].width);
    dst_height_.push_back(static_cast<int32_t>(last[row].height));
    dst_width_.push_back(static_cast<int32_t>(last[row].width));
  }
  stands_.resize(static_cast<size_t>(count * args.places));
  std::vector<std::vector<int64_t>> waiting(slots.size());  // rows at this place, of ops that Python must ask
  for (int64_t place = 0; place < args.places; ++place) {
    bool any_waiting = false;
    for (int64_t row = 0; row < count; ++row) {
      const int32_t slot = args.program[row * args.places + place];
      Stand& stand = stands_[static_cast<size_t>(row * args.places + place)];
      bool kept = false;
      if (slot >= 0) {
        const int32_t op = slots[slot].op;
        if (op < 0) {
          kept = !args.neutral[slot][row];
          if (slots[slot].resizes) {
            waiting[slot].push_back(row);
            any_waiting = true;
          }
        } else {
          const OpRules& rules = op_rules(op);
          const ColumnValues* const columns = args.columns[slot].data();
          kept = !rules.is_neutral(columns, row);
          if (rules.size_after != nullptr) {
            const Size after = rules.size_after(columns, row, size[row], last[row]);
            if (after.height >= kMostSidePx || after.width >= kMostSidePx) {
              fault_ = {kTooLargeSide, row, after.height, after.width};
              return false;
            }
            if (same_size(after, size[row]) && rules.idles_at_equal_size(columns, row)) kept = false;
            size[row] = after;
          }
        }
      }
      stand = {static_cast<int32_t>(size[row].height), static_cast<int32_t>(size[row].width), kept};
    }
    if (!any_waiting) continue;
    for (size_t slot = 0; slot < slots.size(); ++slot) {
      std::vector<int64_t>& rows = waiting[slot];
      if (rows.empty()) continue;
      std::vector<int64_t> height, width, last_height, last_width;
      for (const int64_t row : rows) {
        height.push_back(size[row].height);
        width.push_back(size[row].width);
        last_height.push_back(last[row].height);
        last_width.push_back(last[row].width);
      }
      std::vector<bool> idles(rows.size());
      others.after(static_cast<int64_t>(slot), rows, height, width, last_height, last_width, idles);
      for (size_t i = 0; i < rows.size(); ++i) {
        Size& here = size[rows[i]];
        here.height = height[i];
        here.width = width[i];
        Stand& stand = stands_[static_cast<size_t>(rows[i] * args.places + place)];
        stand.height = static_cast<int32_t>(height[i]);
        stand.width = static_cast<int32_t>(width[i]);
        if (idles[i]) stand.kept = false;
      }
      rows.clear();
    }
  }
  for (int64_t row = 0; row < count; ++row) {
    if (same_size(size[row], last[row])) continue;
    fault_ = {kWrongSize, row, size[row].height, size[row].width};
    return false;
  }
  return true;
}

void Steps::draw_keys(const TaskArgs& args) {
  keys_.reserve(static_cast<size_t>(4 * args.src_rows.count));
  for (int64_t row = 0; row < args.src_rows.count; ++row) {
    const int64_t seed = args.seed[row], index = args.index[row], noise = args.noise_index[row];
    const Philox4 words = philox4x32_10(low_word(seed), high_word(seed), low_word(index), high_word(index), low_word(noise),
                                        high_word(noise));
    keys_.insert(keys_.end(), words.w, words.w + 4);
  }
}

// Row after row in running order; every use gets its place among the uses of its op.
void Steps::list_steps(const TaskArgs& args) {
  const int64_t count = args.src_rows.count;
  const std::vector<Slot>& slots = *args.slots;
  int64_t used[kOpCount] = {};
  step_start_.push_back(0);
  for (int64_t row = 0; row < count; ++row) {
    int32_t done = 0, target_step = 0;
    for (int64_t place = 0; place < args.places; ++place) {
      const Stand& stand = stands_[static_cast<size_t>(row * args.places + place)];
      const int32_t slot = args.program[row * args.places + place];
      if (stand.kept) {
        const int32_t op = slots[slot].op;
        step_op_.push_back(op);
        step_item_.push_back(op < 0 ? row : used[op]++);
        step_height_.push_back(stand.height);
        step_width_.push_back(stand.width);
        step_slot_.push_back(slot);
        has_others_ |= op < 0;
        ++done;
      }
      if (slot >= 0 && slot == args.target) target_step = done;
    }
    target_step_.push_back(target_step);
    has_target_ |= target_step != 0;
    step_start_.push_back(static_cast<int64_t>(step_op_.size()));
  }
}

Status Steps::make_params(const TaskArgs& args) {
  const std::vector<Slot>& slots = *args.slots;
  for (int64_t row = 0; row < args.src_rows.count; ++row) {
    for (int64_t step = step_start_[row]; step < step_start_[row + 1]; ++step) {
      const int32_t slot = step_slot_[step];
      const uint32_t* const image = &keys_[static_cast<size_t>(4 * row)];
      const uint32_t key[4] = {image[0], image[1], image[2], image[3] ^ slots[slot].hash};
      const ColumnValues* const columns = args.columns[slot].data();
      switch (step_op_[step]) {
#define PYD_CASE(name, Name, ...)                                        \
  case kOp##Name:                                                        \
    if (name##_items_ == nullptr) name##_items_ = make_##name##_items(); \
    name##_items_->add(columns, row, key);                               \
    break;
        PYD_OPS(PYD_CASE)
#undef PYD_CASE
        default: break;
      }
    }
  }
  args_.src_rows = {args.src_rows.count, args.src_rows.channels, src_offset_.data(), src_height_.data(), src_width_.data()};
  args_.dst_rows = {args.src_rows.count, args.src_rows.channels, dst_offset_.data(), dst_height_.data(), dst_width_.data()};
  args_.target_step = target_step_.data();
  args_.step_start = step_start_.data();
  args_.step_op = step_op_.data();
  args_.step_item = step_item_.data();
  args_.step_height = step_height_.data();
  args_.step_width = step_width_.data();
  args_.round_8bit = 1;
#define PYD_FINISH(name, Name, ...)                \
  if (name##_items_ != nullptr) {                  \
    const Status status = name##_items_->finish(); \
    if (status != Status::kOk) return status;      \
    args_.name = name##_items_->params();          \
  }
  PYD_OPS(PYD_FINISH)
#undef PYD_FINISH
  return Status::kOk;
}

}  // namespace pyd

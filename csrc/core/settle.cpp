#include "core/settle.h"

#include <atomic>
#include <cstring>

#include "core/pool.h"

namespace pyd {
namespace {

constexpr int64_t kRowsPerTask = 256;
constexpr int64_t kMaxSlots = 127;  // programs are int8
constexpr int64_t kSlotHead = 4, kGateHead = 3;

bool same_real(int32_t first, int32_t second) {
  float a, b;
  std::memcpy(&a, &first, sizeof a);
  std::memcpy(&b, &second, sizeof b);
  return a == b;
}

// Samples `begin` to `end` of one call.
class Block {
 public:
  Block(const SettleColumnsArgs& args, int64_t begin, int64_t end) : args_(args), begin_(begin), count_(end - begin) {}

  void close_gates() {
    for (int64_t i = 0; i < count_; ++i) {
      uint8_t closed[kMaxSlots] = {};
      if (args_.gate_rows > 0) close(begin_ + i, closed);
      uint8_t* const program = args_.program.data + (begin_ + i) * args_.slot_count;
      int64_t kept = 0;
      for (int64_t k = 0; k < args_.slot_count; ++k) {
        const uint8_t slot = program[k];
        if (slot < args_.slot_count && !closed[slot]) program[kept++] = slot;
      }
      for (; kept < args_.slot_count; ++kept) program[kept] = static_cast<uint8_t>(-1);
    }
  }

  // False: a code that is none.
  bool settle(const int32_t* slot) const {
    const int32_t deciders = slot[1], columns = slot[2];
    int64_t place[kRowsPerTask];  // among the effects, -1: the slot is absent
    for (int64_t i = 0; i < count_; ++i) place[i] = has(i, slot[0]) ? 0 : -1;
    for (int32_t k = 0; k < deciders; ++k) {
      const int32_t row = slot[kSlotHead + 2 * k], cases = slot[kSlotHead + 2 * k + 1], neutral = args_.neutral[row];
      const int32_t* const words = args_.words.data + row * args_.component.count + begin_;
      for (int64_t i = 0; i < count_; ++i) {
        if (place[i] < 0) continue;
        if (cases > 0) {
          if (words[i] < 0 || words[i] >= cases) return false;
          place[i] = place[i] * cases + words[i];
        } else {
          const bool same = cases == kByReal ? same_real(words[i], neutral) : words[i] == neutral;
          place[i] = place[i] * 2 + (same ? 0 : 1);
        }
      }
    }
    const uint8_t* const effects = args_.effects.data + slot[3];
    const int32_t* const rows = slot + kSlotHead + 2 * deciders;
    for (int32_t k = 0; k < columns; ++k) {
      int32_t* const words = args_.words.data + rows[k] * args_.component.count + begin_;
      const int32_t neutral = args_.neutral[rows[k]];
      for (int64_t i = 0; i < count_; ++i) {
        if (place[i] < 0 || !effects[place[i] * columns + k]) words[i] = neutral;
      }
    }
    return true;
  }

 private:
  void close(int64_t at, uint8_t* closed) const {
    const int64_t count = args_.component.count;
    for (int64_t row = 0; row < args_.gate_rows; ++row) {
      int32_t* const on = args_.words.data + row * count + at;
      bool own = false;
      for (int64_t k = 0; k < args_.gates.count; k += kGateHead + args_.gates[k + 2]) {
        if (args_.gates[k + 1] != row || args_.gates[k] != args_.component[at]) continue;
        own = true;
        for (int32_t j = 0; *on == 0 && j < args_.gates[k + 2]; ++j) closed[args_.gates[k + kGateHead + j]] = 1;
      }
      if (!own) *on = args_.neutral[row];
    }
  }

  bool has(int64_t i, int32_t slot) const {
    const uint8_t* const program = args_.program.data + (begin_ + i) * args_.slot_count;
    return std::memchr(program, slot, static_cast<size_t>(args_.slot_count)) != nullptr;
  }

  const SettleColumnsArgs& args_;
  const int64_t begin_, count_;
};

int64_t slot_values(const int32_t* slot) { return kSlotHead + 2 * int64_t{slot[1]} + slot[2]; }

const char* fault_of_gates(const SettleColumnsArgs& args) {
  for (int64_t at = 0; at < args.gates.count;) {
    const int32_t* const gate = args.gates.data + at;
    if (args.gates.count - at < kGateHead || gate[2] < 0 || args.gates.count - at < kGateHead + gate[2]) {
      return "a gate is cut off";
    }
    if (gate[1] < 0 || gate[1] >= args.gate_rows) return "a gate's row lies outside";
    for (int32_t k = 0; k < gate[2]; ++k) {
      if (gate[kGateHead + k] < 0 || gate[kGateHead + k] >= args.slot_count) return "a gate's slot lies outside";
    }
    at += kGateHead + gate[2];
  }
  return nullptr;
}

const char* fault_of_slots(const SettleColumnsArgs& args) {
  for (int64_t at = 0; at < args.slots.count;) {
    const int32_t* const slot = args.slots.data + at;
    const int64_t left = args.slots.count - at;
    if (left < kSlotHead || slot[1] < 0 || slot[2] < 1 || left < slot_values(slot)) return "a slot is cut off";
    if (slot[0] < 0 || slot[0] >= args.slot_count) return "a slot's number lies outside";
    int64_t places = slot[2];
    const int32_t* value = slot + kSlotHead;
    for (int32_t k = 0; k < slot[1]; ++k, value += 2) {
      if (value[0] < 0 || value[0] >= args.rows) return "a decider's row lies outside";
      if (value[1] < kByReal) return "a decider has no cases";
      const int64_t cases = value[1] > 0 ? value[1] : 2;
      if (cases > args.effects.count / places) return "a slot's effects lie outside";
      places *= cases;
    }
    for (int32_t k = 0; k < slot[2]; ++k) {
      if (value[k] < 0 || value[k] >= args.rows) return "a column's row lies outside";
    }
    if (slot[3] < 0 || slot[3] > args.effects.count - places) return "a slot's effects lie outside";
    at += slot_values(slot);
  }
  return nullptr;
}

}  // namespace

const char* fault_of(const SettleColumnsArgs& args) {
  const int64_t count = args.component.count;
  if (args.rows < 0 || args.rows > INT32_MAX || args.words.count != args.rows * count) {
    return "words must have a value per row and sample";
  }
  if (args.neutral.count != args.rows) return "neutral must have a value per row";
  if (args.gate_rows < 0 || args.gate_rows > args.rows) return "gate_rows is out of range";
  if (args.slot_count < 0 || args.slot_count > kMaxSlots) return "slot_count is out of range";
  if (args.program.count != args.slot_count * count) return "program must have a value per sample and slot";
  const char* const fault = fault_of_gates(args);
  return fault != nullptr ? fault : fault_of_slots(args);
}

Status settle_columns(const SettleColumnsArgs& args) {
  std::atomic<bool> known{true};
  const int64_t count = args.component.count;
  parallel_for((count + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t number) {
    const int64_t begin = number * kRowsPerTask;
    Block block(args, begin, begin + kRowsPerTask < count ? begin + kRowsPerTask : count);
    block.close_gates();
    for (int64_t at = 0; at < args.slots.count; at += slot_values(args.slots.data + at)) {
      if (!block.settle(args.slots.data + at)) known = false;
    }
  });
  return known ? Status::kOk : Status::kBadArgument;
}

}  // namespace pyd

// THE list of operations: each named once. What an op is beside its name stands in its own folder.
#pragma once

#include "ops/blur/legal.h"
#include "ops/jpeg/legal.h"
#include "ops/noise/legal.h"
#include "ops/rain/legal.h"
#include "ops/resize/legal.h"
#include "ops/sharpen/legal.h"

namespace pyd {

// What those who run ops ask about one.
enum Traits : uint32_t {
  kNoTraits = 0,
  kInPlace = 1,       // the result may be written over the input
  kChangesSize = 2,   // the result may have another size
  kKeyed = 4,         // draws random words: has the field `key`
  kClipsInput = 8,    // within a chain the input is to be clipped to [0, 1] first (Use::clips)
  kNonlinear = 16,    // the adjoint needs the input of the forward pass beside the gradient
};

// X(name, Name, code, adjoint, traits): folder and functions, types, number in plans (append only), whether there is a
// gradient (with_adjoint, without_adjoint).
#define PYD_OPS(X)                                                    \
  X(blur, Blur, 0, with_adjoint, kNoTraits)                           \
  X(resize, Resize, 1, with_adjoint, kChangesSize)                    \
  X(noise, Noise, 2, without_adjoint, kInPlace | kKeyed)              \
  X(jpeg, Jpeg, 3, with_adjoint, kInPlace | kClipsInput | kNonlinear) \
  X(sharpen, Sharpen, 4, without_adjoint, kNoTraits)                  \
  X(rain, Rain, 5, without_adjoint, kInPlace | kKeyed)

// PYD_IF(with_adjoint, text) is the text, PYD_IF(without_adjoint, text) is nothing.
#define PYD_IF(adjoint, ...) PYD_IF_##adjoint(__VA_ARGS__)
#define PYD_IF_with_adjoint(...) __VA_ARGS__
#define PYD_IF_without_adjoint(...)

enum OpCode : int32_t {
#define PYD_CODE(name, Name, code, adjoint, traits) kOp##Name = code,
  PYD_OPS(PYD_CODE)
#undef PYD_CODE
};
constexpr int32_t kOpCount = 0
#define PYD_ONE(...) +1
    PYD_OPS(PYD_ONE)
#undef PYD_ONE
    ;

struct OpInfo {
  const char* name;
  uint32_t traits;
};
// By code, which counts from 0 without gaps.
constexpr OpInfo kOps[kOpCount] = {
#define PYD_INFO(name, Name, code, adjoint, traits) {#name, traits},
    PYD_OPS(PYD_INFO)
#undef PYD_INFO
};
enum : int32_t {
#define PYD_PLACE(name, ...) kPlace_##name,
  PYD_OPS(PYD_PLACE)
#undef PYD_PLACE
};
#define PYD_IN_ORDER(name, Name, code, adjoint, traits) \
  static_assert(kPlace_##name == code, "ops are listed in the order of their codes");
PYD_OPS(PYD_IN_ORDER)
#undef PYD_IN_ORDER

}  // namespace pyd

// How a struct of parameters is written down once. A list of its fields,
//
//   #define PYD_BLUR_FIELDS(X)  X(const int32_t, size_px, per_item(), "odd, 1..51")  ...
//   PYD_PARAMS(BlurParams, PYD_BLUR_FIELDS)
//
// becomes the struct, a description of it for Python (its stub, the names that Python needs) and the reader that checks
// dtype, layout, device and number of values (bindings.cpp). A type without `const` is memory that the function writes to.
#pragma once

#include <cstdint>

namespace pyd {

// Values in memory of the caller, one behind the other; null when the field was left out. Compiled per instruction set, so
// nothing of it may be left to the linker.
template <typename T>
struct Span {
  T* data;
  int64_t count;
  __attribute__((always_inline)) T& operator[](int64_t i) const { return data[i]; }
  __attribute__((always_inline)) bool given() const { return data != nullptr; }
};

// How many values a field has.
struct Count {
  int64_t per_item;  // so many for every item; 0: their number has nothing to do with the items
  int64_t at_least;  // where it has not
  bool optional;     // may be left out
  constexpr Count or_none() const { return {per_item, at_least, true}; }
};
constexpr Count per_item(int64_t values = 1) { return {values, 0, false}; }
constexpr Count shared_by_items(int64_t at_least = 0) { return {0, at_least, false}; }

enum class Dtype : int32_t { kInt32, kInt64, kUint32, kFloat32, kFloat64, kUint8, kUint16, kInt8, kBool };
constexpr const char* kDtypeNames[] = {"int32", "int64", "uint32", "float32", "float64", "uint8", "uint16", "int8", "bool"};
constexpr int kDtypes = 9;

template <typename T>
struct DtypeOf;
template <typename T>
struct DtypeOf<const T> : DtypeOf<T> {};
template <>
struct DtypeOf<int32_t> {
  static constexpr Dtype value = Dtype::kInt32;
};
template <>
struct DtypeOf<int64_t> {
  static constexpr Dtype value = Dtype::kInt64;
};
template <>
struct DtypeOf<uint32_t> {
  static constexpr Dtype value = Dtype::kUint32;
};
template <>
struct DtypeOf<float> {
  static constexpr Dtype value = Dtype::kFloat32;
};
template <>
struct DtypeOf<double> {
  static constexpr Dtype value = Dtype::kFloat64;
};
template <>
struct DtypeOf<uint8_t> {
  static constexpr Dtype value = Dtype::kUint8;
};
template <>
struct DtypeOf<uint16_t> {
  static constexpr Dtype value = Dtype::kUint16;
};
template <>
struct DtypeOf<int8_t> {
  static constexpr Dtype value = Dtype::kInt8;
};
template <>
struct DtypeOf<bool> {
  static constexpr Dtype value = Dtype::kBool;
};

template <typename T>
struct IsConst {
  static constexpr bool value = false;
};
template <typename T>
struct IsConst<const T> {
  static constexpr bool value = true;
};

struct FieldInfo {
  const char* name;
  Dtype dtype;
  bool written;  // by the function
  Count count;
  const char* doc;
};

#define PYD_FIELD_MEMBER(T, name, count, doc) Span<T> name;
#define PYD_FIELD_INFO(T, name, count, doc) {#name, DtypeOf<T>::value, !IsConst<T>::value, count, doc},
#define PYD_FIELD_VISIT(T, name, count, doc) visitor(#name, count, name);
#define PYD_FIELD_READ(T, name, count, doc) params.name = reader.template span<T>(#name, count);

#define PYD_PARAMS(Params, FIELDS)                                   \
  struct Params {                                                    \
    int64_t items; /* every field has its values for so many */      \
    FIELDS(PYD_FIELD_MEMBER)                                         \
    static constexpr FieldInfo kFields[] = {FIELDS(PYD_FIELD_INFO)}; \
    template <typename Reader>                                       \
    static Params read(const Reader& reader) {                       \
      Params params;                                                 \
      params.items = reader.items();                                 \
      FIELDS(PYD_FIELD_READ)                                         \
      return params;                                                 \
    }                                                                \
    template <typename Visitor>                                      \
    void visit(const Visitor& visitor) const {                       \
      FIELDS(PYD_FIELD_VISIT)                                        \
    }                                                                \
  };

}  // namespace pyd

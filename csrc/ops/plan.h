// What planning asks about an op: its columns, where it does nothing, how it changes a size, and its parameters made from
// columns. Every op answers in its plan.cpp. Host code of every build, for one thread.
#pragma once

#include <memory>
#include <type_traits>
#include <vector>

#include "core/status.h"
#include "ops/list.h"

namespace pyd {

// A column of tasks: a value for every row of the batch, or one for all rows (step 0).
template <typename T>
struct ColumnOf {
  const T* data;
  int64_t step;
  T operator[](int64_t row) const { return data[row * step]; }
};
struct ColumnValues {
  const void* data;  // of the dtype that ColumnInfo names
  int64_t step;
};
struct ColumnInfo {
  const char* name;
  Dtype dtype;  // int32 or float32
};

// The answers of an op that do not depend on anything but columns. `columns` are in the order of `info`.
struct OpRules {
  std::vector<ColumnInfo> info;
  bool (*is_neutral)(const ColumnValues* columns, int64_t row);
  // Height and width after the op; null: it keeps them.
  Size (*size_after)(const ColumnValues* columns, int64_t row, const Size& before, const Size& last);
  // Whether it does nothing where it does not change the size; null: it always does something.
  bool (*idles_at_equal_size)(const ColumnValues* columns, int64_t row);
};

// Parameters of uses that are added one by one; `finish` once behind the last.
template <typename Params>
class Items {
 public:
  virtual ~Items() = default;
  virtual void add(const ColumnValues* columns, int64_t row, const uint32_t* key) = 0;
  virtual Status finish() = 0;
  virtual Params params() const = 0;  // lives as long as the items
};

#define PYD_DECLARE_PLAN(name, Name, ...) \
  const OpRules& name##_rules();          \
  std::unique_ptr<Items<Name##Params>> make_##name##_items();
PYD_OPS(PYD_DECLARE_PLAN)
#undef PYD_DECLARE_PLAN

// ---- For the plan.cpp of an op

// PYD_COLUMNS(BlurColumns, LIST) with LIST(X) X(int32_t, shape) X(float, beta): a struct with a ColumnOf for each.
#define PYD_COLUMN_MEMBER(T, name) ColumnOf<T> name;
#define PYD_COLUMN_INFO(T, name) infos.push_back({#name, DtypeOf<T>::value});
#define PYD_COLUMN_READ(T, name) columns.name = {static_cast<const T*>(values->data), values->step}, ++values;
#define PYD_COLUMNS(Columns, LIST)                  \
  struct Columns {                                  \
    LIST(PYD_COLUMN_MEMBER)                         \
    static Columns of(const ColumnValues* values) { \
      Columns columns;                              \
      LIST(PYD_COLUMN_READ)                         \
      return columns;                               \
    }                                               \
    static std::vector<ColumnInfo> info() {         \
      std::vector<ColumnInfo> infos;                \
      LIST(PYD_COLUMN_INFO)                         \
      return infos;                                 \
    }                                               \
  };

template <typename T>
Span<const T> span_of(const std::vector<T>& values) {
  static const T nothing{};  // empty arrays may have no address; null means "left out"
  return {values.empty() ? &nothing : values.data(), static_cast<int64_t>(values.size())};
}

// Size rules of an op that keeps the size. An op has `Columns`, `Params`, and of a plan the members is_neutral, add,
// finish and params.
struct KeepsSize {
  static constexpr bool kResizes = false;
};

template <typename Plan>
OpRules rules_of() {
  using Columns = typename Plan::Columns;
  OpRules rules = {Columns::info(),
                   [](const ColumnValues* values, int64_t row) { return Plan::is_neutral(Columns::of(values), row); },
                   nullptr, nullptr};
  if constexpr (Plan::kResizes) {
    rules.size_after = [](const ColumnValues* values, int64_t row, const Size& before, const Size& last) {
      return Plan::size_after(Columns::of(values), row, before, last);
    };
    rules.idles_at_equal_size = [](const ColumnValues* values, int64_t row) {
      return Plan::idles_at_equal_size(Columns::of(values), row);
    };
  }
  return rules;
}

template <typename Plan>
class ItemsOf : public Items<typename Plan::Params> {
 public:
  void add(const ColumnValues* values, int64_t row, const uint32_t* key) override {
    plan_.add(Plan::Columns::of(values), row, key);
  }
  Status finish() override { return plan_.finish(); }
  typename Plan::Params params() const override { return plan_.params(); }

 private:
  Plan plan_;
};

#define PYD_PLAN(name, Name, Plan)                 \
  const OpRules& name##_rules() {                  \
    static const OpRules rules = rules_of<Plan>(); \
    return rules;                                  \
  }                                                \
  std::unique_ptr<Items<Name##Params>> make_##name##_items() { return std::make_unique<ItemsOf<Plan>>(); }

// An op whose fields are its columns, of the same names, and `key` (uint32) where it draws random words.
template <>
struct ColumnOf<uint32_t> {};
template <typename T>
void read_field(ColumnOf<T>& column, const ColumnValues*& values) {
  column = {static_cast<const T*>(values->data), values->step};
  ++values;
}
inline void read_field(ColumnOf<uint32_t>&, const ColumnValues*&) {}
template <typename T>
void add_field(std::vector<T>& field, const ColumnOf<T>& column, int64_t row, const uint32_t*) {
  field.push_back(column[row]);
}
inline void add_field(std::vector<uint32_t>& field, const ColumnOf<uint32_t>&, int64_t, const uint32_t* key) {
  field.insert(field.end(), key, key + 4);
}

#define PYD_FIELD_COLUMN(T, name, count, doc) ColumnOf<std::remove_const_t<T>> name;
#define PYD_FIELD_READ_COLUMN(T, name, count, doc) read_field(columns.name, values);
#define PYD_FIELD_COLUMN_INFO(T, name, count, doc) \
  if (DtypeOf<T>::value != Dtype::kUint32) infos.push_back({#name, DtypeOf<T>::value});
#define PYD_FIELD_VECTOR(T, name, count, doc) std::vector<std::remove_const_t<T>> name;
#define PYD_FIELD_ADD(T, name, count, doc) add_field(name, columns.name, row, words);
#define PYD_FIELD_SPAN(T, name, count, doc) params.name = span_of(name);

#define PYD_FIELDS_ARE_COLUMNS(Name, FIELDS)                                                \
  struct Name##Columns {                                                                    \
    FIELDS(PYD_FIELD_COLUMN)                                                                \
    static Name##Columns of(const ColumnValues* values) {                                   \
      Name##Columns columns;                                                                \
      FIELDS(PYD_FIELD_READ_COLUMN)                                                         \
      return columns;                                                                       \
    }                                                                                       \
    static std::vector<ColumnInfo> info() {                                                 \
      std::vector<ColumnInfo> infos;                                                        \
      FIELDS(PYD_FIELD_COLUMN_INFO)                                                         \
      return infos;                                                                         \
    }                                                                                       \
  };                                                                                        \
  struct Name##Fields : KeepsSize {                                                         \
    using Columns = Name##Columns;                                                          \
    using Params = Name##Params;                                                            \
    FIELDS(PYD_FIELD_VECTOR)                                                                \
    int64_t items = 0;                                                                      \
    void add(const Columns& columns, int64_t row, [[maybe_unused]] const uint32_t* words) { \
      FIELDS(PYD_FIELD_ADD)                                                                 \
      ++items;                                                                              \
    }                                                                                       \
    Status finish() { return Status::kOk; }                                                 \
    Params params() const {                                                                 \
      Params params = {};                                                                   \
      params.items = items;                                                                 \
      FIELDS(PYD_FIELD_SPAN)                                                                \
      return params;                                                                        \
    }                                                                                       \
  };

}  // namespace pyd

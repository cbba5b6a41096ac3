// Python's side of functions.h: typed arrays and numbers become Args, the GIL is released, Status becomes an exception.
//
// Every function takes a dict of fields, named as in the structs. An array (NumPy) or tensor (torch, on the CPU) is taken
// as it is or refused in one line that names function and field: wrong dtype, strided, on another device, read-only where
// it is written, or not as many values as the items need. So nothing behind this file can touch memory that is not there.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "chain/plan.h"
#include "chain/steps.h"
#include "core/columns.h"
#include "core/draw.h"
#include "core/isa.h"
#include "core/pool.h"
#include "core/settle.h"
#include "cuda/record.h"
#include "functions.h"
#include "math/poisson.h"
#include "ops/blur/legal.h"
#include "ops/noise/matrix.h"
#include "ops/resize/size.h"

namespace py = pybind11;

namespace {

// ---- One field

[[noreturn]] void refuse(const std::string& line) { throw std::invalid_argument(line); }
[[noreturn]] void refuse_type(const std::string& line) { throw py::type_error(line); }

std::string text(const py::handle& object) { return py::cast<std::string>(py::str(object)); }

// A field of a call, for messages: put into words only when one is needed.
struct Where {
  const std::string* call;
  const char* field;
  std::string text() const { return *call + ": " + field; }
};
std::string operator+(const Where& where, const std::string& words) { return where.text() + words; }

// Attributes and dtypes of tensors, looked up once: this module is not linked with torch.
struct Torch {
  PyObject* is_cpu = PyUnicode_InternFromString("is_cpu");
  PyObject* is_contiguous = PyUnicode_InternFromString("is_contiguous");
  PyObject* data_ptr = PyUnicode_InternFromString("data_ptr");
  PyObject* numel = PyUnicode_InternFromString("numel");
  PyObject* dtype = PyUnicode_InternFromString("dtype");
  PyObject* dtypes[pyd::kDtypes];
  Torch() {
    const py::module_ torch = py::module_::import("torch");
    for (int i = 0; i < pyd::kDtypes; ++i) dtypes[i] = py::object(torch.attr(pyd::kDtypeNames[i])).release().ptr();
  }
  static const Torch& get() {
    static const Torch* const torch = new Torch();  // lives as long as the process
    return *torch;
  }
};
py::object checked(PyObject* found) {
  if (found == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(found);
}
py::object attribute(const py::handle& object, PyObject* name) { return checked(PyObject_GetAttr(object.ptr(), name)); }
py::object called(const py::handle& object, PyObject* name) {
  return checked(PyObject_CallMethodNoArgs(object.ptr(), name));
}

// Where the values of an array or tensor lie; `dtype` is the object that says what they are.
struct Memory {
  void* data;
  int64_t count;
  py::object dtype;
  bool is_tensor;
};

bool is_dtype(const Memory& memory, pyd::Dtype expected) {
  if (memory.is_tensor) return memory.dtype.ptr() == Torch::get().dtypes[static_cast<int>(expected)];
  // Not by name, which NumPy puts together anew every time.
  constexpr struct {
    char kind;
    int size;
  } kLayouts[] = {{'i', 4}, {'i', 8}, {'u', 4}, {'f', 4}, {'f', 8}, {'u', 1}, {'u', 2}, {'i', 1}, {'b', 1}};
  const auto dtype = py::reinterpret_borrow<py::dtype>(memory.dtype);
  const auto& layout = kLayouts[static_cast<int>(expected)];
  // The machine's order has two names: '=', and what `newbyteorder` gives.
  const uint16_t one = 1;
  const char machine = *reinterpret_cast<const uint8_t*>(&one) == 1 ? '<' : '>';
  const char order = dtype.byteorder();
  const bool native = order == '=' || order == '|' || order == machine;
  return dtype.kind() == layout.kind && dtype.itemsize() == layout.size && native;
}
std::string dtype_name(const Memory& memory) {
  const std::string name = text(memory.dtype);
  return memory.is_tensor ? name.substr(name.find('.') + 1) : name;
}

[[noreturn]] void refuse_kind(const Where& field, const py::handle& given) {
  refuse_type(field + " must be an array or a tensor, got " + Py_TYPE(given.ptr())->tp_name);
}

void check_device(const Where& field, const py::handle& tensor) {
  PyObject* const is_cpu = PyObject_GetAttr(tensor.ptr(), Torch::get().is_cpu);
  if (is_cpu == nullptr) {
    PyErr_Clear();
    refuse_kind(field, tensor);
  }
  const bool here = is_cpu == Py_True;
  Py_DECREF(is_cpu);
  if (!here) refuse(field + " must be on the CPU, got " + text(tensor.attr("device")));
}
Memory tensor_memory(const py::handle& tensor) {
  const Torch& torch = Torch::get();
  return {PyLong_AsVoidPtr(called(tensor, torch.data_ptr).ptr()), PyLong_AsLongLong(called(tensor, torch.numel).ptr()),
          attribute(tensor, torch.dtype), true};
}
Memory array_memory(const py::array& array) {
  return {const_cast<void*>(array.data()), static_cast<int64_t>(array.size()), array.dtype(), false};
}

// What an array or tensor is, after everything has been refused that holds for every field.
Memory memory_of(const Where& field, const py::handle& given, bool written) {
  if (py::isinstance<py::array>(given)) {
    const auto array = py::reinterpret_borrow<py::array>(given);
    if ((array.flags() & py::array::c_style) == 0) refuse(field + " must be contiguous, got a strided array");
    if (written && !array.writeable()) refuse(field + " must be writable, got a read-only array");
    return array_memory(array);
  }
  check_device(field, given);
  if (called(given, Torch::get().is_contiguous).ptr() != Py_True)
    refuse(field + " must be contiguous, got a strided tensor");
  return tensor_memory(given);
}

template <typename T>
pyd::Span<T> typed(const Where& field, const py::handle& given) {
  constexpr pyd::Dtype kDtype = pyd::DtypeOf<T>::value;
  const Memory memory = memory_of(field, given, !pyd::IsConst<T>::value);
  if (!is_dtype(memory, kDtype)) {
    refuse_type(field + " must be " + pyd::kDtypeNames[static_cast<int>(kDtype)] + ", got " + dtype_name(memory));
  }
  if (reinterpret_cast<uintptr_t>(memory.data) % alignof(T) != 0) refuse(field + " must be aligned, got an odd address");
  // Empty arrays may have no address; null means "left out".
  static std::remove_const_t<T> nothing{};
  return {memory.count == 0 ? &nothing : static_cast<T*>(memory.data), memory.count};
}

void check_count(const Where& field, int64_t expected, int64_t count) {
  if (count != expected) {
    refuse(field + " must have " + std::to_string(expected) + " values, got " + std::to_string(count));
  }
}
void check_room(const Where& field, int64_t least, int64_t count) {
  if (count < least) {
    refuse(field + " must have at least " + std::to_string(least) + " values, got " + std::to_string(count));
  }
}

// ---- All fields of a call

class Fields {
 public:
  Fields(std::string name, py::dict values) : name_(std::move(name)), values_(std::move(values)) {}

  const std::string& name() const { return name_; }
  Where line(const char* field) const { return {&name_, field}; }
  // None as well as absent is "left out".
  py::handle peek(const char* field) const {
    PyObject* const found = PyDict_GetItemString(values_.ptr(), field);
    return found == Py_None ? nullptr : found;
  }
  bool has(const char* field) const { return peek(field).ptr() != nullptr; }
  py::handle object(const char* field) const {
    const py::handle found = take(field);
    if (found.ptr() == nullptr) refuse(line(field) + " is missing");
    return found;
  }

  py::handle optional_object(const char* field) const { return take(field); }
  // Null where the field was left out.
  template <typename T>
  pyd::Span<T> optional(const char* field) const {
    const py::handle given = take(field);
    return given.ptr() == nullptr ? pyd::Span<T>{nullptr, 0} : typed<T>(line(field), given);
  }
  template <typename T>
  pyd::Span<T> values(const char* field) const {
    return typed<T>(line(field), object(field));
  }
  template <typename T>
  pyd::Span<T> exactly(const char* field, int64_t count) const {
    const pyd::Span<T> span = values<T>(field);
    check_count(line(field), count, span.count);
    return span;
  }
  template <typename T>
  T number(const char* field) const {
    const py::handle given = object(field);
    try {
      return given.cast<T>();
    } catch (const py::cast_error&) {
      refuse_type(line(field) + " must be a number that fits, got " + text(py::repr(given)));
    }
  }
  Fields nested(const char* field) const {
    const py::handle given = object(field);
    if (!py::isinstance<py::dict>(given)) refuse_type(line(field) + " must be a dict of fields");
    return Fields(field, py::reinterpret_borrow<py::dict>(given));
  }
  // To be called when everything has been read.
  void no_others() const {
    if (found_ == values_.size()) return;
    for (const auto& entry : values_) {
      const std::string field = text(entry.first);
      bool known = false;
      for (const char* taken : taken_) known = known || field == taken;
      if (!known) refuse(line(field.c_str()) + " is not a field");
    }
  }

 private:
  // Once per field.
  py::handle take(const char* field) const {
    taken_.push_back(field);
    PyObject* const found = PyDict_GetItemString(values_.ptr(), field);
    if (found != nullptr) ++found_;
    return found == Py_None ? nullptr : found;
  }

  std::string name_;
  py::dict values_;
  mutable std::vector<const char*> taken_;
  mutable size_t found_ = 0;
};

// Reads a struct of parameters (PYD_PARAMS). `items`: -1 where the arrays themselves say how many there are: as many as
// the longest has values for.
template <typename Params>
class ParamsReader {
 public:
  ParamsReader(const Fields& fields, int64_t items) : fields_(fields), items_(items) {
    if (items_ >= 0) return;
    items_ = 0;
    for (const pyd::FieldInfo& info : Params::kFields) {
      if (info.count.per_item == 0 || !fields_.has(info.name)) continue;
      const int64_t items = count_of(fields_.peek(info.name)) / info.count.per_item;
      items_ = items > items_ ? items : items_;
    }
  }

  int64_t items() const { return items_; }
  template <typename T>
  pyd::Span<T> span(const char* field, pyd::Count count) const {
    const pyd::Span<T> span = count.optional ? fields_.optional<T>(field) : fields_.values<T>(field);
    if (!span.given()) return span;
    if (count.per_item != 0) {
      check_count(fields_.line(field), items_ * count.per_item, span.count);
    } else {
      check_room(fields_.line(field), count.at_least, span.count);
    }
    return span;
  }

 private:
  static int64_t count_of(const py::handle& given) {
    if (py::isinstance<py::array>(given)) return py::reinterpret_borrow<py::array>(given).size();
    return py::hasattr(given, "numel") ? given.attr("numel")().cast<int64_t>() : 0;
  }

  const Fields& fields_;
  int64_t items_;
};

// ---- Packed batches

// Sizes and places of every row.
pyd::Rows read_rows(const Fields& call, const char* field) {
  const py::handle given = call.object(field);
  if (!py::isinstance<py::dict>(given)) refuse_type(call.line(field) + " must be a dict of fields");
  const Fields fields(call.line(field).text(), py::reinterpret_borrow<py::dict>(given));
  const auto count = fields.number<int64_t>("count"), channels = fields.number<int64_t>("channels");
  if (count < 0 || channels < 1) refuse(fields.name() + " must have count >= 0 and channels >= 1");
  const pyd::Rows rows = {count, channels, fields.exactly<const int64_t>("offset", count).data,
                          fields.exactly<const int32_t>("height", count).data,
                          fields.exactly<const int32_t>("width", count).data};
  fields.no_others();
  for (int64_t row = 0; row < count; ++row) {
    if (rows.offset[row] < 0 || rows.offset[row] > pyd::kMaxFloats || !is_size(row_size(rows, row))) {
      refuse(fields.name() +
             " must have offset >= 0, height and width >= 1 and sizes that memory can hold, not so in row " +
             std::to_string(row));
    }
  }
  return rows;
}

// Floats up to the end of the last row.
int64_t extent(const pyd::Rows& rows) {
  int64_t end = 0;
  for (int64_t row = 0; row < rows.count; ++row) {
    const int64_t here = rows.offset[row] + rows.channels * rows.height[row] * rows.width[row];
    end = here > end ? here : end;
  }
  return end;
}

template <typename T>
T* pixels(const Fields& call, const char* field, const pyd::Rows& rows) {
  const pyd::Span<T> span = call.values<T>(field);
  check_room(call.line(field), extent(rows), span.count);
  return span.data;
}

// Neither buffer may reach into the other, unless both are the same and that is allowed.
void check_overlap(const Fields& call, const char* field, const float* src, int64_t src_count, const float* dst,
                   int64_t dst_count, bool may_be_same) {
  if (src == dst && may_be_same) return;
  if (src < dst + dst_count && dst < src + src_count) refuse(call.line(field) + " must not overlap src");
}

template <typename Params>
pyd::Batch<Params> read_batch(const char* name, const py::dict& values, uint32_t traits, bool is_adjoint, bool has_pixels) {
  const Fields fields(name, values);
  pyd::Batch<Params> args = {};
  if ((traits & pyd::kChangesSize) != 0) {
    args.src_rows = read_rows(fields, "src_rows");
    args.dst_rows = read_rows(fields, "dst_rows");
    if (args.src_rows.count != args.dst_rows.count || args.src_rows.channels != args.dst_rows.channels) {
      refuse(fields.name() + ": dst_rows must have as many rows and channels as src_rows");
    }
  } else {
    args.src_rows = args.dst_rows = read_rows(fields, "rows");
  }
  if (has_pixels) {
    args.src = pixels<const float>(fields, "src", args.src_rows);
    args.dst = pixels<float>(fields, "dst", args.dst_rows);
    const int64_t src_count = extent(args.src_rows), dst_count = extent(args.dst_rows);
    const bool in_place = !is_adjoint && (traits & pyd::kInPlace) != 0;
    check_overlap(fields, "dst", args.src, src_count, args.dst, dst_count, in_place);
    if (is_adjoint && (traits & pyd::kNonlinear) != 0) {
      args.grad = pixels<const float>(fields, "grad", args.src_rows);
      check_overlap(fields, "dst", args.grad, src_count, args.dst, dst_count, false);
    }
  }
  args.params = Params::read(ParamsReader<Params>(fields, args.src_rows.count));
  fields.no_others();
  return args;
}

// ---- What came of a call

void raise(const char* name, pyd::Status status) {
  switch (status) {
    case pyd::Status::kOk: return;
    case pyd::Status::kOutOfMemory: throw std::bad_alloc();
    case pyd::Status::kTooLarge: refuse(std::string(name) + ": an image or the batch is too large for the CUDA kernels");
    default: refuse(std::string(name) + ": sizes or codes are out of range");
  }
}

// After kBadArgument: which item it was.
template <typename Params>
void explain(const char* name, const pyd::Batch<Params>& args, bool is_adjoint) {
  for (int64_t row = 0; row < args.src_rows.count; ++row) {
    const pyd::Size src = row_size(args.src_rows, row), dst = row_size(args.dst_rows, row);
    const char* const fault = fault_of(args.params, row, is_adjoint ? dst : src, is_adjoint ? src : dst);
    if (fault != nullptr) refuse(std::string(name) + ": " + fault + " is out of range in row " + std::to_string(row));
  }
}
void explain(const char* name, const pyd::ChainArgs& args, bool) {
  for (int64_t row = 0; row < args.src_rows.count; ++row) {
    const pyd::RowPlan::Fault fault = pyd::RowPlan(args, row, pyd::kLastInResult).fault();
    if (fault.reason == nullptr) continue;
    refuse(std::string(name) + ": " + (fault.op == nullptr ? "" : std::string(fault.op) + ": ") + fault.reason +
           " is out of range in row " + std::to_string(row) + ", step " +
           std::to_string(fault.step - args.step_start[row]));
  }
}
void explain(const char* name, const pyd::PsfArgs& args, bool) {
  for (int64_t item = 0; item < args.params.items; ++item) {
    const char* const fault = pyd::psf_fault(args.params, item);
    if (fault != nullptr) refuse(std::string(name) + ": " + fault + " is out of range in item " + std::to_string(item));
  }
}
template <typename Args>
void explain(const char*, const Args&, bool) {}

template <typename Args>
pyd::Status run_unlocked(pyd::Status (*function)(const Args&), const Args& args) {
  py::gil_scoped_release release;
  return function(args);
}

pyd::Status run_unlocked_program(const pyd::ChainArgs& args, pyd::Program& program) {
  py::gil_scoped_release release;
  return pyd::chain_cuda(args, program);
}

template <typename Args>
void run(const char* name, pyd::Status (*function)(const Args&), const Args& args, bool is_adjoint = false) {
  const pyd::Status status = run_unlocked(function, args);
  if (status == pyd::Status::kBadArgument) explain(name, args, is_adjoint);
  raise(name, status);
}

// The program of an op for the CUDA backend, as bytes.
template <typename Args>
py::bytes record(const char* name, pyd::Status (*function)(const Args&, pyd::Program&), const Args& args,
                 bool is_adjoint = false) {
  pyd::Program program;
  const pyd::Status status = function(args, program);
  if (status == pyd::Status::kBadArgument) explain(name, args, is_adjoint);
  raise(name, status);
  return py::bytes(reinterpret_cast<const char*>(program.bytes.data()), program.bytes.size());
}

// ---- Functions

// Where the pixels of a chain lie, once its rows are known.
void read_chain_pixels(const Fields& fields, pyd::ChainArgs& args) {
  const int64_t src_count = extent(args.src_rows), dst_count = extent(args.dst_rows);
  args.src = pixels<const float>(fields, "src", args.src_rows);
  args.dst = pixels<float>(fields, "dst", args.dst_rows);
  check_overlap(fields, "dst", args.src, src_count, args.dst, dst_count, false);
  if (fields.has("target")) {
    args.target = pixels<float>(fields, "target", args.src_rows);
    check_overlap(fields, "target", args.src, src_count, args.target, src_count, false);
    check_overlap(fields, "dst", args.target, src_count, args.dst, dst_count, false);
  } else {
    fields.optional<float>("target");  // None
  }
  args.check_range = fields.number<bool>("check_range") ? 1 : 0;
}
// Of a program whether there is a target is asked; where it lies is known when the program runs.
float* some_target(bool has_target) {
  static float somewhere = 0.0f;
  return has_target ? &somewhere : nullptr;
}

pyd::ChainArgs chain_args(const py::dict& values, bool has_pixels) {
  const Fields fields("chain", values);
  pyd::ChainArgs args = {};
  args.src_rows = read_rows(fields, "src_rows");
  args.dst_rows = read_rows(fields, "dst_rows");
  const int64_t count = args.src_rows.count;
  if (count != args.dst_rows.count || args.src_rows.channels != args.dst_rows.channels) {
    refuse("chain: dst_rows must have as many rows and channels as src_rows");
  }
  if (has_pixels) read_chain_pixels(fields, args);
  else args.target = some_target(fields.number<bool>("has_target"));
  args.target_step = fields.exactly<const int32_t>("target_step", count).data;
  args.step_start = fields.exactly<const int64_t>("step_start", count + 1).data;
  const pyd::Span<const int32_t> ops = fields.values<const int32_t>("step_op");
  for (int64_t row = 0; row <= count; ++row) {
    const int64_t before = row == 0 ? 0 : args.step_start[row - 1];
    if (args.step_start[row] < before || args.step_start[row] > ops.count) {
      refuse("chain: step_start must ascend from 0 to at most " + std::to_string(ops.count) + ", not so in row " +
             std::to_string(row));
    }
  }
  args.step_op = ops.data;
  args.step_item = fields.exactly<const int64_t>("step_item", ops.count).data;
  args.step_height = fields.exactly<const int32_t>("step_height", ops.count).data;
  args.step_width = fields.exactly<const int32_t>("step_width", ops.count).data;
  args.round_8bit = fields.number<bool>("round_8bit") ? 1 : 0;
  // Ops that no row uses are left out.
#define PYD_READ(name, Name, ...)                                                     \
  if (fields.has(#name)) {                                                            \
    const Fields nested = fields.nested(#name);                                       \
    args.name = pyd::Name##Params::read(ParamsReader<pyd::Name##Params>(nested, -1)); \
    nested.no_others();                                                               \
  }
  PYD_OPS(PYD_READ)
#undef PYD_READ
  fields.no_others();
  return args;
}

// False when a source pixel is NaN or outside [0, 1]; the caller then looks for it and explains.
bool run_chain(const pyd::ChainArgs& args) {
  const pyd::Status status = run_unlocked(pyd::chain_cpu, args);
  if (status == pyd::Status::kBadPixels) return false;
  if (status == pyd::Status::kBadArgument) explain("chain", args, false);
  raise("chain", status);
  return true;
}
bool chain(const py::dict& values) { return run_chain(chain_args(values, true)); }
py::bytes chain_program(const py::dict& values) { return record("chain", pyd::chain_cuda, chain_args(values, false)); }

// ---- Plans

// The slots of a space, made once for it: ops, columns by full name ("blur1.sigma_x_px"), and the value of a column that is
// not drawn.
struct SpaceSlots {
  struct Column {
    py::object name;
    std::string text;
    pyd::Dtype dtype;
    union {
      int32_t whole;
      float real;
    } neutral;
  };
  std::vector<pyd::Slot> slots;
  std::vector<std::vector<Column>> columns;
  std::vector<size_t> others;  // slots of ops that are not of this module
  int64_t scale, target;

  // slots: (code or None, hash of the name, whether another op changes sizes, [(full name, neutral value)]).
  SpaceSlots(const py::list& given, int64_t scale, int64_t target) : scale(scale), target(target) {
    const int64_t count = static_cast<int64_t>(given.size());
    if (scale < 1 || target < -1 || target >= count || count > 127) refuse("slots: scale or target is out of range");
    for (const py::handle& entry : given) {
      const auto slot = py::cast<py::tuple>(entry);
      const auto names = py::cast<py::list>(slot[3]);
      columns.emplace_back();
      if (slot[0].is_none()) {
        slots.push_back({-1 - static_cast<int32_t>(others.size()), slot[1].cast<uint32_t>(), slot[2].cast<bool>()});
        others.push_back(slots.size() - 1);
        continue;
      }
      const auto op = slot[0].cast<int32_t>();
      if (op < 0 || op >= pyd::kOpCount) refuse("slots: no op has the code " + std::to_string(op));
      slots.push_back({op, slot[1].cast<uint32_t>(), false});
      const std::vector<pyd::ColumnInfo>& info = pyd::op_rules(op).info;
      if (names.size() != info.size()) refuse("slots: wrong number of columns of op " + std::string(pyd::kOps[op].name));
      for (size_t i = 0; i < info.size(); ++i) {
        const auto pair = py::cast<py::tuple>(names[i]);
        Column column = {pair[0], text(pair[0]), info[i].dtype, {}};
        if (info[i].dtype == pyd::Dtype::kInt32) column.neutral.whole = pair[1].cast<int32_t>();
        else column.neutral.real = pair[1].cast<float>();
        columns.back().push_back(std::move(column));
      }
    }
  }
};

// Columns in one block of memory: where each lies, by full name a pair (row of the block, whether it is float32), and the
// block.
struct ColumnBlock {
  py::dict places;
  pyd::Span<const int32_t> words;

  // Values of a column for all rows, or the neutral one.
  pyd::ColumnValues values(const SpaceSlots::Column& column, int64_t count) const {
    const py::handle found = PyDict_GetItemWithError(places.ptr(), column.name.ptr());
    if (found.ptr() == nullptr) return {&column.neutral, 0};
    const auto place = py::cast<py::tuple>(found);
    const auto row = place[0].cast<int64_t>();
    if (place[1].cast<bool>() != (column.dtype == pyd::Dtype::kFloat32))
      refuse("plan: " + column.text + " has another dtype");
    if (row < 0 || count < 0 || (count > 0 && row >= words.count / count)) refuse("plan: " + column.text + " lies outside");
    return {words.data + row * count, 1};
  }
};

// The same from an array of its own.
pyd::ColumnValues column_values(const py::dict& given, const SpaceSlots::Column& column, int64_t count) {
  const py::handle found = PyDict_GetItemWithError(given.ptr(), column.name.ptr());
  if (found.ptr() == nullptr) return {&column.neutral, 0};
  static const std::string kCall = "columns";
  const Where where = {&kCall, column.text.c_str()};
  const auto read = [&](auto span) -> pyd::ColumnValues {
    check_count(where, count, span.count);
    return {span.data, 1};
  };
  return column.dtype == pyd::Dtype::kInt32 ? read(typed<const int32_t>(where, found))
                                            : read(typed<const float>(where, found));
}

// Asks Python for sizes: sizes(slot, rows, height, width, last_height, last_width) -> (height, width, idles), [N] each.
class AskedSizes : public pyd::OtherSizes {
 public:
  explicit AskedSizes(py::object function) : function_(std::move(function)) {}
  void after(int64_t slot, const std::vector<int64_t>& rows, std::vector<int64_t>& height, std::vector<int64_t>& width,
             const std::vector<int64_t>& last_height, const std::vector<int64_t>& last_width,
             std::vector<bool>& idles) override {
    py::gil_scoped_acquire acquire;
    if (function_.ptr() == nullptr) refuse("plan: sizes is missing");
    const py::tuple sizes =
        function_(slot, array(rows), array(height), array(width), array(last_height), array(last_width));
    height = sizes[0].cast<std::vector<int64_t>>();
    width = sizes[1].cast<std::vector<int64_t>>();
    idles = sizes[2].cast<std::vector<bool>>();
    if (height.size() != rows.size() || width.size() != rows.size() || idles.size() != rows.size()) {
      refuse("plan: sizes must answer for every row");
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      if (height[i] < 1 || width[i] < 1 || height[i] > INT32_MAX || width[i] > INT32_MAX) {
        refuse("plan: sizes must be at least 1");
      }
    }
  }

 private:
  static py::array_t<int64_t> array(const std::vector<int64_t>& values) {
    return py::array_t<int64_t>(static_cast<py::ssize_t>(values.size()), values.data());
  }
  py::object function_;
};

// Tasks planned for images: all that a chain needs beside the pixels.
std::unique_ptr<pyd::Steps> plan(const py::dict& values) {
  const Fields fields("plan", values);
  const py::handle slots = fields.object("slots");
  if (!py::isinstance<SpaceSlots>(slots)) refuse_type(fields.line("slots") + " must be Slots");
  const auto& space = slots.cast<const SpaceSlots&>();
  pyd::TaskArgs args = {};
  args.src_rows = read_rows(fields, "src_rows");
  const int64_t count = args.src_rows.count;
  args.scale = space.scale;
  args.target = space.target;
  args.slots = &space.slots;
  args.places = static_cast<int64_t>(space.slots.size());
  const auto program = fields.exactly<const int8_t>("program", args.places * count);
  args.program = program.data;
  for (int64_t i = 0; i < program.count; ++i) {
    if (program[i] < -1 || program[i] >= static_cast<int64_t>(space.slots.size())) {
      refuse(fields.line("program") + " must hold numbers of slots or -1, got " + std::to_string(program[i]));
    }
  }
  args.seed = fields.exactly<const int64_t>("seed", count).data;
  args.index = fields.exactly<const int64_t>("index", count).data;
  args.noise_index = fields.exactly<const int64_t>("noise_index", count).data;
  const auto columns = py::reinterpret_borrow<py::object>(fields.object("columns"));
  if (!py::isinstance<py::dict>(columns)) refuse_type(fields.line("columns") + " must be a dict");
  const py::handle words = fields.optional_object("words");
  const bool in_block = words.ptr() != nullptr;
  ColumnBlock block = {py::reinterpret_borrow<py::dict>(columns), {nullptr, 0}};
  if (in_block) block.words = typed<const int32_t>(fields.line("words"), words);
  args.columns.resize(space.slots.size());
  args.neutral.resize(space.slots.size());
  for (size_t slot = 0; slot < space.slots.size(); ++slot) {
    args.columns[slot].reserve(space.columns[slot].size());
    for (const SpaceSlots::Column& column : space.columns[slot]) {
      args.columns[slot].push_back(in_block ? block.values(column, count) : column_values(block.places, column, count));
    }
  }
  const auto neutral = py::reinterpret_borrow<py::object>(fields.object("neutral"));
  if (!py::isinstance<py::list>(neutral) || py::len(neutral) != space.others.size()) {
    refuse_type(fields.line("neutral") + " must be a list, an array for every slot whose op is in plain torch");
  }
  for (size_t i = 0; i < space.others.size(); ++i) {
    const pyd::Span<const bool> span = typed<const bool>(fields.line("neutral"), py::list(neutral)[i]);
    check_count(fields.line("neutral"), count, span.count);
    args.neutral[space.others[i]] = span.data;
  }
  AskedSizes sizes(py::reinterpret_borrow<py::object>(fields.optional_object("sizes")));
  fields.no_others();
  auto steps = std::make_unique<pyd::Steps>();
  pyd::Status status;
  {
    py::gil_scoped_release release;
    status = steps->plan(args, sizes);
  }
  raise("plan", status);
  return steps;
}

bool run_steps(const pyd::Steps& steps, const py::dict& values) {
  const Fields fields("chain", values);
  pyd::ChainArgs args = steps.args();
  read_chain_pixels(fields, args);
  fields.no_others();
  return run_chain(args);
}
py::array steps_program(const pyd::Steps& steps, bool has_target) {
  pyd::ChainArgs args = steps.args();
  args.target = some_target(has_target);
  pyd::Program program;
  const pyd::Status status = run_unlocked_program(args, program);
  if (status == pyd::Status::kBadArgument) explain("chain", args, false);
  raise("chain", status);
  // Not copied: it is copied once more, to where its device finds it.
  auto bytes = std::make_unique<std::vector<uint8_t>>(std::move(program.bytes));
  const auto size = static_cast<py::ssize_t>(bytes->size());
  const uint8_t* const data = bytes->data();
  const py::capsule owner(bytes.release(), [](void* held) { delete static_cast<std::vector<uint8_t>*>(held); });
  return py::array_t<uint8_t>(size, data, owner);
}

template <typename T>
py::array view(const py::object& owner, const T* data, int64_t count) {
  py::array_t<std::remove_const_t<T>> array(static_cast<py::ssize_t>(count), data, owner);
  array.attr("flags").attr("writeable") = false;
  return array;
}
py::dict rows_view(const py::object& owner, const pyd::Rows& rows) {
  py::dict fields;
  fields["count"] = rows.count;
  fields["channels"] = rows.channels;
  fields["offset"] = view(owner, rows.offset, rows.count);
  fields["height"] = view(owner, rows.height, rows.count);
  fields["width"] = view(owner, rows.width, rows.count);
  return fields;
}
// What `chain` takes beside the pixels, as views; `step_slot` and `key` beside it.
py::dict steps_fields(const py::object& owner) {
  const auto& steps = owner.cast<const pyd::Steps&>();
  const pyd::ChainArgs& args = steps.args();
  const int64_t count = args.src_rows.count;
  py::dict fields;
  fields["src_rows"] = rows_view(owner, args.src_rows);
  fields["dst_rows"] = rows_view(owner, args.dst_rows);
  fields["target_step"] = view(owner, args.target_step, count);
  fields["step_start"] = view(owner, args.step_start, count + 1);
  fields["step_op"] = view(owner, args.step_op, steps.steps());
  fields["step_item"] = view(owner, args.step_item, steps.steps());
  fields["step_height"] = view(owner, args.step_height, steps.steps());
  fields["step_width"] = view(owner, args.step_width, steps.steps());
  fields["round_8bit"] = args.round_8bit != 0;
#define PYD_VIEW(name, Name, ...)                                                                             \
  if (args.name.items > 0) {                                                                                  \
    py::dict params;                                                                                          \
    args.name.visit([&](const char* field, pyd::Count, const auto& span) {                                    \
      params[field] = span.given() ? py::object(view(owner, span.data, span.count)) : py::object(py::none()); \
    });                                                                                                       \
    fields[#name] = params;                                                                                   \
  }
  PYD_OPS(PYD_VIEW)
#undef PYD_VIEW
  return fields;
}
py::object steps_fault(const pyd::Steps& steps) {
  const pyd::Steps::Fault& fault = steps.fault();
  if (fault.reason == pyd::Steps::kFits) return py::none();
  constexpr const char* kReasons[] = {"", "multiple", "end", "too large"};
  return py::make_tuple(kReasons[fault.reason], fault.row, fault.height, fault.width);
}

// The rules of one op and its columns [N] by short name, for tasks that are looked at without images.
struct OpColumns {
  const pyd::OpRules& rules;
  int64_t count;
  std::vector<pyd::ColumnValues> columns;
};
OpColumns op_columns(const char* function, const Fields& fields) {
  const auto op = fields.number<int32_t>("op");
  const auto count = fields.number<int64_t>("count");
  if (op < 0 || op >= pyd::kOpCount || count < 0) refuse(std::string(function) + ": op or count is out of range");
  OpColumns found = {pyd::op_rules(op), count, {}};
  for (const pyd::ColumnInfo& info : found.rules.info) {
    const void* const data = info.dtype == pyd::Dtype::kInt32
                                 ? static_cast<const void*>(fields.exactly<const int32_t>(info.name, count).data)
                                 : fields.exactly<const float>(info.name, count).data;
    found.columns.push_back({data, 1});
  }
  return found;
}

// Where an op does nothing.
py::array_t<bool> neutral(const py::dict& values) {
  const Fields fields("neutral", values);
  const OpColumns asked = op_columns("neutral", fields);
  fields.no_others();
  py::array_t<bool> out(static_cast<py::ssize_t>(asked.count));
  bool* const to = out.mutable_data();
  for (int64_t row = 0; row < asked.count; ++row) to[row] = asked.rules.is_neutral(asked.columns.data(), row);
  return out;
}

// Height and width after an op, of what they are before it and at the end.
py::tuple out_size(const py::dict& values) {
  const Fields fields("out_size", values);
  const OpColumns asked = op_columns("out_size", fields);
  const auto side = [&](const char* name) { return fields.exactly<const int32_t>(name, asked.count).data; };
  const int32_t *height = side("height"), *width = side("width");
  const int32_t *final_height = side("final_height"), *final_width = side("final_width");
  fields.no_others();
  if (asked.rules.size_after == nullptr) refuse("out_size: this op keeps the size");
  py::array_t<int64_t> out_height(static_cast<py::ssize_t>(asked.count)), out_width(static_cast<py::ssize_t>(asked.count));
  int64_t *const to_height = out_height.mutable_data(), *const to_width = out_width.mutable_data();
  for (int64_t row = 0; row < asked.count; ++row) {
    const pyd::Size after = asked.rules.size_after(asked.columns.data(), row, {3, height[row], width[row]},
                                                   {3, final_height[row], final_width[row]});
    to_height[row] = after.height, to_width[row] = after.width;
  }
  return py::make_tuple(out_height, out_width);
}

// What factors make of sides [N]: sides after the resize, and scales for coordinates (0: the ratio of the sizes).
void resize_factors(const py::dict& values) {
  const Fields f("resize_factors", values);
  const auto mode = f.values<const int32_t>("mode");
  const auto factor = f.exactly<const double>("factor", mode.count);
  const auto height = f.exactly<int64_t>("height", mode.count), width = f.exactly<int64_t>("width", mode.count);
  const auto scale = f.exactly<double>("scale", mode.count);
  f.no_others();
  for (int64_t i = 0; i < mode.count; ++i) {
    if (mode[i] < 0 || mode[i] >= pyd::kResizeModes) refuse(f.line("mode") + " is out of range");
    if (!(factor[i] > 0.0 && factor[i] < 1e6)) refuse(f.line("factor") + " is out of range");
    height[i] = pyd::scaled_side(height[i], factor[i], pyd::rounds_up(mode[i]));
    width[i] = pyd::scaled_side(width[i], factor[i], pyd::rounds_up(mode[i]));
    scale[i] = pyd::coordinate_scale(mode[i], factor[i]);
  }
}

void psf(const py::dict& values) {
  const Fields fields("psf", values);
  const pyd::PsfArgs args = {pyd::PsfParams::read(ParamsReader<pyd::PsfParams>(fields, -1)), fields.number<double>("trim")};
  fields.no_others();
  run("psf", pyd::psf_cpu, args);
}

// The pixels of imresize: rows may lie apart or run backwards, so that what counts is how far the samples reach.
struct Samples {
  Memory memory;
  int64_t low = 0, high = 0;  // least and greatest place of a sample, counted from the first one
  void add_axis(int64_t side, int64_t stride) { (stride < 0 ? low : high) += (side - 1) * stride; }
};
Samples samples_of(const Where& field, const py::handle& given, bool written) {
  Samples samples;
  if (py::isinstance<py::array>(given)) {
    const auto array = py::reinterpret_borrow<py::array>(given);
    if (written && !array.writeable()) refuse(field + " must be writable, got a read-only array");
    samples.memory = array_memory(array);
    for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
      samples.add_axis(array.shape(axis), array.strides(axis) / array.itemsize());
    }
    return samples;
  }
  check_device(field, given);
  samples.memory = tensor_memory(given);
  const py::tuple shape = given.attr("shape"), strides = given.attr("stride")();
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    samples.add_axis(shape[axis].cast<int64_t>(), strides[axis].cast<int64_t>());
  }
  return samples;
}

pyd::ImresizeArgs imresize_args(const char* name, const py::dict& values) {
  const Fields f(name, values);
  pyd::ImresizeArgs args = {};
  args.mode = f.number<int32_t>("mode");
  args.antialias = f.number<bool>("antialias");
  args.replicate = f.number<bool>("replicate");
  args.im2double = f.number<bool>("im2double");
  args.planes = f.number<int64_t>("planes");
  args.channels = f.number<int64_t>("channels");
  args.src_height = f.number<int64_t>("src_height");
  args.src_width = f.number<int64_t>("src_width");
  args.src_row_stride = f.number<int64_t>("src_row_stride");
  args.src_plane_stride = f.number<int64_t>("src_plane_stride");
  args.dst_height = f.number<int64_t>("dst_height");
  args.dst_width = f.number<int64_t>("dst_width");
  args.scale_y = f.number<double>("scale_y");
  args.scale_x = f.number<double>("scale_x");
  const Samples src = samples_of(f.line("src"), f.object("src"), false);
  const Samples dst = samples_of(f.line("dst"), f.object("dst"), true);
  f.no_others();
  constexpr pyd::Dtype kTypes[] = {pyd::Dtype::kUint8, pyd::Dtype::kUint16, pyd::Dtype::kFloat32, pyd::Dtype::kFloat64};
  args.type = 0;
  while (args.type < 4 && !is_dtype(src.memory, kTypes[args.type])) ++args.type;
  if (args.type == 4)
    refuse_type(f.line("src") + " must be uint8, uint16, float32 or float64, got " + dtype_name(src.memory));
  if (!is_dtype(dst.memory, kTypes[args.type])) {
    refuse_type(f.line("dst") + " must be " + dtype_name(src.memory) + ", got " + dtype_name(dst.memory));
  }
  constexpr int64_t kMost = int64_t{1} << 30;
  if (args.planes < 0) refuse(f.line("planes") + " must be >= 0");
  for (const int64_t number : {args.channels, args.src_height, args.src_width, args.dst_height, args.dst_width}) {
    if (number < 1 || number > kMost) refuse(f.name() + ": sizes must be in [1, 2^30], got " + std::to_string(number));
  }
  using Wide = __int128;
  Wide low = 0, high = Wide{args.src_width} * args.channels - 1;
  (args.src_row_stride < 0 ? low : high) += Wide{args.src_height - 1} * args.src_row_stride;
  (args.src_plane_stride < 0 ? low : high) += Wide{args.planes - 1} * args.src_plane_stride;
  if (args.planes > 0 && (src.memory.count == 0 || low < src.low || high > src.high)) {
    refuse(f.line("src") + " must hold the samples of all planes and rows");
  }
  const Wide results = Wide{args.planes} * args.dst_height * args.dst_width * args.channels;
  if (results != 0 && (dst.low != 0 || dst.memory.count != dst.high + 1))
    refuse(f.line("dst") + " must be dense, got memory with gaps");
  if (results != dst.memory.count) {
    refuse(f.line("dst") + " must have " + std::to_string(static_cast<int64_t>(results)) + " values, got " +
           std::to_string(dst.memory.count));
  }
  args.src = src.memory.data;
  args.dst = dst.memory.data;
  return args;
}
void imresize(const py::dict& values) { run("imresize", pyd::imresize_cpu, imresize_args("imresize", values)); }
void imresize_adjoint(const py::dict& values) {
  run("imresize_adjoint", pyd::imresize_adjoint_cpu, imresize_args("imresize_adjoint", values));
}
void imresize_taps(const py::dict& values) {
  const Fields f("imresize_taps", values);
  const pyd::ImresizeTapsArgs args = {f.number<int32_t>("mode"),  f.number<bool>("antialias"), f.number<bool>("replicate"),
                                      f.number<int64_t>("in_px"), f.number<int64_t>("out_px"), f.number<double>("scale"),
                                      f.values<int32_t>("start"), f.values<int32_t>("index"),  f.values<double>("weight")};
  f.no_others();
  run("imresize_taps", pyd::imresize_taps_cpu, args);
}

// Pixels and channels of an image, and how many values they are.
struct PixelCounts {
  int64_t pixels, channels, values;
};
PixelCounts pixel_counts(const Fields& f) {
  const auto pixels = f.number<int64_t>("pixels"), channels = f.number<int64_t>("channels");
  if (pixels < 0 || pixels > int64_t{1} << 40) refuse(f.line("pixels") + " must be in [0, 2^40]");
  if (channels < 1 || channels > 4) refuse(f.line("channels") + " must be in [1, 4]");
  return {pixels, channels, pixels * channels};
}
void planes_of_bytes(const py::dict& values) {
  const Fields f("planes_of_bytes", values);
  const PixelCounts counts = pixel_counts(f);
  const pyd::PlanesOfBytesArgs args = {counts.pixels, counts.channels,
                                       f.exactly<const uint8_t>("bytes", counts.values).data,
                                       f.exactly<float>("planes", counts.values).data};
  f.no_others();
  run("planes_of_bytes", pyd::planes_of_bytes_cpu, args);
}
// False where a value is NaN or infinite.
bool bytes_of_planes(const py::dict& values) {
  const Fields f("bytes_of_planes", values);
  const PixelCounts counts = pixel_counts(f);
  const pyd::BytesOfPlanesArgs args = {counts.pixels, counts.channels, f.exactly<const float>("planes", counts.values).data,
                                       f.exactly<uint8_t>("bytes", counts.values).data};
  f.no_others();
  return run_unlocked(pyd::bytes_of_planes_cpu, args) == pyd::Status::kOk;
}

int64_t side(const Fields& f, const char* name) {
  const auto px = f.number<int64_t>(name);
  if (px < 0 || px > int64_t{1} << 20) refuse(f.line(name) + " must be in [0, 2^20]");
  return px;
}
// Sides of an image and of the planes of a codec that hold it, and how many bytes those are.
struct YuvSides {
  int64_t height, width, yuv_height, yuv_width, values;
};
YuvSides yuv_sides(const Fields& f) {
  YuvSides made = {side(f, "height"), side(f, "width"), side(f, "yuv_height"), side(f, "yuv_width"), 0};
  for (const char* name : {"height", "width"}) {
    if (f.number<int64_t>(name) < 1) refuse(f.line(name) + " must be at least 1");
  }
  if (made.yuv_height % 2 != 0 || made.yuv_height < made.height)
    refuse(f.line("yuv_height") + " must be even and hold height");
  if (made.yuv_width % 2 != 0 || made.yuv_width < made.width) refuse(f.line("yuv_width") + " must be even and hold width");
  made.values = made.yuv_height * made.yuv_width / 2 * 3;
  return made;
}
void yuv_of_planes(const py::dict& values) {
  const Fields f("yuv_of_planes", values);
  const YuvSides sides = yuv_sides(f);
  const pyd::YuvOfPlanesArgs args = {sides.height,
                                     sides.width,
                                     sides.yuv_height,
                                     sides.yuv_width,
                                     f.exactly<const float>("planes", 3 * sides.height * sides.width).data,
                                     f.exactly<uint8_t>("yuv", sides.values).data};
  f.no_others();
  run("yuv_of_planes", pyd::yuv_of_planes_cpu, args);
}
void planes_of_yuv(const py::dict& values) {
  const Fields f("planes_of_yuv", values);
  const YuvSides sides = yuv_sides(f);
  const pyd::PlanesOfYuvArgs args = {sides.height,
                                     sides.width,
                                     sides.yuv_height,
                                     sides.yuv_width,
                                     f.exactly<const uint8_t>("yuv", sides.values).data,
                                     f.exactly<float>("planes", 3 * sides.height * sides.width).data};
  f.no_others();
  run("planes_of_yuv", pyd::planes_of_yuv_cpu, args);
}
void diffuse(const py::dict& values) {
  const Fields f("diffuse", values);
  const int64_t channels = side(f, "channels"), height = side(f, "height"), width = side(f, "width");
  const int64_t count = channels * height * width;
  const pyd::DiffuseArgs args = {channels,
                                 height,
                                 width,
                                 f.number<int32_t>("diffusion"),
                                 f.number<float>("top"),
                                 f.exactly<const float>("src", count).data,
                                 f.exactly<float>("dst", count).data};
  if (args.diffusion < 0 || args.diffusion >= pyd::kDiffusions) refuse(f.line("diffusion") + " is unknown");
  if (!(args.top >= 1 && args.top <= 255)) refuse(f.line("top") + " must be in [1, 255]");
  f.no_others();
  run("diffuse", pyd::diffuse_cpu, args);
}
void median(const py::dict& values) {
  const Fields f("median", values);
  const int64_t planes = side(f, "planes"), height = side(f, "height"), width = side(f, "width");
  const int64_t count = planes * height * width;
  const pyd::MedianArgs args = {planes,
                                height,
                                width,
                                f.number<int64_t>("size"),
                                f.exactly<const float>("src", count).data,
                                f.exactly<float>("dst", count).data};
  if (args.size % 2 == 0 || args.size < 3 || args.size > pyd::kMostMedianPx) {
    refuse(f.line("size") + " must be odd, 3 to " + std::to_string(pyd::kMostMedianPx));
  }
  f.no_others();
  run("median", pyd::median_cpu, args);
}

void philox_uniform(const py::dict& values) {
  const Fields f("philox_uniform", values);
  const auto seed_lo = f.number<uint32_t>("seed_lo"), seed_hi = f.number<uint32_t>("seed_hi");
  const auto indices = f.values<const int64_t>("indices");
  const auto hash = f.values<const uint32_t>("hash");
  const auto draw = f.exactly<const uint32_t>("draw", hash.count);
  const auto out = f.exactly<double>("out", indices.count * hash.count);
  f.no_others();
  py::gil_scoped_release release;
  pyd::philox_uniform(seed_lo, seed_hi, indices.data, indices.count, hash.data, draw.data, hash.count, out.data);
}
void draw_columns(const py::dict& values) {
  const Fields f("draw_columns", values);
  pyd::DrawColumnsArgs args = {};
  args.seed_lo = f.number<uint32_t>("seed_lo");
  args.seed_hi = f.number<uint32_t>("seed_hi");
  args.indices = f.values<const int64_t>("indices");
  args.hash = f.values<const uint32_t>("hash");
  args.draw = f.exactly<const uint32_t>("draw", args.hash.count);
  args.nodes = f.values<const int32_t>("nodes");
  args.children = f.values<const int32_t>("children");
  args.numbers = f.values<const double>("numbers");
  args.columns = f.values<const int32_t>("columns");
  args.rows = f.number<int64_t>("rows");
  args.words = f.values<int32_t>("words");
  args.order = f.values<const int32_t>("order");
  args.program = f.values<uint8_t>("program");
  f.no_others();
  const char* const fault = pyd::fault_of(args);
  if (fault != nullptr) refuse(std::string("draw_columns: ") + fault);
  raise("draw_columns", run_unlocked(pyd::draw_columns, args));
}
void settle_columns(const py::dict& values) {
  const Fields f("settle_columns", values);
  pyd::SettleColumnsArgs args = {};
  args.rows = f.number<int64_t>("rows");
  args.gate_rows = f.number<int64_t>("gate_rows");
  args.slot_count = f.number<int64_t>("slot_count");
  args.neutral = f.values<const int32_t>("neutral");
  args.component = f.values<const int32_t>("component");
  args.gates = f.values<const int32_t>("gates");
  args.slots = f.values<const int32_t>("slots");
  args.effects = f.values<const uint8_t>("effects");
  args.words = f.values<int32_t>("words");
  args.program = f.values<uint8_t>("program");
  f.no_others();
  const char* const fault = pyd::fault_of(args);
  if (fault != nullptr) refuse(std::string("settle_columns: ") + fault);
  if (run_unlocked(pyd::settle_columns, args) != pyd::Status::kOk) {
    refuse("settle_columns: a choice has a code that it does not know");
  }
}
void philox_words(const py::dict& values) {
  const Fields f("philox_words", values);
  const auto key = f.values<const uint32_t>("key");
  const int64_t count = key.count / 2;
  const auto counter = f.exactly<const uint32_t>("counter", 4 * count);
  const auto out = f.exactly<uint32_t>("out", 4 * count);
  f.no_others();
  pyd::philox_words(count, key.data, counter.data, out.data);
}
void noise_matrix(const py::dict& values) {
  const Fields f("noise_matrix", values);
  const auto covariance = f.values<const double>("covariance_8bit2");
  const int64_t count = covariance.count / 6;
  const auto out = f.exactly<float>("out", 9 * count);
  f.no_others();
  for (int64_t i = 0; i < count; ++i) pyd::noise_matrix(covariance.data + 6 * i, out.data + 9 * i);
}
void poisson_tables(const py::dict& values) {
  const Fields f("poisson_tables", values);
  const auto out = f.exactly<uint32_t>("out", kPoissonWords);
  f.no_others();
  memcpy(out.data, pyd::shared_poisson_tables(), sizeof(uint32_t) * kPoissonWords);
}

// ---- What Python needs to know

// Of a struct of parameters: (name, dtype, written, values per item, least number of values, may be left out, what it is).
template <typename Params>
py::tuple description() {
  py::list fields;
  for (const pyd::FieldInfo& info : Params::kFields) {
    fields.append(py::make_tuple(info.name, pyd::kDtypeNames[static_cast<int>(info.dtype)], info.written,
                                 info.count.per_item, info.count.at_least, info.count.optional, info.doc));
  }
  return py::tuple(fields);
}

}  // namespace

PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  m.doc() = "CPU kernels of pydegrade; every function takes a dict of typed arrays and numbers named as in functions.h";
  m.def("isa_name", [] { return pyd::isa_name(pyd::isa_level()); });
  // What a processor with these words of cpuid and xgetbv would run, and what it lacks for v2.
  m.def("isa_of", [](uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t extended_ecx, uint32_t xcr0) {
    return pyd::isa_name(pyd::level_of({leaf1_ecx, leaf7_ebx, extended_ecx, xcr0}));
  });
  m.def("isa_lacks", [](uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t extended_ecx, uint32_t xcr0) {
    return pyd::missing_features({leaf1_ecx, leaf7_ebx, extended_ecx, xcr0}, pyd::kIsaV2);
  });
  m.def("cpu_words", [] {
    const pyd::CpuWords words = pyd::cpu_words();
    return py::make_tuple(words.leaf1_ecx, words.leaf7_ebx, words.extended_ecx, words.xcr0);
  });
  m.def("isa_request_honoured", &pyd::isa_request_honoured);
  m.def("set_num_threads", &pyd::set_num_threads);
  m.def("num_threads", &pyd::num_threads);

  py::dict ops, fields;
#define PYD_DEFINE_AS(function, name, Name, is_adjoint)                                                        \
  m.def(#function, [](const py::dict& values) {                                                                \
    const auto args =                                                                                          \
        read_batch<pyd::Name##Params>(#function, values, pyd::kOps[pyd::kOp##Name].traits, is_adjoint, true);  \
    run(#function, pyd::function##_cpu, args, is_adjoint);                                                     \
  });                                                                                                          \
  m.def(#function "_program", [](const py::dict& values) {                                                     \
    const auto args =                                                                                          \
        read_batch<pyd::Name##Params>(#function, values, pyd::kOps[pyd::kOp##Name].traits, is_adjoint, false); \
    return record(#function, pyd::function##_cuda, args, is_adjoint);                                          \
  });
#define PYD_DEFINE(name, Name, code, adjoint, traits)              \
  PYD_DEFINE_AS(name, name, Name, false)                           \
  PYD_IF(adjoint, PYD_DEFINE_AS(name##_adjoint, name, Name, true)) \
  ops[#name] = py::int_(code);                                     \
  fields[#name] = description<pyd::Name##Params>();
  PYD_OPS(PYD_DEFINE)
#undef PYD_DEFINE
  fields["psf"] = description<pyd::PsfParams>();
  m.attr("OPS") = ops;
  py::dict limits;
  limits["blur_size_px"] = pyd::kMaxBlurSizePx;
  limits["random_height_px"] = pyd::kMaxCounterHeight;
  limits["random_width_px"] = pyd::kMaxCounterWidth;
  m.attr("LIMITS") = limits;
  py::list modes;
#define PYD_MODE(name, ...) modes.append(#name);
  PYD_RESIZE_MODES(PYD_MODE)
#undef PYD_MODE
  m.attr("RESIZE_MODES") = py::tuple(modes);
  m.attr("FIELDS") = fields;

  py::dict columns;
  py::list resizing;
  for (int32_t op = 0; op < pyd::kOpCount; ++op) {
    py::list named;
    for (const pyd::ColumnInfo& info : pyd::op_rules(op).info) {
      named.append(py::make_tuple(info.name, pyd::kDtypeNames[static_cast<int>(info.dtype)]));
    }
    columns[pyd::kOps[op].name] = py::tuple(named);
    if (pyd::op_rules(op).size_after != nullptr) resizing.append(pyd::kOps[op].name);
  }
  m.attr("COLUMNS") = columns;
  m.attr("RESIZING") = py::tuple(resizing);
  m.attr("PSF_TRIM") = pyd::kPsfTrim;

  py::class_<SpaceSlots>(m, "Slots").def(py::init<py::list, int64_t, int64_t>());
  py::class_<pyd::Steps>(m, "Steps")
      .def("run", &run_steps)
      .def("program", &steps_program)
      .def("fields", [](const py::object& self) { return steps_fields(self); })
      .def_property_readonly("fault", &steps_fault)
      .def_property_readonly("has_target", &pyd::Steps::has_target)
      .def_property_readonly("dst_floats", [](const pyd::Steps& self) { return extent(self.args().dst_rows); })
      .def_property_readonly("has_others", &pyd::Steps::has_others)
      .def_property_readonly("step_slot", [](const py::object& self) {
        const auto& steps = self.cast<const pyd::Steps&>();
        return view(self, steps.step_slot().data(), steps.steps());
      });
  m.def("plan", &plan);
  m.def("neutral", &neutral);
  m.def("out_size", &out_size);
  m.def("chain", &chain);
  m.def("chain_program", &chain_program);
  m.def("psf", &psf);
  m.def("resize_factors", &resize_factors);
  m.def("noise_matrix", &noise_matrix);
  m.def("imresize", &imresize);
  m.def("imresize_adjoint", &imresize_adjoint);
  m.def("imresize_taps", &imresize_taps);
  m.def("planes_of_bytes", &planes_of_bytes);
  m.def("bytes_of_planes", &bytes_of_planes);
  m.def("yuv_of_planes", &yuv_of_planes);
  m.def("planes_of_yuv", &planes_of_yuv);
  m.def("diffuse", &diffuse);
  m.def("median", &median);
  m.def("draw_columns", &draw_columns);
  m.def("settle_columns", &settle_columns);
  m.def("philox_uniform", &philox_uniform);
  m.def("philox_words", &philox_words);
  m.def("poisson_tables", &poisson_tables);
}

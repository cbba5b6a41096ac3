// Python's side of ops.h: integers (addresses and sizes) become Args, the GIL is released, Status becomes an exception.
// Addresses are checked by the Python functions that pass them; only null is refused here.

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "core/draw.h"
#include "core/isa.h"
#include "core/pool.h"
#include "core/taps.h"
#include "cuda/record.h"
#include "ops.h"

namespace py = pybind11;

namespace {

using Address = uintptr_t;

template <typename T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

void raise(const char* name, pyd::Status status) {
  switch (status) {
    case pyd::Status::kOk: return;
    case pyd::Status::kOutOfMemory: throw std::bad_alloc();
    case pyd::Status::kUnsupported: throw std::runtime_error(std::string(name) + ": not supported by this build");
    default: throw std::invalid_argument(std::string(name) + ": sizes or codes are out of range");
  }
}

// Reads fields of a description that Python hands over as a dict of integers and floats. Once per call, so clarity wins.
class Fields {
 public:
  Fields(const char* name, const py::dict& values) : name_(name), values_(values) {}

  template <typename T>
  const T* in(const char* field) const {
    return at<const T>(value(field).cast<Address>());
  }
  template <typename T>
  T* out(const char* field) const {
    return at<T>(value(field).cast<Address>());
  }
  template <typename T>
  T number(const char* field) const {
    return value(field).cast<T>();
  }
  pyd::Rows rows(const char* field) const {
    const Fields fields(field, value(field).cast<py::dict>());
    return {fields.number<int64_t>("count"), fields.number<int64_t>("channels"), fields.in<int64_t>("offset"),
            fields.in<int32_t>("height"), fields.in<int32_t>("width")};
  }
  Fields nested(const char* field) const { return Fields(field, value(field).cast<py::dict>()); }

 private:
  py::object value(const char* field) const {
    if (!values_.contains(field)) throw std::invalid_argument(std::string(name_) + ": field " + field + " is missing");
    return values_[field];
  }
  const char* name_;
  py::dict values_;
};

pyd::BlurParams blur_params(const Fields& f) {
  return {f.in<float>("weights"), f.in<int64_t>("start"), f.in<int32_t>("size_px"), f.in<int32_t>("path"),
          f.in<int32_t>("border")};
}
pyd::ResizeParams resize_params(const Fields& f) {
  return {f.in<int32_t>("mode"), f.in<double>("scale_y"), f.in<double>("scale_x")};
}
pyd::NoiseParams noise_params(const Fields& f) {
  return {f.in<int32_t>("kind"),  f.in<float>("sigma"),   f.in<float>("gain"),
          f.in<int32_t>("gray"),  f.in<float>("matrix"),  f.in<uint32_t>("key"),
          f.in<uint32_t>("poisson_tables")};
}
pyd::JpegParams jpeg_params(const Fields& f) {
  return {f.in<int32_t>("mode"), f.in<float>("quality"), f.in<int32_t>("subsampling"), f.in<int32_t>("rounding")};
}
pyd::SharpenParams sharpen_params(const Fields& f) {
  return {f.in<float>("weight"), f.in<int32_t>("radius_px"), f.in<float>("threshold_8bit")};
}

pyd::RainParams rain_params(const Fields& f) {
  return {f.in<float>("streaks_per_kpx"), f.in<float>("length_px"),  f.in<float>("width_px"),
          f.in<float>("angle_rad"),       f.in<float>("blur_px"),    f.in<float>("brightness"),
          f.in<uint32_t>("key")};
}

template <typename Args>
pyd::Status run_unlocked(pyd::Status (*function)(const Args&), const Args& args) {
  py::gil_scoped_release release;
  return function(args);
}

template <typename Args>
void run(const char* name, pyd::Status (*function)(const Args&), const Args& args) {
  raise(name, run_unlocked(function, args));
}

// The program of an op for the CUDA backend, as bytes.
template <typename Args>
py::bytes record(const char* name, pyd::Status (*function)(const Args&, pyd::Program&), const Args& args) {
  pyd::Program program;
  raise(name, function(args, program));
  return py::bytes(reinterpret_cast<const char*>(program.bytes.data()), program.bytes.size());
}

pyd::BlurArgs blur_args(const Fields& f) {
  return {f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), blur_params(f)};
}
void psf(const py::dict& d) {
  const Fields f("psf", d);
  run("psf", pyd::psf_cpu,
      pyd::PsfArgs{f.number<int64_t>("count"), f.in<int32_t>("shape"), f.in<int32_t>("size_px"),
                   f.in<float>("sigma_x_px"), f.in<float>("sigma_y_px"), f.in<float>("angle_rad"), f.in<float>("beta"),
                   f.in<float>("cutoff_rad"), f.in<float>("shift_px"), f.in<int64_t>("start"), f.out<double>("full"),
                   f.out<float>("weights"), f.out<int32_t>("trimmed_size_px"), f.out<int32_t>("path"),
                   f.number<double>("trim")});
}
pyd::ResizeArgs resize_args(const Fields& f) {
  return {f.rows("src_rows"), f.rows("dst_rows"), f.in<float>("src"), f.out<float>("dst"), resize_params(f)};
}
pyd::NoiseArgs noise_args(const Fields& f) {
  return {f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), noise_params(f)};
}
pyd::JpegArgs jpeg_args(const Fields& f) {
  return {f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), jpeg_params(f)};
}
pyd::JpegAdjointArgs jpeg_adjoint_args(const Fields& f) {
  return {f.rows("rows"),      f.in<float>("src"), f.in<float>("grad"),
          f.out<float>("dst"), jpeg_params(f),     f.number<int32_t>("libjpeg_gradient")};
}
pyd::SharpenArgs sharpen_args(const Fields& f) {
  return {f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), sharpen_params(f)};
}
pyd::RainArgs rain_args(const Fields& f) {
  return {f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), rain_params(f)};
}
pyd::ChainArgs chain_args(const Fields& f) {
  return {f.rows("src_rows"),
          f.rows("dst_rows"),
          f.in<float>("src"),
          f.out<float>("dst"),
          f.out<float>("target"),
          f.in<int32_t>("target_step"),
          f.in<int64_t>("step_start"),
          f.in<int32_t>("step_op"),
          f.in<int64_t>("step_item"),
          f.in<int32_t>("step_height"),
          f.in<int32_t>("step_width"),
          f.number<int32_t>("check_range"),
          f.number<int32_t>("round_8bit"),
          blur_params(f.nested("blur")),
          resize_params(f.nested("resize")),
          noise_params(f.nested("noise")),
          jpeg_params(f.nested("jpeg")),
          sharpen_params(f.nested("sharpen")),
          rain_params(f.nested("rain"))};
}

// Both forms of an op: name(fields) runs it, name_program(fields) returns its program.
#define PYD_BOTH(name, make_args)                                                                        \
  void name(const py::dict& d) { run(#name, pyd::name##_cpu, make_args(Fields(#name, d))); }              \
  py::bytes name##_program(const py::dict& d) { return record(#name, pyd::name##_cuda, make_args(Fields(#name, d))); }
PYD_BOTH(blur, blur_args)
PYD_BOTH(blur_adjoint, blur_args)
PYD_BOTH(resize, resize_args)
PYD_BOTH(resize_adjoint, resize_args)
PYD_BOTH(noise, noise_args)
PYD_BOTH(jpeg, jpeg_args)
PYD_BOTH(jpeg_adjoint, jpeg_adjoint_args)
PYD_BOTH(sharpen, sharpen_args)
PYD_BOTH(rain, rain_args)
#undef PYD_BOTH

// False when a source pixel is NaN or outside [0, 1]; the caller then looks for it and explains.
bool chain(const py::dict& d) {
  const pyd::Status status = run_unlocked(pyd::chain_cpu, chain_args(Fields("chain", d)));
  if (status != pyd::Status::kBadPixels) raise("chain", status);
  return status == pyd::Status::kOk;
}

py::bytes chain_program(const py::dict& d) { return record("chain", pyd::chain_cuda, chain_args(Fields("chain", d))); }

pyd::ImresizeArgs imresize_args(const Fields& f) {
  return {f.number<int32_t>("type"),
          f.number<int32_t>("mode"),
          f.number<int32_t>("antialias"),
          f.number<int32_t>("replicate"),
          f.number<int32_t>("im2double"),
          f.number<int64_t>("planes"),
          f.number<int64_t>("channels"),
          f.number<int64_t>("src_height"),
          f.number<int64_t>("src_width"),
          f.number<int64_t>("src_row_stride"),
          f.number<int64_t>("src_plane_stride"),
          f.number<int64_t>("dst_height"),
          f.number<int64_t>("dst_width"),
          f.number<double>("scale_y"),
          f.number<double>("scale_x"),
          f.in<void>("src"),
          f.out<void>("dst")};
}
void imresize(const py::dict& d) { run("imresize", pyd::imresize_cpu, imresize_args(Fields("imresize", d))); }
void imresize_adjoint(const py::dict& d) {
  run("imresize_adjoint", pyd::imresize_adjoint_cpu, imresize_args(Fields("imresize_adjoint", d)));
}
void imresize_taps(const py::dict& d) {
  const Fields f("imresize_taps", d);
  raise("imresize_taps",
        pyd::imresize_taps(f.number<int32_t>("mode"), f.number<bool>("antialias"), f.number<bool>("replicate"),
                           f.number<int64_t>("in_px"), f.number<int64_t>("out_px"), f.number<double>("scale"),
                           f.number<int64_t>("room"), f.out<int32_t>("start"), f.out<int32_t>("index"),
                           f.out<double>("weight")));
}

void philox_uniform(const py::dict& d) {
  const Fields f("philox_uniform", d);
  const auto seed_lo = f.number<uint32_t>("seed_lo"), seed_hi = f.number<uint32_t>("seed_hi");
  const auto* indices = f.in<int64_t>("indices");
  const auto* hash = f.in<uint32_t>("hash");
  const auto* draw = f.in<uint32_t>("draw");
  const auto count = f.number<int64_t>("count"), draws = f.number<int64_t>("draws");
  auto* out = f.out<double>("out");
  py::gil_scoped_release release;
  pyd::philox_uniform(seed_lo, seed_hi, indices, count, hash, draw, draws, out);
}
void philox_words(const py::dict& d) {
  const Fields f("philox_words", d);
  pyd::philox_words(f.number<int64_t>("count"), f.in<uint32_t>("key"), f.in<uint32_t>("counter"), f.out<uint32_t>("out"));
}
void poisson_tables(const py::dict& d) { pyd::poisson_tables(Fields("poisson_tables", d).out<uint32_t>("out")); }

}  // namespace

PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  m.doc() = "CPU kernels of pydegrade; every function takes a dict of addresses, sizes and numbers named as in ops.h";
  m.def("isa_name", &pyd::isa_name);
  m.def("isa_request_honoured", &pyd::isa_request_honoured);
  m.def("set_num_threads", &pyd::set_num_threads);
  m.def("num_threads", &pyd::num_threads);
#define PYD_DEFINE(name, Args) \
  m.def(#name, &name);         \
  m.def(#name "_program", &name##_program);
  PYD_CUDA_FUNCTIONS(PYD_DEFINE)
#undef PYD_DEFINE
  m.def("psf", &psf);
  m.def("imresize", &imresize);
  m.def("imresize_adjoint", &imresize_adjoint);
  m.def("imresize_taps", &imresize_taps);
  m.def("philox_uniform", &philox_uniform);
  m.def("philox_words", &philox_words);
  m.def("poisson_tables", &poisson_tables);
}

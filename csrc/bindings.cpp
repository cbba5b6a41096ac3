// Python's side of ops.h: integers (addresses and sizes) become Args, the GIL is released, Status becomes an exception.
// Addresses are checked by the Python functions that pass them; only null is refused here.

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "core/draw.h"
#include "core/isa.h"
#include "core/pool.h"
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

template <typename Args>
pyd::Status run_unlocked(pyd::Status (*function)(const Args&), const Args& args) {
  py::gil_scoped_release release;
  return function(args);
}

template <typename Args>
void run(const char* name, pyd::Status (*function)(const Args&), const Args& args) {
  raise(name, run_unlocked(function, args));
}

void blur(const py::dict& d) {
  const Fields f("blur", d);
  run("blur", pyd::blur_cpu, pyd::BlurArgs{f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), blur_params(f)});
}
void blur_adjoint(const py::dict& d) {
  const Fields f("blur_adjoint", d);
  run("blur_adjoint", pyd::blur_adjoint_cpu,
      pyd::BlurArgs{f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), blur_params(f)});
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
void resize(const py::dict& d) { run("resize", pyd::resize_cpu, resize_args(Fields("resize", d))); }
void resize_adjoint(const py::dict& d) {
  run("resize_adjoint", pyd::resize_adjoint_cpu, resize_args(Fields("resize_adjoint", d)));
}
void noise(const py::dict& d) {
  const Fields f("noise", d);
  run("noise", pyd::noise_cpu,
      pyd::NoiseArgs{f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), noise_params(f)});
}
void jpeg(const py::dict& d) {
  const Fields f("jpeg", d);
  run("jpeg", pyd::jpeg_cpu, pyd::JpegArgs{f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), jpeg_params(f)});
}
void jpeg_adjoint(const py::dict& d) {
  const Fields f("jpeg_adjoint", d);
  run("jpeg_adjoint", pyd::jpeg_adjoint_cpu,
      pyd::JpegAdjointArgs{f.rows("rows"), f.in<float>("src"), f.in<float>("grad"), f.out<float>("dst"),
                           jpeg_params(f), f.number<int32_t>("libjpeg_gradient")});
}
void sharpen(const py::dict& d) {
  const Fields f("sharpen", d);
  run("sharpen", pyd::sharpen_cpu,
      pyd::SharpenArgs{f.rows("rows"), f.in<float>("src"), f.out<float>("dst"), sharpen_params(f)});
}
// False when a source pixel is NaN or outside [0, 1]; the caller then looks for it and explains.
bool chain(const py::dict& d) {
  const Fields f("chain", d);
  const pyd::ChainArgs args{f.rows("src_rows"),
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
                            sharpen_params(f.nested("sharpen"))};
  const pyd::Status status = run_unlocked(pyd::chain_cpu, args);
  if (status != pyd::Status::kBadPixels) raise("chain", status);
  return status == pyd::Status::kOk;
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
  m.def("blur", &blur);
  m.def("blur_adjoint", &blur_adjoint);
  m.def("psf", &psf);
  m.def("resize", &resize);
  m.def("resize_adjoint", &resize_adjoint);
  m.def("noise", &noise);
  m.def("jpeg", &jpeg);
  m.def("jpeg_adjoint", &jpeg_adjoint);
  m.def("sharpen", &sharpen);
  m.def("chain", &chain);
  m.def("philox_uniform", &philox_uniform);
  m.def("philox_words", &philox_words);
  m.def("poisson_tables", &poisson_tables);
}

// Every CPU function of csrc/functions.h on small fixed inputs, without Python. Prints one line per case: its name and a
// hash of the bytes it made. Two builds (instruction sets, processors) that print the same lines give the same bits. Under
// `valgrind --tool=callgrind` each case also leaves a profile of its second run, whose total is what
// tests/golden/instructions.toml records.
//
// Compiled by tests/native/__init__.py together with the loops and csrc/core, with PYD_ISA = the instruction set to run.

#include <cinttypes>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "core/draw.h"
#include "core/pool.h"
#include "functions.h"
#include "math/poisson.h"

#if defined(__has_include)
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif
#endif
#ifndef CALLGRIND_ZERO_STATS
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name) static_cast<void>(name)
#endif

namespace pyd {
#define X(name, Args) Status name##_cpu(const Args& args);
namespace PYD_ISA {
PYD_CPU_FUNCTIONS
}
#undef X
}  // namespace pyd

namespace {

using namespace pyd;
namespace isa = pyd::PYD_ISA;

// Odd and not square, so that borders, tails of vectors and partial JPEG blocks are all visited.
constexpr int kHeight = 101;
constexpr int kWidth = 147;
constexpr int64_t kChannels = 3;

// One image of a batch of one.
struct Picture {
  Picture(int height, int width) : height(height), width(width), data(kChannels * height * width) {}
  Rows rows() const { return {1, kChannels, &offset, &height, &width}; }

  int32_t height, width;
  int64_t offset = 0;
  std::vector<float> data;
};

// Waves with texture, from integers, so that every machine starts from the same bits. Multiples of 1/255.
Picture picture(int height = kHeight, int width = kWidth) {
  Picture made(height, width);
  float* out = made.data.data();
  for (int c = 0; c < kChannels; ++c) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const int level = (x * (3 + c) + y * (5 - c) + x * y / 16) % 256;
        *out++ = static_cast<float>((level + (x * x + 3 * y + 41 * c) % 64) % 256) / 255.0f;
      }
    }
  }
  return made;
}

// One value, or as many as there are, for a field.
template <typename T>
Span<const T> span(const T& value) {
  return {&value, 1};
}
template <typename T>
Span<const T> span(const std::vector<T>& values) {
  return {values.data(), static_cast<int64_t>(values.size())};
}
template <typename T>
Span<T> room(std::vector<T>& values) {
  return {values.data(), static_cast<int64_t>(values.size())};
}

// A batch of one image.
template <typename Params>
Batch<Params> batch(const Picture& src, Picture& dst, const Params& params) {
  Batch<Params> made = {src.rows(), dst.rows(), src.data.data(), nullptr, dst.data.data(), params};
  made.params.items = 1;
  return made;
}

uint64_t fnv1a(const void* data, size_t bytes) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211u;
  return hash;
}

int failures = 0;

// Runs a case twice: the first run grows the scratch memory, the second one is counted.
void report(const std::string& name, const void* result, size_t bytes, const std::function<Status()>& run) {
  run();
  CALLGRIND_ZERO_STATS;
  const Status status = run();
  CALLGRIND_DUMP_STATS_AT(name.c_str());
  if (status != Status::kOk) {
    std::fprintf(stderr, "%s: status %d\n", name.c_str(), static_cast<int>(status));
    ++failures;
  }
  std::printf("%s %016" PRIx64 "\n", name.c_str(), fnv1a(result, bytes));
}
void report(const std::string& name, const Picture& result, const std::function<Status()>& run) {
  report(name, result.data.data(), result.data.size() * sizeof(float), run);
}

// ---- blur kernels and blur

// Kernels as the planner makes them, one shape after the other.
struct Kernels {
  explicit Kernels(const std::vector<int32_t>& shapes, int32_t size)
      : shape(shapes),
        size_px(shapes.size(), size),
        sigma_x(shapes.size()),
        sigma_y(shapes.size()),
        angle(shapes.size()),
        beta(shapes.size()),
        cutoff(shapes.size()),
        shift(shapes.size()),
        start(shapes.size()),
        full(shapes.size() * size * size),
        weights(shapes.size() * size * size),
        trimmed_px(shapes.size()),
        path(shapes.size()) {
    for (size_t i = 0; i < shapes.size(); ++i) {
      sigma_x[i] = 2.5f + 0.25f * i;
      sigma_y[i] = 1.5f + 0.125f * i;
      angle[i] = 0.5f + 0.25f * i;
      beta[i] = 0.75f + 0.125f * i;
      cutoff[i] = 1.5f;
      shift[i] = i % 2 == 0 ? 0.0f : 0.5f;
      start[i] = static_cast<int64_t>(i) * size * size;
    }
  }
  Status make() {
    PsfArgs args{};
    args.params = {static_cast<int64_t>(shape.size()),
                   span(shape),
                   span(size_px),
                   span(sigma_x),
                   span(sigma_y),
                   span(angle),
                   span(beta),
                   span(cutoff),
                   span(shift),
                   span(start),
                   room(full),
                   room(weights),
                   room(trimmed_px),
                   room(path),
                   {},
                   {}};
    args.trim = 1e-7;
    return isa::psf_cpu(args);
  }
  BlurParams params() const {
    BlurParams made{};
    made.items = static_cast<int64_t>(shape.size());
    made.weights = span(weights);
    made.start = span(start);
    made.size_px = span(trimmed_px);
    made.path = span(path);
    return made;
  }

  std::vector<int32_t> shape, size_px;
  std::vector<float> sigma_x, sigma_y, angle, beta, cutoff, shift;
  std::vector<int64_t> start;
  std::vector<double> full;
  std::vector<float> weights;
  std::vector<int32_t> trimmed_px, path;
};

void psf_cases() {
  const std::vector<std::pair<const char*, int32_t>> shapes = {{"iso", kPsfIso},
                                                               {"aniso", kPsfAniso},
                                                               {"generalized", kPsfGeneralizedAniso},
                                                               {"plateau", kPsfPlateauAniso},
                                                               {"sinc", kPsfSinc}};
  for (const auto& [name, shape] : shapes) {
    Kernels kernels(std::vector<int32_t>(8, shape), 21);
    report(std::string("psf_") + name, kernels.full.data(), kernels.full.size() * sizeof(double),
           [&] { return kernels.make(); });
  }
}

void blur_cases() {
  const Picture src = picture();
  const std::vector<std::pair<std::string, std::pair<int32_t, int32_t>>> kinds = {{"blur_dense_7", {kPsfPlateauAniso, 7}},
                                                                                  {"blur_dense_13", {kPsfPlateauAniso, 13}},
                                                                                  {"blur_dense_21", {kPsfPlateauAniso, 21}},
                                                                                  {"blur_separable_7", {kPsfIso, 7}},
                                                                                  {"blur_separable_21", {kPsfIso, 21}}};
  for (const auto& [name, kind] : kinds) {
    Kernels kernels({kind.first}, kind.second);
    if (kernels.make() != Status::kOk) ++failures;
    Picture dst(kHeight, kWidth);
    const auto args = batch(src, dst, kernels.params());
    report(name, dst, [&] { return isa::blur_cpu(args); });
    if (name == "blur_dense_13") report("blur_adjoint_13", dst, [&] { return isa::blur_adjoint_cpu(args); });
  }
}

// ---- resize

void resize_cases() {
  struct Case {
    const char* name;
    int32_t mode;
    int height, width;
    double scale;
  };
  const Case cases[] = {
      {"resize_area_down", kTorchArea, 71, 103, 0.0},
      {"resize_area_up", kTorchArea, 131, 191, 0.0},
      {"resize_bilinear_down", kTorchBilinear, 71, 103, 0.7},
      {"resize_bilinear_up", kTorchBilinear, 131, 191, 0.0},
      {"resize_bicubic_down", kTorchBicubic, 71, 103, 0.7},
      {"resize_bicubic_up", kTorchBicubic, 131, 191, 0.0},
      {"resize_cv2_linear", kCv2Linear, 71, 103, 0.0},
      {"resize_cv2_cubic", kCv2Cubic, 131, 191, 0.0},
      {"resize_cv2_area", kCv2Area, 71, 103, 0.0},
      {"resize_matlab_bicubic_down", kMatlabBicubic, 26, 37, 0.25},
      {"resize_matlab_bicubic_up", kMatlabBicubic, 202, 294, 2.0},
      {"resize_matlab_lanczos3_down", kMatlabLanczos3, 34, 49, 1.0 / 3.0},
      {"resize_decimate", kDecimate, 26, 37, 0.25},
  };
  for (const Case& one : cases) {
    const Picture src = picture();
    Picture dst(one.height, one.width);
    const auto args = batch(src, dst, ResizeParams{1, span(one.mode), span(one.scale), span(one.scale)});
    report(one.name, dst, [&] { return isa::resize_cpu(args); });
  }

  // Gradient of the bicubic reduction: from 71x103 back to the full size.
  const Picture grad = picture(71, 103);
  Picture dst(kHeight, kWidth);
  const int32_t mode = kTorchBicubic;
  const double scale = 0.7;
  const auto args = batch(grad, dst, ResizeParams{1, span(mode), span(scale), span(scale)});
  report("resize_adjoint_bicubic", dst, [&] { return isa::resize_adjoint_cpu(args); });
}

// ---- imresize

// Interleaved, as files are.
template <typename T>
void imresize_case(const char* name, PixelType type, int32_t mode, int32_t im2double, double scale_y, double scale_x) {
  const Picture source = picture();
  std::vector<T> src(source.data.size());
  for (size_t i = 0; i < src.size(); ++i) {
    src[i] = static_cast<T>(type == kPixelFloat64 ? source.data[i] : source.data[i] * 255.0f + 0.5f);
  }
  ImresizeArgs args{};
  args.type = type;
  args.mode = mode;
  args.antialias = 1;
  args.im2double = im2double;
  args.planes = 1;
  args.channels = kChannels;
  args.src_height = kHeight;
  args.src_width = kWidth;
  args.src_row_stride = kWidth * kChannels;
  args.dst_height = static_cast<int64_t>(scale_y * kHeight) + 1;
  args.dst_width = static_cast<int64_t>(scale_x * kWidth) + 1;
  args.scale_y = scale_y;
  args.scale_x = scale_x;
  std::vector<T> dst(args.dst_height * args.dst_width * kChannels);
  args.src = src.data();
  args.dst = dst.data();
  report(name, dst.data(), dst.size() * sizeof(T), [&] { return isa::imresize_cpu(args); });
  if (type != kPixelFloat64) return;
  ImresizeArgs back = args;
  back.src = dst.data();
  back.src_height = args.dst_height;
  back.src_width = args.dst_width;
  back.src_row_stride = args.dst_width * kChannels;
  back.dst = src.data();
  back.dst_height = kHeight;
  back.dst_width = kWidth;
  report(std::string(name) + "_adjoint", src.data(), src.size() * sizeof(T),
         [&] { return isa::imresize_adjoint_cpu(back); });
}

void imresize_cases() {
  imresize_case<uint8_t>("imresize_uint8_half", kPixelUint8, kMatlabBicubic, 0, 0.5, 0.5);
  imresize_case<uint8_t>("imresize_uint8_third", kPixelUint8, kMatlabBicubic, 0, 1.0 / 3.0, 1.0 / 3.0);
  imresize_case<uint8_t>("imresize_uint8_double", kPixelUint8, kMatlabBicubic, 0, 2.0, 2.0);
  imresize_case<uint8_t>("imresize_uint8_columns_first", kPixelUint8, kMatlabLanczos3, 0, 1.3, 0.7);
  imresize_case<uint8_t>("imresize_uint8_im2double", kPixelUint8, kMatlabBicubic, 1, 0.5, 0.5);
  imresize_case<uint16_t>("imresize_uint16", kPixelUint16, kMatlabBicubic, 0, 0.25, 0.25);
  imresize_case<double>("imresize_float64", kPixelFloat64, kMatlabBicubic, 0, 0.5, 0.5);
}

// ---- noise

Span<const uint32_t> tables() { return {shared_poisson_tables(), kPoissonWords}; }

void noise_cases() {
  struct Case {
    const char* name;
    int32_t kind;
    int32_t gray;
  };
  const Case cases[] = {
      {"noise_gaussian_colour", kNoiseGaussian, 0}, {"noise_gaussian_gray", kNoiseGaussian, 1},
      {"noise_poisson_colour", kNoisePoisson, 0},   {"noise_poisson_gray", kNoisePoisson, 1},
      {"noise_correlated", kNoiseCorrelated, 0},
  };
  const float sigma = 20.0f / 255.0f;
  const float gain = 1.5f;
  const std::vector<float> matrix = {0.06f, 0.02f, 0.01f, 0.02f, 0.05f, 0.03f, 0.01f, 0.03f, 0.04f};
  const std::vector<uint32_t> key = {0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u};  // digits of pi
  for (const Case& one : cases) {
    const Picture src = picture();
    Picture dst(kHeight, kWidth);
    const NoiseParams params = {1,         span(one.kind), span(sigma), span(gain), span(one.gray), span(matrix),
                                span(key), tables()};
    const auto args = batch(src, dst, params);
    report(one.name, dst, [&] { return isa::noise_cpu(args); });
  }
}

// ---- jpeg

void jpeg_cases() {
  struct Case {
    const char* name;
    int32_t mode, subsampling;
  };
  const Case cases[] = {
      {"jpeg_libjpeg_444", kJpegLibjpeg, kJpeg444},
      {"jpeg_libjpeg_422", kJpegLibjpeg, kJpeg422},
      {"jpeg_libjpeg_420", kJpegLibjpeg, kJpeg420},
      {"jpeg_diffjpeg_420", kJpegDiffjpeg, kJpeg420},
      {"jpeg_diffjpeg_basicsr", kJpegDiffjpegBasicsr, kJpeg420},
  };
  const float quality = 75.0f;
  const int32_t rounding = kJpegRoundCubic;
  for (const Case& one : cases) {
    const Picture src = picture();
    Picture dst(kHeight, kWidth);
    const JpegParams params = {1, span(one.mode), span(quality), span(one.subsampling), span(rounding), {}};
    const auto args = batch(src, dst, params);
    report(one.name, dst, [&] { return isa::jpeg_cpu(args); });
    if (one.mode != kJpegDiffjpeg) continue;
    auto adjoint = args;
    adjoint.grad = src.data.data();
    report("jpeg_adjoint_420", dst, [&] { return isa::jpeg_adjoint_cpu(adjoint); });
  }
}

// ---- sharpen and the whole chain

void sharpen_cases() {
  const Picture src = picture();
  Picture dst(kHeight, kWidth);
  const float weight = 0.5f, threshold = 10.0f;
  const int32_t radius = 50;
  const auto args = batch(src, dst, SharpenParams{1, span(weight), span(radius), span(threshold)});
  report("sharpen", dst, [&] { return isa::sharpen_cpu(args); });
}

// sharpen, blur, resize, noise, jpeg, blur, resize, noise, resize, sinc, jpeg on a 100x148 image: realesrgan-x4's order.
void chain_case() {
  const Picture src = picture(100, 148);
  Picture dst(25, 37), target(100, 148);
  Kernels kernels({kPsfAniso, kPsfIso, kPsfSinc}, 15);
  if (kernels.make() != Status::kOk) ++failures;

  const std::vector<int32_t> op = {kOpSharpen, kOpBlur,  kOpResize, kOpNoise, kOpJpeg, kOpBlur,
                                   kOpResize,  kOpNoise, kOpResize, kOpBlur,  kOpJpeg};
  const std::vector<int64_t> item = {0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 1};
  const std::vector<int32_t> height = {100, 100, 120, 120, 120, 120, 20, 20, 25, 25, 25};
  const std::vector<int32_t> width = {148, 148, 177, 177, 177, 177, 29, 29, 37, 37, 37};
  const int64_t step_start[2] = {0, 11};
  const int32_t target_step = 1;
  const std::vector<int32_t> resize_mode = {kTorchBicubic, kTorchArea, kTorchBilinear};
  const std::vector<double> resize_scale = {1.2, 0.0, 0.0};
  const std::vector<int32_t> noise_kind = {kNoisePoisson, kNoiseGaussian};
  const std::vector<int32_t> noise_gray = {0, 1};
  const std::vector<float> sigma = {0.0f, 12.0f / 255.0f};
  const std::vector<float> gain = {1.0f, 0.0f};
  const std::vector<uint32_t> key = {0xa4093822u, 0x299f31d0u, 0x082efa98u, 0xec4e6c89u,
                                     0x452821e6u, 0x38d01377u, 0xbe5466cfu, 0x34e90c6cu};
  const std::vector<int32_t> jpeg_mode = {kJpegLibjpeg, kJpegLibjpeg};
  const std::vector<int32_t> subsampling = {kJpeg420, kJpeg420}, rounding = {0, 0};
  const std::vector<float> quality = {60.0f, 80.0f};
  const float weight = 0.5f, threshold = 10.0f;
  const int32_t radius = 50;

  ChainArgs args{};
  args.src_rows = src.rows();
  args.dst_rows = dst.rows();
  args.src = src.data.data();
  args.dst = dst.data.data();
  args.target = target.data.data();
  args.target_step = &target_step;
  args.step_start = step_start;
  args.step_op = op.data();
  args.step_item = item.data();
  args.step_height = height.data();
  args.step_width = width.data();
  args.check_range = 1;
  args.round_8bit = 1;
  args.blur = kernels.params();
  args.resize = {3, span(resize_mode), span(resize_scale), span(resize_scale)};
  args.noise = {2, span(noise_kind), span(sigma), span(gain), span(noise_gray), {}, span(key), tables()};
  args.jpeg = {2, span(jpeg_mode), span(quality), span(subsampling), span(rounding), {}};
  args.sharpen = {1, span(weight), span(radius), span(threshold)};
  report("chain", dst, [&] { return isa::chain_cpu(args); });
  std::printf("chain_target %016" PRIx64 "\n", fnv1a(target.data.data(), target.data.size() * sizeof(float)));
}

// A blur whose result a resize reads in part alone: nothing else is blurred.
void skipping_cases() {
  const Picture src = picture();
  struct Skipping {
    const char* name;
    int32_t shape, size_px, mode, factor;
  };
  for (const Skipping& it : {Skipping{"chain_skips_dense", kPsfPlateauAniso, 21, kTorchBilinear, 6},
                             Skipping{"chain_skips_dense_rows", kPsfPlateauAniso, 7, kTorchBilinear, 3},
                             Skipping{"chain_skips_separable", kPsfIso, 21, kCv2Linear, 6},
                             Skipping{"chain_skips_decimate", kPsfPlateauAniso, 13, kDecimate, 4}}) {
    Kernels kernels({it.shape}, it.size_px);
    if (kernels.make() != Status::kOk) ++failures;
    const std::vector<int32_t> height = {kHeight, kHeight / it.factor}, width = {kWidth, kWidth / it.factor};
    Picture dst(height[1], width[1]);
    const int32_t op[2] = {kOpBlur, kOpResize};
    const int64_t item[2] = {0, 0}, step_start[2] = {0, 2};
    const double scale = 1.0 / it.factor;
    ChainArgs args{};
    args.src_rows = src.rows();
    args.dst_rows = dst.rows();
    args.src = src.data.data();
    args.dst = dst.data.data();
    args.step_start = step_start;
    args.step_op = op;
    args.step_item = item;
    args.step_height = height.data();
    args.step_width = width.data();
    args.blur = kernels.params();
    args.resize = {1, span(it.mode), span(scale), span(scale)};
    report(it.name, dst, [&] { return isa::chain_cpu(args); });
  }
}

void draw_cases() {
  std::vector<int64_t> index(64);
  std::vector<uint32_t> hash(40), draw(40);
  for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int64_t>(i) << 30;
  for (size_t i = 0; i < hash.size(); ++i) {
    hash[i] = static_cast<uint32_t>(i * 2654435761u);
    draw[i] = static_cast<uint32_t>(i % 3);
  }
  std::vector<double> out(index.size() * hash.size());
  report("draw_uniform", out.data(), out.size() * sizeof(double), [&] {
    philox_uniform(7, 0, index.data(), static_cast<int64_t>(index.size()), hash.data(), draw.data(),
                   static_cast<int64_t>(hash.size()), out.data());
    return Status::kOk;
  });
  std::printf("poisson_tables %016" PRIx64 "\n", fnv1a(tables().data, kPoissonWords * sizeof(uint32_t)));
}

}  // namespace

int main() {
  set_num_threads(1);
  draw_cases();
  psf_cases();
  blur_cases();
  resize_cases();
  imresize_cases();
  noise_cases();
  jpeg_cases();
  sharpen_cases();
  chain_case();
  skipping_cases();
  return failures == 0 ? 0 : 1;
}

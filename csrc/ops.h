// THE list of operations. Per op: one POD struct of parameters (structure of arrays, one entry per item), one Args struct
// for a whole packed batch, a _cpu and a _cuda prototype. Memory belongs to the caller; nothing here keeps a pointer after return.
//
// An *item* is one use of an op: item i of BlurParams describes one blur. In a batch op, item i belongs to row i; in a
// chain the steps of each row name their items.
#pragma once

#include <cstdint>

#include "core/rows.h"
#include "core/status.h"

namespace pyd {

// ---- blur: cross-correlation with one kernel per image, mirrored borders, the same kernel on all planes.

enum BlurPath : int32_t {
  kBlurIdentity = 0,   // copies the image
  kBlurSeparable = 1,  // weights: size horizontal taps, then size vertical taps
  kBlurDense = 2,      // weights: size rows of size taps
};

enum BlurBorder : int32_t {
  kBorderReflect101 = 0,   // ... 2 1 | 0 1 2 ...
  kBorderSymmetric = 1,    // ... 1 0 | 0 1 2 ...
};

struct BlurParams {
  const float* weights;       // all kernels, one after the other
  const int64_t* start;       // [items] first weight of the item
  const int32_t* size_px;     // [items] odd, 1..51
  const int32_t* path;        // [items] BlurPath
  const int32_t* border;      // [items] BlurBorder; null: all kBorderReflect101
};

struct BlurArgs {
  Rows rows;         // input and output have the same sizes
  const float* src;  // planar
  float* dst;        // planar, does not overlap src
  BlurParams params;
};

// ---- psf: blur kernels from their parameters, in double, then trimmed and rounded to float.

enum PsfShape : int32_t {
  kPsfDelta = 0,
  kPsfIso = 1,
  kPsfAniso = 2,
  kPsfGeneralizedIso = 3,
  kPsfGeneralizedAniso = 4,
  kPsfPlateauIso = 5,
  kPsfPlateauAniso = 6,
  kPsfSinc = 7,
};

struct PsfArgs {
  int64_t count;
  const int32_t* shape;       // [count] PsfShape
  const int32_t* size_px;     // [count] odd, 1..51
  const float* sigma_x_px;    // [count] along (cos angle, sin angle), y down
  const float* sigma_y_px;    // [count]
  const float* angle_rad;     // [count]
  const float* beta;          // [count]
  const float* cutoff_rad;    // [count]
  const float* shift_px;      // [count] the blurred image moves by this much to the upper left (BSRGAN's aligned decimation)
  const int64_t* start;       // [count] where kernel i begins in `full` and in `weights`: size_px^2 places each
  double* full;               // [sum of size_px^2] untrimmed kernels, sum 1; may be null
  float* weights;             // [sum of size_px^2] what blur reads; may be null (then the next two are unused)
  int32_t* trimmed_size_px;   // [count] size after trimming
  int32_t* path;              // [count] BlurPath
  double trim;                // outer rings whose absolute weights sum to at most this are dropped
};

// ---- resize

enum ResizeMode : int32_t {
  kTorchArea = 0,
  kTorchBilinear = 1,
  kTorchBicubic = 2,
  kCv2Linear = 3,
  kCv2Cubic = 4,
  kCv2Area = 5,
  kMatlabBicubic = 6,
  kMatlabBilinear = 7,
  kMatlabBox = 8,
  kMatlabLanczos2 = 9,
  kMatlabLanczos3 = 10,
  kMatlabNearest = 11,
  kDecimate = 12,  // every n-th sample, phase 0
};

struct ResizeParams {
  const int32_t* mode;    // [items] ResizeMode
  const double* scale_y;  // [items] output px per input px used for coordinates; 0 = ratio of the sizes
  const double* scale_x;  // [items]
};

struct ResizeArgs {
  Rows src_rows;
  Rows dst_rows;  // same count and channels
  const float* src;
  float* dst;
  ResizeParams params;
};

// ---- imresize: MATLAB's resize of images of any type, in double, with its rounding

enum PixelType : int32_t { kPixelUint8 = 0, kPixelUint16 = 1, kPixelFloat32 = 2, kPixelFloat64 = 3 };

struct ImresizeArgs {
  int32_t type;              // PixelType of src and dst
  int32_t mode;              // ResizeMode, one of MATLAB's
  int32_t antialias;         // 1: the kernel is widened to a low-pass filter when shrinking
  int32_t replicate;         // 1: the edge is repeated; 0: the image is mirrored at it
  int32_t im2double;         // integer types. 0: rounded after each pass; 1: resized in [0, 1], rounded at the end
  int64_t planes;            // images of one size, resized alike
  int64_t channels;          // interleaved samples per px
  int64_t src_height;        // px, >= 1
  int64_t src_width;         // px, >= 1
  int64_t src_row_stride;    // samples from a row to the next; px and channels are contiguous
  int64_t src_plane_stride;  // samples from a plane to the next
  int64_t dst_height;        // px, >= 1
  int64_t dst_width;         // px, >= 1
  double scale_y;            // output px per input px, > 0
  double scale_x;
  const void* src;
  void* dst;                 // [planes, dst_height, dst_width, channels], does not overlap src
};

// ---- noise

enum NoiseKind : int32_t {
  kNoiseOff = 0,
  kNoiseGaussian = 1,
  kNoisePoisson = 2,
  kNoiseCorrelated = 3,  // Gaussian, correlated between channels
};

struct NoiseParams {
  const int32_t* kind;       // [items] NoiseKind
  const float* sigma;        // [items] standard deviation, 1 = full range
  const float* gain;         // [items] Poisson: multiplies the noise
  const int32_t* gray;       // [items] 1: one field for all channels
  const float* matrix;       // [items, 9] correlated: noise = matrix * normals, 1 = full range; may be null
  const uint32_t* key;       // [items, 4] the image's derived words o0..o3, o3 already combined with the slot
  const uint32_t* poisson_tables;  // built by poisson_tables(); may be null when no item is Poisson
};

struct NoiseArgs {
  Rows rows;
  const float* src;
  float* dst;  // may equal src
  NoiseParams params;
};

// ---- jpeg

enum JpegMode : int32_t {
  kJpegOff = 0,
  kJpegLibjpeg = 1,          // the pixels of libjpeg-turbo's encode -> decode
  kJpegDiffjpeg = 2,         // float approximation with libjpeg's conventions
  kJpegDiffjpegBasicsr = 3,  // the arithmetic of BasicSR's DiffJPEG
};
enum JpegSubsampling : int32_t { kJpeg444 = 0, kJpeg422 = 1, kJpeg420 = 2 };
enum JpegRounding : int32_t {
  kJpegRoundPlain = 0,  // to the nearest; gradients pass straight through
  kJpegRoundCubic = 1,  // round(x) + (x - round(x))^3 and its derivative
};

struct JpegParams {
  const int32_t* mode;         // [items] JpegMode
  const float* quality;        // [items] 1..100, an integer in libjpeg mode
  const int32_t* subsampling;  // [items] JpegSubsampling; kJpegDiffjpegBasicsr is always 4:2:0
  const int32_t* rounding;     // [items] JpegRounding of the two differentiable modes
};

struct JpegArgs {
  Rows rows;  // 3 channels
  const float* src;
  float* dst;  // may equal src
  JpegParams params;
};

// Gradient of jpeg with respect to its input.
struct JpegAdjointArgs {
  Rows rows;
  const float* src;   // the input of the forward pass
  const float* grad;  // gradient of the output
  float* dst;         // gradient of the input
  JpegParams params;
  int32_t libjpeg_gradient;  // libjpeg mode, constant almost everywhere. 0: zero; 1: the gradient where src is in [0, 1]
};

// ---- sharpen: unsharp masking

struct SharpenParams {
  const float* weight;          // [items] 0 copies the image
  const int32_t* radius_px;     // [items] even radii are raised by one, as the kernel length
  const float* threshold_8bit;  // [items]
};

struct SharpenArgs {
  Rows rows;
  const float* src;
  float* dst;  // does not overlap src
  SharpenParams params;
};

// ---- rain: streaks added to all planes, see math/rain.h

struct RainParams {
  const float* streaks_per_kpx;  // [items] mean number per 1000 px, 0..20
  const float* length_px;        // [items] 1..128
  const float* width_px;         // [items] 0.5..16
  const float* angle_rad;        // [items] -1.3..1.3 from the vertical, the lower end to the right
  const float* blur_px;          // [items] 0..16, below 1 counts as 1
  const float* brightness;       // [items] 0..1
  const uint32_t* key;           // [items, 4] the image's derived words o0..o3, o3 already combined with the slot
};

struct RainArgs {
  Rows rows;
  const float* src;
  float* dst;  // may equal src
  RainParams params;
};

// ---- chain: every step of every row, one image after the other, so that an image's whole chain stays in cache.

enum OpCode : int32_t {
  kOpBlur = 0,
  kOpResize = 1,
  kOpNoise = 2,
  kOpJpeg = 3,
  kOpSharpen = 4,
  kOpRain = 5,
  kOpCount = 6,
};

struct ChainArgs {
  Rows src_rows;
  Rows dst_rows;
  const float* src;
  float* dst;
  float* target;                // packed like src, or null; receives the image after `target_step`
  const int32_t* target_step;   // [count] number of steps done when the target is taken (0 = the source itself)
  const int64_t* step_start;    // [count + 1] row r runs steps step_start[r] .. step_start[r + 1] - 1
  const int32_t* step_op;       // [steps] OpCode
  const int64_t* step_item;     // [steps] item in that op's params
  const int32_t* step_height;   // [steps] height of the image after the step, px
  const int32_t* step_width;    // [steps] width of the image after the step, px
  int32_t check_range;          // 1: kBadPixels when a source value is NaN or outside [0, 1]
  int32_t round_8bit;           // 1: the result is rounded to multiples of 1/255 in [0, 1], half to even
  BlurParams blur;
  ResizeParams resize;
  NoiseParams noise;
  JpegParams jpeg;
  SharpenParams sharpen;
  RainParams rain;
};

// Every function that exists once per instruction set: X(name, argument struct). core/isa.cpp chooses among them.
#define PYD_CPU_FUNCTIONS(X)          \
  X(blur, BlurArgs)                   \
  X(blur_adjoint, BlurArgs)           \
  X(psf, PsfArgs)                     \
  X(resize, ResizeArgs)               \
  X(resize_adjoint, ResizeArgs)       \
  X(imresize, ImresizeArgs)           \
  X(imresize_adjoint, ImresizeArgs)   \
  X(noise, NoiseArgs)                 \
  X(jpeg, JpegArgs)                   \
  X(jpeg_adjoint, JpegAdjointArgs)    \
  X(sharpen, SharpenArgs)             \
  X(rain, RainArgs)                   \
  X(chain, ChainArgs)

#define PYD_DECLARE(name, Args) Status name##_cpu(const Args& args);
PYD_CPU_FUNCTIONS(PYD_DECLARE)
#undef PYD_DECLARE

// What has a CUDA form. There the same arguments become a program (cuda/program.h): everything that can be settled without
// the pixels, in one block of bytes. Addresses of pixels in `args` are not looked at; the program gets them when it runs.
struct Program;
#define PYD_CUDA_FUNCTIONS(X)         \
  X(blur, BlurArgs)                   \
  X(blur_adjoint, BlurArgs)           \
  X(resize, ResizeArgs)               \
  X(resize_adjoint, ResizeArgs)       \
  X(noise, NoiseArgs)                 \
  X(jpeg, JpegArgs)                   \
  X(jpeg_adjoint, JpegAdjointArgs)    \
  X(sharpen, SharpenArgs)             \
  X(rain, RainArgs)                   \
  X(chain, ChainArgs)

#define PYD_DECLARE(name, Args) Status name##_cuda(const Args& args, Program& program);
PYD_CUDA_FUNCTIONS(PYD_DECLARE)
#undef PYD_DECLARE

}  // namespace pyd

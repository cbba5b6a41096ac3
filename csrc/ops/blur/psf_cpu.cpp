// Blur kernels from their parameters, in double. Formulas: the released degradations.py of BasicSR.
//
// With p = (x, y) from the centre, x to the right and y down, and D = p^T S^-1 p, S = R diag(sigma_x^2, sigma_y^2) R^T:
//   Gaussian exp(-D / 2), generalized Gaussian exp(-D^beta / 2), plateau 1 / (1 + D^beta),
//   sinc w J1(w r) / (2 pi r); each divided by its sum.
//
// Box, disk, polygon and motion are apertures: a weight is the share of its pixel that the figure covers, from 8 x 8
// places.

#include "cpu/images.h"
#include "math/elementary.h"
#include "ops/blur/legal.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int kMaxWeights = kMaxBlurSizePx * kMaxBlurSizePx;
constexpr int64_t kItemsPerTask = 16;
// A narrower Gaussian than this is a unit pulse in double.
constexpr double kLeastSigmaPx = 1e-3;

struct Psf {
  int32_t shape;
  int size;
  double sigma_x, sigma_y, angle, beta, cutoff;
  double radius;
  int blades;
};

bool is_isotropic(int32_t shape) {
  return shape == kPsfIso || shape == kPsfGeneralizedIso || shape == kPsfPlateauIso || shape == kPsfSinc;
}

double at_least(double value, double least) { return value > least ? value : least; }

// exp(-x^2 / 2 sigma^2) on the line, sum 1.
void gaussian_line(int size, double sigma, double* line) {
  const double scale = -0.5 / (sigma * sigma);
  double sum = 0.0;
  for (int i = 0; i <= size / 2; ++i) {
    const double x = i - size / 2;
    line[i] = line[size - 1 - i] = elementary_exp(scale * x * x);
  }
  for (int i = 0; i < size; ++i) sum += line[i];
  for (int i = 0; i < size; ++i) line[i] /= sum;
}

// J1 at eight places, 1e-4 <= x <= 200 (x / 2 below), by Miller's downward recurrence
// J(n - 1) = (2 n / x) J(n) - J(n + 1), normalised by J0 + 2 (J2 + J4 + ...) = 1. Absolute error below 1e-14.
constexpr int kBesselLanes = 8;
#if defined(__AVX512F__)
constexpr int kDoubleLanes = 8;
#elif defined(__AVX2__)
constexpr int kDoubleLanes = 4;
#else
constexpr int kDoubleLanes = 2;
#endif
constexpr int kBesselParts = kBesselLanes / kDoubleLanes;
typedef double Doubles __attribute__((vector_size(8 * kDoubleLanes)));
void bessel_j1(const double x[kBesselLanes], double j1[kBesselLanes]) {
  double largest = 0.0;
  for (int l = 0; l < kBesselLanes; ++l) largest = x[l] > largest ? x[l] : largest;
  const int start = 2 * (static_cast<int>(largest * 0.575) + 18);
  Doubles two_over_x[kBesselParts], above[kBesselParts], here[kBesselParts], evens[kBesselParts];
  double inverse[kBesselLanes];
  for (int l = 0; l < kBesselLanes; ++l) inverse[l] = 2.0 / (x[l] > 1e-4 ? x[l] : 1e-4);
  memcpy(two_over_x, inverse, sizeof inverse);
  for (int part = 0; part < kBesselParts; ++part) {
    above[part] = Doubles{};
    evens[part] = here[part] = Doubles{} + 1e-280;
  }
  // Two steps at a time: after that for n, which is even, J(n - 1) is there; after the next one J(n - 2), which is summed.
  for (int n = start; n > 2; n -= 2) {
    const double even = n, odd = n - 1;
    for (int part = 0; part < kBesselParts; ++part) {
      above[part] = even * two_over_x[part] * here[part] - above[part];
      here[part] = odd * two_over_x[part] * above[part] - here[part];
      evens[part] = evens[part] + here[part];
    }
  }
  for (int part = 0; part < kBesselParts; ++part) {
    above[part] = 2.0 * two_over_x[part] * here[part] - above[part];  // J1
    const Doubles j0 = two_over_x[part] * above[part] - here[part];
    const Doubles value = above[part] / (j0 + 2.0 * evens[part]);
    for (int l = 0; l < kDoubleLanes; ++l) {
      const double at = x[part * kDoubleLanes + l];
      j1[part * kDoubleLanes + l] = at > 1e-4 ? value[l] : 0.5 * at;
    }
  }
}

// Profile of a kernel at `count` values of D (of r for sinc); count is a multiple of kBesselLanes.
void profile(const Psf& psf, const double* d, int count, double* out) {
  switch (psf.shape) {
    case kPsfSinc:
      for (int i = 0; i < count; i += kBesselLanes) {
        double x[kBesselLanes], j1[kBesselLanes];
        for (int l = 0; l < kBesselLanes; ++l) x[l] = psf.cutoff * d[i + l];
        bessel_j1(x, j1);
        // The factors w / 2 pi cancel in the sum; J1(w r) / r tends to w / 2.
        for (int l = 0; l < kBesselLanes; ++l) out[i + l] = d[i + l] > 0.0 ? j1[l] / d[i + l] : 0.5 * psf.cutoff;
      }
      return;
    case kPsfIso:
    case kPsfAniso:
      for (int i = 0; i < count; ++i) out[i] = elementary_exp(-0.5 * d[i]);
      return;
    default: break;
  }
  for (int i = 0; i < count; ++i) {
    const double power = elementary_exp(psf.beta * elementary_log(at_least(d[i], 1e-300)));
    out[i] = d[i] > 0.0 ? power : 0.0;
  }
  if (psf.shape == kPsfGeneralizedIso || psf.shape == kPsfGeneralizedAniso) {
    for (int i = 0; i < count; ++i) out[i] = elementary_exp(-0.5 * out[i]);
  } else {
    for (int i = 0; i < count; ++i) out[i] = 1.0 / (1.0 + out[i]);
  }
}

// Round kernels: one eighth of the square is computed and mirrored.
void round_kernel(const Psf& psf, double* kernel) {
  const int radius = psf.size / 2;
  double d[(kMaxBlurSizePx / 2 + 1) * (kMaxBlurSizePx / 2 + 2) / 2 + kBesselLanes] = {}, value[sizeof d / sizeof d[0]];
  int count = 0;
  for (int y = 0; y <= radius; ++y) {
    for (int x = 0; x <= y; ++x) {
      const double square = x * x + y * y;
      d[count++] = psf.shape == kPsfSinc ? pyd_sqrt(square) : square / (psf.sigma_x * psf.sigma_x);
    }
  }
  while (count % kBesselLanes != 0) {
    d[count] = d[count - 1];
    ++count;
  }
  profile(psf, d, count, value);
  const size_t row_bytes = sizeof(double) * static_cast<size_t>(psf.size);
  for (int y = 0; y <= radius; ++y) {
    double* const row = kernel + (radius + y) * psf.size + radius;
    for (int x = 0; x <= radius; ++x) {
      const int low = x < y ? x : y, high = x < y ? y : x;
      row[x] = row[-x] = value[high * (high + 1) / 2 + low];
    }
    if (y > 0) memcpy(kernel + (radius - y) * psf.size, row - radius, row_bytes);
  }
}

// Turned kernels: point symmetric, so the upper half and the centre are computed.
void turned_kernel(const Psf& psf, double* kernel) {
  const int radius = psf.size / 2, total = psf.size * psf.size;
  double sine, cosine;
  elementary_sin_cos(psf.angle, &sine, &cosine);
  double d[kMaxWeights / 2 + 1 + kBesselLanes], value[sizeof d / sizeof d[0]];
  const int half = total / 2 + 1;
  int count = 0;
  for (int row = 0; row <= radius; ++row) {
    const double y = row - radius;
    const int columns = row < radius ? psf.size : radius + 1;
    for (int column = 0; column < columns; ++column, ++count) {
      const double x = column - radius;
      const double along = (x * cosine + y * sine) / psf.sigma_x;
      const double across = (y * cosine - x * sine) / psf.sigma_y;
      d[count] = along * along + across * across;
    }
  }
  while (count % kBesselLanes != 0) {
    d[count] = d[count - 1];
    ++count;
  }
  profile(psf, d, count, value);
  for (int i = 0; i < half; ++i) kernel[i] = kernel[total - 1 - i] = value[i];
}

// Shares of pixels that a figure covers. The pixel in the middle has a weight even where the figure misses its places.
void aperture_kernel(const Psf& psf, double* kernel) {
  constexpr int kPlaces = 8;
  constexpr double kHalfLine = 0.5;  // a motion is a line of one px
  double sine, cosine, normal_x[kMaxBlades] = {}, normal_y[kMaxBlades] = {};
  elementary_sin_cos(psf.angle, &sine, &cosine);
  const double pi = 3.14159265358979323846;
  double apothem = psf.radius;
  if (psf.shape == kPsfPolygon) {
    double unused;
    elementary_sin_cos(pi / psf.blades, &unused, &apothem);
    apothem *= psf.radius;
    for (int i = 0; i < psf.blades; ++i) elementary_sin_cos(2.0 * pi * i / psf.blades, &normal_y[i], &normal_x[i]);
  }
  auto covers = [&](double x, double y) {
    if (psf.shape == kPsfDisk) return x * x + y * y <= psf.radius * psf.radius;
    const double along = x * cosine + y * sine, across = y * cosine - x * sine;
    const double size_along = along < 0.0 ? -along : along, size_across = across < 0.0 ? -across : across;
    if (psf.shape == kPsfBox) return size_along <= psf.radius && size_across <= psf.radius;
    if (psf.shape == kPsfMotion) return size_along <= psf.radius && size_across <= kHalfLine;
    for (int i = 0; i < psf.blades; ++i) {
      if (along * normal_x[i] + across * normal_y[i] > apothem) return false;
    }
    return true;
  };
  const int radius = psf.size / 2;
  for (int y = -radius; y <= radius; ++y) {
    for (int x = -radius; x <= radius; ++x) {
      int inside = 0;
      for (int i = 0; i < kPlaces * kPlaces; ++i) {
        const double at_x = x + (2 * (i % kPlaces) + 1 - kPlaces) / (2.0 * kPlaces);
        const double at_y = y + (2 * (i / kPlaces) + 1 - kPlaces) / (2.0 * kPlaces);
        inside += covers(at_x, at_y) ? 1 : 0;
      }
      kernel[(y + radius) * psf.size + x + radius] = inside;
    }
  }
  double& middle = kernel[psf.size * psf.size / 2];
  middle = at_least(middle, 1.0);
}

void normalise(double* kernel, int count) {
  double sum = 0.0;
  for (int i = 0; i < count; ++i) sum += kernel[i];
  for (int i = 0; i < count; ++i) kernel[i] /= sum;
}

// Moves a kernel by `shift` px to the lower right, so that the filtered image, a cross-correlation, moves as far to the
// upper left and every n-th sample of it lies in the middle of n pixels. As BSRGAN's code does for its convolution,
// mirrored: bilinear samples at (x + shift, y + shift), clamped to the square, then turned by 180 degrees.
void move_kernel(double* kernel, int size, double shift) {
  double moved[kMaxWeights];
  auto sample = [&](int y, int x) { return kernel[(y < size ? y : size - 1) * size + (x < size ? x : size - 1)]; };
  const int whole = static_cast<int>(shift);
  const double part = shift - whole;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const double upper = sample(y + whole, x + whole) * (1.0 - part) + sample(y + whole, x + whole + 1) * part;
      const double lower = sample(y + whole + 1, x + whole) * (1.0 - part) + sample(y + whole + 1, x + whole + 1) * part;
      moved[y * size + x] = upper * (1.0 - part) + lower * part;
    }
  }
  const int count = size * size;
  for (int i = 0; i < count; ++i) kernel[i] = moved[count - 1 - i];
  normalise(kernel, count);
}

// Size left when outer rings are dropped as long as their absolute weights sum to at most `trim` in all.
int trimmed_size(const double* kernel, int size, double trim) {
  int kept = size;
  double dropped = 0.0;
  while (kept > 1) {
    const int edge = (size - kept) / 2, last = size - 1 - edge;
    double ring = 0.0;
    auto add = [&](int y, int x) {
      const double weight = kernel[y * size + x];
      ring += weight < 0.0 ? -weight : weight;
    };
    for (int i = edge; i <= last; ++i) {
      add(edge, i);
      add(last, i);
      if (i > edge && i < last) {
        add(i, edge);
        add(i, last);
      }
    }
    if (dropped + ring > trim) break;
    dropped += ring;
    kept -= 2;
  }
  return kept;
}

void synthesise(const PsfParams& params, double trim, int64_t item) {
  const int size = params.size_px[item];
  const int64_t start = params.start[item];
  const double shift = params.shift_px[item];
  Psf psf = {params.shape[item],
             size,
             at_least(params.sigma_x_px[item], kLeastSigmaPx),
             at_least(params.sigma_y_px[item], kLeastSigmaPx),
             params.angle_rad[item],
             params.beta[item],
             params.cutoff_rad[item],
             params.radius_px.given() ? params.radius_px[item] : 0.0,
             params.blades.given() ? params.blades[item] : 0};
  double line[kMaxBlurSizePx];
  double kernel[kMaxWeights];
  kernel[0] = 0.0;  // a size is at least 1, which compilers do not know
  const bool separable = psf.shape == kPsfIso && shift == 0.0;
  const bool pulse = psf.shape == kPsfDelta || size == 1;
  if (pulse) {
    memset(kernel, 0, sizeof(double) * static_cast<size_t>(size * size));
    kernel[size * size / 2] = 1.0;
  } else if (separable) {
    gaussian_line(size, psf.sigma_x, line);
    for (int y = 0; y < size; ++y) {
      for (int x = 0; x < size; ++x) kernel[y * size + x] = line[y] * line[x];
    }
  } else {
    if (psf.shape >= kPsfBox) aperture_kernel(psf, kernel);
    else if (is_isotropic(psf.shape)) round_kernel(psf, kernel);
    else turned_kernel(psf, kernel);
    normalise(kernel, size * size);
    if (shift != 0.0) move_kernel(kernel, size, shift);
  }
  if (params.full.given()) memcpy(params.full.data + start, kernel, sizeof(double) * static_cast<size_t>(size * size));
  if (!params.weights.given()) return;

  const int kept = pulse ? 1 : trimmed_size(kernel, size, trim);
  const int edge = (size - kept) / 2;
  float* weights = params.weights.data + start;
  params.trimmed_size_px[item] = kept;
  if (kept == 1) {
    params.path[item] = kBlurIdentity;
    weights[0] = 1.0f;
  } else if (separable) {
    params.path[item] = kBlurSeparable;
    for (int i = 0; i < kept; ++i) weights[i] = weights[kept + i] = static_cast<float>(line[edge + i]);
  } else {
    params.path[item] = kBlurDense;
    for (int y = 0; y < kept; ++y) {
      for (int x = 0; x < kept; ++x) weights[y * kept + x] = static_cast<float>(kernel[(edge + y) * size + edge + x]);
    }
  }
}

}  // namespace

Status psf_cpu(const PsfArgs& args) {
  const int64_t count = args.params.items;
  for (int64_t item = 0; item < count; ++item) {
    if (psf_fault(args.params, item) != nullptr) return Status::kBadArgument;
  }
  parallel_for((count + kItemsPerTask - 1) / kItemsPerTask, [&](int64_t task) {
    const int64_t end = (task + 1) * kItemsPerTask < count ? (task + 1) * kItemsPerTask : count;
    for (int64_t item = task * kItemsPerTask; item < end; ++item) synthesise(args.params, args.trim, item);
  });
  return Status::kOk;
}

}  // namespace PYD_ISA
}  // namespace pyd

// Resampling along one axis as a sparse matrix: which input samples an output sample is made of, and with which weights.
// All in double except where torch computes coordinates in float, which decides about indices.
#pragma once

#include "math/hd.h"
#include "ops/resize/fields.h"

namespace pyd {

// One axis of a resize.
struct Axis {
  int32_t mode;         // ResizeMode
  int64_t in_px;        // >= 1
  int64_t out_px;       // >= 1
  double given_scale;   // output px per input px, or 0: the ratio of the sizes
  int32_t both_shrink;  // cv2_area: neither axis grows, which selects its true area rule
};

PYD_HD double axis_scale(const Axis& axis) {
  return axis.given_scale != 0.0 ? axis.given_scale : static_cast<double>(axis.out_px) / static_cast<double>(axis.in_px);
}
PYD_HD int32_t is_matlab(int32_t mode) { return mode >= kMatlabBicubic && mode <= kMatlabNearest; }

PYD_HD int64_t floor_int(double x) {
  const int64_t truncated = static_cast<int64_t>(x);
  return truncated - (static_cast<double>(truncated) > x);
}
PYD_HD int64_t ceil_int(double x) { return -floor_int(-x); }
PYD_HD double absolute(double x) { return x < 0.0 ? -x : x; }
PYD_HD int64_t clamp_index(int64_t index, int64_t size) { return index < 0 ? 0 : (index < size ? index : size - 1); }

// Half-sample symmetric continuation: 1 0 | 0 1 .. n-1 | n-1 n-2.
PYD_HD int64_t mirror_index(int64_t index, int64_t size) {
  if (index >= 0 && index < size) return index;
  int64_t place = index % (2 * size);
  if (place < 0) place += 2 * size;
  return place < size ? place : 2 * size - 1 - place;
}

// Sine for |x| < 1000: x is reduced to [-pi/4, pi/4] around a multiple of pi/2, then Taylor series to below 1e-17. pi/2 is
// the sum of a double of 33 bits, whose small multiples are exact, and the rest.
PYD_HD double sine(double x) {
  const double half_pi_high = 1.57079632673412561417, half_pi_low = 6.07710050650619224932e-11;
  const int64_t quarter = floor_int(x * 0.63661977236758134308 + 0.5);
  const double quarters = static_cast<double>(quarter);
  const double t = (x - quarters * half_pi_high) - quarters * half_pi_low;
  const double square = t * t;
  double odd = 0.0, even = 0.0;
  PYD_ROLLED
  for (int k = 9; k >= 1; --k) {
    odd = -square / static_cast<double>((2 * k) * (2 * k + 1)) * (1.0 + odd);
    even = -square / static_cast<double>((2 * k - 1) * (2 * k)) * (1.0 + even);
  }
  const double value = (quarter & 1) ? 1.0 + even : t * (1.0 + odd);
  return (quarter & 2) ? -value : value;
}

// Cubic convolution (Keys 1981) at distance x from the sample.
PYD_HD double cubic_kernel(double x, double a) {
  const double d = absolute(x);
  if (d <= 1.0) return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
  if (d < 2.0) return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
  return 0.0;
}

// ---- MATLAB's kernels, operation by operation as its imresize: the last digit of a weight decides about ties.

// Keys' kernel with a = -1/2. The cube has one rounding, as that of MATLAB's power; d * d * d would have two.
PYD_HD double matlab_cubic(double x) {
  const double d = absolute(x), square = d * d, product = square * d;
  const double cube = product + (pyd_fma(square, d, -product) + pyd_fma(d, d, -square) * d);
  if (d <= 1.0) return 1.5 * cube - 2.5 * square + 1.0;
  if (d <= 2.0) return -0.5 * cube + 2.5 * square - 4.0 * d + 2.0;
  return 0.0;
}
PYD_HD double matlab_lanczos(double x, double lobes) {
  const double pi = 3.14159265358979323846, epsilon = 2.220446049250313e-16;
  if (absolute(x) >= lobes) return 0.0;
  const double product = sine(pi * x) * sine(pi * x / lobes) + epsilon;
  return product / (pi * pi * (x * x) / lobes + epsilon);
}
PYD_HD double matlab_kernel(int32_t mode, double x) {
  switch (mode) {
    case kMatlabBicubic: return matlab_cubic(x);
    case kMatlabBilinear: return absolute(x) < 1.0 ? 1.0 - absolute(x) : 0.0;
    case kMatlabLanczos2: return matlab_lanczos(x, 2.0);
    case kMatlabLanczos3: return matlab_lanczos(x, 3.0);
    default: return x >= -0.5 && x < 0.5 ? 1.0 : 0.0;
  }
}
PYD_HD double matlab_width(int32_t mode) {
  switch (mode) {
    case kMatlabBicubic:
    case kMatlabLanczos2: return 4.0;
    case kMatlabBilinear: return 2.0;
    case kMatlabLanczos3: return 6.0;
    default: return 1.0;
  }
}
// What imresize leaves to its caller.
struct MatlabRule {
  int32_t antialias;  // 1: the kernel is widened to a low-pass filter when shrinking
  int32_t replicate;  // 1: the edge is repeated, as in old releases; 0: the image is mirrored
};
// The kernel is widened by this factor, <= 1.
PYD_HD double matlab_stretch(const Axis& axis, MatlabRule rule) {
  const double scale = axis_scale(axis);
  return rule.antialias && scale < 1.0 && axis.mode != kMatlabNearest ? scale : 1.0;
}
PYD_HD int64_t matlab_tap_bound(const Axis& axis, MatlabRule rule) {
  return ceil_int(matlab_width(axis.mode) / matlab_stretch(axis, rule)) + 2;
}

// ---- Kernels that are widened when shrinking, as Pillow's and torch's antialiased modes

// Mitchell and Netravali 1988, equation 8.
PYD_HD double cubic_of(double x, double b, double c) {
  const double d = absolute(x);
  if (d < 1.0) return (((12.0 - 9.0 * b - 6.0 * c) * d + (-18.0 + 12.0 * b + 6.0 * c)) * d * d + (6.0 - 2.0 * b)) / 6.0;
  if (d >= 2.0) return 0.0;
  return ((((-b - 6.0 * c) * d + (6.0 * b + 30.0 * c)) * d + (-12.0 * b - 48.0 * c)) * d + (8.0 * b + 24.0 * c)) / 6.0;
}
PYD_HD double low_pass_kernel(int32_t mode, double x) {
  const double pi = 3.14159265358979323846;
  switch (mode) {
    case kTorchBilinearAa: return absolute(x) < 1.0 ? 1.0 - absolute(x) : 0.0;
    case kLanczos3: {
      if (absolute(x) >= 3.0) return 0.0;
      return x == 0.0 ? 1.0 : 3.0 * sine(pi * x) * sine(pi * x / 3.0) / (pi * pi * x * x);
    }
    case kMitchell: return cubic_of(x, 1.0 / 3.0, 1.0 / 3.0);
    case kHermite: return cubic_of(x, 0.0, 0.0);
    case kBSpline: return cubic_of(x, 1.0, 0.0);
    default: return cubic_of(x, 0.0, 0.5);
  }
}
// Where the kernel ends, in input px when nothing shrinks.
PYD_HD double low_pass_radius(int32_t mode) {
  return mode == kTorchBilinearAa || mode == kHermite ? 1.0 : (mode == kLanczos3 ? 3.0 : 2.0);
}
// Input px per output px. torch has it in float.
PYD_HD double low_pass_step(const Axis& axis) {
  const double step = 1.0 / axis_scale(axis);
  return axis.mode == kTorchBilinearAa || axis.mode == kTorchBicubicAa ? static_cast<double>(static_cast<float>(step))
                                                                       : step;
}

// Order of the two passes. MATLAB: the axis with the smaller scale first, rows on a tie. Others: vertical first unless the
// height grows, since that leaves less to do.
PYD_HD bool is_vertical_first(const Axis& vertical, const Axis& horizontal) {
  return is_matlab(vertical.mode) ? axis_scale(vertical) <= axis_scale(horizontal) : vertical.out_px <= vertical.in_px;
}

PYD_HD int32_t family_of(int32_t mode) {
  switch (mode) {
#define PYD_MODE(name, Name, Family) \
  case k##Name: return kFamily##Family;
    PYD_RESIZE_MODES(PYD_MODE)
#undef PYD_MODE
    default: return kFamilyDecimate;
  }
}

// ---- Most taps of an output sample

PYD_HD int64_t area_bound(const Axis& axis) { return (axis.in_px + axis.out_px - 1) / axis.out_px + 2; }
PYD_HD int64_t cv2_area_bound(const Axis& axis) { return ceil_int(1.0 / axis_scale(axis)) + 3; }
PYD_HD int64_t few_bound(const Axis& axis) { return axis.mode == kTorchBicubic || axis.mode == kCv2Cubic ? 4 : 2; }
PYD_HD int64_t matlab_bound(const Axis& axis) { return matlab_tap_bound(axis, {1, 0}); }
PYD_HD int64_t decimate_bound(const Axis&) { return 1; }
PYD_HD int64_t low_pass_bound(const Axis& axis) {
  const double step = low_pass_step(axis);
  return 2 * ceil_int(low_pass_radius(axis.mode) * (step > 1.0 ? step : 1.0)) + 2;
}

PYD_HD int64_t tap_bound(const Axis& axis) {
  switch (family_of(axis.mode)) {
#define PYD_FAMILY(Family, taps, bound) \
  case kFamily##Family: return bound(axis);
    PYD_TAP_FAMILIES(PYD_FAMILY)
#undef PYD_FAMILY
    default: return 0;
  }
}

// Whether outputs skip inputs for certain, as those of filters do that are not widened when shrinking; and the share of the
// inputs that they read, at most.
PYD_HD bool skips_inputs(const Axis& axis) { return tap_bound(axis) * axis.out_px < axis.in_px; }
PYD_HD double share_read(const Axis& axis) {
  return skips_inputs(axis) ? static_cast<double>(tap_bound(axis) * axis.out_px) / static_cast<double>(axis.in_px) : 1.0;
}

// ---- Taps

// Taps of one output sample in the order in which they are summed.
struct Taps {
  int32_t* index;
  float* weight;
  int64_t count;
};
PYD_HD void add_tap(Taps& taps, int64_t index, double weight) {
  const float rounded = static_cast<float>(weight);
  if (rounded == 0.0f) return;
  taps.index[taps.count] = static_cast<int32_t>(index);
  taps.weight[taps.count] = rounded;
  ++taps.count;
}

// Windows [floor(j in/out), ceil((j + 1) in/out)) with equal weights; they may overlap.
PYD_HD void torch_area_taps(const Axis& axis, int64_t j, Taps& taps) {
  const int64_t first = j * axis.in_px / axis.out_px;
  const int64_t end = ((j + 1) * axis.in_px + axis.out_px - 1) / axis.out_px;
  for (int64_t i = first; i < end; ++i) add_tap(taps, i, 1.0 / static_cast<double>(end - first));
}

PYD_HD void linear_taps(const Axis& axis, int64_t first, double fraction, Taps& taps) {
  add_tap(taps, clamp_index(first, axis.in_px), 1.0 - fraction);
  add_tap(taps, clamp_index(first + 1, axis.in_px), fraction);
}
PYD_HD void cubic_taps(const Axis& axis, int64_t first, double fraction, Taps& taps) {
  for (int64_t t = -1; t <= 2; ++t) {
    add_tap(taps, clamp_index(first + t, axis.in_px), cubic_kernel(static_cast<double>(t) - fraction, -0.75));
  }
}

// torch's cubic kernel for distances up to 1 and from 1 to 2, in float as there.
PYD_HD float inner_cubic(float d) { return pyd_fma(pyd_fma(1.25f, d, -2.25f) * d, d, 1.0f); }
PYD_HD float outer_cubic(float d) { return pyd_fma(pyd_fma(pyd_fma(-0.75f, d, 3.75f), d, -6.0f), d, 3.0f); }

// torch's coordinates, in float as there; the multiplications and additions are fused in its builds for AVX2 and above.
PYD_HD void torch_taps(const Axis& axis, int64_t j, Taps& taps) {
  const bool cubic = axis.mode == kTorchBicubic;
  if (!cubic && axis.in_px == axis.out_px) return add_tap(taps, j, 1.0);
  const float step = axis.given_scale != 0.0 ? static_cast<float>(1.0 / axis.given_scale)
                                             : static_cast<float>(axis.in_px) / static_cast<float>(axis.out_px);
  float at = pyd_fma(step, static_cast<float>(j) + 0.5f, -0.5f);
  if (!cubic && at < 0.0f) at = 0.0f;
  int64_t first = floor_int(at);
  if (first > axis.in_px - 1) first = axis.in_px - 1;
  float fraction = at - static_cast<float>(first);
  fraction = fraction < 0.0f ? 0.0f : (fraction > 1.0f ? 1.0f : fraction);
  if (!cubic) return linear_taps(axis, first, fraction, taps);
  const float weights[4] = {outer_cubic(fraction + 1.0f), inner_cubic(fraction), inner_cubic(1.0f - fraction),
                            outer_cubic((1.0f - fraction) + 1.0f)};
  for (int64_t t = 0; t < 4; ++t) add_tap(taps, clamp_index(first + t - 1, axis.in_px), weights[t]);
}

PYD_HD void cv2_taps(const Axis& axis, int64_t j, Taps& taps) {
  const double at = (static_cast<double>(j) + 0.5) / axis_scale(axis) - 0.5;
  const int64_t first = floor_int(at);
  const double fraction = at - static_cast<double>(first);
  if (axis.mode == kCv2Cubic) {
    cubic_taps(axis, first, fraction, taps);
  } else {
    linear_taps(axis, first, fraction, taps);
  }
}

PYD_HD void cv2_area_taps(const Axis& axis, int64_t j, Taps& taps) {
  const double scale = axis_scale(axis), step = 1.0 / scale;
  if (!axis.both_shrink) {
    const int64_t first = floor_int(static_cast<double>(j) * step);
    double fraction = static_cast<float>(static_cast<double>(j + 1) - static_cast<double>(first + 1) * scale);
    fraction = fraction <= 0.0 ? 0.0 : fraction - static_cast<double>(floor_int(fraction));
    return linear_taps(axis, first, fraction, taps);
  }
  const double begin = static_cast<double>(j) * step, end = begin + step;
  const double rest = static_cast<double>(axis.in_px) - begin, cell = step < rest ? step : rest;
  int64_t last = floor_int(end), first = ceil_int(begin);
  if (last > axis.in_px - 1) last = axis.in_px - 1;
  if (first > last) first = last;
  const double before = static_cast<double>(first) - begin;
  if (before > 1e-3) add_tap(taps, first - 1, before / cell);
  for (int64_t i = first; i < last; ++i) add_tap(taps, i, 1.0 / cell);
  double after = end - static_cast<double>(last);
  if (after > 1e-3) {
    if (after > 1.0) after = 1.0;
    if (after > cell) after = cell;
    add_tap(taps, last, after / cell);
  }
}

// The taps of one output sample before they are divided by their sum: input samples first .. first + count - 1, which may
// lie outside the image.
struct MatlabWindow {
  double centre;  // in input px, counted from 1, as `first`
  double stretch;
  int64_t first;
  int64_t count;
};
PYD_HD MatlabWindow matlab_window(const Axis& axis, MatlabRule rule, int64_t j) {
  const double scale = axis_scale(axis), stretch = matlab_stretch(axis, rule);
  const double width = matlab_width(axis.mode) / stretch;
  const double centre = static_cast<double>(j + 1) / scale + 0.5 * (1.0 - 1.0 / scale);
  return {centre, stretch, floor_int(centre - 0.5 * width), ceil_int(width) + 2};
}
// Multiplying by 1 changes nothing, so a kernel that is not stretched needs no case of its own.
PYD_HD double matlab_value(const Axis& axis, const MatlabWindow& window, int64_t i) {
  return window.stretch * matlab_kernel(axis.mode, window.stretch * (window.centre - static_cast<double>(i)));
}
PYD_HD int64_t matlab_place(const Axis& axis, MatlabRule rule, int64_t i) {
  return rule.replicate ? clamp_index(i - 1, axis.in_px) : mirror_index(i - 1, axis.in_px);
}

PYD_HD void matlab_taps(const Axis& axis, MatlabRule rule, int64_t j, Taps& taps) {
  const MatlabWindow window = matlab_window(axis, rule, j);
  const int64_t end = window.first + window.count;
  double sum = 0.0;
  for (int64_t i = window.first; i < end; ++i) sum += matlab_value(axis, window, i);
  for (int64_t i = window.first; i < end; ++i) {
    add_tap(taps, matlab_place(axis, rule, i), matlab_value(axis, window, i) / sum);
  }
}
// Whether sides and scale are such that positions fit 64-bit and numbers of taps 32-bit integers.
PYD_HD bool matlab_axis_is_sound(const Axis& axis, MatlabRule rule) {
  const int64_t limit_px = int64_t{1} << 30;
  if (!is_matlab(axis.mode) || axis.in_px < 1 || axis.out_px < 1 || axis.in_px > limit_px || axis.out_px > limit_px) {
    return false;
  }
  if (!(axis.given_scale > 1e-9 && axis.given_scale < 1e9)) return false;
  return axis.out_px * matlab_tap_bound(axis, rule) < 0x7fffffff;
}
// All taps of a sound axis in double, one output sample behind the other; index and weight have out_px *
// matlab_tap_bound places.
//
// Most scales of practice repeat their weights every one to four samples. The fraction of the centre (> 1/2) is exact, so
// where it and the window's place around it repeat, the same real distances are rounded to the same doubles.
PYD_HD void matlab_table(const Axis& axis, MatlabRule rule, int32_t* start, int32_t* index, double* weight) {
  constexpr int kPeriods = 4;
  double fraction[kPeriods] = {-1.0, -1.0, -1.0, -1.0};  // of the last outputs, j at j % kPeriods
  int64_t reach[kPeriods] = {};                          // from the window's begin to the px of the centre
  int64_t count = 0;
  for (int64_t j = 0; j < axis.out_px; ++j) {
    const MatlabWindow window = matlab_window(axis, rule, j);
    const int64_t whole = floor_int(window.centre), here_reach = whole - window.first;
    const double here = window.centre - static_cast<double>(whole);
    start[j] = static_cast<int32_t>(count);
    int period = 1;
    for (; period <= kPeriods; ++period) {
      const int64_t place = (j + kPeriods - period) % kPeriods;
      if (fraction[place] == here && reach[place] == here_reach) break;
    }
    fraction[j % kPeriods] = here;
    reach[j % kPeriods] = here_reach;
    // The index of a tap is its number in the window until all weights are there.
    if (period <= kPeriods) {
      for (int32_t k = start[j - period]; k < start[j - period + 1]; ++k, ++count) {
        index[count] = index[k];
        weight[count] = weight[k];
      }
      continue;
    }
    double sum = 0.0;
    for (int64_t t = 0; t < window.count; ++t) {
      const double value = matlab_value(axis, window, window.first + t);
      sum += value;
      if (value == 0.0) continue;
      index[count] = static_cast<int32_t>(t);
      weight[count++] = value;
    }
    for (int64_t k = start[j]; k < count; ++k) weight[k] /= sum;
  }
  start[axis.out_px] = static_cast<int32_t>(count);
  for (int64_t j = 0; j < axis.out_px; ++j) {
    const int64_t first = matlab_window(axis, rule, j).first;
    for (int32_t k = start[j]; k < start[j + 1]; ++k) {
      index[k] = static_cast<int32_t>(matlab_place(axis, rule, first + index[k]));
    }
  }
}

// Every n-th sample, beginning with the first.
PYD_HD void decimate_taps(const Axis& axis, int64_t j, Taps& taps) {
  const int64_t n = floor_int(1.0 / axis_scale(axis) + 0.5);
  add_tap(taps, clamp_index(j * (n < 1 ? 1 : n), axis.in_px), 1.0);
}

// The weight of input i; torch rounds to float on the way.
PYD_HD double low_pass_value(const Axis& axis, bool as_torch, double centre, double stretch, int64_t i) {
  const double distance = static_cast<double>(i) - centre;
  if (!as_torch) return low_pass_kernel(axis.mode, (distance + 0.5) / stretch);
  const double rounded = static_cast<float>(distance);
  return low_pass_kernel(axis.mode, static_cast<float>((rounded + 0.5) * static_cast<float>(1.0 / stretch)));
}

// The window is cut at the borders and its weights divided by their sum.
PYD_HD void low_pass_taps(const Axis& axis, int64_t j, Taps& taps) {
  const bool as_torch = axis.mode == kTorchBilinearAa || axis.mode == kTorchBicubicAa;
  // torch leaves an axis alone whose size stays, whatever the factor.
  if (as_torch && axis.in_px == axis.out_px) return add_tap(taps, j, 1.0);
  const double step = low_pass_step(axis), stretch = step > 1.0 ? step : 1.0;
  double centre = step * (static_cast<double>(j) + 0.5);
  if (as_torch) centre = static_cast<float>(centre);
  const double reach = low_pass_radius(axis.mode) * stretch;
  int64_t first = floor_int(centre - reach + 0.5), end = floor_int(centre + reach + 0.5);
  if (first < 0) first = 0;
  if (end > axis.in_px) end = axis.in_px;
  if (first > end - 1) first = end - 1;
  double sum = 0.0;
  for (int64_t i = first; i < end; ++i) sum += low_pass_value(axis, as_torch, centre, stretch, i);
  for (int64_t i = first; i < end; ++i) {
    add_tap(taps, i, low_pass_value(axis, as_torch, centre, stretch, i) / sum);
  }
}

// torch's "nearest-exact", its coordinates in float as there.
PYD_HD void nearest_exact_taps(const Axis& axis, int64_t j, Taps& taps) {
  const float step = axis.given_scale != 0.0 ? static_cast<float>(1.0 / axis.given_scale)
                                             : static_cast<float>(axis.in_px) / static_cast<float>(axis.out_px);
  float at = pyd_fma(step, static_cast<float>(j) + 0.5f, -0.5f);
  if (at < 0.0f) at = 0.0f;
  add_tap(taps, clamp_index(floor_int(static_cast<float>(static_cast<double>(at) + 0.5)), axis.in_px), 1.0);
}

PYD_HD void matlab_mode_taps(const Axis& axis, int64_t j, Taps& taps) { matlab_taps(axis, {1, 0}, j, taps); }

// Writes the taps of output sample j, at most tap_bound(axis) of them, and returns their number.
PYD_HD int64_t axis_taps(const Axis& axis, int64_t j, int32_t* index, float* weight) {
  Taps taps = {index, weight, 0};
  switch (family_of(axis.mode)) {
#define PYD_FAMILY(Family, family_taps, bound) \
  case kFamily##Family: family_taps(axis, j, taps); break;
    PYD_TAP_FAMILIES(PYD_FAMILY)
#undef PYD_FAMILY
    default: break;
  }
  return taps.count;
}

}  // namespace pyd

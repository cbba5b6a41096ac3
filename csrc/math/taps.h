// Resampling along one axis as a sparse matrix: which input samples an output sample is made of, and with which weights.
// All in double except where torch computes coordinates in float, which decides about indices.
#pragma once

#include "math/hd.h"
#include "ops.h"

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
  return axis.given_scale != 0.0 ? axis.given_scale
                                 : static_cast<double>(axis.out_px) / static_cast<double>(axis.in_px);
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
  int64_t place = index % (2 * size);
  if (place < 0) place += 2 * size;
  return place < size ? place : 2 * size - 1 - place;
}

// sin(pi x): x is reduced to [-1/4, 1/4] around a multiple of 1/2, then Taylor series to below 1e-17.
PYD_HD double sin_pi(double x) {
  const int64_t quarter = floor_int(2.0 * x + 0.5);
  const double t = (x - 0.5 * static_cast<double>(quarter)) * 3.14159265358979323846;
  const double square = t * t;
  double sine = 0.0, cosine = 0.0;
  PYD_ROLLED
  for (int k = 9; k >= 1; --k) {
    sine = -square / static_cast<double>((2 * k) * (2 * k + 1)) * (1.0 + sine);
    cosine = -square / static_cast<double>((2 * k - 1) * (2 * k)) * (1.0 + cosine);
  }
  const double value = (quarter & 1) ? 1.0 + cosine : t * (1.0 + sine);
  return (quarter & 2) ? -value : value;
}

// Cubic convolution (Keys 1981) at distance x from the sample.
PYD_HD double cubic_kernel(double x, double a) {
  const double d = absolute(x);
  if (d <= 1.0) return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
  if (d < 2.0) return ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
  return 0.0;
}
PYD_HD double lanczos_kernel(double x, double lobes) {
  const double d = absolute(x);
  if (d >= lobes) return 0.0;
  if (d < 1e-8) return 1.0;
  const double pi = 3.14159265358979323846;
  return lobes * sin_pi(d) * sin_pi(d / lobes) / (pi * pi * d * d);
}

PYD_HD double matlab_kernel(int32_t mode, double x) {
  switch (mode) {
    case kMatlabBicubic: return cubic_kernel(x, -0.5);
    case kMatlabBilinear: return absolute(x) < 1.0 ? 1.0 - absolute(x) : 0.0;
    case kMatlabLanczos2: return lanczos_kernel(x, 2.0);
    case kMatlabLanczos3: return lanczos_kernel(x, 3.0);
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
// The kernel is widened to a low-pass filter by this factor, <= 1.
PYD_HD double matlab_stretch(const Axis& axis) {
  const double scale = axis_scale(axis);
  return scale < 1.0 && axis.mode != kMatlabNearest ? scale : 1.0;
}

// Order of the two passes. MATLAB: the axis with the smaller scale first, rows on a tie. Others: vertical first unless the
// height grows, since that leaves less to do.
PYD_HD bool is_vertical_first(const Axis& vertical, const Axis& horizontal) {
  return is_matlab(vertical.mode) ? axis_scale(vertical) <= axis_scale(horizontal) : vertical.out_px <= vertical.in_px;
}

// No output sample has more taps than this.
PYD_HD int64_t tap_bound(const Axis& axis) {
  const int64_t ratio = (axis.in_px + axis.out_px - 1) / axis.out_px;
  switch (axis.mode) {
    case kTorchArea: return ratio + 2;
    case kCv2Area: return ceil_int(1.0 / axis_scale(axis)) + 3;
    case kTorchBilinear:
    case kCv2Linear: return 2;
    case kTorchBicubic:
    case kCv2Cubic: return 4;
    case kDecimate: return 1;
    default: return ceil_int(matlab_width(axis.mode) / matlab_stretch(axis)) + 2;
  }
}

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

PYD_HD void matlab_taps(const Axis& axis, int64_t j, Taps& taps) {
  const double scale = axis_scale(axis), stretch = matlab_stretch(axis);
  const double width = matlab_width(axis.mode) / stretch;
  const double centre = static_cast<double>(j + 1) / scale + 0.5 * (1.0 - 1.0 / scale);  // counted from 1
  const int64_t first = floor_int(centre - 0.5 * width), count = ceil_int(width) + 2;
  double sum = 0.0;
  for (int64_t i = first; i < first + count; ++i) {
    sum += matlab_kernel(axis.mode, stretch * (centre - static_cast<double>(i)));
  }
  for (int64_t i = first; i < first + count; ++i) {
    const double weight = matlab_kernel(axis.mode, stretch * (centre - static_cast<double>(i))) / sum;
    add_tap(taps, mirror_index(i - 1, axis.in_px), weight);
  }
}

// Every n-th sample, beginning with the first.
PYD_HD void decimate_taps(const Axis& axis, int64_t j, Taps& taps) {
  const int64_t n = floor_int(1.0 / axis_scale(axis) + 0.5);
  add_tap(taps, clamp_index(j * (n < 1 ? 1 : n), axis.in_px), 1.0);
}

// Writes the taps of output sample j, at most tap_bound(axis) of them, and returns their number.
PYD_HD int64_t axis_taps(const Axis& axis, int64_t j, int32_t* index, float* weight) {
  Taps taps = {index, weight, 0};
  switch (axis.mode) {
    case kTorchArea: torch_area_taps(axis, j, taps); break;
    case kTorchBilinear:
    case kTorchBicubic: torch_taps(axis, j, taps); break;
    case kCv2Linear:
    case kCv2Cubic: cv2_taps(axis, j, taps); break;
    case kCv2Area: cv2_area_taps(axis, j, taps); break;
    case kDecimate: decimate_taps(axis, j, taps); break;
    default: matlab_taps(axis, j, taps); break;
  }
  return taps.count;
}

}  // namespace pyd

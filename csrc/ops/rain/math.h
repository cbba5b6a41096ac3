// Rain: bright streaks added to an image, each a function of a key and a place.
//
// The plane is cut into cells of 32 x 32 px. A cell holds floor(mean + u) streaks, so the density is right on average and
// drops are spread more evenly than a Poisson process would. A streak lies anywhere in its cell (which may lie outside the
// image: streaks reach in from there), is half as long and bright as the item says up to fully, and is a soft-edged bar:
// brightness * A(along) * W(across), A and W straight ramps from 1 to 0 whose middle lies at half the length and half the
// width. The ramp across is `blur_px` wide (at least 1 px, so that thin streaks have no steps); the ramp along is as wide
// or a quarter of the streak, because a drop's path fades where the shutter opens and closes.
//
// A pixel's rain is the sum of its streaks in a fixed order: cells row by row, streaks by number. Zeros change no sum, so
// it does not matter which streaks out of reach are left out.
//
// Words: key (o0, o1), counter ((cell y + 64) << 16 | cell x + 64, 4 << 24 | number, o2, o3); number kRainCount gives the
// count of the cell.
#pragma once

#include "math/elementary.h"
#include "math/philox.h"
#include "ops/rain/fields.h"

constexpr int32_t kRainCellPx = 32;
constexpr int32_t kRainCellOffset = 64;  // cells left of and above the image have negative numbers
constexpr uint32_t kRainStream = 4;      // beside noise's 1, 2 and 3
constexpr uint32_t kRainCount = 0x00FFFFFFu;
constexpr float kRainSteepest = 1.3f;    // rad from the vertical

struct RainShape {
  float sine, cosine;  // direction of a streak: (sine, cosine) in (x right, y down)
  float length_px, half_width_px;
  float brightness;    // 1 = full range
  float soft_px, inverse_soft;
  float mean_count;    // streaks per cell
  uint32_t key[4];
};

struct RainStreak {
  float x, y;  // centre, from the cell's first pixel, [0, 32)
  float half_length_px, inverse_taper;
  float brightness;
};

PYD_HD float rain_absolute(float value) { return value < 0.0f ? -value : value; }

PYD_HD float rain_clip(float value) {
  value = value > 0.0f ? value : 0.0f;
  return value < 1.0f ? value : 1.0f;
}

// [0, 1), 24 bits: exact in float32.
PYD_HD float rain_uniform(uint32_t word) { return static_cast<float>(word >> 8) * 5.9604644775390625e-8f; }

PYD_HD RainShape rain_shape_of(const pyd::RainParams& params, int64_t item) {
  double sine, cosine;
  elementary_sin_cos(static_cast<double>(params.angle_rad[item]), &sine, &cosine);
  RainShape shape;
  shape.sine = static_cast<float>(sine);
  shape.cosine = static_cast<float>(cosine);
  shape.length_px = params.length_px[item];
  shape.half_width_px = 0.5f * params.width_px[item];
  shape.brightness = params.brightness[item];
  shape.soft_px = params.blur_px[item] > 1.0f ? params.blur_px[item] : 1.0f;
  shape.inverse_soft = 1.0f / shape.soft_px;
  shape.mean_count = params.streaks_per_kpx[item] * (static_cast<float>(kRainCellPx * kRainCellPx) / 1000.0f);
  for (int i = 0; i < 4; ++i) shape.key[i] = params.key[4 * item + i];
  return shape;
}

PYD_HD Philox4 rain_words(const RainShape& shape, int32_t cell_y, int32_t cell_x, uint32_t number) {
  const uint32_t place =
      static_cast<uint32_t>(cell_y + kRainCellOffset) << 16 | static_cast<uint32_t>(cell_x + kRainCellOffset);
  return philox4x32_10(shape.key[0], shape.key[1], place, kRainStream << 24 | number, shape.key[2], shape.key[3]);
}

// How many streaks a cell holds.
PYD_HD int32_t rain_count(const RainShape& shape, int32_t cell_y, int32_t cell_x) {
  return static_cast<int32_t>(shape.mean_count + rain_uniform(rain_words(shape, cell_y, cell_x, kRainCount).w[0]));
}

PYD_HD RainStreak rain_streak(const RainShape& shape, int32_t cell_y, int32_t cell_x, int32_t number) {
  const Philox4 words = rain_words(shape, cell_y, cell_x, static_cast<uint32_t>(number));
  RainStreak streak;
  streak.x = static_cast<float>(kRainCellPx) * rain_uniform(words.w[0]);
  streak.y = static_cast<float>(kRainCellPx) * rain_uniform(words.w[1]);
  streak.half_length_px = shape.length_px * (0.25f + 0.25f * rain_uniform(words.w[2]));
  const float quarter = 0.5f * streak.half_length_px;
  streak.inverse_taper = 1.0f / (quarter > shape.soft_px ? quarter : shape.soft_px);
  streak.brightness = shape.brightness * (0.5f + 0.5f * rain_uniform(words.w[3]));
  return streak;
}

// What a streak adds to the pixel (x, y), counted from the first pixel of the streak's cell.
PYD_HD float rain_value(const RainShape& shape, const RainStreak& streak, float x, float y) {
  const float dx = x - streak.x;
  const float dy = y - streak.y;
  const float along = rain_absolute(dx * shape.sine + dy * shape.cosine);
  const float across = rain_absolute(dx * shape.cosine - dy * shape.sine);
  const float a = rain_clip((streak.half_length_px - along) * streak.inverse_taper + 0.5f);
  const float w = rain_clip((shape.half_width_px - across) * shape.inverse_soft + 0.5f);
  return (streak.brightness * a) * w;
}

// No streak of the item adds anything further from its centre than this, along and across together.
PYD_HD int32_t rain_reach(const RainShape& shape) {
  const float half = 0.5f * shape.length_px;
  const float taper = 0.5f * half > shape.soft_px ? 0.5f * half : shape.soft_px;
  return static_cast<int32_t>(half + 0.5f * taper + shape.half_width_px + 0.5f * shape.soft_px) + 2;
}

// The cell of a row or column, also of one outside the image.
PYD_HD int32_t rain_cell_of(int32_t px) { return (px + kRainCellOffset * kRainCellPx) / kRainCellPx - kRainCellOffset; }

// The rain of one pixel.
PYD_HD float rain_at(const RainShape& shape, int32_t y, int32_t x) {
  const int32_t reach = rain_reach(shape);
  float sum = 0.0f;
  for (int32_t cell_y = rain_cell_of(y - reach); cell_y <= rain_cell_of(y + reach); ++cell_y) {
    for (int32_t cell_x = rain_cell_of(x - reach); cell_x <= rain_cell_of(x + reach); ++cell_x) {
      const int32_t count = rain_count(shape, cell_y, cell_x);
      for (int32_t number = 0; number < count; ++number) {
        const RainStreak streak = rain_streak(shape, cell_y, cell_x, number);
        sum += rain_value(shape, streak, static_cast<float>(x - cell_x * kRainCellPx),
                          static_cast<float>(y - cell_y * kRainCellPx));
      }
    }
  }
  return sum;
}

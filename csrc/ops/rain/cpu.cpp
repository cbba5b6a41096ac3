// Rain, streak by streak: each strip of rows collects the streaks that reach it, in the order of math/rain.h.

#include "cpu/images.h"

namespace pyd {
namespace PYD_ISA {
namespace {

constexpr int64_t kStripRows = 32;

// Whole part towards minus infinity, for values above -2^20.
int64_t floor_of(float value) { return static_cast<int64_t>(value + 1048576.0f) - 1048576; }

int64_t clamp_to(int64_t value, int64_t low, int64_t high) { return value < low ? low : value > high ? high : value; }

// Adds one streak to the rows begin .. end - 1 of `layer`, whose first row is `begin`.
void add_streak(const RainShape& shape, const RainStreak& streak, int64_t cell_top, int64_t cell_left, int64_t begin,
                int64_t end, int64_t width, float* layer) {
  const float along = streak.half_length_px + 0.5f / streak.inverse_taper;
  const float across = shape.half_width_px + 0.5f * shape.soft_px;
  const float lean = shape.sine / shape.cosine;
  // One px more than the bar covers, so that rounding leaves nothing out; what is outside adds zero.
  const float down = along * shape.cosine + across * rain_absolute(shape.sine) + 1.0f;
  const float aside = across / shape.cosine + 1.0f;
  const int64_t first_y = clamp_to(cell_top + floor_of(streak.y - down), begin, end);
  const int64_t last_y = clamp_to(cell_top + floor_of(streak.y + down) + 1, begin, end);
  for (int64_t y = first_y; y < last_y; ++y) {
    const float from_cell = static_cast<float>(y - cell_top);
    const float middle = streak.x + (from_cell - streak.y) * lean;
    const int64_t first_x = clamp_to(cell_left + floor_of(middle - aside), 0, width);
    const int64_t last_x = clamp_to(cell_left + floor_of(middle + aside) + 2, 0, width);
    float* row = layer + (y - begin) * width;
    for (int64_t x = first_x; x < last_x; ++x) {
      row[x] += rain_value(shape, streak, static_cast<float>(x - cell_left), from_cell);
    }
  }
}

// The rain of rows begin .. end - 1.
void fill_layer(const RainShape& shape, int64_t begin, int64_t end, int64_t width, float* layer) {
  const int64_t reach = rain_reach(shape);
  auto cell_of = [](int64_t px) { return rain_cell_of(static_cast<int32_t>(px)); };
  memset(layer, 0, static_cast<size_t>((end - begin) * width) * sizeof(float));
  for (int32_t cell_y = cell_of(begin - reach); cell_y <= cell_of(end - 1 + reach); ++cell_y) {
    for (int32_t cell_x = cell_of(-reach); cell_x <= cell_of(width - 1 + reach); ++cell_x) {
      const int32_t count = rain_count(shape, cell_y, cell_x);
      for (int32_t number = 0; number < count; ++number) {
        const RainStreak streak = rain_streak(shape, cell_y, cell_x, number);
        add_streak(shape, streak, int64_t{cell_y} * kRainCellPx, int64_t{cell_x} * kRainCellPx, begin, end, width, layer);
      }
    }
  }
}

}  // namespace

Status rain_image(const RainParams& params, const Use& use) {
  const ConstImage& src = use.src;
  const Image& dst = use.dst;
  const RainShape shape = rain_shape_of(params, use.item);
  const int64_t plane = src.height * src.width;
  int32_t failure = 0;
  parallel_for((src.height + kStripRows - 1) / kStripRows, [&](int64_t strip) {
    const int64_t begin = strip * kStripRows;
    const int64_t end = begin + kStripRows < src.height ? begin + kStripRows : src.height;
    Scratch scratch;
    float* layer = scratch.take<float>((end - begin) * src.width);
    if (layer == nullptr) {
      __atomic_store_n(&failure, static_cast<int32_t>(Status::kOutOfMemory), __ATOMIC_RELAXED);
      return;
    }
    fill_layer(shape, begin, end, src.width, layer);
    for (int64_t channel = 0; channel < src.channels; ++channel) {
      const float* from = src.data + channel * plane + begin * src.width;
      float* to = dst.data + channel * plane + begin * src.width;
      for (int64_t i = 0; i < (end - begin) * src.width; ++i) to[i] = rain_clip(from[i] + layer[i]);
    }
  });
  return static_cast<Status>(failure);
}

double rain_ns_per_px(const RainParams&, int64_t) { return 4.0; }

}  // namespace PYD_ISA
}  // namespace pyd

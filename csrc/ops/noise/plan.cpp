#include "ops/plan.h"

#include "core/draw.h"
#include "ops/noise/matrix.h"

namespace pyd {
namespace {

#define PYD_NOISE_COLUMNS(X) \
  X(int32_t, kind)           \
  X(float, sigma_8bit)       \
  X(float, poisson_gain)     \
  X(int32_t, gray)           \
  X(float, cov_rr_8bit2)     \
  X(float, cov_rg_8bit2)     \
  X(float, cov_rb_8bit2)     \
  X(float, cov_gg_8bit2)     \
  X(float, cov_gb_8bit2)     \
  X(float, cov_bb_8bit2)     \
  X(float, density)          \
  X(float, shot_gain)
PYD_COLUMNS(NoiseColumns, PYD_NOISE_COLUMNS)

// Kinds of tasks that are other kinds with their own fields.
enum DrawnKind : int32_t { kDrawnLuma = 8, kDrawnChroma = 9 };
// Red, green and blue of one unit of Cb and of Cr, BT.601.
constexpr double kOfChroma[9] = {0.0, 1.402, 0.0, -0.344136, -0.714136, 0.0, 1.772, 0.0, 0.0};

struct NoisePlan : KeepsSize {
  using Columns = NoiseColumns;
  using Params = NoiseParams;
  std::vector<int32_t> kind, gray;
  std::vector<float> sigma, gain, matrix;
  std::vector<uint32_t> key;
  bool any_correlated = false, any_poisson = false;

  static bool is_neutral(const Columns& columns, int64_t row) { return columns.kind[row] == kNoiseOff; }
  void add(const Columns& columns, int64_t row, const uint32_t* words) {
    const int32_t drawn = columns.kind[row];
    const float deviation = columns.sigma_8bit[row] / 255.0f;
    // Noise of luma is Gaussian noise of all channels alike, noise of chroma is correlated noise.
    kind.push_back(drawn == kDrawnLuma ? kNoiseGaussian : drawn == kDrawnChroma ? kNoiseCorrelated : drawn);
    gray.push_back(drawn == kDrawnLuma ? 1 : columns.gray[row]);
    sigma.push_back(deviation);
    gain.push_back(drawn == kNoiseSaltPepper ? columns.density[row]
                   : drawn == kNoiseShotRead ? columns.shot_gain[row]
                                             : columns.poisson_gain[row]);
    key.insert(key.end(), words, words + 4);
    matrix.insert(matrix.end(), 9, 0.0f);
    any_poisson |= drawn == kNoisePoisson;
    any_correlated |= kind.back() == kNoiseCorrelated;
    float* const to = &matrix[matrix.size() - 9];
    if (drawn == kDrawnChroma) {
      for (int i = 0; i < 9; ++i) to[i] = static_cast<float>(kOfChroma[i] * static_cast<double>(deviation));
    } else if (drawn == kNoiseCorrelated) {
      const double covariance[6] = {columns.cov_rr_8bit2[row], columns.cov_rg_8bit2[row], columns.cov_rb_8bit2[row],
                                    columns.cov_gg_8bit2[row], columns.cov_gb_8bit2[row], columns.cov_bb_8bit2[row]};
      noise_matrix(covariance, to);
    }
  }
  Status finish() { return Status::kOk; }
  Params params() const {
    Params params = {static_cast<int64_t>(kind.size()),
                     span_of(kind),
                     span_of(sigma),
                     span_of(gain),
                     span_of(gray),
                     {nullptr, 0},
                     span_of(key),
                     {nullptr, 0}};
    if (any_correlated) params.matrix = span_of(matrix);
    if (any_poisson) params.poisson_tables = {shared_poisson_tables(), kPoissonWords};
    return params;
  }
};

}  // namespace

PYD_PLAN(noise, Noise, NoisePlan)

}  // namespace pyd

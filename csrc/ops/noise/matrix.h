// Noise that is correlated between channels, from its covariance.
#pragma once

#include "math/eigen3.h"

namespace pyd {

// Matrix A with noise = A z for normals z, 1 = full range: the symmetric square root of |C|, where |C| has the eigenvalues
// of C without their signs (what numpy's multivariate_normal draws from when C is not positive semi-definite). Entries rr,
// rg, rb, gg, gb, bb; `out` is row-major.
PYD_HD void noise_matrix(const double covariance_8bit2[6], float out[9]) {
  const double* const c = covariance_8bit2;
  double a[3][3] = {{c[0], c[1], c[2]}, {c[1], c[3], c[4]}, {c[2], c[4], c[5]}}, v[3][3];
  symmetric_eigen3(a, v);
  double root[3];
  for (int i = 0; i < 3; ++i) root[i] = pyd_sqrt(a[i][i] < 0.0 ? -a[i][i] : a[i][i]);
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      const double entry = (v[i][0] * root[0] * v[j][0] + v[i][1] * root[1] * v[j][1]) + v[i][2] * root[2] * v[j][2];
      out[3 * i + j] = static_cast<float>(entry / 255.0);
    }
  }
}

}  // namespace pyd

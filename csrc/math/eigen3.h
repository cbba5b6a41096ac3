// Eigenvalues of symmetric 3x3 matrices by cyclic Jacobi rotations: + - * / and sqrt in one order, the same bits
// everywhere.
#pragma once

#include "math/hd.h"

constexpr int kJacobiSweeps = 12;  // three-by-three matrices converge in five or six

PYD_HD double jacobi_bounded(double theta) { return theta > 1e150 ? 1e150 : theta < -1e150 ? -1e150 : theta; }

// a[3][3] becomes diagonal, v[3][3] holds the eigenvectors in its columns. A diagonal matrix stays as it is.
PYD_HD void symmetric_eigen3(double a[3][3], double v[3][3]) {
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) v[i][j] = i == j ? 1.0 : 0.0;
  }
  for (int sweep = 0; sweep < kJacobiSweeps; ++sweep) {
    if (a[0][1] == 0.0 && a[0][2] == 0.0 && a[1][2] == 0.0) return;
    for (int pair = 0; pair < 3; ++pair) {
      const int p = pair == 2 ? 1 : 0, q = pair == 0 ? 1 : 2;
      const bool still = a[p][q] == 0.0;
      // Where theta or its square would overflow, the rotation is zero anyway.
      const double theta = jacobi_bounded((a[q][q] - a[p][p]) / (still ? 1.0 : 2.0 * a[p][q]));
      const double magnitude = theta < 0.0 ? -theta : theta;
      const double tangent = (theta >= 0.0 ? 1.0 : -1.0) / (magnitude + pyd_sqrt(theta * theta + 1.0));
      const double t = still ? 0.0 : tangent;
      const double c = 1.0 / pyd_sqrt(t * t + 1.0), s = t * c;
      for (int k = 0; k < 3; ++k) {
        const double kp = a[k][p], kq = a[k][q];
        a[k][p] = c * kp - s * kq;
        a[k][q] = s * kp + c * kq;
      }
      for (int k = 0; k < 3; ++k) {
        const double pk = a[p][k], qk = a[q][k];
        a[p][k] = c * pk - s * qk;
        a[q][k] = s * pk + c * qk;
      }
      for (int k = 0; k < 3; ++k) {
        const double kp = v[k][p], kq = v[k][q];
        v[k][p] = c * kp - s * kq;
        v[k][q] = s * kp + c * kq;
      }
    }
  }
}

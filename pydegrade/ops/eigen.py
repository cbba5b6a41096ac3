"""Eigenvalues of symmetric 3x3 matrices in + - * / and sqrt, so that every machine gets the same bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def symmetric_eigen3(
    matrix: Sequence[Sequence[NDArray[np.float64]]],
) -> tuple[list[NDArray[np.float64]], list[list[NDArray[np.float64]]]]:
    """Eigenvalues [3] and eigenvectors [3][3] (columns) of symmetric 3x3 matrices given entry by entry, each [N]."""
    a = [[np.array(entry) for entry in row] for row in matrix]
    v = [[np.full(a[0][0].shape, float(i == j)) for j in range(3)] for i in range(3)]
    # Three-by-three matrices converge in five or six sweeps; a diagonal one stays as it is.
    for _ in range(12):
        if not any(a[p][q].any() for p, q in ((0, 1), (0, 2), (1, 2))):
            break
        for p, q in ((0, 1), (0, 2), (1, 2)):
            still = a[p][q] == 0
            # Where theta or its square would overflow, the rotation is zero anyway.
            with np.errstate(over="ignore"):
                theta = np.clip((a[q][q] - a[p][p]) / np.where(still, 1.0, 2 * a[p][q]), -1e150, 1e150)
            t = np.where(theta >= 0, 1.0, -1.0) / (np.abs(theta) + np.sqrt(theta * theta + 1))
            t = np.where(still, 0.0, t)
            c = 1 / np.sqrt(t * t + 1)
            s = t * c
            for k in range(3):
                a[k][p], a[k][q] = c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]
            for k in range(3):
                a[p][k], a[q][k] = c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]
            for k in range(3):
                v[k][p], v[k][q] = c * v[k][p] - s * v[k][q], s * v[k][p] + c * v[k][q]
    return [a[0][0], a[1][1], a[2][2]], v

"""Philox4x32-10 in NumPy, written from Salmon et al. 2011: the twin of csrc/math/philox.h."""

from __future__ import annotations

import numpy as np

MULTIPLIER = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(key, counter):
    """key uint32 [N, 2], counter uint32 [N, 4] -> uint32 [N, 4]."""
    k0, k1 = (key[:, i].astype(np.uint64) for i in range(2))
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = MULTIPLIER[0] * c0, MULTIPLIER[1] * c2
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & low, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + np.uint64(WEYL[0])) & low, (k1 + np.uint64(WEYL[1])) & low
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def uniform(seed, indices, hashes, draws):
    """float64 [N, M]: 53 bits of the first two words of each named draw."""
    indices = np.asarray(indices, np.int64)
    out = np.empty((len(indices), len(hashes)))
    key = np.tile(np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32), (len(indices), 1))
    for column, (name, draw) in enumerate(zip(hashes, draws)):
        counter = np.stack(
            [
                (indices & 0xFFFFFFFF).astype(np.uint32),
                (indices >> 32).astype(np.uint32),
                np.full(len(indices), name, np.uint32),
                np.full(len(indices), 0x80000000 | draw, np.uint32),
            ],
            axis=1,
        )
        words = philox(key, counter).astype(np.uint64)
        out[:, column] = (
            (words[:, 0] >> np.uint64(5)) * 67108864.0 + (words[:, 1] >> np.uint64(6))
        ) / 9007199254740992.0
    return out

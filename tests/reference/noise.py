"""Noise in NumPy float64, with a Philox of its own: what the compiled op must give."""

from __future__ import annotations

import numpy as np

from .philox import philox

OPS = {"gaussian": 1, "poisson": 2, "correlated": 3, "speckle": 4, "uniform": 5, "salt_pepper": 6, "shot_read": 7}


def stream(key, op, channel, height, width):
    """uint32 [height, width]: the word of each pixel."""
    y, x = np.mgrid[0:height, 0:width]
    counter = np.stack(
        [
            (y << 16 | x >> 2).ravel(),
            np.full(y.size, OPS[op] << 24 | channel << 8),
            np.full(y.size, int(key[2])),
            np.full(y.size, int(key[3])),
        ],
        axis=1,
    ).astype(np.uint32)
    words = philox(np.tile(np.array(key[:2], np.uint32), (y.size, 1)), counter)
    return np.take_along_axis(words, (x.ravel() & 3)[:, None], axis=1)[:, 0].reshape(height, width)


def normals(key, op, channel, height, width):
    """Box-Muller: pixels 0 and 1 of a block from words 0 and 1, pixels 2 and 3 from words 2 and 3."""
    wide = (width + 3) // 4 * 4
    words = stream(key, op, channel, height, wide).reshape(height, wide // 2, 2).astype(np.float64)
    radius = np.sqrt(-2 * np.log((words[..., 0] + 0.5) * 2.0**-32))
    quadrant = np.floor(words[..., 1] / 2**30)
    angle = (np.pi / 2) * quadrant + 2 * np.pi * ((words[..., 1] % 2**30) - 2**29 + 0.5) * 2.0**-32
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return pairs.reshape(height, wide)[:, :width]


def exponent(levels):
    return int(np.ceil(np.log2(len(np.unique(levels)))))

"""Rain in NumPy float64: every streak of every cell over the whole image, with a Philox of its own."""

from __future__ import annotations

import numpy as np

from .philox import philox

CELL = 32


def words(key, cell_y, cell_x, numbers):
    """uint32 [len(numbers), 4]: the four words of streaks of one cell."""
    counter = np.stack(
        [
            np.full(len(numbers), (cell_y + 64) << 16 | (cell_x + 64)),
            np.asarray(numbers, np.int64) | 4 << 24,
            np.full(len(numbers), int(key[2])),
            np.full(len(numbers), int(key[3])),
        ],
        axis=1,
    ).astype(np.uint32)
    return philox(np.tile(np.array(key[:2], np.uint32), (len(numbers), 1)), counter)


def streaks(p, key, height, width):
    """(x, y, half length, brightness) of each streak that might reach the image, in image coordinates."""
    reach = 4  # cells: more than the longest, widest, softest streak needs
    mean = np.float32(p["streaks_per_kpx"]) * (np.float32(1024) / np.float32(1000))
    found = []
    for cell_y in range(-reach, (height - 1) // CELL + reach + 1):
        for cell_x in range(-reach, (width - 1) // CELL + reach + 1):
            share = np.float32(words(key, cell_y, cell_x, [0xFFFFFF])[0, 0] >> 8) / np.float32(2**24)
            count = int(mean + share)
            for w in words(key, cell_y, cell_x, range(count)) if count else ():
                u = (w >> np.uint32(8)) / 2.0**24
                found.append(
                    (
                        CELL * (cell_x + u[0]),
                        CELL * (cell_y + u[1]),
                        0.5 * p["length_px"] * (0.5 + 0.5 * u[2]),
                        p["brightness"] * (0.5 + 0.5 * u[3]),
                    )
                )
    return found


def layer(p, key, height, width):
    """float64 [height, width]: what the rain adds."""
    y, x = np.mgrid[0:height, 0:width]
    sine, cosine, soft = np.sin(p["angle_rad"]), np.cos(p["angle_rad"]), max(p["blur_px"], 1.0)
    total = np.zeros((height, width))
    for centre_x, centre_y, half, brightness in streaks(p, key, height, width):
        along = np.abs((x - centre_x) * sine + (y - centre_y) * cosine)
        across = np.abs((x - centre_x) * cosine - (y - centre_y) * sine)
        a = np.clip((half - along) / max(half / 2, soft) + 0.5, 0, 1)
        w = np.clip((p["width_px"] / 2 - across) / soft + 0.5, 0, 1)
        total += brightness * a * w
    return total


def rain(image, p, key):
    """float64 [C, H, W] -> the same."""
    return np.clip(image + layer(p, key, *image.shape[1:]), 0, 1)

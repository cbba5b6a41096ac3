"""Blur and its kernels in float64, from the formulas of the released degradations.py; Bessel's J1 from SciPy."""

from __future__ import annotations

import numpy as np


def kernel(shape, size, sigma_x=1.0, sigma_y=1.0, angle=0.0, beta=1.0, cutoff=1.0):
    """float64 [size, size], sum 1."""
    from scipy.special import j1

    grid = np.arange(size) - size // 2
    x, y = np.meshgrid(grid, grid)
    if shape == "delta":
        return ((x == 0) & (y == 0)).astype(float)
    if shape == "sinc":
        r = np.sqrt(x**2 + y**2)
        safe = np.where(r == 0, 1, r)
        values = np.where(r == 0, cutoff**2 / (4 * np.pi), cutoff * j1(cutoff * safe) / (2 * np.pi * safe))
        return values / values.sum()
    if "aniso" not in shape:
        sigma_y, angle = sigma_x, 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
    d = inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2
    if shape.startswith("plateau"):
        values = 1 / (1 + d**beta)
    else:
        values = np.exp(-0.5 * d ** (beta if shape.startswith("generalized") else 1.0))
    return values / values.sum()


def aperture(shape, size, radius, angle=0.0, blades=6):
    """float64 [size, size], sum 1: of 8 x 8 places in every pixel, those that the figure holds."""
    places = (np.arange(8 * size) + 0.5) / 8 - size / 2
    x, y = np.meshgrid(places, places)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if shape == "disk":
        inside = x**2 + y**2 <= radius**2
    elif shape == "box":
        inside = np.maximum(abs(along), abs(across)) <= radius
    elif shape == "motion":
        inside = (abs(along) <= radius) & (abs(across) <= 0.5)
    else:
        # A regular polygon: as far from the middle as its sides, whichever is nearest.
        corner = np.pi / blades
        sector = np.mod(np.arctan2(across, along) + corner, 2 * corner) - corner
        inside = np.hypot(along, across) * np.cos(sector) <= radius * np.cos(corner)
    counts = inside.reshape(size, 8, size, 8).sum(axis=(1, 3)).astype(float)
    counts[size // 2, size // 2] = max(counts[size // 2, size // 2], 1)
    return counts / counts.sum()


def moved(values, shift):
    """The kernel moved to the lower right; sum 1. It is sampled at (x + shift, y + shift), clamped, bilinear, as BSRGAN's
    code does for its convolution; then turned by 180 degrees, since ours is a cross-correlation."""
    from scipy.ndimage import map_coordinates

    grid = np.clip(np.arange(len(values)) + shift, 0, len(values) - 1)
    out = map_coordinates(values, np.meshgrid(grid, grid, indexing="ij"), order=1)
    return out[::-1, ::-1] / out.sum()


def blur(plane, values, border="reflect_101"):
    """Cross-correlation of float64 [H, W] with [k, k]; mirrored borders."""
    radius = len(values) // 2
    mirror = {"reflect_101": reflect, "symmetric": symmetric}[border]
    rows = mirror(np.arange(-radius, plane.shape[0] + radius), plane.shape[0])
    columns = mirror(np.arange(-radius, plane.shape[1] + radius), plane.shape[1])
    padded = plane[np.ix_(rows, columns)]
    out = np.zeros(plane.shape)
    for j in range(len(values)):
        for i in range(len(values)):
            out += values[j, i] * padded[j : j + plane.shape[0], i : i + plane.shape[1]]
    return out


def reflect(index, count):
    if count == 1:
        return np.zeros_like(index)
    index = np.mod(index, 2 * (count - 1))
    return np.where(index < count, index, 2 * (count - 1) - index)


def symmetric(index, count):
    """2 1 0 | 0 1 2, as often as needed."""
    line = np.concatenate([np.arange(count), np.arange(count)[::-1]])
    return line[np.mod(index, 2 * count)]


def sharpen(plane, weight, radius, threshold):
    """USMSharp in float64."""
    taps = radius + 1 - radius % 2
    sigma = 0.3 * ((taps - 1) * 0.5 - 1) + 0.8
    line = np.exp(-((np.arange(taps) - taps // 2) ** 2) / (2 * sigma**2))
    line /= line.sum()
    values = np.outer(line, line)
    residual = plane - blur(plane, values)
    mask = (np.abs(residual) * 255 > threshold).astype(float)
    soft = blur(mask, values)
    return soft * np.clip(plane + weight * residual, 0, 1) + (1 - soft) * plane

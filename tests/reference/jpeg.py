"""JPEG's encode -> decode written from its formulas, one image at a time: integers as libjpeg computes, float64 for the
differentiable modes. Imports nothing of the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMA = np.full((8, 8), 99)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
FACTORS = {"444": (1, 1), "422": (1, 2), "420": (2, 2), "440": (2, 1), "411": (1, 4)}


def table(base: NDArray, quality: float) -> NDArray:
    """Quantisation table of libjpeg; fractional qualities have their percentage rounded down."""
    percent = int(5000 / quality) if quality < 50 else int(200 - 2 * quality)
    return np.clip((base * percent + 50) // 100, 1, 255)


# ---- libjpeg, integers


def islow_matrix() -> NDArray:
    """The 13-bit integer matrix M that libjpeg's "islow" flow graph computes, [frequency, sample]."""
    fix = {name: round(value * 8192) for name, value in {
        "0.298": 0.298631336, "0.390": 0.390180644, "0.541": 0.541196100, "0.765": 0.765366865, "0.899": 0.899976223,
        "1.175": 1.175875602, "1.501": 1.501321110, "1.847": 1.847759065, "1.961": 1.961570560, "2.053": 2.053119869,
        "2.562": 2.562915447, "3.072": 3.072711026}.items()}  # fmt: skip
    matrix = np.zeros((8, 8), np.int64)
    eye = np.eye(8, dtype=np.int64)
    plus, minus = eye + eye[::-1], eye - eye[::-1]
    matrix[0] = 8192 * (plus[0] + plus[1] + plus[2] + plus[3])
    matrix[4] = 8192 * (plus[0] - plus[1] - plus[2] + plus[3])
    outer, inner = plus[0] - plus[3], plus[1] - plus[2]
    matrix[2] = fix["0.541"] * (outer + inner) + fix["0.765"] * outer
    matrix[6] = fix["0.541"] * (outer + inner) - fix["1.847"] * inner
    t7, t6, t5, t4 = minus[:4]
    z5 = fix["1.175"] * (t4 + t5 + t6 + t7)
    z1, z2 = -fix["0.899"] * (t4 + t7), -fix["2.562"] * (t5 + t6)
    z3, z4 = z5 - fix["1.961"] * (t4 + t6), z5 - fix["0.390"] * (t5 + t7)
    matrix[7] = fix["0.298"] * t4 + z1 + z3
    matrix[5] = fix["2.053"] * t5 + z2 + z4
    matrix[3] = fix["3.072"] * t6 + z2 + z3
    matrix[1] = fix["1.501"] * t7 + z1 + z4
    return matrix


def code_block_int(block: NDArray, entries: NDArray) -> NDArray:
    """uint8 samples [8, 8] after transform, quantisation and back."""
    m = islow_matrix()
    rows = ((block.astype(np.int64) - 128) @ m.T + (1 << 10)) >> 11
    coefficients = (m @ rows + (1 << 14)) >> 15
    levels = np.sign(coefficients) * ((np.abs(coefficients) + 4 * entries) // (8 * entries))
    columns = (m.T @ (levels * entries) + (1 << 10)) >> 11
    return np.clip(((columns @ m + (1 << 17)) >> 18) + 128, 0, 255)


def code_plane_int(plane: NDArray, entries: NDArray) -> NDArray:
    out = np.empty_like(plane)
    for y in range(0, plane.shape[0], 8):
        for x in range(0, plane.shape[1], 8):
            out[y : y + 8, x : x + 8] = code_block_int(plane[y : y + 8, x : x + 8], entries)
    return out


def extend(plane: NDArray, height: int, width: int) -> NDArray:
    return np.pad(plane, ((0, height - plane.shape[0]), (0, width - plane.shape[1])), mode="edge")


def up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def libjpeg(image: NDArray, quality: int, subsampling: str) -> NDArray:
    """uint8 [H, W, 3] -> uint8 [H, W, 3], as libjpeg-turbo (accurate DCT, smooth upsampling)."""
    fy, fx = FACTORS[subsampling]
    height, width = image.shape[:2]
    r, g, b = image.astype(np.int64).transpose(2, 0, 1)
    luma = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16
    half = (128 << 16) + 32767
    chroma = [(-11059 * r - 21709 * g + 32768 * b + half) >> 16, (32768 * r - 27439 * g - 5329 * b + half) >> 16]

    luma = code_plane_int(extend(luma, up(height, 8), up(width, 8)), table(LUMA, quality))
    rebuilt = []
    for plane in chroma:
        rows, columns = -(-height // fy), -(-width // fx)
        full = extend(plane, rows * fy, up(columns, 8) * fx)
        sums = full.reshape(rows, fy, -1, fx).sum(axis=(1, 3))
        odd = np.arange(sums.shape[1]) % 2
        bias = {(1, 1): 0 * odd, (1, 2): odd, (2, 2): 1 + odd, (2, 1): 1 + 0 * odd, (1, 4): 2 + 0 * odd}[fy, fx]
        small = extend((sums + bias) // (fy * fx), up(rows, 8), up(columns, 8))
        small = code_plane_int(small, table(CHROMA, quality))[:rows, :columns]
        rebuilt.append(upsample_int(small, fy, fx)[:height, :width] - 128)
    y = luma[:height, :width]
    u, v = rebuilt
    red = y + ((91881 * v + 32768) >> 16)
    green = y + ((-22554 * u - 46802 * v + 32768) >> 16)
    blue = y + ((116130 * u + 32768) >> 16)
    return np.clip(np.stack([red, green, blue], axis=2), 0, 255).astype(np.uint8)


def neighbours(count: int) -> tuple[NDArray, NDArray]:
    """Nearer and farther sample of 2 * count positions, clamped to the plane."""
    position = np.arange(2 * count)
    return position // 2, np.clip(position // 2 + np.where(position % 2 == 0, -1, 1), 0, count - 1)


def upsample_int(plane: NDArray, fy: int, fx: int) -> NDArray:
    if (fy, fx) == (1, 1):
        return plane
    if fx == 1:
        near, far = neighbours(plane.shape[0])
        lower = np.arange(2 * plane.shape[0])[:, None] % 2
        return (3 * plane[near] + plane[far] + 1 + lower) >> 2
    if fx == 4 or plane.shape[1] <= 2:
        return np.repeat(np.repeat(plane, fy, axis=0), fx, axis=1)
    near, far = neighbours(plane.shape[1])
    odd = np.arange(2 * plane.shape[1]) % 2
    if fy == 1:
        return (3 * plane[:, near] + plane[:, far] + 1 + odd) >> 2
    near_y, far_y = neighbours(plane.shape[0])
    tall = 3 * plane[near_y] + plane[far_y]
    return (3 * tall[:, near] + tall[:, far] + 8 - odd) >> 4


# ---- Differentiable modes, float64. Everything but the rounding and the clipping is a product with a matrix.


def dct_matrix() -> NDArray:
    """Orthonormal DCT-II, [frequency, sample]."""
    k = np.arange(8)
    matrix = np.sqrt(2 / 8) * np.cos((2 * k[None] + 1) * k[:, None] * np.pi / 16)
    matrix[0] /= np.sqrt(2)
    return matrix


def rounded(x: NDArray, rounding: str) -> NDArray:
    whole = np.rint(x)
    return whole if rounding == "straight_through" else whole + (x - whole) ** 3


def steps(plane: NDArray, entries: NDArray) -> NDArray:
    """DCT coefficients of all blocks in units of their table entries, [rows, columns, 8, 8]."""
    blocks = plane.reshape(plane.shape[0] // 8, 8, plane.shape[1] // 8, 8).transpose(0, 2, 1, 3)
    return dct_matrix() @ blocks @ dct_matrix().T / entries


def from_steps(values: NDArray, entries: NDArray) -> NDArray:
    blocks = dct_matrix().T @ (values * entries) @ dct_matrix()
    return blocks.transpose(0, 2, 1, 3).reshape(8 * values.shape[0], 8 * values.shape[1])


def float_tables(quality: float, basicsr: bool) -> tuple[NDArray, NDArray]:
    if basicsr:
        factor = 50 / quality if quality < 50 else 2 - quality / 50
        return LUMA.T * factor, CHROMA * factor
    return table(LUMA, quality).astype(np.float64), table(CHROMA, quality).astype(np.float64)


def diffjpeg_planes(image: NDArray, subsampling: str, basicsr: bool) -> list[NDArray]:
    """Padded planes of samples around zero of a float64 image [3, H, W] in [0, 1]."""
    fy, fx = (2, 2) if basicsr else FACTORS[subsampling]
    height, width = image.shape[1:]
    if basicsr:
        image = np.pad(image, ((0, 0), (0, up(height, 16) - height), (0, up(width, 16) - width)))
    r, g, b = 255 * image
    luma = 0.299 * r + 0.587 * g + 0.114 * b - 128
    cb = -0.168736 * r - 0.331264 * g + 0.5 * b
    cr = 0.5 * r - 0.418688 * g - 0.081312 * b
    height, width = luma.shape
    planes = [extend(luma, up(height, 8), up(width, 8))]
    for plane in (cb, cr):
        rows, columns = -(-height // fy), -(-width // fx)
        full = extend(plane, rows * fy, up(columns, 8) * fx)
        planes.append(extend(full.reshape(rows, fy, -1, fx).mean(axis=(1, 3)), up(rows, 8), up(columns, 8)))
    return planes


def diffjpeg(image: NDArray, quality: float, subsampling: str, basicsr: bool, rounding: str) -> NDArray:
    """float64 [3, H, W] -> [3, H, W]."""
    height, width = image.shape[1:]
    fy, fx = (2, 2) if basicsr else FACTORS[subsampling]
    luma_entries, chroma_entries = float_tables(quality, basicsr)
    coded = []
    for index, plane in enumerate(diffjpeg_planes(image, subsampling, basicsr)):
        entries = chroma_entries if index else luma_entries
        coded.append(from_steps(rounded(steps(plane, entries), rounding), entries))
    y = coded[0][:height, :width] + 128
    u, v = (upsample_float(plane, height, width, fy, fx, not basicsr) for plane in coded[1:])
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u])
    return np.clip(rgb, 0, 255) / 255


def upsample_float(plane: NDArray, height: int, width: int, fy: int, fx: int, smooth: bool) -> NDArray:
    plane = plane[: -(-height // fy), : -(-width // fx)]
    if (fy, fx) == (2, 1) and smooth:
        near, far = neighbours(plane.shape[0])
        plane = 0.75 * plane[near] + 0.25 * plane[far]
    elif fx == 2 and smooth and plane.shape[1] > 2:
        if fy == 2:
            near, far = neighbours(plane.shape[0])
            plane = 0.75 * plane[near] + 0.25 * plane[far]
        near, far = neighbours(plane.shape[1])
        plane = 0.75 * plane[:, near] + 0.25 * plane[:, far]
    else:
        plane = np.repeat(np.repeat(plane, fy, axis=0), fx, axis=1)
    return plane[:height, :width]

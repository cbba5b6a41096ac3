"""Summary statistics of a square of an image, made so that degradations show and scenes do not.

All are functions of 8-bit RGB alone, computed square by square. `NAMES` lists them; `describe` says what
each is. Levels are in units of 1/255. Y, Cb, Cr are those of JFIF (ITU-R BT.601, full range). "Quiet" are the quarter of
the blocks of 8 x 8 px in which the diagonal detail of Y is smallest: there noise is seen and texture hardly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .facts import libjpeg_tables

LEAST_PX = 32
"""Side of the smallest square."""
CELL_PX = 16
"""Squares begin and end at multiples of this, so that a block grid keeps its phase, that of 4:2:0 included."""

BANDS = 8
_QUIET_SHARE = 0.25
_AC = (1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40)
"""Places in a block, row by row, of the first twenty coefficients behind the mean in zigzag order."""
_GROUPS = {"low": slice(0, 5), "middle": slice(5, 12), "high": slice(12, 20)}
_ROUNDING_SD = 0.4
"""Deviation of a luma coefficient of a decoded JPEG from a multiple of its step: three channels rounded to 8 bits, and what
clipping adds; measured on photographs of quality 50 to 95."""
_LEAST_GAIN = -4.0
_QUALITY_BLOCKS = 96
_PEAK = math.log(8.0)
"""Least log of peak over median that `details` takes for interpolation. Chosen."""

# name -> (what it is, formula, source), in the order of the values.
_TABLE: dict[str, tuple[str, str]] = {}


def _says(what: str, source: str, *names: str) -> tuple[str, ...]:
    for name in names:
        _TABLE[name] = (what, source)
    return names


_PLANES = ("y", "r", "g", "b", "cb", "cr")
_DONOHO = "Donoho and Johnstone 1994, Biometrika 81(3), section 4.2"
_LIU = "after Liu, Freeman, Szeliski and Kang 2006, CVPR, section 3: the lower envelope over intensity"
_FARID = "Gallagher 2005, Detection of linear and cubic interpolation in JPEG compressed images, section 3"
_FAN = "after Fan and de Queiroz 2003, IEEE TIP 12(2), section III"
NOISE_MAD = _says(
    "log of the noise level: median |diagonal Haar detail| / 0.6745 of a plane", _DONOHO,
    *(f"noise_mad_{plane}" for plane in _PLANES),
)  # fmt: skip
NOISE_QUIET = _says(
    "log of the root mean square of the diagonal Haar detail of a plane in the quiet blocks", "own",
    *(f"noise_quiet_{plane}" for plane in _PLANES),
)  # fmt: skip
NOISE_SHARE = _says(
    "log of that of Y in the block at 5, 50, 80 % of all, from quiet to busy", "own",
    "noise_block_05", "noise_block_50", "noise_block_80",
)  # fmt: skip
NOISE_CURVE = _says(
    "noise level curve: log of that of Y at 25 % of the blocks with mean Y in [0, 64), [64, 128), [128, 192), [192, 256); "
    "of all blocks where fewer than four are such", _LIU, *(f"noise_at_{level}" for level in (32, 96, 160, 224)),
)  # fmt: skip
NOISE_COLOUR = _says(
    "correlation of the detail of two channels in the quiet blocks",
    "Pearson",
    "noise_corr_rg",
    "noise_corr_gb",
    "noise_corr_rb",
)
NOISE_GRAIN = _says(
    "colour of the noise of Y in the quiet blocks: correlation of what a 3 x 3 mean leaves with itself, so many px to the "
    "right and below (white noise: -1/6 one px away)", "own", "grain_01", "grain_10", "grain_11", "grain_02", "grain_20",
)  # fmt: skip
NOISE_SCALE = _says(
    "log of detail of Y made half as large by 2 x 2 means over that of Y, in the quiet blocks (white noise: -0.69)", "own",
    "noise_half",
)  # fmt: skip
SPECTRUM = _says(
    "log of the power of Y, Hann window, in a ring of spatial frequency; eight rings of equal width to 0.5 cycles/px",
    "Burton and Moorhead 1987, Applied Optics 26(1)", *(f"band_{ring}" for ring in range(BANDS)),
)  # fmt: skip
DIRECTION = _says(
    "log of the power above 0.25 cycles/px: along x over along y; along both over the diagonals", "own",
    "power_x_over_y", "power_axes_over_diagonals",
)  # fmt: skip
CHROMA = _says(
    "log of the power of Cb and Cr above 0.25 cycles/px along x (y) over that below", "own",
    "chroma_fine_x", "chroma_fine_y",
)  # fmt: skip
GRADIENT = _says(
    "log of the length of the gradient of Y (central differences) at 50, 90, 99 % of the pixels", "own",
    "gradient_50", "gradient_90", "gradient_99",
)  # fmt: skip
EDGE = _says(
    "edge profile: at the 2 % steepest pixels the derivative of Y so many px across the edge, over that on the edge (a "
    "step under a Gaussian: exp(-k^2 / (2 sigma^2))); below zero: a halo", "own; the slope of the line-spread function",
    "edge_1", "edge_2", "edge_3", "edge_4", "edge_1_x_minus_y",
)  # fmt: skip
EDGE_WIDTH = _says(
    "log of the range of Y in 7 x 7 px over the steepest gradient's length, at 20 and 50 % of those pixels", "own",
    "edge_width_20", "edge_width_50",
)  # fmt: skip
REBLUR = _says(
    "share of the differences of neighbours that a mean over 9 px takes away, along x and y (a sharp image: near 1)",
    "Crete, Dolmiere, Ladret and Nicolas 2007, The blur effect, SPIE 6492, eq. 1 to 5", "reblur_x", "reblur_y",
)  # fmt: skip
RESAMPLED = _says(
    "log of peak over median of the spectrum of the mean |second derivative| along x (y), multiples of 1/8 left out: "
    "interpolation repeats itself; and the frequency of the mean spectrum's peak", _FARID,
    "resampled_x", "resampled_y", "resampled_at",
)  # fmt: skip
GRID = _says(
    "log of the mean |second difference| across the borders of 8 x 8 px over that elsewhere, along x and y; and the "
    "largest of the seven other phases", "after Wang, Bovik and Evans 2000, ICIP", "grid_x", "grid_y", "grid_elsewhere",
)  # fmt: skip
QUALITY = _says(
    "libjpeg quality whose steps the luma coefficients are multiples of, 101 for none; the log likelihood per coefficient "
    "that it gains over none; share of coefficients that took part", _FAN, "jpeg_quality", "jpeg_gain", "jpeg_nonzero",
)  # fmt: skip
COEFFICIENTS = _says(
    "log of the standard deviation of luma coefficients, and the share of those below half a level", "own",
    *(f"{kind}_{group}" for kind in ("dct", "zero") for group in _GROUPS),
)  # fmt: skip
LEVELS = _says(
    "share of values at most 1, and at least 254; mean and standard deviation of Y / 255; log of the mean |Cb|, |Cr|",
    "own",
    "black", "white", "mean", "contrast", "colour",
)  # fmt: skip

NAMES: tuple[str, ...] = tuple(_TABLE)
SCENE = frozenset(["mean", "contrast", "colour", "black", "white", "band_0", "band_1", "gradient_50", "gradient_90",
                   "gradient_99", "dct_low"])  # fmt: skip
"""Those that a scene decides more than a degradation."""


def describe(name: str) -> tuple[str, str]:
    """(what a statistic is, where it is from)."""
    return _TABLE[name]


@dataclass(frozen=True)
class Details:
    """What is found on the way and is no statistic.

    Attributes:
        grid_phase: (x, y) of the strongest grid of 8 px, each 0 to 7; 0 where the first block begins at the first pixel.
        resampled_period_px: pixels after which interpolation repeats; infinite where no peak stands out.
    """

    grid_phase: tuple[int, int]
    resampled_period_px: float


def statistics(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Statistics of a batch.

    Args:
        squares: uint8 [B, S, S, 3], RGB; S a multiple of CELL_PX, at least LEAST_PX. The first pixel is the first of a
            JPEG block where the image is a JPEG.
    Returns:
        float32 [B, len(NAMES)], finite. The same for a square whatever the others of the batch.
    Raises:
        ValueError: another shape.
    """
    if squares.ndim != 4 or squares.shape[1] != squares.shape[2] or squares.shape[3] != 3:
        raise ValueError(f"statistics: squares must be [B, S, S, 3], got {list(squares.shape)}")
    side = squares.shape[1]
    if side < LEAST_PX or side % CELL_PX:
        raise ValueError(f"statistics: sides must be multiples of {CELL_PX} px from {LEAST_PX} on, got {side}")
    found = [_of_one(square) for square in squares]
    return np.stack(found) if found else np.zeros((0, len(NAMES)), np.float32)


@torch.no_grad()
def _of_one(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    rgb = torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1))).float()
    planes = _planes(rgb)
    luma = planes[0]
    values = [
        *_noise(planes),
        *_spectra(planes),
        *_edges(luma),
        *_resampling(luma),
        *_blocks(luma, ((rgb <= 0) | (rgb >= 255)).any(0)),
        *_levels(planes),
    ]
    result = np.array([float(value) for value in values], np.float32)
    assert len(result) == len(NAMES)
    return np.nan_to_num(result, nan=0.0, posinf=0.0, neginf=0.0)


def details(square: NDArray[np.uint8]) -> Details:
    """Phase of the block grid and period of interpolation of a square as for `statistics`."""
    luma = _planes(torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1))).float())[0]
    phases = tuple(int(_phases(plane).argmax()) for plane in (luma, luma.T))
    strength, frequency = max(_interpolation(plane) for plane in (luma, luma.T))
    return Details((phases[0], phases[1]), 1 / frequency if strength > _PEAK else math.inf)


# ---- planes, logarithms


def _planes(rgb: Tensor) -> Tensor:
    """Y, R, G, B, Cb, Cr, [6, S, S]; Cb and Cr around 0."""
    red, green, blue = rgb
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([luma, red, green, blue, (blue - luma) / 1.772, (red - luma) / 1.402])


def _log(value: Tensor, least: float = 0.05) -> Tensor:
    return (value + least).log()


def _quantiles(values: Tensor, shares: Sequence[float]) -> list[Tensor]:
    """Of a flat tensor, the value at a share of the sorted ones."""
    count = values.numel()
    return [values.kthvalue(min(count, 1 + int(share * (count - 1) + 0.5))).values for share in shares]


# ---- noise


def _haar_diagonal(planes: Tensor) -> Tensor:
    """[..., S/2, S/2]: (a - b - c + d) / 2 of every 2 x 2 px; white noise keeps its standard deviation."""
    top, bottom = planes[..., ::2, :], planes[..., 1::2, :]
    return (top[..., ::2] - top[..., 1::2] - bottom[..., ::2] + bottom[..., 1::2]) / 2


def _between_halves(flat: Tensor, medians: Tensor) -> Tensor:
    """Medians of values that are multiples of 1/2, at least 0, as if each were spread over what was rounded to it."""
    medians = medians[:, None]
    below = (flat < medians - 0.1).float().mean(1)
    equal = ((flat - medians).abs() < 0.1).float().mean(1)
    low = (medians[:, 0] - 0.25).clamp(min=0)
    return low + (medians[:, 0] + 0.25 - low) * (0.5 - below) / equal


def _cells(plane: Tensor, side: int) -> Tensor:
    """[..., S, S] in squares: [..., (S / side)^2, side^2]."""
    *front, height, width = plane.shape
    cut = plane.reshape(*front, height // side, side, width // side, side)
    return cut.transpose(-3, -2).reshape(*front, (height // side) * (width // side), side * side)


def _noise(planes: Tensor) -> Iterator[Tensor]:
    detail = _haar_diagonal(planes)
    flat = detail.abs().flatten(1)
    medians = flat.median(dim=1).values
    medians[1:4] = _between_halves(flat[1:4], medians[1:4])
    yield from _log(medians / 0.6745)

    # Root mean square of every block of 8 px, and which blocks are quiet.
    cells = _cells(detail, 4)
    energy = cells.square().mean(-1)
    levels = energy[0].sqrt()
    order = levels.argsort()
    quiet = order[: max(4, int(_QUIET_SHARE * len(order)))]
    yield from _log(energy[:, quiet].mean(1).sqrt())
    yield from (_log(value) for value in _quantiles(levels, (0.05, 0.5, 0.8)))

    # Noise level curve.
    brightness = _cells(planes[0], 8).mean(-1)
    (usual,) = _quantiles(levels, (0.25,))
    for low in (0, 64, 128, 192):
        here = levels[(brightness >= low) & (brightness < low + 64)]
        yield _log(_quantiles(here, (0.25,))[0] if len(here) >= 4 else usual)

    # Correlation of channels.
    for one, other in ((1, 2), (2, 3), (1, 3)):
        product = (cells[one, quiet] * cells[other, quiet]).mean()
        yield product / (energy[one, quiet].mean() * energy[other, quiet].mean() + 1e-3).sqrt()

    # Grain.
    luma = planes[0]
    rest = luma - F.avg_pool2d(F.pad(luma[None, None], (1, 1, 1, 1), mode="reflect"), 3, stride=1)[0, 0]
    grain = _cells(rest, 8)[quiet].reshape(-1, 8, 8)
    whole = grain.square().mean() + 1e-3
    for down, right in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
        yield (grain[:, : 8 - down, : 8 - right] * grain[:, down:, right:]).mean() / whole
    half = _haar_diagonal(F.avg_pool2d(luma[None, None], 2)[0, 0])
    yield _log(_cells(half, 2)[quiet].square().mean().sqrt()) - _log(energy[0, quiet].mean().sqrt())


# ---- spectra


_KNOWN_RINGS: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]] = {}


def _rings(side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ring numbers of an rfft2, |fx|, |fy|, and how often a coefficient stands in the whole transform."""
    if side not in _KNOWN_RINGS:
        fx, fy = torch.fft.rfftfreq(side)[None, :], torch.fft.fftfreq(side)[:, None].abs()
        radius = (fx.square() + fy.square()).sqrt()
        ring = (radius * 2 * BANDS).long().clamp(max=BANDS)
        twice = torch.full_like(radius, 2.0)
        twice[:, 0] = 1.0
        twice[:, -1] = 1.0
        _KNOWN_RINGS[side] = (ring, fx.expand_as(radius), fy.expand_as(radius), twice)
    return _KNOWN_RINGS[side]


def _spectra(planes: Tensor) -> Iterator[Tensor]:
    side = planes.shape[-1]
    ring, fx, fy, twice = _rings(side)
    window = torch.hann_window(side, periodic=False)
    window = window[:, None] * window[None, :]
    three = planes[[0, 4, 5]]
    three = (three - three.mean(dim=(1, 2), keepdim=True)) * window
    power = torch.fft.rfft2(three).abs().square() * twice / (side**2 * window.square().mean())

    sums = torch.zeros(BANDS + 1).index_add_(0, ring.flatten(), power[0].flatten())
    counts = torch.zeros(BANDS + 1).index_add_(0, ring.flatten(), twice.flatten())
    yield from _log(sums[:BANDS] / counts[:BANDS], 0.01)

    fine = (fx.square() + fy.square()).sqrt() > 0.25
    along_x, along_y = fine & (fx > 2 * fy), fine & (fy > 2 * fx)
    diagonal = fine & ~along_x & ~along_y
    means = [power[0][where].sum() / twice[where].sum() for where in (along_x, along_y, diagonal)]
    yield _log(means[0], 0.01) - _log(means[1], 0.01)
    yield _log((means[0] + means[1]) / 2, 0.01) - _log(means[2], 0.01)

    chroma = power[1] + power[2]
    for frequency in (fx, fy):
        high, low = frequency > 0.25, (frequency <= 0.25) & (frequency > 0.03)
        ratio = _log(chroma[high].sum() / twice[high].sum(), 0.01) - _log(chroma[low].sum() / twice[low].sum(), 0.01)
        yield ratio


# ---- edges

_DOWN7, _RIGHT7 = torch.arange(-3, 4).repeat_interleave(7), torch.arange(-3, 4).repeat(7)


def _edges(luma: Tensor) -> Iterator[Tensor]:
    gx, gy = (luma[1:-1, 2:] - luma[1:-1, :-2]) / 2, (luma[2:, 1:-1] - luma[:-2, 1:-1]) / 2
    flat = (gx.square() + gy.square()).sqrt().flatten()
    side = gx.shape[1]
    yield from (_log(value, 0.5) for value in _quantiles(flat, (0.5, 0.9, 0.99)))

    # The profile: derivatives along the axis that the edge crosses, at pixels where they are largest of their neighbours.
    reach = 4
    profiles = []
    for slope, other in ((gx, gy), (gy.T, gx.T)):
        inner = slope[:, reach:-reach]
        steep = inner.abs() - other[:, reach:-reach].abs()
        for step in (-1, 1):
            beside = slope[:, reach + step : side - reach + step].abs()
            steep = steep.masked_fill(inner.abs() < beside, -1e3)
        chosen = steep.flatten().topk(max(16, int(0.02 * steep.numel()))).indices
        rows, columns = chosen // steep.shape[1], chosen % steep.shape[1] + reach
        peak = slope[rows, columns]
        weight = peak.abs() + 1e-3
        across = []
        for step in range(1, reach + 1):
            both = (slope[rows, columns - step] + slope[rows, columns + step]) * peak.sign() / 2
            across.append(both.sum() / weight.sum())
        profiles.append(torch.stack(across))
    yield from (profiles[0] + profiles[1]) / 2
    yield profiles[0][0] - profiles[1][0]

    # Range over slope.
    steepest = flat.topk(max(16, int(0.02 * flat.numel()))).indices
    rows = (steepest // side + 1).clamp(3, luma.shape[0] - 4)
    columns = (steepest % side + 1).clamp(3, luma.shape[1] - 4)
    around = luma[rows[:, None] + _DOWN7, columns[:, None] + _RIGHT7]
    widths = (around.amax(1) - around.amin(1)) / (flat[steepest] + 0.5)
    yield from (_log(value) for value in _quantiles(widths, (0.2, 0.5)))

    yield from (_reblur(plane) for plane in (luma, luma.T))


def _reblur(plane: Tensor) -> Tensor:
    """Along the last axis."""
    blurred = F.avg_pool1d(F.pad(plane[None], (4, 4), mode="reflect"), 9, stride=1)[0]
    differences, left = plane.diff(dim=1).abs(), blurred.diff(dim=1).abs()
    return (differences - left).clamp(min=0).sum() / (differences.sum() + 1e-3)


# ---- resampling, block grids


def _interpolation(plane: Tensor) -> tuple[float, float]:
    """(log of peak over median, frequency in cycles/px) of the mean |second derivative| along the last axis."""
    spectrum = _interpolation_spectrum(plane)
    usable = spectrum[spectrum > 0]
    at = int(spectrum.argmax())
    return float((spectrum[at] / (usable.median() + 1e-6) + 1e-6).log()), at / plane.shape[1]


def _interpolation_spectrum(plane: Tensor) -> Tensor:
    side = plane.shape[1]
    bend = (plane[:, 2:] - 2 * plane[:, 1:-1] + plane[:, :-2]).abs().mean(0)
    bend = F.pad(bend - bend.mean(), (1, 1)) * torch.hann_window(side, periodic=False)
    spectrum = torch.fft.rfft(bend).abs()
    frequency = torch.arange(len(spectrum)) / side
    to_grid = (frequency * 8 - (frequency * 8).round()).abs() / 8
    return torch.where((frequency > 0.12) & (frequency < 0.495) & (to_grid > 2.5 / side), spectrum, torch.zeros(()))


def _resampling(luma: Tensor) -> Iterator[Tensor | float]:
    spectra = [_interpolation_spectrum(plane) for plane in (luma, luma.T)]
    for spectrum in spectra:
        yield (spectrum.max() / (spectrum[spectrum > 0].median() + 1e-6) + 1e-6).log()
    yield int((spectra[0] + spectra[1]).argmax()) / luma.shape[1]


def _phases(plane: Tensor) -> Tensor:
    """Mean |second difference| across the borders of each of the 8 phases of a grid along the last axis; entry 0 is the
    grid whose first border lies before the first pixel."""
    across = (plane[:, 3:] - 3 * plane[:, 2:-1] + 3 * plane[:, 1:-2] - plane[:, :-3]).abs().mean(0)
    # Entry i of `across` lies over the border between pixels i + 1 and i + 2.
    border = (torch.arange(len(across)) + 2) % 8
    sums = torch.zeros(8).index_add_(0, border, across)
    return sums / torch.zeros(8).index_add_(0, border, torch.ones_like(across))


def _blocks(luma: Tensor, clipped: Tensor) -> Iterator[Tensor | float]:
    phases = [_phases(plane) for plane in (luma, luma.T)]
    for found in phases:
        yield _log(found[0]) - _log(found[1:].mean())
    yield max(_log(found[1:].max()) - _log(found[1:].median()) for found in phases)

    coefficients = _coefficients(luma)
    yield from _quality(coefficients[_fit_for_quality(clipped, coefficients)])
    for group in _GROUPS.values():
        yield _log(coefficients[:, group].std())
    for group in _GROUPS.values():
        yield (coefficients[:, group].abs() < 0.5).float().mean()


def _dct_rows() -> Tensor:
    """float32 [64, 20]: the basis images of _AC, an orthonormal DCT-II of 8 x 8 px."""
    n = np.arange(8)
    basis = np.cos(np.pi * (2 * n[None, :] + 1) * n[:, None] / 16) * np.where(n[:, None] == 0, math.sqrt(1 / 8), 0.5)
    images = np.einsum("uy,vx->uvyx", basis, basis).reshape(64, 64)
    return torch.from_numpy(images[list(_AC)].T.astype(np.float32))


_DCT = _dct_rows()
_STEPS = torch.from_numpy(libjpeg_tables()[:, 0][:, list(_AC)].astype(np.float32))
"""[100, 20]: steps of luma."""


def _coefficients(luma: Tensor) -> Tensor:
    """[N, 20] of all whole blocks of a grid that begins at the first pixel."""
    return _cells(luma - 128, 8) @ _DCT


def _quality(coefficients: Tensor) -> tuple[float, float, float]:
    """The quality whose steps explain the coefficients best, over a smooth density.

    A coefficient c that step T puts at n T, n not 0, gains log(T N(c - n T; 0, s^2)), s = _ROUNDING_SD: the density of a
    comb over that of a smooth function. Those at n = 0 gain nothing, and lose where they are no zeros. A gain is never
    below _LEAST_GAIN, so that a few other blocks, of text laid over the image for one, do not decide.
    """
    gains = torch.cat([_gains(coefficients, steps) for steps in _STEPS.split(10)])
    best = int(gains.argmax())
    taking_part = int(((coefficients / _STEPS[best]).round() != 0).sum())
    gain = float(gains[best]) / max(taking_part, 20)
    share = taking_part / max(coefficients.numel(), 1)
    return (best + 1.0 if gain > 0.1 else 101.0), max(gain, 0.0), share


def _gains(coefficients: Tensor, steps: Tensor) -> Tensor:
    """[Q] of `steps` [Q, 20]; see `_quality`."""
    ratio = coefficients[None] / steps[:, None]
    multiples = ratio.round()
    lost = ratio.sub_(multiples).mul_(steps[:, None]).square_().mul_(-0.5 / _ROUNDING_SD**2)
    bonus = (steps / (_ROUNDING_SD * math.sqrt(2 * math.pi))).log()
    return lost.add_(multiples.ne_(0).mul_(bonus[:, None])).clamp_(min=_LEAST_GAIN).sum(dim=(1, 2))


def _fit_for_quality(clipped: Tensor, coefficients: Tensor) -> Tensor:
    """Numbers of the blocks from which quality is read: without a clipped pixel, those with the largest coefficients."""
    busy = coefficients.abs().sum(1)
    busy = busy.masked_fill(_cells(clipped, 8).any(-1), -1.0)
    chosen = busy.topk(min(_QUALITY_BLOCKS, len(busy))).indices
    return chosen[busy[chosen] >= 0]


# ---- levels


def _levels(planes: Tensor) -> Iterator[Tensor]:
    rgb = planes[1:4]
    yield (rgb <= 1).float().mean()
    yield (rgb >= 254).float().mean()
    yield planes[0].mean() / 255
    yield planes[0].std() / 255
    yield _log(planes[4:].abs().mean(), 0.5)

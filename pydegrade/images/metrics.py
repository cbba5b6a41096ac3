"""PSNR and SSIM as super-resolution papers report them, each value with the name of its protocol.

Two papers' numbers can be compared only when channel, border and rounding agree; they shift PSNR by 0.01 to 2 dB. Here
these choices are one value, `Protocol`, and its name travels with every result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import shown
from ..native.given import is_one_of, native_order
from .imresize import MAX_SIDE_PX, imresize

Channel = Literal["y", "rgb", "gray"]
Precision = Literal["uint8", "double", "unrounded"]
BicubicPath = Literal["y-double", "rgb-uint8"]
Image = NDArray[Any] | torch.Tensor
Doubles = NDArray[np.float64]

PEAK = 255.0
# Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", section III-C.
SSIM_WINDOW_PX, SSIM_SIGMA_PX, SSIM_K1, SSIM_K2 = 11, 1.5, 0.01, 0.03
# exp(-k^2 / (2 sigma^2)) for k = 0 .. 5, correctly rounded; exp itself differs in the last digit between machines.
_HALF_WINDOW = (
    1.0,
    0.8007374029168081,
    0.41111229050718745,
    0.1353352832366127,
    0.028565500784550373,
    0.0038659201394728067,
)
SSIM_TAPS = tuple(tap / math.fsum(_HALF_WINDOW[:0:-1] + _HALF_WINDOW) for tap in _HALF_WINDOW[:0:-1] + _HALF_WINDOW)
"""Weights of the window along one axis, the outermost first."""
_SSIM_ROWS = 64  # of the SSIM map at once, so that the work stays in cache

_NAME = re.compile(r"(y|rgb|gray)-(uint8|double|unrounded)-border(\d{1,9})")


@dataclass(frozen=True)
class Protocol:
    """What is compared.

    Attributes:
        channel: "y" is the luma of MATLAB's `rgb2ycbcr` (ITU-R BT.601, 16 to 235); gray images are compared as they
            are, as the usual MATLAB scripts do. "rgb" is all channels: PSNR of their common mean squared error, mean of
            the channels' SSIM. "gray" is for images of one channel, compared as they are, 0 to 255.
        border: px cut off every side before comparing; most papers cut `scale`.
        precision: "uint8" rounds images to 8 bits, as files are, and luma too, as MATLAB does for uint8 images.
            "double" rounds the images but not the luma, as BasicSR and scripts with `im2double` do; only for "y".
            "unrounded" compares floating point images as they are, neither rounded nor clipped.

    `str(protocol)` is its name, such as "y-uint8-border4"; `Protocol.parse` reads it back.
    """

    channel: Channel = "y"
    border: int = 0
    precision: Precision = "uint8"

    def __post_init__(self) -> None:
        if not is_one_of(self.channel, ("y", "rgb", "gray")):
            raise ValueError(f"Protocol: channel must be 'y', 'rgb' or 'gray', got {shown(self.channel)}")
        if isinstance(self.border, bool) or not isinstance(self.border, int) or not 0 <= self.border <= MAX_SIDE_PX:
            raise ValueError(f"Protocol: border must be a whole number of px >= 0, got {shown(self.border)}")
        if not is_one_of(self.precision, ("uint8", "double", "unrounded")):
            raise ValueError(
                f"Protocol: precision must be 'uint8', 'double' or 'unrounded', got {shown(self.precision)}"
            )
        if self.channel != "y" and self.precision == "double":
            raise ValueError(
                f"Protocol: precision must be 'uint8' or 'unrounded' for channel {self.channel!r}, got 'double'"
            )

    def __str__(self) -> str:
        return f"{self.channel}-{self.precision}-border{self.border}"

    @classmethod
    def parse(cls, name: str) -> Protocol:
        """The protocol of a name such as "y-uint8-border4"."""
        match = _NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise ValueError(f"Protocol: name must be like 'y-uint8-border4' or 'rgb-uint8-border0', got {shown(name)}")
        return cls(match[1], int(match[3]), match[2])  # type: ignore[arg-type]


@dataclass(frozen=True)
class Score:
    """A measured value and how it was measured.

    Attributes:
        value: mean over the images; PSNR in dB (infinite for equal images), SSIM at most 1.
        protocol: full name, such as "psnr-y-uint8-border4".
        values: one value per image.
    """

    value: float
    protocol: str
    values: tuple[float, ...]

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return (
            f"{self.value:.2f} dB {self.protocol}" if self.protocol[0] == "p" else f"{self.value:.4f} {self.protocol}"
        )


def mean_score(scores: Sequence[Score]) -> Score:
    """All images of several scores in one; refuses to mix protocols."""
    names = {score.protocol for score in scores}
    if len(names) != 1:
        got = " and ".join(sorted(names)) or "no scores"
        raise ValueError(f"mean_score: scores must be of one protocol, got {got}")
    return _score([value for score in scores for value in score.values], names.pop())


def psnr(image: Image, reference: Image, protocol: Protocol | str = Protocol()) -> Score:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error), in dB.

    Args:
        image: array [H, W] or [H, W, C], or tensor [H, W], [C, H, W] or [N, C, H, W]; C is 1 or 3; uint8, or float32
            or float64 in [0, 1]. Without rounding ("unrounded") floats are not clipped either.
        reference: what it is compared with, of the same shape; may differ in dtype.
        protocol: a `Protocol` or its name, such as "y-uint8-border4".
    Raises:
        TypeError, ValueError: one line naming the argument.
    """
    protocol, pairs = _pairs("psnr", image, reference, protocol)
    errors = [float(np.mean(np.square(ours - theirs))) for ours, theirs in pairs]
    return _score([10 * math.log10(PEAK**2 / error) if error else math.inf for error in errors], f"psnr-{protocol}")


def ssim(image: Image, reference: Image, protocol: Protocol | str = Protocol()) -> Score:
    """Structural similarity as the original MATLAB code computes it and super-resolution papers report it.

    11 x 11 Gaussian window of sigma 1.5 px, K = (0.01, 0.03), L = 255, biased variances, double precision, mean over
    the places where the window fits. Not `ssim` of MATLAB's toolbox, which pads.

    Args, errors: as `psnr`; after the border is cut, sides must be at least 11 px.
    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
    """
    protocol, pairs = _pairs("ssim", image, reference, protocol)
    values = []
    for ours, theirs in pairs:
        if min(ours.shape[:2]) < SSIM_WINDOW_PX:
            sides = f"{ours.shape[0]} x {ours.shape[1]}"
            raise ValueError(f"ssim: sides must be at least 11 px inside the border, got {sides}")
        values.append(float(np.mean([_plane_ssim(ours[..., c], theirs[..., c]) for c in range(ours.shape[2])])))
    return _score(values, f"ssim-{protocol}")


def bicubic_scores(
    hr: NDArray[np.uint8], scale: int, path: BicubicPath = "y-double", protocol: Protocol | str | None = None
) -> tuple[Score, Score]:
    """PSNR and SSIM of an image that MATLAB's bicubic made smaller and larger again: the first row of most tables.

    Args:
        hr: uint8 [H, W] or [H, W, 3]; cut at the bottom and the right to multiples of `scale`.
        scale: whole number >= 1.
        path: "y-double" is that of the SRCNN and VDSR scripts: the luma, rounded to 8 bits, is resized down and up in
            double, without rounding between. "rgb-uint8" is what one gets from image files: RGB, rounded to 8 bits
            after every pass.
        protocol: default luma, 8 bits, border `scale`.
    Returns:
        (PSNR, SSIM); the path is appended to the names: "psnr-y-uint8-border4-bicubic-y-double".
    """
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise ValueError(f"bicubic_scores: scale must be a whole number >= 1, got {shown(scale)}")
    if not is_one_of(path, ("y-double", "rgb-uint8")):
        raise ValueError(f"bicubic_scores: path must be 'y-double' or 'rgb-uint8', got {shown(path)}")
    if not isinstance(hr, np.ndarray) or hr.dtype != np.uint8 or (hr.ndim != 2 and hr.shape[2:] != (3,)):
        got = f"{hr.dtype} {list(hr.shape)}" if isinstance(hr, np.ndarray) else type(hr).__name__
        raise ValueError(f"bicubic_scores: hr must be uint8 [H, W] or [H, W, 3], got {got}")
    if min(hr.shape[:2]) < scale:
        raise ValueError(f"bicubic_scores: sides of hr must be at least {scale} px, got {hr.shape[0]} x {hr.shape[1]}")
    reference = hr[: hr.shape[0] - hr.shape[0] % scale, : hr.shape[1] - hr.shape[1] % scale]
    if path == "rgb-uint8":
        result = imresize(imresize(reference, 1 / scale), scale)
    else:
        reference = rgb_to_y(reference)
        result = _rounded(imresize(imresize(reference.astype(np.float64), 1 / scale), scale)).astype(np.uint8)
    chosen = Protocol("y", border=scale) if protocol is None else protocol
    scores = psnr(result, reference, chosen), ssim(result, reference, chosen)
    first, second = (Score(score.value, f"{score.protocol}-bicubic-{path}", score.values) for score in scores)
    return first, second


def rgb_to_y(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma as MATLAB's `rgb2ycbcr` gives it for uint8: [H, W, 3] -> [H, W], 16 to 235. Gray images come back as they are.

    In integers: exactly the rounded value of 16 + (65.481 R + 128.553 G + 24.966 B) / 255, halves up.
    """
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return ((65481 * red + 128553 * green + 24966 * blue + 127500) // 255000 + 16).astype(np.uint8)


# ---- Inside


def _score(values: list[float], protocol: str) -> Score:
    return Score(float(np.mean(values)), protocol, tuple(values))


def _rounded(levels: Doubles) -> Doubles:
    """To whole numbers in [0, 255], halves up."""
    return np.floor(np.clip(levels, 0, PEAK) + 0.5)


def _pairs(
    where: str, image: Any, reference: Any, protocol: Protocol | str
) -> tuple[Protocol, list[tuple[Doubles, Doubles]]]:
    """What is compared: per image of the batch two arrays [H, W, channels] of levels 0 to 255, borders cut."""
    protocol = protocol if isinstance(protocol, Protocol) else Protocol.parse(protocol)
    ours, theirs = (_batch(where, name, value) for name, value in (("image", image), ("reference", reference)))
    if isinstance(image, torch.Tensor) != isinstance(reference, torch.Tensor):
        got = f"{type(image).__name__} and {type(reference).__name__}"
        raise TypeError(f"{where}: image and reference must both be arrays or both be tensors, got {got}")
    if ours.shape != theirs.shape:
        got = f"{list(image.shape)} and {list(reference.shape)}"
        raise ValueError(f"{where}: image and reference must have the same shape, got {got}")
    if protocol.channel == "gray" and ours.shape[3] != 1:
        raise ValueError(f"{where}: images must have one channel under {protocol}, got {ours.shape[3]}")
    border = protocol.border
    if min(ours.shape[1:3]) <= 2 * border:
        sides = f"{ours.shape[1]} x {ours.shape[2]}"
        raise ValueError(f"{where}: sides must be larger than twice the border {border}, got {sides}")
    low, high = (float(value) for value in (theirs.min(), theirs.max()))
    if "float" in str(theirs.dtype) and (
        high > 2 or low < -1
    ):  # what a network gives may over-shoot, a reference does not
        raise ValueError(f"{where}: floats must lie in [0, 1], got a reference from {low:g} to {high:g}; divide by 255")
    inside = slice(border, ours.shape[1] - border), slice(border, ours.shape[2] - border)
    return protocol, [
        (_compared(where, one[inside], protocol), _compared(where, other[inside], protocol))
        for one, other in zip(ours, theirs)
    ]


def _batch(where: str, name: str, image: Any) -> NDArray[Any]:
    """[N, H, W, C] of any accepted image, not copied."""
    if not isinstance(image, (np.ndarray, torch.Tensor)):
        raise TypeError(f"{where}: {name} must be an array or a tensor, got {type(image).__name__}")
    image = image if isinstance(image, torch.Tensor) else native_order(image)
    dtype = str(image.dtype).removeprefix("torch.")
    if dtype not in ("uint8", "float32", "float64"):
        raise TypeError(f"{where}: {name} must be uint8, float32 or float64, got {dtype}")
    shape = list(image.shape)
    if isinstance(image, torch.Tensor):
        if image.is_meta or image.layout != torch.strided:
            raise ValueError(f"{where}: {name} must be dense and have memory, got {image.layout} on {image.device}")
        values = image.detach().cpu().numpy()
        good = 2 <= len(shape) <= 4
        values = values.reshape((1,) * (4 - len(shape)) + values.shape).transpose(0, 2, 3, 1) if good else values
        expected = "[H, W], [C, H, W] or [N, C, H, W]"
    else:
        values = image
        good = 2 <= len(shape) <= 3
        values = values.reshape((1, *shape, 1) if len(shape) == 2 else (1, *shape)) if good else values
        expected = "[H, W] or [H, W, C]"
    if not good or values.shape[3] not in (1, 3) or 0 in values.shape:
        raise ValueError(f"{where}: {name} must be {expected} with C 1 or 3 and no empty side, got shape {shape}")
    return values


def _compared(where: str, image: NDArray[Any], protocol: Protocol) -> Doubles:
    """Levels of one image [H, W, C] as the protocol compares them."""
    if image.dtype == np.uint8:
        levels = image.astype(np.float64)
    else:
        levels = PEAK * image.astype(np.float64)
        if not np.isfinite(levels).all():
            raise ValueError(f"{where}: images must be finite, got NaN or infinity")
        if protocol.precision != "unrounded":
            levels = _rounded(levels)
    if protocol.channel == "rgb" or levels.shape[2] == 1:
        return levels
    if protocol.precision == "uint8":
        return rgb_to_y(levels.astype(np.uint8))[..., None].astype(np.float64)
    luma = 65.481 * levels[..., 0] + 128.553 * levels[..., 1] + 24.966 * levels[..., 2]
    return (luma / PEAK + 16)[..., None]


def _plane_ssim(ours: Doubles, theirs: Doubles) -> float:
    """Mean of the SSIM map of two planes [H, W] of levels 0 to 255."""
    taps = np.array(SSIM_TAPS)
    c1, c2 = (SSIM_K1 * PEAK) ** 2, (SSIM_K2 * PEAK) ** 2
    rows, columns = (side - SSIM_WINDOW_PX + 1 for side in ours.shape)
    total = 0.0
    for top in range(0, rows, _SSIM_ROWS):
        here = slice(top, min(top + _SSIM_ROWS, rows) + SSIM_WINDOW_PX - 1)
        x, y = ours[here], theirs[here]
        fields = np.stack([x, y, x * x, y * y, x * y])
        fields = sum(taps[k] * fields[:, k : fields.shape[1] - SSIM_WINDOW_PX + 1 + k] for k in range(SSIM_WINDOW_PX))
        fields = sum(taps[k] * fields[:, :, k : columns + k] for k in range(SSIM_WINDOW_PX))
        mean_x, mean_y, square_x, square_y, product = fields
        luminance = 2 * mean_x * mean_y
        energy = mean_x * mean_x + mean_y * mean_y
        contrast = 2 * product - luminance
        variance = square_x + square_y - energy
        total += float(((luminance + c1) * (contrast + c2) / ((energy + c1) * (variance + c2))).sum())
    return total / (rows * columns)

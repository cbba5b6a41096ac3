"""What other libraries call bicubic, each as a function (uint8 [H, W, 3], scale) -> uint8.

BasicSR's and KAIR's `imresize` are written out from their formula, with their loops: a float32 matrix per axis, borders
mirrored by copying, one matrix-vector product per output row or column and channel, no rounding between the passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import pydegrade

Pixels = NDArray[np.uint8]
Peer = Callable[[Pixels, float], Pixels]


def _sides(image: Pixels, scale: float) -> tuple[int, int]:
    return math.ceil(image.shape[0] * scale), math.ceil(image.shape[1] * scale)


def _levels(values: NDArray[Any]) -> Pixels:
    """[0, 1] -> 0..255, as these libraries' tensor2img functions: clipped and rounded."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _weights(inputs: int, outputs: int, scale: float) -> tuple[torch.Tensor, torch.Tensor, int, int]:
    """Weights [outputs, taps], first tap in the mirrored image, and how far it is mirrored at either end."""
    stretch = min(scale, 1.0)
    width = 4 / stretch
    centre = torch.linspace(1, outputs, outputs) / scale + 0.5 * (1 - 1 / scale)
    places = torch.floor(centre - width / 2)[:, None] + torch.arange(math.ceil(width) + 2)
    x = ((centre[:, None] - places) * stretch).abs()
    inner = (1.5 * x**3 - 2.5 * x**2 + 1) * (x <= 1)
    outer = (-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2) * ((x > 1) & (x <= 2))
    weights = stretch * (inner + outer)
    weights = weights / weights.sum(1, keepdim=True)
    # Columns that are zero everywhere, at either end only: the rest must stay contiguous.
    used = (weights != 0).any(0).nonzero()
    taps = slice(int(used.min()), int(used.max()) + 1)
    places, weights = places[:, taps].long(), weights[:, taps].contiguous()
    before, after = max(int(1 - places.min()), 0), max(int(places.max()) - inputs, 0)
    return weights, places[:, 0] - 1 + before, before, after


def basicsr_float(image: torch.Tensor, scale: float) -> torch.Tensor:
    """BasicSR's imresize of [C, H, W] float32 in [0, 1]."""
    channels, height, width = image.shape
    out_height, out_width = math.ceil(height * scale), math.ceil(width * scale)
    weights, first, before, after = _weights(height, out_height, scale)
    tall = torch.cat([image[:, :before].flip(1), image, image[:, height - after :].flip(1)], 1)
    rows = torch.empty(channels, out_height, width)
    for y in range(out_height):
        begin = int(first[y])
        for channel in range(channels):
            rows[channel, y] = tall[channel, begin : begin + weights.shape[1]].transpose(0, 1).mv(weights[y])
    weights, first, before, after = _weights(width, out_width, scale)
    wide = torch.cat([rows[:, :, :before].flip(2), rows, rows[:, :, width - after :].flip(2)], 2)
    out = torch.empty(channels, out_height, out_width)
    for x in range(out_width):
        begin = int(first[x])
        for channel in range(channels):
            out[channel, :, x] = wide[channel, :, begin : begin + weights.shape[1]].mv(weights[x])
    return out


def basicsr(image: Pixels, scale: float) -> Pixels:
    planes = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    return _levels(basicsr_float(planes, scale).permute(1, 2, 0).numpy())


def ours(image: Pixels, scale: float) -> Pixels:
    return pydegrade.imresize(image, scale)


def ours_double(image: Pixels, scale: float) -> Pixels:
    return pydegrade.imresize(image, scale, semantics="im2double")


def pillow(image: Pixels, scale: float) -> Pixels:
    height, width = _sides(image, scale)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def torch_uint8(image: Pixels, scale: float) -> Pixels:
    """On the tensor as it comes from a file, channels last: the layout torch has its fast path for."""
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    return _torch(batch, image, scale, antialias=True)[0].permute(1, 2, 0).numpy()


def torch_float_antialias(image: Pixels, scale: float) -> Pixels:
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous().float() / 255
    return _levels(_torch(planes, image, scale, antialias=True)[0].permute(1, 2, 0).numpy())


def torch_float(image: Pixels, scale: float) -> Pixels:
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous().float() / 255
    return _levels(_torch(planes, image, scale, antialias=False)[0].permute(1, 2, 0).numpy())


def _torch(batch: torch.Tensor, image: Pixels, scale: float, antialias: bool) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        batch, size=_sides(image, scale), mode="bicubic", align_corners=False, antialias=antialias
    )


def cv2_cubic(image: Pixels, scale: float) -> Pixels:
    import cv2

    height, width = _sides(image, scale)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC))


def cv2_area(image: Pixels, scale: float) -> Pixels:
    import cv2

    height, width = _sides(image, scale)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def skimage_antialias(image: Pixels, scale: float) -> Pixels:
    return _skimage(image, scale, anti_aliasing=True)


def skimage_plain(image: Pixels, scale: float) -> Pixels:
    return _skimage(image, scale, anti_aliasing=False)


def _skimage(image: Pixels, scale: float, anti_aliasing: bool) -> Pixels:
    from skimage.transform import resize

    return _levels(resize(image, _sides(image, scale), order=3, anti_aliasing=anti_aliasing))


PEERS: dict[str, Peer] = {
    "pydegrade.imresize": ours,
    'pydegrade.imresize, semantics="im2double"': ours_double,
    "BasicSR, KAIR `imresize` (formula)": basicsr,
    "torch bicubic, antialias, float32": torch_float_antialias,
    "torch bicubic, antialias, uint8": torch_uint8,
    "Pillow BICUBIC": pillow,
    "cv2 INTER_AREA": cv2_area,
    "skimage order 3, anti_aliasing": skimage_antialias,
    "cv2 INTER_CUBIC": cv2_cubic,
    "torch bicubic": torch_float,
    "skimage order 3, no anti_aliasing": skimage_plain,
}

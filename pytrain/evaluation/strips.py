"""Results as pictures: files of their own, and bicubic, network and HR beside each other where bicubic is worst."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pydegrade import imresize
from pydegrade.files import Pixels, to_uint8, unique_names
from pydegrade.images.metrics import Protocol, psnr
from pydegrade.sheet import Cell, SheetRow

from .sets import EvalPair

STRIP_PX = 128
"""Side of the squares in before-and-after pictures."""


def as_pixels(image: Tensor) -> Pixels:
    """uint8 [H, W, 3] of a network's output; what is not finite becomes black."""
    return to_uint8(torch.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0).expand(3, -1, -1))


def three_channels(image: Pixels) -> Pixels:
    """[H, W, 3] of an image that may have a single channel, [H, W]."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def file_names(names: Sequence[str]) -> list[str]:
    """What the results of a set's images are called, without ending: in one folder, each by a name of its own.

    Args:
        names: of all images of the set, which may hold folders.
    """
    flat = [re.sub(r"[/\\\0]", "_", name) for name in names]
    counts = Counter(flat)
    marks = [hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8] for name in names]
    return unique_names(
        [PurePath(f"{mark}_{one}" if counts[one] > 1 or one in ("", ".") else one) for one, mark in zip(flat, marks)]
    )


def strip(pair: EvalPair, result: Pixels, scale: int, label: str) -> SheetRow:
    """Bicubic, the network and HR side by side, where bicubic is farthest from HR."""
    bicubic = np.asarray(imresize(pair.lr, scale))[..., :3]
    bicubic = bicubic if bicubic.shape[2] == 3 else np.repeat(bicubic, 3, axis=2)
    return side_by_side(pair, ((bicubic, "bicubic"), (result, label)), scale, pair.name)


def side_by_side(
    pair: EvalPair, results: Sequence[tuple[Pixels, str]], scale: int, title: str, side_px: int = STRIP_PX
) -> SheetRow:
    """Results with their names and HR, cut where the first result is farthest from HR.

    Args:
        pair: what the results were made from.
        results: uint8 [H, W, 3] and a name each; at least one.
        scale: HR side over LR side, the border that PSNR leaves out.
        title: of the row.
        side_px: of the cut.
    """
    hr = three_channels(pair.hr)
    top, left = _worst_square(results[0][0], hr, side_px)
    window = slice(top, top + side_px), slice(left, left + side_px)
    protocol = Protocol("y", border=scale)
    cells = [Cell(pixels[window], f"{name}, {psnr(pixels, hr, protocol).value:.2f} dB") for pixels, name in results]
    return SheetRow(title, (*cells, Cell(hr[window], "HR")))


def _worst_square(image: Pixels, reference: Pixels, side_px: int) -> tuple[int, int]:
    """Top and left of the square with the largest sum of differences."""
    difference: NDArray[Any] = np.abs(image.astype(np.int64) - reference).sum(axis=2)
    sums = np.pad(difference.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    height, width = (min(side_px, side) for side in difference.shape)
    squares = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(np.argmax(squares)), squares.shape)
    return int(top), int(left)

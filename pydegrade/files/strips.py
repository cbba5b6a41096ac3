"""Whole images made a few rows at a time, so that nothing beside the result is as large as an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP_PIXELS = 2**20


def by_strips(height: int, width: int, make: Callable[[int, int], NDArray[Any]]) -> NDArray[Any]:
    """Rows of an image, made strip by strip.

    Args:
        height, width: px, at least 1.
        make: (first row, row behind the last) -> their pixels, [rows, width] or [rows, width, C].
    """
    step = max(1, STRIP_PIXELS // width)
    if step >= height:
        return make(0, height)
    first = make(0, step)
    out = np.empty((height, *first.shape[1:]), first.dtype)
    out[:step] = first
    for top in range(step, height, step):
        out[top : top + step] = make(top, min(top + step, height))
    return out


def converted(array: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """A function of pixels, [H, W] or [H, W, C] -> the same H and W, applied strip by strip."""
    height, width = array.shape[:2]
    return by_strips(height, width, lambda top, bottom: function(array[top:bottom]))


def array_of(image: Image.Image, dtype: Any = None) -> NDArray[Any]:
    """The pixels of Pillow's image as `np.asarray` gives them, without its second copy on the way; of `dtype` if given."""
    image.load()
    width, height = image.size
    return by_strips(height, width, lambda top, bottom: np.array(image.crop((0, top, width, bottom)), dtype))

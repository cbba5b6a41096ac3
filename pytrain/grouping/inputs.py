"""Clean crops that every task is tried on: the same ones, with the same noise numbers, for all tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pydegrade import named_uniform
from pydegrade.errors import ImageError
from pydegrade.files import CropReader, Crops, find_images

from ..errors import DataError

# Noise numbers of validation crops: far above any sample number of training, so that no noise field is shared.
VALIDATION_NUMBER = 2**62


@dataclass(frozen=True)
class CropPixels:
    """Crops in memory.

    Attributes:
        images: uint8 [N, 3, S, S], contiguous.
        numbers: int64 [N], which noise field each one gets.
        origin: where they come from, for people.
    """

    images: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    origin: str

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, begin: int, count: int) -> CropPixels:
        """Consecutive crops."""
        return CropPixels(self.images[begin : begin + count], self.numbers[begin : begin + count], self.origin)

    @property
    def digest(self) -> str:
        """16 hex digits over pixels and numbers."""
        content = hashlib.sha256(f"{self.images.shape}".encode())
        content.update(self.images.tobytes())
        content.update(self.numbers.tobytes())
        return content.hexdigest()[:16]


def gathered(batches: Iterable[tuple[NDArray[np.int64], Mapping[str, Tensor]]], origin: str) -> CropPixels:
    """The HR crops of several training batches, in their order.

    Args:
        batches: (sample numbers [b], images by name, uint8 [b, 3, S, S]) each.
        origin: where they come from, for people.
    """
    numbers, images = zip(*((indices, images["hr"].numpy()) for indices, images in batches))
    return CropPixels(np.concatenate(images), np.concatenate(numbers), origin)


def validation_crops(sources: Sequence[str], count: int, side_px: int, seed: int) -> CropPixels:
    """`count` squares of the images in turn, each at a place drawn from the seed.

    Args:
        sources: a folder or files; empty: photographs of scikit-image.
        count: how many squares.
        side_px: side of each square.
        seed: chooses the places.
    Raises:
        DataError: an image smaller than the square, or no image.
    """
    try:
        images = find_images(sources)
    except (ImageError, OSError) as error:
        raise DataError(f"method.grouping.validation_hr: {error}") from None
    for image in images.images:
        if min(image.height, image.width) < side_px:
            raise DataError(
                f"method.grouping.validation_hr: {image.path} must be at least {side_px} x {side_px} px "
                f"(validation_px), got {image.width} x {image.height}"
            )
    index = np.arange(count, dtype=np.int64)
    position = index % len(images.images)
    heights = np.array([image.height for image in images.images])[position]
    widths = np.array([image.width for image in images.images])[position]
    top = np.floor(named_uniform(seed, index, "tgsr.validation_top") * (heights - side_px + 1)).astype(np.int64)
    left = np.floor(named_uniform(seed, index, "tgsr.validation_left") * (widths - side_px + 1)).astype(np.int64)
    upright = np.zeros(count, bool)
    squares = Crops(index, position, top, left, upright, upright, upright, side_px)
    reader = CropReader(images)
    pixels = np.stack([reader.read(squares, row) for row in range(count)]).transpose(0, 3, 1, 2)
    origin = f"{count} crops of {side_px} px from {images.origin}"
    return CropPixels(np.ascontiguousarray(pixels), VALIDATION_NUMBER + index, origin)

"""Photographs whose degradation is not known: facts of the file, and squares with their statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..files.memory import MemoryBudget
from ..files.paths import display_name, open_regular
from ..files.read import MAX_PIXELS, open_image
from .facts import FileFacts, facts_of
from .statistics import CELL_PX, LEAST_PX, NAMES, statistics

_PLACES = ((0.5, 0.5), (0.2, 0.3), (0.8, 0.7), (0.3, 0.8), (0.7, 0.2), (0.05, 0.95))
"""Where squares are cut, as shares of the room that there is; the first are taken where fewer are wanted."""
MOST_SQUARES = len(_PLACES)


@dataclass(frozen=True)
class Photograph:
    """One photograph.

    Attributes:
        path: of the file.
        facts: what the file tells.
        squares: uint8 [K, S, S, 3], K >= 1; from the middle first.
        statistics: of the pixels, float32 [K, len(NAMES)].
        notes: what was converted when it was decoded.
    """

    path: Path
    facts: FileFacts
    squares: NDArray[np.uint8]
    statistics: NDArray[np.float32]
    notes: tuple[str, ...] = ()

    @property
    def told(self) -> NDArray[np.float32]:
        """Statistics, the quality that pixels show replaced by what the tables of a JPEG file tell."""
        found = self.statistics.copy()
        if self.facts.jpeg is not None:
            found[:, NAMES.index("jpeg_quality")] = self.facts.jpeg.like_quality
        return found


def read_photograph(path: Path, side_px: int, squares: int, max_pixels: int = MAX_PIXELS) -> Photograph:
    """Read a photograph and measure it.

    Args:
        path: of the file.
        side_px: of the squares; less where the photograph is smaller.
        squares: how many at most, 1 to MOST_SQUARES; fewer where they would be the same.
        max_pixels: limit of an image.
    Raises:
        ImageError: it cannot be read, or its shorter side is below LEAST_PX.
    """
    with open_regular(path) as stream:
        content = stream.read()
    with open_image(path, max_pixels, content) as file:
        header = file.header
        if min(header.height, header.width) < LEAST_PX:
            size = f"{header.width} x {header.height}"
            raise ImageError(f"{display_name(path)}: must be at least {LEAST_PX} x {LEAST_PX} px, got {size}")
        facts = facts_of(header, content, str(path))
        needed = header.decode_bytes + header.file_bytes
        with MemoryBudget().hold(needed, path, header.file_bytes):
            picture = file.decode().rgb8()
            cut = cut_squares(picture.array, side_px, squares)
    return Photograph(path, facts, cut, statistics(cut), picture.notes)


def cut_squares(pixels: NDArray[np.uint8], side_px: int, count: int) -> NDArray[np.uint8]:
    """Squares uint8 [K, S, S, 3] of an image [H, W, 3], at places that are multiples of CELL_PX."""
    height, width = pixels.shape[:2]
    side = min(side_px, height, width) // CELL_PX * CELL_PX
    places = dict.fromkeys(
        (int(down * (height - side)) // CELL_PX * CELL_PX, int(right * (width - side)) // CELL_PX * CELL_PX)
        for down, right in _PLACES[:count]
    )
    return np.stack([pixels[top : top + side, left : left + side] for top, left in places])

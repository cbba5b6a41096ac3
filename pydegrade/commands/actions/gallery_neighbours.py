"""Photographs beside simulations: the nearest by what degradations leave in their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ImageError
from ...files.pixels import Pixels
from ...fitting.match import distances_to
from ...fitting.photographs import cut_squares
from ...fitting.simulate import side_for
from ...fitting.statistics import CELL_PX, LEAST_PX, statistics
from .photographs import read_all, shorter_sides_px
from .sources import CroppedImages


@dataclass(frozen=True)
class Neighbours:
    """Squares of photographs.

    Attributes:
        squares: uint8 [M, S, S, 3].
        statistics: float32 [M, S'].
    """

    squares: Pixels
    statistics: NDArray[np.float32]

    @staticmethod
    def of(sources: Sequence[Path], clean: CroppedImages, scale: int, max_pixels: int) -> Neighbours:
        """Of files and folders; squares as large as most of them, and the simulations, hold.

        Raises:
            ImageError: one that cannot be read or holds no such square, named.
        """
        items, sides = shorter_sides_px(sources, max_pixels)
        side = min(side_for(clean.images, scale, sides), clean.side_px // scale // CELL_PX * CELL_PX)
        if side < LEAST_PX:
            raise ImageError(
                f"--photographs: squares of {LEAST_PX} px are compared, LR has {clean.side_px // scale} px"
            )
        found, _ = read_all(items, side, max_pixels)
        return Neighbours(
            np.concatenate([one.squares for one in found]), np.concatenate([one.statistics for one in found])
        )

    def beside(self, lr: Pixels) -> tuple[Pixels, Mapping[str, float]]:
        """The nearest photograph's square, and its distance."""
        (square,) = cut_squares(lr, self.squares.shape[1], 1)
        distances = distances_to(self.statistics, statistics(square[None])[0])
        nearest = int(distances.argmin())
        return self.squares[nearest], {"distance": float(distances[nearest])}

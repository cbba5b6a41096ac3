"""Clean photographs degraded by tasks of a space, and the statistics of what comes out."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import degrade_list
from ..errors import ImageError, OutputError, PydegradeError
from ..files.atomic import write_atomic
from ..files.dataset import CropReader, HrImages, draw_crops
from ..files.paths import display_name
from ..files.pixels import to_float, to_uint8
from ..native import binding
from ..tasks.sampler import sample
from ..tasks.space import Space
from ..tasks.task import TaskBatch
from .statistics import CELL_PX, LEAST_PX, NAMES, statistics

VERSION = 1
"""Raised when equal tasks and images begin to give other statistics."""
MOST_SIDE_PX = 128
_CHUNK = 64
_SHARE_HELD = 0.8
"""Of the clean images, how many must hold a crop."""


@dataclass(frozen=True)
class Simulations:
    """Statistics of simulated squares.

    Attributes:
        tasks: N, of `space` and `seed`.
        image: which clean image each was made of, int64 [N].
        statistics: float32 [N, len(NAMES)].
    """

    tasks: TaskBatch
    image: NDArray[np.int64]
    statistics: NDArray[np.float32]


@dataclass(frozen=True)
class Simulator:
    """Makes simulations.

    Attributes:
        space: that tasks are drawn from.
        images: clean ones, all of which hold a crop.
        side_px: of the degraded squares, a multiple of CELL_PX.
        seed: of tasks and crops.
        max_pixels: limit of an image.
    """

    space: Space
    images: HrImages
    side_px: int
    seed: int
    max_pixels: int

    @property
    def digest(self) -> str:
        """Of all that decides about the results."""
        parts = [VERSION, self.space.digest, self.images.digest, self.side_px, self.seed, *NAMES]
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()

    @property
    def made_from(self) -> dict[str, str]:
        """The same for people."""
        return {
            "--start": f"{self.space.name}@{self.space.digest[:8]}",
            "--clean": f"{len(self.images.images)} images, {self.images.digest[:8]}",
            "squares": f"{self.side_px} px",
            "--seed": str(self.seed),
        }

    def squares(
        self, numbers: range, reader: CropReader | None = None
    ) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
        """Degraded squares of these samples, uint8 [S, S, 3] each, and their images.

        Raises:
            ImageError: a clean image cannot be read.
        """
        reader = reader or CropReader(self.images, max_pixels=self.max_pixels)
        crops = draw_crops(self.images, self.seed, numbers, self.side_px * self.space.scale)
        clean = [to_float(reader.read(crops, row)) for row in range(len(crops))]
        degraded = degrade_list(clean, sample(self.space, self.seed, numbers))
        return [to_uint8(image) for image in degraded], crops.image

    def run(self, count: int, kept: Path | None, advance: Callable[[int], None]) -> Simulations:
        """Make simulations; go on with those that `kept` holds.

        Args:
            count: how many.
            kept: a file that is written on the way; a damaged one is made anew. None: nothing is kept.
            advance: is told how many are there.
        Raises:
            OutputError: `kept` holds simulations that were made from something else.
        """
        values, image = self._read(kept, count)
        reader = CropReader(self.images, max_pixels=self.max_pixels)
        advance(len(values))
        while len(values) < count:
            numbers = range(len(values), min(count, len(values) + _CHUNK))
            made, images = self.squares(numbers, reader)
            with ThreadPoolExecutor(binding.get_num_threads()) as pool:
                found = list(pool.map(lambda square: statistics(square[None])[0], made))
            values, image = np.concatenate([values, found]), np.concatenate([image, images])
            if kept is not None and (len(values) % (4 * _CHUNK) == 0 or len(values) == count):
                write_atomic(kept, self._bytes(values, image))
            advance(len(values))
        return Simulations(sample(self.space, self.seed, range(count)), image, values)

    def _read(self, kept: Path | None, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        nothing = np.zeros((0, len(NAMES)), np.float32), np.zeros(0, np.int64)
        if kept is None or not kept.is_file():
            return nothing
        try:
            with np.load(kept, allow_pickle=False) as file:
                values, image, digest = file["statistics"], file["image"], str(file["digest"])
                made_from = json.loads(str(file["made_from"])) if "made_from" in file else {}
        # Damaged bytes: zipfile, zlib and NumPy's header parser raise whatever they stumble over.
        except Exception:
            return nothing
        fits = values.ndim == 2 and values.shape[1] == len(NAMES) and image.shape == values.shape[:1]
        if not fits or values.dtype != np.float32 or not np.isfinite(values).all():
            return nothing
        if digest != self.digest:
            raise OutputError(f"-o: {display_name(kept)} {self._differs(made_from)}; choose another name, or remove it")
        return values[:count], image[:count].astype(np.int64)

    def _differs(self, made_from: Any) -> str:
        """How simulations that are kept are others than these."""
        mine = self.made_from
        other = dict(made_from) if isinstance(made_from, dict) else {}
        for name, value in mine.items():
            if other.get(name, value) != value:
                return f"keeps simulations with {name} {display_name(str(other[name])[:80])}, got {value}"
        return "keeps simulations of another version of pydegrade"

    def _bytes(self, values: NDArray[np.float32], image: NDArray[np.int64]) -> bytes:
        stream = io.BytesIO()
        np.savez(
            stream,
            statistics=values,
            image=image,
            digest=np.array(self.digest),
            made_from=np.array(json.dumps(self.made_from)),
        )
        return stream.getvalue()


def side_for(clean: HrImages, scale: int, photographs_px: list[int]) -> int:
    """Side of the squares that are compared: at most MOST_SIDE_PX, and what most clean images and photographs hold.

    Args:
        clean: images.
        scale: HR pixels to a pixel of the photographs.
        photographs_px: shorter sides.
    Raises:
        PydegradeError: below LEAST_PX.
    """

    def held(shorter: NDArray[np.int64]) -> int:
        return int(np.sort(shorter)[::-1][max(0, int(np.ceil(_SHARE_HELD * len(shorter))) - 1)])

    hr = held(clean.sides_px.min(axis=1)) // scale
    side = min(MOST_SIDE_PX, hr, held(np.array(photographs_px, np.int64))) // CELL_PX * CELL_PX
    if side < LEAST_PX:
        what = "--clean: images" if hr < LEAST_PX else "photographs"
        raise PydegradeError(
            f"{what} must hold squares of {LEAST_PX} px (clean ones {LEAST_PX * scale} px), most hold less"
        )
    return side


def holding(images: HrImages, side_px: int) -> HrImages:
    """The clean images that hold such a crop.

    Raises:
        ImageError: none does.
    """
    kept = tuple(image for image in images.images if min(image.height, image.width) >= side_px)
    if not kept:
        raise ImageError(f"{images.origin}: no image holds a crop of {side_px} px")
    return HrImages(images.origin, kept, images.excluded)

"""Where high-resolution crops come from: a folder, files, or photographs that ship with scikit-image.

Crop i is a pure function of (seed, i), the list of images and the side of the crop. Nothing is shuffled and no state is
kept, so any worker can make any crop, in any order.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import rng
from .errors import ImageError
from .io import MAX_PIXELS, Pixels, decode_image, image_size, list_images, path_inside

PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "gravel.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
"""Natural photographs inside the scikit-image wheel: no download, sides of at least 300 px."""


@dataclass(frozen=True)
class HrImage:
    """One clean image: its name in manifests (relative to the folder, "/" between parts), file, and size in px."""

    name: str
    path: Path
    height: int
    width: int


@dataclass(frozen=True)
class HrImages:
    """The clean images of a job, in the order in which `draw_crops` numbers them.

    Attributes:
        origin: where they come from, for people.
        images: all images that can be cropped; never empty.
        excluded: one line for each file that was left out, with the reason.
    """

    origin: str
    images: tuple[HrImage, ...]
    excluded: tuple[str, ...]

    @property
    def digest(self) -> str:
        """16 hex digits over names, sizes in px and sizes in bytes: equal digests mean equal crops."""
        lines = [f"{image.name}\t{image.height}\t{image.width}\t{image.path.stat().st_size}\n" for image in self.images]
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Crops:
    """Squares cut from images; arrays of equal length, one entry per sample.

    Attributes:
        index: int64, sample number.
        image: int64, position in `HrImages.images`.
        top, left: int64, px in the upright image.
        hflip: bool, mirrored left to right after cutting.
        side_px: side of all squares.
    """

    index: NDArray[np.int64]
    image: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    hflip: NDArray[np.bool_]
    side_px: int

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: Any) -> Crops:
        """Crops at those positions (integers, slice or mask)."""
        return Crops(
            self.index[rows], self.image[rows], self.top[rows], self.left[rows], self.hflip[rows], self.side_px
        )


def photographs_folder() -> Path:
    """Folder of scikit-image that holds PHOTOGRAPHS.

    Raises:
        ImageError: scikit-image is not installed.
    """
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise ImageError(
            "no images given and scikit-image, whose photographs would serve, is not installed; "
            "pass a folder (--hr DIR) or `pip install scikit-image`"
        )
    return Path(found.origin).parent / "data"


def find_images(
    sources: Sequence[str | os.PathLike[str]] = (),
    *,
    side_px: int = 1,
    meta_info: str | os.PathLike[str] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> HrImages:
    """Collect clean images large enough for crops.

    Only headers are read here. Files that are no images, or smaller than the crop, are left out and reported; a file
    whose pixels are damaged is noticed later, when it is decoded.

    Args:
        sources: one folder (searched recursively), or files; empty: photographs that ship with scikit-image.
        side_px: least side of an image.
        meta_info: text file in BasicSR's form, "relative/name.png (480,480,3)" a line: which files of the one folder to
            use; text after the first space is ignored.
        max_pixels: limit of a single image.
    Raises:
        ImageError: nothing usable, names that leave the folder, or a source that does not exist.
    """
    origin, named_paths = _candidates([Path(source) for source in sources], meta_info)
    images, excluded = [], []
    for name, path in named_paths:
        try:
            height, width = image_size(path, max_pixels)
        except (ImageError, OSError) as error:
            excluded.append(str(error))
            continue
        if min(height, width) < side_px:
            excluded.append(f"{path}: {width} x {height} px, smaller than the crop of {side_px} px")
        else:
            images.append(HrImage(name, path, height, width))
    if not images:
        more = f" (and {len(excluded) - 1} more)" if len(excluded) > 1 else ""
        raise ImageError(f"{origin}: no usable image among {len(excluded)}: {excluded[0]}{more}")
    return HrImages(origin, tuple(images), tuple(excluded))


def _candidates(sources: list[Path], meta_info: str | os.PathLike[str] | None) -> tuple[str, list[tuple[str, Path]]]:
    """(origin, [(name, path)]) before any file is opened."""
    if meta_info is not None:
        if len(sources) != 1 or not sources[0].is_dir():
            raise ImageError(f"{meta_info}: a list of files needs exactly one folder to look in (--hr DIR)")
        lines = Path(meta_info).read_text(encoding="utf-8").splitlines()
        names = [line.split(" ")[0] for line in lines if line.strip()]
        if not names:
            raise ImageError(f"{meta_info}: must list at least one file, got none")
        return str(sources[0]), [(name, path_inside(sources[0], name)) for name in names]
    if not sources:
        folder = photographs_folder()
        return "photographs of scikit-image", [(name, folder / name) for name in PHOTOGRAPHS]
    if len(sources) == 1 and not sources[0].is_file():
        return str(sources[0]), [(p.relative_to(sources[0]).as_posix(), p) for p in list_images(sources[0])]
    for source in sources:
        if not source.is_file():
            raise ImageError(f"{source}: must be a file when several sources are given")
    return f"{len(sources)} files", [(source.as_posix(), source) for source in sources]


def draw_crops(images: HrImages, seed: int, indices: Any, side_px: int) -> Crops:
    """Which square of which image each sample is: pure in (seed, index), uniform over images, then over positions.

    Args:
        images: from `find_images` with the same side.
        seed: the seed of the run, the same as for `pydegrade.sample`.
        indices: sample numbers, integers [N].
        side_px: side of the square, at most the shorter side of every image.
    """
    index = np.asarray(indices, np.int64).reshape(-1)
    image = _whole(rng.named_uniform(seed, index, "data.image"), len(images.images))
    height = np.array([item.height for item in images.images], np.int64)[image]
    width = np.array([item.width for item in images.images], np.int64)[image]
    top = _whole(rng.named_uniform(seed, index, "data.crop_top"), height - side_px + 1)
    left = _whole(rng.named_uniform(seed, index, "data.crop_left"), width - side_px + 1)
    hflip = rng.named_uniform(seed, index, "data.hflip") < 0.5
    return Crops(index, image, top, left, hflip, side_px)


def _whole(uniform: NDArray[Any], count: Any) -> NDArray[np.int64]:
    """Whole numbers in [0, count) from numbers in [0, 1)."""
    drawn = np.floor(uniform.astype(np.float64) * count).astype(np.int64)
    return np.minimum(drawn, np.asarray(count, np.int64) - 1)


class CropReader:
    """Cuts crops out of images; keeps decoded images in memory up to a budget, the least recently used leave first.

    Args:
        images: what crops refer to.
        budget_bytes: memory for decoded images, 3 bytes per pixel; the image in use is kept even if it is larger.
        max_pixels: limit of a single image.
    """

    def __init__(self, images: HrImages, budget_bytes: int = 2**30, max_pixels: int = MAX_PIXELS) -> None:
        self._images = images.images
        self._budget_bytes = budget_bytes
        self._max_pixels = max_pixels
        self._decoded: OrderedDict[int, Pixels] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.notes: set[str] = set()
        """One line for each image that was not plain 8-bit RGB or gray: what was done to it."""

    def read(self, crops: Crops, row: int) -> Pixels:
        """One crop, uint8 [side, side, 3], contiguous. Any thread may call.

        Raises:
            ImageError: the file cannot be decoded, or is not the one whose header was read.
        """
        pixels = self._image(int(crops.image[row]))
        top, left, side = int(crops.top[row]), int(crops.left[row]), crops.side_px
        square = pixels[top : top + side, left : left + side]
        return np.array(square[:, ::-1] if crops.hflip[row] else square)

    def _image(self, position: int) -> Pixels:
        with self._lock:
            if position in self._decoded:
                self._decoded.move_to_end(position)
                return self._decoded[position]
        image = self._images[position]
        decoded = decode_image(image.path, self._max_pixels)
        pixels = decoded.pixels
        if pixels.shape[:2] != (image.height, image.width):
            raise ImageError(f"{image.path}: changed since its header was read")
        with self._lock:
            self.notes.update(f"{image.path}: {note}" for note in decoded.notes)
            if position not in self._decoded:
                self._decoded[position] = pixels
                self._bytes += pixels.nbytes
            while self._bytes > self._budget_bytes and len(self._decoded) > 1:
                _, oldest = self._decoded.popitem(last=False)
                self._bytes -= oldest.nbytes
        return pixels

"""Where high-resolution crops come from: folders, files, LMDBs, or photographs that ship with scikit-image.

Crop i is a pure function of (seed, i), the list of images and the side of the crop. Nothing is shuffled and no state is
kept, so any worker can make any crop, in any order.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..native import rng
from ..tasks.space import Space
from .containers import Packed, images_of, open_container, packed_source
from .lmdb_reader import is_lmdb, key_of, open_lmdb, read_entries
from .memory import MemoryBudget
from .paths import display_name, list_images, path_inside, read_lines
from .pixels import Pixels
from .read import MAX_PIXELS, ImageFile, Picture, open_image, read_header

Augment = Literal["none", "hflip", "dihedral"]
AUGMENTS: tuple[str, ...] = get_args(Augment)
"""How crops are mirrored and turned: not at all, left to right, or all eight symmetries of the square."""

SHARE_THAT_FITS = 0.9
"""The default crop is one that at least this share of the images can hold."""

PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "gravel.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
"""Natural photographs inside the scikit-image wheel: no download, sides of at least 300 px."""


BUNDLED_ORIGIN = "photographs of scikit-image"
"""`HrImages.origin` where no images are given."""


@dataclass(frozen=True)
class HrImage:
    """One clean image.

    Attributes:
        name: in manifests: relative to the folder, "/" between parts; with several folders their names come first.
        path: the file, or the LMDB, tar or Parquet file that holds it.
        height, width: px, upright.
        size_bytes: of the image file when its header was read.
        key: in what holds it; "" for a file.
    """

    name: str
    path: Path
    height: int
    width: int
    size_bytes: int
    key: str = ""

    @property
    def place(self) -> Path:
        """What messages call it: the file, or what holds it and the name."""
        return self.path / self.name if self.key else self.path


@dataclass(frozen=True)
class HrImages:
    """The clean images of a run, in the order in which `draw_crops` numbers them.

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
        """16 hex digits over names, sizes in px and sizes in bytes, in order: equal digests mean equal squares of equal
        files. Contents are not read: an image that was replaced by one of the same size, to the byte, is not noticed
        here. `degrade sample` keeps a digest of the content beside every pair for that."""
        lines = [f"{image.name}\t{image.height}\t{image.width}\t{image.size_bytes}\n" for image in self.images]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @cached_property
    def sides_px(self) -> NDArray[np.int64]:
        """Height and width of every image, int64 [N, 2]."""
        return np.array([(image.height, image.width) for image in self.images], np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class Crops:
    """Squares cut from images; arrays of equal length, one entry per sample.

    Attributes:
        index: int64, sample number.
        image: int64, position in `HrImages.images`.
        top, left: int64, px in the upright image.
        hflip: bool, mirrored left to right after cutting.
        vflip: bool, then mirrored top to bottom.
        transpose: bool, then rows and columns exchanged.
        side_px: side of all squares.
    """

    index: NDArray[np.int64]
    image: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    hflip: NDArray[np.bool_]
    vflip: NDArray[np.bool_]
    transpose: NDArray[np.bool_]
    side_px: int

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: Any) -> Crops:
        """Crops at those positions (integers, slice or mask)."""
        return Crops(
            self.index[rows],
            self.image[rows],
            self.top[rows],
            self.left[rows],
            self.hflip[rows],
            self.vflip[rows],
            self.transpose[rows],
            self.side_px,
        )

    @staticmethod
    def concat(parts: Sequence[Crops]) -> Crops:
        """Crops of several, of one side, one after the other; at least one."""
        names = ("index", "image", "top", "left", "hflip", "vflip", "transpose")
        joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return Crops(**joined, side_px=parts[0].side_px)

    def shrunk(self, factor: int) -> Crops:
        """The same squares in images that are `factor` times smaller; positions and side must be multiples of it."""
        return replace(self, top=self.top // factor, left=self.left // factor, side_px=self.side_px // factor)


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

    Only headers are read here, of LMDBs only the list of sizes; tars and Parquet files are read once. Files that are no
    images, or smaller than the crop, are left out and reported; a file whose pixels are damaged is noticed later, when it
    is decoded.

    Args:
        sources: folders (searched recursively), files, LMDBs in BasicSR's layout, tars in webdataset's, Parquet files as
            Hugging Face stores images, folders of these, and one kind of image in them ("tars/hr"); empty: photographs
            that ship with scikit-image.
        side_px: least side of an image.
        meta_info: text file in BasicSR's form, "relative/name.png (480,480,3)" or "hr.png, lr.png" a line: which images
            of the one folder or LMDB to use, in which order; text after the first space or comma is ignored.
        max_pixels: limit of a single image.
    Raises:
        ImageError: nothing usable, names that leave the folder, or a source that does not exist.
        OSError: a file that cannot be read for a reason that is not its own (a failing disk, a lost network): a list
            without it would be another data set.
    """
    origin, candidates, left_out = _candidates([Path(source) for source in sources], meta_info, max_pixels)
    images, excluded = [], list(left_out)
    for candidate in candidates:
        try:
            image = candidate if isinstance(candidate, HrImage) else _with_size(*candidate, max_pixels)
        except ImageError as error:
            excluded.append(str(error))
            continue
        if min(image.height, image.width) < side_px:
            size = f"{image.width} x {image.height} px"
            excluded.append(f"{display_name(image.place)}: {size}, smaller than the crop of {side_px} px")
        else:
            images.append(image)
    if not images:
        more = f" (and {len(excluded) - 1} more)" if len(excluded) > 1 else ""
        among = f"no usable image among {len(excluded)}: {excluded[0]}{more}" if excluded else "holds no images"
        raise ImageError(f"{origin}: {among}")
    return HrImages(origin, tuple(images), tuple(excluded))


Candidate = HrImage | tuple[str, Path]
"""An image of an LMDB, whose size the LMDB lists, or (name, path) of a file that is still to be looked at."""


def _with_size(name: str, path: Path, max_pixels: int) -> HrImage:
    header = read_header(path, max_pixels)
    return HrImage(name, path, header.height, header.width, header.file_bytes)


@dataclass(frozen=True)
class _Found:
    """Candidates of one folder or LMDB, and lines about what was left out of it."""

    candidates: Sequence[Candidate]
    left_out: tuple[str, ...] = ()


def _candidates(
    sources: list[Path], meta_info: str | os.PathLike[str] | None, max_pixels: int
) -> tuple[str, Sequence[Candidate], tuple[str, ...]]:
    """(origin, images, lines about what was left out) before any file is opened."""
    if meta_info is not None:
        origin, listed = _listed(sources, Path(meta_info))
        return origin, listed, ()
    if not sources:
        folder = photographs_folder()
        return BUNDLED_ORIGIN, [(name, folder / name) for name in PHOTOGRAPHS], ()
    single = [source.is_file() and packed_source(source) is None for source in sources]
    if len(sources) == 1 and not single[0]:
        found = _all_of(sources[0], max_pixels)
        return display_name(sources[0]), found.candidates, found.left_out
    if all(single):
        return f"{len(sources)} files", [(source.as_posix(), source) for source in sources], ()

    # Names must tell the folders apart, and should not change when all folders move together.
    candidates: list[Candidate] = []
    left_out: tuple[str, ...] = ()
    short = [source.name for source in sources]
    for source, name, is_single in zip(sources, short, single):
        prefix = name if short.count(name) == 1 else source.as_posix()
        if is_single:
            candidates.append((prefix, source))
            continue
        found = _all_of(source, max_pixels)
        candidates += [_prefixed(prefix, one) for one in found.candidates]
        left_out += found.left_out
    return f"{len(sources)} sources, {display_name(sources[0])} and on", candidates, left_out


def _all_of(source: Path, max_pixels: int = MAX_PIXELS) -> _Found:
    """Everything in one folder or in what holds images."""
    packed = None if is_lmdb(source) else packed_source(source)
    if packed is not None:
        return _unpacked(packed, max_pixels)
    if not is_lmdb(source):
        listed = list_images(source)
        return _Found([(path.relative_to(source).as_posix(), path) for path in listed.paths], listed.left_out)
    entries = read_entries(source)
    sizes = open_lmdb(source).sizes([entry.key for entry in entries])
    return _Found(
        [
            HrImage(entry.name, source, entry.height, entry.width, size_bytes, entry.key)
            for entry, size_bytes in zip(entries, sizes)
        ]
    )


def _unpacked(packed: Packed, max_pixels: int) -> _Found:
    left_out: list[str] = []
    images = []
    for one in images_of(packed, left_out):
        try:
            header = read_header(one.path / one.name, max_pixels, one.content)
        except ImageError as error:
            left_out.append(str(error))
            continue
        images.append(HrImage(one.name, one.path, header.height, header.width, len(one.content), one.key))
    return _Found(images, tuple(left_out))


def _prefixed(prefix: str, candidate: Candidate) -> Candidate:
    if isinstance(candidate, HrImage):
        return replace(candidate, name=f"{prefix}/{candidate.name}")
    return f"{prefix}/{candidate[0]}", candidate[1]


_SIZE_BEHIND_NAME = re.compile(r"(.*\S)\s+\([0-9]+,\s*[0-9]+(?:,\s*[0-9]+)?\)(?:\s.*)?")


def listed_names(line: str) -> tuple[str, ...]:
    """The names of one line of a meta_info file: "name.png (480,480,3)", "hr.png, lr.png", or a name alone. Without a size
    or a comma behind it, a name ends at the first space."""
    sized = _SIZE_BEHIND_NAME.fullmatch(line)
    if sized is not None:
        return (sized[1].rstrip(","),)
    if ", " in line:
        return tuple(part.strip() for part in line.split(", "))
    return (line.split(" ")[0].rstrip(","),)


def _listed(sources: list[Path], meta_info: Path) -> tuple[str, Sequence[Candidate]]:
    """What a meta_info file lists of one folder or LMDB."""
    if len(sources) != 1 or not (sources[0].is_dir() or is_lmdb(sources[0])):
        raise ImageError(f"{display_name(meta_info)}: a list of files needs exactly one folder to look in (--hr DIR)")
    names = [listed_names(line)[0] for line in read_lines(meta_info)]
    if not names:
        raise ImageError(f"{display_name(meta_info)}: must list at least one file, got none")
    origin = display_name(sources[0])
    if not is_lmdb(sources[0]):
        return origin, [(name, path_inside(sources[0], name)) for name in names]
    known = {image.key: image for image in _all_of(sources[0]).candidates if isinstance(image, HrImage)}
    keys = [key_of(name) for name in names]
    missing = [name for name, key in zip(names, keys) if key not in known]
    if missing:
        raise ImageError(
            f"{display_name(meta_info)}: lists {display_name(repr(missing[0]))}, {origin} does not hold it "
            f"({len(missing)} such)"
        )
    return origin, [known[key] for key in keys]


def fitting_px(images: HrImages, space: Space, usual_px: int | None = None) -> tuple[int, int]:
    """The side that crops have where nobody asked for one.

    Args:
        images: any images that hold one cell of the scale.
        space: gives scale and usual side.
        usual_px: usual side instead of the space's.
    Returns:
        (side, images that hold the usual side): the usual side, or the largest multiple of the scale that
        SHARE_THAT_FITS of the images hold.
    """
    usual = space.hr_px if usual_px is None else usual_px
    shorter_px = np.sort(images.sides_px.min(axis=1))[::-1]
    needed = -int(-SHARE_THAT_FITS * len(shorter_px) // 1)
    fitting = int(shorter_px[needed - 1]) // space.scale * space.scale
    return min(usual, fitting), int((shorter_px >= usual).sum())


def draw_crops(
    images: HrImages,
    seed: int,
    indices: Any,
    side_px: int,
    augment: Augment = "hflip",
    step_px: int = 1,
    attempt: int = 0,
    place: int = 0,
) -> Crops:
    """Which square of which image each sample is: pure in (seed, index), uniform over images, then over positions.

    Args:
        images: from `find_images` with the same side.
        seed: the seed of the run, the same as for `pydegrade.sample`.
        indices: sample numbers, integers [N].
        side_px: side of the square, at most the shorter side of every image.
        augment: one of AUGMENTS; every symmetry it allows is equally likely. What is drawn does not depend on it.
        step_px: tops and lefts are multiples of this, so that a smaller image can be cut at the same place.
        attempt: 0 is the sample; 1, 2, ... are independent draws for the same number, for whoever could not read the image
            of the one before.
        place: 0 is the sample; 1, 2, ... are other squares of the same image, mirrored alike.
    """
    if augment not in AUGMENTS:
        raise ImageError(f"draw_crops: augment must be one of {', '.join(AUGMENTS)}, got {augment!r}")
    index = np.asarray(indices, np.int64).reshape(-1)
    top_left = [f"{name}.{place}" if place else name for name in ("crop_top", "crop_left")]
    draws = [(f"data.{name}", attempt) for name in ("image", *top_left, "hflip", "vflip", "transpose")]
    uniform = rng.uniforms(rng.check_seed(seed), rng.check_indices(index), draws)
    image = _whole(uniform[:, 0], len(images.images))
    positions = (images.sides_px[image] - side_px) // step_px + 1
    return Crops(
        index,
        image,
        top=step_px * _whole(uniform[:, 1], positions[:, 0]),
        left=step_px * _whole(uniform[:, 2], positions[:, 1]),
        hflip=(uniform[:, 3] < 0.5) & (augment != "none"),
        vflip=(uniform[:, 4] < 0.5) & (augment == "dihedral"),
        transpose=(uniform[:, 5] < 0.5) & (augment == "dihedral"),
        side_px=side_px,
    )


def _whole(uniform: NDArray[Any], count: Any) -> NDArray[np.int64]:
    """Whole numbers in [0, count) from numbers in [0, 1)."""
    drawn = np.floor(uniform.astype(np.float64) * count).astype(np.int64)
    return np.minimum(drawn, np.asarray(count, np.int64) - 1)


def decode(
    image: HrImage, max_pixels: int = MAX_PIXELS, memory: MemoryBudget | None = None, channels: int = 3
) -> Picture:
    """The whole image, 8 bits; RGB, or the channels that `Picture.planes8` knows.

    Args:
        image: from `find_images`.
        max_pixels: limit of a single image.
        memory: what decoding waits for; None: for nothing.
    Raises:
        ImageError: the file cannot be decoded, or is not the one whose header was read.
    """
    with _opened(image, max_pixels, memory, 8 if channels == 4 else 0) as file:
        return _decoded(image, file).planes8(channels)


def decode_as_stored(image: HrImage, max_pixels: int = MAX_PIXELS, memory: MemoryBudget | None = None) -> Picture:
    """The whole image with the channels and the depth of its file. Arguments and errors as `decode`."""
    with _opened(image, max_pixels, memory) as file:
        return _decoded(image, file)


@contextmanager
def _opened(image: HrImage, max_pixels: int, memory: MemoryBudget | None, more_per_px: int = 0) -> Iterator[ImageFile]:
    """The file of an image, with the memory of decoding it held; `more_per_px` bytes beyond that."""
    content = open_container(image.path).read(image.key) if image.key else None
    with open_image(image.place, max_pixels, content) as file:
        header = file.header
        needed = header.decode_bytes + more_per_px * header.height * header.width
        with nullcontext() if memory is None else memory.hold(needed, image.place, header.file_bytes):
            yield file


def _decoded(image: HrImage, file: ImageFile) -> Picture:
    picture = file.decode()
    height, width = picture.array.shape[:2]
    if (height, width) != (image.height, image.width):
        place = display_name(image.place)
        if is_lmdb(image.path):
            stated = f"{image.width} x {image.height}"
            raise ImageError(f"{place}: is {width} x {height} px, meta_info.txt says {stated}")
        raise ImageError(f"{place}: changed since its header was read")
    return picture


class CropReader:
    """Cuts crops out of images; keeps decoded images in memory up to a budget, the least recently used leave first.

    Args:
        images: what crops refer to.
        budget_bytes: memory for decoded images, a byte per pixel and channel; the image in use is kept even if larger.
        max_pixels: limit of a single image.
        memory: what decoding waits for, shared with others; None: a budget of its own.
        channels: of the crops, 1, 3 or 4; see `Picture.planes8`.
    """

    def __init__(
        self,
        images: HrImages,
        budget_bytes: int = 2**30,
        max_pixels: int = MAX_PIXELS,
        memory: MemoryBudget | None = None,
        channels: int = 3,
    ) -> None:
        self._memory = memory or MemoryBudget()
        self._channels = channels
        self._images = images.images
        self._budget_bytes = budget_bytes
        self._max_pixels = max_pixels
        self._decoded: OrderedDict[int, Pixels] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.notes: set[str] = set()
        """One line for each image that was not plain 8-bit RGB or gray: what was done to it."""

    def read(self, crops: Crops, row: int) -> Pixels:
        """One crop, uint8 [side, side, channels], contiguous. Any thread may call.

        Raises:
            ImageError: the file cannot be decoded, or is not the one whose header was read.
        """
        return np.array(self.view(crops, row), order="C")

    def view(self, crops: Crops, row: int) -> Pixels:
        """`read` without copying: a view into a decoded image that others share, not to be written to."""
        pixels = self._image(int(crops.image[row]))
        top, left, side = int(crops.top[row]), int(crops.left[row]), crops.side_px
        square = pixels[top : top + side, left : left + side]
        if crops.hflip[row]:
            square = square[:, ::-1]
        if crops.vflip[row]:
            square = square[::-1]
        return square.transpose(1, 0, 2) if crops.transpose[row] else square

    def _image(self, position: int) -> Pixels:
        with self._lock:
            if position in self._decoded:
                self._decoded.move_to_end(position)
                return self._decoded[position]
        image = self._images[position]
        decoded = decode(image, self._max_pixels, self._memory, self._channels)
        pixels: Pixels = decoded.array
        with self._lock:
            self.notes.update(f"{display_name(image.place)}: {note}" for note in decoded.notes)
            if position not in self._decoded:
                self._decoded[position] = pixels
                self._bytes += pixels.nbytes
            while self._bytes > self._budget_bytes and len(self._decoded) > 1:
                _, oldest = self._decoded.popitem(last=False)
                self._bytes -= oldest.nbytes
        return pixels

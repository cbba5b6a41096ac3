"""Training images: which crop of which image sample i is, and a stream of batches of them.

Everything that is drawn is a pure function of (seed, index), as `degrade sample` draws it, and the indices of a step
follow from its number. So nothing is shuffled, no worker has a random state, and a stream may start at any step, with
any number of workers and processes, and gives the same bytes.

Workers only decode and cut; degradation happens on the training device. Image i belongs to worker i mod workers: each
keeps its own images in its own part of the cache, and no image is held twice.

Where real pairs are mixed in, a draw of every sample says whether it is one: its crop is cut from the pairs, by the same
draws, and its LR image comes with it.

An image that cannot be read while a run goes on (cut off, vanished) costs nothing but itself: the samples that drew it
draw again, as a function of (seed, sample number, attempt), until they meet one that can. Which image that is depends on
which files are readable and on nothing else.
"""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import queue
import re
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import util
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pydegrade import named_uniform
from pydegrade.errors import ImageError
from pydegrade.files import (
    Augment,
    CropReader,
    Crops,
    HrImage,
    HrImages,
    draw_crops,
    find_images,
    key_of,
    listed_names,
    read_lines,
)

from ..errors import ConfigError, DataError, nearest, one_line
from ..options import Texts, option, options

BATCHES_AHEAD = 2
"""Finished batches that wait for the training process; as many again may be half finished."""

NAMES_SHOWN = 3

MOST_ATTEMPTS = 64
"""A sample that has met so many unreadable images in a row ends the run: most of the images are gone."""

NOT_THE_FILES_FAULT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of the system that another image would meet as well."""

MOST_IMAGES = 2**16
"""Of one step."""

MOST_CROP_PX = 2**15
"""Side of a crop."""

PAIRED = "paired/"
"""Before the names of sets of real pairs that are mixed in."""

PAIRED_IMAGE = "paired://"
"""Before the names of their images; no file below data.hr is called so."""


@options("data")
class DataConfig:
    """What a run learns from."""

    hr: Texts = option(
        (),
        "folders (searched recursively), files or .lmdb of clean images; empty: photographs of scikit-image",
        path=True,
    )
    lr: str = option(
        "", "folder or .lmdb of low-resolution partners of data.hr; empty: made from hr by the method", path=True
    )
    sets: dict[str, str] = option(
        {}, "further folders aligned with data.hr, by the name that the method asks for", path=True
    )
    paired_share: float = option(
        0.0,
        "of the samples that are real pairs, of data.paired_hr and data.paired_lr; the others are degraded. 0: none",
        ge=0,
        le=1,
        came_later=True,
    )
    paired_hr: str = option("", "folder or .lmdb of the clean images of real pairs", path=True, came_later=True)
    paired_lr: str = option("", "folder or .lmdb of their low-resolution partners", path=True, came_later=True)
    meta_info: str = option("", "BasicSR's list of the images of data.hr to use, one name a line", path=True)
    images: Texts = option((), "only these images of data.hr, by name; empty: all")
    exclude: Texts = option((), "all but these images of data.hr, by name")
    crop_px: int = option(128, "side of the HR crops, a multiple of the scale", "px", ge=1, le=MOST_CROP_PX)
    batch: int = option(16, "images of one optimizer step, over all training processes", ge=1, le=MOST_IMAGES)
    augment: Augment = option("dihedral", "hflip: mirrored left to right; dihedral: all 8 symmetries of the square")
    workers: int = option(
        0, "decoding processes of each training process; 0: a thread", ge=0, le=256, moves_weights=False
    )
    cache_mb: int = option(
        512,
        "memory of each training process and its workers for decoded images",
        "MB",
        ge=0,
        le=10**9,
        moves_weights=False,
    )

    def __post_init__(self) -> None:
        pairs = [name for name, value in (("lr", self.lr), ("sets", self.sets)) if value]
        if pairs and len(self.hr) != 1:
            got = f"{len(self.hr)} sources" if self.hr else "none"
            raise ConfigError(f"data.hr must be one folder or .lmdb where data.{pairs[0]} names partners, got {got}")
        if self.meta_info and len(self.hr) != 1:
            raise ConfigError(f"data.hr must be one folder or .lmdb where data.meta_info lists it, got {list(self.hr)}")
        for name, value in (("paired_hr", self.paired_hr), ("paired_lr", self.paired_lr)):
            if bool(value) != (self.paired_share > 0):
                wanted = "name a folder or .lmdb" if self.paired_share > 0 else "be empty"
                share = f"where data.paired_share is {self.paired_share:g}"
                raise ConfigError(f"data.{name} must {wanted} {share}, got {value!r}")


@dataclass(frozen=True)
class RawBatch:
    """The images of one step and one training process.

    Attributes:
        step: number of the step.
        indices: int64 [b], sample numbers.
        images: uint8 [b, C, H, W] by name, contiguous; "hr" is always there. C as `Source.channels`.
        unreadable: images that were found unreadable for this batch; the same one may be named again by later batches.
        paired: bool [b], the samples that are real pairs: "lr" counts of these and is 0 of the others. None: none are mixed
            in.
    """

    step: int
    indices: NDArray[np.int64]
    images: Mapping[str, Tensor]
    unreadable: tuple[Unreadable, ...] = ()
    paired: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read, or whose partner could not.

    Attributes:
        name: of the HR image.
        index: sample number that needed it; this sample and later ones draw another image instead.
        reason: one line.
    """

    name: str
    index: int
    reason: str


_KINDS = {1: " in gray", 3: "", 4: " with alpha"}

Listing = Mapping[str, Sequence[Sequence[Any]]]
"""[name, height, width, bytes] of every image by the name of its set."""


@dataclass(frozen=True)
class Source:
    """Opened training data; what `open_source` returns.

    Attributes:
        config: as configured.
        seed: of the run.
        images: by name, "hr" first; position i is the same picture in all of them.
        factors: by name, how many times smaller than hr: 1 or the scale.
        notes: one line for each image that was left out and each that has no partner.
        changed: names of images that have another number of bytes than in the listing that the opening was given.
        channels: of the crops: 1 gray (`pydegrade.files.read.luma` of RGB files), 3 RGB, 4 RGB and alpha.
        paired: the real pairs that are mixed in, "hr" and "lr"; None where there are none.
        prefix: of image names in reports; pairs have one, for two folders may hold the same names.
    """

    config: DataConfig
    seed: int
    images: Mapping[str, HrImages]
    factors: Mapping[str, int]
    notes: tuple[str, ...]
    changed: tuple[str, ...] = ()
    channels: int = 3
    paired: Source | None = None
    prefix: str = ""

    @property
    def digest(self) -> str:
        """16 hex digits: equal digests and seeds mean equal crops."""
        lines = [f"{self.config.crop_px} {self.config.augment}\n"]
        lines += [f"{name} {self.factors[name]} {images.digest}\n" for name, images in self.images.items()]
        if self.channels != 3:
            lines.append(f"{self.channels} channels\n")
        if self.paired is not None:
            lines.append(f"paired {self.config.paired_share!r} {self.paired.digest}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    @property
    def decoded_bytes(self) -> int:
        """Memory that all images would take, decoded."""
        own = self.channels * sum(_pixels(images) for images in self.images.values())
        return own + (self.paired.decoded_bytes if self.paired is not None else 0)

    def describe(self) -> str:
        """One line for people."""
        hr = self.images["hr"]
        also = "".join(f", {name} {images.origin}" for name, images in self.images.items() if name != "hr")
        cached = min(1.0, self.config.cache_mb * 1e6 / self.decoded_bytes)
        readers = f"{self.config.workers} decoding processes" if self.config.workers else "one decoding thread"
        mixed = ""
        if self.paired is not None:
            pairs = self.paired.images["hr"]
            mixed = (
                f"{self.config.paired_share:.3g} of the samples from {len(pairs.images)} real pairs ({pairs.origin}), "
            )
        return (
            f"{len(hr.images)} images ({hr.origin}{also}), {_pixels(hr) / 1e6:.1f} megapixels, {mixed}"
            f"crops of {self.config.crop_px} px{_KINDS[self.channels]}, {readers}, cache holds {cached:.0%}"
        )

    def crops(self, indices: NDArray[np.int64], attempt: int = 0) -> Crops:
        """The HR crops of samples; further attempts are what they draw when an image cannot be read."""
        step_px = max(self.factors.values())
        config = self.config
        return draw_crops(self.images["hr"], self.seed, indices, config.crop_px, config.augment, step_px, attempt)

    def is_paired(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which samples are real pairs."""
        if self.paired is None:
            return np.zeros(len(indices), np.bool_)
        return np.asarray(named_uniform(self.seed, indices, "data.paired") < self.config.paired_share)

    def owners(self, indices: NDArray[np.int64], workers: int) -> NDArray[np.int64]:
        """The worker of each sample: that of its image."""
        image = self.crops(indices).image
        if self.paired is not None:
            image = np.where(self.is_paired(indices), self.paired.crops(indices).image, image)
        return image % workers

    def listing(self) -> Listing:
        """Names and sizes of all images, as plain values: what `open_source` needs to keep their numbers."""
        own = {
            name: [[image.name, image.height, image.width, image.size_bytes] for image in images.images]
            for name, images in self.images.items()
        }
        paired = {} if self.paired is None else self.paired.listing()
        return {**own, **{f"{PAIRED}{name}": images for name, images in paired.items()}}


def step_indices(step: int, batch: int, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
    """Sample numbers of one process in one step: together the processes have step * batch to (step + 1) * batch - 1.

    Raises:
        ConfigError: the batch cannot be divided among the processes.
    """
    if batch % world:
        raise ConfigError(f"data.batch must be a multiple of the number of processes {world}, got {batch}")
    rows = batch // world
    return np.arange(step * batch + rank * rows, step * batch + (rank + 1) * rows, dtype=np.int64)


# ---- opening


def open_source(
    config: DataConfig,
    names: tuple[str, ...],
    scale: int,
    seed: int,
    listing: Listing | None = None,
    channels: int = 3,
    mixes: bool = False,
) -> Source:
    """Find the images of a run, read their headers, match partners.

    Args:
        config: the table `[data]`.
        names: images that the method wants per sample: "hr" first, then "lr" or names of `config.sets`.
        scale: of the network.
        seed: of the run.
        listing: `Source.listing` of an earlier opening, for a run that goes on: images that have vanished or changed their
            size since keep their numbers, and count as unreadable. Without effect when there are new ones.
        channels: of the crops, those of the network: 1, 3 or 4.
        mixes: whether real pairs may be mixed in, where the configuration asks for them.
    Raises:
        ConfigError: options that do not fit the method or each other.
        DataError: nothing usable, images without partner, partners of another size. One line.
    """
    _check_names(config, names)
    if config.paired_share > 0 and not mixes:
        why = "this method asks for the tasks of all samples, or learns from pairs alone"
        raise ConfigError(f"data.paired_share must be 0, {why}; got {config.paired_share:g}")
    if config.crop_px % scale:
        raise ConfigError(f"data.crop_px must be a multiple of the scale {scale}, got {config.crop_px}")
    try:
        sources = [Path(source).expanduser() for source in config.hr]
        found = find_images(sources, side_px=config.crop_px, meta_info=config.meta_info or None)
    except (ImageError, OSError) as error:
        raise DataError(f"data.hr: {one_line(error, 400)}") from None
    listed = {name: images for name, images in (listing or {}).items() if not name.startswith(PAIRED)}
    known = _Known(listed, found) if listed.keys() == set(names) else None
    hr = chosen(known.completed if known else found, config.images, config.exclude, "data")
    if known is not None:
        if {image.name for image in hr.images} != set(known.names):
            return open_source(config, names, scale, seed, channels=channels, mixes=mixes)
        hr = known.in_order(hr)
    notes = [f"left out: {line}" for line in hr.excluded]

    # Plain dictionaries: they travel to workers, which read-only views cannot.
    images, factors = {"hr": hr}, {"hr": 1}
    for name in names[1:]:
        where, folder = ("data.lr", config.lr) if name == "lr" else (f"data.sets.{name}", config.sets[name])
        lost = known.partners(name) if known else {}
        images[name], unused = find_partners(
            where, hr, Path(folder).expanduser(), scale, _listed_partners(config, name), lost
        )
        factors[name] = size_factor(where, hr, images[name], scale, may_be_hr=name != "lr")
        notes += [f"{where}: {line}" for line in unused]
    source = Source(config, seed, images, factors, tuple(notes), known.changed if known else (), channels)
    if config.paired_share == 0:
        return source
    paired = _open_pairs(config, scale, seed, listing, channels)
    notes += [f"pairs: {note}" for note in paired.notes]
    changed = (*source.changed, *(f"{PAIRED_IMAGE}{name}" for name in paired.changed))
    return replace(source, notes=tuple(notes), changed=changed, paired=paired)


def _open_pairs(config: DataConfig, scale: int, seed: int, listing: Listing | None, channels: int) -> Source:
    """The real pairs that are mixed in; errors name their options."""
    own = DataConfig(
        hr=(config.paired_hr,), lr=config.paired_lr, crop_px=config.crop_px, batch=config.batch, augment=config.augment
    )
    before = {name.removeprefix(PAIRED): images for name, images in (listing or {}).items() if name.startswith(PAIRED)}
    try:
        opened = open_source(own, ("hr", "lr"), scale, seed, before, channels)
    except (ConfigError, DataError) as error:
        raise type(error)(_of_pairs(str(error))) from None
    return replace(opened, prefix=PAIRED_IMAGE, notes=tuple(map(_of_pairs, opened.notes)))


def _of_pairs(line: str) -> str:
    """A line with the options that name the real pairs, in the place of those that name all images; paths stay."""
    return re.sub(r"(?<![^\s])data\.(hr|lr)(?![\w/.])", r"data.paired_\1", line)


class _Known:
    """The images that a run started with, next to those that are found now.

    Attributes:
        names: of the HR images, in order.
        completed: what is found, with those that are not found any more, sizes in px and in bytes as they were.
        changed: names of those that have another number of bytes.
    """

    def __init__(self, listing: Listing, found: HrImages) -> None:
        self._listing = listing
        present = {image.name: image for image in found.images}
        self._images = {
            image.name: image for image in (_listed_image(one, Path(found.origin), present) for one in listing["hr"])
        }
        self.names = tuple(self._images)
        new = [image for image in found.images if image.name not in self._images]
        self.completed = replace(found, images=(*self._images.values(), *new))
        self.changed = tuple(
            name
            for name, image in self._images.items()
            if name in present and present[name].size_bytes != image.size_bytes
        )

    def in_order(self, hr: HrImages) -> HrImages:
        """The images in the order that they had."""
        return replace(hr, images=tuple(self._images[name] for name in self.names))

    def partners(self, name: str) -> Mapping[str, HrImage]:
        """What the images of a set were, by the name of the HR image, for those that are not found any more."""
        return {
            hr_name: _listed_image(entry, Path(name), {}) for hr_name, entry in zip(self.names, self._listing[name])
        }


def _listed_image(entry: Sequence[Any], folder: Path, present: Mapping[str, HrImage]) -> HrImage:
    """An image as it was; where it is not the same any more, reading it tells why."""
    name, height, width, size_bytes = entry
    if str(name) in present:
        return replace(present[str(name)], height=int(height), width=int(width), size_bytes=int(size_bytes))
    return HrImage(str(name), folder / str(name), int(height), int(width), int(size_bytes))


def _check_names(config: DataConfig, names: tuple[str, ...]) -> None:
    """The method's images and the configured folders are the same."""
    given = {"hr", *(["lr"] if config.lr else []), *config.sets}
    for name in names:
        if name not in given:
            where = "data.lr" if name == "lr" else f"data.sets.{name}"
            raise ConfigError(
                f"{where} must name a folder or .lmdb, this method learns from {', '.join(names)}; got ''"
            )
    for name in sorted(given - set(names)):
        if name == "lr":
            raise ConfigError(
                "data.lr must be empty where the method makes lr from hr (see method.space), got a folder"
            )
        raise ConfigError(f"data.sets: this method knows no images named {name!r}{nearest(name, names)}")


def chosen(found: HrImages, images: tuple[str, ...], exclude: tuple[str, ...], where: str) -> HrImages:
    """The images that two options leave.

    Args:
        found: all images.
        images: names to keep, with or without extension; empty: all.
        exclude: names to leave out.
        where: table of the options, for messages: "data".
    Raises:
        ConfigError: a name that is not there, or nothing left.
    """
    left = found.images
    for option_name, wanted, keep in (("images", images, True), ("exclude", exclude, False)):
        if not wanted:
            continue
        names = {name: position for position, image in enumerate(left) for name in (_stem(image.name), image.name)}
        for name in wanted:
            if name not in names:
                left_out = next((f" ({line})" for line in found.excluded if name in line), "")
                known = nearest(name, [image.name for image in left[:1000]])
                message = f"{where}.{option_name} must name images of {found.origin}, got {name!r}{left_out or known}"
                raise ConfigError(message)
        positions = {names[name] for name in wanted}
        left = tuple(image for position, image in enumerate(left) if (position in positions) == keep)
    if not left:
        raise ConfigError(f"{where}.exclude must leave at least one image of {found.origin}, got all of them")
    return replace(found, images=left)


def _stem(name: str) -> str:
    """A name without its extension."""
    return key_of(name)


def _listed_partners(config: DataConfig, name: str) -> Mapping[str, str]:
    """hr name -> lr name, where meta_info has lines "hr.png, lr.png"."""
    if not config.meta_info or name != "lr":
        return {}
    pairs = [listed_names(line) for line in read_lines(config.meta_info)]
    return {hr: lr[0] for hr, *lr in pairs if lr}


def find_partners(
    where: str,
    hr: HrImages,
    folder: Path,
    scale: int,
    listed: Mapping[str, str],
    lost: Mapping[str, HrImage] = MappingProxyType({}),
) -> tuple[HrImages, tuple[str, ...]]:
    """The image of a folder that belongs to each HR image, and notes about those that belong to none.

    Args:
        where: for messages.
        hr: the HR images.
        folder: of the partners.
        scale: of the network; names may end in x<scale>.
        listed: HR name -> partner's name, where a list says so.
        lost: what stands in for partners that are not found, by HR name.
    """
    try:
        found = find_images([folder])
    except (ImageError, OSError) as error:
        raise DataError(f"{where}: {one_line(error, 400)}") from None
    by_stem = {_stem(image.name): image for image in found.images}
    partners: list[HrImage] = []
    missing = []
    for image in hr.images:
        stem = _stem(image.name)
        stems = [_stem(listed[image.name])] if image.name in listed else [stem, f"{stem}x{scale}", f"{stem}_x{scale}"]
        partner = next((by_stem[name] for name in stems if name in by_stem), lost.get(image.name))
        if partner is None:
            missing.append(image.name)
        else:
            partners.append(partner)
    if missing:
        reason = (
            f"; {found.excluded[0]}" if found.excluded else f"; looked for the same name, or with x{scale} behind it"
        )
        raise DataError(
            f"{where}: {len(missing)} of {len(hr.images)} images of data.hr have no partner in {folder}: "
            f"{_first(missing)}{reason}"
        )
    used = {id(partner) for partner in partners}
    unused = [image.name for image in found.images if id(image) not in used]
    notes = (f"{len(unused)} images belong to none of data.hr: {_first(unused)}",) if unused else ()
    return HrImages(found.origin, tuple(partners), found.excluded), notes


def size_factor(where: str, hr: HrImages, partners: HrImages, scale: int, may_be_hr: bool) -> int:
    """How many times smaller than hr the partners are: 1 or the scale, the same for all.

    A side of L px may be the floor or the ceiling of hr's side over the scale: both are in use for images whose sides
    are no multiples, and in both pixel (0, 0) covers the same place.
    """
    first_hr, first = hr.images[0], partners.images[0]
    same = (first.height, first.width) == (first_hr.height, first_hr.width)
    factor = 1 if may_be_hr and same else scale
    wrong = np.any(np.abs(factor * partners.sides_px - hr.sides_px) >= factor, axis=1)
    if wrong.any():
        position = int(np.argmax(wrong))
        image, partner = hr.images[position], partners.images[position]
        relation = "hr's size" if factor == 1 else f"1/{scale} of hr's {image.width} x {image.height} px"
        more = f" ({int(wrong.sum())} such images)" if wrong.sum() > 1 else ""
        raise DataError(f"{where}: {partner.name} must be {relation}, got {partner.width} x {partner.height} px{more}")
    return factor


def _first(names: list[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")


def _pixels(images: HrImages) -> int:
    return int(np.prod(images.sides_px, axis=1).sum())


# ---- cutting


class _Cutter:
    """Cuts the crops of all images of a sample."""

    def __init__(self, part: _Part, cache_bytes: int) -> None:
        source = part.source
        # Each set gets the part of the cache that it would fill.
        total = source.decoded_bytes // source.channels
        self._source = source
        self._paired = None
        if source.paired is not None:
            share = cache_bytes * source.paired.decoded_bytes // source.decoded_bytes
            self._paired = _Cutter(replace(part, source=source.paired), share)
        self._readers = {
            name: CropReader(images, cache_bytes * _pixels(images) // total, channels=source.channels)
            for name, images in source.images.items()
        }
        hr = source.images["hr"].images
        positions = {source.prefix + image.name: position for position, image in enumerate(hr)}
        # From which sample on an image is not tried any more, by its position.
        self._unreadable = {positions[name]: index for name, index in part.unreadable.items() if name in positions}

    def cut(self, crops: Crops, row: int, out: Mapping[str, NDArray[np.uint8]]) -> list[Unreadable]:
        """Fill uint8 [C, H, W] of every name.

        Returns:
            Images that were found unreadable on the way.
        Raises:
            DataError: MOST_ATTEMPTS images in a row cannot be read.
            OSError: one of NOT_THE_FILES_FAULT.
        """
        crop, index = crops.take([row]), int(crops.index[row])
        if self._paired is not None:
            if self._source.is_paired(crop.index)[0]:
                return self._paired.cut(self._paired._source.crops(crop.index), 0, out)
            out["lr"].fill(0)
        found: list[Unreadable] = []
        for attempt in range(1, MOST_ATTEMPTS + 1):
            position = int(crop.image[0])
            if index < self._unreadable.get(position, index + 1):
                try:
                    self._copy(crop, out)
                    return found
                except (ImageError, OSError) as error:
                    if isinstance(error, OSError) and error.errno in NOT_THE_FILES_FAULT:
                        raise
                    self._unreadable[position] = index
                    name = self._source.prefix + self._source.images["hr"].images[position].name
                    found.append(Unreadable(name, index, one_line(error, 400)))
            crop = self._source.crops(crop.index, attempt)
        why = f"; the last: {found[-1].reason}" if found else ""
        raise DataError(f"{MOST_ATTEMPTS} images in a row cannot be read{why}")

    def _copy(self, crop: Crops, out: Mapping[str, NDArray[np.uint8]]) -> None:
        for name, reader in self._readers.items():
            square = reader.view(crop.shrunk(self._source.factors[name]), 0)
            np.copyto(out[name], square.transpose(2, 0, 1))


def _empty(source: Source, rows: int) -> dict[str, Tensor]:
    """Room for the images of some samples."""
    factors = source.factors if source.paired is None else {**source.factors, **source.paired.factors}
    sides_px = {name: source.config.crop_px // factor for name, factor in factors.items()}
    return {
        name: torch.empty((rows, source.channels, side, side), dtype=torch.uint8) for name, side in sides_px.items()
    }


@dataclass(frozen=True)
class _Part:
    """Which part of the run one training process sees."""

    source: Source
    steps: range
    rank: int
    world: int
    unreadable: Mapping[str, int]

    def indices(self, step: int) -> NDArray[np.int64]:
        return step_indices(step, self.source.config.batch, self.rank, self.world)


def _cut_here(part: _Part) -> Iterator[RawBatch]:
    """The batches, decoded by the calling thread."""
    cutter = _Cutter(part, part.source.config.cache_mb * 10**6)
    for step in part.steps:
        indices = part.indices(step)
        crops = part.source.crops(indices)
        images = _empty(part.source, len(indices))
        arrays = {name: tensor.numpy() for name, tensor in images.items()}
        unreadable: list[Unreadable] = []
        for row in range(len(indices)):
            try:
                unreadable += cutter.cut(crops, row, {name: array[row] for name, array in arrays.items()})
            except (DataError, OSError) as error:
                raise _unable(step, indices[row], str(error)) from None
        yield RawBatch(step, indices, MappingProxyType(images), tuple(unreadable), _paired(part.source, indices))


def _paired(source: Source, indices: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    return None if source.paired is None else source.is_paired(indices)


def _unable(step: int, index: int, reason: str) -> DataError:
    return DataError(f"data: step {step}, sample {index}: {one_line(reason, 400)}")


# ---- worker processes


def _work(part: _Part, number: int, connection: Connection) -> None:
    """A worker: sends the crops of its images, step by step, until the training process hangs up or all are sent.

    Per crop it sends a report, empty where all is well, and then, unless the report has an error, the pixels of every
    image. It asks for nothing, so there is nothing to wait for but the reader, and a full pipe keeps it from running
    ahead.
    """
    # Ctrl-C and a scheduler's SIGTERM reach the whole process group; the training process decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    source, workers = part.source, part.source.config.workers
    cutter = _Cutter(part, source.config.cache_mb * 10**6 // workers)
    out = {name: tensor[0].numpy() for name, tensor in _empty(source, 1).items()}
    try:
        for step in part.steps:
            crops = source.crops(part.indices(step))
            for row in np.flatnonzero(source.owners(crops.index, workers) == number).tolist():
                unreadable, error = _cut(cutter, crops, row, out)
                report = json.dumps([[asdict(one) for one in unreadable], error]) if unreadable or error else ""
                connection.send_bytes(report.encode())
                for array in out.values() if not error else ():
                    connection.send_bytes(array.data.cast("B"))
    except (BrokenPipeError, ConnectionResetError):
        pass  # the training process has gone


def _cut(cutter: _Cutter, crops: Crops, row: int, out: Mapping[str, NDArray[np.uint8]]) -> tuple[list[Unreadable], str]:
    """Cut one crop; images that were found unreadable, and why it failed all the same, or nothing."""
    try:
        return cutter.cut(crops, row, out), ""
    except (DataError, OSError) as error:
        return [], str(error)
    except Exception as error:
        return [], f"{type(error).__name__}: {error}"


class _Filling:
    """A batch whose crops are still arriving."""

    def __init__(self, part: _Part, step: int) -> None:
        self.step = step
        self.indices = part.indices(step)
        self.images = _empty(part.source, len(self.indices))
        self.paired = _paired(part.source, self.indices)
        self.missing = len(self.indices)
        self.unreadable: list[Unreadable] = []
        self.errors: dict[int, str] = {}

    def receive(self, row: int, connection: Connection) -> None:
        """Take one crop from a worker."""
        report = connection.recv_bytes()
        unreadable, error = json.loads(report) if report else ([], "")
        self.unreadable += [Unreadable(**one) for one in unreadable]
        if error:
            self.errors[row] = error
        else:
            for tensor in self.images.values():
                connection.recv_bytes_into(tensor[row].numpy().data.cast("B"))
        self.missing -= 1

    def finished(self) -> RawBatch:
        if self.errors:
            row = min(self.errors)
            raise _unable(self.step, self.indices[row], self.errors[row])
        # In the order of the samples, whichever worker was first.
        unreadable = tuple(sorted(self.unreadable, key=lambda one: one.index))
        return RawBatch(self.step, self.indices, MappingProxyType(self.images), unreadable, self.paired)


def _collect(part: _Part, processes: list[BaseProcess], connections: list[Connection]) -> Iterator[RawBatch]:
    """The batches, put together from what workers send. At most BATCHES_AHEAD are open at a time."""
    workers = len(connections)
    fillings: deque[_Filling] = deque()
    expected: list[deque[tuple[_Filling, int]]] = [deque() for _ in connections]
    to_open = iter(part.steps)

    def open_next() -> None:
        for step in to_open:
            filling = _Filling(part, step)
            fillings.append(filling)
            owners = part.source.owners(filling.indices, workers)
            for row, owner in enumerate(owners.tolist()):
                expected[owner].append((filling, row))
            return

    for _ in range(BATCHES_AHEAD):
        open_next()
    while fillings:
        while fillings[0].missing:
            ready = wait([connection for connection, rows in zip(connections, expected) if rows])
            for number in [number for number, connection in enumerate(connections) if connection in ready]:
                filling, row = expected[number].popleft()
                try:
                    filling.receive(row, connections[number])
                except (EOFError, OSError):
                    raise _died(processes[number], number) from None
        batch = fillings.popleft().finished()
        open_next()
        yield batch


def _died(process: BaseProcess, number: int) -> DataError:
    process.join(timeout=5)
    code = process.exitcode
    if code is not None and code > 0:
        # Python has printed why. The usual reason is a script that lacks `if __name__ == "__main__":`.
        return DataError(f"data: decoding process {number} ended with code {code}; what it says above is the reason")
    how = "without a word" if code is None else f"killed by signal {-code}"
    return DataError(
        f"data: decoding process {number} died ({how}); if memory ran out, lower data.workers or data.cache_mb"
    )


def _start_workers(part: _Part) -> tuple[list[BaseProcess], list[Connection]]:
    """Start the workers; never by fork, which would copy locked locks of torch's threads."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["pytrain.data.source"])  # so that torch is imported once, not in every worker
    processes, connections = [], []
    for number in range(part.source.config.workers):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(part, number, sending), name=f"pytrain-data-{number}", daemon=True
        )
        process.start()
        sending.close()  # the worker has its own; with ours open we would not notice its end
        processes.append(process)
        connections.append(receiving)
    return processes, connections


# ---- the stream


class Stream:
    """Batches of consecutive steps, made ahead of time. A context manager and an iterator; see `stream`."""

    def __init__(self, part: _Part) -> None:
        processes, connections = _start_workers(part) if part.source.config.workers else ([], [])
        self.worker_pids = tuple(process.pid for process in processes)
        """Process numbers of the workers."""
        batches = _collect(part, processes, connections) if processes else _cut_here(part)
        self._batches: queue.Queue[RawBatch | BaseException | None] = queue.Queue(BATCHES_AHEAD)
        stop = threading.Event()
        thread = threading.Thread(target=_feed, args=(batches, self._batches, stop), name="pytrain-data", daemon=True)
        # Runs once: on close, when the stream is collected, or at exit before multiprocessing waits for its children.
        self._finalize = util.Finalize(self, _shut_down, (stop, thread, processes, connections), exitpriority=10)
        thread.start()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[RawBatch]:
        return self

    def __next__(self) -> RawBatch:
        if not self._finalize.still_active():
            raise StopIteration
        item = self._batches.get()
        if isinstance(item, RawBatch):
            return item
        self.close()
        if item is None:
            raise StopIteration
        raise item

    def close(self) -> None:
        """Stop thread and workers; batches that are ready are dropped. May be called again."""
        self._finalize()


def _feed(
    batches: Iterable[RawBatch], out: queue.Queue[RawBatch | BaseException | None], stop: threading.Event
) -> None:
    """The thread of a stream: moves batches, then the error or None that ends them, into its queue."""

    def put(item: RawBatch | BaseException | None) -> None:
        while not stop.is_set():
            try:
                out.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    try:
        for batch in batches:
            put(batch)
            if stop.is_set():
                return
        put(None)
    except BaseException as error:
        put(error)


def _shut_down(
    stop: threading.Event, thread: threading.Thread, processes: list[BaseProcess], connections: list[Connection]
) -> None:
    """End workers and thread. Workers hold nothing that a kill could damage."""
    stop.set()
    for process in processes:
        process.kill()
    thread.join(timeout=10)
    for process in processes:
        process.join(timeout=10)
    for connection in connections:
        connection.close()


def stream(
    source: Source,
    steps: range,
    rank: int = 0,
    world: int = 1,
    unreadable: Mapping[str, int] = MappingProxyType({}),
) -> Stream:
    """The batches of some steps, for one of `world` training processes.

    A pure function of its arguments and the files: sample numbers are `step_indices`, pixels follow from (seed, sample
    number). Use it in a `with` statement: workers start at once and end with it.

    Args:
        source: from `open_source`.
        steps: numbers of the steps, in order.
        rank: number of this process in [0, world).
        world: number of training processes.
        unreadable: HR images that were found unreadable before, by name, and the sample from which on they are not tried.
    Returns:
        A context manager and iterator of `RawBatch`. At most 2 BATCHES_AHEAD + 1 batches exist at a time.
    Raises:
        ConfigError: the batch cannot be divided among the processes.
        DataError: from the iterator, at the step concerned: hardly an image can be read, memory or file handles ran out,
            a worker died.
    """
    step_indices(0, source.config.batch, rank, world)
    return Stream(_Part(source, steps, rank, world, dict(unreadable)))

"""What `degrade gallery` shows: samples of a run with their images, tasks of a file or a space, degraded for the page."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...engine import degrade_list
from ...errors import ImageError, SpaceError, TaskError
from ...files.card import is_card, read_card
from ...files.dataset import Augment, CropReader
from ...files.lmdb_reader import open_lmdb
from ...files.paths import display_name, open_regular, read_lines
from ...files.pixels import Pixels, to_float, to_uint8
from ...files.read import read_image, read_rgb8
from ...files.sample_manifest import MANIFEST_FILE, SUMS_FILE, check_tables
from ...tasks.sampler import sample
from ...tasks.space import Space
from ...tasks.space_text import MAX_BYTES
from ...tasks.task import TaskBatch
from ...toml_lines import parsed
from ..hr_options import BUNDLED_HR_SIZE_PX
from .card import images_of_card
from .gallery_neighbours import Neighbours
from .sources import CroppedImages, cropped_images
from .tasks import TASKS, load_space, load_tasks

_GROUPS_BYTES = 2**28
_SPACE = re.compile(r"\s*\[\s*space\s*\]\s*(#.*)?")
MOST_PSNR_DB = 100.0
"""What equal images are shown as."""
FIRST = 4000
FIRST_DRAWN = 200
"""Tasks of a space that are shown: they are drawn and run for the page."""

Reader = Callable[[int], tuple[Pixels, ...]]
"""Row -> HR, LR and, of some pages, a third picture; PydegradeError where they cannot be had. Any thread may call."""
Beside = Callable[[Pixels], tuple[Pixels, Mapping[str, float]]]
"""LR -> a third picture, and scores by name. Any thread may call."""


@dataclass(frozen=True)
class Scores:
    """What is known of tasks beside their parameters.

    Attributes:
        choices: lists of words by name, one for each task, such as the group that it is of.
        values: lists of numbers by name, one for each task, NaN where there is none.
    """

    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def first(self, count: int) -> Scores:
        """The same for the first tasks."""
        return Scores(
            {name: words[:count] for name, words in self.choices.items()},
            {name: values[:count] for name, values in self.values.items()},
        )


@dataclass(frozen=True)
class ShownSamples:
    """Samples of a page, N >= 1.

    Attributes:
        origin: the folder or file.
        tasks: of the samples; None where they are not of one space.
        total: how many the origin has.
        read: their images.
        sources: name of the photograph of each, "" where nothing says.
        scores: what the origin says of them beside.
        pictures: what the images are called.
        thumbnails: which of them are seen small.
        beside: what is seen and measured beside LR.
        addresses: of the tasks; "" where there is none. Empty: those of `tasks`.
        scale: HR side over LR side. 0: that of the space of `tasks`.
        about: a line for people. "": what the space says of itself.
        numbered: whether a sample is called by its number; else by its place.
    """

    origin: Path
    tasks: TaskBatch | None
    total: int
    read: Reader
    sources: tuple[str, ...]
    scores: Scores = field(default_factory=Scores)
    pictures: tuple[str, ...] = ("HR", "LR")
    thumbnails: tuple[int, int] = (0, 1)
    beside: Beside | None = None
    addresses: tuple[str, ...] = ()
    scale: int = 0
    about: str = ""
    numbered: bool = True


def samples_of(
    origin: Path,
    first: int | None,
    hr: Path | None,
    space_name: str | None,
    max_pixels: int,
    photographs: Sequence[Path] = (),
) -> ShownSamples:
    """The first samples of a folder, of a card, or of a file of tasks, groups, or a space.

    Args:
        origin: a folder that `degrade sample` filled; where it holds no images, and for files, tasks are run here.
        first: how many; None: FIRST, of a space FIRST_DRAWN.
        hr: clean images for tasks that are run here; None: photographs of scikit-image.
        space_name: of a table or of groups of a space that is no preset.
        max_pixels: limit of a single clean image.
        photographs: files and folders, of which the nearest stands beside each task of a space.
    Raises:
        PydegradeError: nothing of that, or nothing to run tasks on.
    """
    if not origin.exists():
        raise TaskError(f"RUN: must be a folder of `degrade sample` or a file of tasks, got nothing at {origin}")
    scores = Scores()
    card = read_card(origin) if origin.is_file() and is_card(origin) else None
    is_a_space = card is None and is_space(origin)
    if photographs and not is_a_space:
        raise TaskError(f"--photographs: RUN must be a space, as degrade fit writes it, got {origin}")
    first = first or (FIRST_DRAWN if is_a_space else FIRST)
    if is_a_space:
        tasks = sample(Space.load(str(origin)), 0, range(first))
    elif card is not None:
        tasks = card.tasks
    elif origin.suffix.lower() == ".toml" and origin.is_file():
        tasks, scores = read_groups(origin, None if space_name is None else load_space(space_name))
    else:
        tasks = load_tasks(str(origin), space_name)
    shown = tasks.take(slice(0, first))
    stored = _stored(origin, shown) if origin.is_dir() else None
    if stored is not None:
        if (origin / SUMS_FILE).is_file():  # of a run that has been finished
            check_tables(origin, [TASKS])
        return ShownSamples(origin, shown, len(tasks), stored, _sources(origin, shown))
    augment: Augment = "hflip"
    if card is not None:
        found, augment = images_of_card(card, hr, max_pixels), card.augment
    else:
        found = cropped_images(hr, None, shown.space, BUNDLED_HR_SIZE_PX, max_pixels)
    read, sources = _run_here(shown, found, augment, max_pixels)
    samples = ShownSamples(origin, shown, len(tasks), read, sources, scores.first(first))
    if not photographs:
        return samples
    near = Neighbours.of(photographs, found, shown.space.scale, max_pixels)
    return replace(samples, pictures=("HR", "LR", "nearest photograph"), thumbnails=(1, 2), beside=near.beside)


def _stored(run: Path, tasks: TaskBatch) -> Reader | None:
    """How the images of a run are stored; None where it has none. Names follow from numbers: no table says what to open."""
    names = [f"{index:08d}" for index in tasks.indices.tolist()]
    if (run / "lr.lmdb").is_dir():

        def of_lmdb(kind: str, name: str) -> Pixels:
            folder = run / f"{kind}.lmdb"
            return read_rgb8(folder / name, content=open_lmdb(folder).read(name)).array

        return lambda row: (of_lmdb("hr", names[row]), of_lmdb("lr", names[row]))
    for ending in ("png", "npy"):
        if any((run / "lr").glob(f"*.{ending}")):
            return lambda row, ending=ending: (  # type: ignore[misc]
                read_image(run / "hr" / f"{names[row]}.{ending}"),
                read_image(run / "lr" / f"{names[row]}.{ending}"),
            )
    return None


def _sources(run: Path, tasks: TaskBatch) -> tuple[str, ...]:
    """Names of photographs, as the manifest has them."""
    try:
        rows = csv.DictReader(read_lines(run / MANIFEST_FILE))
        known = {row.get("index"): row.get("source") for row in rows}
    except (ImageError, csv.Error):
        known = {}
    return tuple(display_name(known.get(str(index)) or "") for index in tasks.indices.tolist())


def _run_here(
    tasks: TaskBatch, found: CroppedImages, augment: Augment, max_pixels: int
) -> tuple[Reader, tuple[str, ...]]:
    """Tasks on the crops that `degrade sample` would cut for them."""
    crops = found.crops_of(tasks, augment)
    reader = CropReader(found.images, max_pixels=max_pixels)

    def read(row: int) -> tuple[Pixels, Pixels]:
        pixels = reader.read(crops, row)
        return pixels, to_uint8(degrade_list([to_float(pixels)], tasks.take([row]))[0])

    return read, tuple(display_name(found.images.images[image].name) for image in crops.image.tolist())


def is_space(path: Path) -> bool:
    """Whether a .toml file has the table [space]."""
    if path.suffix.lower() != ".toml" or not path.is_file():
        return False
    with open_regular(path) as stream:
        text = stream.read(MAX_BYTES + 1).decode("utf-8", "replace")
    return any(_SPACE.fullmatch(line) for line in text.splitlines())


def read_groups(path: Path, space: Space | None = None) -> tuple[TaskBatch, Scores]:
    """Tasks of a file of groups, as `pytrain group` writes it: tables `[[group]]` with `name`, `addresses` and lists of
    numbers.

    Args:
        space: of the tasks, where it is no preset.
    Raises:
        TaskError: no such file, or a damaged one.
    """
    where = display_name(path)
    try:
        with open_regular(path) as stream:
            text = stream.read(_GROUPS_BYTES).decode()
    except (ImageError, ValueError) as error:
        raise TaskError(f"{where}: not a file of groups ({_reason(error)})") from None
    content = parsed(text, where, "a file of groups", TaskError)
    try:
        names, addresses, rows = [], [], []
        for table in content["group"]:
            numbers = {
                key: value for key, value in table.items() if isinstance(value, list) and all(map(_is_number, value))
            }
            for row, address in enumerate(table["addresses"]):
                addresses.append(address)
                names.append(display_name(str(table["name"])))
                rows.append({key: float(value[row]) for key, value in numbers.items()})
        if not addresses:
            raise KeyError("addresses")
        tasks = TaskBatch.from_addresses(addresses, space)
        if len(tasks) != len(addresses):
            raise TaskError("each address must be of one frame, got one of a clip")
    except (TaskError, SpaceError) as error:
        raise TaskError(f"{where}: {error}") from None
    except (ValueError, OverflowError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise TaskError(f"{where}: not a file of groups ({_reason(error)})") from None
    keys = dict.fromkeys(key for row in rows for key in row)
    values = {display_name(key): tuple(row.get(key, math.nan) for row in rows) for key in keys}
    return tasks, Scores({"group": tuple(names)}, values)


def _reason(error: Exception) -> str:
    return display_name(" ".join(f"{type(error).__name__}: {error}".split())[:120])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(np.float32(value)))

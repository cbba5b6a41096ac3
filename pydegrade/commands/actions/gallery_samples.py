"""The samples that `degrade gallery` shows: of a run with its images, or tasks of a file, degraded for the page."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from ...tasks.space import Space
from ...tasks.task import TaskBatch
from ...toml_lines import parsed
from ..hr_options import BUNDLED_HR_SIZE_PX
from .card import images_of_card
from .sources import CroppedImages, cropped_images
from .tasks import TASKS, load_space, load_tasks

_GROUPS_BYTES = 2**28

Reader = Callable[[int], tuple[Pixels, Pixels]]
"""Row -> HR and LR; PydegradeError where they cannot be had. Any thread may call."""


@dataclass(frozen=True)
class Scores:
    """What is known of tasks beside their parameters.

    Attributes:
        groups: name of the group of each task; empty where there are none.
        values: lists of numbers by name, one for each task, NaN where there is none.
    """

    groups: tuple[str, ...] = ()
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def first(self, count: int) -> Scores:
        """The same for the first tasks."""
        return Scores(self.groups[:count], {name: values[:count] for name, values in self.values.items()})


@dataclass(frozen=True)
class ShownSamples:
    """Samples of a page.

    Attributes:
        origin: the folder or file.
        tasks: of the samples, N >= 1.
        total: how many the origin has.
        read: their images.
        sources: name of the photograph of each, "" where nothing says.
        scores: what the origin says of them beside.
    """

    origin: Path
    tasks: TaskBatch
    total: int
    read: Reader
    sources: tuple[str, ...]
    scores: Scores = field(default_factory=Scores)


def samples_of(origin: Path, first: int, hr: Path | None, space_name: str | None, max_pixels: int) -> ShownSamples:
    """The first samples of a folder, of a card, or of a file of tasks or groups.

    Args:
        origin: a folder that `degrade sample` filled; where it holds no images, and for files, tasks are run here.
        first: how many.
        hr: clean images for tasks that are run here; None: photographs of scikit-image.
        space_name: of a table or of groups of a space that is no preset.
        max_pixels: limit of a single clean image.
    Raises:
        PydegradeError: nothing of that, or nothing to run tasks on.
    """
    if not origin.exists():
        raise TaskError(f"RUN: must be a folder of `degrade sample` or a file of tasks, got nothing at {origin}")
    scores = Scores()
    card = read_card(origin) if origin.is_file() and is_card(origin) else None
    if card is not None:
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
    return ShownSamples(origin, shown, len(tasks), read, sources, scores.first(first))


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
    except (TaskError, SpaceError) as error:
        raise TaskError(f"{where}: {error}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise TaskError(f"{where}: not a file of groups ({_reason(error)})") from None
    keys = dict.fromkeys(key for row in rows for key in row)
    values = {display_name(key): tuple(row.get(key, math.nan) for row in rows) for key in keys}
    return tasks, Scores(tuple(names), values)


def _reason(error: Exception) -> str:
    return display_name(" ".join(f"{type(error).__name__}: {error}".split())[:120])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(np.float32(value)))

"""The results that `pytrain eval --save-images` leaves, as samples of a page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ImageError, SpaceError, TaskError
from ...files.paths import display_name, open_regular, path_inside
from ...files.pixels import Pixels
from ...files.read import read_rgb8
from ...tasks.task import TaskBatch
from .gallery_samples import MOST_PSNR_DB, Scores, ShownSamples
from .tasks import load_space

INDEX = "eval.json"
_VERSION = 1
_INDEX_BYTES = 2**28


@dataclass(frozen=True)
class _Result:
    """One image under one model: names of its files below the folder, and what is known of it."""

    files: tuple[str, str, str]
    set: str
    model: str
    image: str
    address: str
    scores: dict[str, float]


def evaluation_of(folder: Path, first: int, space_name: str | None = None) -> ShownSamples:
    """The first results of a folder that `pytrain eval --save-images` filled: every image of every set under each model.

    The first PSNR over that of the baseline bicubic, where that was measured too, is the score "gain".

    Args:
        folder: with INDEX.
        first: how many.
        space_name: of tasks of a space that is no preset.
    Raises:
        TaskError: a damaged INDEX.
    """
    where = display_name(folder / INDEX)
    try:
        with open_regular(folder / INDEX) as stream:
            content = json.loads(stream.read(_INDEX_BYTES))
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']!r}, expected {_VERSION}")
        scale, results = int(content["scale"]), list(_results(folder, content))
        about = "; ".join(f"{one['name']}: {one['degradation']}" for one in content["sets"])
        if not results or scale < 1:
            raise KeyError("models")
    # OverflowError: numbers that no float holds. OSError: names that no file has.
    except (
        *(ImageError, OSError, ValueError, OverflowError),
        *(KeyError, IndexError, TypeError, AttributeError, RecursionError),
    ) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise TaskError(f"{where}: not the index of an evaluation ({display_name(text)})") from None
    shown = results[:first]

    def read(row: int) -> tuple[Pixels, ...]:
        return tuple(read_rgb8(path_inside(folder, name)).array for name in shown[row].files)

    names = dict.fromkeys(name for one in shown for name in one.scores)
    scores = Scores(
        {"set": tuple(one.set for one in shown), "model": tuple(one.model for one in shown)},
        {name: tuple(one.scores.get(name, math.nan) for one in shown) for name in names},
    )
    return ShownSamples(
        folder, _tasks([one.address for one in shown], space_name), len(results), read,
        tuple(one.image for one in shown), scores, ("HR", "LR", "result"), (0, 2),
        addresses=tuple(one.address for one in shown), scale=scale, about=display_name(about), numbered=False,
    )  # fmt: skip


def _results(folder: Path, content: Mapping[str, Any]) -> list[_Result]:
    """All whose images are there."""
    found = []
    bicubic = next((one for one in content["models"] if one["label"] == "bicubic"), None)
    for model in content["models"]:
        label = str(model["label"])
        for place, (one, measured) in enumerate(zip(content["sets"], model["sets"], strict=True)):
            name = str(one["name"])
            if not path_inside(folder, f"{label}/{name}").is_dir():
                continue  # a baseline that has no images
            addresses = one["addresses"] or [""] * len(one["images"])
            for row, (image, file) in enumerate(zip(one["images"], one["files"], strict=True)):
                scores = {display_name(str(key)): _shown(key, values[row]) for key, values in measured.items()}
                if bicubic is not None and measured:
                    key = next(iter(measured))
                    scores["gain"] = _shown(key, measured[key][row]) - _shown(key, bicubic["sets"][place][key][row])
                files = f"inputs/{name}/hr/{file}", f"inputs/{name}/lr/{file}", f"{label}/{name}/{file}"
                found.append(
                    _Result(files, display_name(name), display_name(label), display_name(str(image)),
                            display_name(str(addresses[row])), scores)
                )  # fmt: skip
    return found


def _shown(name: str, value: float) -> float:
    return min(float(value), MOST_PSNR_DB) if name.startswith("psnr") else float(value)


def _tasks(addresses: Sequence[str], space_name: str | None) -> TaskBatch | None:
    """The tasks, where all are of one space that is known."""
    if not all(addresses):
        return None
    try:
        tasks = TaskBatch.from_addresses(addresses, None if space_name is None else load_space(space_name))
        # An address of a clip stands for several.
        return tasks if len(tasks) == len(addresses) else None
    except (SpaceError, TaskError):
        if space_name is not None:
            raise
        return None

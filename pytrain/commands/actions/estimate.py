"""What a DASR predictor believes about files, or what they show without one: `degrade estimate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pydegrade.files import MemoryBudget, open_image, to_float
from pydegrade.fitting.estimate import estimate_photograph
from pydegrade.shell import Fates, Item, Progress, each, find_items

from ...errors import DataError
from ...evaluation.infer import NotFiniteError
from ...evaluation.vector_editing import adaptive, estimate
from ...files.checkpoint import load_model

LEAST_PX = 8


def estimate_images(
    sources: Sequence[Path], model: Path, device: torch.device, max_pixels: int, say: Callable[[str], None]
) -> tuple[dict[str, Any], Fates]:
    """Estimates by file, printed as they come.

    Args:
        sources: files and folders.
        model: of method dasr.
        device: that runs it.
        max_pixels: limit of an image.
        say: takes lines for people.
    Returns:
        (file -> what `estimate` returns, what became of the files).
    """
    net = adaptive(load_model(model).net.to(device), str(model))
    items = find_items(sources)
    found: dict[str, Any] = {}
    progress = Progress(len(items.images))

    def make(item: Item) -> Iterable[str]:
        with open_image(item.path, max_pixels) as file:
            header = file.header
            floats = 3 * 4 * header.height * header.width
            with MemoryBudget().hold(
                max(header.decode_bytes, header.array_bytes + floats), item.path, header.file_bytes
            ):
                decoded = file.decode().rgb8()
        image = to_float(decoded.array)[None].to(device)
        if min(image.shape[-2:]) < LEAST_PX:
            size = f"{image.shape[-1]} x {image.shape[-2]}"
            raise DataError(f"{item.path}: must be at least {LEAST_PX} x {LEAST_PX} px, got {size}")
        with torch.no_grad():
            values = estimate(net, image)
        if not torch.isfinite(torch.tensor(values["vector"])).all():
            raise NotFiniteError(f"{item.path}: the estimate is not finite (NaN or infinity)")
        found[str(item.path)] = values
        progress.close()
        for line in _lines(str(item.path), values):
            say(line)
        return decoded.notes

    return found, each(items.images, make, progress, items=items)


def measure_images(
    sources: Sequence[Path], max_pixels: int, say: Callable[[str], None]
) -> tuple[dict[str, Any], Fates]:
    """What files and pixels show, without a model. Arguments and results as `estimate_images`."""
    items = find_items(sources)
    found: dict[str, Any] = {}
    progress = Progress(len(items.images))

    def make(item: Item) -> Iterable[str]:
        measured = estimate_photograph(item.path, max_pixels)
        found[str(item.path)] = measured.as_json()
        progress.close()
        say(measured.line)
        return measured.notes

    return found, each(items.images, make, progress, items=items)


def _lines(name: str, values: Mapping[str, Any]) -> list[str]:
    lines = [name]
    for parameter, value in values["parameters"].items():
        lines.append(f"  {parameter:22s} {value if isinstance(value, str) else format(value, '.3g')}")
    return [*lines, "  experts' shares        " + ", ".join(f"{share:.3f}" for share in values["shares"])]


def to_json(found: Mapping[str, Any]) -> bytes:
    """The estimates as a JSON file."""
    return (json.dumps(found, indent=1, allow_nan=False) + "\n").encode()

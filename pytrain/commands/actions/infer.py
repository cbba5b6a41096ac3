"""Running a model on files: `pytrain infer`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pydegrade.files import MemoryBudget, encode_png, folder_lock, open_image
from pydegrade.shell import Fates, Item, Progress, Results, check_suffix, each, find_items

from ...errors import ConfigError
from ...evaluation.infer import NotFiniteError, upscale_array
from ...evaluation.vector_editing import EditedDASR, adaptive, parse_changes
from ...files.checkpoint import load_model
from ...methods.pairs import weights_sha256
from ...nets import IPT, config_to_dict, task_scales

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class InferOptions:
    """How a model is run on files.

    Attributes:
        tile_px, overlap_px: see `upscale`; 0: whole images.
        precision: "fp32", "bf16" or "fp16".
        suffix: behind each name, before ".png".
        max_pixels: limit of an image.
    """

    tile_px: int
    overlap_px: int
    precision: str
    suffix: str
    max_pixels: int


@dataclass(frozen=True)
class Upscaler:
    """A network ready to run, and what its results depend on.

    Attributes:
        net: on its device, with an integer `scale`.
        about: a line for people.
        made_from: plain values: digest of the weights, task, edited vector.
    """

    net: Any
    about: str
    made_from: dict[str, Any]


def open_upscaler(path: Path, device: torch.device, task: str | None, vector_texts: Sequence[str]) -> Upscaler:
    """Load a model file for one task and with an edited degradation vector, where it has them.

    Raises:
        CheckpointError, ConfigError, TaskError: a file, task or entry that cannot be used.
    """
    loaded = load_model(path)
    made_from = {"model": weights_sha256(loaded.net), "net": config_to_dict(loaded.config), "task": task or ""}
    net: Any = loaded.net.to(device)
    if task is not None or len(task_scales(loaded.config)) > 1:
        net = _of_task(net, task, str(path))
    if vector_texts:
        changes = parse_changes(vector_texts)
        net = EditedDASR(adaptive(net, str(path)), changes)
        made_from["vector"] = dict(changes)
    return Upscaler(net, f"{path}: {loaded.config.type} x{net.scale}, on {device}", made_from)


def _of_task(net: Any, task: str | None, where: str) -> Any:
    """A network of several tasks as a network of one."""
    if not isinstance(net, IPT):
        raise ConfigError(f"--task: must be left out, {where} has no tasks; got {task!r}")
    if task is None:
        raise ConfigError(f"--task: must be one of {', '.join(net.tasks)}, the tasks of {where}; got none")
    return net.one_task(task)


def upscale_images(
    sources: Sequence[Path],
    out: Path,
    upscaler: Upscaler,
    options: InferOptions,
    force: bool,
    say: Callable[[str], None],
) -> Fates:
    """Upscale files and folders; results that are there and were made from the same are kept.

    Args:
        sources: what to upscale.
        out: checked folder.
        upscaler, options: how.
        force: make everything again, also over files of another origin.
        say: takes lines for people.
    Raises:
        OutputError: a result would replace an input or a file of another origin.
        ImageError: a folder without images.
    """
    check_suffix(options.suffix)
    items = find_items(sources, lambda name: (f"{name}{options.suffix}",))
    result_of = {item: f"{item.name}{options.suffix}.png" for item in items.images}
    made_from = {
        **upscaler.made_from,
        "tile_px": options.tile_px,
        "overlap_px": options.overlap_px if options.tile_px else 0,
        "precision": options.precision,
    }
    say(f"{upscaler.about}, {len(items.images)} images")
    with folder_lock(out):
        results = Results(out, "infer", made_from, force)
        results.check(result_of.values(), items.inputs)
        pending = [item for item in items.images if not results.is_made(result_of[item], item.path)]
        kept = len(items.images) - len(pending)
        if kept:
            say(f"{kept} results are there already (--force makes them again)")
        # One large image: its tiles say how far it is.
        tiles = _TileProgress() if len(pending) == 1 else None

        def make(item: Item) -> Iterable[str]:
            with results.reading(item.path):
                content, notes = _upscaled(upscaler.net, item.path, options, tiles)
            results.write(result_of[item], content, item.path)
            return notes

        progress = Progress(len(items.images), kept)
        return each(
            pending, make, progress, items=items,
            memory_hint="give a smaller --tile" if options.tile_px else "give --tile 512",
        )  # fmt: skip


RESULT_BYTES = 11
"""What a value of a result takes at the peak: in floats, in the image's type, and packed."""


def _upscaled(
    net: Any, path: Path, options: InferOptions, tiles: Callable[[int, int], None] | None
) -> tuple[bytes, tuple[str, ...]]:
    """The PNG of one upscaled file, and what had to be converted."""
    with open_image(path, options.max_pixels) as file:
        header = file.header
        # The picture, and its channels in floats, before and after they are divided. Under a limit of the user's own the
        # result counts as well; what the network takes in between comes on top.
        values = header.height * header.width * max(header.channels, 3)
        budget = MemoryBudget()
        enlarged = RESULT_BYTES * int(net.scale) ** 2 * values if budget.is_chosen else 0
        needed = max(header.decode_bytes, header.array_bytes + 8 * values, header.array_bytes + 4 * values + enlarged)
        with budget.hold(needed, path, header.file_bytes):
            picture = file.decode()
    device = next(net.parameters()).device
    cast = (
        torch.autocast(device.type, AUTOCAST[options.precision])
        if options.precision in AUTOCAST
        else contextlib.nullcontext()
    )
    try:
        with cast:
            result = upscale_array(net, picture.array, options.tile_px or None, options.overlap_px, tiles)
    except NotFiniteError as error:
        remedy = "use --precision fp32" if options.precision != "fp32" else "also with --precision fp32"
        raise NotFiniteError(f"{path}: {error}; {remedy}; nothing is written") from None
    return encode_png(result, picture.profile), picture.notes


class _TileProgress:
    """A bar over the tiles of an image; alpha starts another one."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._counted = 0

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None or done <= self._counted:
            self._bar = Progress(total, 0, "tiles")
            self._counted = 0
        self._bar.advance(done - self._counted)
        self._counted = done
        if done == total:
            self._bar.close()

"""Sets of images to measure on: found, cut and degraded.

HR images are cut at the bottom and the right to multiples of the scale. The LR of a set is made from them by MATLAB's
bicubic on 8 bits (the classical setting), by a degradation space with a fixed seed (one task per image), or read from a
folder. Where a space sharpens its target for training, that is left out: LR is made from the plain HR and compared with the
plain HR, as papers do; `reference = "target"` makes LR from the sharpened image and compares with that. Files with a single
channel are compared as they are, without conversion to luma, as the usual scripts do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pydegrade import Space, SpaceError, TaskBatch, degrade_pairs, imresize, sample
from pydegrade.errors import ImageError
from pydegrade.files import HrImages, MemoryBudget, Pixels, decode, decode_as_stored, find_images, to_float, to_uint8
from pydegrade.images.metrics import SSIM_WINDOW_PX

from ..data.source import chosen, find_partners, size_factor
from ..errors import ConfigError, DataError, nearest, one_line
from .adapt import kernel_of
from .perceptual import check_metrics
from .settings import EvalSetConfig, EvaluateConfig, Reference, protocol_of

HELD_BYTES = 2**28
"""Sets up to this size stay in memory; larger ones are read and degraded anew for every evaluation."""


@dataclass(frozen=True)
class EvalPair:
    """One image of a set.

    Attributes:
        name: of the HR image.
        hr: what results are compared with, uint8 [H, W, 3], or [H, W] where the file or the network has a single channel.
        lr: uint8 [H / scale, W / scale, C], C of the network.
    """

    name: str
    hr: Pixels
    lr: Pixels


@dataclass(frozen=True)
class EvalSet:
    """An opened set; what `open_sets` returns.

    Attributes:
        config: as configured.
        scale: HR side over LR side.
        hr: the clean images.
        lr: their partners in the same order, None where LR is made.
        tasks: one per image, None without a space.
        held: the pairs, if they fit into memory.
        channels: of the network: 1, 3 or 4.
    """

    config: EvalSetConfig
    scale: int
    hr: HrImages
    lr: HrImages | None
    tasks: TaskBatch | None
    held: tuple[EvalPair, ...] | None = None
    channels: int = 3

    @property
    def name(self) -> str:
        """As configured."""
        return self.config.name

    @property
    def reference(self) -> Reference:
        """What results are compared with."""
        return self.config.reference

    @property
    def degradation(self) -> str:
        """How LR is made, for people."""
        adapted = f", adapted {self.config.adapt_steps} steps" if self.config.adapt_steps else ""
        if self.tasks is not None:
            space = self.tasks.space
            plain = f"?{space.target}.weight=0" if space.target != "hr" and self.reference == "hr" else ""
            return f"{space.name}@{space.digest[:8]}/s{self.config.seed}{plain}{adapted}"
        return f"lr of {self.lr.origin}" if self.lr is not None else f"MATLAB bicubic x{self.scale}, 8 bits{adapted}"

    def pairs(self) -> Iterator[EvalPair]:
        """All images, in order.

        Raises:
            DataError: an image that cannot be decoded.
        """
        if self.held is not None:
            yield from self.held
        else:
            for position in range(len(self.hr.images)):
                yield _pair(self, position)


def sources_of(config: EvaluateConfig) -> list[Path]:
    """Folders and files that the sets are read from."""
    return [Path(path).expanduser() for one in config.sets for path in (*one.hr, *filter(None, [one.lr]))]


def pictures_of(config: EvaluateConfig, folder: Path) -> list[Path]:
    """An image for each place below a folder where `evaluate` writes some."""
    places = [(folder, folder / one.name) for one in config.sets]
    return [place / "x.png" for both in places for place in both]


def open_sets(
    config: EvaluateConfig, scale: int, task_scales: Mapping[str, int] = MappingProxyType({}), channels: int = 3
) -> tuple[EvalSet, ...]:
    """Find the images of all sets, read and degrade what fits into memory.

    Args:
        config: the table `[evaluate]`.
        scale: of the network.
        task_scales: scale by task, of a network that has several; sets that name a task have its scale.
        channels: of the images that the network takes: 1, 3 or 4.
    Raises:
        ConfigError: a space of another scale, no such image or task, a crop that is no multiple of the scale.
        DataError: nothing usable, partners missing or of another size, an image too small to measure. One line.
    """
    check_metrics(config.perceptual)
    opened = []
    for one in config.sets:
        if one.task and one.task not in task_scales:
            known = f"one of {', '.join(task_scales)}" if task_scales else "empty, this network has no tasks"
            raise ConfigError(
                f"evaluate.sets ({one.name}): task must be {known}, got {one.task!r}{nearest(one.task, task_scales)}"
            )
        own_scale = task_scales[one.task] if one.task else scale
        borders = [protocol_of(name, own_scale).border for name in config.protocols]
        opened.append(_open_set(one, own_scale, SSIM_WINDOW_PX + 2 * max(borders), channels))
    return tuple(opened)


def _open_set(config: EvalSetConfig, scale: int, least_px: int, channels: int) -> EvalSet:
    where = f"evaluate.sets ({config.name})"
    if config.crop_px % scale:
        raise ConfigError(f"{where}: crop_px must be a multiple of the scale {scale}, got {config.crop_px}")
    try:
        found = find_images([Path(source).expanduser() for source in config.hr], side_px=config.crop_px or 1)
    except (ImageError, OSError) as error:
        raise DataError(f"{where}: {one_line(error, 400)}") from None
    hr = chosen(found, config.images, config.exclude, where)
    if hr.excluded:
        # A mean over other images than the reader thinks would be a wrong number.
        raise DataError(f"{where}: every image must be usable, got {len(hr.excluded)} that is not: {hr.excluded[0]}")

    # Whole multiples of the scale, large enough for SSIM.
    sides_px = np.minimum(hr.sides_px // scale * scale, config.crop_px or 2**62)
    if sides_px.min() < least_px:
        position = int(np.argmin(sides_px.min(axis=1)))
        height, width = sides_px[position].tolist()
        raise DataError(
            f"{where}: {hr.images[position].name}: sides must be at least {least_px} px to measure SSIM inside the "
            f"border, got {width} x {height}"
        )

    # LR.
    lr, tasks = None, None
    if config.lr:
        lr, _ = find_partners(f"{where}: lr", hr, Path(config.lr).expanduser(), scale, {})
        size_factor(f"{where}: lr", hr, lr, scale, may_be_hr=False)
    elif config.space:
        space = _space(config.space, scale, where)
        if config.reference == "target" and space.target == "hr":
            raise ConfigError(
                f"{where}: reference 'target' needs a space with a sharpened target, got {space.name}, whose target is hr"
            )
        tasks = sample(space, config.seed, range(len(hr.images)))
        if config.reference == "hr" and space.target != "hr":
            tasks = tasks.replace(**{f"{space.target}.weight": 0.0})
    if config.adapt_steps:
        _check_adapting(where, scale, hr, sides_px, tasks)
    opened = EvalSet(config, scale, hr, lr, tasks, channels=channels)
    if 3 * int(sides_px.prod(axis=1).sum()) > HELD_BYTES:
        return opened
    return replace(opened, held=tuple(opened.pairs()))


def _check_adapting(where: str, scale: int, hr: HrImages, sides_px: NDArray[np.int64], tasks: TaskBatch | None) -> None:
    """The kernels of a set are known, and its images large enough to be made small once more by them."""
    for position, side_px in enumerate((sides_px.min(axis=1) // scale).tolist()):
        try:
            kernel = None if tasks is None else kernel_of(tasks, position)[0]
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        least_px = max(2 * scale, 0 if kernel is None else len(kernel))
        if side_px < least_px:
            name = hr.images[position].name
            raise DataError(
                f"{where}: {name}: lr must be at least {least_px} px wide and high to adapt to it, got {side_px} px"
            )


def _space(name: str, scale: int, where: str) -> Space:
    try:
        space = Space.load(name)
    except (SpaceError, OSError) as error:
        raise ConfigError(f"{where}: {one_line(error, 400)}") from None
    if space.scale != scale:
        raise ConfigError(f"{where}: space must have the network's scale x{scale}, got {space.name} x{space.scale}")
    return space


def _pair(eval_set: EvalSet, position: int) -> EvalPair:
    """Read, cut and degrade one image."""
    scale, image = eval_set.scale, eval_set.hr.images[position]
    try:
        memory = MemoryBudget()
        picture = decode_as_stored(image, memory=memory)
        partner = None if eval_set.lr is None else eval_set.lr.images[position]
        lr_file = None if partner is None else decode(partner, memory=memory, channels=eval_set.channels).array
    except (ImageError, OSError) as error:
        raise DataError(f"evaluate.sets ({eval_set.name}): {one_line(error, 400)}") from None
    hr: Pixels = picture.planes8(eval_set.channels).array
    top, left, height, width = _window(hr.shape[0] // scale, hr.shape[1] // scale, eval_set.config.crop_px // scale)
    hr = np.ascontiguousarray(hr[top * scale : (top + height) * scale, left * scale : (left + width) * scale])
    if lr_file is not None:
        lr = np.ascontiguousarray(lr_file[top : top + height, left : left + width])
    elif eval_set.tasks is not None:
        try:
            (pair,) = degrade_pairs([to_float(hr)], eval_set.tasks.take(np.array([position])))
        except ValueError as error:
            # An op that needs colour, on gray images.
            raise ConfigError(f"evaluate.sets ({eval_set.name}): space: {one_line(error)}") from None
        lr = to_uint8(pair.lr)
        if eval_set.reference == "target":
            hr = to_uint8(pair.target)
    else:
        lr = np.asarray(imresize(hr, 1 / scale))
    one_plane = eval_set.channels == 1 or picture.gray
    return EvalPair(image.name, np.ascontiguousarray(hr[..., 0] if one_plane else hr[..., :3]), lr)


def _window(height: int, width: int, side: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the central square of that side, or of everything for side 0."""
    return ((height - side) // 2, (width - side) // 2, side, side) if side else (0, 0, height, width)

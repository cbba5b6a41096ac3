"""Measuring a network: PSNR and SSIM on named sets, each number with the protocol it was measured under.

HR images are cut at the bottom and the right to multiples of the scale. The LR of a set is made from them by MATLAB's
bicubic on 8 bits (the classical setting), by a degradation space with a fixed seed (one task per image), or read from a
folder. Where a space sharpens its target for training, that is left out: LR is made from the plain HR and compared with the
plain HR, as papers do; `reference = "target"` makes LR from the sharpened image and compares with that. Files with a single
channel are compared as they are, without conversion to luma, as the usual scripts do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pydegrade import Space, SpaceError, TaskBatch, degrade_pairs, imresize, sample
from pydegrade.commands.sheet import Cell, SheetRow, render_sheet
from pydegrade.errors import ImageError
from pydegrade.files.dataset import HrImages, decode, decode_as_stored, find_images
from pydegrade.files.memory import MemoryBudget
from pydegrade.files.pixels import Pixels, to_float, to_uint8
from pydegrade.files.write import write_image
from pydegrade.images.metrics import SSIM_WINDOW_PX, Precision, Protocol, Score, bicubic_scores, psnr, ssim

from ..data.source import MOST_CROP_PX, chosen, find_partners, size_factor
from ..errors import ConfigError, DataError, nearest, one_line
from ..nets import channels_of
from ..options import Texts, option, options, require
from ..settings import MOST_SEEDS, MOST_STEPS
from .adapt import adapt, kernel_of
from .infer import NotFiniteError, upscale

Reference = Literal["hr", "target"]
"""What LR is made from and results are compared with: the plain image, or the space's training target."""

Baseline = Literal["bicubic", "bicubic-y-double"]
"""What a network is compared with. "bicubic" enlarges the set's 8-bit LR by MATLAB's bicubic, rounded to 8 bits: what
files give. "bicubic-y-double" is the first row of the literature's tables: luma alone, made smaller and larger in
double; only for sets whose LR is MATLAB's bicubic."""

HELD_BYTES = 2**28
"""Sets up to this size stay in memory; larger ones are read and degraded anew for every evaluation."""

MOST_ADAPT_STEPS = 10_000
"""Gradient steps per image and evaluation."""

STRIP_PX = 128
"""Side of the squares in before-and-after pictures."""


@options("evaluate.sets")
class EvalSetConfig:
    """One set of images to measure on."""

    name: str = option("photographs", "what tables and scores call it")
    hr: Texts = option((), "folders, files or .lmdb of clean images; empty: photographs of scikit-image", path=True)
    lr: str = option("", "folder or .lmdb of low-resolution partners; empty: made from hr", path=True)
    space: str = option(
        "", "degradation preset or TOML file that makes lr; empty: MATLAB's bicubic on 8 bits", path="toml"
    )
    images: Texts = option((), "only these images, by name; empty: all")
    exclude: Texts = option((), "all but these images, by name")
    reference: Reference = option(
        "hr",
        "what lr is made from and compared with: hr, or target, the sharpened image of spaces that train on one",
    )
    seed: int = option(0, "of the tasks drawn from space: image i gets task i", ge=0, lt=MOST_SEEDS)
    crop_px: int = option(
        0, "only the central square of this side of every image; 0: whole images", "px", ge=0, le=MOST_CROP_PX
    )
    task: str = option("", "which task of a network of several (ipt) is measured, at its scale; empty: the first")
    adapt_steps: int = option(
        0,
        "mzsr: gradient steps on every image, with the kernel of its task, before it is measured; 0: as it is",
        ge=0,
        le=MOST_ADAPT_STEPS,
    )
    adapt_rate: float = option(
        0.0, "learning rate of these steps, as method.inner_rate was; 0: the published ones", ge=0
    )

    def __post_init__(self) -> None:
        require(bool(self.name) and "/" not in self.name, "evaluate.sets.name", "a plain name, without /", self.name)
        if self.lr and self.adapt_steps:
            raise ConfigError(f"evaluate.sets.adapt_steps must be 0 where lr is read, got {self.adapt_steps}")
        if self.lr and self.space:
            raise ConfigError(f"evaluate.sets.space must be empty where lr names a folder, got {self.space!r}")
        if self.lr and len(self.hr) != 1:
            raise ConfigError(f"evaluate.sets.hr must be one folder or .lmdb where lr is given, got {list(self.hr)}")
        if self.reference == "target" and not self.space:
            raise ConfigError("evaluate.sets.reference must be 'hr' where no space makes lr, got 'target'")


@options("evaluate")
class EvaluateConfig:
    """When and how a run is measured."""

    every_steps: int = option(5000, "steps between evaluations; there is one at the end as well", ge=1, le=MOST_STEPS)
    sets: tuple[EvalSetConfig, ...] = option((), "what to measure on; empty: no evaluation")
    protocols: Texts = option(
        ("y-uint8",),
        "channel (y, rgb) and rounding (uint8, double, unrounded); border: the scale, or -borderN behind it",
    )
    save_images: int = option(0, "images per set of which results and before-and-after strips are written", ge=0)
    tile_px: int = option(
        1024, "lr images with a longer side are run in tiles of this side; 0: always whole", "px", ge=0, le=2**20
    )
    overlap_px: int = option(32, "what neighbouring tiles share", "px", ge=0, le=2**20)

    def __post_init__(self) -> None:
        tiles = self.tile_px == 0 or self.tile_px > 2 * self.overlap_px
        require(tiles, "evaluate.tile_px", "0 or more than twice overlap_px", self.tile_px)
        names = [one.name for one in self.sets]
        for name in names:
            require(names.count(name) == 1, "evaluate.sets.name", "different for every set", name)
        require(bool(self.protocols), "evaluate.protocols", "at least one", self.protocols)
        for name in self.protocols:
            protocol_of(name, scale=1)


def protocol_of(name: str, scale: int, channels: int = 3) -> Protocol:
    """The protocol of a name; without "-borderN" the border is the scale.

    Networks of one channel are measured on it, from 0 to 255, and the protocol says so: "y-uint8" and "rgb-uint8" become
    "gray-uint8-borderN". Of RGB and alpha the colours are measured.

    Raises:
        ConfigError: no such protocol.
    """
    try:
        protocol = Protocol.parse(name if "-border" in name else f"{name}-border{scale}")
        if channels == 1:
            precision: Precision = "unrounded" if protocol.precision == "unrounded" else "uint8"
            return Protocol("gray", protocol.border, precision)
        return protocol
    except ValueError:
        message = f"evaluate.protocols must be like 'y-uint8' or 'rgb-uint8-border0', got {name!r}"
        raise ConfigError(message) from None


def score_names(config: EvaluateConfig, sets: Sequence[EvalSet]) -> list[str]:
    """The names of `EvalResult.scores`, known before anything is measured."""
    names = []
    for one in sets:
        protocols = [protocol_of(name, one.scale, one.channels) for name in config.protocols]
        names += [f"{one.name}/{kind}" for kind in ("psnr", "ssim")]
        names += [f"{one.name}/{kind}-{protocol}" for protocol in protocols[1:] for kind in ("psnr", "ssim")]
    return names


# ---- sets


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


# ---- results


@dataclass(frozen=True)
class SetResult:
    """Scores on one set.

    Attributes:
        name: of the set.
        degradation: how its LR was made.
        digest: of the list of its HR images.
        images: their names.
        reference: what results were compared with.
        scores: PSNR and SSIM of each protocol in turn; their `values` follow `images`. NaN where the network gave NaN.
    """

    name: str
    degradation: str
    digest: str
    images: tuple[str, ...]
    scores: tuple[Score, ...]
    reference: Reference = "hr"


@dataclass(frozen=True)
class EvalResult:
    """Scores of one model on all sets."""

    model: str
    scale: int
    sets: tuple[SetResult, ...]

    @property
    def scores(self) -> Mapping[str, float]:
        """Means by short name: "set5/psnr" and "set5/ssim" under the first protocol, "set5/psnr-rgb-uint8-border4" under
        the others."""
        values: dict[str, float] = {}
        for one in self.sets:
            for number, score in enumerate(one.scores):
                kind = score.protocol.partition("-")[0]
                values[f"{one.name}/{kind if number < 2 else score.protocol}"] = score.value
        return MappingProxyType(values)

    def table(self, per_image: bool = False) -> str:
        """The scores as text; with `per_image` a line for every image as well."""
        return table([self], per_image)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: `from_dict` restores the result."""
        sets = [
            {
                "name": one.name,
                "degradation": one.degradation,
                "digest": one.digest,
                "images": list(one.images),
                "reference": one.reference,
                "measured": [
                    {"protocol": score.protocol, "value": score.value, "values": list(score.values)}
                    for score in one.scores
                ],
            }
            for one in self.sets
        ]
        return {"model": self.model, "scale": self.scale, "scores": dict(self.scores), "sets": sets}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EvalResult:
        """The inverse of `to_dict`."""
        sets = tuple(
            SetResult(
                one["name"],
                one["degradation"],
                one["digest"],
                tuple(one["images"]),
                tuple(Score(score["value"], score["protocol"], tuple(score["values"])) for score in one["measured"]),
                one["reference"],
            )
            for one in values["sets"]
        )
        return cls(values["model"], values["scale"], sets)

    def to_json(self) -> str:
        """`to_dict` as JSON text. Equal images have infinite PSNR, which JSON can only say as a number out of range."""
        return json.dumps(self.to_dict(), indent=2).replace("Infinity", "1e999") + "\n"


def table(results: Sequence[EvalResult], per_image: bool = False) -> str:
    """Scores of several models as text with aligned columns, grouped by set and protocol."""
    rows = [("set", "images", "degradation", "model", "PSNR dB", "SSIM", "protocol")]
    names = list(dict.fromkeys(one.name for result in results for one in result.sets))
    for name in names:
        found = [(result.model, one) for result in results for one in result.sets if one.name == name]
        for number in range(max(len(one.scores) for _, one in found) // 2):
            for model, one in found:
                first, second = one.scores[2 * number : 2 * number + 2]
                protocol = f"{first.protocol.partition('-')[2]} against {one.reference}"
                for position, image in enumerate(one.images) if per_image else ():
                    values = f"{first.values[position]:.2f}", f"{second.values[position]:.4f}"
                    rows.append((one.name, image, one.degradation, model, *values, protocol))
                values = f"{first.value:.2f}", f"{second.value:.4f}"
                rows.append((one.name, str(len(one.images)), one.degradation, model, *values, protocol))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() + "\n" for row in rows)


# ---- measuring


def evaluate(
    net: nn.Module | Baseline,
    sets: Sequence[EvalSet],
    config: EvaluateConfig,
    folder: Path | None = None,
    step: int | None = None,
    label: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    must_be_finite: bool = False,
    trained_scales: Sequence[int] = (),
) -> EvalResult:
    """Run a network over sets and measure.

    Args:
        net: with an integer attribute `scale`, RGB [1, 3, h, w] -> [1, 3, H, W], on any device; or a baseline. Runs in
            evaluation mode and gets its mode back.
        sets: from `open_sets`.
        config: the table `[evaluate]`: protocols, tiles, how many images to save.
        folder: where results of the first `config.save_images` images of every set go (SET/NAME.png, written over by the
            next evaluation) and one before-and-after sheet per set and evaluation (SET-STEP.png).
        step: number in the name of the sheet.
        label: what the result calls the model; default: the baseline's name, or "model".
        progress: called with (images done, images in all).
        must_be_finite: whether a result with NaN or infinity is an error; else its scores are NaN.
        trained_scales: of an MZSR that sets adapt to their images: several have published rates of their own.
    Raises:
        ConfigError: a network of another scale, or a baseline that a set or protocol does not have.
        DataError: an image that cannot be decoded.
    """
    label = label or (net if isinstance(net, str) else "model")
    total = sum(len(one.hr.images) for one in sets)
    done = 0
    results = []
    training = [module for module in net.modules() if module.training] if isinstance(net, nn.Module) else []
    try:
        if isinstance(net, nn.Module):
            net.eval()
        for eval_set in sets:
            protocols = [protocol_of(name, eval_set.scale, eval_set.channels) for name in config.protocols]
            own = _for_task(net, eval_set.config.task)
            _check(own, eval_set, protocols)
            measured: list[list[Score]] = []
            rows: list[SheetRow] = []
            for position, pair in enumerate(eval_set.pairs()):
                if own == "bicubic-y-double":
                    measured.append([s for p in protocols for s in bicubic_scores(pair.hr, eval_set.scale, protocol=p)])
                else:
                    adapts = bool(eval_set.config.adapt_steps) and isinstance(own, nn.Module)
                    image = (
                        _adapted(own, pair, eval_set, position, trained_scales)
                        if adapts
                        else _enlarged(own, pair, config)
                    )
                    if must_be_finite and not torch.isfinite(image).all():
                        raise NotFiniteError(
                            f"{label}: the result for {eval_set.name}/{pair.name} is not finite (NaN or infinity)"
                        )
                    measured.append(_measured(image, pair, protocols))
                    if folder is not None and len(rows) < config.save_images:
                        pixels = _as_pixels(image)
                        write_image(folder / eval_set.name / f"{_file_stem(pair.name)}.png", pixels)
                        rows.append(_strip(pair, pixels, eval_set.scale, label))
                done += 1
                if progress:
                    progress(done, total)
            if rows and folder is not None:
                suffix = "" if step is None else f"-{step:08d}"
                heading = f"{eval_set.name}, {eval_set.degradation}" + ("" if step is None else f", step {step}")
                write_image(
                    folder / f"{eval_set.name}{suffix}.png", render_sheet(rows, heading, 2 * STRIP_PX, 2 * STRIP_PX)
                )
            results.append(
                SetResult(
                    eval_set.name,
                    eval_set.degradation,
                    eval_set.hr.digest,
                    tuple(image.name for image in eval_set.hr.images),
                    tuple(_joined([scores[number] for scores in measured]) for number in range(2 * len(protocols))),
                    eval_set.reference,
                )
            )
    finally:
        for module in training:
            module.training = True
    return EvalResult(label, sets[0].scale if sets else 0, tuple(results))


def _for_task(net: nn.Module | Baseline, task: str) -> nn.Module | Baseline:
    """The network as one of the task that a set is about."""
    if not task or not isinstance(net, nn.Module):
        return net
    one_task: Callable[[str], nn.Module] | None = getattr(net, "one_task", None)
    if one_task is None:
        raise ConfigError(
            f"evaluate: a set of task {task!r} must meet a network of several tasks, got {type(net).__name__}"
        )
    return one_task(task)


def _check(net: nn.Module | Baseline, eval_set: EvalSet, protocols: Sequence[Protocol]) -> None:
    """The network or baseline suits the set."""
    if isinstance(net, nn.Module):
        if channels_of(net) != eval_set.channels:
            raise ConfigError(
                f"evaluate: net must take the {eval_set.channels} channels of the sets, got {channels_of(net)}"
            )
        scale = getattr(net, "scale", None)
        if scale != eval_set.scale:
            raise ConfigError(f"evaluate: net must have the scale x{eval_set.scale} of the sets, got {scale!r}")
    elif net == "bicubic-y-double":
        if eval_set.tasks is not None or eval_set.lr is not None:
            made = f"{eval_set.name} with {eval_set.degradation}"
            raise ConfigError(f"evaluate: bicubic-y-double is for sets of MATLAB bicubic, got {made}; use bicubic")
        wrong = [protocol for protocol in protocols if protocol.channel != "y"]
        if wrong:
            raise ConfigError(f"evaluate: bicubic-y-double has luma only, got protocol {wrong[0]}; use bicubic")
    elif net != "bicubic":
        raise ConfigError(f"evaluate: model must be a network, 'bicubic' or 'bicubic-y-double', got {net!r}")


def _enlarged(net: nn.Module | str, pair: EvalPair, config: EvaluateConfig) -> Tensor:
    """The network's colours for one image, float32 [3, H, W] or, for gray HR, the mean of its channels [1, H, W]."""
    scale = pair.hr.shape[0] // pair.lr.shape[0]
    if isinstance(net, nn.Module):
        tile_px = config.tile_px if 0 < config.tile_px < max(pair.lr.shape[:2]) else None
        image = upscale(net, to_float(pair.lr)[None], tile_px, config.overlap_px)[0]
    else:
        image = to_float(np.asarray(imresize(pair.lr, scale)))
    image = image[:3]
    return image if pair.hr.ndim == 3 else image.mean(0, keepdim=True)


def _adapted(net: Any, pair: EvalPair, eval_set: EvalSet, position: int, trained_scales: Sequence[int]) -> Tensor:
    """The output for one image after the network was fitted to it; see `_enlarged`."""
    config = eval_set.config
    kernel, down = (None, "bicubic") if eval_set.tasks is None else kernel_of(eval_set.tasks, position)
    image = to_float(pair.lr)[None].to(next(net.parameters()).device)
    (found,) = adapt(
        net, image, kernel, (config.adapt_steps,), down,
        rate=config.adapt_rate or None, multi_scale=len(trained_scales) > 1,
    )  # fmt: skip
    out = found.image[0].cpu()
    return out if pair.hr.ndim == 3 else out.mean(0, keepdim=True)


def _measured(image: Tensor, pair: EvalPair, protocols: Sequence[Protocol]) -> list[Score]:
    """PSNR and SSIM under each protocol."""
    if not torch.isfinite(image).all():
        names = [f"{kind}-{protocol}" for protocol in protocols for kind in ("psnr", "ssim")]
        return [Score(math.nan, name, (math.nan,)) for name in names]
    hr = torch.from_numpy(pair.hr[None] if pair.hr.ndim == 2 else np.ascontiguousarray(pair.hr.transpose(2, 0, 1)))
    return [measure(image, hr, protocol) for protocol in protocols for measure in (psnr, ssim)]


def _joined(scores: Sequence[Score]) -> Score:
    """All images' scores of one protocol."""
    values = tuple(value for score in scores for value in score.values)
    return Score(float(np.mean(values)), scores[0].protocol, values)


# ---- pictures


def _as_pixels(image: Tensor) -> Pixels:
    """uint8 [H, W, 3] of a network's output; what is not finite becomes black."""
    return to_uint8(torch.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0).expand(3, -1, -1))


def _file_stem(name: str) -> str:
    """A file name for an image's result, from a name that may hold folders."""
    return str(Path(name).with_suffix("")).replace("/", "_").replace("\\", "_")


def _strip(pair: EvalPair, result: Pixels, scale: int, label: str) -> SheetRow:
    """Bicubic, the network and HR side by side, where bicubic is farthest from HR."""
    hr = pair.hr if pair.hr.ndim == 3 else np.repeat(pair.hr[..., None], 3, axis=2)
    bicubic = np.asarray(imresize(pair.lr, scale))[..., :3]
    bicubic = bicubic if bicubic.shape[2] == 3 else np.repeat(bicubic, 3, axis=2)
    top, left = _worst_square(bicubic, hr)
    window = slice(top, top + STRIP_PX), slice(left, left + STRIP_PX)
    protocol = Protocol("y", border=scale)
    titled = ((bicubic, "bicubic"), (result, label))
    cells = [Cell(pixels[window], f"{name}, {psnr(pixels, hr, protocol).value:.2f} dB") for pixels, name in titled]
    return SheetRow(pair.name, (*cells, Cell(hr[window], "HR")))


def _worst_square(image: Pixels, reference: Pixels) -> tuple[int, int]:
    """Top and left of the square of STRIP_PX with the largest sum of differences."""
    difference: NDArray[Any] = np.abs(image.astype(np.int64) - reference).sum(axis=2)
    sums = np.pad(difference.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    height, width = (min(STRIP_PX, side) for side in difference.shape)
    squares = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(np.argmax(squares)), squares.shape)
    return int(top), int(left)

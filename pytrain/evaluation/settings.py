"""What a configuration says about evaluation: sets of images, protocols, tiles; and which protocol a name means."""

from __future__ import annotations

from typing import Literal

from pydegrade.images.metrics import Precision, Protocol

from ..data.source import MOST_CROP_PX
from ..errors import ConfigError
from ..options import Texts, option, options, require, require_name
from ..settings import MOST_SEEDS, MOST_STEPS

Reference = Literal["hr", "target"]
"""What LR is made from and results are compared with: the plain image, or the space's training target."""

Baseline = Literal["bicubic", "bicubic-y-double"]
"""What a network is compared with. "bicubic" enlarges the set's 8-bit LR by MATLAB's bicubic, rounded to 8 bits: what
files give. "bicubic-y-double" is the first row of the literature's tables: luma alone, made smaller and larger in
double; only for sets whose LR is MATLAB's bicubic."""

MOST_ADAPT_STEPS = 10_000
"""Gradient steps per image and evaluation."""


@options("evaluate.sets")
class EvalSetConfig:
    """One set of images to measure on."""

    name: str = option("photographs", "what tables and scores call it", most=200)
    hr: Texts = option((), "folders, files or .lmdb of clean images; empty: photographs of scikit-image", path=True)
    lr: str = option("", "folder or .lmdb of low-resolution partners; empty: made from hr", path=True)
    space: str = option(
        "", "degradation preset or TOML file that makes lr; empty: MATLAB's bicubic on 8 bits", path="toml"
    )
    images: Texts = option((), "only these images, by name; empty: all")
    exclude: Texts = option((), "all but these images, by name")
    reference: Reference = option(
        "hr",
        "what lr is made from and compared with: hr, or target, the sharpened image of spaces that train on one; where lr "
        "is read, what the images of hr are",
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
        require_name(self.name, "evaluate.sets.name")
        if self.lr and self.adapt_steps:
            raise ConfigError(f"evaluate.sets.adapt_steps must be 0 where lr is read, got {self.adapt_steps}")
        if self.lr and self.space:
            raise ConfigError(f"evaluate.sets.space must be empty where lr names a folder, got {self.space!r}")
        if self.lr and len(self.hr) != 1:
            raise ConfigError(f"evaluate.sets.hr must be one folder or .lmdb where lr is given, got {list(self.hr)}")
        if self.reference == "target" and not (self.space or self.lr):
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
    perceptual: Texts = option(
        (),
        "metrics of pyiqa beside PSNR and SSIM, on RGB rounded to 8 bits: lpips, dists, niqe, musiq; lpips=FILE takes its "
        "weights from a file",
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

"""What a configuration can name: methods here, networks in `pytrain.nets.NETS`. Explicit tables, no import magic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .methods.contract import Method, Setup
from .methods.psnr import Psnr, PsnrConfig
from .methods.realesrgan import RealESRGAN, RealESRGANConfig, RealESRNet, RealESRNetConfig
from .nets import NETS

__all__ = ["METHODS", "NETS", "MethodEntry"]


@dataclass(frozen=True)
class MethodEntry:
    """One training method.

    Attributes:
        config: frozen dataclass of the table `[method]`; every field has a default.
        build: (config, setup) -> the method.
        summary: one line for people.
        paper: where it was published.
    """

    config: type[Any]
    build: Callable[[Any, Setup], Method]
    summary: str
    paper: str


METHODS: dict[str, MethodEntry] = {
    "psnr": MethodEntry(
        PsnrConfig,
        Psnr,
        "pixel loss on pairs from disk or degraded on the fly",
        "the classical setting, e.g. EDSR 2017",
    ),
    "realesrnet": MethodEntry(
        RealESRNetConfig, RealESRNet, "pixel loss against sharpened HR on second-order degradations", "Wang et al. 2021"
    ),
    "realesrgan": MethodEntry(
        RealESRGANConfig,
        RealESRGAN,
        "L1 + perceptual + GAN loss with a U-Net discriminator on second-order degradations",
        "Wang et al. 2021",
    ),
}

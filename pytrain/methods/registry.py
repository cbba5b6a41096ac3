"""What a configuration can name: methods here, networks in `pytrain.nets.NETS`. Explicit tables, no import magic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..nets import NETS
from .contract import Method, Setup
from .dasr import DasrMethod, DasrOptions
from .eco import EcoMethod, EcoOptions
from .ipt import IptMethod, IptOptions
from .mzsr import MzsrMethod, MzsrOptions
from .psnr import PsnrMethod, PsnrOptions
from .realesrgan import RealesrganMethod, RealesrganOptions, RealesrnetMethod, RealesrnetOptions
from .tgsr import TgsrMethod, TgsrOptions

__all__ = ["METHODS", "NETS", "MethodEntry"]


@dataclass(frozen=True)
class MethodEntry:
    """One training method.

    Attributes:
        config: frozen dataclass of the table `[method]`; every field has a default.
        build: (config, setup) -> the method.
        summary: one line for people.
        paper: where it was published.
        suggested: values of other sections that `pytrain init` writes for it, by key: {"optimizer.learning_rate": 1e-4}.
    """

    config: type[Any]
    build: Callable[[Any, Setup], Method]
    summary: str
    paper: str
    suggested: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


_REALESRNET = {
    "net.type": "rrdbnet",
    "run.steps": 1_000_000,
    "data.crop_px": 256,
    "data.batch": 48,
    "data.augment": "hflip",
    "optimizer.learning_rate": 2e-4,
}
"""From the released options train_realesrnet_x4plus.yml: 12 images on each of 4 GPUs."""

_ECO = {
    "net.type": "edsr",
    "run.steps": 125_000,
    "method.loss_scale": 255.0,
    "data.batch": 128,
    "optimizer.type": "lamb",
    "optimizer.learning_rate": 3.2e-3,
    "optimizer.eps": 1e-6,
    "optimizer.bias_correction": False,
    "optimizer.max_weight_norm": 10.0,
    "optimizer.clip_value": 0.1,
    "schedule.type": "cosine",
    "train.ema_decay": 0.0,
    "train.skip_above": 5.0,
}
"""From the released options for EDSR; see configs/eco_edsr_x2.toml."""

METHODS: dict[str, MethodEntry] = {
    "psnr": MethodEntry(
        PsnrOptions,
        PsnrMethod,
        "pixel loss on pairs from disk or degraded on the fly",
        "the classical setting, e.g. EDSR 2017",
    ),
    "realesrnet": MethodEntry(
        RealesrnetOptions,
        RealesrnetMethod,
        "pixel loss against sharpened HR on second-order degradations",
        "Wang et al. 2021",
        _REALESRNET,
    ),
    "realesrgan": MethodEntry(
        RealesrganOptions,
        RealesrganMethod,
        "L1 + perceptual + GAN loss with a U-Net discriminator on second-order degradations",
        "Wang et al. 2021",
        {**_REALESRNET, "run.steps": 400_000, "optimizer.learning_rate": 1e-4},
    ),
    "dasr": MethodEntry(
        DasrOptions,
        DasrMethod,
        "a network of mixed experts that adapts to the degradation it predicts",
        "DASR, ECCV 2022, arXiv:2203.14216",
        {**_REALESRNET, "net.type": "dasr", "run.steps": 500_000, "data.batch": 24, "optimizer.learning_rate": 1e-4},
    ),
    "eco": MethodEntry(
        EcoOptions,
        EcoMethod,
        "noise-free pairs of a frozen teacher first, real pairs last",
        "ECO, AAAI 2024, arXiv:2312.17526",
        _ECO,
    ),
    "tgsr": MethodEntry(
        TgsrOptions,
        TgsrMethod,
        "realesrnet or realesrgan on groups of tasks that the network does not master (`pytrain group` finds them)",
        "TGSR 2023",
        {**_REALESRNET, "net.type": "srresnet", "run.steps": 400_000, "optimizer.learning_rate": 1e-4},
    ),
    "mzsr": MethodEntry(
        MzsrOptions,
        MzsrMethod,
        "a start from which a few gradient steps fit a network to one image and its kernel (`pytrain adapt`)",
        "MZSR, CVPR 2020, arXiv:2002.12213",
        {
            "net.type": "mzsr",
            "run.steps": 100_000,
            "data.crop_px": 64,
            "data.batch": 80,
            "optimizer.learning_rate": 1e-4,
            "optimizer.betas": [0.9, 0.999],
            "train.ema_decay": 0.0,
        },
    ),
    "ipt": MethodEntry(
        IptOptions,
        IptMethod,
        "a transformer that learns many restoration tasks at once, then is fine-tuned on one",
        "IPT, CVPR 2021, arXiv:2012.00364",
        {
            "net.type": "ipt",
            "net.tasks": ["sr-x2", "sr-x3", "sr-x4", "denoise-30", "denoise-50", "derain"],
            "net.scales": [2, 3, 4, 1, 1, 1],
            "data.crop_px": 192,
            "data.batch": 256,
            "optimizer.learning_rate": 5e-5,
            "optimizer.betas": [0.9, 0.999],
            "train.ema_decay": 0.0,
        },
    ),
}

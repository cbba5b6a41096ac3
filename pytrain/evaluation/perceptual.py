"""Perceptual metrics of the package pyiqa: LPIPS, DISTS, NIQE, MUSIQ and the others it knows.

They are computed on RGB rounded to 8 bits, over the whole image, as files are compared; the protocol's name says so and
which pyiqa computed them. Weights come from pyiqa's own cache, where it downloads them, or from a file that is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, nearest, needs, one_line

WHERE = "evaluate.perceptual"


@dataclass(frozen=True)
class Metric:
    """One metric, opened.

    Attributes:
        name: as pyiqa calls it.
        lower_is_better: whether a smaller value is the better image.
        protocol: "lpips-rgb-uint8-border0-pyiqa0.1.16".
        measure: (image [1, 3, H, W], reference [1, 3, H, W]), both in [0, 1] -> value; metrics without a reference leave
            the second one alone.
    """

    name: str
    lower_is_better: bool
    protocol: str
    measure: Callable[[Tensor, Tensor], float]


def metric_name(text: str) -> str:
    """The metric of an entry of `evaluate.perceptual`, "lpips" or "lpips=weights.pth"."""
    return text.partition("=")[0]


def check_metrics(texts: Sequence[str]) -> None:
    """Refuse what cannot be measured, before anything is.

    Raises:
        ConfigError: pyiqa is missing or cannot be imported, a metric is unknown or named twice.
    """
    names = [metric_name(text) for text in texts]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{WHERE}: must name a metric once, got {name!r} twice")
        known = _pyiqa(name).list_models()
        if name not in known:
            shown = [one for one in known if one in ("lpips", "dists", "niqe", "musiq", "ms_ssim")]
            hint = nearest(name, known)
            hint = hint if "did you mean" in hint else f"; among them {', '.join(shown)}"
            raise ConfigError(f"{WHERE}: must be metrics of pyiqa, got {name!r}{hint}")


def open_metrics(texts: Sequence[str], device: torch.device) -> tuple[Metric, ...]:
    """The metrics of `evaluate.perceptual` on a device; each is opened once per process.

    Raises:
        ConfigError: as `check_metrics`, or weights that cannot be had.
    """
    check_metrics(texts)
    return tuple(_opened(text, str(device)) for text in texts)


@cache
def _opened(text: str, device: str) -> Metric:
    name, _, path = text.partition("=")
    pyiqa = _pyiqa(name)
    try:
        found = pyiqa.create_metric(
            name, device=torch.device(device), **({"pretrained_model_path": path} if path else {})
        )
    except Exception as error:
        # Its own download, or a file of another metric: whatever it raises is about the weights.
        raise ConfigError(
            f"{WHERE}: {name}: pyiqa could not open it, are its weights at hand? {one_line(error, 200)}"
        ) from None

    @torch.no_grad()
    def measure(image: Tensor, reference: Tensor) -> float:
        given = [_rounded(image.to(device)), _rounded(reference.to(device))]
        with torch.autocast(torch.device(device).type, enabled=False):
            return float(found(*given[: 2 if found.metric_mode == "FR" else 1]))

    protocol = f"{name}-rgb-uint8-border0-pyiqa{pyiqa.__version__}"
    return Metric(name, bool(found.lower_better), protocol, measure)


def _rounded(image: Tensor) -> Tensor:
    """To 8 bits, as a file holds it."""
    return image.float().clamp(0, 1).mul(255).round().div(255)


def measured(metric: Metric, image: Tensor, reference: Tensor) -> float:
    """One value; NaN where the image is not finite.

    Raises:
        ConfigError: the metric cannot take images of this size.
    """
    if not torch.isfinite(image).all():
        return math.nan
    try:
        return metric.measure(image, reference)
    except (AssertionError, RuntimeError, ValueError) as error:
        size = "x".join(map(str, image.shape[-2:]))
        raise ConfigError(
            f"{WHERE}: {metric.name} cannot measure an image of {size} px: {one_line(error, 200)}"
        ) from None


def _pyiqa(name: str) -> Any:
    try:
        import pyiqa
    except ImportError as error:
        if getattr(error, "name", "") != "pyiqa":
            raise ConfigError(f"{WHERE}: pyiqa cannot be imported: {one_line(error, 200)}") from None
        raise ConfigError(needs(f"{WHERE}: {name}", "pyiqa", "perceptual")) from None
    except Exception as error:
        raise ConfigError(f"{WHERE}: pyiqa cannot be imported: {one_line(error, 200)}") from None
    return pyiqa

"""Measuring a network: PSNR and SSIM on sets, each number with the protocol it was measured under."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pydegrade import imresize
from pydegrade.files import to_float, write_image
from pydegrade.images.metrics import Protocol, Score, bicubic_scores, psnr, ssim
from pydegrade.sheet import SheetRow, render_sheet

from ..errors import ConfigError
from ..nets import channels_of
from .adapt import adapt, kernel_of
from .infer import NotFiniteError, upscale
from .perceptual import Metric, open_metrics
from .perceptual import measured as perceived
from .results import EvalResult, SetResult
from .sets import EvalPair, EvalSet
from .settings import Baseline, EvaluateConfig, protocol_of
from .strips import STRIP_PX, as_pixels, file_names, strip, three_channels


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
    metrics = open_metrics(config.perceptual, _device_of(net))
    try:
        if isinstance(net, nn.Module):
            net.eval()
        for eval_set in sets:
            protocols = [protocol_of(name, eval_set.scale, eval_set.channels) for name in config.protocols]
            own = _for_task(net, eval_set.config.task)
            _check(own, eval_set, protocols, metrics)
            measured: list[list[Score]] = []
            perceptual: list[list[Score]] = []
            rows: list[SheetRow] = []
            names = file_names([image.name for image in eval_set.hr.images])
            for position, pair in enumerate(eval_set.pairs()):
                if own == "bicubic-y-double":
                    measured.append([s for p in protocols for s in bicubic_scores(pair.hr, eval_set.scale, protocol=p)])
                else:
                    adapts = bool(eval_set.config.adapt_steps) and isinstance(own, nn.Module)
                    image = (
                        _adapted(own, pair, eval_set, position, trained_scales)
                        if adapts
                        else enlarged(own, pair, config)
                    )
                    if must_be_finite and not torch.isfinite(image).all():
                        raise NotFiniteError(
                            f"{label}: the result for {eval_set.name}/{pair.name} is not finite (NaN or infinity)"
                        )
                    measured.append(_measured(image, pair, protocols))
                    perceptual.append(_perceived(image, pair, metrics))
                    if folder is not None and len(rows) < config.save_images:
                        pixels = as_pixels(image)
                        write_image(folder / eval_set.name / f"{names[position]}.png", pixels)
                        rows.append(strip(pair, pixels, eval_set.scale, label))
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
                    tuple(_joined([scores[number] for scores in perceptual]) for number in range(len(metrics))),
                    tuple(metric.name for metric in metrics if metric.lower_is_better),
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


def _device_of(net: nn.Module | str) -> torch.device:
    weights = next(net.parameters(), None) if isinstance(net, nn.Module) else None
    return torch.device("cpu") if weights is None else weights.device


def _check(
    net: nn.Module | Baseline, eval_set: EvalSet, protocols: Sequence[Protocol], metrics: Sequence[Metric] = ()
) -> None:
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
        if metrics:
            raise ConfigError(f"evaluate: bicubic-y-double has luma only, got metric {metrics[0].name}; use bicubic")
    elif net != "bicubic":
        raise ConfigError(f"evaluate: model must be a network, 'bicubic' or 'bicubic-y-double', got {net!r}")


def enlarged(net: nn.Module | str, pair: EvalPair, config: EvaluateConfig) -> Tensor:
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
    """The output for one image after the network was fitted to it; see `enlarged`."""
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


def _perceived(image: Tensor, pair: EvalPair, metrics: Sequence[Metric]) -> list[Score]:
    """Each metric of pyiqa; images of a single channel as gray RGB."""
    hr = torch.from_numpy(np.ascontiguousarray(three_channels(pair.hr).transpose(2, 0, 1)))[None].float() / 255
    found = [perceived(metric, image[None].expand(-1, 3, -1, -1), hr) for metric in metrics]
    return [Score(value, metric.protocol, (value,)) for value, metric in zip(found, metrics)]


def _joined(scores: Sequence[Score]) -> Score:
    """All images' scores of one protocol."""
    values = tuple(value for score in scores for value in score.values)
    return Score(float(np.mean(values)), scores[0].protocol, values)

"""Adapting a network to one image at test time: MZSR's few gradient steps, ZSSR's many.

The image is made smaller by its own kernel; that pair (son, image) is what the network learns from before it enlarges the
image itself. Nothing but the image and the kernel is needed.

Shapes: image_BCHW [1, 3, H, W] in [0, 1], any sides; results [1, 3, sH, sW].
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pydegrade import Subsampling, TaskBatch, blur_down, imresize, kernels

from .. import nets
from ..errors import ConfigError
from ..nets.mzsr import MZSR, enlarge
from .infer import upscale

TILE_PX = 512
"""Images with a longer side are computed in tiles; gradient and result are the same but for the order of sums."""

ZSSR_CROP_PX = 128
ZSSR_RATE = 1e-3
ZSSR_LAST_RATE = 1e-4
ZSSR_LAST_SHARE = 0.4
"""ZSSR's code lowers its rate when the error stops falling. Here the last 40 % of the steps have the tenth: a plain rule
that ends every run calmly, and an assumption of ours."""


@dataclass(frozen=True)
class Adapted:
    """The network after some steps.

    Attributes:
        steps: gradient steps so far.
        image: float32 [1, 3, sH, sW], clipped to [0, 1].
        loss: mean absolute error of the last step, before it was taken; None for 0 steps.
    """

    steps: int
    image: Tensor
    loss: float | None


def learning_rate(scale: int, down: Subsampling, step: int, multi_scale: bool = False) -> float:
    """Learning rate of the release's SGD at the 0-based step.

    Scales 2 and 4 have rates of their own, and so has a model that was trained on several scales, whichever it is used at.
    Scale 3, which the release does not have alone, gets those of several; with bicubic subsampling, which it does not have
    for several, they are ours.
    Source: Soh et al. 2020, arXiv:2002.12213, released test.py.
    """
    if multi_scale or scale == 3:
        return 1e-2 if step < 3 else 5e-3
    if scale == 4:
        return 1e-2 if step == 0 else 5e-3 if step < 5 else 1e-3
    if down == "bicubic":
        return 1e-2 if step < 3 else 1e-3
    return 2e-2 if step == 0 else 1e-2 if step < 4 else 5e-3


def make_son(
    image: Tensor,
    kernel: NDArray[np.float64] | None,
    scale: int,
    down: Subsampling,
    sigma_8bit: float = 0.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """The pair that an image teaches: itself, and itself made smaller by the kernel.

    Args:
        image: [1, 3, H, W] float in [0, 1].
        kernel: [k, k] with k odd and sum 1; None is MATLAB's antialiased bicubic alone.
        scale: whole number >= 2.
        down: how pixels are kept after the kernel.
        sigma_8bit: standard deviation of Gaussian noise that the son gets, that of the image, in 8-bit steps.
        seed: of the noise.
    Returns:
        (son [1, 3, h, w], father [1, 3, h scale, w scale]) float32, the son clipped. The father is the image without the
        rows and columns at the bottom and the right that are too few for a pixel of the son.
    Raises:
        ConfigError: an image smaller than the kernel, or than 2 px of the son.
        pydegrade.KernelError: an even or unnormalised kernel.
    """
    height, width = image.shape[-2:]
    least = max(2 * scale, 0 if kernel is None else len(kernel))
    if min(height, width) < least:
        why = "two pixels of its son" if kernel is None or len(kernel) < least else "the kernel"
        raise ConfigError(f"adapt: image must be at least {least}x{least} px, {why}, got {height}x{width}")
    father = image[..., : height // scale * scale, : width // scale * scale].float()
    pixels = father[0].permute(1, 2, 0).cpu().double().numpy()
    son = imresize(pixels, 1 / scale) if kernel is None else blur_down(pixels, kernel, scale, down)
    if sigma_8bit:
        noise = torch.randn(son.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        son = son + sigma_8bit / 255 * noise.numpy()
    small = torch.from_numpy(np.clip(son, 0, 1)).permute(2, 0, 1)[None].float()
    return small.to(image.device).contiguous(), father.contiguous()


def back_projected(
    enlarged: Tensor,
    image: Tensor,
    kernel: NDArray[np.float64] | None,
    scale: int,
    down: Subsampling = "direct",
    iterations: int = 8,
) -> Tensor:
    """The result, corrected so that it becomes the image when it is made smaller again.

    Each iteration adds what the image has more than the result made smaller, enlarged by MATLAB's bicubic.

    Args:
        enlarged: [1, 3, sH, sW] float in [0, 1].
        image: [1, 3, H, W], what it was made from.
        kernel, scale, down: see `make_son`.
        iterations: how often.
    Returns:
        [1, 3, sH, sW] float32, clipped to [0, 1].
    Source: Irani and Peleg 1991, "Improving resolution by image registration"; as in ZSSR, arXiv:1712.06087, section 3.2.
    """
    wanted, found = (one[0].permute(1, 2, 0).cpu().double().numpy() for one in (image, enlarged))
    for _ in range(iterations):
        small = imresize(found, 1 / scale) if kernel is None else blur_down(found, kernel, scale, down)
        found = found + imresize(wanted - small, scale)
    return torch.from_numpy(np.clip(found, 0, 1)).permute(2, 0, 1)[None].float().to(enlarged.device)


def kernel_of(tasks: TaskBatch, row: int) -> tuple[NDArray[np.float64] | None, Subsampling]:
    """The kernel that made an image, and how pixels were kept after it, from the image's task.

    Args:
        tasks: of a space of one blur and one downscaling, as mzsr-*, or of a downscaling alone, as bicubic-*.
        row: of the task.
    Raises:
        ConfigError: another space.
    """
    space = tasks.space
    slots = {op: [slot.name for slot in space.slots if slot.op == op] for op in ("blur", "resize")}
    others = [slot.name for slot in space.slots if slot.op not in slots]
    if others or len(slots["blur"]) > 1 or len(slots["resize"]) != 1:
        names = ", ".join(slot.name for slot in space.slots)
        raise ConfigError(f"adapt: space {space.name} must be one blur and one resize, it has {names}")
    (resize,) = slots["resize"]
    down: Subsampling = "direct" if tasks.labels(f"{resize}.mode")[row] == "decimate" else "bicubic"
    if not slots["blur"]:
        if down == "direct":
            return np.ones((1, 1)), down
        return None, down
    return kernels.of_tasks(tasks.take(np.array([row])), slots["blur"][0])[0], down


def adapt(
    net: nn.Module,
    image: Tensor,
    kernel: NDArray[np.float64] | None,
    steps: Sequence[int],
    down: Subsampling = "direct",
    tile_px: int = TILE_PX,
    rate: float | None = None,
    multi_scale: bool = False,
    falling: bool = False,
    sigma_8bit: float = 0.0,
) -> Iterator[Adapted]:
    """MZSR's meta-test: full-image gradient descent on (son, image), then the image enlarged.

    Args:
        net: an `MZSR`, whose `scale` is the factor; it is copied, not changed.
        image: [1, 3, H, W] float in [0, 1] on the net's device.
        kernel, down: see `make_son`.
        steps: after how many steps a result is wanted, rising; 0 is the network as it is.
        tile_px: side of the parts that are computed at a time.
        rate: learning rate of every step; None: the published ones of `learning_rate`.
        multi_scale: whether the network was trained on several scales, which has published rates of its own.
        falling: whether `rate` is that of the first step alone and falls by the ratios of the published ones.
        sigma_8bit: noise of the image, see `make_son`.
    Raises:
        ConfigError: another network, shape, or list of steps, or an image smaller than the kernel.
        pydegrade.KernelError: an even or unnormalised kernel.
    Source: Soh et al. 2020, arXiv:2002.12213, section 4.4 and released test.py.
    """
    _check("adapt", image, steps)
    if not isinstance(net, MZSR):
        raise ConfigError(f"adapt: net must be an MZSR, got {type(net).__name__}")
    son, father = make_son(image, kernel, net.scale, down, sigma_8bit)
    moved = copy.deepcopy(net).requires_grad_(True).eval()
    weights = list(moved.parameters())
    enlarged = enlarge(son, net.scale)
    loss: float | None = None
    for step in range(max(steps) + 1):
        if step in steps:
            yield Adapted(step, _enlarged(moved, image, tile_px), loss)
        if step == max(steps):
            return
        loss = _full_gradient(moved, enlarged, father, tile_px)
        kind: Subsampling = down if kernel is not None else "bicubic"
        published = learning_rate(net.scale, kind, step, multi_scale)
        first = learning_rate(net.scale, kind, 0, multi_scale)
        moves = published if rate is None else rate * published / first if falling else rate
        with torch.no_grad():
            for weight in weights:
                assert weight.grad is not None
                weight.sub_(weight.grad, alpha=moves)


def zssr(
    config: nets.MZSRConfig,
    image: Tensor,
    kernel: NDArray[np.float64] | None,
    steps: Sequence[int],
    down: Subsampling = "direct",
    seed: int = 0,
    tile_px: int = TILE_PX,
    sigma_8bit: float = 0.0,
) -> Iterator[Adapted]:
    """ZSSR: a fresh network learns the image's own pairs by Adam on random crops in the eight symmetries.

    The last layer starts at zero, so 0 steps are bicubic enlargement. The father is turned and mirrored before the kernel
    makes its son, so that every pair has the kernel as it is. Unlike the release, fathers are not made smaller at random.

    Args:
        config: of the network; `zero_last` is set.
        image, kernel, steps, down: see `adapt`.
        seed: of weights, crops and noise.
        sigma_8bit: noise of the image, see `make_son`; drawn once for each symmetry.
        tile_px: side of the parts in which results are computed.
    Raises:
        As `adapt`.
    Source: Shocher et al. 2018, arXiv:1712.06087.
    """
    _check("zssr", image, steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nets.build(replace(config, zero_last=True)).to(image.device)
    views = enumerate(symmetries(image))
    pairs = [make_son(view, kernel, config.scale, down, sigma_8bit, seed + number) for number, view in views]
    enlarged = [enlarge(son, config.scale) for son, _ in pairs]
    optimizer = torch.optim.Adam(net.parameters(), ZSSR_RATE)
    generator = torch.Generator().manual_seed(seed)
    calm_from = (1 - ZSSR_LAST_SHARE) * max(steps)
    loss: float | None = None
    for step in range(max(steps) + 1):
        if step in steps:
            yield Adapted(step, _enlarged(net, image, tile_px), loss)
        if step == max(steps):
            return
        number = int(torch.randint(8, (), generator=generator))
        father = pairs[number][1]
        spans = []
        for side_px in father.shape[-2:]:
            crop_px = min(ZSSR_CROP_PX, side_px)
            begin = int(torch.randint(side_px - crop_px + 1, (), generator=generator))
            spans.append(slice(begin, begin + crop_px))
        rows, columns = spans
        difference = net(enlarged[number][..., rows, columns], enlarged=True) - father[..., rows, columns]
        error = difference.abs().mean()
        optimizer.zero_grad()
        error.backward()
        for group in optimizer.param_groups:
            group["lr"] = ZSSR_RATE if step < calm_from else ZSSR_LAST_RATE
        optimizer.step()
        loss = float(error.detach())


def symmetries(image: Tensor) -> list[Tensor]:
    """The eight symmetries of the square: four quarter turns, each also mirrored."""
    turned = [torch.rot90(image, turns, (-2, -1)) for turns in range(4)]
    return [view.contiguous() for one in turned for view in (one, one.flip(-1))]


def _check(where: str, image: Tensor, steps: Sequence[int]) -> None:
    if image.ndim != 4 or image.shape[:2] != (1, 3) or not image.is_floating_point():
        raise ConfigError(f"{where}: image must be float [1, 3, H, W], got {image.dtype} {tuple(image.shape)}")
    if not steps or min(steps) < 0 or list(steps) != sorted(set(steps)):
        raise ConfigError(f"{where}: steps must be rising numbers >= 0, got {list(steps)}")


def _full_gradient(net: MZSR, enlarged: Tensor, father: Tensor, tile_px: int) -> float:
    """Set the gradient of the mean absolute error over the whole image; returns the error.

    Tiles overlap by the network's reach, one pixel per layer, and only their inner part counts: zeros that pad a tile
    within the image reach no pixel that does, and at the image's edge tile and image have the same padding.
    """
    net.zero_grad()
    reach_px = net.num_layers
    total = 0.0
    height, width = father.shape[-2:]
    for top in range(0, height, tile_px):
        for left in range(0, width, tile_px):
            bottom, right = min(top + tile_px, height), min(left + tile_px, width)
            out_top, out_left = max(0, top - reach_px), max(0, left - reach_px)
            part = enlarged[..., out_top : bottom + reach_px, out_left : right + reach_px]
            out = net(part, enlarged=True)
            own = out[..., top - out_top : bottom - out_top, left - out_left : right - out_left]
            error = (own - father[..., top:bottom, left:right]).abs().sum() / father.numel()
            error.backward()
            total += float(error.detach())
    return total


def _enlarged(net: nn.Module, image: Tensor, tile_px: int) -> Tensor:
    """The network's result for the image, clipped."""
    overlap_px = 32
    tiled = tile_px if max(image.shape[-2:]) > tile_px > overlap_px else None
    return upscale(net, image, tiled, overlap_px).clamp(0, 1)

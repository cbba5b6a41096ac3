"""Losses, as pure functions of tensors.

Shapes: sr, target [B, 3, H, W] float in [0, 1], where sr is a network's output; logits of any shape. Every loss is a
float32 scalar, a mean over all elements, also where the network ran in bfloat16.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ConfigError
from .nets.vgg import VGG19Features

GanKind = Literal["vanilla", "lsgan", "hinge"]
GAN_KINDS = ("vanilla", "lsgan", "hinge")

# Layers and weights of Real-ESRGAN (Wang et al. 2021, released training options).
PERCEPTUAL_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
)


def _same_shape(where: str, sr: Tensor, target: Tensor) -> None:
    if sr.shape != target.shape:
        # torch would broadcast, and the run would learn something else.
        raise ConfigError(f"{where}: sr must have target's shape {tuple(target.shape)}, got {tuple(sr.shape)}")


def l1(sr: Tensor, target: Tensor) -> Tensor:
    """Mean of |sr - target|."""
    _same_shape("l1", sr, target)
    return F.l1_loss(sr.float(), target.float())


def mse(sr: Tensor, target: Tensor) -> Tensor:
    """Mean of (sr - target)^2."""
    _same_shape("mse", sr, target)
    return F.mse_loss(sr.float(), target.float())


def charbonnier(sr: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt((sr - target)^2 + epsilon^2): L1 with a rounded corner of width `epsilon`, in units of [0, 1].

    Source: Lai et al. 2017, arXiv:1704.03915, eq. 3.
    """
    _same_shape("charbonnier", sr, target)
    if epsilon <= 0:
        raise ConfigError(f"charbonnier: epsilon must be above 0, got {epsilon}")
    return torch.sqrt((sr.float() - target.float()).square() + epsilon * epsilon).mean()


def perceptual(
    features: VGG19Features, sr: Tensor, target: Tensor, weights: Mapping[str, float] = PERCEPTUAL_WEIGHTS
) -> Tensor:
    """Weighted sum over layers of the mean |difference| of VGG19's features before their ReLU.

    Args:
        features: the network, built for at least the layers in `weights`; it normalises with ImageNet's statistics.
        sr: [B, 3, H, W] in [0, 1], sides of at least 16 px for conv5_4; gradients flow into it alone.
        target: the same shape.
        weights: weight per layer name.
    Raises:
        ConfigError: other shapes, or a layer that `features` was not built for.
    Source: Johnson et al. 2016, arXiv:1603.08155; before the ReLU: Wang et al. 2018, arXiv:1809.00219, section 3.3.
    """
    _same_shape("perceptual", sr, target)
    for layer in weights:
        if layer not in features.layers:
            raise ConfigError(f"perceptual: layer must be one of {', '.join(features.layers)}, got {layer!r}")
    with torch.no_grad():
        wanted = features(target)
    found = features(sr)
    # Summed by the network's order, so that equal weights in another order give the same bits.
    terms = [
        weights[layer] * F.l1_loss(found[layer].float(), wanted[layer].float())
        for layer in features.layers
        if layer in weights
    ]
    return torch.stack(terms).sum()


def gan_generator(fake_logits: Tensor, kind: GanKind = "vanilla") -> Tensor:
    """What a generator minimises: its images' logits shall look real.

    vanilla: mean log(1 + exp(-x)); lsgan: mean (x - 1)^2; hinge: mean -x.
    """
    x = fake_logits.float()
    if kind == "vanilla":
        return F.softplus(-x).mean()
    if kind == "lsgan":
        return (x - 1).square().mean()
    if kind == "hinge":
        return -x.mean()
    raise ConfigError(f"gan: kind must be one of {', '.join(GAN_KINDS)}, got {kind!r}")


def gan_real(real_logits: Tensor, kind: GanKind = "vanilla") -> Tensor:
    """What a discriminator minimises on real images. hinge: mean max(0, 1 - x); the others as `gan_generator`."""
    if kind == "hinge":
        return F.relu(1 - real_logits.float()).mean()
    return gan_generator(real_logits, kind)


def gan_fake(fake_logits: Tensor, kind: GanKind = "vanilla") -> Tensor:
    """What a discriminator minimises on generated images.

    vanilla: mean log(1 + exp(x)); lsgan: mean x^2; hinge: mean max(0, 1 + x).
    """
    x = fake_logits.float()
    if kind == "vanilla":
        return F.softplus(x).mean()
    if kind == "lsgan":
        return x.square().mean()
    if kind == "hinge":
        return F.relu(1 + x).mean()
    raise ConfigError(f"gan: kind must be one of {', '.join(GAN_KINDS)}, got {kind!r}")

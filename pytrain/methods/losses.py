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

from ..errors import ConfigError
from ..nets.vgg import VGG19Features

ContrastiveKind = Literal["paper", "released"]
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


def contrastive(tokens: Tensor, kind: ContrastiveKind = "paper", temperature: float | None = None) -> Tensor:
    """IPT's contrastive loss: tokens of one image shall be more alike than tokens of different images.

    With d the cosine of two tokens and t the temperature, f(i, j) token i of image j:

    paper: the mean over tokens i1, i2 and images j of -log(exp(d(f(i1, j), f(i2, j)) / t) / sum over images k other than
        j of exp(d(f(i1, j), f(i2, k)) / t)). The pair itself is not in the sum, so the loss may be negative.
    released: every token is an anchor, the other tokens of its image are its positives, and the sum runs over all tokens
        but the anchor (supervised contrastive learning).

    Args:
        tokens: [B, N, E], N tokens of each of B images; memory grows with (B N)^2, so large batches pass a part of them.
        kind: which of the two.
        temperature: None is 1 for "paper" and 0.07 for "released".
    Returns:
        A float32 scalar.
    Raises:
        ConfigError: another shape, fewer than two images (nothing to compare with), for "released" fewer than two tokens,
            an unknown kind or a temperature that is not above 0.
    Source: Chen et al. 2021, arXiv:2012.00364, eq. 4 and 5; the released MindSpore code; Khosla et al. 2020,
        arXiv:2004.11362.
    """
    if kind not in ("paper", "released"):
        raise ConfigError(f"contrastive: kind must be one of paper, released, got {kind!r}")
    if tokens.ndim != 3 or tokens.shape[0] < 2 or tokens.shape[1] < (2 if kind == "released" else 1):
        least = "2 images and 2 tokens" if kind == "released" else "2 images"
        raise ConfigError(f"contrastive: tokens must be [B, N, E] with at least {least}, got {tuple(tokens.shape)}")
    if temperature is None:
        temperature = 1.0 if kind == "paper" else 0.07
    if not temperature > 0:
        raise ConfigError(f"contrastive: temperature must be above 0, got {temperature}")
    num_images, num_tokens = tokens.shape[:2]
    unit = F.normalize(tokens.float(), dim=2).flatten(0, 1)
    # [j, i1, k, i2]
    alike = (unit @ unit.T / temperature).view(num_images, num_tokens, num_images, num_tokens)
    same_image = torch.eye(num_images, dtype=torch.bool, device=tokens.device)[:, None, :, None]
    if kind == "paper":
        positive = torch.diagonal(alike, dim1=0, dim2=2)
        others = alike.masked_fill(same_image, -torch.inf).logsumexp(2)
        return others.mean() - positive.mean()
    same_token = torch.eye(num_images * num_tokens, dtype=torch.bool, device=tokens.device).view(alike.shape)
    everyone_else = alike.masked_fill(same_token, -torch.inf).logsumexp((2, 3))
    positive = alike.masked_fill(~same_image | same_token, 0.0).sum((2, 3)) / (num_tokens - 1)
    return (everyone_else - positive).mean()

"""Losses, as pure functions of tensors.

Shapes: sr, target [B, 3, H, W] float in [0, 1], where sr is a network's output; logits of any shape. Every loss is a
float32 scalar, a mean over all elements, also where the network ran in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
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

# Layers of the authors' style transfer (Mechrez et al. 2018, section 4), equally weighted.
CONTEXTUAL_WEIGHTS: Mapping[str, float] = MappingProxyType({"conv3_2": 1.0, "conv4_2": 1.0})


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
    return _over_layers("perceptual", features, sr, target, weights, F.l1_loss)


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


# Wang et al. 2003, section 3.2: exponents of contrast and structure, finest scale first; the last is of luminance too.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SSIM_WINDOW_PX = 11
_SSIM_SIGMA_PX = 1.5

MS_SSIM_LEAST_PX = _SSIM_WINDOW_PX * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
"""Sides of images whose smallest scale holds a window."""


def ms_ssim(sr: Tensor, target: Tensor) -> Tensor:
    """1 - MS-SSIM: five scales, halved by 2x2 means, of luminance, contrast and structure in Gaussian windows.

    Windows lie within the image. Contrast and structure below 1e-6 (images that contradict each other) count as 1e-6, so
    that their powers are real.

    Args:
        sr, target: [B, C, H, W] in [0, 1], sides of at least 176 px; every channel for itself.
    Raises:
        ConfigError: other shapes, or smaller images.
    Source: Wang, Simoncelli, Bovik 2003, "Multi-scale structural similarity for image quality assessment", eq. 7, with
        K1 = 0.01 and K2 = 0.03 of Wang et al. 2004.
    """
    _same_shape("ms_ssim", sr, target)
    if min(sr.shape[-2:]) < MS_SSIM_LEAST_PX:
        raise ConfigError(f"ms_ssim: sides must be at least {MS_SSIM_LEAST_PX} px, got {sr.shape[-1]}x{sr.shape[-2]}")
    x, y = sr.float(), target.float()
    similarity = torch.ones((), device=x.device)
    for place, weight in enumerate(MS_SSIM_WEIGHTS):
        luminance, structure = _ssim_parts(x, y)
        last = place == len(MS_SSIM_WEIGHTS) - 1
        # Per image and channel; the mean of the products is the last scale's SSIM.
        mean = ((luminance * structure) if last else structure).mean((2, 3))
        similarity = similarity * mean.clamp(min=1e-6) ** weight
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return 1 - similarity.mean()


def _ssim_parts(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(luminance, contrast times structure) of every window, [B, C, H - 10, W - 10]."""
    offset = torch.arange(_SSIM_WINDOW_PX, device=x.device, dtype=x.dtype) - _SSIM_WINDOW_PX // 2
    window = torch.exp(-offset.square() / (2 * _SSIM_SIGMA_PX**2))
    window = window / window.sum()
    channels = x.shape[1]

    def blurred(image: Tensor) -> Tensor:
        rows = F.conv2d(image, window.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)
        return F.conv2d(rows, window.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)

    mean_x, mean_y = blurred(x), blurred(y)
    variance_x = blurred(x * x) - mean_x.square()
    variance_y = blurred(y * y) - mean_y.square()
    covariance = blurred(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    return luminance, (2 * covariance + c2) / (variance_x + variance_y + c2)


def focal_frequency(sr: Tensor, target: Tensor) -> Tensor:
    """Squared difference of the spectra, each frequency weighted by its own difference.

    With D = |F(sr) - F(target)| and F the orthonormal Fourier transform of a channel: mean of D^2 D / max(D), the maximum
    of an image's channel; no gradient flows into the weight D / max(D).

    Source: Jiang et al. 2021, arXiv:2012.12821, eq. 8 to 10, alpha = 1, and the released code.
    """
    _same_shape("focal_frequency", sr, target)
    difference = torch.fft.fft2(sr.float() - target.float(), norm="ortho")
    squared = difference.real.square() + difference.imag.square()
    weight = squared.detach().sqrt()
    # Equal images have nothing to weigh.
    largest = weight.amax((2, 3), keepdim=True)
    weight = weight / torch.where(largest > 0, largest, torch.ones_like(largest))
    return (weight * squared).mean()


def ldl(sr: Tensor, target: Tensor) -> Tensor:
    """L1 where artifacts are likely: weighted by how much the difference varies in an image and around a pixel.

    With r the sum over channels of |target - sr|: the mean of |sr - target| w, w = var(r)^(1/5) of the image times the
    variance of r in 7x7 pixels (mirrored at the border). As released, gradients flow into w. The release also leaves out
    pixels where the moving average of the network is worse, which a loss of two images cannot know.

    Args:
        sr, target: [B, C, H, W] in [0, 1], sides of at least 4 px.
    Raises:
        ConfigError: other shapes, or smaller images.
    Source: Liang, Zeng, Zhang 2022, arXiv:2203.09195, eq. 3 to 5, and the released code.
    """
    _same_shape("ldl", sr, target)
    if min(sr.shape[-2:]) < 4:
        raise ConfigError(f"ldl: sides must be at least 4 px, got {sr.shape[-1]}x{sr.shape[-2]}")
    difference = (sr.float() - target.float()).abs()
    residual = difference.sum(1, keepdim=True)
    # A root of 0 would have no gradient: equal images are far below this.
    spread = (residual.var((1, 2, 3), keepdim=True) + 1e-12) ** 0.2
    windows = F.unfold(F.pad(residual, (3, 3, 3, 3), mode="reflect"), 7)
    local = windows.var(1).view_as(residual)
    return (spread * local * difference).mean()


def contextual(
    features: VGG19Features,
    sr: Tensor,
    target: Tensor,
    weights: Mapping[str, float] = CONTEXTUAL_WEIGHTS,
    bandwidth: float = 0.5,
) -> Tensor:
    """-log of how many of the target's features have a partner in the output, wherever it lies, for pairs not aligned.

    Of a layer, with x_i and y_j the features of output and target at their places, both minus the mean of y: d_ij is
    1 - cosine, divided by the smallest d of i plus 1e-5; w_ij = exp((1 - d_ij) / bandwidth), normed to sum 1 over j; the
    loss is the mean over images of -log(mean over j of the largest w over i).

    Args:
        features: the network, built for at least the layers in `weights`.
        sr, target: [B, 3, H, W] in [0, 1]; gradients flow into sr alone. Memory grows with the square of the places of a
            layer: of a crop of 192 px, 2304 in conv3_2, 21 MB per image.
        weights: weight per layer name.
        bandwidth: above 0; small ones want one partner that is clearly the best.
    Raises:
        ConfigError: other shapes, a layer that `features` was not built for, or a bandwidth that is not above 0.
    Source: Mechrez, Talmi, Zelnik-Manor 2018, arXiv:1803.02077, eq. 1 to 4.
    """
    if not bandwidth > 0:
        raise ConfigError(f"contextual: bandwidth must be above 0, got {bandwidth}")
    return _over_layers("contextual", features, sr, target, weights, partial(_contextual, bandwidth=bandwidth))


def _over_layers(
    name: str,
    features: VGG19Features,
    sr: Tensor,
    target: Tensor,
    weights: Mapping[str, float],
    measure: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Weighted sum of a measure of the features of `sr`, with gradient, and of `target`."""
    _same_shape(name, sr, target)
    for layer in weights:
        if layer not in features.layers:
            raise ConfigError(f"{name}: layer must be one of {', '.join(features.layers)}, got {layer!r}")
    with torch.no_grad():
        wanted = features(target)
    found = features(sr)
    # Summed by the network's order, so that equal weights in another order give the same bits.
    terms = [
        weights[layer] * measure(found[layer].float(), wanted[layer].float())
        for layer in features.layers
        if layer in weights
    ]
    return torch.stack(terms).sum()


def _contextual(found: Tensor, wanted: Tensor, bandwidth: float) -> Tensor:
    x_BFN, y_BFN = found.flatten(2), wanted.flatten(2)
    center = y_BFN.mean(2, keepdim=True)
    unit_x, unit_y = F.normalize(x_BFN - center, dim=1), F.normalize(y_BFN - center, dim=1)
    distance = (1 - unit_x.transpose(1, 2) @ unit_y).clamp(min=0)
    relative = distance / (distance.amin(2, keepdim=True) + 1e-5)
    similar = torch.softmax((1 - relative) / bandwidth, 2)
    return -similar.amax(1).mean(1).log().mean()

"""Pieces that several networks share. Nothing here holds state.

Shapes: B batch, C channels, H, W height and width of the input in pixels, s the super-resolution factor.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError

State = Mapping[str, Tensor]

# What a configuration may ask for at most, far above what was published: a number from a file shall not keep a machine
# building for minutes.
MOST_BLOCKS = 1024
MOST_CHANNELS = 64
MOST_FEATURES = 4096
MOST_SCALE = 16

# Mean colour of DIV2K's training images, RGB in [0, 1] (Lim et al. 2017, the released EDSR code).
DIV2K_MEAN_RGB = (0.4488, 0.4371, 0.4040)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 3x3 convolution with bias that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, 3, 1, 1)


def require(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise `ConfigError` unless `value` is one of `allowed`; `name` is `net.field`."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def upsample_factors(scale: int) -> tuple[int, ...]:
    """How the field splits a scale into pixel shuffles: 2 by 2 for powers of two, one of 3 for three."""
    if scale == 3:
        return (3,)
    return (2,) * int(math.log2(scale))


def conv_shuffle(conv: nn.Conv2d, x_BCHW: Tensor, factor: int, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """`F.pixel_shuffle(activation(conv(x)), factor)`, an elementwise activation: the same values, faster to differentiate.

    In channels_last memory torch's shuffle moves single elements, and its gradient comes out in the other layout. With
    the convolution's output channels in the order (row, column, feature) instead of (feature, row, column), whole pixels
    move.
    """
    channels_last = x_BCHW.is_contiguous(memory_format=torch.channels_last) and not x_BCHW.is_contiguous()
    if not channels_last:
        return F.pixel_shuffle(activation(conv(x_BCHW)), factor)
    features = conv.out_channels // factor**2
    weight = conv.weight.unflatten(0, (features, factor**2)).transpose(0, 1).flatten(0, 1)
    bias = None if conv.bias is None else conv.bias.unflatten(0, (features, factor**2)).transpose(0, 1).flatten()
    out_BCHW = activation(F.conv2d(x_BCHW, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups))
    batch, _, height, width = out_BCHW.shape
    pixels = out_BCHW.permute(0, 2, 3, 1).reshape(batch, height, width, factor, factor, features)
    shuffled = pixels.permute(0, 1, 3, 2, 4, 5).reshape(batch, height * factor, width * factor, features)
    return shuffled.permute(0, 3, 1, 2)


class ShuffleUpsampler(nn.Sequential):
    """[convolution, pixel shuffle] for each factor of the scale; keys `0.weight`, `2.weight`, `4.weight`."""

    def __init__(self, scale: int, num_features: int) -> None:
        layers: list[nn.Module] = []
        for factor in upsample_factors(scale):
            layers += [conv3x3(num_features, num_features * factor * factor), nn.PixelShuffle(factor)]
        super().__init__(*layers)


def shuffle_scale(state: State, prefix: str) -> int:
    """The scale of a `ShuffleUpsampler` whose keys start with `prefix`, from its weights' shapes.

    1 when there is no such key.
    """
    scale = 1
    for key in state:
        if re.fullmatch(re.escape(prefix) + r"\d+\.weight", key):
            out_channels, in_channels = state[key].shape[:2]
            scale *= math.isqrt(out_channels // in_channels)
    return scale


def pad_to_multiple(x_BCHW: Tensor, multiple: int) -> Tensor:
    """Mirror the bottom and right edges until height and width are multiples of `multiple`.

    Mirroring leaves the edge pixel out, as the published networks do; an image too small to be mirrored has its edge
    repeated instead.
    """
    height, width = x_BCHW.shape[-2:]
    pad_y, pad_x = -height % multiple, -width % multiple
    if pad_y == 0 and pad_x == 0:
        return x_BCHW
    mode = "reflect" if pad_y < height and pad_x < width else "replicate"
    return F.pad(x_BCHW, (0, pad_x, 0, pad_y), mode=mode)


@torch.no_grad()
def scaled_kaiming(modules: Iterable[nn.Module], gain: float) -> None:
    """Kaiming-normal weights (fan in, slope 0) times `gain`, biases zero, for every convolution below `modules`.

    Source: Wang et al. 2018 (ESRGAN), supplementary material: smaller initial weights let deep residual nets train.
    """
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                layer.weight.mul_(gain)
                if layer.bias is not None:
                    layer.bias.zero_()


def count_indices(state: State, prefix: str) -> int:
    """One more than the largest N among keys `prefix + N + "."...`; 0 when there is none."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    found = [int(match.group(1)) for key in state if (match := pattern.match(key))]
    return max(found) + 1 if found else 0


def rename(state: State, rules: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """Each key rewritten by the first rule (regular expression for the whole key, replacement) that matches it."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        for pattern, replacement in compiled:
            match = pattern.fullmatch(key)
            if match:
                renamed[match.expand(replacement)] = value
                break
        else:
            renamed[key] = value
    return renamed

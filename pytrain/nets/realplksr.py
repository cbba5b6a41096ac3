"""RealPLKSR: blocks with one large kernel over a part of the channels, all at low resolution.

Shapes: x_BCHW [B, 3, H, W] -> [B, 3, sH, sW]; features [B, F, H, W].
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import option, options, type_name
from .parts import MOST_BLOCKS, MOST_FEATURES, MOST_SCALE, State, conv3x3, count_indices

NORM_GROUPS = 4  # of the released networks; files do not tell it
Normalisation = Literal["group", "layer"]
Upsampler = Literal["pixelshuffle", "dysample"]


@options("net")
class RealPLKSRConfig:
    """Sizes of `RealPLKSR`; the defaults are neosr's."""

    type: Literal["realplksr"] = type_name("realplksr")
    scale: int = option(4, "how many times larger the output is", ge=1, le=MOST_SCALE)
    num_features: int = option(64, "channels of the body", ge=4, le=MOST_FEATURES)
    num_blocks: int = option(28, "blocks of the body; 12 in the small variant", ge=1, le=MOST_BLOCKS)
    kernel_size_px: int = option(17, "side of the large kernels, odd; 13 in the small variant", ge=1, le=127)
    large_kernel_share: float = option(0.25, "of the channels, which the large kernels see", gt=0, le=1)
    attention: bool = option(True, "each block weighs its features element by element")
    norm: Normalisation = option("group", "of a block: groups of channels at its end, or all channels at its beginning")
    upsampler: Upsampler = option("pixelshuffle", "dysample: it learns where to sample from")
    dropout: float = option(0.0, "chance that training leaves a channel out behind the last block", ge=0, lt=1)

    def __post_init__(self) -> None:
        if self.norm == "group" and self.num_features % NORM_GROUPS:
            raise ConfigError(
                f"net.num_features must be a multiple of {NORM_GROUPS} with norm 'group', got {self.num_features}"
            )
        if self.kernel_size_px % 2 == 0:
            raise ConfigError(f"net.kernel_size_px must be odd, got {self.kernel_size_px}")

    @property
    def large_kernel_features(self) -> int:
        """Channels that the large kernels see: the share, rounded down as released, but one at least."""
        # A share that was found as a quotient may lie a rounding below.
        return max(1, math.floor(self.num_features * self.large_kernel_share + 1e-6))


class ChannelNorm(nn.Module):
    """Every pixel's channels with mean 0 and variance 1, then a scale and an offset per channel."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x_BFHW: Tensor) -> Tensor:
        return F.layer_norm(x_BFHW.movedim(1, 3), self.weight.shape, self.weight, self.bias, 1e-6).movedim(3, 1)


class LargeKernel(nn.Module):
    """A convolution of the first channels; the others pass."""

    def __init__(self, num_features: int, size_px: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_features, num_features, size_px, padding=size_px // 2)

    def forward(self, x_BFHW: Tensor) -> Tensor:
        seen = self.conv.in_channels
        return torch.cat((self.conv(x_BFHW[:, :seen]), x_BFHW[:, seen:]), 1)


class ElementAttention(nn.Module):
    """x times a sigmoid of a convolution of x."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.f = nn.Sequential(conv3x3(num_features, num_features), nn.Sigmoid())

    def forward(self, x_BFHW: Tensor) -> Tensor:
        return x_BFHW * self.f(x_BFHW)


class LargeKernelBlock(nn.Module):
    """x + norm(1x1(attention(large kernel(two 3x3 convolutions(x)))))."""

    def __init__(self, config: RealPLKSRConfig) -> None:
        super().__init__()
        features = config.num_features
        groups = config.norm == "group"
        self.layer_norm = nn.Identity() if groups else ChannelNorm(features)
        self.channel_mixer = nn.Sequential(conv3x3(features, 2 * features), nn.Mish(), conv3x3(2 * features, features))
        self.lk = LargeKernel(config.large_kernel_features, config.kernel_size_px)
        self.attn = ElementAttention(features) if config.attention else nn.Identity()
        self.refine = nn.Conv2d(features, features, 1)
        self.norm = nn.GroupNorm(NORM_GROUPS, features) if groups else nn.Identity()

    def forward(self, x_BFHW: Tensor) -> Tensor:
        mixed = self.lk(self.channel_mixer(self.layer_norm(x_BFHW)))
        return x_BFHW + self.norm(self.refine(self.attn(mixed)))


class DySample(nn.Module):
    """Upsampling by bilinear sampling at places that the features choose, one set of places per group of channels.

    Every output pixel starts from its own place in the input grid (`init_pos`, in input pixels) and moves it by up to half
    of a learned offset. State-dict keys are those of the public files, `init_pos` among them.

    Source: Liu et al. 2023, arXiv:2308.15085, eq. 3 to 5 ("linear + pixel shuffle", dynamic scope), and the released code.
    """

    init_pos: Tensor

    def __init__(self, channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.groups = 4 if scale % 2 == 0 else out_channels
        places = 2 * self.groups * scale**2
        if scale > 1:
            self.end_conv = nn.Conv2d(channels, out_channels, 1)
        self.offset = nn.Conv2d(channels, places, 1)
        self.scope = nn.Conv2d(channels, places, 1, bias=False)
        nn.init.trunc_normal_(self.offset.weight, std=0.02)
        nn.init.zeros_(self.scope.weight)
        # (axis, group, row, column) of the s x s output pixels of an input pixel; axis 0 moves along x.
        steps = (torch.arange(scale) - (scale - 1) / 2) / scale
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        starts = torch.stack((x, y))[:, None].expand(2, self.groups, scale, scale)
        self.register_buffer("init_pos", starts.reshape(1, places, 1, 1).clone())

    def forward(self, x_BCHW: Tensor) -> Tensor:
        batch, _, height, width = x_BCHW.shape
        offset = self.offset(x_BCHW) * self.scope(x_BCHW).sigmoid() * 0.5 + self.init_pos
        # bfloat16 tells pixels apart to 256 only.
        offset = offset.to(torch.promote_types(offset.dtype, torch.float32))

        # Where each output pixel looks, x before y, from -1 to 1 over the image.
        along_x = torch.arange(width, device=offset.device) + 0.5
        along_y = torch.arange(height, device=offset.device) + 0.5
        shuffled = F.pixel_shuffle(offset, self.scale).view(
            batch, 2, self.groups, self.scale * height, self.scale * width
        )
        base_x = along_x.repeat_interleave(self.scale).expand(self.scale * height, -1)
        base_y = along_y.repeat_interleave(self.scale)[:, None].expand(-1, self.scale * width)
        place_x = 2 * (base_x + shuffled[:, 0]) / width - 1
        place_y = 2 * (base_y + shuffled[:, 1]) / height - 1
        grid = torch.stack((place_x, place_y), -1).flatten(0, 1)

        grouped = x_BCHW.reshape(batch * self.groups, -1, height, width)
        sampled = F.grid_sample(grouped.to(grid.dtype), grid, "bilinear", "border", align_corners=False)
        out = sampled.to(x_BCHW.dtype).view(batch, -1, self.scale * height, self.scale * width)
        return self.end_conv(out) if self.scale > 1 else out


class RealPLKSR(nn.Module):
    """Convolution, blocks, convolution, all at low resolution; every output pixel of a cell starts from the cell's colour.

    7,389,680 parameters at the default sizes. State-dict keys are those of neosr's and traiNNer-redux's files.

    Source: Lee et al. 2024, arXiv:2404.11848 (PLKSR), section 3; the variant with normalisation, DySample and Mish is
    neosr's `realplksr`.
    """

    def __init__(self, config: RealPLKSRConfig) -> None:
        super().__init__()
        self.scale = config.scale
        shuffled = 3 * config.scale**2
        self.feats = nn.Sequential(
            conv3x3(3, config.num_features),
            *(LargeKernelBlock(config) for _ in range(config.num_blocks)),
            nn.Dropout2d(config.dropout),
            conv3x3(config.num_features, shuffled),
        )
        for module in self.modules():
            # As released: all but the first convolution of a mixer.
            if isinstance(module, nn.Conv2d) and module.out_channels != 2 * config.num_features:
                nn.init.trunc_normal_(module.weight, std=0.02)
        if config.upsampler == "dysample":
            self.to_img: nn.Module = DySample(shuffled, 3, config.scale)
        else:
            self.to_img = nn.PixelShuffle(config.scale)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] float in [0, 1] -> [B, 3, sH, sW], not clipped."""
        return self.to_img(self.feats(x_BCHW) + x_BCHW.repeat_interleave(self.scale**2, dim=1))


def detect(state: State) -> RealPLKSRConfig | None:
    """The configuration of a RealPLKSR's state dict, None when it is another network's."""
    needed = ("feats.0.weight", "feats.1.channel_mixer.0.weight", "feats.1.lk.conv.weight", "feats.1.refine.weight")
    if any(key not in state for key in needed):
        return None
    last = count_indices(state, "feats.") - 1
    kernel = state["feats.1.lk.conv.weight"]
    return RealPLKSRConfig(
        scale=math.isqrt(state[f"feats.{last}.weight"].shape[0] // 3),
        num_features=state["feats.0.weight"].shape[0],
        num_blocks=last - 2,
        kernel_size_px=kernel.shape[2],
        large_kernel_share=kernel.shape[0] / state["feats.0.weight"].shape[0],
        attention="feats.1.attn.f.0.weight" in state,
        norm="layer" if "feats.1.layer_norm.weight" in state else "group",
        upsampler="dysample" if "to_img.init_pos" in state else "pixelshuffle",
    )

"""SwinIR: windowed self-attention with shifted windows, in its three published super-resolution forms.

Shapes: x_BCHW [B, 3, H, W] -> [B, 3, sH, sW]. Inside, H and W are multiples of the window side w:
    x_BHWD [B, H, W, D]            features, D = embed_dim
    windows_NTD [N, T, D]          N = B (H/w)(W/w) windows of T = w w tokens
    heads [N, M, T, D/M]           M attention heads
    mask_NTT [(H/w)(W/w), T, T]    0 where two tokens of a shifted window were neighbours, -100 where not
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import option, options, type_name
from .parts import (
    DIV2K_MEAN_RGB,
    MOST_FEATURES,
    MOST_SCALE,
    ShuffleUpsampler,
    State,
    conv3x3,
    count_indices,
    pad_to_multiple,
    require,
    shuffle_scale,
)

Upsampler = Literal["pixelshuffle", "pixelshuffledirect", "nearest+conv"]
MOST_DEPTH = 256
Depth = Annotated[int, Field(ge=1, le=64)]
Heads = Annotated[int, Field(ge=1, le=1024)]

# Added to attention logits across a seam; large enough that exp() of it vanishes beside exp(0).
MASKED = -100.0


@options("net")
class SwinIRConfig:
    """Sizes of `SwinIR`; the defaults are the released classical network, the class methods name the others."""

    type: Literal["swinir"] = type_name("swinir")
    scale: int = option(
        4, "pixelshuffle: 2, 3, 4, 8; pixelshuffledirect: any; nearest+conv: 2, 4, 8", ge=1, le=MOST_SCALE
    )
    embed_dim: int = option(180, "width of a token", ge=1, le=MOST_FEATURES)
    depths: tuple[Depth, ...] = option((6, 6, 6, 6, 6, 6), "attention blocks per group", most=32)
    num_heads: tuple[Heads, ...] = option((6, 6, 6, 6, 6, 6), "attention heads per group", most=32)
    window_px: int = option(8, "side of a window; every second block shifts by half of it", "px", ge=2, le=64)
    mlp_ratio: float = option(2.0, "hidden width of a block's perceptron over embed_dim", gt=0, le=16)
    upsampler: Upsampler = option("pixelshuffle", "how the output becomes larger")
    residual_convs: Literal["1conv", "3conv"] = option("1conv", "convolutions that end a group")
    num_features: int = option(64, "channels around the upsampler", ge=1, le=MOST_FEATURES)
    drop_path: float = option(
        0.1, "in training, the chance that an image skips the last residual; earlier ones less", ge=0, lt=1
    )
    published_size_px: int = option(
        64, "the side whose masks are written to files, because other loaders demand them", "px", ge=4, le=256
    )

    def __post_init__(self) -> None:
        scales = {"pixelshuffle": (2, 3, 4, 8), "nearest+conv": (2, 4, 8)}.get(self.upsampler)
        if scales is not None:
            require("net.scale", self.scale, scales)
        if not 1 <= sum(self.depths) <= MOST_DEPTH:
            raise ConfigError(f"net.depths must be 1 to {MOST_DEPTH} blocks in all, got {sum(self.depths)}")
        if len(self.num_heads) != len(self.depths):
            raise ConfigError(f"net.num_heads must have {len(self.depths)} entries like depths, got {self.num_heads}")
        for heads in self.num_heads:
            if self.embed_dim % heads:
                raise ConfigError(f"net.num_heads must divide embed_dim {self.embed_dim}, got {heads}")
        if self.published_size_px % self.window_px or self.published_size_px <= self.window_px:
            raise ConfigError(
                f"net.published_size_px must be a multiple of window_px and larger than it, "
                f"got {self.published_size_px} and {self.window_px}"
            )

    @classmethod
    def lightweight(cls, scale: int = 4) -> SwinIRConfig:
        """The released lightweight network: 60 channels, 4 groups, one pixel shuffle."""
        return cls(scale=scale, embed_dim=60, depths=(6,) * 4, num_heads=(6,) * 4, upsampler="pixelshuffledirect")

    @classmethod
    def real_world(cls, scale: int = 4) -> SwinIRConfig:
        """The released medium network for real-world images: nearest-neighbour doublings and convolutions."""
        return cls(scale=scale, upsampler="nearest+conv")

    @classmethod
    def real_world_large(cls, scale: int = 4) -> SwinIRConfig:
        """The released large network for real-world images: 240 channels, 9 groups, three-convolution residuals."""
        return cls(
            scale=scale,
            embed_dim=240,
            depths=(6,) * 9,
            num_heads=(8,) * 9,
            upsampler="nearest+conv",
            residual_convs="3conv",
        )


def to_windows(x_BHWD: Tensor, window_px: int) -> Tensor:
    """[B, H, W, D] -> [B (H/w)(W/w), w w, D], windows in row order."""
    batch, height, width, depth = x_BHWD.shape
    x = x_BHWD.view(batch, height // window_px, window_px, width // window_px, window_px, depth)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window_px * window_px, depth)


def from_windows(windows_NTD: Tensor, window_px: int, height: int, width: int) -> Tensor:
    """The inverse of `to_windows`."""
    x = windows_NTD.view(-1, height // window_px, width // window_px, window_px, window_px, windows_NTD.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, windows_NTD.shape[-1])


def relative_position_index(window_px: int) -> Tensor:
    """[T, T] int64: which row of the bias table belongs to each pair of tokens of a window."""
    coordinates = torch.arange(window_px)
    y, x = (grid.flatten() for grid in torch.meshgrid(coordinates, coordinates, indexing="ij"))
    offset_y = y[:, None] - y[None, :] + window_px - 1
    offset_x = x[:, None] - x[None, :] + window_px - 1
    return offset_y * (2 * window_px - 1) + offset_x


def shift_mask(height: int, width: int, window_px: int, device: torch.device | None = None) -> Tensor:
    """[(H/w)(W/w), T, T] float32: `MASKED` for pairs that the cyclic shift brought together, else 0."""
    shift = window_px // 2

    def bands(size: int) -> Tensor:
        # After the shift the last window holds two bands that do not belong together, and neither to the rest.
        position = torch.arange(size, device=device)
        return (position >= size - window_px).long() + (position >= size - shift).long()

    region = bands(height)[:, None] * 3 + bands(width)[None, :]
    tokens = to_windows(region.view(1, height, width, 1), window_px).squeeze(-1)
    return (tokens[:, None, :] != tokens[:, :, None]).float() * MASKED


class WindowAttention(nn.Module):
    """Multi-head attention among the tokens of each window, with a learned bias per relative position."""

    relative_position_index: Tensor

    def __init__(self, embed_dim: int, window_px: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_px - 1) ** 2, num_heads))
        self.register_buffer("relative_position_index", relative_position_index(window_px))
        self.qkv = nn.Linear(embed_dim, embed_dim * 3)
        self.proj = nn.Linear(embed_dim, embed_dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, windows_NTD: Tensor, mask_NTT: Tensor | None) -> Tensor:
        tokens, depth = windows_NTD.shape[1:]
        qkv = self.qkv(windows_NTD).view(-1, tokens, 3, self.num_heads, depth // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)

        # Bias per head, and per window where the image was shifted.
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        if mask_NTT is not None:
            per_window = bias[None] + mask_NTT[:, None]
            bias = per_window.repeat(windows_NTD.shape[0] // mask_NTT.shape[0], 1, 1, 1)
        else:
            bias = bias[None]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        return self.proj(attended.transpose(1, 2).reshape(-1, tokens, depth))


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def add_residual(x: Tensor, residual: Tensor, drop_path: float, training: bool) -> Tensor:
    """x + residual; in training, each image of the batch [B, ...] leaves its residual out with chance `drop_path`.

    The residuals that stay are scaled up, so that the mean is kept. Draws from torch's global generator.

    Source: Huang et al. 2016, arXiv:1603.09382 (stochastic depth).
    """
    if not training or drop_path == 0:
        return x + residual
    keep = 1 - drop_path
    kept = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) < keep
    return x + residual * (kept.to(residual.dtype) / keep)


class SwinBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); shifted blocks roll the image by half a window before."""

    def __init__(self, config: SwinIRConfig, num_heads: int, shift_px: int, drop_path: float) -> None:
        super().__init__()
        embed_dim, window_px = config.embed_dim, config.window_px
        self.window_px = window_px
        self.shift_px = shift_px
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(embed_dim)
        self.attn = WindowAttention(embed_dim, window_px, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.mlp = Mlp(embed_dim, int(embed_dim * config.mlp_ratio))

    def forward(self, x_BHWD: Tensor, mask_NTT: Tensor) -> Tensor:
        height, width = x_BHWD.shape[1:3]
        x = self.norm1(x_BHWD)
        if self.shift_px:
            x = torch.roll(x, (-self.shift_px, -self.shift_px), (1, 2))
        windows = self.attn(to_windows(x, self.window_px), mask_NTT if self.shift_px else None)
        x = from_windows(windows, self.window_px, height, width)
        if self.shift_px:
            x = torch.roll(x, (self.shift_px, self.shift_px), (1, 2))
        x = add_residual(x_BHWD, x, self.drop_path, self.training)
        return add_residual(x, self.mlp(self.norm2(x)), self.drop_path, self.training)


class BlockList(nn.Module):
    """Holds `blocks`; exists because the published keys have this level."""

    def __init__(self, blocks: list[SwinBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)


def residual_conv(embed_dim: int, kind: str) -> nn.Module:
    """The convolution that closes a group and the body."""
    if kind == "1conv":
        return conv3x3(embed_dim, embed_dim)
    return nn.Sequential(
        conv3x3(embed_dim, embed_dim // 4),
        nn.LeakyReLU(0.2),
        nn.Conv2d(embed_dim // 4, embed_dim // 4, 1),
        nn.LeakyReLU(0.2),
        conv3x3(embed_dim // 4, embed_dim),
    )


class SwinGroup(nn.Module):
    """x + conv(attention blocks(x)); every second block is shifted."""

    def __init__(self, config: SwinIRConfig, group: int) -> None:
        super().__init__()
        # The chance of leaving a residual out grows evenly from the first block of the network to the last.
        first, last = sum(config.depths[:group]), max(sum(config.depths) - 1, 1)
        blocks = [
            SwinBlock(
                config,
                config.num_heads[group],
                shift_px=0 if number % 2 == 0 else config.window_px // 2,
                drop_path=config.drop_path * (first + number) / last,
            )
            for number in range(config.depths[group])
        ]
        self.residual_group = BlockList(blocks)
        self.conv = residual_conv(config.embed_dim, config.residual_convs)

    def forward(self, x_BHWD: Tensor, mask_NTT: Tensor) -> Tensor:
        x = x_BHWD
        for block in self.residual_group.blocks:
            x = block(x, mask_NTT)
        convolved = self.conv(x.permute(0, 3, 1, 2))
        return x_BHWD + convolved.permute(0, 2, 3, 1)


class PatchNorm(nn.Module):
    """Holds the layer norm behind the first convolution; exists because the published keys have this level."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim)


class SwinIR(nn.Module):
    """Convolution, groups of windowed attention with a long skip, one of three upsamplers.

    Parameters at x4: classical 11,900,199; lightweight 929,628 (the buffers of files not counted); real-world medium
    11,715,559 and large 28,013,059. Sizes that are no multiples of the window are mirrored at the bottom and right and
    cut afterwards, so attention differs slightly from tile to tile unless tiles start at multiples of `multiple_px`.
    State-dict keys are the authors'. `relative_position_index` is written and checked; the `attn_mask` buffers that
    their files hold for one training size are computed from the input instead (`published` adds them for other tools).

    Source: Liang et al. 2021, arXiv:2108.10257.
    """

    mean_rgb: Tensor

    def __init__(self, config: SwinIRConfig) -> None:
        super().__init__()
        embed_dim, features = config.embed_dim, config.num_features
        self.scale = config.scale
        self.multiple_px = config.window_px
        self.upsampler = config.upsampler
        self.register_buffer("mean_rgb", torch.tensor(DIV2K_MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.conv_first = conv3x3(3, embed_dim)
        self.patch_embed = PatchNorm(embed_dim)
        self.layers = nn.ModuleList(SwinGroup(config, group) for group in range(len(config.depths)))
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = residual_conv(embed_dim, config.residual_convs)
        if config.upsampler == "pixelshuffledirect":
            self.upsample: nn.Module = nn.Sequential(
                conv3x3(embed_dim, 3 * config.scale**2), nn.PixelShuffle(config.scale)
            )
        else:
            self.conv_before_upsample = nn.Sequential(conv3x3(embed_dim, features), nn.LeakyReLU(0.01))
            if config.upsampler == "pixelshuffle":
                self.upsample = ShuffleUpsampler(config.scale, features)
            else:
                self.num_doublings = int(math.log2(config.scale))
                for number in range(1, self.num_doublings + 1):
                    self.add_module(f"conv_up{number}", conv3x3(features, features))
                self.conv_hr = conv3x3(features, features)
            self.conv_last = conv3x3(features, 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] float in [0, 1] -> [B, 3, sH, sW], not clipped."""
        height, width = x_BCHW.shape[-2:]
        x = pad_to_multiple(x_BCHW, self.multiple_px)
        head = self.conv_first(x - self.mean_rgb)

        # Body, channels last.
        mask_NTT = shift_mask(x.shape[-2], x.shape[-1], self.multiple_px, x.device)
        features = self.patch_embed.norm(head.permute(0, 2, 3, 1))
        for layer in self.layers:
            features = layer(features, mask_NTT)
        features = self.norm(features).permute(0, 3, 1, 2)
        features = self.conv_after_body(features) + head

        # Upsample.
        if self.upsampler == "pixelshuffledirect":
            out = self.upsample(features)
        elif self.upsampler == "pixelshuffle":
            out = self.conv_last(self.upsample(self.conv_before_upsample(features)))
        else:
            features = self.conv_before_upsample(features)
            for number in range(1, self.num_doublings + 1):
                doubled = F.interpolate(features, scale_factor=2, mode="nearest")
                features = F.leaky_relu(self.get_submodule(f"conv_up{number}")(doubled), 0.2)
            out = self.conv_last(F.leaky_relu(self.conv_hr(features), 0.2))
        return (out + self.mean_rgb)[..., : height * self.scale, : width * self.scale]


def canonical(state: State) -> dict[str, Tensor]:
    """The state without the masks and mean of one training size, which are computed here."""
    return {key: value for key, value in state.items() if not key.endswith(".attn_mask") and key != "mean"}


def published(config: SwinIRConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state as the authors' code writes it: with the masks of a square of `published_size_px`."""
    mask = shift_mask(config.published_size_px, config.published_size_px, config.window_px)
    filled = dict(state)
    for group, depth in enumerate(config.depths):
        for number in range(1, depth, 2):
            filled[f"layers.{group}.residual_group.blocks.{number}.attn_mask"] = mask.clone()
    return filled


def detect(state: State) -> SwinIRConfig | None:
    """The configuration of a SwinIR's state dict, None when it is another network's or an unsupported form of it."""
    block = "layers.0.residual_group.blocks.0"
    needed = ("conv_first.weight", f"{block}.attn.relative_position_bias_table", f"{block}.mlp.fc1.weight")
    if any(key not in state for key in needed) or state["conv_first.weight"].shape[1] != 3:
        return None
    if f"{block}.conv_block.cab.0.weight" in state:  # HAT's blocks are these and more
        return None
    embed_dim = state["conv_first.weight"].shape[0]
    num_features = 64
    upsampler: Upsampler
    if "conv_up1.weight" in state:
        upsampler = "nearest+conv"
        scale = 2 ** sum(f"conv_up{number}.weight" in state for number in range(1, 4))
        num_features = state["conv_up1.weight"].shape[1]
    elif "conv_before_upsample.0.weight" in state:
        upsampler = "pixelshuffle"
        scale = shuffle_scale(state, "upsample.")
        num_features = state["conv_before_upsample.0.weight"].shape[0]
    elif "upsample.0.weight" in state:
        upsampler = "pixelshuffledirect"
        scale = math.isqrt(state["upsample.0.weight"].shape[0] // 3)
    else:
        return None
    groups = range(count_indices(state, "layers."))
    table = "blocks.0.attn.relative_position_bias_table"
    window_px = (math.isqrt(state[f"{block}.attn.relative_position_bias_table"].shape[0]) + 1) // 2
    mask = state.get("layers.0.residual_group.blocks.1.attn_mask")
    return SwinIRConfig(
        scale=scale,
        embed_dim=embed_dim,
        depths=tuple(count_indices(state, f"layers.{group}.residual_group.blocks.") for group in groups),
        num_heads=tuple(state[f"layers.{group}.residual_group.{table}"].shape[1] for group in groups),
        window_px=window_px,
        mlp_ratio=state[f"{block}.mlp.fc1.weight"].shape[0] / embed_dim,
        upsampler=upsampler,
        residual_convs="1conv" if "conv_after_body.weight" in state else "3conv",
        num_features=num_features,
        published_size_px=window_px * (math.isqrt(mask.shape[0]) if mask is not None else 8),
    )

"""HAT: SwinIR's blocks with channel attention beside the windows, and queries that look beyond their window.

Shapes: as in swinir.py; x_BCHW [B, 3, H, W] -> [B, 3, sH, sW]. A window of queries has T = w w tokens; what it looks at in
the overlapping attention has S = (w + o)(w + o) tokens, o = `overlap_px`:
    queries_NTD, keys_NSD, values_NSD [N, tokens, D]
    bias_MTS [M, T, S]             by head and relative position
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import option, options, type_name
from .parts import (
    DIV2K_MEAN_RGB,
    MOST_FEATURES,
    ShuffleUpsampler,
    State,
    conv3x3,
    count_indices,
    pad_to_multiple,
    require,
    shuffle_scale,
)
from .swinir import (
    MOST_DEPTH,
    Depth,
    Heads,
    Mlp,
    PatchNorm,
    add_residual,
    from_windows,
    relative_position_index,
    shift_mask,
    to_windows,
)


@options("net")
class HATConfig:
    """Sizes of `HAT`; the defaults are the released network, the class methods name the others."""

    type: Literal["hat"] = type_name("hat")
    scale: int = option(4, "how many times larger the output is: 2, 3, 4, 8")
    embed_dim: int = option(180, "width of a token", ge=1, le=MOST_FEATURES)
    depths: tuple[Depth, ...] = option((6, 6, 6, 6, 6, 6), "attention blocks per group", most=32)
    num_heads: tuple[Heads, ...] = option((6, 6, 6, 6, 6, 6), "attention heads per group", most=32)
    window_px: int = option(16, "side of a window; every second block shifts by half of it", "px", ge=2, le=64)
    overlap_px: int = option(
        8, "how much wider the windows are that a group's last block looks at, even", "px", ge=0, le=64
    )
    compress_ratio: int = option(
        3, "embed_dim over the channels inside of a block's convolutions", ge=1, le=MOST_FEATURES
    )
    squeeze_factor: int = option(
        30, "embed_dim over the channels inside of the channel attention", ge=1, le=MOST_FEATURES
    )
    conv_scale: float = option(0.01, "weight of the convolutions beside the windows; files do not tell it", ge=0, le=1)
    mlp_ratio: float = option(2.0, "hidden width of a block's perceptron over embed_dim", gt=0, le=16)
    num_features: int = option(64, "channels around the upsampler", ge=1, le=MOST_FEATURES)
    drop_path: float = option(
        0.1, "in training, the chance that an image skips the last residual; earlier ones less", ge=0, lt=1
    )

    def __post_init__(self) -> None:
        require("net.scale", self.scale, (2, 3, 4, 8))
        if not 1 <= sum(self.depths) <= MOST_DEPTH:
            raise ConfigError(f"net.depths must be 1 to {MOST_DEPTH} blocks in all, got {sum(self.depths)}")
        if len(self.num_heads) != len(self.depths):
            raise ConfigError(f"net.num_heads must have {len(self.depths)} entries like depths, got {self.num_heads}")
        for heads in self.num_heads:
            if self.embed_dim % heads:
                raise ConfigError(f"net.num_heads must divide embed_dim {self.embed_dim}, got {heads}")
        if self.overlap_px % 2 or self.overlap_px > self.window_px:
            raise ConfigError(
                f"net.overlap_px must be even and at most window_px {self.window_px}, got {self.overlap_px}"
            )
        for name in ("compress_ratio", "squeeze_factor"):
            if getattr(self, name) > self.embed_dim:
                raise ConfigError(f"net.{name} must be at most embed_dim {self.embed_dim}, got {getattr(self, name)}")

    @classmethod
    def small(cls, scale: int = 4) -> HATConfig:
        """The released HAT-S."""
        return cls(scale=scale, embed_dim=144, compress_ratio=24, squeeze_factor=24)

    @classmethod
    def large(cls, scale: int = 4) -> HATConfig:
        """The released HAT-L."""
        return cls(scale=scale, depths=(6,) * 12, num_heads=(6,) * 12)


def overlapping_index(window_px: int, overlap_px: int) -> Tensor:
    """[T, S] int64: which row of a bias table of (2 w + o - 1)^2 rows belongs to a token and one of the wider window.

    Rows below 0 count from the end of the table, as in the released files.
    """
    inside, outside = torch.arange(window_px), torch.arange(window_px + overlap_px)
    offset = outside[None, :] - inside[:, None] + 1 - overlap_px  # [w, w + o], of rows and of columns
    rows = 2 * window_px + overlap_px - 1
    index = offset[:, None, :, None] * rows + offset[None, :, None, :]
    return index.reshape(window_px**2, (window_px + overlap_px) ** 2)


def attention(
    queries_NTD: Tensor, keys_NSD: Tensor, values_NSD: Tensor, bias_MTS: Tensor, mask_NTS: Tensor | None
) -> Tensor:
    """[N, T, D]: softmax(queries keys / sqrt(D / M) + bias + mask) values, M heads side by side in D."""
    heads = bias_MTS.shape[0]
    query, key, value = (
        tokens.unflatten(2, (heads, -1)).transpose(1, 2) for tokens in (queries_NTD, keys_NSD, values_NSD)
    )
    bias = bias_MTS[None]
    if mask_NTS is not None:
        per_window = bias + mask_NTS[:, None]
        bias = per_window.repeat(queries_NTD.shape[0] // mask_NTS.shape[0], 1, 1, 1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype)).transpose(1, 2).flatten(2)


class WindowAttention(nn.Module):
    """Attention among the tokens of each window; which bias belongs to which pair is the whole network's."""

    def __init__(self, embed_dim: int, window_px: int, num_heads: int) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_px - 1) ** 2, num_heads))
        self.qkv = nn.Linear(embed_dim, embed_dim * 3)
        self.proj = nn.Linear(embed_dim, embed_dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, windows_NTD: Tensor, index_TT: Tensor, mask_NTT: Tensor | None) -> Tensor:
        queries, keys, values = self.qkv(windows_NTD).chunk(3, -1)
        bias = self.relative_position_bias_table[index_TT].permute(2, 0, 1)
        return self.proj(attention(queries, keys, values, bias, mask_NTT))


class ChannelAttention(nn.Module):
    """x times a weight per channel, found from the channels' means."""

    def __init__(self, embed_dim: int, squeezed: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(embed_dim, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, embed_dim, 1),
            nn.Sigmoid(),
        )

    def forward(self, x_BDHW: Tensor) -> Tensor:
        return x_BDHW * self.attention(x_BDHW)


class ConvBlock(nn.Module):
    """Two convolutions and channel attention."""

    def __init__(self, config: HATConfig) -> None:
        super().__init__()
        width, inner = config.embed_dim, config.embed_dim // config.compress_ratio
        self.cab = nn.Sequential(
            conv3x3(width, inner),
            nn.GELU(),
            conv3x3(inner, width),
            ChannelAttention(width, width // config.squeeze_factor),
        )

    def forward(self, x_BHWD: Tensor) -> Tensor:
        return self.cab(x_BHWD.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class HybridBlock(nn.Module):
    """x + attention(norm(x)) + conv_scale convolutions(norm(x)), then x + mlp(norm(x)); eq. 1 of the paper."""

    def __init__(self, config: HATConfig, num_heads: int, shift_px: int, drop_path: float) -> None:
        super().__init__()
        self.window_px, self.shift_px = config.window_px, shift_px
        self.conv_scale, self.drop_path = config.conv_scale, drop_path
        self.norm1 = nn.LayerNorm(config.embed_dim)
        self.attn = WindowAttention(config.embed_dim, config.window_px, num_heads)
        self.conv_block = ConvBlock(config)
        self.norm2 = nn.LayerNorm(config.embed_dim)
        self.mlp = Mlp(config.embed_dim, int(config.embed_dim * config.mlp_ratio))

    def forward(self, x_BHWD: Tensor, index_TT: Tensor, mask_NTT: Tensor) -> Tensor:
        height, width = x_BHWD.shape[1:3]
        normed = self.norm1(x_BHWD)
        shifted = torch.roll(normed, (-self.shift_px, -self.shift_px), (1, 2)) if self.shift_px else normed
        windows = self.attn(to_windows(shifted, self.window_px), index_TT, mask_NTT if self.shift_px else None)
        attended = from_windows(windows, self.window_px, height, width)
        if self.shift_px:
            attended = torch.roll(attended, (self.shift_px, self.shift_px), (1, 2))
        x = add_residual(x_BHWD, attended, self.drop_path, self.training) + self.conv_scale * self.conv_block(normed)
        return add_residual(x, self.mlp(self.norm2(x)), self.drop_path, self.training)


class OverlappingBlock(nn.Module):
    """x + attention whose keys and values come from wider windows, zero beyond the image; then x + mlp(norm(x))."""

    def __init__(self, config: HATConfig, num_heads: int) -> None:
        super().__init__()
        self.window_px, self.overlap_px = config.window_px, config.overlap_px
        rows = (2 * config.window_px + config.overlap_px - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, num_heads))
        self.norm1 = nn.LayerNorm(config.embed_dim)
        self.qkv = nn.Linear(config.embed_dim, config.embed_dim * 3)
        self.proj = nn.Linear(config.embed_dim, config.embed_dim)
        self.norm2 = nn.LayerNorm(config.embed_dim)
        self.mlp = Mlp(config.embed_dim, int(config.embed_dim * config.mlp_ratio))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x_BHWD: Tensor, index_TS: Tensor) -> Tensor:
        batch, height, width, depth = x_BHWD.shape
        query, key_value = self.qkv(self.norm1(x_BHWD)).split((depth, 2 * depth), -1)
        wide_px = self.window_px + self.overlap_px
        unfolded = F.unfold(key_value.permute(0, 3, 1, 2), wide_px, padding=self.overlap_px // 2, stride=self.window_px)
        keys, values = (
            unfolded.view(batch, 2, depth, wide_px**2, -1).permute(1, 0, 4, 3, 2).flatten(1, 2).unbind(0)
        )  # [N, S, D] each, windows in the order of `to_windows`
        bias = self.relative_position_bias_table[index_TS].permute(2, 0, 1)
        windows = attention(to_windows(query, self.window_px), keys, values, bias, None)
        x = x_BHWD + self.proj(from_windows(windows, self.window_px, height, width))
        return x + self.mlp(self.norm2(x))


class BlockList(nn.Module):
    """Holds the blocks of a group; exists because the published keys have this level."""

    def __init__(self, blocks: list[HybridBlock], overlap_attn: OverlappingBlock) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.overlap_attn = overlap_attn


class HybridGroup(nn.Module):
    """x + conv(overlapping block(hybrid blocks(x))); every second block is shifted."""

    def __init__(self, config: HATConfig, group: int) -> None:
        super().__init__()
        # The chance of leaving a residual out grows evenly from the first block of the network to the last.
        first, last = sum(config.depths[:group]), max(sum(config.depths) - 1, 1)
        heads = config.num_heads[group]
        blocks = [
            HybridBlock(
                config,
                heads,
                shift_px=0 if number % 2 == 0 else config.window_px // 2,
                drop_path=config.drop_path * (first + number) / last,
            )
            for number in range(config.depths[group])
        ]
        self.residual_group = BlockList(blocks, OverlappingBlock(config, heads))
        self.conv = conv3x3(config.embed_dim, config.embed_dim)

    def forward(self, x_BHWD: Tensor, index_TT: Tensor, index_TS: Tensor, mask_NTT: Tensor) -> Tensor:
        x = x_BHWD
        for block in self.residual_group.blocks:
            x = block(x, index_TT, mask_NTT)
        x = self.residual_group.overlap_attn(x, index_TS)
        return x_BHWD + self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class HAT(nn.Module):
    """Convolution, groups of hybrid attention with a long skip, pixel shuffles.

    Parameters at x4: 20,772,507; HAT-S 9,621,183; HAT-L 40,846,575. Sizes that are no multiples of the window are mirrored
    at the bottom and right and cut afterwards, so attention differs slightly from tile to tile unless tiles start at
    multiples of `multiple_px`; the channel attention's means are over the whole input. State-dict keys are the authors'.

    Source: Chen et al. 2023, arXiv:2205.04437, section 3, and the released code.
    """

    mean_rgb: Tensor
    relative_position_index_SA: Tensor
    relative_position_index_OCA: Tensor

    def __init__(self, config: HATConfig) -> None:
        super().__init__()
        self.scale = config.scale
        self.multiple_px = config.window_px
        self.register_buffer("mean_rgb", torch.tensor(DIV2K_MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("relative_position_index_SA", relative_position_index(config.window_px))
        self.register_buffer("relative_position_index_OCA", overlapping_index(config.window_px, config.overlap_px))
        self.conv_first = conv3x3(3, config.embed_dim)
        self.patch_embed = PatchNorm(config.embed_dim)
        self.layers = nn.ModuleList(HybridGroup(config, group) for group in range(len(config.depths)))
        self.norm = nn.LayerNorm(config.embed_dim)
        self.conv_after_body = conv3x3(config.embed_dim, config.embed_dim)
        self.conv_before_upsample = nn.Sequential(conv3x3(config.embed_dim, config.num_features), nn.LeakyReLU(0.01))
        self.upsample = ShuffleUpsampler(config.scale, config.num_features)
        self.conv_last = conv3x3(config.num_features, 3)
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
            features = layer(features, self.relative_position_index_SA, self.relative_position_index_OCA, mask_NTT)
        features = self.conv_after_body(self.norm(features).permute(0, 3, 1, 2)) + head

        out = self.conv_last(self.upsample(self.conv_before_upsample(features)))
        return (out + self.mean_rgb)[..., : height * self.scale, : width * self.scale]


def detect(state: State) -> HATConfig | None:
    """The configuration of a HAT's state dict, None when it is another network's or an unsupported form of it."""
    group = "layers.0.residual_group"
    needed = (
        "relative_position_index_SA",
        f"{group}.overlap_attn.relative_position_bias_table",
        f"{group}.blocks.0.conv_block.cab.3.attention.1.weight",
        f"{group}.blocks.0.mlp.fc1.weight",
        "patch_embed.norm.weight",
        "conv_after_body.weight",
        "conv_before_upsample.0.weight",
        "conv_first.weight",
    )
    if any(key not in state for key in needed) or state["conv_first.weight"].shape[1] != 3 or _has_positions(state):
        return None
    embed_dim = state["conv_first.weight"].shape[0]
    window_px = math.isqrt(state["relative_position_index_SA"].shape[0])
    groups = range(count_indices(state, "layers."))
    table = "overlap_attn.relative_position_bias_table"
    cab = f"{group}.blocks.0.conv_block.cab"
    return HATConfig(
        scale=shuffle_scale(state, "upsample."),
        embed_dim=embed_dim,
        depths=tuple(count_indices(state, f"layers.{number}.residual_group.blocks.") for number in groups),
        num_heads=tuple(state[f"layers.{number}.residual_group.{table}"].shape[1] for number in groups),
        window_px=window_px,
        overlap_px=math.isqrt(state[f"{group}.{table}"].shape[0]) + 1 - 2 * window_px,
        compress_ratio=embed_dim // state[f"{cab}.0.weight"].shape[0],
        squeeze_factor=embed_dim // state[f"{cab}.3.attention.1.weight"].shape[0],
        mlp_ratio=state[f"{group}.blocks.0.mlp.fc1.weight"].shape[0] / embed_dim,
        num_features=state["conv_before_upsample.0.weight"].shape[0],
    )


def _has_positions(state: State) -> bool:
    """A table of absolute positions, which no released file has: it fits images of one size."""
    return "absolute_pos_embed" in state

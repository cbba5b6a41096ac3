"""IPT: one transformer body between heads and tails of many restoration tasks.

Shapes: x_BCHW [B, 3, P, P] -> [B, 3, sP, sP] with P = patch_px and s the task's scale. Inside:
    features_BFPP [B, F, P, P]       head's output, F = num_features
    tokens_BNE    [B, N, E]          N = (P / p)^2 cells of p x p pixels (p = token_px), E = F p p
    query_NE      [N, E]             the task's learned embedding
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, nearest
from ..options import Texts, option, options, type_name
from .parts import MOST_FEATURES, ShuffleUpsampler, State, conv3x3, count_indices, shuffle_scale
from .rcan import MeanShift

PIXEL_RANGE = 255.0


@options("net")
class IPTConfig:
    """Sizes of `IPT`; the defaults are the released x2 network, `all_tasks()` has the six heads of pretraining."""

    type: Literal["ipt"] = type_name("ipt")
    tasks: Texts = option(("sr-x2",), "names, by which heads, tails and queries are chosen", most=64)
    scales: tuple[Literal[1, 2, 3, 4], ...] = option((2,), "of each task: 1, 2, 3 or 4", most=64)
    num_features: int = option(64, "channels of the body", ge=1, le=MOST_FEATURES)
    patch_px: int = option(48, "side of the one input size", "px", ge=1, le=1024)
    token_px: int = option(3, "side of the square that becomes a token", "px", ge=1, le=64)
    num_heads: int = option(12, "attention heads", ge=1, le=1024)
    num_layers: int = option(12, "of the encoder, and of the decoder", ge=1, le=128)

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ConfigError(f"net.tasks must be different names, at least one, got {list(self.tasks)}")
        if len(self.scales) != len(self.tasks):
            raise ConfigError(f"net.scales must have {len(self.tasks)} entries like tasks, got {list(self.scales)}")
        if self.patch_px % self.token_px:
            raise ConfigError(f"net.patch_px must be a multiple of token_px {self.token_px}, got {self.patch_px}")
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"net.num_heads must divide num_features * token_px^2 = {self.embed_dim}, got {self.num_heads}"
            )

    @property
    def embed_dim(self) -> int:
        """Width of a token."""
        return self.num_features * self.token_px**2

    @property
    def scale(self) -> int:
        """Scale of the first task."""
        return self.scales[0]

    @classmethod
    def all_tasks(cls) -> IPTConfig:
        """The six tasks of the published pretraining."""
        tasks = ("sr-x2", "sr-x3", "sr-x4", "denoise-30", "denoise-50", "derain")
        return cls(tasks=tasks, scales=(2, 3, 4, 1, 1, 1))


class ResBlock(nn.Module):
    """x + conv(relu(conv(x))) with 5x5 kernels."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(num_features, num_features, 5, 1, 2),
            nn.ReLU(),
            nn.Conv2d(num_features, num_features, 5, 1, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Attention(nn.Module):
    """Multi-head attention without biases, under the keys of `nn.MultiheadAttention`."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.out_proj = nn.Linear(dim, dim, bias=False)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Three [B, N, E] -> [B, N, E]."""
        weights = self.in_proj_weight.chunk(3)
        split = [
            F.linear(x, weight).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x, weight in zip((query, key, value), weights)
        ]
        heads = F.scaled_dot_product_attention(*split)
        return self.out_proj(heads.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Self-attention and a two-layer perceptron, normalised before each."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(dim, num_heads)
        self.linear1 = nn.Linear(dim, 4 * dim)
        self.linear2 = nn.Linear(4 * dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        nn.init.kaiming_uniform_(self.self_attn.in_proj_weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed, normed)
        return x + self.linear2(F.relu(self.linear1(self.norm2(x))))


class DecoderLayer(nn.Module):
    """Self-attention and attention to the encoder's output, both asked with the task's query, and a perceptron."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(dim, num_heads)
        self.multihead_attn = Attention(dim, num_heads)
        self.linear1 = nn.Linear(dim, 4 * dim)
        self.linear2 = nn.Linear(4 * dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, memory: Tensor, query: Tensor) -> Tensor:
        normed = self.norm1(x)
        asked = normed + query
        x = x + self.self_attn(asked, asked, normed)
        x = x + self.multihead_attn(self.norm2(x) + query, memory, memory)
        return x + self.linear2(F.relu(self.linear1(self.norm3(x))))


class Layers(nn.Module):
    """A list under the key `layers`."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class Positions(nn.Module):
    """Learned position embeddings under the key `pe`."""

    def __init__(self, num_tokens: int, dim: int) -> None:
        super().__init__()
        self.pe = nn.Embedding(num_tokens, dim)


class Body(nn.Module):
    """Cells of the feature map as tokens: encoder, decoder with the task's query, perceptron."""

    def __init__(self, config: IPTConfig) -> None:
        super().__init__()
        dim, heads = config.embed_dim, config.num_heads
        self.token_px = config.token_px
        self.grid = config.patch_px // config.token_px
        self.linear_encoding = nn.Linear(dim, dim)
        # The places of dropout layers are kept: the keys are `mlp_head.0` and `mlp_head.3`.
        self.mlp_head = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.Identity(), nn.ReLU(), nn.Linear(4 * dim, dim), nn.Identity()
        )
        self.query_embed = nn.Embedding(len(config.tasks), dim * self.grid**2)
        self.encoder = Layers([EncoderLayer(dim, heads) for _ in range(config.num_layers)])
        self.decoder = Layers([DecoderLayer(dim, heads) for _ in range(config.num_layers)])
        self.position_encoding = Positions(self.grid**2, dim)

    def forward(self, features_BFPP: Tensor, task: int) -> tuple[Tensor, Tensor]:
        """Features of one task -> new features of the same shape, and the tokens [B, N, E] that they were folded from."""
        size = features_BFPP.shape[-2:]
        grid = (size[0] // self.token_px, size[1] // self.token_px)
        x = F.unfold(features_BFPP, self.token_px, stride=self.token_px).transpose(1, 2)
        x = x + self.linear_encoding(x)
        x = x + self._on_grid(self.position_encoding.pe.weight, grid)
        for layer in self.encoder.layers:
            x = layer(x)
        memory = x
        query = self._on_grid(self.query_embed.weight[task].view(self.grid**2, -1), grid)
        for layer in self.decoder.layers:
            x = layer(x, memory, query)
        tokens_BNE = x + self.mlp_head(x)
        return F.fold(tokens_BNE.transpose(1, 2), size, self.token_px, stride=self.token_px), tokens_BNE

    def _on_grid(self, embedding_NE: Tensor, grid: tuple[int, int]) -> Tensor:
        """Learned embeddings of the published grid, bicubically interpolated where the grid is another."""
        if grid == (self.grid, self.grid):
            return embedding_NE
        planes = embedding_NE.T.view(1, -1, self.grid, self.grid)
        resized = F.interpolate(planes, size=grid, mode="bicubic", align_corners=False)
        return resized.flatten(2)[0].T


class IPT(nn.Module):
    """Image processing transformer.

    115,460,419 / 115,645,059 / 115,608,131 / 115,312,707 parameters for one task of scale 2 / 3 / 4 / 1; 118,892,370
    for all six. State-dict keys are the release's (`head.T`, `body.encoder.layers.L`, `body.query_embed`, `tail.T`).
    Unlike the release, layers are initialised independently instead of as copies of one.

    The net has one input size; `pytrain.evaluation.patches` runs it on images.

    Attributes:
        tasks: names, in the order of heads.
        patch_px: the input's side.
        scale: scale of the first task; `one_task` gives a view of another.

    Source: Chen et al. 2021, arXiv:2012.00364, and its released code.
    """

    def __init__(self, config: IPTConfig) -> None:
        super().__init__()
        features = config.num_features
        self.tasks = config.tasks
        self.scales = config.scales
        self.scale = config.scale
        self.patch_px = config.patch_px
        self.token_px = config.token_px
        self.sub_mean = MeanShift(PIXEL_RANGE, -1.0)
        self.add_mean = MeanShift(PIXEL_RANGE, 1.0)
        self.head = nn.ModuleList(
            nn.Sequential(conv3x3(3, features), ResBlock(features), ResBlock(features)) for _ in config.tasks
        )
        self.body = Body(config)
        self.tail = nn.ModuleList(
            nn.Sequential(ShuffleUpsampler(scale, features), conv3x3(features, 3)) for scale in config.scales
        )

    def forward(
        self, x_BCHW: Tensor, task: str | int = 0, with_tokens: bool = False, interpolate: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Restore patches of one task.

        Args:
            x_BCHW: [B, 3, P, P] float in [0, 1], P = patch_px.
            task: name or position; its head, query and tail alone take part and get gradients.
            with_tokens: also return the tokens that the contrastive loss compares.
            interpolate: take other sizes too, multiples of token_px, with positions and queries interpolated. The
                released network was not trained for it.
        Returns:
            [B, 3, sP, sP], not clipped; with tokens also [B, N, E], the decoder's output after its perceptron.
        Raises:
            ConfigError: an unknown task or another size.
        """
        number = self.task_number(task)
        self._check_size(x_BCHW, interpolate)
        features = self.head[number](self.sub_mean(x_BCHW * PIXEL_RANGE))
        restored, tokens_BNE = self.body(features, number)
        out: Tensor = self.add_mean(self.tail[number](restored + features)) / PIXEL_RANGE
        return (out, tokens_BNE) if with_tokens else out

    def task_number(self, task: str | int) -> int:
        """Position of a task given by name or position; `ConfigError` for one that the network has no head for."""
        if isinstance(task, str):
            if task not in self.tasks:
                raise ConfigError(
                    f"ipt: task must be one of {', '.join(self.tasks)}, got {task!r}{nearest(task, self.tasks)}"
                )
            return self.tasks.index(task)
        if not 0 <= task < len(self.tasks):
            raise ConfigError(f"ipt: task must be in 0..{len(self.tasks) - 1} ({', '.join(self.tasks)}), got {task}")
        return task

    def one_task(self, task: str | int) -> OneTask:
        """A view of this network as a network of one task, sharing its weights: with `scale`, called with images alone."""
        return OneTask(self, self.task_number(task))

    def _check_size(self, x_BCHW: Tensor, interpolate: bool) -> None:
        height, width = x_BCHW.shape[-2:]
        if interpolate:
            if height % self.token_px or width % self.token_px:
                raise ConfigError(f"ipt: sides must be multiples of {self.token_px} px, got {height}x{width}")
        elif (height, width) != (self.patch_px, self.patch_px):
            raise ConfigError(
                f"ipt: input must be {self.patch_px}x{self.patch_px} px, got {height}x{width}; "
                "use pytrain.evaluation.patches for whole images"
            )


class OneTask(nn.Module):
    """An `IPT` seen as a network of one task; the weights are the IPT's own."""

    def __init__(self, net: IPT, task: int) -> None:
        super().__init__()
        self.net = net
        self.task = task
        self.scale = net.scales[task]
        self.patch_px = net.patch_px

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, 3, P, P] -> [B, 3, sP, sP]."""
        out: Tensor = self.net(x_BCHW, self.task)
        return out


_POSITION_IDS = "body.position_encoding.position_ids"


def canonical(state: State) -> dict[str, Tensor]:
    """Without the constant 0, 1, 2 ... that the release stores."""
    return {key: value for key, value in state.items() if key != _POSITION_IDS}


def published(config: IPTConfig, state: State) -> dict[str, Tensor]:
    """With the constant 0, 1, 2 ... that the release stores."""
    return {**state, _POSITION_IDS: torch.arange((config.patch_px // config.token_px) ** 2).expand(1, -1).clone()}


def detect(state: State) -> IPTConfig | None:
    """The configuration of an IPT's state dict, None when it is another network's.

    Names of tasks and the number of attention heads are not in the weights: the names become "sr-xS", or "task-T" for
    scale 1, and the heads are the release's 12. Files written by pytrain say both.
    """
    needed = ("head.0.0.weight", "body.query_embed.weight", "body.encoder.layers.0.self_attn.in_proj_weight")
    if any(key not in state for key in needed):
        return None
    num_features = state["head.0.0.weight"].shape[0]
    embed_dim = state["body.encoder.layers.0.self_attn.in_proj_weight"].shape[1]
    token_px = math.isqrt(embed_dim // num_features)
    num_tasks = count_indices(state, "head.")
    if state["body.query_embed.weight"].shape[0] != num_tasks or count_indices(state, "tail.") != num_tasks:
        return None
    scales = tuple(shuffle_scale(state, f"tail.{task}.0.") for task in range(num_tasks))
    names = [f"sr-x{scale}" if scale > 1 else f"task-{task}" for task, scale in enumerate(scales)]
    if len(set(names)) < num_tasks:
        names = [f"task-{task}" for task in range(num_tasks)]
    return IPTConfig(
        tasks=tuple(names),
        scales=scales,  # type: ignore[arg-type]
        num_features=num_features,
        patch_px=token_px * math.isqrt(state["body.position_encoding.pe.weight"].shape[0]),
        token_px=token_px,
        num_layers=count_indices(state, "body.encoder.layers."),
    )

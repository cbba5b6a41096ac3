"""Method `mzsr`: meta-learning of a start from which a few gradient steps fit one image (CVPR 2020, arXiv:2002.12213).

A task is a blur kernel. Its samples are halved: the first half (support) moves the weights by some steps of plain
gradient descent, the second half (query) says how good the moved weights are after every step:

    w_0 = w,   w_k = w_(k-1) - inner_rate * gradient of L1(support; w_(k-1)),   loss = mean over tasks of
    sum over k of share_k * L1(query; w_k)

The gradient of the loss with respect to w goes through the inner steps (second order) unless `first_order`. What comes
out is adapted to an image by `pytrain adapt`, at any of `method.scales`. Start from a network trained by method `psnr`
(`train.pretrained`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from pydegrade import TaskBatch, sample

from .. import nets as networks
from ..data.batch import Batch
from ..errors import ConfigError
from ..nets.mzsr import enlarge
from ..nets.parts import MOST_SCALE
from ..options import option, options, type_name
from .contract import Method, Nets, Phase, Setup, Terms, frozen
from .parts import PIXEL_LOSSES, PixelLossName, drawn_for_step, load_space

Shares = Literal["annealed", "uniform"]
Weights = Mapping[str, Tensor]


@options("method")
class MzsrOptions:
    """Options of method `mzsr`."""

    type: Literal["mzsr"] = type_name("mzsr")
    space: str = option(
        "auto", "preset or TOML file; {scale} stands for the step's scale; auto: mzsr-direct-x{scale}", path="toml"
    )
    scales: tuple[Annotated[int, Field(ge=2, le=MOST_SCALE)], ...] = option(
        (), "of a model of several scales, one drawn per step; empty: net.scale", most=MOST_SCALE
    )
    tasks: int = option(
        5, "kernels of a step; each has its part of data.batch, half support, half query", ge=1, le=2**16
    )
    inner_steps: int = option(5, "steps of gradient descent on a task's support", ge=1, le=1000)
    inner_rate: float = option(0.01, "learning rate of these steps", gt=0)
    first_order: bool = option(False, "leave out second derivatives: less memory and time, another gradient")
    shares: Shares = option("annealed", "of the query losses: annealed from equal to the last one only; uniform")
    loss: PixelLossName = option("l1", "what is minimised between output and target")


def step_shares(shares: Shares, step: int, count: int) -> tuple[float, ...]:
    """What the query losses after the inner steps 1 .. count weigh; they sum to 1.

    "annealed" is max(1 - 3e-4 step, 0.03) / count for all but the last, which has the rest. For five inner steps that is
    the schedule of MZSR's code: max(0.2 - 6e-5 step, 0.006), and min(0.2 + 2.4e-4 step, 0.976) for the last. (There the
    step was never counted, so the released training used equal weights: "uniform". It also divided the sum by five, which
    Adam does not notice.)
    """
    if shares == "uniform":
        return (1 / count,) * count
    early = max(1 - 3e-4 * step, 0.03) / count
    return (*(early,) * (count - 1), 1 - (count - 1) * early)


class MzsrMethod(Method):
    """Learns weights from which gradient descent goes far; see `MzsrOptions`."""

    def __init__(self, config: MzsrOptions, setup: Setup) -> None:
        self.config = config
        self.setup = setup
        if not isinstance(setup.net, networks.MZSRConfig):
            raise ConfigError(f"net.type must be 'mzsr' for method mzsr, got {setup.net.type!r}")
        if setup.batch % (2 * config.tasks):
            raise ConfigError(
                f"data.batch must be a multiple of twice method.tasks, {2 * config.tasks}, for support and query of every "
                f"task, got {setup.batch}"
            )
        self.group_rows = setup.batch // config.tasks
        self.scales = config.scales or (int(setup.scale),)
        if 4 * max(self.scales) > setup.crop_px:
            least_px = 4 * max(self.scales)
            raise ConfigError(
                f"data.crop_px must be at least 4 times the largest scale, {least_px}, got {setup.crop_px}"
            )
        name = "mzsr-direct-x{scale}" if config.space == "auto" else config.space
        self.spaces = {scale: load_space(name.replace("{scale}", str(scale)), scale) for scale in self.scales}
        self.pixel_loss = PIXEL_LOSSES[config.loss]
        self.phases = (Phase("generator", ("generator",), self.loss),)

    def model_metadata(self) -> Mapping[str, Any]:
        """The scales that the weights were trained for: `pytrain adapt` has other rates for several."""
        return {"scales": list(self.scales)}

    def scale_of(self, step: int) -> int:
        """The scale of a step."""
        return drawn_for_step(self.setup.seed, step, "mzsr.scale", self.scales)

    def hr_side_px(self, step: int) -> int:
        """The part of `data.crop_px` that is a multiple of the step's scale."""
        return self.setup.crop_px - self.setup.crop_px % self.scale_of(step)

    def select(self, step: int, indices: NDArray[np.int64]) -> TaskBatch:
        """One degradation per group of consecutive sample numbers: that of the group's number."""
        groups, rows = np.unique(indices // self.group_rows, return_inverse=True)
        return sample(self.spaces[self.scale_of(step)], self.setup.seed, groups, step).take(rows)

    def prepare(self, nets: Nets, batch: Batch, step: int) -> Batch:
        """The batch with `enlarged`: lr, clipped as in the release, brought to the target's size once for all steps."""
        return batch.with_extra({"enlarged": enlarge(batch.lr.clamp(0, 1).contiguous(), self.scale_of(step))})

    def loss(self, nets: Nets, batch: Batch, step: int) -> Terms:
        """The weighted query losses, in float32: differences between w_k and w are too small for bfloat16."""
        with torch.autocast("cuda" if batch.target.is_cuda else "cpu", enabled=False):
            # One kernel after the other on a CPU: a convolution whose weights differ per task is slow there.
            losses_TK = self.query_losses(nets["generator"], batch, batched=batch.target.is_cuda)
        after = losses_TK.mean(0)
        shares = torch.tensor(step_shares(self.config.shares, step, len(after)), device=after.device)
        shown = frozen({"query_first": after[0], "query_last": after[-1]})
        return Terms({"query": (shares * after).sum()}, shown=shown)

    def query_losses(self, net: nn.Module, batch: Batch, batched: bool) -> Tensor:
        """Query losses [T, K] of T tasks after each of K inner steps, differentiable with respect to the net's weights.

        Args:
            net: a `pytrain.nets.MZSR`; its weights are not changed.
            batch: prepared, whole groups of `group_rows` samples.
            batched: compute all tasks at once by `torch.vmap`, else one after the other.
        Raises:
            ConfigError: another network (a compiled one), or a batch that begins or ends within a group.
        """
        if not isinstance(net, networks.MZSR):
            raise ConfigError(
                "train.compile must be 'off' for method mzsr: compiled networks have no second derivatives"
            )
        rows = self.group_rows
        if len(batch) % rows or batch.indices[0] % rows:
            raise ConfigError(
                f"mzsr: a part of a batch must be whole groups of {rows} samples (one kernel each), got {len(batch)} "
                f"samples from number {batch.indices[0]}; train.accumulate times processes must divide method.tasks"
            )
        half = rows // 2
        images = [image.unflatten(0, (-1, rows)) for image in (batch.extra["enlarged"], batch.target)]
        inputs = [part for image in images for part in (image[:, :half], image[:, half:])]
        weights = dict(net.named_parameters())

        def losses_of(inputs: tuple[Tensor, ...]) -> Tensor:
            return self._after_each_step(net, weights, inputs)

        if batched:
            return vmap(losses_of)(tuple(inputs))
        return torch.stack([losses_of(task) for task in zip(*inputs)])

    def _after_each_step(self, net: nn.Module, weights: Weights, inputs: tuple[Tensor, ...]) -> Tensor:
        """Query losses [K] of one task."""
        support, query, support_target, query_target = inputs

        def loss(moved: Weights, enlarged: Tensor, target: Tensor) -> Tensor:
            return self.pixel_loss(functional_call(net, dict(moved), (enlarged,), {"enlarged": True}), target)

        losses = []
        for _ in range(self.config.inner_steps):
            # Cut from its history, a start has no second derivatives; w_k still depends on w by the identity.
            start = {key: value.detach() for key, value in weights.items()} if self.config.first_order else weights
            gradient = grad(loss)(start, support, support_target)
            weights = {key: value - self.config.inner_rate * gradient[key] for key, value in weights.items()}
            losses.append(loss(weights, query, query_target))
        return torch.stack(losses)

"""Optimizers: torch's own Adam and AdamW (fused where that exists), and LAMB as ECO uses it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from .settings import option, require


@dataclass(frozen=True)
class OptimizerConfig:
    """One optimizer per phase, all of this kind."""

    type: Literal["adam", "adamw", "lamb"] = option("adam", "kind")
    learning_rate: float = option(2e-4, "of every phase that learning_rates does not name")
    learning_rates: dict[str, float] = option({}, "by phase: { discriminator = 1e-4 }")
    betas: tuple[float, float] = option((0.9, 0.99), "decay of the moments")
    eps: float = option(1e-8, "added to the root of the second moment")
    weight_decay: float = option(0.0, "adam: added to the gradient (L2); adamw, lamb: decoupled")
    clip_norm: float = option(0.0, "largest norm of a phase's gradient; 0: no limit")
    clip_value: float = option(0.0, "largest magnitude of a gradient's entries; 0: no limit")
    bias_correction: bool = option(True, "lamb: moments corrected for their start from zero")
    max_weight_norm: float = option(0.0, "lamb: limit of the weight norm in the ratio; 0: none")

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, "optimizer.learning_rate", "> 0", self.learning_rate)
        for name, rate in self.learning_rates.items():
            require(rate >= 0, f"optimizer.learning_rates.{name}", ">= 0", rate)
        require(all(0 <= beta < 1 for beta in self.betas), "optimizer.betas", "in [0, 1)", self.betas)
        require(self.eps > 0, "optimizer.eps", "> 0", self.eps)
        require(self.weight_decay >= 0, "optimizer.weight_decay", ">= 0", self.weight_decay)
        for name in ("clip_norm", "clip_value", "max_weight_norm"):
            require(getattr(self, name) >= 0, f"optimizer.{name}", ">= 0", getattr(self, name))

    def rate(self, phase: str) -> float:
        """The learning rate of a phase before its schedule."""
        return self.learning_rates.get(phase, self.learning_rate)


class Lamb(torch.optim.Optimizer):
    """LAMB: Adam's direction, scaled per tensor to the length of the weights (You et al. 2020, arXiv:1904.00962, Alg. 2).

    The ratio |w| / |update| is 1 where either norm is 0.

    Args:
        params: what is trained.
        lr: learning rate.
        betas, eps: as in Adam.
        weight_decay: share of the weight that is added to the direction before it is scaled.
        bias_correction: whether the moments are corrected for their start from zero, as in the paper; ECO's release does
            not.
        max_weight_norm: limit of |w| in the ratio (the paper's phi); 0: none. ECO's release has 10.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        bias_correction: bool = True,
        max_weight_norm: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._bias_correction = bias_correction
        self._max_weight_norm = max_weight_norm or math.inf

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "the loop computes losses itself"
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["step"] = torch.zeros((), dtype=torch.float32)
                    state["exp_avg"] = torch.zeros_like(weight)
                    state["exp_avg_sq"] = torch.zeros_like(weight)
                state["step"] += 1
                count = int(state["step"]) if self._bias_correction else math.inf
                state["exp_avg"].lerp_(weight.grad, 1 - beta1)
                state["exp_avg_sq"].mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
                mean = state["exp_avg"] / (1 - beta1**count)
                deviation = (state["exp_avg_sq"] / (1 - beta2**count)).sqrt_().add_(group["eps"])
                update = (mean / deviation).add_(weight, alpha=group["weight_decay"])
                length, update_length = weight.norm().clamp_(max=self._max_weight_norm), update.norm()
                usable = (length > 0) & (update_length > 0)
                ratio = torch.where(usable, length / update_length, torch.ones_like(length))
                weight.sub_(update * ratio, alpha=group["lr"])


def build_optimizer(config: OptimizerConfig, phase: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of one phase; fused where all parameters allow it, which is the faster code for the same formula."""
    rate = config.rate(phase)
    if config.type == "lamb":
        return Lamb(
            parameters,
            rate,
            config.betas,
            config.eps,
            config.weight_decay,
            config.bias_correction,
            config.max_weight_norm,
        )
    kind = torch.optim.Adam if config.type == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=True)

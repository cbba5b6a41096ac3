"""Optimizers: torch's own Adam and AdamW (fused where that exists), and LAMB as ECO uses it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..settings import OptimizerConfig


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


def build_optimizer(
    config: OptimizerConfig, phase: str, parameters: list[nn.Parameter], rate_in_tensor: bool | None = None
) -> torch.optim.Optimizer:
    """The optimizer of one phase; fused where all parameters allow it, which is the faster code for the same formula.

    Args:
        config: kind and numbers.
        phase: names its learning rate.
        parameters: what it moves.
        rate_in_tensor: the rate lies in a float32 tensor beside the parameters, where a recorded step reads it; None: on
            CUDA.
    """
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
    on_device = parameters[0].is_cuda if rate_in_tensor is None and parameters else bool(rate_in_tensor)
    first = torch.tensor(rate, device=parameters[0].device) if on_device else rate
    kind = torch.optim.Adam if config.type == "adam" else torch.optim.AdamW
    return kind(parameters, lr=first, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate from the next step on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

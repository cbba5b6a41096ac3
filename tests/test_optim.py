"""Optimizers: LAMB against float64 written from its paper, Adam's settings as torch takes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pytrain.errors import ConfigError
from pytrain.settings import OptimizerConfig
from pytrain.training.optim import Lamb, build_optimizer


def lamb_twin(weight, gradients, rate, betas, eps, decay, correct=True, limit=np.inf):
    """Algorithm 2 of arXiv:1904.00962 with phi(z) = min(z, limit), in float64."""
    weight = weight.astype(np.float64)
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    for count, gradient in enumerate(gradients, 1):
        mean = betas[0] * mean + (1 - betas[0]) * gradient
        square = betas[1] * square + (1 - betas[1]) * gradient**2
        corrections = (1 - betas[0] ** count, 1 - betas[1] ** count) if correct else (1, 1)
        direction = (mean / corrections[0]) / (np.sqrt(square / corrections[1]) + eps)
        direction = direction + decay * weight
        lengths = min(np.linalg.norm(weight), limit), np.linalg.norm(direction)
        ratio = lengths[0] / lengths[1] if min(lengths) > 0 else 1.0
        weight = weight - rate * ratio * direction
    return weight


@pytest.mark.parametrize("decay", [0.0, 0.02])
@pytest.mark.parametrize("start", ["drawn", "zero"])
@pytest.mark.parametrize(("correct", "limit"), [(True, 0.0), (False, 0.0), (False, 1.5)])
def test_lamb_follows_its_paper(decay, start, correct, limit):
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((4, 3)) if start == "drawn" else np.zeros((4, 3))
    gradients = [rng.standard_normal((4, 3)) for _ in range(7)]
    parameter = nn.Parameter(torch.tensor(weight))
    optimizer = Lamb([parameter], 0.01, (0.9, 0.99), 1e-6, decay, correct, limit)
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    wanted = lamb_twin(weight, gradients, 0.01, (0.9, 0.99), 1e-6, decay, correct, limit or np.inf)
    # Both are float64; sums in another order.
    np.testing.assert_allclose(parameter.detach().numpy(), wanted, rtol=1e-12, atol=1e-14)


def test_a_parameter_without_gradient_stays():
    still, moved = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    for kind in ("adam", "adamw", "lamb"):
        optimizer = build_optimizer(OptimizerConfig(type=kind, weight_decay=0.1), "generator", [still, moved])
        moved.grad = torch.ones(3)
        optimizer.step()
        assert torch.equal(still, torch.ones(3))
        assert not torch.equal(moved, torch.ones(3))


def test_fused_adam_is_the_plain_formula():
    config = OptimizerConfig(learning_rate=0.01, betas=(0.8, 0.95), eps=1e-3)
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = build_optimizer(config, "generator", [weight])
    mean = square = np.zeros(2)
    wanted = np.array([1.0, -2.0])
    for count in range(1, 6):
        gradient = np.array([0.5 * count, -1.0])
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        mean = 0.8 * mean + 0.2 * gradient
        square = 0.95 * square + 0.05 * gradient**2
        wanted = wanted - 0.01 * (mean / (1 - 0.8**count)) / (np.sqrt(square / (1 - 0.95**count)) + 1e-3)
    # float32 state, five steps of about 0.01 on numbers near 1.
    np.testing.assert_allclose(weight.detach().numpy(), wanted, rtol=1e-6)


def test_the_rate_of_a_phase():
    config = OptimizerConfig(learning_rate=1e-3, learning_rates={"discriminator": 1e-4})
    assert (config.rate("generator"), config.rate("discriminator")) == (1e-3, 1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, "optimizer.learning_rate must be > 0, got 0.0"),
        ({"learning_rates": {"d": -1.0}}, "optimizer.learning_rates.d must be >= 0, got -1.0"),
        ({"betas": (0.9, 1.0)}, "optimizer.betas[1] must be < 1, got 1.0"),
        ({"eps": 0.0}, "optimizer.eps must be > 0, got 0.0"),
        ({"weight_decay": -1.0}, "optimizer.weight_decay must be >= 0, got -1.0"),
        ({"clip_norm": -0.5}, "optimizer.clip_norm must be >= 0, got -0.5"),
        ({"clip_value": -0.5}, "optimizer.clip_value must be >= 0, got -0.5"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(ConfigError) as caught:
        OptimizerConfig(**values)
    assert str(caught.value) == message

"""Scores that cost less than 100 iterations per task; docs/tgsr.md has what each was measured to be worth.

All of them estimate the full score, the gain in dB of `Scorer.gain`, or at least its order. What they share with it:
common crops and noise numbers, and that a value depends on nothing but weights, task, crops and settings.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ConfigError
from .scoring import Scorer

# Ridge of the last layer's least squares, as a share of the features' mean square.
RIDGE = 0.1


# ---- One backward pass

GRADIENT_BATCHES = 4
"""Of both halves of `gradient_gain`."""


def gradient_gain(scorer: Scorer, row: int, batches: int = GRADIENT_BATCHES // 2) -> float:
    """What the first step of Adam promises: sum over weights of |gradient|, relative to the loss.

    Adam's first step is -rate * sign(g), so it lowers the loss by rate * sum |g| to first order. |g| of a noisy gradient
    is too large, the more the noisier; the product of one half's gradient with the sign of the other half's has no such
    bias.

    Args:
        scorer: where.
        row: of the task.
        batches: of each half.
    Returns:
        Relative decrease of the loss per unit of learning rate; a rank, not dB.
    """
    scorer.weights.restore()
    halves, losses = [], []
    for half in range(2):
        scorer.optimizer.zero_grad(set_to_none=False)
        for number in range(batches):
            lr, target = scorer.batch(row, (half * batches + number) * scorer.settings.batch, scorer.settings.batch)
            loss = scorer.loss(lr, target)
            loss.backward()
            losses.append(float(loss.detach()))
        halves.append([parameter.grad.clone() for parameter in scorer.net.parameters() if parameter.grad is not None])
    promised = sum(float((one * other.sign()).sum() + (other * one.sign()).sum()) for one, other in zip(*halves))
    return promised / (2 * batches) / float(np.mean(losses))


# ---- The last layer in closed form


def last_convolution(net: nn.Module, lr: Tensor) -> nn.Conv2d:
    """The convolution that a network runs last.

    Raises:
        ConfigError: it runs none that has weights to train.
    """
    ran: list[nn.Conv2d] = []
    hooks = [
        module.register_forward_hook(lambda module, _inputs, _output: ran.append(module))
        for module in net.modules()
        if isinstance(module, nn.Conv2d) and module.weight.requires_grad
    ]
    try:
        with torch.no_grad():
            net(lr)
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise ConfigError("method.grouping.indicator: last_layer needs a network that ends with a convolution")
    return ran[-1]


def last_layer_gain(scorer: Scorer, row: int, batches: int = 2, stride_px: int = 2, ridge: float = RIDGE) -> float:
    """Gain in dB when only the last convolution is refitted, by least squares.

    Solves min_D |residual - features D|^2 + ridge |D|^2 on training crops, for the change D of the convolution's weights
    and bias, and measures PSNR on the validation crops with and without D.

    Args:
        scorer: where; its network's output must be the last convolution's plus something that does not depend on it.
        row: of the task.
        batches: training batches.
        stride_px: every so manieth output pixel in both directions takes part in the fit.
        ridge: see RIDGE.
    """
    scorer.weights.restore()
    lr, target = scorer.batch(row, 0, batches * scorer.settings.batch)
    convolution = last_convolution(scorer.net, lr[:1])
    features, sr = _features(scorer, convolution, lr)
    columns = _patches(convolution, features)[:, :, ::stride_px, ::stride_px]
    residual = (target - sr)[:, :, ::stride_px, ::stride_px]

    # Least squares over all pixels of all crops.
    design = columns.permute(0, 2, 3, 1).reshape(-1, columns.shape[1])
    wanted = residual.permute(0, 2, 3, 1).reshape(-1, residual.shape[1])
    gram = (design.T @ design).double() / len(design)
    moment = (design.T @ wanted).double() / len(design)
    size = float(gram.diagonal().mean())
    identity = torch.eye(len(gram), dtype=torch.float64, device=gram.device)
    change = torch.linalg.solve(gram + ridge * size * identity, moment)

    # What it does to crops that took no part.
    lr, wanted = scorer.validation_pair(row)
    features, sr = _features(scorer, convolution, lr)
    weight = change[:-1].float().T.reshape(-1, features.shape[1], *convolution.kernel_size)
    better = sr + F.conv2d(features, weight, change[-1].float(), padding=convolution.padding)
    return scorer.psnr_of(better, wanted) - scorer.psnr_of(sr, wanted)


def _features(scorer: Scorer, convolution: nn.Conv2d, lr: Tensor) -> tuple[Tensor, Tensor]:
    """Input of a convolution, and the network's output, float32."""
    seen: list[Tensor] = []
    hook = convolution.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        with torch.no_grad(), scorer.precision.autocast(scorer.device):
            sr = scorer.net(lr)
    finally:
        hook.remove()
    return seen[-1].float(), sr.float()


def _patches(convolution: nn.Conv2d, features: Tensor) -> Tensor:
    """What each output pixel is a linear function of: [B, F kh kw + 1, H, W], a constant 1 last."""
    count, _, height, width = features.shape
    assert not isinstance(convolution.padding, str)
    columns = F.unfold(features, convolution.kernel_size, padding=convolution.padding)
    columns = columns.view(count, -1, height, width)
    return torch.cat([columns, torch.ones_like(columns[:, :1])], dim=1)


# ---- Regression from cheap numbers to the full score


def standardized(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns with mean 0 and standard deviation 1."""
    return (table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-12)


def regress(table: NDArray[np.float64], known: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian process regression: predictions for all rows from values of some.

    The kernel is a squared exponential plus a linear term; length, weight and noise are those of a small grid with the
    least leave-one-out error (Rasmussen and Williams 2006, eq. 5.12).

    Args:
        table: features [N, D], standardized.
        known: rows with values, [n].
        values: theirs.
    Returns:
        Predictions [N]; for known rows too.
    """
    mean, spread = values.mean(), max(values.std(), 1e-12)
    wanted = (values - mean) / spread
    distance = _squared_distances(table, table[known]) / table.shape[1]
    product = table @ table[known].T / table.shape[1]
    best: tuple[float, NDArray[np.float64]] | None = None
    for length, linear, noise in itertools.product((0.5, 1.0, 2.0, 4.0), (0.1, 1.0), (1e-3, 1e-2, 3e-2, 0.1, 0.3)):
        kernel = np.exp(-0.5 * distance / length**2) + linear * product
        inverse = np.linalg.inv(kernel[known] + noise * np.eye(len(known)))
        weights = inverse @ wanted
        error = float(np.mean((weights / np.diagonal(inverse)) ** 2))
        if best is None or error < best[0]:
            best = error, kernel @ weights
    assert best is not None
    return np.asarray(mean + spread * best[1])


def _squared_distances(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None, :]
    return np.maximum(squares - 2 * some @ others.T, 0)


# ---- How faithful an indicator is


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Correlation of ranks; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[position]


def recall_of_top(estimate: NDArray[np.float64], truth: NDArray[np.float64], share: float) -> float:
    """Share of the truly largest values that are among the largest estimates, both sets of the same size."""
    count = top_count(len(truth), share)
    wanted, found = (set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (truth, estimate))
    return len(wanted & found) / count


def top_count(total: int, share: float) -> int:
    """How many rows a share of `total` is: rounded, at least 1."""
    return max(1, round(share * total))

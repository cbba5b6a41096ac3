"""From statistics of a square to a distribution over each parameter of its task: networks learn it from simulations.

A network gives, for each parameter, shares q of its cells (bins, classes, "no effect"), trained by the mean log likelihood:
the marginals of an amortised posterior (Papamakarios and Murray 2016, NeurIPS; Lueckmann et al. 2017, NeurIPS). q over the
shares of the simulations is a likelihood up to a factor, and that is what `population` needs. There are FOLDS networks,
each trained without a part of the clean images, so that simulations are judged by networks that have not seen their scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .parameters import Parameter

FOLDS = 3
HIDDEN = 64
EPOCHS = 60
_BATCH = 128
_RATE = 3e-3
_DECAY = 0.03
_DROPPED = 0.1
_INPUT_NOISE = 0.1
"""Standard deviation of what is added to standardised statistics in training: photographs are never quite as simulated."""
_CLIP = 4.0
_LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class Posteriors:
    """What simulations and photographs say, by networks that did not learn from their scenes.

    Attributes:
        simulated: for each parameter the likelihood of its cells, float64 [N, cells]: shares over those of the simulations.
        seen: the same of other statistics, the geometric mean over the networks, [M, cells].
        information: for each parameter the mean log of the likelihood of the true cell, over simulations, as a share of
            what knowing it would give; 0 where statistics say nothing, 1 where they say all.
    """

    simulated: tuple[NDArray[np.float64], ...]
    seen: tuple[NDArray[np.float64], ...]
    information: tuple[float, ...]


def posteriors(
    simulated: NDArray[np.float32],
    image: NDArray[np.int64],
    cells: Sequence[NDArray[np.int64]],
    parameters: Sequence[Parameter],
    seen: NDArray[np.float32],
    advance: Callable[[], None] = lambda: None,
) -> Posteriors:
    """Train, and apply.

    Args:
        simulated: statistics [N, S].
        image: clean image of each, [N].
        cells: for each parameter, [N].
        parameters: which.
        seen: statistics of photographs [M, S].
        advance: is called for every network.
    """
    middle = np.median(simulated, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(simulated - middle), axis=0), 0.3 * simulated.std(axis=0) + 1e-4)
    inputs = torch.from_numpy(np.clip((simulated - middle) / spread, -_CLIP, _CLIP)).float()
    outside = torch.from_numpy(np.clip((seen - middle) / spread, -_CLIP, _CLIP)).float()
    goals = torch.from_numpy(np.stack(cells, 1))
    widths = [parameter.cells for parameter in parameters]
    fold = _folds(image)
    shares = [np.zeros((len(inputs), width)) for width in widths]
    logs = [np.zeros((len(outside), width)) for width in widths]
    for number in range(FOLDS):
        left_out = fold == number
        net = _trained(inputs[~left_out], goals[~left_out], widths, number)
        with torch.no_grad():
            for place, (kept, new) in enumerate(
                zip(_heads(net(inputs[left_out]), widths), _heads(net(outside), widths))
            ):
                shares[place][left_out] = kept.exp().double().numpy()
                logs[place] += new.double().numpy() / FOLDS
        advance()

    result, judged, information = [], [], []
    for place, parameter in enumerate(parameters):
        frequency = np.bincount(cells[place], minlength=parameter.cells) / len(inputs)
        usual = np.maximum(frequency, 1e-9)
        power = _temperature(shares[place], cells[place])
        own = _normalised(np.maximum(shares[place], 1e-9) ** power, usual)
        other = _normalised(np.exp(power * logs[place]), usual)
        gain = np.log(own[np.arange(len(own)), cells[place]]).mean()
        entropy = -(frequency[frequency > 0] * np.log(frequency[frequency > 0])).sum()
        result.append(own)
        judged.append(other)
        information.append(float(np.clip(gain / entropy, 0, 1)))
    return Posteriors(tuple(result), tuple(judged), tuple(information))


def _folds(image: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of clean images; of their simulations where there are fewer images than folds."""
    _, number = np.unique(image, return_inverse=True)
    return number % FOLDS if number.max(initial=0) + 1 >= FOLDS else np.arange(len(image)) % FOLDS


def _normalised(shares: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Likelihoods: shares that sum to 1, and never are nothing, over the usual ones."""
    shares = shares / shares.sum(axis=1, keepdims=True)
    return ((1 - _LEAST_SHARE) * shares + _LEAST_SHARE * usual) / usual


def _temperature(shares: NDArray[np.float64], cells: NDArray[np.int64]) -> float:
    """The power of the shares at which those of simulations that were left out are likeliest."""
    logs = np.log(np.maximum(shares, 1e-9))
    rows = np.arange(len(logs))
    best, power = -np.inf, 1.0
    for tried in np.geomspace(0.05, 1.5, 16):
        scaled = tried * logs
        top = scaled.max(axis=1)
        likelihood = (scaled[rows, cells] - top - np.log(np.exp(scaled - top[:, None]).sum(axis=1))).mean()
        if likelihood > best:
            best, power = likelihood, float(tried)
    return power


def _heads(output: torch.Tensor, widths: Sequence[int]) -> list[torch.Tensor]:
    return [part.log_softmax(1) for part in output.split(list(widths), dim=1)]


def _trained(inputs: torch.Tensor, goals: torch.Tensor, widths: Sequence[int], seed: int) -> nn.Module:
    """A network with two hidden layers; its random numbers are its own."""
    words = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(inputs.shape[1], HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, sum(widths))
    )  # fmt: skip
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                layer.weight.copy_((2 * torch.rand(layer.weight.shape, generator=words) - 1) * bound)
                layer.bias.zero_()
    steps = EPOCHS * max(1, len(inputs) // _BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=_DECAY)
    done = 0
    while done < steps:
        for rows in torch.randperm(len(inputs), generator=words).split(_BATCH):
            if done == steps:
                break
            shape = inputs[rows].shape
            kept = torch.rand(shape, generator=words) >= _DROPPED
            noisy = (inputs[rows] + _INPUT_NOISE * torch.randn(shape, generator=words)) * kept
            heads = _heads(net(noisy), widths)
            loss = torch.stack([-head.gather(1, goals[rows, k : k + 1]).mean() for k, head in enumerate(heads)]).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            done += 1
            optimizer.param_groups[0]["lr"] = _RATE * min(1.0, 10 * done / steps) * (1 - done / steps)
            optimizer.step()
    return net.eval()

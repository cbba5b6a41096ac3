"""The score of a task: how much a network improves on it when it is fine-tuned on this task alone.

Common random numbers: every task is degraded from the same crops with the same noise numbers, and before and after are
measured on the same images, so that scores differ by the task and the weights only. A score is a pure function of
(weights, task row, crops, settings): it does not matter which process computes it, nor what it computed before.

Shapes: B training images of a step, M validation crops, hr [3, H, W], lr [3, h, w], H = scale h.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import pydegrade

from ..errors import PytrainError
from ..methods.parts import PIXEL_LOSSES, PixelLossName
from ..settings import OptimizerConfig, PrecisionName
from ..training.optim import build_optimizer
from ..training.precision import Precision, choose_precision
from .inputs import CropPixels


@dataclass(frozen=True)
class TuneSettings:
    """How a network is fine-tuned on one task.

    Attributes:
        iterations: optimizer steps.
        average: the score is the mean gain after each of the last so many steps.
        batch: images of a step.
        loss: what is minimised.
        optimizer: its learning rate is constant; moments start from zero.
    """

    iterations: int
    average: int
    batch: int
    loss: PixelLossName
    optimizer: OptimizerConfig


class FlatWeights:
    """The parameters of a network as views of one buffer, so that one copy puts all of them back.

    Args:
        net: its parameters are rebound to the buffer, in the memory layout that they have.
    """

    def __init__(self, net: nn.Module) -> None:
        parameters = list(net.parameters())
        self.buffer = torch.empty(sum(parameter.numel() for parameter in parameters), device=parameters[0].device)
        begin = 0
        for parameter in parameters:
            view = self.buffer[begin : begin + parameter.numel()].as_strided(parameter.shape, parameter.stride(), begin)
            view.copy_(parameter.detach())
            parameter.data = view
            begin += parameter.numel()
        self.start = self.buffer.clone()

    def restore(self) -> None:
        """Every weight as it was when this object was made."""
        self.buffer.copy_(self.start)


class Scorer:
    """Fine-tunes one network on one task after the other, always from the same weights.

    Args:
        net: the pretrained network, in evaluation mode or not; this object owns it from here on.
        tasks: what `row` numbers.
        crops: training crops, at least `iterations * batch` of them.
        validation: crops on which gains are measured.
        settings: of the fine-tuning.
        precision: how the network computes; PSNR is computed in float32 from its outputs.
        against: "target" compares outputs with what the loss compares with (sharpened, where the space sharpens), "hr"
            with the clean crop.
        steps_at_once: the batches of so many steps are degraded in one call, which costs less and gives the same images.
    """

    def __init__(
        self,
        net: nn.Module,
        tasks: pydegrade.TaskBatch,
        crops: CropPixels,
        validation: CropPixels,
        settings: TuneSettings,
        precision: Precision,
        against: str = "target",
        steps_at_once: int = 10,
    ) -> None:
        self.net = precision.arranged(net).train()
        self.weights = FlatWeights(self.net)
        self.device = self.weights.buffer.device
        self.tasks = tasks
        self.crops = crops
        self.validation = validation
        self.settings = settings
        self.precision = precision
        self.against = against
        self.steps_at_once = steps_at_once
        self.border = int(tasks.space.scale)
        self.pixel_loss = PIXEL_LOSSES[settings.loss]
        self.optimizer = build_optimizer(settings.optimizer, "generator", list(self.net.parameters()))

    # ---- Images

    def batch(self, row: int, begin: int, count: int) -> tuple[Tensor, Tensor]:
        """Crops begin .. begin + count - 1 degraded by a task: (lr [B, 3, h, w], target [B, 3, H, W])."""
        return self._degraded(row, self.crops.take(begin, count))

    def validation_pair(self, row: int) -> tuple[Tensor, Tensor]:
        """The validation crops degraded by a task: (lr [M, 3, h, w], what is compared with [M, 3, H, W])."""
        return self._degraded(row, self.validation, self.against == "hr")

    def _degraded(self, row: int, crops: CropPixels, keep_hr: bool = False) -> tuple[Tensor, Tensor]:
        hr = torch.from_numpy(crops.images).to(torch.float32).div_(255.0)
        tasks = self.tasks.take(np.full(len(crops), row)).with_noise(crops.numbers)
        pair = pydegrade.degrade_batch(hr, tasks)
        target = hr if keep_hr else pair.target
        return self.precision.image(pair.lr.to(self.device)), self.precision.image(target.to(self.device))

    # ---- Measuring

    @torch.no_grad()
    def psnr(self, lr: Tensor, wanted: Tensor) -> float:
        """Mean luma PSNR of the network's outputs in dB, protocol y-unrounded with a border of `scale` px."""
        with self.precision.autocast(self.device):
            sr = self.net(lr)
        return self.psnr_of(sr, wanted)

    def psnr_of(self, sr: Tensor, wanted: Tensor) -> float:
        """The same of outputs that are there already, [M, 3, H, W]; NaN where they are not finite."""
        if not torch.isfinite(sr).all():
            return math.nan
        return pydegrade.psnr(sr.detach().float(), wanted, f"y-unrounded-border{self.border}").value

    def loss(self, lr: Tensor, target: Tensor) -> Tensor:
        """The training loss, with gradient."""
        with self.precision.autocast(self.device):
            return self.pixel_loss(self.net(lr), target)

    # ---- Fine-tuning

    def steps(self, row: int, iterations: int) -> Iterator[int]:
        """Fine-tune from the start, yielding the number of steps done after each; the network then has those weights."""
        self.weights.restore()
        self.optimizer.state.clear()
        rows = self.settings.batch
        for step in range(iterations):
            place = step % self.steps_at_once
            if place == 0:
                pair = self.batch(row, step * rows, min(self.steps_at_once, iterations - step) * rows)
            lr, target = (images[place * rows : (place + 1) * rows] for images in pair)
            self.optimizer.zero_grad(set_to_none=False)
            self.loss(lr, target).backward()
            self.optimizer.step()
            yield step + 1

    def trace(self, row: int, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """Gain in dB on the validation crops after each number of steps in `at` (rising, >= 1), float64 [len(at)]."""
        lr, wanted = self.validation_pair(row)
        self.weights.restore()
        before = self.psnr(lr, wanted)
        moments = set(at.tolist())
        return np.array([self.psnr(lr, wanted) - before for step in self.steps(row, int(at[-1])) if step in moments])

    def short_gain(self, row: int, iterations: int, rate: float, last: int) -> dict[str, float]:
        """A short fast fine-tuning.

        Args:
            row: of the task.
            iterations: how many steps.
            rate: their learning rate as a multiple of the settings'.
            last: gains after so many of the last steps are averaged.
        Returns:
            gain_db, first_db (the gain after the first step), before_db (PSNR before).
        """
        lr, wanted = self.validation_pair(row)
        self.weights.restore()
        before = self.psnr(lr, wanted)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.settings.optimizer.learning_rate
        try:
            at = {1, *range(iterations - last + 1, iterations + 1)}
            gains = {step: self.psnr(lr, wanted) - before for step in self.steps(row, iterations) if step in at}
        finally:
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.optimizer.learning_rate
        mean = float(np.mean([gain for step, gain in gains.items() if step > iterations - last]))
        return {"gain_db": mean, "first_db": gains[1], "before_db": before}

    def gain(self, row: int) -> float:
        """The score: mean gain in dB over the last `average` of `iterations` steps.

        Raises:
            PytrainError: the fine-tuning diverged.
        """
        last = np.arange(self.settings.iterations - self.settings.average, self.settings.iterations) + 1
        gain = float(self.trace(row, last).mean())
        if not np.isfinite(gain):
            address = self.tasks.addresses[row]
            raise PytrainError(f"{address}: fine-tuning diverged, gain {gain}; lower method.grouping.learning_rate")
        return gain


def chosen_precision(
    name: PrecisionName, device: torch.device, open_scorer: Callable[[Precision], Scorer]
) -> Precision:
    """The precision of a configuration, found by a short trial on one thread where it says "auto"."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return choose_precision(name, device, lambda precision: _trial(open_scorer(precision)))
    finally:
        torch.set_num_threads(threads)


def _trial(scorer: Scorer) -> Callable[[], None]:
    lr, target = scorer.batch(0, 0, scorer.settings.batch)
    return lambda: scorer.loss(lr, target).backward()

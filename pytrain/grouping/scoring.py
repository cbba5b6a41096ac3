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

from ..errors import PytrainError, is_out_of_memory, one_line
from ..methods.parts import PIXEL_LOSSES, PixelLossName
from ..settings import OptimizerConfig, PrecisionName
from ..training.optim import build_optimizer, set_rate
from ..training.precision import Precision, choose_precision
from ..training.recording import MOST_DEVIATION, WARM_UP, Recorder, can_be_recorded, deviation, recordable
from .inputs import CropPixels

CPU = torch.device("cpu")


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
        device: where all of it happens; crops and network are moved there once.
        recorder: records a step, which is then repeated; None: every step is launched anew.

    Attributes:
        update: (lr, target) -> one step of the network.
        why_unrecorded: one line where there is a recorder and steps are launched anew all the same.
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
        device: torch.device = CPU,
        recorder: Recorder | None = None,
    ) -> None:
        self.net = precision.arranged(net.to(device)).train()
        self.weights = FlatWeights(self.net)
        self.device = device
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
        self.pixels = {id(one): torch.from_numpy(one.images).to(device) for one in (crops, validation)}
        self.recorder = recorder
        self.why_unrecorded = ""
        self.update: Callable[[Tensor, Tensor], None] = self._launched
        if recorder is not None:
            self._record(recorder)

    # ---- Images

    def batch(self, row: int, begin: int, count: int) -> tuple[Tensor, Tensor]:
        """Crops begin .. begin + count - 1 degraded by a task: (lr [B, 3, h, w], target [B, 3, H, W])."""
        part = slice(begin, begin + count)
        return self._degraded(row, self.pixels[id(self.crops)][part], self.crops.numbers[part])

    def validation_pair(self, row: int) -> tuple[Tensor, Tensor]:
        """The validation crops degraded by a task: (lr [M, 3, h, w], what is compared with [M, 3, H, W])."""
        pixels = self.pixels[id(self.validation)]
        return self._degraded(row, pixels, self.validation.numbers, self.against == "hr")

    def _degraded(
        self, row: int, pixels: Tensor, numbers: NDArray[np.int64], keep_hr: bool = False
    ) -> tuple[Tensor, Tensor]:
        hr = pixels.to(torch.float32).div_(255.0)
        tasks = self.tasks.take(np.full(len(numbers), row)).with_noise(numbers)
        pair = pydegrade.degrade_batch(hr, tasks)
        target = hr if keep_hr else pair.target
        return self.precision.image(pair.lr), self.precision.image(target)

    # ---- Measuring

    def psnr(self, lr: Tensor, wanted: Tensor) -> float:
        """Mean luma PSNR of the network's outputs in dB, protocol y-unrounded with a border of `scale` px."""
        return self._read([self._psnr(lr, wanted)])[0]

    def psnr_of(self, sr: Tensor, wanted: Tensor) -> float:
        """The same of outputs that are there already, [M, 3, H, W]; NaN where they are not finite."""
        return self._read([self._psnr_of(sr, wanted)])[0]

    @torch.no_grad()
    def _psnr(self, lr: Tensor, wanted: Tensor) -> Tensor:
        """`psnr` as a float64 scalar where the network is; on a GPU nothing is waited for."""
        with self.precision.autocast(self.device):
            sr = self.net(lr)
        return self._psnr_of(sr, wanted)

    def _psnr_of(self, sr: Tensor, wanted: Tensor) -> Tensor:
        sr = sr.detach().float()
        if self.device.type != "cpu":
            return luma_psnr(sr, wanted, self.border)
        value = math.nan
        if torch.isfinite(sr).all():
            value = pydegrade.psnr(sr, wanted, f"y-unrounded-border{self.border}").value
        return torch.tensor(value, dtype=torch.float64)

    def _read(self, values: list[Tensor]) -> list[float]:
        """Scalars of the device, in one transfer."""
        stacked = torch.stack(values)
        if self.recorder is not None:
            return self.recorder.fetch(stacked)()
        found: list[float] = stacked.tolist()
        return found

    def loss(self, lr: Tensor, target: Tensor) -> Tensor:
        """The training loss, with gradient."""
        with self.precision.autocast(self.device):
            return self.pixel_loss(self.net(lr), target)

    # ---- Fine-tuning

    def steps(self, row: int, iterations: int) -> Iterator[int]:
        """Fine-tune from the start, yielding the number of steps done after each; the network then has those weights."""
        self._begin()
        rows = self.settings.batch
        for step in range(iterations):
            place = step % self.steps_at_once
            if place == 0:
                pair = self.batch(row, step * rows, min(self.steps_at_once, iterations - step) * rows)
            lr, target = (images[place * rows : (place + 1) * rows] for images in pair)
            self.update(lr, target)
            yield step + 1

    def _begin(self) -> None:
        """The weights of the start, and moments of zero: where they are, since a recorded step knows no other place."""
        self.weights.restore()
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        if moments:
            torch._foreach_zero_(moments)

    def _launched(self, lr: Tensor, target: Tensor) -> None:
        """One step."""
        self.optimizer.zero_grad(set_to_none=False)
        self.loss(lr, target).backward()
        self.optimizer.step()

    def _record(self, recorder: Recorder) -> None:
        """Have steps repeat a recorded one, where that moves the weights as a step does."""
        if not can_be_recorded(self.optimizer):
            self.why_unrecorded = f"steps of {type(self.optimizer).__name__} cannot be recorded"
            return
        images = tuple(
            image.clone(memory_format=torch.preserve_format) for image in self.batch(0, 0, self.settings.batch)
        )
        self._begin()
        for _ in range(WARM_UP):
            self._launched(*images)
        expected = self.weights.buffer.clone()
        self._begin()
        try:
            with recordable([self.optimizer]):
                repeat = recorder.record(lambda: self._launched(*images))
            for _ in range(WARM_UP):
                repeat()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self.why_unrecorded = f"a step cannot be recorded ({one_line(error)})"
            return
        share = deviation([self.weights.start], [expected], [self.weights.buffer])
        if share > MOST_DEVIATION:
            self.why_unrecorded = f"a recorded step moves the weights elsewhere, {share:.0%} of the way apart"
            return

        def repeated(lr: Tensor, target: Tensor) -> None:
            for image, new in zip(images, (lr, target)):
                image.copy_(new)
            repeat()

        self.update = repeated

    def trace(self, row: int, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """Gain in dB on the validation crops after each number of steps in `at` (rising, >= 1), float64 [len(at)]."""
        lr, wanted = self.validation_pair(row)
        self.weights.restore()
        values, moments = [self._psnr(lr, wanted)], set(at.tolist())
        values += [self._psnr(lr, wanted) for step in self.steps(row, int(at[-1])) if step in moments]
        before, *after = self._read(values)
        return np.array(after) - before

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
        at = sorted({1, *range(iterations - last + 1, iterations + 1)})
        values = [self._psnr(lr, wanted)]
        set_rate(self.optimizer, rate * self.settings.optimizer.learning_rate)
        try:
            values += [self._psnr(lr, wanted) for step in self.steps(row, iterations) if step in at]
        finally:
            set_rate(self.optimizer, self.settings.optimizer.learning_rate)
        before, *after = self._read(values)
        gains = {step: value - before for step, value in zip(at, after)}
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


def luma_psnr(sr: Tensor, wanted: Tensor, border: int) -> Tensor:
    """What `pydegrade.psnr` gives under y-unrounded, as a float64 scalar on the device of the images.

    Args:
        sr, wanted: float32 [M, C, H, W] in [0, 1]; C is 3, of whose luma it is, or 1.
        border: px that are left out on every side.
    Returns:
        Mean over the images in dB; infinite for equal images, NaN where `sr` is not finite.
    """
    inside = slice(border, -border) if border else slice(None)
    apart = (sr.double() - wanted.double())[..., inside, inside]
    if apart.shape[1] == 3:
        # MATLAB's luma, from 16 to 235: the offset is the same in both. Numbers of the host would have to be copied.
        apart = 65.481 / 255 * apart[:, 0] + 128.553 / 255 * apart[:, 1] + 24.966 / 255 * apart[:, 2]
    per_image = -10 * apart.flatten(1).square().mean(1).log10()
    return per_image.mean() + 0.0 * sr.double().sum()  # NaN where a sum is not finite


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
    if scorer.recorder is not None:
        return lambda: scorer.update(lr, target)
    return lambda: scorer.loss(lr, target).backward()

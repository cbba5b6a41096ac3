"""Slices side by side: the gradient of the whole batch, the same bits in every run, and only where the loss allows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pytrain.data.batch import Batch
from pytrain.methods.contract import Method, Nets, Phase, Terms
from pytrain.training import clock as clock_module
from pytrain.training import loop
from pytrain.training.clock import Clock
from pytrain.training.slices import SlicePool, add_gradients, gradients_of, is_separable, slice_count

from .children import HANG_S
from .test_loop import assert_same, configuration, events, photographs_dir, weights_of

__all__ = ["photographs_dir"]

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def batch_of(rows: int) -> Batch:
    images = torch.rand(rows, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return Batch(np.arange(rows), images, images.flip(0), images)


class OnePhase(Method):
    """A method of which only the loss matters here."""

    def __init__(self, loss: object, count: int = 1) -> None:
        self.phases = tuple(Phase(f"{number}", ("net",), loss) for number in range(count))  # type: ignore[arg-type]


def pixel_loss(nets: Nets, batch: Batch, step: int) -> Terms:
    return Terms({"l1": (nets["net"](batch.lr) - batch.target).abs().mean()})


def test_the_gradient_is_that_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    net, batch = nn.Conv2d(3, 3, 3, padding=1).to(memory_format=torch.channels_last), batch_of(6)
    trained = [*net.parameters(), nn.Parameter(torch.zeros(2))]

    def compute(rows: slice) -> tuple[Tensor | None, ...]:
        part = batch.take(rows)
        return gradients_of(lambda: pixel_loss({"net": net}, part, 0), len(part) / 6, trained).gradients

    pool = SlicePool(2)
    add_gradients(trained, pool.map(compute, [slice(0, 2), slice(2, 6)]))
    pool.close()
    expected = torch.autograd.grad(pixel_loss({"net": net}, batch, 0).losses["l1"], list(net.parameters()))
    for parameter, gradient in zip(trained, expected):
        # Sums of float32 in another order.
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-7)
    assert trained[0].grad is not None
    assert trained[0].grad.stride() == trained[0].stride()
    assert trained[2].grad is None


def test_threads_work_at_the_same_time_and_give_theirs_back() -> None:
    meeting = threading.Barrier(2, timeout=HANG_S)

    def meet(number: int) -> tuple[int, int]:
        meeting.wait()  # would break in the end if one came after the other
        return number, torch.get_num_threads()

    pool = SlicePool(2)
    assert pool.map(meet, [5, 6]) == [(5, 1), (6, 1)]
    assert torch.get_num_threads() == 2

    def fail(number: int) -> None:
        raise ValueError(f"slice {number}")

    with pytest.raises(ValueError, match=r"^slice 5$"):
        pool.map(fail, [5, 6])
    assert torch.get_num_threads() == 2
    pool.close()


def test_how_many_slices() -> None:
    def allowed() -> bool:
        return True

    torch.set_num_threads(6)
    sizes = {rows: slice_count(0, CPU, rows, allowed) for rows in (1, 2, 3, 4, 5, 6, 7, 8, 16)}
    assert sizes == {1: 1, 2: 2, 3: 3, 4: 4, 5: 1, 6: 3, 7: 1, 8: 4, 16: 4}
    torch.set_num_threads(2)
    assert slice_count(0, CPU, 6, allowed) == 2
    assert slice_count(0, CPU, 6, lambda: False) == 1
    assert slice_count(3, CPU, 2, lambda: False) == 2  # who asks for slices knows the loss
    torch.set_num_threads(1)
    assert slice_count(0, CPU, 6, allowed) == 1
    assert slice_count(0, torch.device("meta"), 6, allowed) == 1


def test_losses_that_need_the_whole_batch_are_found_out() -> None:
    net = nn.Conv2d(3, 3, 3, padding=1)
    assert is_separable(OnePhase(pixel_loss), {"net": net}, batch_of(5))  # type: ignore[arg-type]
    assert not is_separable(OnePhase(pixel_loss, 2), {"net": net}, batch_of(4))  # type: ignore[arg-type]

    def contrast(nets: Nets, batch: Batch, step: int) -> Terms:
        return Terms({"spread": nets["net"](batch.lr).std(0).mean()})

    assert not is_separable(OnePhase(contrast), {"net": net}, batch_of(4))  # type: ignore[arg-type]
    dropping = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(1e-9))
    assert not is_separable(OnePhase(pixel_loss), {"net": dropping}, batch_of(4))  # type: ignore[arg-type]
    normed = nn.utils.spectral_norm(nn.Conv2d(3, 3, 3, padding=1))
    assert not is_separable(OnePhase(pixel_loss), {"net": normed}, batch_of(4))  # type: ignore[arg-type]


def test_a_split_of_time_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [10.0]
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: now_s[0])
    clock = Clock(CPU)
    now_s[0] += 1.0
    with clock.split() as shares:
        now_s[0] += 2.0
        shares.update(forward=1.0, backward=3.0)
    with clock.split():
        pass
    seconds = clock.report()
    found = {name: seconds[name] for name in ("forward", "backward", "idle", "total")}
    assert found == {"forward": 0.5, "backward": 1.5, "idle": 1.0, "total": 3.0}


@pytest.mark.slow
def test_a_run_with_slices_side_by_side(photographs_dir: Path, tmp_path: Path) -> None:
    def run(name: str, threads: int, slices: int = 0, *more: str, resume: str | None = None) -> dict[str, Tensor]:
        overrides = (f"train.threads={threads}", f"train.parallel_slices={slices}", "train.precision=bf16", *more)
        loop.fit(configuration(photographs_dir, tmp_path / name, *overrides), resume=resume)
        return weights_of(tmp_path / name)

    side_by_side = run("slices", 2)
    assert events(tmp_path / "slices", "start")[0]["precision"].endswith("; 2 slices of a batch side by side")  # type: ignore[attr-defined]
    assert_same(side_by_side, run("again", 2))

    # The same as one after the other but for roundings: the loop's own test of accumulation gives the reason.
    alone = run("alone", 2, 1, "train.precision=fp32", "run.steps=2")
    cut = run("cut", 2, 2, "train.precision=fp32", "run.steps=2")
    for key, value in alone.items():
        torch.testing.assert_close(cut[key], value, rtol=0, atol=4e-5)

    # An interrupted run goes on with the slices it began with, whatever the machine has now.
    config = configuration(photographs_dir, tmp_path / "resumed", "train.threads=2", "train.precision=bf16")
    loop.fit(replace(config, run=replace(config.run, steps=3)))
    loop.fit(replace(config, train=replace(config.train, threads=1)), resume="auto")
    assert_same(side_by_side, weights_of(tmp_path / "resumed"))

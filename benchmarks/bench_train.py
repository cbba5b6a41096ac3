"""Training on a CPU: one step of MSRResNet-64/16 against plain float32 torch, the loss curve of both, and what
degradation takes of a step.

Batch 4 of 48 x 48 px at low resolution, x4, crops of the photographs in scikit-image, Adam, L1.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pytrain.data.batch import Batch
from pytrain.data.source import DataConfig, open_source, stream
from pytrain.methods.contract import Setup
from pytrain.methods.psnr import PsnrMethod, PsnrOptions
from pytrain.nets import SRResNetConfig, build
from pytrain.settings import OptimizerConfig
from pytrain.training.clock import Clock
from pytrain.training.degrade import assemble
from pytrain.training.descend import Compute, UpdateRule, descend
from pytrain.training.distributed import World
from pytrain.training.precision import Precision
from pytrain.training.slices import SlicePool
from pytrain.training.state import new_state

from . import inputs, measure, peers
from .peers import Peer

CPU = torch.device("cpu")
BATCH, CROP_PX, SCALE = (2, 32, 4) if measure.SMOKE else (4, 192, 4)
NET = SRResNetConfig(SCALE, 8, 1) if measure.SMOKE else SRResNetConfig(SCALE)
LEARNING_RATE = 2e-4
CURVE_STEPS = 8 if measure.SMOKE else 200

# The two curves are compared by their means over this many steps, relative: bfloat16 keeps 8 bits of every activation,
# which moved windows by up to 0.4 % where it was measured (crops of 96 px).
WINDOW_STEPS = 4 if measure.SMOKE else 20
CURVE_TOLERANCE = 0.02


def psnr_method(space: str = "auto") -> PsnrMethod:
    """L1 on crops that are degraded on the fly."""
    return PsnrMethod(PsnrOptions(space=space), Setup(NET, 0, CROP_PX, BATCH, CURVE_STEPS))


def batches(count: int, space: str = "auto") -> list[Batch]:
    """The first batches of a run with seed 0."""
    method = psnr_method(space)
    source = open_source(DataConfig(crop_px=CROP_PX, batch=BATCH), ("hr",), SCALE, 0)
    with stream(source, range(count)) as raw:
        return [assemble(method, one, CPU) for one in raw]


def plain_step() -> Callable[[Batch], torch.Tensor]:
    """What one would write first: float32, the usual layout, torch's Adam."""
    torch.manual_seed(0)
    net = build(NET)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))

    def step(batch: Batch) -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.l1_loss(net(batch.lr), batch.target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def our_step(pool: SlicePool | None) -> Callable[[Batch], torch.Tensor]:
    """One descent of the loop as `precision = "bf16"` has it."""
    torch.manual_seed(0)
    method, precision = psnr_method(), Precision("bf16", True, "")
    nets = {"generator": precision.arranged(build(NET))}
    state = new_state(method, nets, OptimizerConfig(learning_rate=LEARNING_RATE), 0.0, precision)
    compute = Compute(state.nets, precision, World(0, 1, 1, CPU), Clock(CPU), pool)

    def step(batch: Batch) -> torch.Tensor:
        batch = Batch(batch.indices, precision.image(batch.lr), precision.image(batch.target), batch.hr)
        _, done = descend(method.phases[0], batch, state, compute, UpdateRule(LEARNING_RATE))
        return done.values["l1"]

    return step


def test_training_step(compare: Any) -> None:
    """Forward, backward, update; the degraded batch is there already."""
    inputs.settle_threads()
    given = batches(2 if measure.SMOKE else 8)
    pool = SlicePool(2)
    contenders = {"plain": plain_step(), "ours": our_step(pool), "ours, one slice": our_step(None)}
    turns = {name: itertools.cycle(given) for name in contenders}
    same = peers.values(2e-3, "bfloat16 activations: the first loss is about 0.1")
    compare(
        lambda: contenders["ours"](next(turns["ours"])),
        [
            Peer("torch eager", lambda: contenders["plain"](next(turns["plain"])), same),
            Peer("ours, one slice", lambda: contenders["ours, one slice"](next(turns["ours, one slice"])), same),
        ],
        images=BATCH,
        megapixels=BATCH * CROP_PX**2 / 1e6,
        target=3.0,
        against=("torch eager",),
        seconds=60.0,
    )
    pool.close()


@pytest.mark.parametrize("space", ["bicubic-x4", "realesrgan-x4"])
def test_share_of_degradation(benchmark: Any, space: str) -> None:
    """Degradation over degradation plus descent; wanted: under 20 %."""
    inputs.settle_threads()
    pool = SlicePool(2)
    step = our_step(pool)
    method = psnr_method(space)
    source = open_source(DataConfig(crop_px=CROP_PX, batch=BATCH), ("hr",), SCALE, 0)
    with stream(source, range(3 if measure.SMOKE else 12)) as raw:
        waiting = list(raw)
    turn = itertools.cycle(waiting)
    parts: list[tuple[float, float]] = []

    def whole_step() -> None:
        one = next(turn)
        start_s = time.perf_counter()
        batch = assemble(method, one, CPU)
        middle_s = time.perf_counter()
        step(batch)
        parts.append((middle_s - start_s, time.perf_counter() - middle_s))

    benchmark.pedantic(whole_step, rounds=len(waiting), warmup_rounds=2)
    pool.close()
    degrade_s, descend_s = (min(part[number] for part in parts[2:]) for number in (0, 1))
    benchmark.extra_info.update(degrade_s=degrade_s, descend_s=descend_s, share=degrade_s / (degrade_s + descend_s))
    print(f"\n{space}: degradation {degrade_s / (degrade_s + descend_s):.1%} of a step")


def test_loss_curve(benchmark: Any) -> None:
    """The same batches from the same weights: plain float32 and ours go down together."""
    inputs.settle_threads()
    given = batches(CURVE_STEPS)
    pool = SlicePool(2)
    plain, ours = plain_step(), our_step(pool)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        return torch.stack([plain(batch) for batch in given]), torch.stack([ours(batch) for batch in given])

    curves = benchmark.pedantic(both, rounds=1)
    pool.close()
    expected, found = (curve.view(-1, WINDOW_STEPS).mean(1) for curve in curves)
    distance = float(((found - expected).abs() / expected).max())
    benchmark.extra_info.update(plain=expected.tolist(), ours=found.tolist(), distance=distance)
    print(f"\nloss from {expected[0]:.4f} to {expected[-1]:.4f}; ours is never farther than {distance:.1%}")
    assert distance <= CURVE_TOLERANCE

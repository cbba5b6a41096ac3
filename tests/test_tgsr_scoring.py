"""TGSR's score of a task, its cheaper indicators, and how they are spread over processes."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

import pydegrade
from pytrain.errors import DataError, PytrainError
from pytrain.grouping import indicators, measurements, scores, scoring
from pytrain.grouping.inputs import VALIDATION_NUMBER, CropPixels, validation_crops
from pytrain.grouping.scoring import FlatWeights, Scorer, TuneSettings
from pytrain.nets import SRResNetConfig, build
from pytrain.settings import OptimizerConfig
from pytrain.training.distributed import World
from pytrain.training.optim import build_optimizer
from pytrain.training.precision import PLAIN, Precision

from . import tgsr
from .recording import FakeRecorder

ALONE = World(0, 1, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors on several threads mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_crops(count: int, side_px: int, first_number: int) -> CropPixels:
    generator = np.random.default_rng(first_number)
    images = generator.integers(0, 256, (count, 3, side_px, side_px), np.uint8)
    return CropPixels(images, first_number + np.arange(count), "noise")


def make_scorer(
    precision: Precision = PLAIN, rate: float = 1e-3, iterations: int = 4, net: torch.nn.Module | None = None, **given
) -> Scorer:
    torch.manual_seed(0)
    net = net or build(tgsr.NET)
    tasks = pydegrade.sample("realesrgan-x4", 3, range(6))
    settings = TuneSettings(iterations, 2, 2, "l1", OptimizerConfig(learning_rate=rate))
    crops, validation = random_crops(iterations * 2, 16, 0), random_crops(2, 32, VALIDATION_NUMBER)
    return Scorer(net, tasks, crops, validation, settings, precision, **given)


# ---- The score


def test_the_score_is_what_a_plain_loop_finds():
    scorer = make_scorer(rate=2e-2)
    torch.manual_seed(0)
    start = build(tgsr.NET)
    for row in (4, 1):
        net = copy.deepcopy(start)
        optimizer = torch.optim.Adam(net.parameters(), 2e-2, (0.9, 0.99))

        def pair(crops: CropPixels, row: int = row) -> pydegrade.Pair:
            tasks = scorer.tasks.take([row] * len(crops)).with_noise(crops.numbers)
            return pydegrade.degrade_batch(torch.from_numpy(crops.images).float() / 255, tasks)

        def psnr(net: torch.nn.Module, pair=pair) -> float:
            seen = pair(scorer.validation)
            with torch.no_grad():
                return pydegrade.psnr(net(seen.lr), seen.target, "y-unrounded-border4").value

        gains = []
        before = psnr(net)
        for step in range(4):
            batch = pair(scorer.crops.take(2 * step, 2))
            optimizer.zero_grad()
            (net(batch.lr) - batch.target).abs().mean().backward()
            optimizer.step()
            gains.append(psnr(net) - before)
        # Adam may fuse its sums otherwise, and PSNR is a float32 convolution here, float64 there: dB to 4 digits.
        assert scorer.gain(row) == pytest.approx(np.mean(gains[-2:]), abs=2e-4)
        assert abs(np.mean(gains[-2:])) > 2e-3, "a test of nothing"


def test_a_score_does_not_depend_on_what_was_scored_before():
    scorer = make_scorer()
    first = [scorer.gain(row) for row in range(4)]
    assert [scorer.gain(row) for row in (3, 1, 2, 0)] == [first[row] for row in (3, 1, 2, 0)]
    assert len(set(first)) == 4


def test_a_score_does_not_depend_on_how_many_steps_are_degraded_at_once():
    scorer = make_scorer()
    gains = {}
    for count in (1, 3, 10):
        scorer.steps_at_once = count
        gains[count] = scorer.gain(2)
    assert len(set(gains.values())) == 1, gains


def test_flat_weights_keep_layout_and_come_back_bit_for_bit():
    for precision in (PLAIN, Precision("bf16", True, "")):
        net = precision.arranged(build(SRResNetConfig(num_features=6, num_blocks=1)))
        before = {key: value.clone() for key, value in net.state_dict().items()}
        strides = {key: value.stride() for key, value in net.named_parameters()}
        weights = FlatWeights(net)
        assert {key: value.stride() for key, value in net.named_parameters()} == strides
        weights.buffer.add_(1.0)
        assert all(not torch.equal(value, before[key]) for key, value in net.state_dict().items())
        weights.restore()
        assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_diverging_says_which_task():
    scorer = make_scorer(rate=1e38)
    with pytest.raises(PytrainError, match=r"^realesrgan-x4@[0-9a-f]{8}/s3/i2: fine-tuning diverged.*learning_rate$"):
        scorer.gain(2)


def test_validation_crops_are_fixed_and_too_small_images_are_named(tmp_path: Path):
    tgsr.write_project(tmp_path)
    crops = validation_crops([str(tmp_path / "hr")], 5, 32, 1)
    assert crops.images.shape == (5, 3, 32, 32)
    assert crops.digest == validation_crops([str(tmp_path / "hr")], 5, 32, 1).digest
    assert crops.digest != validation_crops([str(tmp_path / "hr")], 5, 32, 2).digest
    with pytest.raises(
        DataError, match=r"validation_hr: .*0\.png must be at least 52 x 52 px \(validation_px\), got 56 x"
    ):
        validation_crops([str(tmp_path / "hr")], 5, 52, 1)
    with pytest.raises(DataError, match="validation_hr"):
        validation_crops([str(tmp_path / "nowhere")], 5, 32, 1)


# ---- Indicators


class Line(torch.nn.Module):
    """One convolution: everything can be said on paper."""

    scale = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        up = F.interpolate(x, scale_factor=4, mode="nearest")
        return up + self.conv(up)


def test_the_gradient_indicator_is_the_formula():
    scorer = make_scorer()
    torch.manual_seed(0)
    net = build(tgsr.NET)
    halves, losses = [], []
    for begin in (0, 4):
        lr, target = scorer.batch(5, begin, 4)
        loss = (net(lr) - target).abs().mean()
        losses.append(loss.item())
        halves.append(torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(net.parameters()))]))
    promise = (halves[0] @ halves[1].sign() + halves[1] @ halves[0].sign()) / 2
    expected = float(promise) / np.mean(losses)
    # Two batches of 2 against one of 4: sums in another order.
    assert indicators.gradient_gain(scorer, 5, batches=2) == pytest.approx(expected, rel=1e-4)


def test_the_last_layer_finds_what_a_linear_network_lacks():
    net = Line()
    scorer = make_scorer()
    scorer.net = net
    scorer.weights = FlatWeights(net)
    # The wanted image is what other weights of the same convolution give: least squares must find them.
    wanted = copy.deepcopy(net)
    with torch.no_grad():
        wanted.conv.weight.add_(0.05 * torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(1)))
        wanted.conv.bias.add_(0.02)
    draw = scorer.batch

    def batch(row: int, begin: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        lr, _ = draw(row, begin, count)
        return lr, wanted(lr).detach()

    def validation(row: int) -> tuple[torch.Tensor, torch.Tensor]:
        lr, _ = Scorer.validation_pair(scorer, row)
        return lr, wanted(lr).detach()

    scorer.batch = batch  # type: ignore[method-assign]
    pair = validation(0)
    scorer.validation_pair = lambda row: pair  # type: ignore[method-assign]
    before = scorer.psnr(*pair)
    gain = indicators.last_layer_gain(scorer, 0, batches=2, stride_px=1, ridge=1e-9)
    # Nothing is left but rounding: above 90 dB.
    assert before + gain > 90
    assert indicators.last_layer_gain(scorer, 0, batches=2, stride_px=1, ridge=1e9) == pytest.approx(0, abs=1e-3)


def test_the_last_convolution_is_the_one_that_runs_last():
    torch.manual_seed(0)
    net = build(SRResNetConfig(num_features=4, num_blocks=1))
    assert indicators.last_convolution(net, torch.rand(1, 3, 4, 4)) is net.conv_last


def test_the_regression_follows_a_smooth_function():
    generator = np.random.default_rng(0)
    table = generator.normal(size=(120, 2))
    truth = np.sin(table[:, 0]) + 0.3 * table[:, 1] ** 2
    known = np.arange(60)
    found = indicators.regress(table, known, truth[known])
    assert indicators.spearman(found[60:], truth[60:]) > 0.97
    np.testing.assert_allclose(indicators.regress(table, known, np.ones(60)), 1)


def test_spearman_and_recall():
    generator = np.random.default_rng(1)
    for _ in range(5):
        first, second = generator.integers(0, 6, 40).astype(float), generator.normal(size=40)
        assert indicators.spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    truth = np.arange(10.0)
    assert indicators.recall_of_top(truth, truth, 0.4) == 1
    assert indicators.recall_of_top(-truth, truth, 0.4) == 0
    assert indicators.recall_of_top(np.roll(truth, 1), truth, 0.4) == 0.75


def fake_measure(truth: np.ndarray, noise: np.ndarray, calls: dict[str, list[int]]):
    def measure(name, function, rows):
        calls[name] = list(rows)
        values = truth if name == "full" else truth / 3 + noise
        more = {"before_db": 20.0, "first_db": 0.0, "promise": 1.0}
        return {row: {"gain_db": float(values[row]), **more} for row in rows}

    return measure


@pytest.mark.parametrize("name", ["full", "steps", "halving", "surrogate"])
def test_indicators_measure_in_full_only_what_they_say(name: str):
    tasks = pydegrade.sample("realesrgan-x4", 0, range(200))
    generator = np.random.default_rng(2)
    truth = generator.normal(size=200)
    calls: dict[str, list[int]] = {}
    effort = scores.Effort(fitted=0.1, fitted_least=20)
    found = scores.score_tasks(name, tasks, 0.4, 0, fake_measure(truth, generator.normal(size=200) / 60, calls), effort)
    full = calls.get("full", [])
    assert np.nonzero(found.measured)[0].tolist() == full
    np.testing.assert_array_equal(found.values[full], truth[full])
    assert len(full) == {"full": 200, "steps": 0, "halving": 40, "surrogate": 20}[name]
    assert indicators.recall_of_top(found.values, truth, 0.4) > 0.9
    if name == "halving":
        # Beyond the window nobody changes sides.
        short = truth / 3
        assert set(np.argsort(-short)[:55].tolist()) <= set(np.argsort(-found.values)[:80].tolist())


# ---- Measurements


def opened() -> int:
    return 10


def square(offset: int, row: int) -> dict[str, float]:
    return {"value": offset + row**2 / 7}


def die_once(offset: int, row: int, marker: Path) -> dict[str, float]:
    if row == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(offset, row)


def fail(offset: int, row: int) -> dict[str, float]:
    raise ValueError(f"no luck\nwith row {row}")


def always_die(offset: int, row: int) -> dict[str, float]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def run(measure, folder: Path, workers: int, rows=range(8)):
    advanced: list[int] = []
    found = measurements.measure_rows(
        measurements.Measurement(opened, measure, "test"), rows, folder, workers, ALONE, advanced.append
    )
    assert sum(advanced) >= len(rows)
    return found


@pytest.mark.slow
def test_a_killed_worker_loses_its_task_and_the_rest_goes_on(tmp_path: Path):
    expected = {row: square(10, row) for row in range(8)}
    found = run(partial(die_once, marker=tmp_path / "died"), tmp_path / "parts", 2)
    assert found == expected
    assert (tmp_path / "died").exists()
    assert run(square, tmp_path / "alone", 1) == expected


def test_a_torn_line_is_measured_again_and_finished_ones_are_not(tmp_path: Path):
    run(square, tmp_path, 1, range(5))
    part = tmp_path / "rank_0.jsonl"
    whole = part.read_bytes()
    part.write_bytes(whole[:-4])
    assert sorted(measurements.read_parts(tmp_path)) == [0, 1, 2, 3]
    assert run(square, tmp_path, 1, range(8)) == {row: square(10, row) for row in range(8)}
    assert part.read_bytes().startswith(whole)
    # Everything is there: nothing is called any more.
    assert run(fail, tmp_path, 1) == {row: square(10, row) for row in range(8)}


@pytest.mark.slow
def test_a_worker_that_fails_says_why_in_one_line(tmp_path: Path):
    with pytest.raises(PytrainError, match=r"^test: ValueError: no luck with row [01]$"):
        run(fail, tmp_path, 2)
    with pytest.raises(PytrainError, match=r"^test: every process was killed before it finished a task"):
        run(always_die, tmp_path / "killed", 2)


def test_foreign_lines_are_named(tmp_path: Path):
    (tmp_path / "rank_0.jsonl").write_text(json.dumps({"row": 0, "value": 1}) + "\nnonsense\n")
    with pytest.raises(DataError, match=r"rank_0\.jsonl:2: not a line of results"):
        measurements.read_parts(tmp_path)


# ---- On a GPU, without one


def recorded_scorer(recorder: FakeRecorder, monkeypatch, **given) -> Scorer:
    """A scorer that records, with the rate in a tensor, as on CUDA."""
    monkeypatch.setattr(scoring, "build_optimizer", partial(build_optimizer, rate_in_tensor=True))
    return make_scorer(recorder=recorder, **given)


def test_recorded_steps_give_the_scores_of_launched_ones(monkeypatch):
    expected = make_scorer()
    recorder = FakeRecorder()
    scorer = recorded_scorer(recorder, monkeypatch)
    assert not scorer.why_unrecorded
    for row in (4, 1, 4):
        # The rate is a float32 there.
        assert scorer.gain(row) == pytest.approx(expected.gain(row), rel=1e-4)
    short = scorer.short_gain(2, 4, 3.0, 2)
    assert short == pytest.approx(expected.short_gain(2, 4, 3.0, 2), rel=1e-4)
    # One recording; 3 repetitions to compare, 4 steps a task; one transfer for all values of a task.
    assert (recorder.recorded, recorder.repeated, recorder.fetched) == (1, 3 + 4 * 4, 4)


def test_a_step_that_cannot_be_recorded_is_launched(monkeypatch):
    class Deciding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 48, 3, padding=1)

        def forward(self, x):
            return F.pixel_shuffle(self.conv(x) if x.mean() > -1 else x, 4)

    net = Deciding()
    expected = make_scorer(net=copy.deepcopy(net)).gain(0)
    scorer = recorded_scorer(FakeRecorder(), monkeypatch, net=net)
    assert re.fullmatch(r"a step cannot be recorded \(operation not permitted .*\)", scorer.why_unrecorded)
    assert scorer.gain(0) == pytest.approx(expected, rel=1e-4)


def test_a_recording_that_does_something_else_is_not_used(monkeypatch):
    nets = []
    recorder = FakeRecorder(lambda: nets[0].conv_first.weight.data.mul_(1.01))
    nets.append(build(tgsr.NET))
    scorer = recorded_scorer(recorder, monkeypatch, net=nets[0])
    assert "moves the weights elsewhere" in scorer.why_unrecorded
    scorer.gain(0)
    assert recorder.repeated == 3


def test_psnr_on_a_device_is_that_of_the_protocol():
    generator = torch.Generator().manual_seed(0)
    for channels, border in ((3, 4), (1, 0)):
        sr, wanted = torch.rand(2, 2, channels, 16, 12, generator=generator)
        sr = sr * 1.2 - 0.1
        expected = pydegrade.psnr(sr, wanted, f"y-unrounded-border{border}").value
        assert scoring.luma_psnr(sr, wanted, border).item() == pytest.approx(expected, rel=1e-12)
    assert scoring.luma_psnr(wanted, wanted, 0).item() == float("inf")
    for wrong in (float("nan"), float("inf")):
        sr[0, 0, 0, 0] = wrong
        assert np.isnan(scoring.luma_psnr(sr, wanted, 4).item())


def test_scoring_touches_the_host_only_to_read_the_values(monkeypatch):
    """On `meta`, whose tensors cannot meet those of the CPU nor be read: images, weights, moments, PSNR all stay there."""
    meta = torch.device("meta")

    def degraded(hr: torch.Tensor, tasks: pydegrade.TaskBatch) -> pydegrade.Pair:
        assert hr.device == meta
        return pydegrade.Pair(hr[..., ::4, ::4].contiguous(), hr)

    read: list[int] = []

    class Meta:
        def record(self, body):
            body()
            return body

        def fetch(self, values):
            assert values.device == meta
            read.append(len(values))
            return lambda: [float(number) for number in range(len(values))]

    monkeypatch.setattr(pydegrade, "degrade_batch", degraded)
    monkeypatch.setattr(scoring, "build_optimizer", lambda config, phase, given: torch.optim.SGD(given, 1e-3))
    monkeypatch.setattr(scoring, "can_be_recorded", lambda optimizer: True)
    monkeypatch.setattr(scoring, "recordable", lambda optimizers: contextlib.nullcontext())
    monkeypatch.setattr(scoring, "deviation", lambda *states: 0.0)
    scorer = make_scorer(device=meta, recorder=Meta())
    assert scorer.gain(0) == pytest.approx(1.5)
    assert read == [3]
    assert {value.device for value in (*scorer.pixels.values(), *scorer.net.parameters())} == {meta}


class Hungry:
    """Replicas of which only some fit."""

    def __init__(self, fit: int) -> None:
        self.fit, self.opened = fit, 0
        self.fails: set[int] = set()

    def open(self) -> int:
        if self.opened == self.fit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        self.opened += 1
        return self.opened

    def measure(self, replica: int, row: int) -> dict[str, float]:
        if replica in self.fails:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return square(10, row)


def test_replicas_measure_each_row_once_and_fewer_where_memory_runs_out(capsys):
    def found_with(hungry: Hungry, count: int) -> dict[int, dict[str, float]]:
        measurement = measurements.Measurement(hungry.open, hungry.measure, "full")
        found = list(measurements.measured_by_replicas(measurement, range(20), count, torch.device("cpu")))
        assert len(found) == 20
        return dict(found)

    expected = {row: square(10, row) for row in range(20)}
    assert found_with(Hungry(8), 3) == expected
    assert capsys.readouterr().err == ""
    assert found_with(Hungry(2), 4) == expected
    reason = "pytrain group: full: out of memory on cpu (CUDA out of memory. Tried to allocate 2 GiB)"
    assert capsys.readouterr().err == f"{reason}; 2 replicas go on\n"
    hungry = Hungry(2)
    hungry.fails = {2}
    assert found_with(hungry, 2) == expected
    line = capsys.readouterr().err
    # Whether the second replica got a row at all depends on the threads; what it cannot measure the first one does.
    assert line in ("", f"{reason.replace('2 GiB', '1 GiB')}; 1 replica goes on\n")
    with pytest.raises(PytrainError, match=r"^full: out of memory on cpu .*; lower method\.grouping\.batch or "):
        found_with(Hungry(0), 2)
    hungry = Hungry(2)
    hungry.fails = {1, 2}
    with pytest.raises(PytrainError, match=r"^full: out of memory on cpu"):
        found_with(hungry, 2)


def test_another_error_of_a_replica_ends_the_measurement():
    measurement = measurements.Measurement(opened, fail, "test")
    with pytest.raises(ValueError, match="no luck"):
        list(measurements.measured_by_replicas(measurement, range(8), 2, torch.device("cpu")))

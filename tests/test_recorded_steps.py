"""Steps as one CUDA graph, without a GPU: recorded operations (tests/recording.py) give the bits of launched ones."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pytrain.config.config import Config, loads
from pytrain.methods.contract import Terms
from pytrain.methods.psnr import PsnrMethod
from pytrain.methods.registry import METHODS
from pytrain.training import loop, recording, steps, trial
from pytrain.training import state as states
from pytrain.training.distributed import World
from pytrain.training.opening import build_method
from pytrain.training.optim import build_optimizer

from .recording import FakeRecorder, Waits

CPU = torch.device("cpu")
CONFIG = """
[run]
steps = 9
seed = 3
device = "cpu"
[net]
type = "srresnet"
scale = 2
num_features = 4
num_blocks = 1
[method]
type = "psnr"
[data]
crop_px = 16
batch = 2
[optimizer]
clip_norm = 0.3
[schedule]
type = "cosine"
[train]
precision = "fp32"
threads = 1
parallel_slices = 1
ema_decay = 0.9
[evaluate]
every_steps = 100
[checkpoint]
every_steps = 5
[log]
every_steps = 7
"""
GAN = (
    "method.type=realesrgan",
    "method.perceptual_weight=0",
    "method.gan_start_step=4",
    "method.discriminator={type='unet_discriminator', num_features=2}",
    "data.crop_px=32",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(2):
        Image.fromarray(generator.integers(0, 256, (40, 48, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def _as_on_cuda(monkeypatch):
    """The learning rate in a tensor."""
    monkeypatch.setattr(states, "build_optimizer", partial(build_optimizer, rate_in_tensor=True))


def configuration(images: Path, out: Path, *overrides: str) -> Config:
    return loads(CONFIG, [f"data.hr=['{images}']", f"run.out='{out}'", *overrides])


def fit(monkeypatch, recorder: FakeRecorder | None, config: Config, resume: str | None = None):
    monkeypatch.setattr(loop, "recorder_for", lambda device: recorder)
    loop.fit(config, resume=resume)
    out = Path(config.run.out)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    weights = states.load_state(states.saved_states(out / "states")[0][1])[0]
    return weights, lines


def losses(lines: list[dict]) -> list[dict]:
    return [
        {key: value for key, value in line.items() if not key.startswith(("time", "images_per", "steps_per"))}
        for line in lines
        if line["kind"] == "step"
    ]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def hints(lines: list[dict]) -> list[str]:
    return [line["text"] for line in lines if line["kind"] == "hint" and "launched" in line["text"]]


@pytest.mark.parametrize(
    ("overrides", "recorded", "repeated"),
    [
        ((), 1, 1 + 5),
        pytest.param(("train.accumulate=2",), 1, 1 + 5, marks=pytest.mark.slow),
        pytest.param(GAN, 2, 1 + 0 + 1 + 1, marks=pytest.mark.slow),
    ],
)
def test_recorded_steps_have_the_bits_of_launched_ones(images, tmp_path, monkeypatch, overrides, recorded, repeated):
    launched, expected = fit(monkeypatch, None, configuration(images, tmp_path / "launched", *overrides))
    recorder = FakeRecorder()
    found, lines = fit(monkeypatch, recorder, configuration(images, tmp_path / "recorded", *overrides))
    assert (recorder.recorded, recorder.repeated) == (recorded, repeated)
    assert_same(launched, found)
    assert losses(lines) == losses(expected)
    assert hints(lines) == []


@pytest.mark.slow
def test_resume_gives_the_bits_of_an_uninterrupted_run(images, tmp_path, monkeypatch):
    constant = "schedule.type=constant"
    whole, _ = fit(monkeypatch, FakeRecorder(), configuration(images, tmp_path / "whole", constant))
    fit(monkeypatch, FakeRecorder(), configuration(images, tmp_path / "parts", constant, "run.steps=6"))
    recorder = FakeRecorder()
    resumed, _ = fit(monkeypatch, recorder, configuration(images, tmp_path / "parts", constant), resume="auto")
    assert recorder.recorded == 0  # three steps were left, which are launched
    assert_same(whole, resumed)


class Poisoned(PsnrMethod):
    """Gradients of some steps are not finite; what Python decides there a recording cannot, so the batch carries it."""

    bad: tuple[int, ...] = ()

    def prepare(self, nets, batch, step):
        factor = float("nan") if step in self.bad else 1.0
        return batch.with_extra({"factor": torch.full((len(batch),), factor)})

    def loss(self, nets, batch, step):
        terms = super().loss(nets, batch, step)
        return Terms({name: value * batch.extra["factor"][0] for name, value in terms.losses.items()})


@pytest.mark.slow
@pytest.mark.parametrize(("bad", "most"), [((6,), 3), ((5, 6), 2), ((6,), 1)])
def test_a_gradient_that_is_not_finite_changes_nothing_but_the_position(images, tmp_path, monkeypatch, bad, most):
    monkeypatch.setitem(METHODS, "psnr", replace(METHODS["psnr"], build=Poisoned))
    monkeypatch.setattr(Poisoned, "bad", bad)
    overrides = (f"train.bad_steps={most}", "checkpoint.every_steps=4", "run.steps=11")
    launched, expected = fit(monkeypatch, None, configuration(images, tmp_path / "launched", *overrides))
    recorder = FakeRecorder()
    found, lines = fit(monkeypatch, recorder, configuration(images, tmp_path / "recorded", *overrides))
    assert_same(launched, found)
    kinds = ("nonfinite", "rollback", "step")
    seen = [
        [(line["kind"], line["step"], line.get("what")) for line in some if line["kind"] in kinds]
        for some in (lines, expected)
    ]
    assert seen[0] == seen[1]
    assert recorder.recorded == (2 if len(bad) == most else 1)
    dumps = [
        sorted(path.name for path in (tmp_path / name / "nonfinite").iterdir()) for name in ("launched", "recorded")
    ]
    assert dumps[0] == dumps[1]


@pytest.mark.slow
def test_the_steady_state_waits_for_nothing(images, tmp_path, monkeypatch):
    """A repeated step asks for no value and copies nothing that is not page-locked; what it found is looked at when the
    next one has been queued, or before a line of the log and a checkpoint."""
    counted: dict[str, list[int]] = {"launched": [], "repeated": []}
    order: list[str] = []

    class Counting(steps.Steps):
        def _launch(self, batch, state):
            with Waits() as waits:
                taken = super()._launch(batch, state)
            counted["launched"].append(waits.count)
            return taken

        def _repeated(self, recording, batch, state, recorder):
            with Waits() as waits:
                pending = super()._repeated(recording, batch, state, recorder)
            counted["repeated"].append(waits.count)
            order.append(f"queue {pending.step}")
            fetched = pending.fetched
            return replace(pending, fetched=lambda: order.append(f"look {pending.step}") or fetched())

    monkeypatch.setattr(loop, "Steps", Counting)
    fit(monkeypatch, FakeRecorder(), configuration(images, tmp_path, "checkpoint.every_steps=7", "log.every_steps=9"))
    assert min(counted["launched"]) >= 1, "a launched step looks at its gradient's norm"
    assert counted["repeated"] == [0] * 6
    assert order[1:] == [
        "queue 4",
        "queue 5",
        "look 4",
        "queue 6",
        "look 5",
        "look 6",
        "queue 7",
        "queue 8",
        "look 7",
        "look 8",
    ]


LINES = {
    "a step cannot be recorded": lambda body: _refuse("operation not permitted when stream is capturing"),
    "the memory of the device does not hold one beside a step": lambda body: _refuse("CUDA out of memory", True),
}


def _refuse(text: str, memory: bool = False):
    raise (torch.OutOfMemoryError if memory else RuntimeError)(text)


@pytest.mark.slow
@pytest.mark.parametrize("reason", LINES)
def test_a_step_that_cannot_be_recorded_is_launched_which_one_line_says(images, tmp_path, monkeypatch, reason):
    recorder = FakeRecorder()
    monkeypatch.setattr(recorder, "record", LINES[reason])
    expected, _ = fit(monkeypatch, None, configuration(images, tmp_path / "launched"))
    found, lines = fit(monkeypatch, recorder, configuration(images, tmp_path / "recorded"))
    assert_same(expected, found)
    (line,) = hints(lines)
    assert line.startswith(f"steps are launched kernel by kernel, not as one CUDA graph: {reason}")
    assert "\n" not in line


@pytest.mark.slow
def test_a_step_that_no_longer_fits_beside_a_recording_is_taken_again(images, tmp_path, monkeypatch):
    expected, _ = fit(monkeypatch, None, configuration(images, tmp_path / "launched"))
    recorder, launch = FakeRecorder(), steps.Steps._launch
    failed: list[int] = []

    def short(self, batch, state):
        taken = launch(self, batch, state)
        if recorder.recorded and not failed:
            failed.append(state.step)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return taken

    monkeypatch.setattr(steps.Steps, "_launch", short)
    found, lines = fit(monkeypatch, recorder, configuration(images, tmp_path / "recorded"))
    assert failed == [3]
    assert_same(expected, found)
    assert "does not hold one beside a step" in hints(lines)[0]


@pytest.mark.slow
def test_a_recording_that_does_something_else_is_not_used(images, tmp_path, monkeypatch):
    expected, _ = fit(monkeypatch, None, configuration(images, tmp_path / "launched"))
    taken: list[states.TrainState] = []
    make = states.new_state
    monkeypatch.setattr(states, "new_state", lambda *given: taken.append(make(*given)) or taken[-1])
    recorder = FakeRecorder(lambda: next(taken[-1].nets["generator"].parameters()).data.mul_(1.01))
    found, lines = fit(monkeypatch, recorder, configuration(images, tmp_path / "recorded"))
    assert recorder.repeated == 1
    assert_same(expected, found)
    assert "moves the state elsewhere" in hints(lines)[0]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("optimizer.type=lamb",), "optimizer.type lamb counts its steps on the host"),
        (("train.skip_above=5",), "train.skip_above looks at every loss"),
        (("train.compile=default",), "train.compile has graphs of its own"),
        (
            ("method.type=mzsr", "net={type='mzsr', scale=2, num_features=4}", "data.batch=10"),
            "the losses of method mzsr depend on more than their batch",
        ),
        ((), ""),
    ],
)
def test_what_cannot_be_recorded_is_known_before_the_first_step(images, tmp_path, overrides, reason):
    config = configuration(images, tmp_path, *overrides)
    method = build_method(config)
    assert recording.why_launched(config, method, World(0, 1, 1, CPU)) == reason
    if not reason:
        assert recording.why_launched(config, method, World(0, 2, 2, CPU)) == "gradients are averaged over processes"


def test_graphs_that_are_off_need_no_line(images, tmp_path, monkeypatch):
    recorder = FakeRecorder()
    _, lines = fit(monkeypatch, recorder, configuration(images, tmp_path, "train.graphs=off", "run.steps=5"))
    assert (recorder.recorded, hints(lines)) == (0, [])


def test_the_trial_judges_recorded_steps():
    weight = torch.ones(3, requires_grad=True)
    weight.grad = torch.zeros(3)

    def step() -> None:
        (2 * weight).sum().backward()

    recorder = FakeRecorder()
    repeat = trial.repeated(step, recorder)
    assert recorder.recorded == 1
    before = weight.grad.clone()
    repeat()
    assert torch.equal(weight.grad, before + 2)

    def deciding() -> None:
        if weight.sum() > 0:
            step()

    assert trial.repeated(deciding, FakeRecorder()) is deciding

"""The loop's promises: a run is a function of its configuration, also killed, resumed or split over processes."""

from __future__ import annotations

import functools
import json
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pydegrade
from pytrain.config.config import Config, load, loads
from pytrain.data.source import open_source, stream
from pytrain.errors import CheckpointError, ConfigError, PytrainError
from pytrain.evaluation.evaluate import evaluate
from pytrain.files.checkpoint import load_model, load_state, read_weights, save_state
from pytrain.methods.contract import Phase, Terms
from pytrain.methods.psnr import PsnrMethod, PsnrOptions
from pytrain.methods.realesrgan import RealesrganMethod
from pytrain.methods.registry import METHODS, MethodEntry
from pytrain.training import loop, trial
from pytrain.training import run as runs
from pytrain.training import state as states
from pytrain.training.degrade import PlannedStream, assemble
from pytrain.training.distributed import World
from pytrain.training.log import Log
from pytrain.training.opening import build_method
from pytrain.training.precision import Precision
from pytrain.training.run import open_run

from .children import HANG_S, environment, interrupted

ROOT = Path(__file__).resolve().parent.parent

CONFIG = """
[run]
name = "test"
steps = 8
seed = 3
device = "cpu"
[net]
type = "srresnet"
scale = 2
num_features = 6
num_blocks = 1
[method]
type = "psnr"
[data]
crop_px = 24
batch = 4
[train]
precision = "fp32"
threads = 1
ema_decay = 0.9
[evaluate]
every_steps = 100
[checkpoint]
every_steps = 3
[log]
every_steps = 2
"""


@pytest.fixture(scope="session")
def photographs_dir(tmp_path_factory):
    """Five small images with structure."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for number in range(5):
        coarse = rng.integers(0, 256, (5, 6, 3), np.uint8)
        Image.fromarray(coarse).resize((60, 48), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def configuration(folder: Path, out: Path, *overrides: str) -> Config:
    return loads(CONFIG, [f"data.hr=['{folder}']", f"run.out='{out}'", *overrides])


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    return {**load_state(states.saved_states(out / "states")[0][1])[0]}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def events(out: Path, kind: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


GAN = (
    "method.type=realesrgan",
    "method.perceptual_weight=0",
    "method.discriminator={type='unet_discriminator', num_features=4}",
    "data.crop_px=32",
)


# Drop path draws random numbers in every step; they must not depend on how many were drawn before.
DROP_PATH = (
    "net={type='swinir', scale=2, embed_dim=8, depths=[2], num_heads=[2], num_features=8, window_px=4, drop_path=0.5}",
    "data.crop_px=16",
)
ECO_LIKE = ("optimizer.type=lamb", "train.precision=bf16", "train.skip_above=1.0", "train.ema_decay=0")


def test_a_run_with_real_pairs_goes_on_with_the_same_bits(photographs_dir, tmp_path):
    for name, side in (("hr", 48), ("lr", 24)):
        (tmp_path / name).mkdir()
        Image.open(photographs_dir / "1.png").resize((side, side)).save(tmp_path / name / "one.png")
    pairs = (f"data.paired_hr='{tmp_path}/hr'", f"data.paired_lr='{tmp_path}/lr'", "data.paired_share=0.5")
    whole = configuration(photographs_dir, tmp_path / "whole", "run.steps=4", *pairs)
    loop.fit(whole)
    loop.fit(configuration(photographs_dir, tmp_path / "parts", "run.steps=2", *pairs))
    loop.fit(configuration(photographs_dir, tmp_path / "parts", "run.steps=4", *pairs), resume="auto")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))
    loop.fit(configuration(photographs_dir, tmp_path / "without", "run.steps=4"))
    assert any(
        not torch.equal(value, weights_of(tmp_path / "without")[key])
        for key, value in weights_of(tmp_path / "whole").items()
    )

    # What the network learns from: LR images of the pairs, those of the tasks elsewhere.
    method = build_method(whole)
    with stream(open_source(whole.data, ("hr",), 2, 3, mixes=method.mixes_pairs), range(1)) as batches:
        raw = next(batches)
    batch = assemble(method, raw, torch.device("cpu"))
    pair = pydegrade.degrade_batch(batch.hr, batch.tasks)
    read = torch.from_numpy(raw.paired)
    assert 0 < read.sum() < len(read)
    assert torch.equal(batch.lr[read], raw.images["lr"][read] / 255)
    assert torch.equal(batch.lr[~read], pair.lr[~read])
    assert [one.startswith("i") for one in batch.addresses()] == raw.paired.tolist()


@pytest.mark.representatives(2)
@pytest.mark.parametrize("overrides", [(), GAN, DROP_PATH, ECO_LIKE])
def test_resume_gives_the_bits_of_an_uninterrupted_run(photographs_dir, tmp_path, overrides):
    whole = configuration(photographs_dir, tmp_path / "whole", *overrides)
    result = loop.fit(whole)
    assert (result.step, result.interrupted) == (8, False)

    loop.fit(configuration(photographs_dir, tmp_path / "parts", "run.steps=5", *overrides))
    resumed = configuration(photographs_dir, tmp_path / "parts", *overrides)
    assert loop.fit(resumed, resume="auto").step == 8
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))


def test_two_runs_give_identical_weights_and_a_seed_changes_them(photographs_dir, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        loop.fit(configuration(photographs_dir, tmp_path / name, f"run.seed={seed}", "run.steps=3"))
    a, b, c = (weights_of(tmp_path / name) for name in "abc")
    assert_same(a, b)
    assert not torch.equal(a["net.generator/conv_first.weight"], c["net.generator/conv_first.weight"])


def test_the_loop_leaves_torchs_generator_and_threads_alone(photographs_dir, tmp_path):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    loop.fit(configuration(photographs_dir, tmp_path, "run.steps=1"))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_accumulation_and_threads_change_only_roundings(photographs_dir, tmp_path):
    loop.fit(configuration(photographs_dir, tmp_path / "one", "run.steps=2"))
    loop.fit(configuration(photographs_dir, tmp_path / "cut", "run.steps=2", "train.accumulate=3"))
    one, cut = weights_of(tmp_path / "one"), weights_of(tmp_path / "cut")
    for key, value in one.items():
        # Adam divides by the root of the second moment: two steps of 2e-4 turn relative roundings of 1e-6 in the
        # gradient into at most that share of a step, except where a gradient is almost zero.
        torch.testing.assert_close(cut[key], value, rtol=0, atol=4e-5)


def test_a_gradient_means_the_same_in_slices(photographs_dir, tmp_path):
    """One step of plain gradient descent in disguise: exp_avg after a step is (1 - beta1) times the gradient."""
    for name, slices in (("one", 1), ("cut", 4)):
        loop.fit(configuration(photographs_dir, tmp_path / name, "run.steps=1", f"train.accumulate={slices}"))
    one, cut = weights_of(tmp_path / "one"), weights_of(tmp_path / "cut")
    moments = [key for key in one if key.endswith("/exp_avg")]
    assert moments
    for key in moments:
        # Sums of float32 in another order.
        torch.testing.assert_close(cut[key], one[key], rtol=1e-4, atol=1e-7)


def run_cli(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def write_config(path: Path, folder: Path, out: Path, *lines: str) -> Path:
    text = CONFIG.replace("[data]", f"[data]\nhr = ['{folder}']").replace("[run]", f"[run]\nout = '{out}'")
    for line in lines:
        old, new = line.split(" => ")
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.mark.slow
def test_kill_and_resume_gives_the_bits_of_an_uninterrupted_run(photographs_dir, tmp_path):
    change = ("steps = 8", "steps = 20")
    config = write_config(tmp_path / "killed.toml", photographs_dir, tmp_path / "killed", " => ".join(change))
    # While the third state is written: those of steps 3 and 6 are there.
    command = interrupted("SIGKILL", "*/states/*.safetensors", 3, "pytrain", "fit", config)
    killed = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed
    assert states.saved_states(tmp_path / "killed" / "states")[0][0] == 6
    resumed = run_cli("-m", "pytrain", "fit", str(config), "--resume")
    output = resumed.communicate()[0]
    assert resumed.returncode == 0, output

    whole = write_config(tmp_path / "whole.toml", photographs_dir, tmp_path / "whole", " => ".join(change))
    loop.fit(load(whole))
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(photographs_dir, tmp_path, number):
    config = write_config(tmp_path / "c.toml", photographs_dir, tmp_path / "out", "steps = 8 => steps = 100000",
                          "every_steps = 3 => every_steps = 1000")  # fmt: skip
    process = run_cli("-m", "pytrain", "fit", str(config))
    assert process.stdout is not None
    steps = (line for line in process.stdout if "/100000 " in line)
    assert next(steps, None), "ended before its first step"
    process.send_signal(number)
    output = process.communicate(timeout=HANG_S)[0]
    assert process.returncode == 130, output
    assert "--resume" in output
    step, path = states.saved_states(tmp_path / "out" / "states")[0]
    assert load_state(path)[1]["step"] == step > 0


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(photographs_dir, tmp_path):
    loop.fit(configuration(photographs_dir, tmp_path / "one", "run.steps=3"))
    config = write_config(tmp_path / "two.toml", photographs_dir, tmp_path / "two", "steps = 8 => steps = 3")
    process = run_cli("-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "pytrain", "fit", str(config))
    output = process.communicate(timeout=HANG_S)[0]
    assert process.returncode == 0, output
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    for key, value in one.items():
        # As with accumulation: another order of sums, seen through Adam.
        torch.testing.assert_close(two[key], value, rtol=0, atol=6e-5)

    # On with one process from what two have made: the world may change its size.
    config = write_config(tmp_path / "two.toml", photographs_dir, tmp_path / "two", "steps = 8 => steps = 5")
    assert loop.fit(load(config), resume="auto").step == 5


@pytest.mark.slow
def test_what_one_process_finds_unreadable_is_in_the_state_of_all(photographs_dir, tmp_path):
    folder = copied(photographs_dir, tmp_path / "images")
    cut_off(folder / "3.png")
    config = write_config(tmp_path / "two.toml", folder, tmp_path / "two", "steps = 8 => steps = 4")
    process = run_cli("-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "pytrain", "fit", str(config))
    output = process.communicate(timeout=HANG_S)[0]
    assert process.returncode == 0, output
    loop.fit(configuration(folder, tmp_path / "one", "run.steps=4"))
    states_of = {
        name: load_state(states.saved_states(tmp_path / name / "states")[0][1])[1]["unreadable"]
        for name in ("one", "two")
    }
    assert states_of["two"].keys() == states_of["one"].keys() == {"3.png"}
    # The other process may read ahead and meet it later, at a sample of its own.
    assert states_of["one"]["3.png"] <= states_of["two"]["3.png"] < 16
    assert len(events(tmp_path / "two", "warning")) == 1


def test_processes_must_share_the_batch_evenly(photographs_dir, tmp_path, monkeypatch):
    config = configuration(photographs_dir, tmp_path)
    world = World(0, 3, 3, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"data.batch must be a multiple of the 3 processes of torchrun, got 4"):
        open_run(config, world)


# Trouble.


@pytest.mark.slow
def test_a_loss_far_above_the_last_one_is_skipped(photographs_dir, tmp_path):
    # With a limit of half the last accepted loss, only the first step is taken: later losses do not halve at once.
    for name, limit in (("half", 0.5), ("none", 0.0)):
        loop.fit(configuration(photographs_dir, tmp_path / name, "run.steps=4", f"train.skip_above={limit}",
                               "checkpoint.every_steps=1", "checkpoint.keep_last=9"))  # fmt: skip
    saved = {step: load_state(path)[0] for step, path in states.saved_states(tmp_path / "half" / "states")}
    key = "net.generator/conv_first.weight"
    assert torch.equal(saved[1][key], saved[4][key])
    assert torch.equal(saved[1][key], load_state(tmp_path / "none" / "states" / "step_000000001.safetensors")[0][key])
    assert not torch.equal(saved[4][key], weights_of(tmp_path / "none")[key])
    assert [event["step"] for event in events(tmp_path / "half", "skipped")] == [1, 2, 3]


class Faulty(PsnrMethod):
    """`psnr`, with a loss that is not finite in some steps."""

    def __init__(self, config, setup, bad):
        super().__init__(config, setup)
        self.bad = bad
        self.phases = (Phase("generator", ("generator",), self.faulty_loss),)

    def faulty_loss(self, nets, batch, step):
        terms = self.loss(nets, batch, step)
        factor = float("nan") if step in self.bad else 1.0
        return Terms({name: value * factor for name, value in terms.losses.items()})


@pytest.fixture
def faulty(monkeypatch):
    """Call with the range of bad steps: method psnr has them from then on."""

    def plant(bad):
        entry = MethodEntry(PsnrOptions, lambda config, setup: Faulty(config, setup, bad), "for tests", "none")
        monkeypatch.setitem(METHODS, "psnr", entry)

    return plant


@pytest.mark.slow
def test_a_bad_step_is_skipped_and_its_tasks_are_kept(photographs_dir, tmp_path, faulty):
    faulty(range(4, 5))
    config = configuration(photographs_dir, tmp_path, "checkpoint.every_steps=1", "checkpoint.keep_last=9")
    loop.fit(config)
    saved = {step: load_state(path)[0] for step, path in states.saved_states(tmp_path / "states")}
    assert_same(
        {key: value for key, value in saved[4].items() if key.startswith("net.")},
        {key: value for key, value in saved[5].items() if key.startswith("net.")},
    )
    assert not torch.equal(saved[5]["net.generator/conv_first.weight"], saved[6]["net.generator/conv_first.weight"])
    dump = json.loads((tmp_path / "nonfinite" / "step_000000004_rank0.json").read_text())
    assert dump["indices"] == [16, 17, 18, 19]
    assert [address.split("/")[-1] for address in dump["addresses"]] == ["i16", "i17", "i18", "i19"]
    assert events(tmp_path, "nonfinite")[0]["step"] == 4


@pytest.mark.slow
def test_trouble_that_stays_rolls_back_once_then_ends_the_run(photographs_dir, tmp_path, faulty):
    faulty(range(4, 6))
    config = configuration(photographs_dir, tmp_path / "a", "train.bad_steps=2")
    assert loop.fit(config).step == 8
    assert [event["step"] for event in events(tmp_path / "a", "rollback")] == [6]

    faulty(range(4, 100))
    config = configuration(
        photographs_dir, tmp_path / "b", "train.bad_steps=2", "run.steps=30", "checkpoint.every_steps=3"
    )
    with pytest.raises(PytrainError, match=r"again after a rollback to step \d+; lower optimizer.learning_rate"):
        loop.fit(config)
    # Checkpoints in between bad steps are no progress.
    config = configuration(
        photographs_dir, tmp_path / "often", "train.bad_steps=1", "run.steps=12", "checkpoint.every_steps=1"
    )
    with pytest.raises(PytrainError, match=r"again after a rollback to step 4; lower optimizer.learning_rate"):
        loop.fit(config)
    faulty(range(100))
    config = configuration(photographs_dir, tmp_path / "c", "train.bad_steps=2", "checkpoint.every_steps=100")
    with pytest.raises(PytrainError, match=r"no checkpoint to return to"):
        loop.fit(config)


def test_a_folder_with_a_run_is_never_overwritten(photographs_dir, tmp_path):
    config = configuration(photographs_dir, tmp_path, "run.steps=1")
    loop.fit(config)
    before = weights_of(tmp_path)
    with pytest.raises(ConfigError, match=r"run.out: .* holds a run already; go on with --resume"):
        loop.fit(config)
    assert_same(before, weights_of(tmp_path))


@pytest.mark.slow
def test_a_damaged_newest_state_is_passed_over_with_a_warning(photographs_dir, tmp_path):
    loop.fit(configuration(photographs_dir, tmp_path / "whole"))
    loop.fit(configuration(photographs_dir, tmp_path / "parts", "run.steps=6"))
    newest = states.saved_states(tmp_path / "parts" / "states")[0][1]
    newest.write_bytes(newest.read_bytes()[:-40])
    loop.fit(configuration(photographs_dir, tmp_path / "parts"), resume="auto")
    warnings = [event["text"] for event in events(tmp_path / "parts", "warning")]
    assert any("passed over a damaged state" in text and newest.name in text for text in warnings)
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))


def test_a_changed_setting_is_told_on_resume(photographs_dir, tmp_path):
    loop.fit(configuration(photographs_dir, tmp_path, "run.steps=2"))
    loop.fit(configuration(photographs_dir, tmp_path, "run.steps=4", "optimizer.learning_rate=1e-5"), resume="auto")
    texts = [event["text"] for event in events(tmp_path, "warning")]
    assert texts == [
        "resumed with another run.steps: 4, it was 2",
        "resumed with another optimizer.learning_rate: 1e-05, it was 0.0002",
    ]


# Images that cannot be read.


def copied(photographs_dir: Path, folder: Path) -> Path:
    return Path(shutil.copytree(photographs_dir, folder))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1500])


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut_off, Path.unlink])
def test_an_unreadable_image_is_named_once_and_resuming_gives_the_same_bits(photographs_dir, tmp_path, damage):
    # It goes bad after the run has opened its images, before a pixel of it was read.
    def fit(name: str, *overrides: str, resume: str | None = None) -> None:
        folder = tmp_path / "images" / name
        config = configuration(folder, tmp_path / name, "train.ema_decay=0", *overrides)

        def log(out: Path, is_main: bool) -> Log:
            if resume is None:
                damage(folder / "3.png")
            return Log(out, config.log, config.run.steps, is_main)

        loop.fit(config, resume=resume, log=log)

    for name in ("whole", "parts", "mended", "plain"):
        copied(photographs_dir, tmp_path / "images" / name)
    fit("whole")
    fit("parts", "run.steps=5")
    fit("parts", resume="auto")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))
    # The run has met it: that it is whole again later must not change what follows.
    fit("mended", "run.steps=5")
    shutil.copy(photographs_dir / "3.png", tmp_path / "images" / "mended" / "3.png")
    fit("mended", resume="auto")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "mended"))

    texts = [str(event["text"]) for event in events(tmp_path / "whole", "warning")]
    assert len(texts) == 1
    assert texts[0].startswith("3.png cannot be read, its samples draw other images from here on: ")
    assert [event["text"] for event in events(tmp_path / "parts", "warning") if "run.steps" not in event["text"]] == [
        texts[0].replace("images/whole", "images/parts")
    ]
    loop.fit(configuration(tmp_path / "images" / "plain", tmp_path / "plain", "train.ema_decay=0"))
    key = "net.generator/conv_first.weight"
    assert not torch.equal(weights_of(tmp_path / "plain")[key], weights_of(tmp_path / "whole")[key])


# Errors on the way.

ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.representatives(1)
@pytest.mark.parametrize("overrides", [(), GAN])
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError(ALLOCATOR), OSError(12, "memory")],
)
def test_memory_that_runs_out_is_one_line_and_loses_nothing(photographs_dir, tmp_path, monkeypatch, error, overrides):
    loop.fit(configuration(photographs_dir, tmp_path / "whole", *overrides))

    kind = RealesrganMethod if overrides else PsnrMethod
    original = kind.select

    def failing(self, step, indices):
        if step == 5:
            raise error
        return original(self, step, indices)

    monkeypatch.setattr(kind, "select", failing)
    config = configuration(photographs_dir, tmp_path / "parts", *overrides)
    with pytest.raises(PytrainError, match=r"^step 5: out of memory on cpu \(.*\); raise train.accumulate") as caught:
        loop.fit(config)
    assert "\n" not in str(caught.value)
    assert states.saved_states(tmp_path / "parts" / "states")[0][0] == 5
    monkeypatch.undo()
    loop.fit(config, resume="auto")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))


def test_a_thread_that_works_ahead_changes_no_bit(photographs_dir, tmp_path, monkeypatch):
    """As on CUDA: tasks of the next step are drawn and planned while this one runs; resuming begins in the middle."""
    loop.fit(configuration(photographs_dir, tmp_path / "whole"))
    threads = set()
    original = PsnrMethod.select

    def watched(self, step, indices):
        threads.add(threading.current_thread().name)
        return original(self, step, indices)

    monkeypatch.setattr(PsnrMethod, "select", watched)
    monkeypatch.setattr(loop, "PlannedStream", functools.partial(PlannedStream, ahead=True))
    loop.fit(configuration(photographs_dir, tmp_path / "parts", "run.steps=3"))
    loop.fit(configuration(photographs_dir, tmp_path / "parts"), resume="auto")
    assert all(name.startswith("pytrain-plan") for name in threads)
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "kind", "name"),
    [
        ((), PsnrMethod, "loss"),
        (GAN, RealesrganMethod, "generator_loss"),
        (GAN, RealesrganMethod, "discriminator_loss"),
    ],
)
def test_a_half_taken_step_is_not_saved(photographs_dir, tmp_path, monkeypatch, overrides, kind, name):
    """An error in the middle of a step: whatever is saved, going on from it gives the bits of an uninterrupted run."""
    loop.fit(configuration(photographs_dir, tmp_path / "whole", *overrides))
    original = getattr(kind, name)

    def failing(self, nets, batch, step):
        terms = original(self, nets, batch, step)
        if step == 5:
            raise MemoryError
        return terms

    monkeypatch.setattr(kind, name, failing)
    config = configuration(photographs_dir, tmp_path / "parts", *overrides)
    with pytest.raises(PytrainError, match=r"^step 5: out of memory"):
        loop.fit(config)
    # Without random buffers the state is whole until the optimizer moves; spectral norm writes to its buffers at once.
    assert states.saved_states(tmp_path / "parts" / "states")[0][0] == (3 if overrides else 5)
    monkeypatch.undo()
    loop.fit(config, resume="auto")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))


def test_a_defect_of_ours_keeps_its_traceback_and_the_state(photographs_dir, tmp_path, monkeypatch):
    def broken(*arguments: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(loop, "measure", broken)
    with pytest.raises(KeyError, match="a bug"):
        loop.fit(configuration(photographs_dir, tmp_path, "evaluate.every_steps=4"))
    assert states.saved_states(tmp_path / "states")[0][0] == 4


# What "auto" decides.


def test_what_auto_decides_is_written_before_the_first_step_and_used_again(photographs_dir, tmp_path, monkeypatch):
    decisions = iter([Precision("bf16", True, "first"), Precision("fp32", False, "second")])
    monkeypatch.setattr(trial, "choose_precision", lambda *arguments: next(decisions))
    config = configuration(photographs_dir, tmp_path / "a", "train.precision=auto")

    def killed(self, step, indices):
        assert json.loads((tmp_path / "a" / "precision.json").read_text())["precision"]["name"] == "bf16"
        raise KeyboardInterrupt

    original = PsnrMethod.select
    monkeypatch.setattr(PsnrMethod, "select", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(config)
    monkeypatch.setattr(PsnrMethod, "select", original)
    assert not states.saved_states(tmp_path / "a" / "states")
    loop.fit(config)
    assert events(tmp_path / "a", "start")[0]["precision"] == "first"
    # Another configuration decides for itself, and so does a damaged record.
    (tmp_path / "b").mkdir()
    text = (tmp_path / "a" / "precision.json").read_text()
    (tmp_path / "b" / "precision.json").write_text(text[:-20])
    loop.fit(configuration(photographs_dir, tmp_path / "b", "train.precision=auto", "run.steps=1"))
    assert events(tmp_path / "b", "start")[0]["precision"] == "second"


def test_a_state_of_another_version_goes_on_or_is_one_line(photographs_dir, tmp_path):
    loop.fit(configuration(photographs_dir, tmp_path / "whole", "run.steps=3"))
    loop.fit(configuration(photographs_dir, tmp_path, "run.steps=2"))
    path = states.saved_states(tmp_path / "states")[0][1]
    tensors, meta = load_state(path)
    precision = dict(meta["precision"])
    slices = precision.pop("slices")
    # What commit 1746c1f called it.
    save_state(path, tensors, {**meta, "precision": {**precision, "crew": slices}})
    loop.fit(configuration(photographs_dir, tmp_path, "run.steps=3"), resume="auto")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path))
    path = states.saved_states(tmp_path / "states")[0][1]
    save_state(path, tensors, {**meta, "precision": {**precision, "workers": slices}})
    with pytest.raises(CheckpointError, match=r"step_000000003.safetensors: the precision must have .*another version"):
        loop.fit(configuration(photographs_dir, tmp_path), resume="auto")


def test_a_full_disk_in_between_is_told_and_the_run_goes_on(photographs_dir, tmp_path, monkeypatch):
    real, calls = states.save, []

    def full_at_first(folder, state, meta):
        calls.append(state.step)
        if len(calls) == 1:
            raise CheckpointError(f"{folder}: cannot be written (No space left on device, 0.0 MB free)")
        return real(folder, state, meta)

    monkeypatch.setattr(states, "save", full_at_first)
    assert loop.fit(configuration(photographs_dir, tmp_path)).step == 8
    assert calls == [3, 6, 8]
    assert "No space left" in str(events(tmp_path, "warning")[0]["text"])


def test_a_phase_that_does_not_exist_is_named(photographs_dir, tmp_path):
    config = configuration(photographs_dir, tmp_path, "optimizer.learning_rates={generater=1e-4}")
    with pytest.raises(ConfigError, match=r"optimizer.learning_rates: must name phases \(generator\), got 'generater'"):
        loop.fit(config)


# What a run leaves behind.


def test_models_load_and_hold_the_average(photographs_dir, tmp_path):
    result = loop.fit(configuration(photographs_dir, tmp_path))
    tensors = weights_of(tmp_path)
    model = load_model(tmp_path / "models" / "last.safetensors")
    assert model.metadata["step"] == 8
    for key, value in model.net.state_dict().items():
        assert torch.equal(value, tensors[f"average.generator/{key}"])
    raw = read_weights(tmp_path / "models" / "last.pth", "params").state
    assert torch.equal(raw["conv_first.weight"], tensors["net.generator/conv_first.weight"])
    assert all(path.is_file() for path in result.files)
    again = load(tmp_path / "config.toml")
    assert again == configuration(photographs_dir, tmp_path)


def test_fine_tuning_starts_from_a_model_file(photographs_dir, tmp_path):
    loop.fit(configuration(photographs_dir, tmp_path / "first", "run.steps=2"))
    model = tmp_path / "first" / "models" / "last.safetensors"
    config = configuration(photographs_dir, tmp_path / "second", "run.steps=1", f"train.pretrained='{model}'",
                           "optimizer.learning_rate=1e-12")  # fmt: skip
    loop.fit(config)
    # A step of at most 1e-12 changes no float32 weight.
    started, wanted = weights_of(tmp_path / "second"), load_model(model).net.state_dict()
    for key, value in wanted.items():
        torch.testing.assert_close(started[f"net.generator/{key}"], value, rtol=0, atol=1e-9)
    with pytest.raises(CheckpointError, match="does not fit srresnet x4"):
        loop.fit(configuration(photographs_dir, tmp_path / "third", "net.scale=4", f"train.pretrained='{model}'"))


def test_the_tasks_are_those_of_the_command_line(photographs_dir, tmp_path):
    """What the trainer sees is what `degrade sample` writes: same crops, same tasks, same pixels."""
    import pydegrade
    from pydegrade.files.dataset import CropReader, draw_crops, find_images
    from pydegrade.files.pixels import to_float
    from pytrain.data.source import open_source, stream

    config = configuration(photographs_dir, tmp_path, *GAN, "net.scale=4", "data.augment=hflip")
    method = build_method(config)
    source = open_source(config.data, method.images, 4, config.run.seed)
    (raw,) = list(stream(source, range(2, 3), 0, 1))
    batch = assemble(method, raw, torch.device("cpu"))

    images = find_images([photographs_dir], side_px=32)
    crops = draw_crops(images, 3, range(8, 12), 32)
    reader = CropReader(images)
    hr = torch.stack([to_float(reader.read(crops, row)) for row in range(4)])
    pair = pydegrade.degrade_batch(hr, pydegrade.sample("realesrgan-x4", 3, range(8, 12)))
    assert torch.equal(batch.hr, hr)
    assert torch.equal(batch.lr, pair.lr)
    assert torch.equal(batch.target, pair.target)
    assert batch.tasks is not None
    assert batch.indices.tolist() == [8, 9, 10, 11]


def test_every_line_of_the_log_has_the_breakdown(photographs_dir, tmp_path):
    loop.fit(configuration(photographs_dir, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["step"] for line in steps] == [2, 4, 6, 8]
    for line in steps:
        shares = [value for name, value in line.items() if name.startswith("time_")]
        # Seven parts and what is left make the whole.
        assert sum(shares) == pytest.approx(1, abs=1e-6)
        assert line["time_degrade"] > 0
        assert line["learning_rate"] == 2e-4


def test_the_score_that_decides_what_is_best_is_checked_before_the_first_step(photographs_dir, tmp_path):
    measured = (
        f"evaluate.sets=[{{name='few', hr=['{photographs_dir}']}}]",
        "evaluate.protocols=['y-uint8', 'rgb-uint8-border4']", "evaluate.every_steps=4",
    )  # fmt: skip
    kept = "checkpoint.keep_best=few/ssim-rgb-uint8-border4"
    result = loop.fit(configuration(photographs_dir, tmp_path / "a", *measured, kept))
    assert "few/ssim-rgb-uint8-border4" in result.scores
    assert (tmp_path / "a" / "models" / "best.safetensors").is_file()
    names = "few/psnr, few/ssim, few/psnr-rgb-uint8-border4, few/ssim-rgb-uint8-border4"
    assert list(result.scores) == names.split(", ")
    for change, message in (
        (
            (*measured, "checkpoint.keep_best=few/pnsr"),
            rf"must be one of {names}, got 'few/pnsr'; did you mean 'few/psnr'",
        ),
        (("checkpoint.keep_best=few/psnr",), r"must be empty where evaluate\.sets has no set, got 'few/psnr'"),
    ):
        with pytest.raises(ConfigError, match=r"^checkpoint\.keep_best " + message):
            loop.fit(configuration(photographs_dir, tmp_path / "b", *change))
        assert not (tmp_path / "b").exists()


MEASURED = ("evaluate.sets=[{{name='few', hr=['{folder}']}}]", "evaluate.every_steps=4", "run.steps=4")
PIXELS_ONLY = (*GAN, "method.gan_weight=0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "keep_best", "kept"),
    [((), "", True), (PIXELS_ONLY, "", True), (GAN, "", False), (GAN, "few/ssim", True)],
)
def test_psnr_does_not_choose_among_what_a_gan_trains(photographs_dir, tmp_path, overrides, keep_best, kept):
    changes = (*(text.format(folder=photographs_dir) for text in MEASURED), f"checkpoint.keep_best='{keep_best}'")
    loop.fit(configuration(photographs_dir, tmp_path, *overrides, *changes))
    assert (tmp_path / "models" / "best.safetensors").is_file() == kept
    assert (tmp_path / "models" / "last.safetensors").is_file()
    hints = [str(event["text"]) for event in events(tmp_path, "hint")]
    assert any(text.startswith("no best model is kept: PSNR does not rank") for text in hints) == (not kept)


@pytest.mark.parametrize(("psnr", "kept"), [("nan", False), ("inf", True)])
def test_scores_that_are_not_finite_end_no_run(photographs_dir, tmp_path, monkeypatch, psnr, kept):
    """NaN from an output that is none, which is named and never the best; infinity from equal images."""

    def broken(net, *arguments, **options):
        result = evaluate(net, *arguments, **options)
        score = replace(result.sets[0].scores[0], value=float(psnr))
        return replace(result, sets=(replace(result.sets[0], scores=(score, *result.sets[0].scores[1:])),))

    monkeypatch.setattr(runs, "evaluate", broken)
    changes = tuple(text.format(folder=photographs_dir) for text in MEASURED)
    loop.fit(configuration(photographs_dir, tmp_path, *changes))
    assert (tmp_path / "models" / "best.safetensors").exists() == kept
    warnings = [str(event["text"]) for event in events(tmp_path, "warning")]
    assert warnings == ([] if kept else ["few/psnr: not a number, the network's output is not finite"])
    assert load_model(tmp_path / "models" / "last.safetensors").metadata["score"]["few/psnr"] == psnr
    loop.fit(configuration(photographs_dir, tmp_path, *changes, "run.steps=5"), resume="auto")
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # NaN is no JSON

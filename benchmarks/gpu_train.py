"""Training and TGSR's scores on the GPU at hand; gpu_check.sh runs it after the kernels are measured.

    python -m benchmarks.gpu_train                 three tables, within `--seconds`
    python -m benchmarks.gpu_train --rehearse      the same code with tiny networks on the CPU, without a GPU

Rows come in the order of what they tell; those for which no time is left say so. `pytrain` is the whole of `pytrain fit`
with degradation on the fly, plain torch is forward, L1, backward and Adam on images that are there already.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import pydegrade
from pytrain.config.config import loads
from pytrain.files.checkpoint import load_state
from pytrain.grouping.inputs import CropPixels
from pytrain.grouping.measurements import Measurement, measured_by_replicas
from pytrain.grouping.scoring import Scorer, TuneSettings
from pytrain.nets import NETS, build
from pytrain.settings import LogConfig, OptimizerConfig
from pytrain.training.log import Log
from pytrain.training.loop import fit
from pytrain.training.precision import PLAIN, Precision
from pytrain.training.recording import recorder_for

BF16 = Precision("bf16", True, "")


@dataclass(frozen=True)
class Row:
    """One network of the table.

    Attributes:
        label: for people.
        net: its table of options, as TOML.
        tiny: what is left of it in a rehearsal.
        batch, lr_px: images of a step and their side.
        method: further lines of the configuration.
    """

    label: str
    net: str
    tiny: str
    batch: int
    lr_px: int
    method: str = 'type = "realesrnet"'


ROWS = (
    Row("RRDBNet 23 blocks", 'type = "rrdbnet"', "num_features = 4\nnum_blocks = 1\ngrowth = 2", 12, 64),
    Row("MSRResNet 64/16", 'type = "srresnet"', "num_features = 4\nnum_blocks = 1", 16, 32),
    Row("EDSR-baseline", 'type = "edsr"', "num_features = 4\nnum_blocks = 1", 16, 48),
    Row(
        "DASR",
        'type = "dasr"',
        "num_features = 2\nnum_blocks = 1\nnum_experts = 2\npredictor_features = 4",
        24,
        64,
        'type = "dasr"\nperceptual_weight = 0\ngan_weight = 0',
    ),
    Row(
        "SwinIR",
        'type = "swinir"',
        "embed_dim = 8\ndepths = [2]\nnum_heads = [2]\nnum_features = 8\nwindow_px = 4",
        8,
        48,
    ),
)
SCALE = 4

CONFIG = """
[run]
steps = {steps}
device = "{device}"
out = "{out}"
[net]
{net}
[method]
{method}
[data]
hr = ["{images}"]
crop_px = {crop_px}
batch = {batch}
workers = {workers}
[train]
precision = "{precision}"
graphs = "{graphs}"
ema_decay = 0.999
[evaluate]
sets = []
[checkpoint]
every_steps = 1000000
[log]
every_steps = {every}
"""


@dataclass(frozen=True)
class Run:
    """Where, how large, and until when."""

    device: torch.device
    is_tiny: bool
    ends_s: float

    @property
    def has_time(self) -> bool:
        return time.perf_counter() < self.ends_s

    def net(self, row: Row) -> str:
        return row.net + ("\n" + row.tiny if self.is_tiny else "")

    def sizes(self, row: Row) -> tuple[int, int]:
        """(images, side of the input) of a step."""
        return (2, 16) if self.is_tiny else (row.batch, row.lr_px)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--seconds", type=float, default=140.0, help="after this, rows are left out")
    given = parser.parse_args(arguments)
    if not given.rehearse and not torch.cuda.is_available():
        print("gpu_train: torch sees no GPU; --rehearse runs without one", file=sys.stderr)
        return 2
    device = torch.device("cpu") if given.rehearse else torch.device("cuda", 0)
    run = Run(device, given.rehearse, time.perf_counter() + (3600 if given.rehearse else given.seconds))
    if given.rehearse:
        print("Rehearsal on the CPU: the times below mean nothing.")
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder) / "hr", 64 if given.rehearse else 480)
        trained = training(run, images, Path(folder))
        same = equal_bits(run, images, Path(folder))
        scored = scores(run)
        plain(run)
    return 0 if trained and same and scored else 1


def write_images(folder: Path, side_px: int) -> Path:
    """Smooth waves with texture."""
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:side_px, :side_px]
    for number in range(4):
        waves = np.sin(x * 0.03 + number) * np.cos(y * 0.05 - number) * 100 + 128
        pixels = waves[..., None] + generator.integers(-20, 21, (side_px, side_px, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


# ---- pytrain fit


class Watched(Log):
    """A silent log that counts what makes the host wait between two of its lines, where torch can tell."""

    def __init__(self, out: Path, is_main: bool, watches: bool) -> None:
        self._nowhere = open("/dev/null", "w")  # noqa: SIM115  closed with the log
        super().__init__(out, LogConfig(), 1, is_main, self._nowhere)
        self._watches, self._lines = watches, 0
        self.waits: list[str] = []

    def step(self, step: int, values: Any) -> None:
        if self._watches:
            torch.cuda.set_sync_debug_mode("default")
        super().step(step, values)
        self._lines += 1
        if self._watches and self._lines == 2:  # the first line has launched steps before it
            torch.cuda.set_sync_debug_mode("warn")


def fitted(
    run: Run, row: Row, images: Path, out: Path, precision: str, graphs: str, steps: int
) -> tuple[float, list[str], list[str], Path]:
    """(steps per second of the last part, hints, where the host waited, newest state) of a short run."""
    batch, lr_px = run.sizes(row)
    every = max(1, steps // 4)
    text = CONFIG.format(
        steps=steps,
        device=run.device.type,
        out=out,
        net=run.net(row),
        method=row.method,
        images=images,
        crop_px=lr_px * SCALE,
        batch=batch,
        precision=precision,
        graphs=graphs,
        every=every,
        workers=0 if run.is_tiny else 4,
    )
    logs: list[Watched] = []

    def open_log(folder: Path, is_main: bool) -> Log:
        logs.append(Watched(folder, is_main, run.device.type == "cuda"))
        return logs[0]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit(loads(text), log=open_log)
        finally:
            if run.device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    waits = [f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)]
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    speeds = [line["steps_per_s"] for line in lines if line["kind"] == "step"]
    hints = [line["text"] for line in lines if line["kind"] == "hint" and "launched" in line["text"]]
    state = max((out / "states").glob("*.safetensors"))
    return speeds[1 if len(speeds) > 1 else 0], hints, waits, state


def training(run: Run, images: Path, folder: Path) -> bool:
    """Steps per second of `pytrain fit`."""
    print(
        "\n| pytrain fit, x4 | batch, LR px | precision | launched, steps/s | graph, steps/s | graph, images/s | waits |"
    )
    print("|---|---|---|---|---|---|---|")
    good = True
    steps = 4 if run.is_tiny else 48
    for precision in ("bf16", "fp32"):
        for row in ROWS if precision == "bf16" else ROWS[:1]:
            if not run.has_time:
                print(f"| {row.label} | no time left | | | | | |")
                continue
            batch, lr_px = run.sizes(row)
            cells = []
            said: list[str] = []
            waits: list[str] = []
            for graphs in ("off", "auto"):
                out = folder / f"{row.label.replace(' ', '-')}-{precision}-{graphs}"
                try:
                    speed, hints, waits, _ = fitted(run, row, images, out, precision, graphs, steps)
                except Exception as error:
                    good = False
                    speed, hints = float("nan"), [f"{type(error).__name__}: {error}"]
                cells.append(speed)
                said += hints
            print(
                f"| {row.label} | {batch}, {lr_px} | {precision} | {cells[0]:.1f} | {cells[1]:.1f} | "
                f"{cells[1] * batch:.0f} | {len(waits)} |"
            )
            for line in (*dict.fromkeys(said), *sorted(set(waits))):
                print(f"|   {line} | | | | | | |")
    return good


def equal_bits(run: Run, images: Path, folder: Path) -> bool:
    """Whether recorded and launched steps end with the same bits; a second launched run says what the device repeats."""
    print(
        "\n| 12 steps twice | tensors that differ, graph against launched | launched against launched |\n|---|---|---|"
    )
    row = ROWS[1]
    ends = []
    for name, graphs in (("graph", "auto"), ("launched", "off"), ("again", "off")):
        *_, state = fitted(run, row, images, folder / f"bits-{name}", "fp32", graphs, 12)
        ends.append(load_state(state)[0])

    def differing(one: int, other: int) -> str:
        count = sum(not torch.equal(value, ends[other][key]) for key, value in ends[one].items())
        most = max(float((value.double() - ends[other][key].double()).abs().max()) for key, value in ends[one].items())
        return f"{count} of {len(ends[one])}, at most {most:.2g}"

    graph, again = differing(0, 1), differing(1, 2)
    print(f"| {row.label} | {graph} | {again} |")
    return graph.startswith("0 ") or not again.startswith("0 ")


# ---- TGSR


def scores(run: Run) -> bool:
    """Seconds of one task's full score."""
    print("\n| TGSR score, MSRResNet 64/16 | s per task | PSNR gains differ by, dB |\n|---|---|---|")
    iterations, batch, crop_px, tasks = (4, 2, 16, 2) if run.is_tiny else (100, 16, 128, 8)
    generator = np.random.default_rng(0)

    def crops(count: int, side_px: int, first: int) -> CropPixels:
        pixels = generator.integers(0, 256, (count, 3, side_px // 4, side_px // 4), np.uint8)
        return CropPixels(np.ascontiguousarray(pixels.repeat(4, 2).repeat(4, 3)), first + np.arange(count), "waves")

    clean, validation = crops(iterations * batch, crop_px, 0), crops(4, crop_px, 2**62)
    drawn = pydegrade.sample("realesrgan-x4", 0, range(tasks))
    settings = TuneSettings(iterations, min(10, iterations), batch, "l1", OptimizerConfig(learning_rate=1e-4))
    given = {"num_features": 4, "num_blocks": 1} if run.is_tiny else {}

    def opened(precision: Precision, records: bool) -> Scorer:
        torch.manual_seed(0)
        net = build(NETS["srresnet"].config(**given))
        recorder = recorder_for(run.device) if records else None
        scorer = Scorer(net, drawn, clean, validation, settings, precision, device=run.device, recorder=recorder)
        if scorer.why_unrecorded:
            print(f"|   {scorer.why_unrecorded} | | |")
        return scorer

    def gain(scorer: Scorer, row: int) -> dict[str, float]:
        return {"gain_db": scorer.gain(row)}

    expected: dict[int, Any] = {}
    good = True
    arms: list[tuple[str, Precision, bool, int]] = [
        ("float32, launched", PLAIN, False, 1),
        ("float32, graph", PLAIN, True, 1),
        ("bf16, graph", BF16, True, 1),
        ("bf16, graph, 2 replicas", BF16, True, 2),
        ("bf16, graph, 4 replicas", BF16, True, 4),
    ]
    for label, precision, records, replicas in arms:
        if not run.has_time:
            print(f"| {label} | no time left | |")
            continue
        measurement = Measurement(lambda p=precision, r=records: opened(p, r), gain, "full")
        rows = range(2 if not records and not run.is_tiny else tasks)
        began, arrived = time.perf_counter(), []
        found = {}
        for row, values in measured_by_replicas(measurement, rows, replicas, run.device):
            arrived.append(time.perf_counter())
            found[row] = values["gain_db"]
        # The first to arrive of each replica stand for opening and recording.
        late = arrived[min(replicas, len(arrived) - 1) - 1 :]
        each_s = (late[-1] - late[0]) / (len(late) - 1) if len(late) > 1 else arrived[-1] - began
        apart = max((abs(found[row] - expected[row]) for row in found if row in expected), default=0.0)
        expected = expected or found
        # bfloat16 moves a gain by a rounding; more would be another network's.
        good &= all(np.isfinite(value) for value in found.values()) and (precision is BF16 or apart < 0.05)
        print(f"| {label} | {each_s:.3f} | {apart:.4f} |")
    return good


# ---- Plain torch


def plain(run: Run) -> None:
    """Milliseconds of a step that one would write first, in several forms."""
    print("\n| plain torch, ms per step | float32 | TF32 | bf16, channels_last | ... in a graph | ... compiled |")
    print("|---|---|---|---|---|---|")
    for row in ROWS[:3] + ROWS[4:]:
        cells = []
        for form in ("float32", "tf32", "bf16", "graph", "compile"):
            # Compiling a network takes a minute for the large ones.
            if not run.has_time or (form == "compile" and (run.is_tiny or row.label not in ("MSRResNet 64/16",))):
                cells.append("-")
                continue
            try:
                cells.append(f"{1e3 * plain_s(run, row, form):.1f}")
            except Exception as error:
                cells.append(f"{type(error).__name__}")
        print(f"| {row.label} | {' | '.join(cells)} |")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def plain_s(run: Run, row: Row, form: str) -> float:
    """Median seconds of a step."""
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = form == "tf32"
    batch, lr_px = run.sizes(row)
    text = f"[run]\ndevice = 'cpu'\n[net]\n{run.net(row)}\n[method]\n{row.method}\n"
    precision = BF16 if form not in ("float32", "tf32") else PLAIN
    net = precision.arranged(build(loads(text).net).to(run.device))
    called: Callable[..., torch.Tensor] = torch.compile(net) if form == "compile" else net
    lr = precision.image(torch.rand(batch, 3, lr_px, lr_px, device=run.device))
    target = precision.image(torch.rand(batch, 3, SCALE * lr_px, SCALE * lr_px, device=run.device))
    optimizer = torch.optim.Adam(net.parameters(), 1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast(run.device):
            out = called(lr)
        F.l1_loss(out.float(), target).backward()
        optimizer.step()

    for _ in range(1 if run.is_tiny else 3):
        step()
    repeat = step
    recorder = recorder_for(run.device)
    if form == "graph" and recorder is not None:
        for group in optimizer.param_groups:
            group["capturable"] = True
        repeat = recorder.record(step)
    times = []
    for _ in range(1 if run.is_tiny else 8):
        run.wait()
        began = time.perf_counter()
        repeat()
        run.wait()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())

"""Bits and times of the CUDA backend on the GPU at hand; gpu_check.sh runs it after building and testing.

    python -m benchmarks.gpu_check              everything, one table at the end
    python -m benchmarks.gpu_check --bits       CPU against CUDA over many tasks of every preset
    python -m benchmarks.gpu_check --times      ceilings, ops, chains
    python -m benchmarks.gpu_check --profile    one batch of a chain between the marks of Nsight Compute
    python -m benchmarks.gpu_check --ncu FILE   what Nsight Compute wrote about it, as a table
    python -m benchmarks.gpu_check --sanitize   a few small launches of every kernel, for compute-sanitizer
    python -m benchmarks.gpu_check --rehearse   the same code with tiny sizes on the block emulator, without a GPU

Times are medians of CUDA events over inputs that rotate through several sets; ceilings are measured in the same run.
Bytes are those that must move at least: the image read once, the result written once.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import pydegrade
from pydegrade import engine
from pydegrade.native import devices
from pydegrade.native.packed import Layout, dense_layout
from pydegrade.ops.noise import poisson_tables
from pydegrade.ops.psf import SHAPES, blur_params
from pydegrade.ops.resize import MODES
from pydegrade.plan import make_plan
from tests import device_cases, emulated
from tests.devices import compiled_presets

from . import eager, floors

# First; then all others whose ops are compiled.
PRESETS = ("realesrgan-x4", "realesrgan-x2", "realesrgan-x4-diffjpeg", "bsrgan-x4", "dasr-mixed", "bicubic-x4")
SETS = 4  # of inputs; at B=12 together larger than the second-level cache of any GPU here


@dataclass(frozen=True)
class Run:
    """Where and how large.

    Attributes:
        device: the GPU, or the CPU in a rehearsal.
        backend: None on a GPU, the emulator in a rehearsal.
        batches: images per batch.
        side_px: of the HR images.
        bit_tasks: tasks per preset whose bits are compared.
        repeats: timed runs.
        ceilings: library built from ceilings.cu.
    """

    device: torch.device
    backend: devices.Backend | None
    batches: tuple[int, ...]
    side_px: int
    bit_tasks: int
    repeats: int
    ceilings: Path | None

    @property
    def has_gpu(self) -> bool:
        return self.device.type == "cuda"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--bits", action="store_true")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--ncu", type=Path, metavar="FILE")
    parser.add_argument("--bit-seconds", type=float, default=60.0, help="after this, presets get fewer tasks")
    parser.add_argument("--bit-tasks", type=int, default=4000, help="tasks per preset whose bits are compared")
    parser.add_argument("--ceilings", type=Path, help="library built from benchmarks/ceilings.cu")
    given = parser.parse_args(arguments)
    if given.ncu is not None:
        print(ncu_table(given.ncu.read_text(errors="replace")))
        return 0
    if given.rehearse:
        backend = emulated.load(emulated.build(), lambda: 1)
        run = Run(torch.device("cpu"), backend, (2,), 32, 2, 1, None)
    elif not torch.cuda.is_available():
        print("gpu_check: torch sees no GPU; --rehearse runs without one", file=sys.stderr)
        return 2
    else:
        run = Run(torch.device("cuda"), None, (12, 48), 400, given.bit_tasks, 100, given.ceilings)
    if given.sanitize:
        wrong = device_cases.compare(device_cases.few_cases(), run.backend, run.device)
        print("\n".join(wrong) or "all cases equal the CPU's")
        return 1 if wrong else 0
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False

    if given.profile:
        profiled(run)
        return 0
    lines = [machine(run)]
    same = True
    if given.bits or not given.times:
        same = bits(run, lines, time.perf_counter() + given.bit_seconds)
    if given.times or not given.bits:
        limits = ceilings(run, lines)
        ops(run, limits, lines)
        chains(run, lines)
    print("\n".join(lines))
    return 0 if same else 1


def machine(run: Run) -> str:
    if not run.has_gpu:
        return "Rehearsal on the block emulator: the times below mean nothing."
    properties = torch.cuda.get_device_properties(run.device)
    return (
        f"{properties.name}, {properties.multi_processor_count} multiprocessors, torch {torch.__version__}, "
        f"CUDA {torch.version.cuda}, Python {sys.version.split()[0]}, TF32 off unless said"
    )


# ---- Measuring


def median_s(run: Run, work: Sequence[Callable[[], Any]], repeats: int | None = None) -> float:
    """Seconds of one call, the calls taken in turn."""
    count = repeats or run.repeats
    for index in range(min(20, count)):
        work[index % len(work)]()
    times = []
    for index in range(count):
        call = work[index % len(work)]
        if run.has_gpu:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            times.append((start, end))
        else:
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    if run.has_gpu:
        torch.cuda.synchronize()
        return statistics.median(start.elapsed_time(end) for start, end in times) / 1e3
    return statistics.median(times)


def replayed_s(run: Run, work: Sequence[Callable[[], Any]]) -> float:
    """The same, each call captured in a CUDA graph first."""
    if not run.has_gpu:
        return median_s(run, work)
    graphs = []
    for call in work:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        graphs.append(graph)
    return median_s(run, [graph.replay for graph in graphs])


def photographs(run: Run, batch: int) -> list[torch.Tensor]:
    """SETS batches [B, 3, side, side] on the device: smooth waves with texture, in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(run.side_px), torch.arange(run.side_px), indexing="ij")
    sets = []
    for number in range(SETS):
        phase = torch.rand(batch, 3, 1, 1, generator=generator) * 6
        waves = torch.sin(x * 0.03 + phase) * torch.cos(y * 0.05 - phase) * 0.4 + 0.5
        texture = torch.rand(batch, 3, run.side_px, run.side_px, generator=generator) * 0.2 - 0.1
        sets.append((waves + texture + 0.001 * number).clamp(0, 1).to(run.device))
    return sets


@dataclass(frozen=True)
class Limits:
    """Ceilings: bytes per second of a copy (read and written), floating-point operations per second."""

    bytes_per_s: float
    flop_per_s: float


def ceilings(run: Run, lines: list[str]) -> Limits:
    floats = (1 << 29) if run.has_gpu else 1 << 12
    source, result = (torch.empty(floats, device=run.device) for _ in range(2))
    copy = 8 * floats / median_s(run, [lambda: result.copy_(source)], 10)
    flop = float("nan")
    launch_us = float("nan")
    if run.has_gpu and run.ceilings is not None:
        library = ctypes.CDLL(str(run.ceilings))
        library.ceiling_multiply_add.restype = library.ceiling_launch.restype = ctypes.c_float
        done = ctypes.c_double()
        milliseconds = library.ceiling_multiply_add(ctypes.c_void_p(result.data_ptr()), 8192, 20, ctypes.byref(done))
        flop = 20 * done.value / (milliseconds / 1e3)
        launch_us = library.ceiling_launch(1000)
    lines.append(
        f"ceilings: copy {copy / 1e9:.0f} GB/s, multiply-add {flop / 1e12:.1f} TFLOP/s, empty launch {launch_us:.2f} us"
    )
    return Limits(copy, flop)


# ---- Bits


def bits(run: Run, lines: list[str], ends_s: float) -> bool:
    """CPU against CUDA over many tasks of every preset, images of 64 px in batches of 48; at least one batch of each."""
    good = True
    lines.append("\n| preset | tasks | images that differ |\n|---|---|---|")
    side, batch = (64, 48) if run.has_gpu else (32, 2)
    images = photographs(Run(torch.device("cpu"), None, (), side, 0, 1, None), batch)[0]
    others = [] if run.backend is not None else [name for name in compiled_presets() if name not in PRESETS]
    for space in (*PRESETS, *others):
        differing = compared = 0
        for start in range(0, run.bit_tasks, batch):
            if start and time.perf_counter() > ends_s:
                break
            count = min(batch, run.bit_tasks - start)
            compared += count
            tasks = pydegrade.sample(space, 1, range(start, start + count))
            hr = images[:count].contiguous()
            expected = pydegrade.degrade_batch(hr, tasks)
            got = degrade(run, hr.to(run.device), tasks)
            for row in range(count):
                same = torch.equal(got.lr[row].cpu(), expected.lr[row])
                same &= torch.equal(got.target[row].cpu(), expected.target[row])
                differing += not same
        lines.append(f"| {space} | {compared} | {differing} |")
        good &= differing == 0
    return good


def degrade(run: Run, hr: torch.Tensor, tasks: pydegrade.TaskBatch) -> engine.Pair:
    if run.backend is None:
        return pydegrade.degrade_batch(hr, tasks)
    has_target = tasks.space.target != "hr"
    lr, target = engine._run(make_plan(tasks, dense_layout(hr)), hr.reshape(-1), has_target, run.backend)
    scale = tasks.space.scale
    shape = (*hr.shape[:2], hr.shape[2] // scale, hr.shape[3] // scale)
    return engine.Pair(lr.view(shape), hr if target is None else target.view(hr.shape))


# ---- Ops


@dataclass(frozen=True)
class OpBench:
    """One op on a batch of equal images: how it is recorded, its work, and the same in torch."""

    label: str
    op: str
    fields: dict[str, Any]
    factor: float = 1.0
    flop_per_px: float = 0.0
    torch_form: Callable[[torch.Tensor], torch.Tensor] | None = None


def op_benches(batch: int, device: torch.device) -> list[OpBench]:
    every = np.ones(batch)

    def gaussians(size_px: int, dense: bool) -> dict[str, Any]:
        shape = SHAPES.index("generalized_iso" if dense else "iso")
        columns = {"shape": every * shape, "size_px": every * size_px, "sigma_x_px": every * 3, "sigma_y_px": every * 3}
        columns |= {
            "angle_rad": every * 0,
            "beta": every * (0.6 if dense else 1),
            "cutoff_rad": every,
            "shift_px": every * 0,
        }
        return dict(blur_params(columns))

    def resize(mode: str, factor: float) -> OpBench:
        fields = {
            "mode": np.full(batch, MODES.index(mode), np.int32),
            "scale_y": every * factor,
            "scale_x": every * factor,
        }
        taps = {"torch_area": 1 / factor, "torch_bilinear": 2, "torch_bicubic": 4, "matlab_bicubic": 4 / factor}[mode]
        form = None
        if mode.startswith("torch"):
            name = mode.removeprefix("torch_")
            form = lambda images: F.interpolate(images, scale_factor=factor, mode=name)  # noqa: E731
        return OpBench(f"resize {mode} x{factor:g}", "resize", fields, factor, 4 * taps * factor**2, form)

    def noise(kind: int, gray: int) -> OpBench:
        key = np.random.default_rng(0).integers(0, 2**32, (batch, 4), dtype=np.uint32)
        fields = {
            "kind": np.full(batch, kind, np.int32),
            "sigma": np.full(batch, 15 / 255, np.float32),
            "gain": np.full(batch, 1.5, np.float32),
            "gray": np.full(batch, gray, np.int32),
            "matrix": None,
            "key": key,
            "poisson_tables": poisson_tables(),
        }
        flags = torch.full((batch,), float(gray), device=device)
        sigma, gain = torch.full((batch,), 15.0, device=device), torch.full((batch,), 1.5, device=device)
        gaussian = lambda images: eager.gaussian_noise(images, sigma, flags)  # noqa: E731
        poisson = lambda images: eager.poisson_noise(images, gain, flags)  # noqa: E731
        label = f"noise {('gaussian', 'poisson')[kind - 1]} {('colour', 'gray')[gray]}"
        return OpBench(label, "noise", fields, torch_form=gaussian if kind == 1 else poisson)

    def jpeg(mode: int, subsampling: int) -> OpBench:
        fields = {
            "mode": np.full(batch, mode, np.int32),
            "quality": np.full(batch, 75, np.float32),
            "subsampling": np.full(batch, subsampling, np.int32),
            "rounding": np.zeros(batch, np.int32),
        }
        quality = torch.full((batch,), 75.0, device=device)
        label = f"jpeg {('libjpeg', 'diffjpeg')[mode - 1]} {('444', '422', '420')[subsampling]}"
        return OpBench(label, "jpeg", fields, torch_form=lambda images: eager.diffjpeg(images, quality))

    usm = eager.usm_kernel().to(device)
    sharpen = {
        "weight": np.full(batch, 0.5, np.float32),
        "radius_px": np.full(batch, 50, np.int32),
        "threshold_8bit": np.full(batch, 10, np.float32),
    }
    dense = torch.rand(batch, 21, 21, device=device)
    return [
        OpBench("blur dense 21", "blur", gaussians(21, True), 1, 2 * 441, lambda images: eager.filter2d(images, dense)),
        OpBench(
            "blur separable 21", "blur", gaussians(21, False), 1, 2 * 42, lambda images: eager.filter2d(images, dense)
        ),
        OpBench("sharpen", "sharpen", sharpen, 1, 2 * 4 * 51, lambda images: eager.usm_sharpen(images, usm)),
        *(resize("torch_bicubic", factor) for factor in (0.5, 1.3)),
        resize("torch_bilinear", 1.3),
        resize("torch_area", 0.5),
        resize("matlab_bicubic", 0.25),
        *(noise(kind, gray) for kind in (1, 2) for gray in (0, 1)),
        *(jpeg(1, subsampling) for subsampling in (2, 0)),
        jpeg(2, 2),
    ]


def ops(run: Run, limits: Limits, lines: list[str]) -> None:
    lines.append(
        "\n| op | B | launches, us | graph, us | GB/s | of copy | TFLOP/s | torch eager, us | ratio |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for batch in run.batches:
        sets = photographs(run, batch)
        lines += [op_line(run, limits, bench, sets) for bench in op_benches(batch, run.device)]
    others(run, lines)


def op_line(run: Run, limits: Limits, bench: OpBench, sets: Sequence[torch.Tensor]) -> str:
    batch = len(sets[0])
    src = Layout.of_sizes(np.full(batch, run.side_px), np.full(batch, run.side_px))
    side = max(1, int(run.side_px * bench.factor))
    dst = Layout.of_sizes(np.full(batch, side), np.full(batch, side))
    rows = {"src_rows": src.fields(), "dst_rows": dst.fields()} if bench.op == "resize" else {"rows": src.fields()}
    program = devices.record(bench.op, run.device, **rows, **bench.fields)
    out = torch.empty(dst.total, device=run.device)
    arena = torch.empty(program.arena_bytes, dtype=torch.uint8, device=run.device)

    def work(images: torch.Tensor) -> Callable[[], None]:
        return lambda: devices.run(program, images.view(-1), out, arena=arena, backend=run.backend)

    def torch_work(images: torch.Tensor) -> Callable[[], Any]:
        assert bench.torch_form is not None
        return lambda: bench.torch_form(images)

    launched = median_s(run, [work(images) for images in sets])
    replayed = replayed_s(run, [work(images) for images in sets])
    theirs = float("nan")
    if bench.torch_form is not None and run.has_gpu:
        theirs = median_s(run, [torch_work(images) for images in sets], min(10, run.repeats))
    moved = 4 * (src.total + dst.total) / replayed
    return (
        f"| {bench.label} | {batch} | {1e6 * launched:.1f} | {1e6 * replayed:.1f} | {moved / 1e9:.0f} | "
        f"{100 * moved / limits.bytes_per_s:.0f} % | {bench.flop_per_px * src.total / replayed / 1e12:.1f} | "
        f"{1e6 * theirs:.0f} | {theirs / replayed:.0f}x |"
    )


def others(run: Run, lines: list[str]) -> None:
    """BasicSR's and kornia's own code, where it can be imported."""
    if not run.has_gpu:
        return
    images = photographs(run, 12)[0]
    forms: dict[str, Callable[[], Any]] = {}
    diffjpeg, process, kornia = (
        _module(name) for name in ("basicsr.utils.diffjpeg", "basicsr.utils.img_process_util", "kornia")
    )
    if diffjpeg is not None:
        codec = diffjpeg.DiffJPEG(differentiable=False).to(run.device)
        forms["basicsr DiffJPEG"] = lambda: codec(images, quality=torch.full((12,), 75.0, device=run.device))
    if process is not None:
        usm = process.USMSharp().to(run.device)
        forms["basicsr USMSharp"] = lambda: usm(images)
    if kornia is not None:
        kernel = torch.rand(12, 21, 21, device=run.device)
        forms["kornia filter2d 21"] = lambda: kornia.filters.filter2d(images, kernel)
    missing = [name for name, found in (("basicsr", diffjpeg), ("kornia", kornia)) if found is None]
    for label, form in forms.items():
        lines.append(f"| {label} | 12 | | | | | | {1e6 * median_s(run, [form], 10):.0f} | |")
    if missing:
        lines.append(f"\nNot importable here: {', '.join(missing)}.")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception:  # an old package may fail in many ways on a new torch
        return None


# ---- Chains


def chains(run: Run, lines: list[str]) -> None:
    lines.append(
        "\n| chain, realesrgan-x4 | B | kernel launches | launches, ms | graph, ms | with planning, ms | torch eager, ms | "
        "eager with TF32, ms | ratio |\n|---|---|---|---|---|---|---|---|---|"
    )
    for usm in (False, True):
        for batch in run.batches:
            lines.append(chain_line(run, batch, usm))


def chain_line(run: Run, batch: int, usm: bool) -> str:
    every = [pydegrade.sample("realesrgan-x4", 0, range(k * batch, (k + 1) * batch)) for k in range(SETS)]
    if not usm:
        every = [floors.without(tasks, "sharpen") for tasks in every]
    sets = photographs(run, batch)
    prepared = [engine.prepare(tasks, run.side_px, run.side_px, run.device) for tasks in every]
    memory = [one.empty() for one in prepared]
    work = [
        (lambda one=one, hr=hr, held=held: one.run(hr, *held, run.backend))
        for one, hr, held in zip(prepared, sets, memory)
    ]
    launched, replayed = median_s(run, work), replayed_s(run, work)

    def planned(index: int) -> float:
        began = time.perf_counter()
        degrade(run, sets[index], every[index])
        if run.has_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    whole = statistics.median(planned(index % SETS) for index in range(max(SETS, run.repeats // 5)))
    theirs, theirs_tf32 = float("nan"), float("nan")
    if run.has_gpu:
        kernel = eager.usm_kernel().to(run.device) if usm else None
        theirs = eager_s(run, batch, sets, kernel)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        theirs_tf32 = eager_s(run, batch, sets, kernel)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    launches = max(one.program.launches for one in prepared)
    return (
        f"| {'with' if usm else 'without'} USM | {batch} | {launches} | {1e3 * launched:.3f} | {1e3 * replayed:.3f} | "
        f"{1e3 * whole:.2f} | {1e3 * theirs:.1f} | {1e3 * theirs_tf32:.1f} | {theirs / replayed:.0f}x |"
    )


def profiled(run: Run) -> None:
    """The kernels of one batch of realesrgan-x4 with USM, launched once between marks."""
    batch = max(run.batches)
    prepared = engine.prepare(pydegrade.sample("realesrgan-x4", 0, range(batch)), run.side_px, run.side_px, run.device)
    hr, held = photographs(run, batch)[0], prepared.empty()
    prepared.run(hr, *held, run.backend)
    if run.has_gpu:
        torch.cuda.synchronize()
        torch.cuda.profiler.start()
    prepared.run(hr, *held, run.backend)
    if run.has_gpu:
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()


NCU_METRICS = {
    "gpu__time_duration.sum": "us",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": "SM %",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": "DRAM %",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy %",
    "sm__maximum_warps_per_active_cycle_pct": "of at most %",
}
"""What gpu_check.sh asks Nsight Compute for (`ncu --csv --page raw --metrics`), and how the table calls it."""


def ncu_table(text: str) -> str:
    """A row per launch from the CSV of Nsight Compute; columns that it did not write stay empty."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        return "Nsight Compute wrote no table: " + (lines[-1] if lines else "nothing")
    header, units, *rows = csv.reader(lines[start:])
    place = {name: number for number, name in enumerate(header)}
    table = [f"\n| kernel | {' | '.join(NCU_METRICS.values())} |", "|" + "---|" * (1 + len(NCU_METRICS))]
    for row in rows:
        cells = []
        for metric in NCU_METRICS:
            number = place.get(metric)
            value = float(row[number].replace(",", "")) if number is not None and row[number] else float("nan")
            scale = {"ns": 1e-3, "nsecond": 1e-3, "ms": 1e3, "msecond": 1e3}
            cells.append(f"{value * scale.get(units[number] if number is not None else '', 1.0):.1f}")
        kernel = row[place["Kernel Name"]].split("(")[0]
        table.append(f"| {kernel} | {' | '.join(cells)} |")
    return "\n".join(table)


def eager_s(run: Run, batch: int, sets: Sequence[torch.Tensor], usm: torch.Tensor | None) -> float:
    """Seconds of one batch of the usual pipeline, by the clock, since it waits for the device many times."""
    from . import inputs

    chosen = [
        eager.EagerBatch(one.tasks, one.shared, {name: kernel.to(run.device) for name, kernel in one.kernels.items()})
        for one in inputs.eager_batches("realesrgan-x4", SETS, batch)
    ]
    times = []
    for index in range(3 * SETS):
        began = time.perf_counter()
        eager.realesrgan_chain(sets[index % SETS], chosen[index % SETS], usm)
        if run.has_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[SETS:])


if __name__ == "__main__":
    sys.exit(main())

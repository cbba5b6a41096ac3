"""The CUDA kernels under the block emulator: the CPU's bits for every size, in any order of threads and blocks; and planted
defects, each of which must be found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import count

import numpy as np
import pytest
import torch

import pydegrade
from benchmarks import gpu_check
from pydegrade import engine
from pydegrade.native import devices
from pydegrade.native.packed import Layout, dense_layout, pack
from pydegrade.plan import make_plan

from . import device_cases, emulated
from .devices import compiled_presets
from .test_engine import hr_batch

pytestmark = pytest.mark.skipif(emulated.compiler() is None, reason="no C++ compiler for the emulator")


@pytest.fixture(scope="module")
def backend() -> devices.Backend:
    """Every run in another random order; the first in ascending order."""
    seeds = count(0)
    return emulated.load(emulated.build(), lambda: next(seeds))


@pytest.mark.representatives(3)
@pytest.mark.parametrize("case", list(device_cases.all_cases()), ids=lambda case: case.label.replace(" ", "-"))
def test_kernels_give_the_bits_of_the_cpu(case, backend):
    for _ in range(2):
        assert device_cases.compare(iter([case]), backend) == []


def run_both(tasks, data, rows, backend):
    plan = make_plan(tasks, rows)
    want_target = tasks.space.target != "hr"
    return engine._run(plan, data, want_target), engine._run(plan, data, want_target, backend)


@pytest.mark.representatives(1)
@pytest.mark.parametrize("space", compiled_presets())
def test_chains_give_the_bits_of_the_cpu(space, backend):
    hr, tasks = hr_batch(8, 36), pydegrade.sample(space, 3, range(8))
    expected, got = run_both(tasks, hr.reshape(-1), dense_layout(hr), backend)
    assert torch.equal(got[0], expected[0])
    assert (got[1] is None) == (expected[1] is None)
    assert got[1] is None or torch.equal(got[1], expected[1])


@pytest.mark.slow
def test_ragged_chains_give_the_bits_of_the_cpu(backend):
    images = [
        hr_batch(1, 128)[0, :, : 8 * high, : 8 * wide] for high, wide in ((1, 1), (2, 9), (7, 3), (9, 16), (5, 5))
    ]
    data, rows = pack([image.contiguous() for image in images])
    tasks = pydegrade.sample("realesrgan-x4", 11, range(len(images)))
    expected, got = run_both(tasks, data, rows, backend)
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])


def test_prepared_programs_run_again_on_other_images(backend):
    tasks = pydegrade.sample("realesrgan-x4", 5, range(3))
    prepared = engine.prepare(tasks, 32, 24, "cpu")
    lr, target, arena = prepared.empty()
    for start in range(2):
        hr = hr_batch(4, 32)[start : start + 3, :, :, :24].contiguous()
        prepared.run(hr, lr, target, arena, backend)
        expected = pydegrade.degrade_batch(hr, tasks)
        assert torch.equal(lr, expected.lr)
        assert torch.equal(target, expected.target)
    with pytest.raises(ValueError, match="run: hr must have the prepared shape"):
        prepared.run(hr[:2], lr, target, arena, backend)
    with pytest.raises(ValueError, match=r"run: lr, target and arena must be those of Prepared\.empty"):
        prepared.run(hr, lr, None, arena, backend)


def test_launches_of_a_chain_do_not_grow_with_the_batch():
    """One or two per slot that any image uses, two to prepare tables and zeros, one to round."""
    launches = []
    for batch in (48, 192):
        tasks = pydegrade.sample("realesrgan-x4", 0, range(batch))
        plan = make_plan(tasks, Layout.of_sizes(np.full(batch, 400), np.full(batch, 400)))
        program = engine._record(plan, torch.device("cpu"), want_target=True)
        launches.append(program.launches)
    assert launches[0] == launches[1] <= 25


def test_a_program_with_wrong_sizes_is_refused():
    rows = device_cases.layout([(4, 4)])
    with pytest.raises(ValueError, match="blur: size_px is out of range in row 0"):
        devices.record(
            "blur",
            device_cases.CPU,
            rows=rows.fields(),
            weights=np.zeros(4, np.float32),
            start=np.zeros(1, np.int64),
            size_px=np.full(1, 2, np.int32),
            path=np.full(1, 2, np.int32),
            border=None,
        )
    huge = Layout(np.zeros(1, np.int64), np.full(1, 40000, np.int32), np.full(1, 40000, np.int32), 3)
    case = device_cases.sharpen_case([(1, 1)])
    with pytest.raises(ValueError, match="sharpen: an image or the batch is too large for the CUDA kernels"):
        devices.record("sharpen", device_cases.CPU, rows=huge.fields(), **case.fields)


# ---- Work, counted and not timed


@pytest.mark.slow
def test_sharpening_filters_hardly_a_row_twice():
    """At most 1.25 times the 4 x 51 multiply-adds that a value of an image 400 px high needs, in a batch that fills a GPU.

    Images are 4 px wide, which changes the work per value in nothing but loads: a tile's width is divided up without rest.
    """
    case = device_cases.sharpen_case([(400, 4)] * 43)
    case.fields["weight"][:], case.fields["radius_px"][:] = 0.5, 50
    library = emulated.build()
    assert device_cases.compare(iter([case]), emulated.load(library, lambda: 0)) == []
    work = emulated.work(library)
    values = 43 * 3 * 400 * 4
    made = work["sharpen_mask"].multiply_adds + work["sharpen_blend"].multiply_adds
    assert 204 <= made / values <= 1.25 * 204


# ---- Sanitizers

SANITIZED = """
import sys
from pathlib import Path
from tests import device_cases, emulated
backend = emulated.load(Path(sys.argv[1]), lambda: 5)
wrong = device_cases.compare(device_cases.few_cases(), backend)
print("compared" if not wrong else wrong)
"""


@pytest.mark.slow
def test_no_undefined_behaviour_under_sanitizers():
    runtime = subprocess.run(
        [str(emulated.compiler()), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not os.path.isabs(runtime):
        pytest.skip("the compiler has no AddressSanitizer library")
    library = emulated.build(("-O0", *emulated.SANITIZERS))
    environment = os.environ | {
        "LD_PRELOAD": runtime,
        # Python itself does not free everything.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": str(emulated.ROOT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED, str(library)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.strip() == "compared"
    assert "runtime error" not in done.stderr


@pytest.mark.slow
def test_the_gpu_check_rehearses(capsys):
    """The measuring part of benchmarks/gpu_check.sh, on the emulator: it runs, and finds all bits equal."""
    assert gpu_check.main(["--rehearse"]) == 0
    said = capsys.readouterr().out
    assert "| realesrgan-x4 | 2 | 0 |" in said
    assert "| jpeg libjpeg 420 | 2 |" in said
    assert "| with USM | 2 |" in said


def test_the_table_of_nsight_compute():
    text = """==PROF== Connected to process 1
"ID","Process ID","Kernel Name","gpu__time_duration.sum","sm__throughput.avg.pct_of_peak_sustained_elapsed"
"","","","ns","%"
"0","7","sharpen_mask(const Program *)","733,120","60.5"
"""
    header, _, row = gpu_check.ncu_table(text).strip().splitlines()
    assert header == "| kernel | us | SM % | DRAM % | occupancy % | of at most % |"
    assert row == "| sharpen_mask | 733.1 | 60.5 | nan | nan | nan |"
    assert gpu_check.ncu_table("==ERROR== no permission") == "Nsight Compute wrote no table: ==ERROR== no permission"


# ---- Planted defects: (file, what stands there, what is put there instead, what finds it). Every barrier is taken out in
# turn; the others are slips of the hand.

DEFECTS = [
    ("cuda/filter.cuh", "tile.left - radius, rows", "tile.left - radius + 1, rows", "blur"),
    ("cuda/filter.cuh", "x0 + c < width", "x0 + c <= width", "blur"),
    ("cuda/filter.cuh", "tap < taps ? line.get(vertical + tap)", "tap <= taps ? line.get(vertical + tap)", "blur"),
    ("cuda/filter.cuh", "(first + row) * kFilterTileWidth", "(first + row) * (kFilterTileWidth - 4)", "blur"),
    ("cuda/filter.cuh", "to.set(row * columns + column", "to.set(row * (columns - 1) + column", "blur"),
    ("ops/blur/part.cuh", "- first_x() : 0", "- first_x() + 1 : 0", "chain"),
    ("ops/blur/part.cuh", "range.maximum(1, x);", "range.maximum(1, x - 1);", "chain"),
    ("ops/blur/part.cuh", "|| lane >= columns) continue", ") continue", "chain"),
    ("ops/blur/kernel.cu", "larger(0, y - taps + 1)", "larger(0, y - taps + 2)", "blur_adjoint"),
    ("cuda/rolling.cuh", "c < wide", "c <= wide", "sharpen"),
    ("cuda/rolling.cuh", "at -= ring_rows * columns", "at -= (ring_rows - 1) * columns", "sharpen"),
    ("cuda/rolling.cuh", "first < above ? above - first", "first < above ? kRollingRows", "sharpen"),
    ("ops/sharpen/kernel.cu", "mask.set(i, static_cast", "mask.set(i - 1, static_cast", "sharpen"),
    ("ops/noise/kernel.cu", "quads = (width + 3) / 4", "quads = width / 4", "noise"),
    ("ops/noise/kernel.cu", "if (thread_index() < 8) all.bits_or", "if (thread_index() < 4) all.bits_or", "noise"),
    ("ops/noise/kernel.cu", "const bool gray = row.gray != 0;\n  const int64_t plane", "GUARD", "noise"),
    ("ops/rain/kernel.cu", "if (i >= plane) return;", "if (i > plane) return;", "rain"),
    ("ops/rain/kernel.cu", "i / row.src.width, i % row.src.width", "i / row.src.width, i % row.src.width + 1", "rain"),
    ("ops/resize/kernel.cu", "middle.get(y * span + i - low)", "middle.get(y * columns + i - low)", "resize"),
    ("ops/resize/kernel.cu", "range.get(1) - low + 1", "range.get(1) - low", "resize"),
    ("ops/resize/kernel.cu", "index[t] = first + t;", "index[t] = first;", "chain"),
    ("ops/resize/kernel.cu", "if (j >= out_px) return;", "if (j > out_px) return;", "resize"),
    ("cuda/point.cu", "i >= row.count) return;", "i > row.count) return;", "noise"),
    ("ops/jpeg/region.cuh", "smaller(x, row.src.width - 1)", "smaller(x, row.src.width)", "jpeg"),
    ("ops/jpeg/region.cuh", "y * row.factor_y - region.top", "y * row.factor_y - region.top + 1", "jpeg"),
    (
        "ops/jpeg/libjpeg_kernel.cu",
        "near_y - 1 : near_y + 1, 0), row.chroma_height - 1",
        "near_y - 1 : near_y + 1, 0), 1 << 20",
        "jpeg",
    ),
    ("ops/jpeg/libjpeg_kernel.cu", "* plane_width(row, 0) + x)", "* (plane_width(row, 0) - 8) + x)", "jpeg"),
    ("ops/jpeg/diffjpeg_kernel.cu", "below < rows; ++below", "below < rows - 1; ++below", "jpeg_adjoint"),
]
# A thread that leaves before a barrier which the others wait at.
GUARD = "if (thread_index() >= 200) return;\n  const bool gray = row.gray != 0;\n  const int64_t plane"
FINDERS = {
    "ops/blur/part.cuh": "chain",
    "cuda/filter.cuh": "blur",
    "cuda/rolling.cuh": "sharpen",
    "ops/noise/kernel.cu": "noise",
    "ops/resize/kernel.cu": "resize",
    "ops/jpeg/region.cuh": "jpeg",
    "ops/jpeg/libjpeg_kernel.cu": "jpeg",
    "ops/jpeg/diffjpeg_kernel.cu": "jpeg_adjoint",
}


def defects() -> list[tuple[str, str, str]]:
    """(name, file, text with the defect) and what finds it."""
    planted = []
    for file, old, new, finder in DEFECTS:
        text = (emulated.CSRC / file).read_text()
        assert text.count(old) >= 1, f"{file} has no {old!r}: plant the defect where its code is now"
        planted.append((f"{file}: {old}", file, text.replace(old, GUARD if new == "GUARD" else new, 1), finder))
    for file, finder in FINDERS.items():
        text = (emulated.CSRC / file).read_text()
        for number, barrier in enumerate(re.finditer(r"PYD_BARRIER\(\);", text)):
            without = text[: barrier.start()] + text[barrier.end() :]
            planted.append((f"{file}: barrier {number}", file, without, finder))
    return planted


@pytest.fixture(scope="module")
def cases_by_op():
    found: dict[str, list[device_cases.Case]] = {}
    for case in device_cases.few_cases():
        found.setdefault(case.op, []).append(case)
    return found


@pytest.fixture(scope="module")
def plain_objects():
    return emulated.build(("-O0",)).parent


@pytest.mark.representatives(1)
@pytest.mark.parametrize("defect", defects(), ids=lambda defect: re.sub(r"[^\w.:]+", "-", defect[0]))
def test_planted_defect_is_found(defect, cases_by_op, plain_objects):
    _, file, text, finder = defect
    library = emulated.build(("-O0",), {file: text}, plain_objects)
    wrong = device_cases.compare(iter(cases_by_op[finder]), emulated.load(library, lambda: 9))
    assert wrong, "the emulator did not find it"

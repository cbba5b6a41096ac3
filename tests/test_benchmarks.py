"""The benchmark suite still runs and its contenders still agree: tiny sizes, one round, a part of it. `make bench` is the
whole of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pydegrade
from benchmarks import floors, inputs, measure, report

ROOT = Path(__file__).resolve().parent.parent

# One of each kind: an op, a codec, a chain against stitched calls, the roofline, a scaling table, the sampler.
PART = "(blur_dense and 13) or jpeg_one or (preset and bicubic) or (roofline and bsrgan) or scaling_side or sampler_kernels"


@pytest.mark.slow
def test_smoke_run_writes_tables(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment.pop("PYTEST_XDIST_WORKER", None)  # under it pytest-benchmark switches itself off
    command = [sys.executable, "-m", "benchmarks", "--smoke", "-k", PART, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = json.loads((tmp_path / "report.json").read_text())
    names = {bench["name"] for bench in results["benchmarks"]}
    assert {"test_blur_dense[13]", "test_jpeg_one_image", "test_preset[bicubic]", "test_sampler_kernels"} <= names
    text = (tmp_path / "tables.md").read_text()
    for title in ("Against the peers", "sum of its floors", "Scaling", "Sampler", "smoke run: times mean nothing"):
        assert title in text
    assert "basicsr" in text  # present or listed as absent


def limits(**changes: float) -> measure.Ceilings:
    """Ceilings so high that a step takes no time, except for what is given."""
    fast = {"fma_gflops": 1e12, "integer_gops": 1e12, "copy_image_gb_per_s": 1e12, "copy_batch_gb_per_s": 1e12}
    return measure.Ceilings(threads=1, how="made up", **{**fast, **changes})


def test_roofline_is_the_sum_of_known_floors():
    """One 3x64x64 image: a 7x7 dense blur, then torch's bicubic to a quarter, by hand."""
    tasks = pydegrade.sample("realesrgan-x4", 0, [0])
    off = {"usm.weight": 0.0, "noise1.kind": "off", "noise2.kind": "off", "jpeg1.mode": "off", "jpeg2.mode": "off"}
    tasks = tasks.replace(**off, **{"blur2.shape": "delta", "sinc.shape": "delta"})
    blur = {"blur1.shape": "plateau_aniso", "blur1.size_px": 7, "blur1.beta": 1.0, "blur1.angle_rad": 0.5}
    tasks = tasks.replace(**blur, **{"blur1.sigma_x_px": 3.0, "blur1.sigma_y_px": 2.0})
    tasks = tasks.replace(
        **{"resize1.resize_factor": 1.0, "resize2.resize_factor": 1.0, "resize2.mode": "torch_bicubic"}
    )
    hr = inputs.photographs(1, 64)
    sizes = 64 * 64, 16 * 16
    # 49 multiply-adds per value; then 4 rows and 4 columns, rows first: 16x64 values between the passes.
    flops = 2 * 3 * 49 * sizes[0], 2 * 3 * 4 * (16 * 64 + 16 * 16)
    found = floors.roofline(tasks, hr, limits(fma_gflops=1.0))
    assert found.seconds["blur"] == pytest.approx(flops[0] / 1e9)
    assert found.seconds["resize"] == pytest.approx(flops[1] / 1e9)
    assert found.total_s == pytest.approx(sum(flops) / 1e9, rel=1e-6)
    # Bytes: the blur reads and writes the image, the resize reads it and writes the small one.
    found = floors.roofline(tasks, hr, limits(copy_image_gb_per_s=1.0))
    assert found.seconds["blur"] == pytest.approx(12 * 2 * sizes[0] / 1e9)
    assert found.seconds["resize"] == pytest.approx(12 * (sizes[0] + sizes[1]) / 1e9)
    found = floors.roofline(tasks, hr, limits(copy_batch_gb_per_s=1.0))
    assert found.total_s == pytest.approx(12 * (sizes[0] + sizes[1]) / 1e9, rel=1e-6)


@pytest.mark.slow
def test_ceilings_are_plausible():
    one = measure.ceilings(1)
    # More than any core of 2026 has would mean that the compiler left the work out; how little depends on who else works.
    assert 0 < one.fma_gflops < 2000
    assert 0 < one.integer_gops < 2000
    assert 0 < one.copy_batch_gb_per_s < 2000


@pytest.mark.slow
def test_plot_shows_slower_and_faster_peers(tmp_path):
    def bench(name: str, ours_s: float, **peers: float) -> dict[str, object]:
        described = {peer: {"min_s": seconds, "same_result": True, "note": ""} for peer, seconds in peers.items()}
        return {"name": name, "stats": {"min": ours_s}, "extra_info": {"peers": described}}

    machine = {"cpu": "a CPU", "cores": 2, "threads": 2, "isa": "v4", "commit": "0"}
    results = {
        "pydegrade": {"machine": machine, "batch": 12, "side_px": 400},
        "benchmarks": [bench("test_a[1]", 1e-3, opencv=2e-3, kornia=5e-4), bench("test_b", 1e-3, pillow=1.0)],
    }
    path = report.plot(results, tmp_path / "plot.png")
    assert path is not None
    assert path.stat().st_size > 5000

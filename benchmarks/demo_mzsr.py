"""MZSR against its rivals on unseen kernels: `python -m benchmarks.demo_mzsr`.

Trains a small network on bicubic pairs (stage A); goes on from it by meta-learning (method mzsr) and, with as many
samples, by plain training on the same kernels (joint). Then adapts all three, and ZSSR from scratch, to images whose
kernels none has seen, and prints PSNR after some numbers of steps. The published sizes are in configs/mzsr_x2.toml.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

import pydegrade
from benchmarks.quiet import quiet
from pydegrade import kernels
from pydegrade.files.pixels import to_float
from pytrain import nets
from pytrain.config.config import loads
from pytrain.evaluation.adapt import adapt, zssr
from pytrain.files.checkpoint import load_model
from pytrain.training import loop

CONFIG = """
[run]
device = "cpu"
[net]
type = "mzsr"
num_features = 16
num_layers = 5
[method]
type = "psnr"
[data]
exclude = ["chelsea.png", "rocket.jpg"]
crop_px = 32
batch = 16
[optimizer]
learning_rate = 2e-3
betas = [0.9, 0.999]
[schedule]
type = "cosine"
[train]
ema_decay = 0
precision = "fp32"
threads = 1
[evaluate]
every_steps = 1000000
[checkpoint]
every_steps = 1000000
[log]
every_steps = 50
"""

SIDE_PX = 224
INNER_RATE = 0.05

KERNELS = {
    "round, variance 2.0": kernels.gaussian(15, 2.0**0.5),
    "4 by 1, angle -0.5": kernels.gaussian(15, 2.0, 1.0, -0.5),
    "round, variance 1.0": kernels.gaussian(15, 1.0),
    "round, variance 4.5": kernels.gaussian(15, 4.5**0.5),
}
"""Variances in HR px^2; the kernels of training have 1 to 5."""


def trained(out: Path, *overrides: str) -> Path:
    """The model file of a run."""
    loop.fit(loads(CONFIG, [f"run.out={out}", *overrides]), log=quiet)
    return out / "models" / "last.safetensors"


def photographs() -> list[NDArray[np.uint8]]:
    """Central squares of the photographs that no network was trained on."""
    from skimage import data

    squares = []
    for image in (data.chelsea(), data.rocket()):
        top, left = ((side - SIDE_PX) // 2 for side in image.shape[:2])
        squares.append(np.ascontiguousarray(image[top : top + SIDE_PX, left : left + SIDE_PX]))
    return squares


def score(image: torch.Tensor, hr: NDArray[np.uint8]) -> float:
    """PSNR over RGB in dB, 4 px of border cut."""
    return pydegrade.psnr(image[0], torch.from_numpy(hr.transpose(2, 0, 1).copy()), "rgb-uint8-border4").value


def measure(models: dict[str, Path], steps: tuple[int, ...], zssr_steps: tuple[int, ...], seed: int) -> dict[str, Any]:
    """PSNR by kernel, method and number of steps, the mean of the test images.

    "mzsr, estimated kernel" adapts with what `pydegrade.estimate_kernel` finds instead of the true kernel.
    """
    found: dict[str, Any] = {}
    for kernel_name, kernel in KERNELS.items():
        values: dict[str, dict[int, list[float]]] = {}
        for hr in photographs():
            pixels = pydegrade.blur_down(hr, kernel, 2)
            estimated = pydegrade.estimate_kernel(pixels, 2).kernel
            lr = to_float(pixels)[None]
            enlarged = pydegrade.imresize(lr[0], 2)[None].clamp(0, 1)
            values.setdefault("bicubic", {}).setdefault(0, []).append(score(enlarged, hr))
            for name, path in models.items():
                net = load_model(path).net
                given = {name: kernel, **({f"{name}, estimated kernel": estimated} if name == "mzsr" else {})}
                for label, used in given.items():
                    for result in adapt(net, lr, used, steps, rate=INNER_RATE):
                        values.setdefault(label, {}).setdefault(result.steps, []).append(score(result.image, hr))
            config = nets.MZSRConfig(num_features=16, num_layers=5)
            for result in zssr(config, lr, kernel, zssr_steps, seed=seed):
                values.setdefault("zssr", {}).setdefault(result.steps, []).append(score(result.image, hr))
        found[kernel_name] = {
            name: {count: round(statistics.mean(each), 3) for count, each in by_steps.items()}
            for name, by_steps in values.items()
        }
    return found


def demonstrate(folder: Path, seed: int, pretrain: int, meta: int, zssr_most: int) -> dict[str, Any]:
    """Train, adapt, measure, for one seed."""
    start = f"run.seed={seed}"
    before_s = time.perf_counter()
    stage_a = trained(folder / "a", start, f"run.steps={pretrain}")
    more = (start, f"train.pretrained={stage_a}", f"run.steps={meta}", "optimizer.learning_rate=1e-3")
    method = f"method={{type='mzsr', tasks=2, inner_steps=3, inner_rate={INNER_RATE}}}"
    learned = trained(folder / "mzsr", *more, method)
    joint = trained(folder / "joint", *more, "method={type='psnr', space='mzsr-direct-x2'}")
    trained_s = time.perf_counter() - before_s
    models = {"pretrained": stage_a, "joint": joint, "mzsr": learned}
    steps = (0, 1, 5, 10)
    scores = measure(models, steps, tuple(sorted({*steps, zssr_most})), seed)
    return {"seed": seed, "training_s": round(trained_s, 1), "psnr": scores}


def report(results: list[dict[str, Any]]) -> str:
    """The results as a table in Markdown: mean over seeds, and the range where it is 0.1 dB or more."""
    lines = []
    for kernel_name in results[0]["psnr"]:
        lines += [f"{kernel_name}:", "", "| | PSNR dB after steps |", "|---|---|"]
        for name, by_steps in results[0]["psnr"][kernel_name].items():
            cells = []
            for count in by_steps:
                each = [result["psnr"][kernel_name][name][count] for result in results]
                spread = f" ({min(each):.2f} to {max(each):.2f})" if max(each) - min(each) >= 0.1 else ""
                cells.append(f"{count}: {statistics.mean(each):.2f}{spread}")
            lines.append(f"| {name} | {', '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


@click.command()
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--pretrain", default=250, show_default=True, help="Steps of stage A.")
@click.option("--meta", default=150, show_default=True, help="Steps of meta-learning, and of the joint rival.")
@click.option("--zssr-steps", default=1000, show_default=True, help="Most steps of ZSSR.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Keep the runs and scores.json here.")
def main(seeds: int, pretrain: int, meta: int, zssr_steps: int, out: Path | None) -> None:
    """Compare MZSR, its start, joint training and ZSSR on unseen kernels."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        results = [demonstrate(folder / f"seed{seed}", seed, pretrain, meta, zssr_steps) for seed in range(seeds)]
        if out is not None:
            (out / "scores.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    click.echo(report(results))
    click.echo(f"training: {', '.join(str(result['training_s']) for result in results)} s per seed, one thread")


if __name__ == "__main__":
    main()

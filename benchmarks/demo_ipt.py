"""A small IPT, pretrained on all tasks and fine-tuned on one, against that one alone: `python -m benchmarks.demo_ipt`.

Pretrains with and without the contrastive term; fine-tunes each on one task and on few images; trains the same network
from random weights on the same images and task, for as many steps as the fine-tuning and for as many as both together.
Prints PSNR on photographs that no run has seen. Sizes of the paper are in configs/ipt_pretrain.toml.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.quiet import quiet
from pytrain.config.config import loads
from pytrain.training import loop

TASKS = ("sr-x2", "denoise-50")

CONFIG = """
[run]
device = "cpu"
[net]
type = "ipt"
tasks = ["sr-x2", "sr-x3", "denoise-30", "denoise-50", "derain"]
scales = [2, 3, 1, 1, 1]
num_features = 12
patch_px = 24
num_heads = 4
num_layers = 2
[method]
type = "ipt"
contrastive_tokens = 16
[data]
exclude = ["chelsea.png", "rocket.jpg"]
crop_px = 72
batch = 12
[optimizer]
learning_rate = 1e-3
betas = [0.9, 0.999]
clip_norm = 255.0
[schedule]
type = "cosine"
[train]
ema_decay = 0
precision = "fp32"
threads = 1
[evaluate]
every_steps = 1000000
protocols = ["rgb-uint8-border4"]
[[evaluate.sets]]
name = "sr-x2"
task = "sr-x2"
images = ["chelsea.png", "rocket.jpg"]
crop_px = 96
[[evaluate.sets]]
name = "denoise-50"
task = "denoise-50"
space = "ipt-denoise-50"
images = ["chelsea.png", "rocket.jpg"]
crop_px = 96
[checkpoint]
every_steps = 1000000
[log]
every_steps = 50
"""

FEW = ("data.exclude=[]", "data.images=['coffee.png']")
"""What one task is learned from; the pretraining has all photographs but the two of the test."""


def run(out: Path, *overrides: str) -> tuple[Path, dict[str, float]]:
    """(model file, PSNR by task) of a run."""
    result = loop.fit(loads(CONFIG, [f"run.out={out}", *overrides]), log=quiet)
    scores = {task: round(result.scores[f"{task}/psnr"], 3) for task in TASKS}
    return out / "models" / "last.safetensors", scores


def demonstrate(folder: Path, seed: int, pretrain: int, finetune: int) -> dict[str, Any]:
    """PSNR in dB by task and way of training, for one seed."""
    found: dict[str, dict[str, float]] = {task: {} for task in TASKS}
    start = f"run.seed={seed}"
    models = {}
    for label, contrastive in (("with", "paper"), ("without", "off")):
        change = (start, f"run.steps={pretrain}", f"method.contrastive={contrastive}")
        models[label], scores = run(folder / label, *change)
        for task in TASKS:
            found[task][f"pretrained {label} contrastive term"] = scores[task]
    for task in TASKS:
        side_px = 48 if task == "sr-x2" else 24
        own = (start, *FEW, f"method.finetune={task}", f"data.crop_px={side_px}")
        for label, model in models.items():
            more = (f"run.steps={finetune}", "optimizer.learning_rate=1e-4", f"train.pretrained={model}")
            found[task][f"fine-tuned, {label}"] = run(folder / f"{task}-{label}", *own, *more)[1][task]
        for count in (finetune, finetune + pretrain):
            scores = run(folder / f"{task}-scratch{count}", *own, f"run.steps={count}")[1]
            found[task][f"from scratch, {count} steps"] = scores[task]
    return {"seed": seed, "psnr": found}


def report(results: list[dict[str, Any]]) -> str:
    """The results as a table in Markdown, means over seeds."""
    lines = [f"| PSNR dB | {' | '.join(TASKS)} |", "|---|" + "---|" * len(TASKS)]
    for label in results[0]["psnr"][TASKS[0]]:
        means = [statistics.mean(result["psnr"][task][label] for result in results) for task in TASKS]
        lines.append(f"| {label} | {' | '.join(f'{mean:.2f}' for mean in means)} |")
    return "\n".join(lines)


@click.command()
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--pretrain", default=1200, show_default=True, help="Steps on all tasks.")
@click.option("--finetune", default=100, show_default=True, help="Steps on one task.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Keep the runs and scores.json here.")
def main(seeds: int, pretrain: int, finetune: int, out: Path | None) -> None:
    """Compare pretraining and fine-tuning with training on one task alone."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        results = [demonstrate(folder / f"seed{seed}", seed, pretrain, finetune) for seed in range(seeds)]
        if out is not None:
            (out / "scores.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    click.echo(report(results))


if __name__ == "__main__":
    main()

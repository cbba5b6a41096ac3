"""A small IPT, pretrained on all tasks and fine-tuned on one, against that one alone: `python -m benchmarks.demo_ipt`.

Pretrains with and without the contrastive term; fine-tunes each on one task and on few images; trains the same network
from random weights on that task, for as many steps as the fine-tuning and for as many as both together: on the few images,
and for the longer run on all images of the pretraining as well, which tells the tasks from the images. `--weight` pretrains
also with other weights of the contrastive term, over all tokens; `--unseen` fine-tunes every pretrained network on noise
that no pretraining had, which is what the term is for. Measures PSNR on photographs that no run has seen. Sizes of the
paper are in configs/ipt_pretrain.toml.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.result_files import Difference, Result, spent, trained, write_result
from pytrain.config.config import loads

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

TEST_IMAGES = ["chelsea.png", "rocket.jpg"]
NOISE = """[space]
name = "{name}"
base = "ipt-denoise-30"

[[slot]]
name = "noise1"
sigma_8bit = {sigma_8bit}
"""
"""The space of other noise."""

FEW = ("data.exclude=[]", "data.images=['coffee.png']")
"""What one task is learned from; the pretraining has all photographs but the two of the test."""


PROTOCOL = "psnr-rgb-uint8-border4"
Found = dict[str, tuple[list[str], list[float]]]
"""By task: names of the test images, and PSNR of each."""


def run(out: Path, *overrides: str) -> tuple[Path, Found]:
    """(model file, what its last evaluation found) of a run."""
    model = trained(loads(CONFIG, [f"run.out={out}", *overrides]))
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    (*_, last) = (line for line in lines if line["kind"] == "evaluate")
    return model, {
        one["name"]: (one["images"], [round(value, 4) for value in one["measured"][0]["values"]])
        for one in last["sets"]
    }


def unseen_noise(folder: Path, sigma_8bit: int) -> tuple[str, str, str]:
    """Name of a task of other noise, its space, and its evaluation set as an override; the head is that of "denoise-50"."""
    name = f"denoise-{sigma_8bit}"
    space = folder / f"{name}.toml"
    folder.mkdir(parents=True, exist_ok=True)
    space.write_text(NOISE.format(name=name, sigma_8bit=sigma_8bit))
    chosen = f'name="{name}", task="denoise-50", space="{space}", images={json.dumps(TEST_IMAGES)}, crop_px=96'
    return name, str(space), f"evaluate.sets=[{{{chosen}}}]"


def demonstrate(
    folder: Path, seed: int, pretrain: int, finetune: int, weights: Sequence[float] = (), unseen: Sequence[int] = ()
) -> dict[str, Found]:
    """By way of training, for one seed."""
    found: dict[str, Found] = {}
    start = f"run.seed={seed}"
    models = {}
    kinds = {"with": ("method.contrastive=paper",), "without": ("method.contrastive=off",)}
    kinds |= {
        f"weight {weight:g}": (f"method.contrastive_weight={weight}", "method.contrastive_tokens=0")
        for weight in weights
    }
    for label, contrastive in kinds.items():
        change = (start, f"run.steps={pretrain}", *contrastive)
        models[label], found[f"pretrained {label} contrastive term"] = run(folder / label, *change)
    for task in TASKS:
        side_px = 48 if task == "sr-x2" else 24
        own = (start, f"method.finetune={task}", f"data.crop_px={side_px}")
        ways = {
            f"fine-tuned, {label}": (
                f"{task}-{label}",
                (*FEW, f"run.steps={finetune}", "optimizer.learning_rate=1e-4", f"train.pretrained={model}"),
            )
            for label, model in models.items()
        }
        both = finetune + pretrain
        ways[f"from scratch, {finetune} steps"] = f"{task}-scratch{finetune}", (*FEW, f"run.steps={finetune}")
        ways[f"from scratch, {both} steps"] = f"{task}-scratch{both}", (*FEW, f"run.steps={both}")
        ways[f"from scratch, {both} steps, all images"] = f"{task}-all{both}", (f"run.steps={both}",)
        for way, (name, changes) in ways.items():
            found.setdefault(way, {})[task] = run(folder / name, *own, *changes)[1][task]
    for sigma_8bit in unseen:
        task, space, chosen = unseen_noise(folder, sigma_8bit)
        own = (
            start,
            "method.finetune=denoise-50",
            f"method.spaces={{denoise-50='{space}'}}",
            "data.crop_px=24",
            chosen,
        )
        few = (*own, *FEW, f"run.steps={finetune}")
        for label, model in models.items():
            change = ("optimizer.learning_rate=1e-4", f"train.pretrained={model}")
            found.setdefault(f"fine-tuned, {label}", {})[task] = run(folder / f"{task}-{label}", *few, *change)[1][task]
        found.setdefault(f"from scratch, {finetune} steps", {})[task] = run(folder / f"{task}-scratch", *few)[1][task]
    return found


def demonstration(
    out: Path, seeds: int, pretrain: int, finetune: int, weights: Sequence[float] = (), unseen: Sequence[int] = ()
) -> Result:
    """The whole demonstration."""
    values: dict[str, Any] = {task: {} for task in (*TASKS, *(f"denoise-{sigma_8bit}" for sigma_8bit in unseen))}
    items: dict[str, list[str]] = {}
    for seed in range(seeds):
        for way, by_task in demonstrate(out / f"seed{seed}", seed, pretrain, finetune, weights, unseen).items():
            for task, (images, psnr) in by_task.items():
                items[task] = images
                values[task].setdefault(way, {})[str(seed)] = psnr
    given = "".join([*(f" --weight {weight:g}" for weight in weights), *(f" --unseen {sigma}" for sigma in unseen)])
    return Result(
        study="ipt",
        command=f"python -m benchmarks.demo_ipt --seeds {seeds} --pretrain {pretrain} --finetune {finetune}{given}",
        settings={
            "seeds": seeds,
            "pretrain": pretrain,
            "finetune": finetune,
            "weights": list(weights),
            "unseen": list(unseen),
            "protocol": PROTOCOL,
        },
        unit="dB",
        items=items,
        values=values,
        **spent(out),
    )


def table(result: Result) -> str:
    """PSNR by way of training, and the pretrained network minus each, with intervals over images and ranges over seeds."""
    own = "pretrained with contrastive term"
    return _rows(result, TASKS, "pretrained minus this", own, lambda task, way: result.minus(task, own, way))


def unseen_table(result: Result) -> str:
    """PSNR on noise that no pretraining had, and each way minus fine-tuning without the contrastive term."""
    tasks = [task for task in result.values if task not in TASKS]
    own = "fine-tuned, without"
    return _rows(result, tasks, f"minus {own}", own, lambda task, way: result.minus(task, way, own)) if tasks else ""


def _rows(
    result: Result, tasks: Sequence[str], difference: str, own: str, gain: Callable[[str, str], Difference]
) -> str:
    """A line for each way: PSNR of each task, and a difference, which `own` does not have."""
    lines = [
        "| | " + " | ".join(f"{task}, dB | {difference}" for task in tasks) + " |",
        "|---" * (1 + 2 * len(tasks)) + "|",
    ]
    for way in result.values[tasks[0]]:
        cells = []
        for task in tasks:
            found = gain(task, way)
            cells += [
                f"{result.mean(task, way):.2f}",
                "" if way == own else f"{found.over_items()}; {found.over_seeds()}",
            ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command()
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--pretrain", default=1200, show_default=True, help="Steps on all tasks.")
@click.option("--finetune", default=100, show_default=True, help="Steps on one task.")
@click.option("--weight", "weights", multiple=True, type=click.FloatRange(0), help="Of a contrastive term. Repeatable.")
@click.option(
    "--unseen", multiple=True, type=click.IntRange(1, 99), help="Deviation of noise, 8-bit steps. Repeatable."
)
@click.option("--out", default="out/demo_ipt", show_default=True, type=click.Path(path_type=Path, file_okay=False))
def main(
    seeds: int, pretrain: int, finetune: int, weights: tuple[float, ...], unseen: tuple[int, ...], out: Path
) -> None:
    """Compare pretraining and fine-tuning with training on one task alone."""
    torch.set_num_threads(1)
    out = out.resolve()
    result = demonstration(out, seeds, pretrain, finetune, weights, unseen)
    write_result(result, out / "ipt.json")
    click.echo(table(result))
    click.echo(unseen_table(result))
    click.echo(f"{result.seconds:.0f} s of processor; {out / 'ipt.json'}")


if __name__ == "__main__":
    main()

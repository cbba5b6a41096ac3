"""TGSR against plain fine-tuning at equal iterations: `python -m benchmarks.demo_tgsr`.

Trains a small network on the whole space, finds the tasks that it does not master, groups them (`pytrain group`), and
then fine-tunes it four ways, over several seeds: with the groups as published, with the groups and half of the samples
from the whole space, plainly on the whole space, and with random groups of the same sizes. Every result is measured on
crops that took no part in training or grouping. Unfinished work goes on when the command is given again.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import pydegrade
from benchmarks.quiet import quiet
from pytrain.config.config import Config, load
from pytrain.files.checkpoint import load_model
from pytrain.files.digested_toml import write_record
from pytrain.grouping.inputs import validation_crops
from pytrain.grouping.report import write_report
from pytrain.grouping.run import GroupingRun, open_grouping
from pytrain.grouping.runner import run_stages
from pytrain.grouping.scoring import Scorer
from pytrain.methods.groups import Group, groups_record, read_groups
from pytrain.training import loop
from pytrain.training.precision import PLAIN

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "tgsr_tiny.toml"
ARMS = ("tgsr", "half", "plain", "random")
FRESH_SEED = 10**9
"""Seed of the tasks that stand for the whole space in the final measurement: none of them was trained or scored on."""
SHOWN_FRESH = 40
REST = 40


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/demo_tgsr"), show_default=True)
@click.option("--hr", multiple=True, help="Training images, repeatable.  [default: photographs of scikit-image]")
@click.option("--validation", multiple=True, help="Images to measure on, repeatable.  [default: the same photographs]")
@click.option("--pretrained", type=click.Path(path_type=Path), help="Begin with this network instead of training one.")
@click.option("--pretrain-steps", type=click.IntRange(1), default=3000, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=600, show_default=True, help="Of each fine-tuning.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--set", "overrides", multiple=True, help="Change an option of configs/tgsr_tiny.toml.")
def main(
    out: Path,
    hr: tuple[str, ...],
    validation: tuple[str, ...],
    pretrained: Path | None,
    pretrain_steps: int,
    steps: int,
    seeds: int,
    workers: int,
    overrides: tuple[str, ...],
) -> None:
    """Show what TGSR's groups are worth on this machine, or that they are worth nothing."""
    pydegrade.set_num_threads(1)
    config = base_config(out, hr, validation, overrides)
    model = pretrained or trained_network(config, out, pretrain_steps)
    config = replace(config, train=replace(config.train, pretrained=str(model)))
    grouping = open_grouping(config, workers)
    run_stages(grouping, say=click.echo)
    for path in write_report(grouping)[:1]:
        click.echo(f"report   {path}")

    random_groups(grouping)
    nets = {("start", 0): model, ("joint", 0): grouping.path("joint1.safetensors")}
    for seed in range(seeds):
        for arm in ARMS:
            nets[arm, seed] = fine_tuned(grouping, out, arm, seed, steps)
            click.echo(f"trained  {arm}, seed {seed}")
    scores = measured(grouping, nets)
    (out / "scores.json").write_text(json.dumps(scores, indent=1))
    text = table(scores, seeds)
    (out / "table.md").write_text(text)
    click.echo(text)


def base_config(out: Path, hr: tuple[str, ...], validation: tuple[str, ...], overrides: tuple[str, ...]) -> Config:
    """The tiny configuration with other images and another place."""
    config = load(CONFIG, overrides)
    grouping = replace(config.method.grouping, validation_hr=tuple(validation))
    method = replace(config.method, groups=str(out / "groups" / "groups.toml"), grouping=grouping)
    data = replace(config.data, hr=tuple(hr), exclude=() if hr else config.data.exclude)
    train = replace(config.train, threads=1)
    return replace(config, method=method, data=data, train=train, evaluate=replace(config.evaluate, sets=()))


def trained_network(config: Config, out: Path, steps: int) -> Path:
    """A network trained on the whole space: large rate, cosine."""
    from pytrain.methods.realesrgan import RealesrnetOptions
    from pytrain.settings import ScheduleConfig

    run = replace(
        config,
        run=replace(config.run, name="pretrained", out=str(out / "pretrained"), steps=steps, seed=1),
        method=RealesrnetOptions(),
        data=replace(config.data, crop_px=72, batch=12),
        optimizer=replace(config.optimizer, learning_rate=5e-4),
        schedule=ScheduleConfig("cosine", warmup_steps=100, floor=0.2),
        train=replace(config.train, pretrained="", ema_decay=0.0),
    )
    return fitted(run)


def fine_tuned(grouping: GroupingRun, out: Path, arm: str, seed: int, steps: int) -> Path:
    """The pretrained network after some steps of one arm."""
    from pytrain.methods.realesrgan import RealesrnetOptions

    methods: dict[str, Any] = {
        "tgsr": grouping.method,
        "half": replace(grouping.method, whole_share=0.5),
        "plain": RealesrnetOptions(),
        "random": replace(grouping.method, groups=str(grouping.path("random.toml"))),
    }
    # Seeds away from that of the scores' crops.
    name = f"{arm}_{seed}"
    run = replace(grouping.config.run, name=name, out=str(out / "arms" / name), steps=steps, seed=100 + seed)
    return fitted(replace(grouping.config, run=run, method=methods[arm]))


def fitted(config: Config) -> Path:
    """Train, or go on, or find it done; the model file."""
    folder = Path(config.run.out)
    model = folder / "models" / "last.safetensors"
    if not (folder / "done").exists():
        resume = "auto" if list(folder.glob("states/step_*.safetensors")) else None
        if loop.fit(config, resume=resume, log=quiet).interrupted:
            raise click.Abort
        (folder / "done").touch()
    return model


def random_groups(grouping: GroupingRun) -> None:
    """random.toml: groups of the same sizes, from all scored tasks."""
    found = read_groups(grouping.method.groups, grouping.space, ("groups",))
    tasks = pydegrade.TaskBatch.load(grouping.path("tasks.npz"))
    order = np.argsort(
        pydegrade.native.rng.named_uniform(grouping.options.seed, tasks.indices, "demo.random"), kind="stable"
    )
    groups, begin = [], 0
    for group in found.groups:
        rows = order[begin : begin + len(group.tasks)]
        groups.append(Group(group.name, "drawn at random", tasks.take(rows), {}))
        begin += len(rows)
    record = groups_record("groups", {"network": grouping.network}, grouping.space, grouping.net, groups)
    write_record(grouping.path("random.toml"), record, "Groups of the same sizes, drawn at random, for comparison.")


def measured(grouping: GroupingRun, nets: dict[tuple[str, int], Path]) -> dict[str, dict[str, list[float]]]:
    """PSNR per set of tasks and network: {"G1": {"plain_0": [dB per task], ...}}; crops that grouping did not see."""
    options = grouping.options
    crops = validation_crops(options.validation_hr, options.validation_crops, options.validation_px, options.seed + 1)
    found = read_groups(grouping.method.groups, grouping.space, ("groups",))
    worst = read_groups(grouping.path("unsatisfactory.toml"), grouping.space, ("unsatisfactory",)).groups[0].tasks
    everything = pydegrade.TaskBatch.load(grouping.path("tasks.npz"))
    satisfied = everything.take(~np.isin(everything.indices, worst.indices)).take(slice(0, REST))
    sets = {group.name: group.tasks for group in found.groups}
    sets["all unsatisfactory"] = worst
    sets["satisfactory"] = satisfied
    sets["fresh draws (G0)"] = pydegrade.sample(grouping.space, FRESH_SEED, range(SHOWN_FRESH))
    scores: dict[str, dict[str, list[float]]] = {}
    for name, tasks in sets.items():
        scorers = {
            f"{arm}_{seed}": Scorer(load_model(path).net, tasks, crops, crops, grouping.tune, PLAIN)
            for (arm, seed), path in nets.items()
        }
        scores[name] = {key: [] for key in scorers}
        torch.set_num_threads(1)
        for row in range(len(tasks)):
            lr, wanted = next(iter(scorers.values())).validation_pair(row)
            for key, scorer in scorers.items():
                scores[name][key].append(scorer.psnr(lr, wanted))
    return scores


def table(scores: dict[str, dict[str, list[float]]], seeds: int) -> str:
    """Markdown: PSNR at the start, the change by the joint fine-tuning, and of each arm: mean over seeds, least and
    largest."""
    heads = [*ARMS, *(f"{one} - {other}" for one in ("tgsr", "half") for other in ("plain", "random"))]
    lines = ["| tasks | number | start, dB | joint | " + " | ".join(heads) + " |"]
    lines.append("| --- " * (4 + len(heads)) + "|")
    for name, found in scores.items():
        start = statistics.fmean(found["start_0"])
        joint = statistics.fmean(found["joint_0"]) - start
        means = {arm: [statistics.fmean(found[f"{arm}_{seed}"]) for seed in range(seeds)] for arm in ARMS}
        cells = [_spread([value - start for value in means[arm]]) for arm in ARMS]
        for one in ("tgsr", "half"):
            for other in ("plain", "random"):
                cells.append(_spread([mine - theirs for mine, theirs in zip(means[one], means[other])]))
        lines.append(f"| {name} | {len(found['start_0'])} | {start:.2f} | {joint:+.3f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{statistics.fmean(values):+.3f} ({min(values):+.3f} to {max(values):+.3f})"


if __name__ == "__main__":
    main()

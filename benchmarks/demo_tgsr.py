"""TGSR against plain fine-tuning at equal iterations: `python -m benchmarks.demo_tgsr`.

Trains a small network on the whole space, measures how far it is from networks of single tasks (the paper's study), finds
the tasks that it does not master, groups them (`pytrain group`), and fine-tunes it in several ways, over several seeds:

- `tgsr`, `half`: with the groups as published, and with half of the samples from the whole space;
- `plain`: on the whole space; `random`: groups of the same sizes from all scored tasks;
- on request, `share X`: with X of the samples from the whole space; `groups N`: the same tasks in N groups of equal sizes;
  `inside`: a network for each group, fine-tuned on its tasks alone, the most that the group could gain;
- `shuffled`, `one`, `unsatisfactory`: the controls that tell grouping from drawing some tasks more often. The tasks of all
  groups in groups of the same sizes but by chance, as one group, and all unsatisfactory tasks as one. Of all three the
  whole space gets the share of the samples that it has with the groups.

Every result is measured on crops that took no part in training or grouping. Unfinished work goes on when the command is
given again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

import pydegrade
from benchmarks.result_files import Result, spending, spent, trained, write_result
from pydegrade.shell import chosen_device
from pytrain.config.config import Config, load
from pytrain.evaluation.intervals import bootstrap
from pytrain.files.checkpoint import load_model
from pytrain.files.digested_toml import write_record
from pytrain.grouping.conflict import THRESHOLDS_DB, Conflict, figure, read_conflict, run_conflict, study_run
from pytrain.grouping.inputs import validation_crops
from pytrain.grouping.report import write_report
from pytrain.grouping.run import GroupingRun, open_grouping
from pytrain.grouping.runner import run_stages
from pytrain.grouping.scoring import Scorer
from pytrain.methods.groups import Group, groups_record, read_groups
from pytrain.training.precision import PLAIN

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "tgsr_tiny.toml"
ARMS = ("tgsr", "half", "plain", "random", "shuffled", "one", "unsatisfactory")
MORE_ARMS = ("share 0.25", "share 0.75", "share 0.9", "groups 2", "groups 4", "groups 8", "inside")
"""On request: other shares of the whole space; the groups' own tasks, by falling improvement, in so many equal groups; one
network for each group, trained on nothing else, which is what a group could reach."""
START = "start"
"""What result files call the network that all arms begin with."""
CONFLICT = "conflict study"
"""What result files call the tasks of the study."""
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
@click.option(
    "--crops", type=click.IntRange(1), default=24, show_default=True, help="Crops that results are measured on."
)
@click.option("--conflict-tasks", type=click.IntRange(1), default=24, show_default=True, help="Of the paper's study.")
@click.option("--conflict-steps", type=click.IntRange(1), default=1000, show_default=True, help="On each of them.")
@click.option(
    "--arm", "arms", multiple=True, type=click.Choice(ARMS + MORE_ARMS), help="Repeatable.  [default: the first seven]"
)
@click.option("--study-only", is_flag=True, help="End after the paper's study.")
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
    crops: int,
    conflict_tasks: int,
    conflict_steps: int,
    arms: tuple[str, ...],
    study_only: bool,
    overrides: tuple[str, ...],
) -> None:
    """Show what TGSR's groups are worth on this machine, or that they are worth nothing."""
    pydegrade.set_num_threads(1)
    config = base_config(out, hr, validation, overrides)
    model = pretrained or trained_network(config, out, pretrain_steps)
    config = replace(config, train=replace(config.train, pretrained=str(model)))
    grouping = open_grouping(config, workers)
    study = study_run(grouping, conflict_tasks, conflict_steps)
    if not (study.folder / "done.json").exists():
        with spending(study.folder):
            run_conflict(study, click.echo)
    given = [f"--hr {Path(path).name}" for path in hr] + [f"--validation {Path(path).name}" for path in validation]
    given += [f"--set {override}" for override in overrides]
    common = {
        "seeds": 1, "pretrain_steps": pretrain_steps, "hr": [Path(path).name for path in hr],
        "validation": [Path(path).name for path in validation], "overrides": list(overrides),
    }  # fmt: skip
    found = study_result(read_conflict(study.path("conflict.toml")), study, common, given, out)
    write_result(found, out / "conflict.json")
    click.echo(conflict_table(found))
    if study_only:
        return
    if not (out / "grouping" / "done.json").exists():
        with spending(out / "grouping"):
            run_stages(grouping, say=click.echo)
    for path in write_report(grouping)[:1]:
        click.echo(f"report   {path}")

    control_groups(grouping)
    given += [f"--arm '{arm}'" for arm in arms]
    if arms and "tgsr" not in arms:
        raise click.UsageError(f"--arm must name tgsr, which the others are compared with, got {', '.join(arms)}")
    nets = {(START, "-"): model, ("joint", "-"): grouping.path("joint1.safetensors")}
    for seed in range(seeds):
        for arm in named_arms(grouping, arms or ARMS):
            nets[arm, str(seed)] = fine_tuned(grouping, out, arm, seed, steps)
            click.echo(f"trained  {arm}, seed {seed}")
    result = measured(grouping, nets, out, crops)
    result = replace(
        result,
        command=f"python -m benchmarks.demo_tgsr {' '.join([*given, f'--steps {steps}', f'--seeds {seeds}'])}",
        settings={**common, "seeds": seeds, "steps": steps, "crops": crops},
        **spent(out),
    )
    write_result(result, out / "tgsr.json")
    click.echo("\n\n".join(write(result) for write in (table, controls)))
    click.echo(f"{result.seconds:.0f} s of processor; {out / 'tgsr.json'}")


def study_result(found: Conflict, study: GroupingRun, common: dict[str, Any], given: list[str], out: Path) -> Result:
    """The paper's study as a result, with its figure drawn."""
    figure(found, study.path("conflict.png"))
    values = {
        name: {"-": [round(value, 4) for value in psnr.tolist()]}
        for name, psnr in ((START, found.before_db), ("alone", found.after_db))
    }
    tasks, steps = len(found.addresses), found.iterations
    return Result(
        study="conflict",
        command=f"python -m benchmarks.demo_tgsr {' '.join(given)} --study-only --conflict-tasks {tasks} "
        f"--conflict-steps {steps}",
        settings={**common, "steps": steps, "validation_crops": study.options.validation_crops},
        unit="dB",
        items={CONFLICT: list(found.addresses)},
        values={CONFLICT: values},
        **spent(out),
    )


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
    return trained(run)


def named_arms(grouping: GroupingRun, arms: Sequence[str]) -> list[str]:
    """With "inside" as one arm for each group: "inside G1"."""
    groups = read_groups(grouping.method.groups, grouping.space, ("groups",)).groups
    each = [f"inside {group.name}" for group in groups]
    return [one for arm in arms for one in (each if arm == "inside" else [arm])]


def fine_tuned(grouping: GroupingRun, out: Path, arm: str, seed: int, steps: int) -> Path:
    """The pretrained network after some steps of one arm."""
    from pytrain.methods.realesrgan import RealesrnetOptions

    groups = read_groups(grouping.method.groups, grouping.space, ("groups",)).groups
    whole = 1 / (1 + len(groups))  # what the whole space gets beside the groups

    def of(name: str, **changes: Any) -> Any:
        return replace(grouping.method, groups=str(grouping.path(name)), **changes)

    methods: dict[str, Any] = {
        "tgsr": grouping.method,
        "half": replace(grouping.method, whole_share=0.5),
        "plain": RealesrnetOptions(),
        "random": of("random.toml"),
        "shuffled": of("shuffled.toml"),
        "one": of("one.toml", whole_share=whole),
        "unsatisfactory": of("unsatisfactory.toml", whole_share=whole),
    }
    kind, _, number = arm.partition(" ")
    if kind == "share":
        methods[arm] = replace(grouping.method, whole_share=float(number))
    elif kind == "groups":
        methods[arm] = of(f"groups{number}.toml")
    elif kind == "inside":
        methods[arm] = of(f"inside_{number}.toml", whole_space=False, whole_share=0.0)
    # Seeds away from that of the scores' crops.
    name = f"{arm.replace(' ', '_')}_{seed}"
    run = replace(grouping.config.run, name=name, out=str(out / "arms" / name), steps=steps, seed=100 + seed)
    return trained(replace(grouping.config, run=run, method=methods[arm]))


def control_groups(grouping: GroupingRun) -> None:
    """random.toml: groups of the same sizes from all scored tasks. shuffled.toml: the groups' own tasks, dealt out by
    chance to groups of the same sizes. one.toml: all of them as one group. groups2.toml and so on: in their order, in
    groups of equal sizes. inside_G1.toml and so on: one group alone."""
    groups = read_groups(grouping.method.groups, grouping.space, ("groups",)).groups
    sizes = [len(group.tasks) for group in groups]
    own = pydegrade.TaskBatch.concat([group.tasks for group in groups])
    everything = pydegrade.TaskBatch.load(grouping.path("tasks.npz"))
    dealt = [("random", everything, sizes), ("shuffled", own, sizes), ("one", own, [sum(sizes)])]
    for count in (2, 4, 8):
        ends = np.arange(count + 1) * len(own) // count
        if len(own) >= count:
            dealt.append((f"groups{count}", own, np.diff(ends).tolist()))
    dealt += [(f"inside_{group.name}", group.tasks, [len(group.tasks)]) for group in groups]
    for name, tasks, parts in dealt:
        drawn = pydegrade.native.rng.named_uniform(grouping.options.seed, tasks.indices, f"demo.{name}")
        order = np.argsort(drawn, kind="stable") if name in ("random", "shuffled", "one") else np.arange(len(tasks))
        begin, made = 0, []
        for number, size in enumerate(parts, 1):
            made.append(Group(f"G{number}", "for comparison", tasks.take(order[begin : begin + size]), {}))
            begin += size
        record = groups_record("groups", {"network": grouping.network}, grouping.space, grouping.net, made)
        write_record(grouping.path(f"{name}.toml"), record, "Groups for comparison, see benchmarks/demo_tgsr.py.")


def measured(grouping: GroupingRun, nets: dict[tuple[str, str], Path], out: Path, crops_count: int) -> Result:
    """PSNR of every network on every task, mean over crops that grouping did not see."""
    options = grouping.options
    crops = validation_crops(options.validation_hr, crops_count, options.validation_px, options.seed + 1)
    found = read_groups(grouping.method.groups, grouping.space, ("groups",))
    worst = read_groups(grouping.path("unsatisfactory.toml"), grouping.space, ("unsatisfactory",)).groups[0].tasks
    everything = pydegrade.TaskBatch.load(grouping.path("tasks.npz"))
    satisfied = everything.take(~np.isin(everything.indices, worst.indices)).take(slice(0, REST))
    sets = {group.name: group.tasks for group in found.groups}
    sets["all unsatisfactory"] = worst
    sets["satisfactory"] = satisfied
    sets["fresh draws (G0)"] = pydegrade.sample(grouping.space, FRESH_SEED, range(SHOWN_FRESH))
    torch.set_num_threads(1)
    values: dict[str, Any] = {}
    for name, tasks in sets.items():
        path = out / "measured" / name / "values.json"
        if not path.with_name("done.json").exists():
            with spending(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(_psnr(grouping, nets, tasks, crops)))
        values[name] = json.loads(path.read_text())
    items = {name: list(tasks.addresses) for name, tasks in sets.items()}
    return Result("tgsr", "", "", {}, "dB", items, values)


def _psnr(grouping: GroupingRun, nets: dict[tuple[str, str], Path], tasks: Any, crops: Any) -> Any:
    """{arm: {seed: [dB per task]}}"""
    device = chosen_device(grouping.config.run.device)
    scorers = {
        key: Scorer(load_model(path).net.to(device), tasks, crops, crops, grouping.tune, PLAIN)
        for key, path in nets.items()
    }
    values: dict[str, dict[str, list[float]]] = {}
    for row in range(len(tasks)):
        lr, wanted = next(iter(scorers.values())).validation_pair(row)
        for (arm, seed), scorer in scorers.items():
            psnr = round(scorer.psnr(lr, wanted), 4)
            values.setdefault(arm, {}).setdefault(seed, []).append(psnr)
    return values


def conflict_table(result: Result) -> str:
    """Shares of the tasks that gain more than the thresholds by a network of their own."""
    distance = _distances(result)
    low, middle, high = np.quantile(distance, (0, 0.5, 1))
    lines = ["| PSNR distance | share of the tasks [95 % over tasks] |", "|---|---|"]
    for threshold in THRESHOLDS_DB:
        share = bootstrap(distance > threshold)
        lines.append(f"| above {threshold:g} dB | {share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] |")
    lines.append(f"| least, median, largest | {low:+.2f}, {middle:+.2f}, {high:+.2f} dB, {len(distance)} tasks |")
    return "\n".join(lines)


def _distances(result: Result) -> NDArray[np.float64]:
    arms = result.values[CONFLICT]
    return np.array(arms["alone"]["-"]) - np.array(arms[START]["-"])


def arms_of(result: Result) -> list[str]:
    """The arms that ran."""
    return [arm for arm in next(iter(result.values.values())) if arm not in (START, "joint")]


def table(result: Result) -> str:
    """Change from the start by arm, with intervals over tasks."""
    lines = [_head(result, ""), f"| start, dB | {_cells(f'{result.mean(name, START):.2f}' for name in result.items)} |"]
    for arm in ("joint", *arms_of(result)):
        lines.append(f"| {arm} | {_cells(result.minus(name, arm, START).over_items() for name in result.items)} |")
    return "\n".join(lines)


def controls(result: Result) -> str:
    """The published arm minus every other, with intervals over tasks and ranges over seeds."""
    lines = [_head(result, "tgsr minus")]
    for arm in arms_of(result):
        if arm != "tgsr":
            found = [result.minus(name, "tgsr", arm) for name in result.items]
            lines.append(f"| {arm} | {_cells(f'{one.over_items()}; {one.over_seeds()}' for one in found)} |")
    return "\n".join(lines)


def _head(result: Result, first: str) -> str:
    """With the number of tasks of each set in brackets."""
    titles = _cells(f"{name} ({len(tasks)})" for name, tasks in result.items.items())
    return f"| {first} | {titles} |\n" + "|---" * (1 + len(result.items)) + "|"


def _cells(texts: Iterable[str]) -> str:
    return " | ".join(texts)


if __name__ == "__main__":
    main()

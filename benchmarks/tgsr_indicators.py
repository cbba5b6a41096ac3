"""How faithful TGSR's cheaper scores are, and what they cost: `python -m benchmarks.tgsr_indicators CONFIG`.

Measures the full score and every cheaper one on the same tasks, the full one also with other crops and noise (its own
repeatability, which bounds what any estimate can reach), and prints rank correlation, recall of the unsatisfactory tasks
and processor seconds. Unfinished work goes on when the command is given again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

import pydegrade
from pytrain.config.config import load
from pytrain.grouping import scores, stages
from pytrain.grouping.indicators import gradient_gain, last_layer_gain, recall_of_top, spearman
from pytrain.grouping.measurements import Measurement, measure_rows
from pytrain.grouping.run import open_grouping
from pytrain.grouping.scoring import Scorer
from pytrain.training.distributed import World
from pytrain.training.precision import PLAIN, Precision

CUTS = (0.1, 0.2, 0.3, 0.5)
"""Shares of the iterations after which the running fine-tuning is also looked at."""


def observe(scorer: Scorer, row: int, cheap: bool) -> dict[str, Any]:
    """Everything about one task, with processor seconds."""
    found: dict[str, Any] = {}
    settings = scorer.settings
    started_s = time.process_time()
    last = list(range(settings.iterations - settings.average + 1, settings.iterations + 1))
    cuts = sorted({max(1, round(cut * settings.iterations)) for cut in CUTS} - set(last))
    trace = scorer.trace(row, np.array([*cuts, *last]))
    found["full"] = float(trace[len(cuts) :].mean())
    found["full_s"] = time.process_time() - started_s
    found["cuts"] = dict(zip(map(str, cuts), trace.tolist()))
    if cheap:
        short = partial(scores.short_score, effort=scores.Effort())
        for name, function in (("gradient", gradient_gain), ("last_layer", last_layer_gain), ("steps", short)):
            started_s = time.process_time()
            found[name] = function(scorer, row)
            found[f"{name}_s"] = time.process_time() - started_s
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE")
@click.option("--tasks", "count", type=click.IntRange(10), default=200, show_default=True)
@click.option(
    "--repeats", type=click.IntRange(0), default=60, show_default=True, help="Tasks measured with other crops too."
)
@click.option(
    "--plain", type=click.IntRange(0), default=5, show_default=True, help="Tasks timed in the straightforward way."
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/tgsr_indicators"), show_default=True)
def main(
    config: Path, overrides: tuple[str, ...], count: int, repeats: int, plain: int, workers: int, out: Path
) -> None:
    """Compare on the tasks, network and images of CONFIG."""
    run = open_grouping(load(config, overrides), workers)
    other = replace(run, options=replace(run.options, seed=run.options.seed + 1))
    tasks = stages.drawn_tasks(replace(run, options=replace(run.options, tasks=count)))
    alone = World(0, 1, 1, torch.device("cpu"))

    def measured(
        name: str, crops: Any, rows: range, precision: Precision, cheap: bool, workers: int, steps_at_once: int = 10
    ) -> dict[int, Any]:
        opened = partial(
            stages.make_scorer, run.model, run.config.net, tasks, crops, run.validation, run.tune, precision,
            steps_at_once,
        )  # fmt: skip
        measurement = Measurement(opened, partial(observe, cheap=cheap), name)
        return measure_rows(measurement, list(rows), out / name, workers, alone, lambda done: None)

    fast = Precision("bf16", True, "")
    found = measured("same", run.crops, range(count), fast, True, workers)
    again = measured("other", other.crops, range(min(repeats, count)), fast, False, workers)
    slow = measured("plain", run.crops, range(min(plain, count)), PLAIN, False, 1, steps_at_once=1)
    click.echo(table(tasks, found, again, slow, run.options.share, run.options.seed, run.tune.iterations))


def table(
    tasks: pydegrade.TaskBatch,
    found: dict[int, Any],
    again: dict[int, Any],
    slow: dict[int, Any],
    share: float,
    seed: int,
    iterations: int,
) -> str:
    """Markdown: one row per estimate."""
    full = _values(found, "full")
    full_s = float(_values(found, "full_s").mean())
    lines = ["| estimate | tasks | Spearman | recall | CPU s per task |", "| --- | --- | --- | --- | --- |"]

    def row(name: str, values: NDArray[np.float64], rows: NDArray[np.int64] | slice, seconds: float) -> None:
        truth, guess = full[rows], values[rows]
        fidelity = f"{spearman(guess, truth):.3f} | {recall_of_top(guess, truth, share):.3f}"
        lines.append(f"| {name} | {len(truth)} | {fidelity} | {seconds:.3f} |")

    if slow:
        row(
            "full, fp32, channels first",
            _padded(slow, len(full)),
            slice(0, len(slow)),
            float(_values(slow, "full_s").mean()),
        )
    row("full", full, slice(None), full_s)
    if again:
        row("full, other crops and noise", _padded(again, len(full)), slice(0, len(again)), full_s)
    for cut in next(iter(found.values()))["cuts"]:
        values = np.array([found[task]["cuts"][cut] for task in sorted(found)])
        row(f"after {cut} iterations", values, slice(None), full_s * int(cut) / iterations)
    for name in ("gradient", "last_layer"):
        row(name, _values(found, name), slice(None), float(_values(found, f"{name}_s").mean()))

    # Programs over measurements, on what was measured.
    short_s = float(_values(found, "steps_s").mean())
    for name in ("steps", "halving", "surrogate"):

        def measure(kind: str, function: Any, rows: Any) -> dict[int, Any]:
            return {task: {"gain_db": full[task]} if kind == "full" else found[task]["steps"] for task in rows}

        guessed = scores.score_tasks(name, tasks, share, seed, measure)  # type: ignore[arg-type]
        # What `surrogate` measured in full is its training set: fidelity is that of the others.
        rows = np.nonzero(~guessed.measured)[0] if name == "surrogate" else slice(None)
        if not isinstance(rows, slice) and len(rows) < 3:
            continue
        row(name, guessed.values, rows, short_s + guessed.measured.mean() * full_s)
    return "\n".join(lines)


def _values(found: dict[int, Any], name: str) -> NDArray[np.float64]:
    return np.array([found[task][name] for task in sorted(found)], np.float64)


def _padded(found: dict[int, Any], count: int) -> NDArray[np.float64]:
    values = _values(found, "full")
    return np.concatenate([values, np.zeros(count - len(values))])


if __name__ == "__main__":
    main()

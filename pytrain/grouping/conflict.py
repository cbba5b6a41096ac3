"""The study behind TGSR: how far a network is from what it could reach on each task alone.

N tasks are drawn, the network is fine-tuned on each of them by itself, and PSNR is compared with that of the network as
it was, on the same crops: the PSNR distance of the task. Tasks far from zero are badly solved because they compete.

Source: Zhang et al. 2023, "Real-World Image Super-Resolution as Multi-Task Learning", NeurIPS, section 3: of 100 tasks
nearly half are more than 0.4 dB away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..evaluation.intervals import Interval, bootstrap
from ..files.digested_toml import StageRecord, digest_of, numbers, read_record
from ..training.distributed import World
from ..training.memory import size_text
from .measurements import Measurement, Values
from .report import FAINT, HUES, INK, WHOLE, styled_pyplot
from .run import GroupingRun
from .runner import Say, run_stage_table
from .scoring import Scorer
from .stages import (
    Digests,
    Made,
    Stage,
    drawn_tasks,
    made_record,
    measured_rows,
    scorer_of,
    scoring_precision,
    tasks_digest,
    unfinished,
)

THRESHOLDS_DB = (0.4, 0.2, 0.1)
"""The first is the paper's; the others are for networks that are too small to move so far."""

MOST_CROP_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Conflict:
    """What the study found.

    Attributes:
        addresses: of the tasks.
        before_db: PSNR of the network as it was, float64 [N].
        after_db: PSNR of the network that was fine-tuned on the task alone, mean after each of the last steps, [N].
        iterations: steps of each fine-tuning.
    """

    addresses: Sequence[str]
    before_db: NDArray[np.float64]
    after_db: NDArray[np.float64]
    iterations: int

    @property
    def distance_db(self) -> NDArray[np.float64]:
        """What each task would gain by a network of its own, [N]."""
        return np.asarray(self.after_db - self.before_db)

    def share_above(self, threshold_db: float) -> Interval:
        """Share of the tasks that are farther away, with its bootstrap interval over tasks."""
        return bootstrap(self.distance_db > threshold_db)

    def describe(self) -> list[str]:
        """Lines for people."""
        low, middle, high = np.quantile(self.distance_db, (0.0, 0.5, 1.0))
        lines = [f"{len(self.addresses)} tasks, PSNR distance {low:.2f} to {high:.2f} dB, median {middle:.2f} dB"]
        for threshold in THRESHOLDS_DB:
            share = self.share_above(threshold)
            lines.append(f"above {threshold:g} dB: {share.mean:.0%} of the tasks [{share.low:.0%}, {share.high:.0%}]")
        return lines


def study_run(run: GroupingRun, tasks: int, iterations: int) -> GroupingRun:
    """The run of a configuration with the study's own folder, number of tasks and of steps.

    Raises:
        ConfigError: the training crops of so many steps do not fit into memory.
    """
    average = min(run.options.average, iterations)
    options = replace(run.options, tasks=tasks, iterations=iterations, average=average)
    changed = replace(run, options=options, folder=run.folder / "conflict")
    crop_px = options.crop_px or run.config.data.crop_px
    needed = 3 * crop_px**2 * changed.tune.batch * iterations
    if needed > MOST_CROP_BYTES:
        raise ConfigError(
            f"study conflict: training crops of all steps must fit into {size_text(MOST_CROP_BYTES)}, got "
            f"{size_text(needed)}; lower --iterations, method.grouping.batch or method.grouping.crop_px"
        )
    return changed


def run_conflict(run: GroupingRun, say: Say = print) -> Conflict:
    """Make conflict.toml, or go on with it, or find it done.

    Args:
        run: from `study_run`.
        say: takes lines for people.
    Raises:
        PytrainError: one line; finished tasks stay.
        OutputError: another process works in the folder.
    """
    path = run.path("conflict.toml")
    stage = Stage(
        "conflict",
        path,
        (),
        partial(conflict_sources, run),
        partial(read_record, path, "conflict"),
        partial(make_conflict, run),
        unfinished=unfinished(path),
    )
    run_stage_table(run, [stage], say)
    return read_conflict(path)


def read_conflict(path: Path) -> Conflict:
    """What `run_conflict` left."""
    values = read_record(path, "conflict").values
    before, after = (numbers(path, name, values.get(name)) for name in ("before_db", "after_db"))
    return Conflict(list(values["addresses"]), before, after, int(values["iterations"]))


def conflict_sources(run: GroupingRun) -> Digests:
    """What distances depend on."""
    return {
        "tasks": tasks_digest(drawn_tasks(run)),
        "network": run.network,
        "crops": run.crops.digest,
        "validation": run.validation.digest,
        "settings": digest_of([dataclasses.asdict(run.tune)]),
    }


def make_conflict(run: GroupingRun, made_from: Digests, world: World) -> Made:
    """conflict.toml: PSNR before and after, per task."""
    batch = drawn_tasks(run)
    parts = unfinished(run.path("conflict.toml"))
    precision = scoring_precision(run, parts, batch, made_from, world)
    opened = scorer_of(run, batch, precision, world)
    found = measured_rows(run, Measurement(opened, alone, "alone"), list(range(len(batch))), parts / "alone", world)
    values = {
        "iterations": run.tune.iterations,
        "precision": precision.name,
        "addresses": list(batch.addresses),
        "before_db": [found[row]["before_db"] for row in sorted(found)],
        "after_db": [found[row]["after_db"] for row in sorted(found)],
    }
    about = "PSNR on every task before, and after fine-tuning on that task alone."
    return made_record(StageRecord("conflict", made_from, values), about, f"{len(batch)} tasks, one network each")


def alone(scorer: Scorer, row: int) -> Values:
    """PSNR of the network on a task, and after it was fine-tuned on that task alone."""
    lr, wanted = scorer.validation_pair(row)
    scorer.weights.restore()
    before = scorer.psnr(lr, wanted)
    return {"before_db": before, "after_db": before + scorer.gain(row)}


def figure(found: Conflict, path: Path) -> None:
    """Distances from the largest to the smallest, and the thresholds.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    pyplot = styled_pyplot("pytrain study conflict")
    falling = np.sort(found.distance_db)[::-1]
    drawn, axes = pyplot.subplots(figsize=(7.2, 3.2), layout="constrained")
    far = falling > THRESHOLDS_DB[0]
    axes.bar(np.arange(len(falling)), falling, width=0.8, color=np.where(far, HUES[0], WHOLE))
    for threshold in THRESHOLDS_DB:
        axes.axhline(threshold, color=INK if threshold == THRESHOLDS_DB[0] else FAINT, linewidth=0.8, linestyle="--")
        share = found.share_above(threshold).mean
        axes.text(
            len(falling) - 0.4, threshold, f"{share:.0%} above {threshold:g} dB", ha="right", va="bottom", color=INK
        )
    axes.set_title(f"What {len(falling)} tasks gain by a network of their own, {found.iterations} steps each")
    axes.set_xlabel("tasks, by falling distance")
    axes.set_ylabel("PSNR distance, dB")
    axes.set_xticks([])
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=150, facecolor="white")
    pyplot.close(drawn)

"""The stages of TGSR's grouping, as a table. Each is a pure function of its inputs and leaves one file.

    tasks     tasks.npz            N draws from the space
    score     scores.toml          gain of each task when the network is fine-tuned on it alone
    select    unsatisfactory.toml  the tasks with the largest gains
    joint     joint1.safetensors   the network, fine-tuned on all of them
    improve   pis1.toml            what that improved on each of them: performance improvement score (PIS), dB
    group     groups.toml          G1, G2, ... by falling improvement

With `regroup` the published loop runs: after G1 is taken out, the network is fine-tuned again on the rest (rest2.toml ->
joint2 -> pis2), and G2 comes from that. Every file names the digests of what it was made from; one that was made from
something else is refused, never overwritten, unless `redo` says so.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pydegrade import TaskBatch, TaskError, sample, stream_seed
from pydegrade.shell import Progress, say

from ..config.config import Config, digest
from ..data.source import open_source
from ..errors import ConfigError, DataError
from ..evaluation.settings import EvaluateConfig
from ..files.checkpoint import atomic_write, load_model, save_model
from ..files.digested_toml import StageRecord, check_made_from, digest_of, numbers, read_record, write_record
from ..methods.groups import Group, groups_record, network_digest, read_groups
from ..methods.psnr import PsnrOptions
from ..nets.weights import read_weights
from ..settings import ScheduleConfig
from ..training.distributed import World
from ..training.loop import fit
from ..training.precision import PLAIN, Precision, precision_from
from ..training.recording import recorder_for
from . import scores
from .indicators import top_count
from .inputs import CropPixels
from .measurements import Measure, Measurement, Values, measure_rows
from .run import GroupingRun
from .scoring import CPU, Scorer, TuneSettings, chosen_precision

STAGES = ("tasks", "score", "select", "joint", "improve", "group")
Digests = Mapping[str, str]


@dataclass(frozen=True)
class Made:
    """What a stage has made.

    Attributes:
        write: puts it into a file; called by the main process alone.
        summary: for people.
    """

    write: Callable[[Path], None]
    summary: str


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: one of STAGES.
        path: the file it leaves.
        needs: files it is made from.
        sources: () -> digests of all that its file depends on.
        check: (digests) -> nothing; DataError when the file is damaged or was made from others.
        make: (digests, processes) -> what it made; called by all processes.
        waits: where a file it needs is missing, it is passed over; else that is an error.
        unfinished: folder of its unfinished work, which goes once the file is there; None: it has none.
    """

    name: str
    path: Path
    needs: tuple[Path, ...]
    sources: Callable[[], Digests]
    check: Callable[[Digests], object]
    make: Callable[[Digests, World], Made]
    waits: bool = False
    unfinished: Path | None = None


def stage_table(run: GroupingRun) -> list[Stage]:
    """All stages of a run, in order."""
    tasks, scored, chosen = run.path("tasks.npz"), run.path("scores.toml"), run.members_path(1)
    table = [
        Stage("tasks", tasks, (), dict, lambda _: check_tasks(run), lambda _, world: make_tasks(run)),
        _record_stage("score", scored, "scores", (tasks,), run, score_sources, make_scores),
        _record_stage("select", chosen, "unsatisfactory", (scored,), run, select_sources, make_selection),
    ]
    for number in range(1, run.rounds + 1):
        members, joint, improved = run.members_path(number), run.joint_path(number), run.improvements_path(number)
        of_round = {"number": number}
        if number > 1:
            needs = (run.members_path(number - 1), run.improvements_path(number - 1))
            kind = "unsatisfactory"
            table.append(
                _record_stage("joint", members, kind, needs, run, rest_sources, make_rest, waits=True, **of_round)
            )
        table.append(
            Stage(
                "joint",
                joint,
                (members,),
                partial(joint_sources, run, **of_round),
                partial(check_joint, joint),
                partial(make_joint, run, number=number),
                waits=True,
                unfinished=_joint_folder(run, number),
            )
        )
        needs = (members, joint)
        kind = "improvements"
        table.append(
            _record_stage(
                "improve", improved, kind, needs, run, improvement_sources, make_improvements, waits=True, **of_round
            )
        )
    improvements = tuple(run.improvements_path(number) for number in range(1, run.rounds + 1))
    table.append(_record_stage("group", run.groups_path, "groups", improvements, run, group_sources, make_groups))
    return table


def _record_stage(
    name: str,
    path: Path,
    kind: str,
    needs: tuple[Path, ...],
    run: GroupingRun,
    sources: Callable[..., Digests],
    make: Callable[..., Made],
    waits: bool = False,
    **of_round: int,
) -> Stage:
    """A stage whose file is a record."""
    return Stage(
        name,
        path,
        needs,
        partial(sources, run, **of_round),
        partial(read_record, path, kind),
        partial(make, run, **of_round),
        waits,
        unfinished(path),
    )


def made_record(record: StageRecord, about: str, summary: str) -> Made:
    return Made(lambda path: write_record(path, record, about), summary)


# ---- tasks


def drawn_tasks(run: GroupingRun) -> TaskBatch:
    """N tasks of the space, from a stream of their own: training, whatever its seed, never draws one of them."""
    return sample(run.space, stream_seed(run.options.seed, "tgsr.scored"), range(run.options.tasks))


def check_tasks(run: GroupingRun) -> None:
    """DataError unless tasks.npz holds them."""
    path, wanted = run.path("tasks.npz"), drawn_tasks(run)
    try:
        found = TaskBatch.load(path)
    except TaskError as error:
        raise DataError(str(error)) from None
    if tasks_digest(found) != tasks_digest(wanted):
        raise DataError(f"{path}: must hold {_named(wanted)}, got {_named(found)}; use another folder, or --redo")


def make_tasks(run: GroupingRun) -> Made:
    """tasks.npz: with their addresses."""
    batch = drawn_tasks(run)
    return Made(lambda path: atomic_write(path, batch.save), _named(batch))


def tasks_digest(batch: TaskBatch) -> str:
    """16 hex digits over what the tasks are and do."""
    return digest_of([batch.space.digest, batch.addresses, batch.fingerprints().tolist()])


def _named(batch: TaskBatch) -> str:
    first = batch.take([0]).addresses[0] if len(batch) else "none"
    return f"{len(batch)} tasks of {batch.space.name}@{batch.space.digest[:8]} from {first}"


# ---- score


def score_sources(run: GroupingRun) -> Digests:
    """What scores depend on."""
    check_tasks(run)
    effort = scores.Effort()
    settings = [dataclasses.asdict(run.tune), *scores.settings_of(run.options.indicator, run.options.share, effort)]
    return {
        "tasks": tasks_digest(drawn_tasks(run)),
        "network": run.network,
        "crops": run.crops.digest,
        "validation": run.validation.digest,
        "settings": digest_of(settings),
    }


def make_scores(run: GroupingRun, made_from: Digests, world: World) -> Made:
    """scores.toml: one number per task."""
    batch = drawn_tasks(run)
    parts = unfinished(run.path("scores.toml"))
    # The precision is decided once for all processes and restarts: it moves scores by a rounding.
    precision = scoring_precision(run, parts, batch, made_from, world)
    open_scorer = scorer_of(run, batch, precision, world)
    started_s = time.perf_counter()

    def measure(name: str, function: Measure, rows: Any) -> dict[int, Values]:
        return measured_rows(run, Measurement(open_scorer, function, name), list(rows), parts / name, world)

    options = run.options
    found = scores.score_tasks(options.indicator, batch, options.share, options.seed, measure, scores.Effort())
    values = {
        "indicator": scores.resolved(options.indicator),
        "precision": precision.name,
        "unit": found.unit,
        "gain": found.values.tolist(),
        "measured": np.nonzero(found.measured)[0].tolist(),
    }
    about = "Score of every task of tasks.npz, in its order; `measured` are those whose full score was measured."
    spent = f"{len(batch)} tasks in {time.perf_counter() - started_s:.0f} s by {values['indicator']}"
    summary = f"{spent}, gain {_spread(found.values)} {found.unit}"
    return made_record(StageRecord("scores", made_from, values), about, summary)


def scorer_of(run: GroupingRun, batch: TaskBatch, precision: Precision, world: World) -> Callable[[], Scorer]:
    """What opens a scorer of a run's network, in this process or another."""
    given = run.model, run.config.net, batch, run.crops, run.validation, run.tune, precision
    return partial(make_scorer, *given, device=world.device)


def make_scorer(
    model: Path,
    net: Any,
    batch: TaskBatch,
    crops: CropPixels,
    validation: CropPixels,
    tune: TuneSettings,
    precision: Precision,
    steps_at_once: int = 10,
    device: torch.device = CPU,
) -> Scorer:
    """A scorer of the network in a model file; a function of this module, so that other processes find it."""
    scorer = Scorer(
        load_model(model, net).net,
        batch,
        crops,
        validation,
        tune,
        precision,
        steps_at_once=steps_at_once,
        device=device,
        recorder=recorder_for(device),
    )
    if scorer.why_unrecorded:
        say(f"pytrain group: scoring launches every step anew: {scorer.why_unrecorded}", err=True)
    return scorer


def scoring_precision(run: GroupingRun, parts: Path, batch: TaskBatch, made_from: Digests, world: World) -> Precision:
    """What unfinished scores of the same sources were made with, else what a trial decides."""
    path = parts / "run.toml"
    if world.is_main and not _is_of(path, "scoring", made_from, run.redo):
        shutil.rmtree(parts, ignore_errors=True)
        chosen = chosen_precision(
            run.config.train.precision, world.device, lambda precision: scorer_of(run, batch, precision, world)()
        )
        write_scoring(parts, made_from, dataclasses.asdict(chosen))
    world.wait()
    return precision_from(read_record(path, "scoring", made_from).values["precision"])


def write_scoring(parts: Path, made_from: Digests, precision: Mapping[str, Any]) -> None:
    """Note what the unfinished scores in a folder are made from, and the precision of all of them."""
    record = StageRecord("scoring", made_from, {"precision": dict(precision)})
    write_record(parts / "run.toml", record, "What the unfinished scores in this folder are made from.")


def measured_rows(
    run: GroupingRun, measurement: Measurement, rows: list[int], parts: Path, world: World
) -> dict[int, Values]:
    """Rows of a measurement, with progress."""
    progress = Progress(len(rows), unit="tasks")
    try:
        return measure_rows(
            measurement, rows, parts, run.processes(world), world, progress.advance, run.replicas(world)
        )
    finally:
        progress.close()


# ---- select


def select_sources(run: GroupingRun) -> Digests:
    """What the choice depends on."""
    scored = read_record(run.path("scores.toml"), "scores", score_sources(run))
    return {"scores": scored.digest, "network": run.network, "settings": digest_of([run.options.share])}


def make_selection(run: GroupingRun, made_from: Digests, world: World) -> Made:
    """unsatisfactory.toml: the share of tasks with the largest gains, largest first."""
    scored, batch = read_record(run.path("scores.toml"), "scores").values, drawn_tasks(run)
    gain = numbers(run.path("scores.toml"), "gain", scored["gain"], len(batch))
    count = top_count(len(batch), run.options.share)
    rows = np.argsort(-gain, kind="stable")[:count]
    about = f"the {count} of {len(batch)} tasks on which fine-tuning gains most, {scored['unit']}"
    found = Group("U", about, batch.take(rows), {"gain": gain[rows]})
    record = groups_record("unsatisfactory", made_from, run.space, run.net, [found])
    summary = f"{count} of {len(batch)} tasks, gain {_spread(gain[rows])} {scored['unit']}"
    return made_record(record, "Tasks that the network does not master.", summary)


# ---- rounds of joint fine-tuning


def rest_sources(run: GroupingRun, number: int) -> Digests:
    """What the tasks of a later round depend on."""
    return {
        "improvements": read_improvements(run, number - 1).digest,
        "network": run.network,
        "settings": digest_of([list(run.bounds[: number - 1]), bool(run.options.shares)]),
    }


def make_rest(run: GroupingRun, made_from: Digests, world: World, number: int) -> Made:
    """rest2.toml, ...: the tasks of a round that the one before left over."""
    members = read_groups(run.members_path(number - 1), run.space, ("unsatisfactory",)).groups[0]
    left = ~tasks_taken(run, number - 1, improvements_db(run, number - 1))
    if not left.any():
        raise ConfigError(
            f"method.grouping: no task is left for group {number}: all {len(left)} belong to earlier ones "
            f"({_bound_text(run, number - 1)}); raise the thresholds, or name fewer"
        )
    found = Group(
        "U",
        f"unsatisfactory tasks in none of G1 to G{number - 1}",
        members.tasks.take(left),
        {name: values[left] for name, values in members.values.items()},
    )
    record = groups_record("unsatisfactory", made_from, run.space, run.net, [found])
    about = "Tasks that the network does not master and that no group has taken."
    return made_record(record, about, f"round {number}: {int(left.sum())} tasks are left")


def joint_sources(run: GroupingRun, number: int) -> Digests:
    """What a round's network depends on."""
    members = read_record(run.members_path(number), "unsatisfactory")
    config = joint_config(run, number)
    source = open_source(config.data, ("hr",), run.space.scale, config.run.seed)
    # Of the method only the pixel loss acts; tasks, network and images have digests, and their files any name.
    settings = replace(
        config,
        method=PsnrOptions(loss=run.method.loss),
        train=replace(config.train, pretrained=""),
        data=replace(config.data, hr=()),
    )
    return {
        "tasks": members.digest,
        "network": run.network,
        "settings": digest_of([digest(settings), source.digest]),
    }


def check_joint(path: Path, made_from: Digests) -> None:
    """DataError unless the network was made from these sources."""
    check_made_from(path, read_weights(path).metadata.get("made_from", {}), made_from)


def make_joint(run: GroupingRun, made_from: Digests, world: World, number: int) -> Made:
    """joint1.safetensors: the network, fine-tuned on a round's tasks. An unfinished run of these settings goes on."""
    config = joint_config(run, number)
    folder = Path(config.run.out)
    identity = folder / "made_from.toml"
    if world.is_main and not _is_of(identity, "joint", made_from, run.redo):
        shutil.rmtree(folder, ignore_errors=True)
        write_record(identity, StageRecord("joint", made_from, {}), "What this run of joint fine-tuning is made from.")
    world.wait()
    resume = "auto" if list(folder.glob("states/step_*.safetensors")) else None
    if fit(config, resume=resume, world=world).interrupted:
        raise KeyboardInterrupt

    def write(path: Path) -> None:
        trained = load_model(folder / "models" / "last.safetensors", run.config.net).net
        metadata = {"made_from": dict(made_from), "step": config.run.steps}
        save_model(path, run.config.net, trained, metadata=metadata)

    summary = f"round {number}: {config.run.steps} steps on the tasks of {run.members_path(number).name}"
    return Made(write, summary)


def joint_config(run: GroupingRun, number: int) -> Config:
    """The configuration of a round's fine-tuning: pixel loss, constant rate, only the round's tasks, no averaging."""
    config, options = run.config, run.options
    members = str(run.members_path(number))
    method = replace(run.method, groups=members, stage="realesrnet", whole_space=False, network="same")
    out = _joint_folder(run, number)
    return replace(
        config,
        run=replace(config.run, name=f"joint{number}", out=str(out), steps=options.joint_steps, seed=options.seed),
        method=method,
        optimizer=run.optimizer,
        schedule=ScheduleConfig(),
        train=replace(config.train, ema_decay=0.0),
        evaluate=EvaluateConfig(sets=()),
        checkpoint=replace(config.checkpoint, keep_best=""),
    )


def improvement_sources(run: GroupingRun, number: int) -> Digests:
    """What the improvements of a round depend on."""
    members = read_record(run.members_path(number), "unsatisfactory")
    return {
        "tasks": members.digest,
        "network": run.network,
        "joint": network_digest(run.joint_path(number), run.config.net),
        "validation": run.validation.digest,
    }


def make_improvements(run: GroupingRun, made_from: Digests, world: World, number: int) -> Made:
    """pis1.toml: PSNR of the jointly fine-tuned network minus that of the pretrained one, per task of the round."""
    members = run.members_path(number)
    batch = read_groups(members, run.space, ("unsatisfactory",)).groups[0].tasks
    opened = partial(
        open_improvement,
        run.model,
        run.joint_path(number),
        run.config.net,
        batch,
        run.validation,
        run.tune,
        world.device,
    )
    parts = unfinished(run.improvements_path(number))
    identity = parts / "run.toml"
    # Unfinished results of other networks or tasks would look the same.
    if world.is_main and not _is_of(identity, "improving", made_from, redo=True):
        shutil.rmtree(parts, ignore_errors=True)
        write_record(
            identity, StageRecord("improving", made_from, {}), "What the unfinished improvements are made from."
        )
    world.wait()
    found = measured_rows(run, Measurement(opened, improvement, "improve"), list(range(len(batch))), parts, world)
    before = np.array([found[row]["before_db"] for row in sorted(found)])
    after = np.array([found[row]["after_db"] for row in sorted(found)])
    values = {"before_db": before.tolist(), "after_db": after.tolist(), "improvement_db": (after - before).tolist()}
    about = f"PSNR of every task of {members.name}, in its order, before and after joint fine-tuning."
    summary = f"round {number}: improvement {_spread(after - before)} dB"
    return made_record(StageRecord("improvements", made_from, values), about, summary)


def open_improvement(
    model: Path,
    tuned: Path,
    net: Any,
    batch: TaskBatch,
    validation: CropPixels,
    tune: TuneSettings,
    device: torch.device = CPU,
) -> tuple[Scorer, Scorer]:
    """Scorers of the networks before and after, float32; they only measure."""
    nets = (load_model(path, net).net for path in (model, tuned))
    return tuple(  # type: ignore[return-value]
        Scorer(loaded, batch, validation, validation, tune, PLAIN, device=device) for loaded in nets
    )


def improvement(scorers: tuple[Scorer, Scorer], row: int) -> Values:
    """PSNR before and after on the same images."""
    lr, wanted = scorers[0].validation_pair(row)
    return {"before_db": scorers[0].psnr(lr, wanted), "after_db": scorers[1].psnr(lr, wanted)}


def read_improvements(run: GroupingRun, number: int) -> StageRecord:
    """The improvements of a round, of its tasks and the run's network."""
    members = read_record(run.members_path(number), "unsatisfactory")
    path = run.improvements_path(number)
    record = read_record(path, "improvements")
    check_made_from(path, record.made_from, {**record.made_from, "tasks": members.digest, "network": run.network})
    return record


def improvements_db(run: GroupingRun, number: int) -> NDArray[np.float64]:
    """What the joint fine-tuning of a round improved, one number per task of the round."""
    values = read_improvements(run, number).values["improvement_db"]
    return numbers(run.improvements_path(number), "improvement_db", values)


# ---- group


def group_sources(run: GroupingRun) -> Digests:
    """What the groups depend on."""
    digests = {f"improvements{number}": read_improvements(run, number).digest for number in range(1, run.rounds + 1)}
    settings = digest_of([list(run.bounds), bool(run.options.shares), run.options.regroup])
    return {**digests, "network": run.network, "settings": settings}


def make_groups(run: GroupingRun, made_from: Digests, world: World) -> Made:
    """groups.toml: G1, G2, ... with addresses, fingerprints, gains and improvements."""
    groups = []
    for number in range(1, len(run.bounds) + 1):
        at = number if run.options.regroup else 1
        members = read_groups(run.members_path(at), run.space, ("unsatisfactory",)).groups[0]
        improvements = improvements_db(run, at)
        taken = tasks_taken(run, number, improvements)
        rows = np.nonzero(taken)[0][np.argsort(-improvements[taken], kind="stable")]
        about = _bound_text(run, number) + (f", round {at}" if run.options.regroup else "")
        values = {"gain": members.values["gain"][rows], "improvement_db": improvements[rows]}
        groups.append(Group(f"G{number}", about, members.tasks.take(rows), values))
    record = groups_record("groups", made_from, run.space, run.net, groups)
    sizes = ", ".join(f"{found.name} {len(found.tasks)}" for found in groups)
    return made_record(record, "Groups of tasks for method tgsr; G0, the whole space, needs no list.", f"{sizes} tasks")


def tasks_taken(run: GroupingRun, number: int, improvements: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which tasks of a round (all unsatisfactory ones where there is one round) a group takes; at least one."""
    options = run.options
    taken = np.zeros(len(improvements), bool)
    if options.shares:
        total = len(read_record(run.members_path(1), "unsatisfactory").values["group"][0]["addresses"])
        ends = np.rint(np.cumsum((0.0, *options.shares)) * total).astype(np.int64)
        first = 0 if options.regroup else ends[number - 1]
        taken[np.argsort(-improvements, kind="stable")[first : first + ends[number] - ends[number - 1]]] = True
    else:
        taken = improvements > options.thresholds_db[number - 1]
        if not options.regroup and number > 1:
            taken &= improvements <= options.thresholds_db[number - 2]
    if not taken.any():
        remedy = "score more tasks, or give larger shares" if options.shares else "lower thresholds_db, or give shares"
        raise ConfigError(
            f"method.grouping: group {number} ({_bound_text(run, number)}) is empty, the largest improvement is "
            f"{improvements.max():.3f} dB; {remedy}"
        )
    return taken


def _bound_text(run: GroupingRun, number: int) -> str:
    if run.options.shares:
        return f"the largest improvements, {run.options.shares[number - 1]:g} of the unsatisfactory tasks"
    return f"improvement above {run.options.thresholds_db[number - 1]:g} dB"


# ---- Files


def unfinished(path: Path) -> Path:
    """Where the measurements for a file lie until it is written."""
    return path.with_suffix(".parts")


def _joint_folder(run: GroupingRun, number: int) -> Path:
    """Where a round's fine-tuning runs."""
    return run.path(f"joint{number}.run")


def _is_of(path: Path, kind: str, made_from: Digests, redo: bool) -> bool:
    """Whether unfinished work is there and made from these sources.

    Raises:
        DataError: it was made from others, and nothing is to be made again.
    """
    if not path.exists():
        return False
    try:
        read_record(path, kind, made_from)
    except DataError:
        if not redo:
            raise
        return False
    return True


def _spread(values: NDArray[np.float64]) -> str:
    low, middle, high = np.quantile(values, (0.0, 0.5, 1.0))
    return f"{low:.3g} to {high:.3g}, median {middle:.3g}"

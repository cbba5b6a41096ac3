"""The stages of TGSR's grouping. Each is a pure function of its inputs and leaves one file; where that is, it is skipped.

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
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pydegrade import Space, TaskBatch, TaskError, sample
from pydegrade.commands.shell.progress import Progress

from ..config.config import Config, to_dict
from ..data.source import open_source, stream
from ..errors import ConfigError, DataError
from ..evaluation.evaluate import EvaluateConfig
from ..files.checkpoint import atomic_write, load_model, save_model
from ..files.records import Record, check_made_from, digest_of, read_record, write_record
from ..methods.groups import Group, groups_record, network_digest, read_groups
from ..methods.parts import load_space
from ..methods.tgsr import GroupingConfig, TgsrConfig
from ..nets import config_to_dict
from ..nets.weights import read_weights
from ..settings import OptimizerConfig, ScheduleConfig
from ..training.distributed import World, join
from ..training.loop import fit
from ..training.precision import PLAIN, Precision
from . import scores
from .indicators import top_count
from .inputs import Crops, gathered, validation_crops
from .scoring import Scorer, TuneSettings, chosen_precision
from .shards import Job, Measure, Values, locked, measure_rows

STAGES = ("tasks", "score", "select", "joint", "improve", "group")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a configuration asks `pytrain group` for, checked.

    Attributes:
        config: whole configuration; its method is `tgsr`.
        options: its `[method.grouping]`.
        folder: where all files go: that of `method.groups`.
        space: of the tasks.
        model: file of the pretrained network.
        network: digest of its weights.
        workers: processes for scoring.
        redo: whether files that were made from something else are made again.
    """

    config: Config
    options: GroupingConfig
    folder: Path
    space: Space
    model: Path
    network: str
    workers: int
    redo: bool

    @cached_property
    def net(self) -> dict[str, Any]:
        """The network's configuration as plain values."""
        return config_to_dict(self.config.net)

    @cached_property
    def method(self) -> TgsrConfig:
        """The configuration of the method."""
        method = self.config.method
        assert isinstance(method, TgsrConfig)
        return method

    @cached_property
    def optimizer(self) -> OptimizerConfig:
        """Of scoring and joint fine-tuning."""
        rate = self.options.learning_rate or self.config.optimizer.learning_rate
        return replace(self.config.optimizer, learning_rate=rate, learning_rates={})

    @cached_property
    def tune(self) -> TuneSettings:
        """How tasks are fine-tuned on."""
        options = self.options
        batch = options.batch or self.config.data.batch
        return TuneSettings(options.iterations, options.average, batch, self.method.loss, self.optimizer)

    @cached_property
    def crops(self) -> Crops:
        """Training crops of scoring."""
        options = self.options
        crop_px = options.crop_px or self.config.data.crop_px
        data = replace(self.config.data, crop_px=crop_px, batch=self.tune.batch)
        source = open_source(data, ("hr",), self.space.scale, options.seed)
        with stream(source, range(options.iterations)) as batches:
            return gathered(((raw.indices, raw.images) for raw in batches), source.describe())

    @cached_property
    def validation(self) -> Crops:
        """Crops that gains and improvements are measured on."""
        options = self.options
        return validation_crops(options.validation_hr, options.validation_crops, options.validation_px, options.seed)

    @property
    def rounds(self) -> int:
        """How often the network is fine-tuned on all unsatisfactory tasks that are left."""
        return len(self.bounds) if self.options.regroup else 1

    @property
    def bounds(self) -> tuple[float, ...]:
        """One threshold in dB, or one share, per group."""
        return self.options.shares or self.options.thresholds_db

    def path(self, name: str) -> Path:
        """A file of the grouping."""
        return self.folder / name


def plan_of(config: Config, workers: int | None = None, redo: bool = False) -> Plan:
    """Check a configuration and open what every stage needs.

    Args:
        config: from `pytrain.config.config.load`.
        workers: processes for scoring; None: as configured.
        redo: make files again that were made from something else.
    Raises:
        ConfigError, CheckpointError, DataError: one line.
    """
    method = config.method
    if not isinstance(method, TgsrConfig):
        raise ConfigError(f"method.type must be tgsr for `pytrain group`, got {type(method).__name__}")
    if not method.groups:
        raise ConfigError("method.groups must name the file that `pytrain group` is to write, got ''")
    if not config.train.pretrained:
        raise ConfigError("train.pretrained must name the network whose tasks are scored, got ''")
    options = method.grouping
    scale = int(config.net.scale)
    for name, side_px in (("crop_px", options.crop_px), ("validation_px", options.validation_px)):
        if side_px % scale:
            raise ConfigError(f"method.grouping.{name} must be a multiple of the scale {scale}, got {side_px}")
    if options.validation_px <= 2 * scale:
        least = f"more than twice the border of {scale} px that PSNR cuts off"
        raise ConfigError(f"method.grouping.validation_px must be {least}, got {options.validation_px}")
    space = load_space(f"realesrgan-x{scale}" if method.space == "auto" else method.space, scale)
    model = Path(config.train.pretrained)
    load_model(model, config.net)
    network = network_digest(model, config.net)
    chosen = workers if workers is not None else options.workers
    return Plan(config, options, Path(method.groups).parent, space, model, network, chosen, redo)


def run(plan: Plan, stages: tuple[str, ...] = STAGES, say: Say = print) -> None:
    """Run stages in order, each only if its file is not there. Under torchrun, all processes call this.

    Args:
        plan: from `plan_of`.
        stages: names out of STAGES; "joint" and "improve" do every round that they can.
        say: takes lines for people.
    Raises:
        PytrainError: one line; finished stages and finished tasks stay.
    """
    is_main = os.environ.get("RANK", "0") == "0"
    talk = say if is_main else _silent
    with locked(plan.folder) if is_main else nullcontext(), join(plan.config.run.device) as world:
        for name, stage in (("tasks", tasks), ("score", score), ("select", select)):
            if name in stages:
                stage(plan, world, talk)
        for number in range(1, plan.rounds + 1):
            if not _round_can_begin(plan, number):
                break
            if "joint" in stages:
                config = begin_joint(plan, number, world, talk)
                if config is not None:
                    resume = "auto" if list(Path(config.run.out).glob("states/step_*.safetensors")) else None
                    if fit(config, resume=resume, world=world).interrupted:
                        raise KeyboardInterrupt
                    end_joint(plan, number, config, world, talk)
            if "improve" in stages and joint_path(plan, number).exists():
                improve(plan, number, world, talk)
        if "group" in stages:
            group(plan, world, talk)


def _round_can_begin(plan: Plan, number: int) -> bool:
    """Whether what a round is made from is there."""
    if number == 1:
        return rest_path(plan, 1).exists()
    return pis_path(plan, number - 1).exists()


# ---- tasks


def tasks(plan: Plan, world: World, say: Say) -> TaskBatch:
    """tasks.npz: N tasks of the space, with their addresses."""
    path = plan.path("tasks.npz")
    wanted = sample(plan.space, plan.options.seed, range(plan.options.tasks))

    def check() -> None:
        try:
            found = TaskBatch.load(path)
        except TaskError as error:
            raise DataError(str(error)) from None
        if tasks_digest(found) != tasks_digest(wanted):
            raise DataError(f"{path}: must hold {_named(wanted)}, got {_named(found)}; use another folder, or --redo")

    if _is_done(plan, world, path, check):
        return wanted
    if world.is_main:
        atomic_write(path, wanted.save)
    world.wait()
    say(f"tasks    {_named(wanted)} -> {path}")
    return wanted


def tasks_digest(batch: TaskBatch) -> str:
    """16 hex digits over what the tasks are and do."""
    return digest_of([batch.space.digest, batch.addresses, batch.fingerprints().tolist()])


def _named(batch: TaskBatch) -> str:
    first = batch.addresses[0] if len(batch) else "none"
    return f"{len(batch)} tasks of {batch.space.name}@{batch.space.digest[:8]} from {first}"


# ---- score


def score(plan: Plan, world: World, say: Say) -> Record:
    """scores.toml: one number per task."""
    batch = tasks(plan, world, say)
    path = plan.path("scores.toml")
    effort = scores.Effort()
    made_from = {
        "tasks": tasks_digest(batch),
        "network": plan.network,
        "crops": plan.crops.digest,
        "validation": plan.validation.digest,
        "settings": digest_of(
            [_plain(plan.tune), *scores.settings_of(plan.options.indicator, plan.options.share, effort)]
        ),
    }
    there = _there(plan, world, path, "scores", made_from)
    if there is not None:
        return there

    # The precision is decided once for all processes and restarts: it moves scores by a rounding.
    parts = plan.path("scores.parts")
    precision = _scoring_precision(plan, parts, batch, made_from, world)
    open_scorer = partial(
        make_scorer, plan.model, plan.config.net, batch, plan.crops, plan.validation, plan.tune, precision
    )
    started_s = time.perf_counter()

    def measure(name: str, function: Measure, rows: Any) -> dict[int, Values]:
        progress = Progress(len(rows), unit="tasks")
        try:
            job = Job(open_scorer, function, name)
            return measure_rows(job, list(rows), parts / name, _workers(plan, world), world, progress.advance)
        finally:
            progress.close()

    found = scores.score_tasks(plan.options.indicator, batch, plan.options.share, plan.options.seed, measure, effort)
    values = {
        "indicator": scores.resolved(plan.options.indicator),
        "precision": precision.name,
        "unit": found.unit,
        "gain": found.values.tolist(),
        "measured": np.nonzero(found.measured)[0].tolist(),
    }
    record = Record("scores", made_from, values)
    about = "Score of every task of tasks.npz, in its order; `measured` are those whose full score was measured."
    _write(world, path, record, about)
    if world.is_main:
        shutil.rmtree(parts, ignore_errors=True)
    say(
        f"score    {len(batch)} tasks in {time.perf_counter() - started_s:.0f} s by {values['indicator']}, "
        f"gain {_spread(found.values)} {found.unit} -> {path}"
    )
    return record


def make_scorer(
    model: Path,
    net: Any,
    batch: TaskBatch,
    crops: Crops,
    validation: Crops,
    tune: TuneSettings,
    precision: Precision,
    steps_at_once: int = 10,
) -> Scorer:
    """A scorer of the network in a model file; a function of this module, so that other processes find it."""
    loaded = load_model(model, net).net
    return Scorer(loaded, batch, crops, validation, tune, precision, steps_at_once=steps_at_once)


def _scoring_precision(
    plan: Plan, parts: Path, batch: TaskBatch, made_from: Mapping[str, str], world: World
) -> Precision:
    path = parts / "run.toml"
    begun = _there(plan, world, path, "scoring", made_from)
    if begun is not None:
        return Precision(**begun.values["precision"])
    if world.is_main:
        shutil.rmtree(parts, ignore_errors=True)
    chosen = PLAIN
    if world.is_main:
        open_scorer = partial(make_scorer, plan.model, plan.config.net, batch, plan.crops, plan.validation, plan.tune)
        chosen = chosen_precision(plan.config.train.precision, world.device, open_scorer)
        record = Record("scoring", made_from, {"precision": dataclasses.asdict(chosen)})
        write_record(path, record, "What the unfinished scores in this folder are made from.")
    world.wait()
    return Precision(**read_record(path, "scoring", made_from).values["precision"])


# ---- select


def select(plan: Plan, world: World, say: Say) -> Record:
    """unsatisfactory.toml: the share of tasks with the largest gains, largest first."""
    scored = score(plan, world, say)
    batch = tasks(plan, world, say)
    path = plan.path("unsatisfactory.toml")
    made_from = {"scores": scored.digest, "network": plan.network, "settings": digest_of([plan.options.share])}
    there = _there(plan, world, path, "unsatisfactory", made_from)
    if there is not None:
        return there
    gain = np.array(scored.values["gain"], np.float64)
    count = top_count(len(batch), plan.options.share)
    rows = np.argsort(-gain, kind="stable")[:count]
    unit = scored.values["unit"]
    about = f"the {count} of {len(batch)} tasks on which fine-tuning gains most, {unit}"
    found = Group("U", about, batch.take(rows), {"gain": gain[rows]})
    record = groups_record("unsatisfactory", made_from, plan.space, plan.net, [found])
    _write(world, path, record, "Tasks that the network does not master.")
    say(f"select   {count} of {len(batch)} tasks, gain {_spread(gain[rows])} {unit} -> {path}")
    return record


# ---- rounds of joint fine-tuning


def joint_path(plan: Plan, number: int) -> Path:
    """The network of a round."""
    return plan.path(f"joint{number}.safetensors")


def pis_path(plan: Plan, number: int) -> Path:
    """The improvements of a round."""
    return plan.path(f"pis{number}.toml")


def rest_path(plan: Plan, number: int) -> Path:
    """The file with the tasks of a round: all unsatisfactory ones in round 1, then those in no group yet."""
    return plan.path("unsatisfactory.toml" if number == 1 else f"rest{number}.toml")


def rest(plan: Plan, number: int, world: World, say: Say) -> Record:
    """rest2.toml, ...: the tasks of a round that the one before left over."""
    path = rest_path(plan, number)
    before = _improvements(plan, number - 1)
    made_from = {
        "improvements": before.digest,
        "network": plan.network,
        "settings": digest_of([list(plan.bounds[: number - 1]), bool(plan.options.shares)]),
    }
    there = _there(plan, world, path, "unsatisfactory", made_from)
    if there is not None:
        return there
    members = read_groups(rest_path(plan, number - 1), plan.space, ("unsatisfactory",)).groups[0]
    left = ~_taken(plan, number - 1, _pis(before))
    if not left.any():
        raise ConfigError(
            f"method.grouping: no task is left for group {number}: all {len(left)} belong to earlier ones "
            f"({_bound_text(plan, number - 1)}); raise the thresholds, or name fewer"
        )
    found = Group(
        "U",
        f"unsatisfactory tasks in none of G1 to G{number - 1}",
        members.tasks.take(left),
        {name: values[left] for name, values in members.values.items()},
    )
    record = groups_record("unsatisfactory", made_from, plan.space, plan.net, [found])
    _write(world, path, record, "Tasks that the network does not master and that no group has taken.")
    return record


def begin_joint(plan: Plan, number: int, world: World, say: Say) -> Config | None:
    """What `fit` shall run for joint1.safetensors, the network fine-tuned on a round's tasks; None where that is done."""
    path = joint_path(plan, number)
    made_from = joint_sources(plan, number, world, say)
    if path.exists():
        try:
            check_made_from(path, read_weights(path).metadata.get("made_from", {}), made_from)
            return None
        except DataError:
            if not plan.redo:
                raise

    # An unfinished run of these settings goes on; one of others is begun anew.
    config = joint_config(plan, number)
    folder = Path(config.run.out)
    begun = folder / "made_from.toml"
    if world.is_main:
        if folder.exists():
            try:
                read_record(begun, "joint", made_from)
            except DataError:
                if not plan.redo:
                    raise
                shutil.rmtree(folder)
        write_record(begun, Record("joint", made_from, {}), "What this run of joint fine-tuning is made from.")
    world.wait()
    say(f"joint    round {number}: {config.run.steps} steps on the tasks of {rest_path(plan, number).name}")
    return config


def end_joint(plan: Plan, number: int, config: Config, world: World, say: Say) -> None:
    """Keep the weights of a finished run as joint1.safetensors, and nothing else of it."""
    path = joint_path(plan, number)
    if world.is_main:
        folder = Path(config.run.out)
        made_from = dict(read_record(folder / "made_from.toml", "joint").made_from)
        trained = load_model(folder / "models" / "last.safetensors", plan.config.net).net
        save_model(path, plan.config.net, trained, metadata={"made_from": made_from, "step": config.run.steps})
        shutil.rmtree(folder)
    world.wait()
    say(f"joint    round {number} -> {path}")


def joint_sources(plan: Plan, number: int, world: World, say: Say) -> dict[str, str]:
    """Digests of what a round's network is made from."""
    members = rest(plan, number, world, say) if number > 1 else read_record(rest_path(plan, 1), "unsatisfactory")
    settings = _joint_settings(plan, joint_config(plan, number))
    return {"tasks": members.digest, "network": plan.network, "settings": digest_of(settings)}


def joint_config(plan: Plan, number: int) -> Config:
    """The configuration of a round's fine-tuning: pixel loss, constant rate, only the round's tasks, no averaging."""
    config, options = plan.config, plan.options
    method = replace(
        plan.method, groups=str(rest_path(plan, number)), stage="realesrnet", whole_space=False, network="same"
    )
    out = plan.path(f"joint{number}.run")
    return replace(
        config,
        run=replace(config.run, name=f"joint{number}", out=str(out), steps=options.joint_steps, seed=options.seed),
        method=method,
        optimizer=plan.optimizer,
        schedule=ScheduleConfig(),
        train=replace(config.train, ema_decay=0.0),
        evaluate=EvaluateConfig(sets=()),
        checkpoint=replace(config.checkpoint, keep_best=""),
    )


def _joint_settings(plan: Plan, config: Config) -> list[Any]:
    """What of a joint configuration moves its weights; the images have a digest of their own."""
    told = to_dict(config)
    source = open_source(config.data, ("hr",), plan.space.scale, config.run.seed)
    train = {name: told["train"][name] for name in ("precision", "ema_decay")}
    run = {name: told["run"][name] for name in ("steps", "seed")}
    return [run, told["optimizer"], train, plan.method.loss, config.data.batch, source.digest]


def improve(plan: Plan, number: int, world: World, say: Say) -> Record:
    """pis1.toml: PSNR of the jointly fine-tuned network minus that of the pretrained one, per task of the round."""
    path = pis_path(plan, number)
    members = read_groups(rest_path(plan, number), plan.space, ("unsatisfactory",))
    batch = members.groups[0].tasks
    tuned = joint_path(plan, number)
    made_from = {
        "tasks": members.digest,
        "network": plan.network,
        "joint": network_digest(tuned, plan.config.net),
        "validation": plan.validation.digest,
    }
    there = _there(plan, world, path, "improvements", made_from)
    if there is not None:
        return there
    opened = partial(open_improvement, plan.model, tuned, plan.config.net, batch, plan.validation, plan.tune)
    parts = plan.path(f"pis{number}.parts")
    # Results of other networks or tasks would look the same.
    identity = parts / "run.toml"
    if world.is_main:
        if identity.exists() and read_record(identity, "improving").made_from != made_from:
            shutil.rmtree(parts, ignore_errors=True)
        write_record(identity, Record("improving", made_from, {}), "What the unfinished improvements are made from.")
    world.wait()
    progress = Progress(len(batch), unit="tasks")
    try:
        job = Job(opened, improvement, "improve")
        found = measure_rows(job, range(len(batch)), parts, _workers(plan, world), world, progress.advance)
    finally:
        progress.close()
    before = np.array([found[row]["before_db"] for row in sorted(found)])
    after = np.array([found[row]["after_db"] for row in sorted(found)])
    values = {"before_db": before.tolist(), "after_db": after.tolist(), "improvement_db": (after - before).tolist()}
    record = Record("improvements", made_from, values)
    about = f"PSNR of every task of {rest_path(plan, number).name}, in its order, before and after joint fine-tuning."
    _write(world, path, record, about)
    if world.is_main:
        shutil.rmtree(parts, ignore_errors=True)
    say(f"improve  round {number}: improvement {_spread(after - before)} dB -> {path}")
    return record


def open_improvement(
    model: Path, tuned: Path, net: Any, batch: TaskBatch, validation: Crops, tune: TuneSettings
) -> tuple[Scorer, Scorer]:
    """Scorers of the networks before and after, float32."""
    return tuple(  # type: ignore[return-value]
        make_scorer(path, net, batch, validation, validation, tune, PLAIN) for path in (model, tuned)
    )


def improvement(scorers: tuple[Scorer, Scorer], row: int) -> Values:
    """PSNR before and after on the same images."""
    lr, wanted = scorers[0].validation_pair(row)
    return {"before_db": scorers[0].psnr(lr, wanted), "after_db": scorers[1].psnr(lr, wanted)}


def _improvements(plan: Plan, number: int) -> Record:
    """The improvements of a round, whose tasks are checked."""
    members = read_record(rest_path(plan, number), "unsatisfactory")
    record = read_record(pis_path(plan, number), "improvements")
    if record.made_from.get("tasks") != members.digest or record.made_from.get("network") != plan.network:
        expected = {**record.made_from, "tasks": members.digest, "network": plan.network}
        check_made_from(pis_path(plan, number), record.made_from, expected)
    return record


def _pis(record: Record) -> NDArray[np.float64]:
    return np.array(record.values["improvement_db"], np.float64)


# ---- group


def group(plan: Plan, world: World, say: Say) -> Record:
    """groups.toml: G1, G2, ... with addresses, fingerprints, gains and improvements."""
    path = Path(plan.method.groups)
    records = [_improvements(plan, number) for number in range(1, plan.rounds + 1)]
    made_from = {
        **{f"improvements{number}": record.digest for number, record in enumerate(records, 1)},
        "network": plan.network,
        "settings": digest_of([list(plan.bounds), bool(plan.options.shares), plan.options.regroup]),
    }
    there = _there(plan, world, path, "groups", made_from)
    if there is not None:
        return there
    groups = []
    for number in range(1, len(plan.bounds) + 1):
        at = number if plan.options.regroup else 1
        members = read_groups(rest_path(plan, at), plan.space, ("unsatisfactory",)).groups[0]
        pis = _pis(records[at - 1])
        taken = _taken(plan, number, pis)
        rows = np.nonzero(taken)[0][np.argsort(-pis[taken], kind="stable")]
        about = _bound_text(plan, number) + (f", round {at}" if plan.options.regroup else "")
        values = {"gain": members.values["gain"][rows], "improvement_db": pis[rows]}
        groups.append(Group(f"G{number}", about, members.tasks.take(rows), values))
    record = groups_record("groups", made_from, plan.space, plan.net, groups)
    _write(world, path, record, "Groups of tasks for method tgsr; G0, the whole space, needs no list.")
    sizes = ", ".join(f"{found.name} {len(found.tasks)}" for found in groups)
    say(f"group    {sizes} tasks -> {path}")
    return record


def _taken(plan: Plan, number: int, pis: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which tasks of a round (all unsatisfactory ones where there is one round) a group takes; at least one."""
    taken = np.zeros(len(pis), bool)
    if plan.options.shares:
        total = len(read_record(rest_path(plan, 1), "unsatisfactory").values["group"][0]["addresses"])
        ends = np.rint(np.cumsum((0.0, *plan.options.shares)) * total).astype(np.int64)
        first = 0 if plan.options.regroup else ends[number - 1]
        taken[np.argsort(-pis, kind="stable")[first : first + ends[number] - ends[number - 1]]] = True
    else:
        taken = pis > plan.options.thresholds_db[number - 1]
        if not plan.options.regroup and number > 1:
            taken &= pis <= plan.options.thresholds_db[number - 2]
    if not taken.any():
        raise ConfigError(
            f"method.grouping: group {number} ({_bound_text(plan, number)}) is empty, the largest improvement is "
            f"{pis.max():.3f} dB; lower thresholds_db, or give shares instead"
        )
    return taken


def _bound_text(plan: Plan, number: int) -> str:
    if plan.options.shares:
        return f"the largest improvements, {plan.options.shares[number - 1]:g} of the unsatisfactory tasks"
    return f"improvement above {plan.options.thresholds_db[number - 1]:g} dB"


# ---- Files


def _there(plan: Plan, world: World, path: Path, stage: str, made_from: Mapping[str, str]) -> Record | None:
    """The record of a stage that is done; None where it is to be done."""

    def check() -> None:
        read_record(path, stage, made_from)

    return read_record(path, stage, made_from) if _is_done(plan, world, path, check) else None


def _is_done(plan: Plan, world: World, path: Path, check: Callable[[], object]) -> bool:
    """Whether a file is there and passes a check. The main process looks, the others hear: while they looked, it might
    already write."""
    found = "no"
    if world.is_main and path.exists():
        try:
            check()
            found = "yes"
        except DataError as error:
            found = "no" if plan.redo else str(error)
    found = world.from_main(found)
    if found not in ("yes", "no"):
        raise DataError(found)
    return found == "yes"


def _write(world: World, path: Path, record: Record, about: str) -> None:
    if world.is_main:
        write_record(path, record, about)
    world.wait()


def _workers(plan: Plan, world: World) -> int:
    return 1 if world.device.type == "cuda" else plan.workers or available_cores()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _spread(values: NDArray[np.float64]) -> str:
    low, middle, high = np.quantile(values, (0.0, 0.5, 1.0))
    return f"{low:.3g} to {high:.3g}, median {middle:.3g}"


def _plain(value: Any) -> dict[str, Any]:
    return dataclasses.asdict(value)


def _silent(line: str) -> None:
    pass

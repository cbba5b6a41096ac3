"""`fit`: the training loop. Data, degradation, phases, averages, checkpoints, in this order, every step.

A step is a function of (weights, moments, step number): crops, tasks, noise and dropout follow from the number. So a run
that was killed and resumed gives the bits of one that was not.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor, nn

import pydegrade
from pydegrade.errors import WriteError

from .. import nets as networks
from ..config.config import Config, method_name, to_dict, to_toml
from ..data.batch import Batch
from ..data.source import RawBatch, Source, open_source, stream
from ..errors import CheckpointError, ConfigError, PytrainError, nearest
from ..evaluation.evaluate import EvalResult, EvalSet, evaluate, open_sets, score_names
from ..files.checkpoint import atomic_write_text, load_into, save_model
from ..methods.contract import Method, Nets, Phase, Setup, Terms, group_rows, hr_side_px
from ..methods.registry import METHODS
from . import state as states
from .clock import Clock
from .crew import Computed, Crew, add_gradients, crew_size, gradients_of, is_separable
from .distributed import World, join
from .log import Log
from .precision import PLAIN, Precision, choose_precision
from .schedule import rate_factor
from .state import TrainState

# A part of a step that takes more than this share deserves a hint.
HINT_SHARE = {"read": 0.25, "degrade": 0.35}
HINTS = {
    "read": "reading takes {share:.0%} of a step: raise data.workers or data.cache_mb, or store the images as LMDB",
    "degrade": "degradation takes {share:.0%} of a step: on a CPU it shares the cores with the network",
}


@dataclass(frozen=True)
class FitResult:
    """What a run ended with.

    Attributes:
        step: number of finished steps.
        interrupted: whether a signal ended it early; `--resume` goes on.
        scores: the last evaluation, {"set/metric": value}.
        files: model files and the newest state.
        seconds: of this process, from start to end.
    """

    step: int
    interrupted: bool
    scores: Mapping[str, float] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Descent:
    """What a phase of a step did.

    Attributes:
        values: mean of each loss term and shown value.
        finite: whether loss and gradient were; the weights are unchanged otherwise.
        skipped: whether the loss was too far above the last accepted one; the weights are unchanged then.
        where: what was wrong, for people.
    """

    values: Mapping[str, Tensor]
    finite: bool = True
    skipped: bool = False
    where: str = ""


def fit(
    config: Config,
    *,
    resume: str | Path | None = None,
    log: Callable[[Path, bool], Log] | None = None,
    world: World | None = None,
) -> FitResult:
    """Train as a configuration says.

    Args:
        config: from `pytrain.config.config.load`.
        resume: None begins anew and refuses a folder that holds states; "auto" goes on from the newest readable state of
            the run's folder; a path from that state.
        log: (folder, is_main) -> where values and events go; None: console and log.jsonl as the configuration says.
        world: processes that were joined already; None joins those that torchrun started.
    Raises:
        ConfigError, DataError, CheckpointError: bad input, one line.
        PytrainError: the loss stays non-finite after a rollback.
    """
    started_s = time.perf_counter()
    joined = join(config.run.device) if world is None else contextlib.nullcontext(world)
    with joined as world, torch.random.fork_rng(devices=_fork_devices(world)), _threads(config, world):
        run = _Run.open(config, world, resume, log)
        try:
            with _stop_signals() as stop:
                result = run.train(stop)
        finally:
            run.log.close()
            if run.crew is not None:
                run.crew.close()
    return FitResult(result.step, result.interrupted, result.scores, result.files, time.perf_counter() - started_s)


def assemble(method: Method, raw: RawBatch, step: int, device: torch.device) -> Batch:
    """A batch from what was read: floats on the device, degraded by the method's tasks where it draws any.

    Args:
        method: draws the tasks.
        raw: uint8 images by name; "hr" always, "lr" where the method draws no tasks.
        step: number of the step.
        device: of the run.
    """
    images = {name: to_float(image.to(device, non_blocking=True)) for name, image in raw.images.items()}
    hr = images.pop("hr")
    side_px = hr_side_px(method, step)
    if side_px is not None:
        hr = hr[..., :side_px, :side_px].contiguous()
    tasks = method.select(step, raw.indices)
    if tasks is None:
        lr = images.pop("lr")
        return Batch(raw.indices, lr, hr, hr, None, images)
    pair = pydegrade.degrade_batch(hr, tasks)
    return Batch(raw.indices, pair.lr, pair.target, hr, tasks, images)


def to_float(image: Tensor) -> Tensor:
    """uint8 -> float32 k / 255, the float32 nearest to the quotient, as everywhere in pydegrade."""
    return image.to(torch.float32).div_(255.0)


def descend(
    phase: Phase,
    state: TrainState,
    nets: Nets,
    batch: Batch,
    precision: Precision,
    world: World,
    clock: Clock,
    *,
    rate: float,
    accumulate: int = 1,
    clip_norm: float = 0.0,
    clip_value: float = 0.0,
    skip_above: float = 0.0,
    crew: Crew | None = None,
) -> tuple[Batch, Descent]:
    """One phase of one step: loss, gradient, update.

    Args:
        phase: what is minimised and which nets move.
        state: its weights and moments change, unless the gradient is not finite.
        nets: what the loss calls: the nets of `state`, compiled where that was asked for.
        batch: this process' share of the step's batch.
        precision, world, clock: of the run.
        rate: learning rate of this step.
        accumulate: slices into which the batch is cut.
        clip_norm: largest gradient norm; 0: no limit.
        clip_value: largest magnitude of a gradient's entry; 0: no limit.
        skip_above: no update when the loss is more than this many times the last accepted one; 0: always update.
        crew: computes the images of a slice in several threads.
    Returns:
        (the batch with what the phase kept for later ones, what happened).
    """
    trained = list(state.trained[phase.name].values())
    optimizer = state.optimizers[phase.name]
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, Tensor] = {}
    kept: dict[str, list[Tensor]] = {}
    minimised: tuple[str, ...] = ()

    def note(values: Mapping[str, Tensor], share: float, terms: Terms) -> None:
        for name, value in values.items():
            sums[name] = sums.get(name, torch.zeros((), device=value.device)) + share * value.detach().float()
        for name, value in terms.kept.items():
            kept.setdefault(name, []).append(value)

    def compute(part: Batch) -> Computed:
        with precision.autocast(world.device):
            return gradients_of(lambda: phase.loss(nets, part, state.step), len(part) / len(batch), trained)

    for rows in _slices(len(batch), accumulate):
        part = batch.take(rows) if accumulate > 1 else batch
        if crew is not None:
            with clock.split() as seconds:
                pieces = [part.take(piece) for piece in _slices(len(part), crew.size)]
                computed = crew.map(compute, pieces)
                add_gradients(trained, [one.gradients for one in computed])
                for one, piece in zip(computed, pieces):
                    note({**one.terms.losses, **one.terms.shown}, len(piece) / len(batch), one.terms)
                    minimised = tuple(one.terms.losses)
                seconds.update(
                    forward=sum(one.forward_s for one in computed), backward=sum(one.backward_s for one in computed)
                )
            continue
        share = len(part) / len(batch)
        with clock.part("forward"), precision.autocast(world.device):
            terms = phase.loss(nets, part, state.step)
        note({**terms.losses, **terms.shown}, share, terms)
        minimised = tuple(terms.losses)
        if terms.losses:
            with clock.part("backward"):
                loss = torch.stack([value.float() for value in terms.losses.values()]).sum() * share
                (state.scaler.scale(loss) if state.scaler else loss).backward()

    batch = batch.with_extra({name: torch.cat(parts) if len(parts) > 1 else parts[0] for name, parts in kept.items()})
    moved = [parameter for parameter in trained if parameter.grad is not None]
    if not moved:
        return batch, Descent(sums)
    if skip_above:
        loss_now = float(world.mean(torch.stack([sums[name] for name in minimised]).sum()))
        limit = skip_above * state.accepted.get(phase.name, math.inf)
        if loss_now > limit:
            return batch, Descent(sums, skipped=True, where=f"{phase.name}: loss {loss_now:.4g}, at most {limit:.4g}")
        if math.isfinite(loss_now):
            state.accepted[phase.name] = loss_now
    with clock.part("optimizer"):
        world.average_gradients(moved)
        if state.scaler:
            state.scaler.unscale_(optimizer)
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in moved if parameter.grad is not None])
        finite = math.isfinite(float(norm))
        if finite and clip_value:
            torch.nn.utils.clip_grad_value_(moved, clip_value)
        if finite and clip_norm:
            torch.nn.utils.clip_grads_with_norm_(moved, clip_norm, norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        if state.scaler:
            # Scaling skips and shrinks by itself; overflow at its start is no trouble of the data.
            state.scaler.step(optimizer)
            finite = True
        elif finite:
            optimizer.step()
    sums[f"norm_{phase.name}"] = norm.detach()
    return batch, Descent(sums, finite, where="" if finite else f"{phase.name}: gradient norm {float(norm)}")


class _Run:
    """One call of `fit`: everything that was opened for it."""

    def __init__(
        self,
        config: Config,
        world: World,
        method: Method,
        source: Source,
        sets: tuple[EvalSet, ...],
        state: TrainState,
        precision: Precision,
        log: Log,
    ) -> None:
        self.config = config
        self.world = world
        self.method = method
        self.source = source
        self.sets = sets
        self.state = state
        self.precision = precision
        self.log = log
        self.folder = out_folder(config)
        self.clock = Clock(world.device)
        self.best: dict[str, float] = {}
        self.scores: dict[str, float] = {}
        self.rolled_back_at = -1  # the step whose state was returned to; -1 once a good step has followed
        self.hinted: set[str] = set()
        self.nets = _compiled(config, method, state)
        self.crew = Crew(precision.crew) if precision.crew > 1 else None

    @staticmethod
    def open(config: Config, world: World, resume: str | Path | None, log: Callable[[Path, bool], Log] | None) -> _Run:
        """Check and open everything before the first step, cheapest first."""
        folder = out_folder(config)
        if world.size > 1 and config.data.batch % world.size:
            raise ConfigError(
                f"data.batch must be a multiple of the {world.size} processes of torchrun, got {config.data.batch}"
            )
        if resume is None and states.saved_states(folder / "states"):
            raise ConfigError(
                f"run.out: {folder} holds a run already; go on with --resume, or choose another run.out or run.name"
            )
        method = build_method(config)
        check_phases(config, method)
        check_groups(config, method, world.size)
        source = open_source(config.data, method.images, int(config.net.scale), config.run.seed)
        sets = (
            open_sets(config.evaluate, int(config.net.scale), networks.task_scales(config.net)) if world.is_main else ()
        )
        if world.is_main:
            check_kept(config, score_names(config.evaluate, sets))
        made = log(folder, world.is_main) if log else Log(folder, config.log, config.run.steps, world.is_main)

        nets = fresh_nets(config, method, world.device)
        meta: dict[str, Any] = {}
        path = _resume_file(folder, resume)
        if path is not None:
            # The precision of a run is decided once: a second trial could decide otherwise.
            meta = states.load_meta(path)
            precision = Precision(**meta["precision"])
        else:
            precision = _chosen(config, method, source, nets, world)
        nets = {name: precision.arranged(net) for name, net in nets.items()}
        state = states.new_state(method, nets, config.optimizer, config.train.ema_decay, precision)
        run = _Run(config, world, method, source, sets, state, precision, made)
        if path is not None:
            run.resume(path, explicit=resume != "auto")
        elif world.is_main:
            folder.mkdir(parents=True, exist_ok=True)
        if world.is_main:
            atomic_write_text(folder / "config.toml", to_toml(config))
        made.event(
            "start",
            step=state.step,
            method=method_name(config.method),
            precision=precision.reason,
            parameters={name: networks.num_parameters(net) for name, net in nets.items()},
            data=source.describe(),
            device=str(world.device),
            processes=world.size,
            out=str(folder),
        )
        return run

    def train(self, stop: Callable[[], bool]) -> FitResult:
        """Steps until the end of the run or a signal."""
        config, state = self.config, self.state
        interrupted = False
        totals: dict[str, Tensor] = {}
        counted = 0
        with _opened(
            stream(self.source, range(state.step, config.run.steps), self.world.rank, self.world.size)
        ) as batches:
            self.clock.report()
            while state.step < config.run.steps:
                if self.world.any(stop()):
                    interrupted = True
                    break
                with self.clock.part("read"):
                    raw = next(batches)
                assert raw.step == state.step
                values = self.step(raw)
                for name, value in values.items():
                    totals[name] = totals[name] + value if name in totals else value
                counted += 1
                self.log.tick(state.step)
                if state.step % config.log.every_steps == 0 or state.step == config.run.steps:
                    self.report(totals, counted)
                    totals, counted = {}, 0
                if self.sets_due():
                    self.evaluate()
                if state.step % config.checkpoint.every_steps == 0 and state.step < config.run.steps:
                    self.save(final=False)
        if not interrupted and not self.sets_due():
            self.evaluate()
        files = self.save(final=True)
        self.log.event("interrupted" if interrupted else "done", step=state.step, files=[str(path) for path in files])
        return FitResult(state.step, interrupted, self.scores, files)

    def step(self, raw: RawBatch) -> dict[str, Tensor]:
        """One step: degrade, prepare, every phase, averages."""
        config, state, world = self.config, self.state, self.world
        # Nets that draw while they train (drop path) draw from the step's own stream.
        torch.manual_seed((config.run.seed * 1_000_003 + state.step * world.size + world.rank) % 2**63)
        with self.clock.part("degrade"):
            batch = assemble(self.method, raw, state.step, world.device)
        with self.clock.part("prepare"), torch.no_grad():
            batch = _arranged(self.method.prepare(self.nets, batch, state.step), self.precision)
        factor = rate_factor(config.schedule, state.step, config.run.steps)
        values: dict[str, Tensor] = {}
        for phase in self.method.phases:
            _freeze_others(self.method, phase, self.state)
            batch, done = descend(
                phase,
                state,
                self.nets,
                batch,
                self.precision,
                world,
                self.clock,
                rate=config.optimizer.rate(phase.name) * factor,
                accumulate=config.train.accumulate,
                clip_norm=config.optimizer.clip_norm,
                clip_value=config.optimizer.clip_value,
                skip_above=config.train.skip_above,
                crew=self.crew,
            )
            if done.skipped:
                self.log.event("skipped", step=state.step, what=done.where)
            if not done.finite:
                self.on_bad_step(batch, done.where)
                return {}
            values.update(done.values)
        if state.scaler:
            state.scaler.update()
        if config.train.ema_decay:
            with self.clock.part("optimizer"):
                state.update_averages(config.train.ema_decay)
        state.bad_steps = 0
        self.rolled_back_at = -1
        state.step += 1
        return values

    def on_bad_step(self, batch: Batch, where: str) -> None:
        """A loss or gradient was not finite: note what it came from, go on, roll back when it does not end."""
        state = self.state
        path = self.folder / "trouble" / f"step_{state.step:09d}_rank{self.world.rank}.json"
        described = {
            "step": state.step,
            "what": where,
            "indices": batch.indices.tolist(),
            "addresses": batch.addresses(),
            "seed": self.config.run.seed,
        }
        atomic_write_text(path, json.dumps(described, indent=1))
        self.log.event("nonfinite", step=state.step, what=where, file=str(path))
        state.bad_steps += 1
        state.step += 1
        if state.bad_steps < self.config.train.bad_steps:
            return
        if not states.saved_states(self.folder / "states"):
            raise PytrainError(
                f"step {state.step}: {where} for {state.bad_steps} steps in a row and no checkpoint to return to; lower "
                f"optimizer.learning_rate or set optimizer.clip_norm; the batches are in {path.parent}"
            )
        if self.rolled_back_at >= 0:
            raise PytrainError(
                f"step {state.step}: {where}, again after a rollback to step {self.rolled_back_at}; lower "
                f"optimizer.learning_rate or set optimizer.clip_norm; the batches are in {path.parent}"
            )
        here = state.step
        source, _, _ = states.restore_newest(self.folder / "states", state)
        self.rolled_back_at = state.step
        # The weights go back, the position does not: the same images would bring the same trouble.
        state.step, state.bad_steps = here, 0
        self.log.event("rollback", step=here, file=str(source))

    def report(self, totals: Mapping[str, Tensor], counted: int) -> None:
        """One line of the log: mean losses since the last one, speed, where the time went."""
        if totals:
            means = self.world.mean(torch.stack([value.to(self.world.device) for value in totals.values()]) / counted)
            values = dict(zip(totals, means.tolist()))
        else:
            values = {}
        seconds = self.clock.report()
        total_s = max(seconds.pop("total"), 1e-9)
        factor = rate_factor(self.config.schedule, self.state.step - 1, self.config.run.steps)
        working_s = max(total_s - seconds["evaluate"] - seconds["save"], 1e-9)
        values["learning_rate"] = self.config.optimizer.learning_rate * factor
        values["images_per_s"] = counted * self.config.data.batch / working_s
        values["steps_per_s"] = counted / working_s
        values.update({f"time_{name}": part_s / total_s for name, part_s in seconds.items()})
        self.log.step(self.state.step, values)
        for name, limit in HINT_SHARE.items():
            share = seconds[name] / working_s
            if share > limit and name not in self.hinted:
                self.hinted.add(name)
                self.log.event("hint", step=self.state.step, text=HINTS[name].format(share=share))

    def sets_due(self) -> bool:
        """Whether this step ends with an evaluation."""
        return self.state.step % self.config.evaluate.every_steps == 0 and self.state.step > 0

    def evaluate(self) -> None:
        """Scores of the published net on every set; the main process computes, the others wait."""
        name = self.method.averaged[0]
        if self.sets:
            with self.clock.part("evaluate"):
                net = self.state.published(name)
                result = evaluate(net, self.sets, self.config.evaluate, self.folder / "images", self.state.step)
            self.scores = dict(result.scores)
            self.log.event("evaluate", step=self.state.step, **result.to_dict())
            self.keep_best(result)
        self.world.wait()

    def keep_best(self, result: EvalResult) -> None:
        """Write the model file again when its score is the best so far."""
        wanted = self.config.checkpoint.keep_best or next(iter(result.scores))
        score = result.scores[wanted]
        if score > self.best.get(wanted, -math.inf):
            self.best = {wanted: score, "step": float(self.state.step)}
            self.save_models("best", {"score": {wanted: score}})

    def save(self, final: bool) -> tuple[Path, ...]:
        """A training state and the model files. A checkpoint in between that cannot be written is reported, not fatal."""
        if not self.world.is_main:
            self.world.wait()
            return ()
        files: tuple[Path, ...] = ()
        try:
            with self.clock.part("save"):
                meta = {
                    "config": to_dict(self.config),
                    "precision": {
                        "name": self.precision.name,
                        "channels_last": self.precision.channels_last,
                        "reason": self.precision.reason,
                        "crew": self.precision.crew,
                    },
                    "best": self.best,
                    "data": self.source.digest,
                    "rolled_back_at": self.rolled_back_at,
                }
                path = states.save(self.folder / "states", self.state, meta)
                files = (*self.save_models("last", {"score": self.scores}), path)
                states.remove_old(self.folder / "states", self.config.checkpoint.keep_last)
            self.log.event("checkpoint", step=self.state.step, file=str(path))
        except (CheckpointError, WriteError) as error:
            if final:
                raise
            self.log.event("warning", step=self.state.step, text=str(error))
        finally:
            self.world.wait()
        return files

    def save_models(self, label: str, metadata: Mapping[str, Any]) -> tuple[Path, ...]:
        """`models/last.safetensors` and `.pth` of the published net; `last_discriminator.pth` of the others."""
        files = []
        described = {**metadata, "step": self.state.step, "run": self.config.run.name}
        for name, net_config in self.method.configs().items():
            main = name == self.method.averaged[0]
            if label == "best" and not main:
                continue
            stem = label if main else f"{label}_{name}"
            for suffix in (".safetensors", ".pth") if main else (".pth",):
                path = self.folder / "models" / f"{stem}{suffix}"
                save_model(path, net_config, self.state.nets[name], self.state.averages.get(name), described)
                files.append(path)
        return tuple(files)

    def resume(self, path: Path, explicit: bool) -> None:
        """Go on from a state; with "auto" a damaged one is passed over for the one before it."""
        problems: list[str] = []
        if explicit:
            meta = states.restore(path, self.state)
        else:
            path, meta, problems = states.restore_newest(path.parent, self.state)
        self.best = meta["best"]
        self.rolled_back_at = meta["rolled_back_at"]
        for problem in problems:
            self.log.event("warning", step=self.state.step, text=f"passed over a damaged state: {problem}")
        for line in changed_settings(meta["config"], to_dict(self.config)):
            self.log.event("warning", step=self.state.step, text=f"resumed with another {line}")
        if meta["data"] != self.source.digest:
            self.log.event(
                "warning", step=self.state.step, text="resumed with other training images: crops differ from here on"
            )
        self.log.event("resume", step=self.state.step, file=str(path))


def out_folder(config: Config) -> Path:
    """Absolute folder of a run."""
    return (Path(config.run.out) if config.run.out else Path("out") / config.run.name).resolve()


def build_method(config: Config) -> Method:
    """The method that a configuration names, told about the run."""
    setup = Setup(
        net=config.net,
        seed=config.run.seed,
        crop_px=config.data.crop_px,
        batch=config.data.batch,
        steps=config.run.steps,
        pretrained=config.train.pretrained,
    )
    entry = next(entry for entry in METHODS.values() if type(config.method) is entry.config)
    return entry.build(config.method, setup)


def check_phases(config: Config, method: Method) -> None:
    """ConfigError when `optimizer.learning_rates` names a phase that the method does not have."""
    phases = [phase.name for phase in method.phases]
    for name in config.optimizer.learning_rates:
        if name not in phases:
            raise ConfigError(
                f"optimizer.learning_rates: must name phases ({', '.join(phases)}), got {name!r}{nearest(name, phases)}"
            )


def check_groups(config: Config, method: Method, processes: int = 1) -> None:
    """ConfigError when a batch would be cut within groups of samples that the method needs together."""
    group = group_rows(method)
    if group == 1:
        return
    groups, parts = config.data.batch // group, config.train.accumulate * processes
    if groups % parts:
        told = f" times {processes} processes" if processes > 1 else ""
        raise ConfigError(
            f"train.accumulate{told} must divide the {groups} groups of {group} samples that this method needs together, "
            f"got {config.train.accumulate}"
        )
    if config.train.crew > 1:
        raise ConfigError(f"train.crew must be 0 or 1 for this method, got {config.train.crew}")


def check_kept(config: Config, scores: Sequence[str]) -> None:
    """The score that decides which model is kept as the best must be measured.

    Raises:
        ConfigError: `checkpoint.keep_best` is none of `scores`.
    """
    wanted = config.checkpoint.keep_best
    if wanted and wanted not in scores:
        measured = f"one of {', '.join(scores)}" if scores else "empty where evaluate.sets has no set"
        raise ConfigError(f"checkpoint.keep_best must be {measured}, got {wanted!r}{nearest(wanted, scores)}")


def fresh_nets(config: Config, method: Method, device: torch.device) -> dict[str, nn.Module]:
    """The method's nets with their first weights: drawn from the seed, or read from model files; frozen where untrained."""
    torch.manual_seed(config.run.seed)
    nets = method.nets()
    main = method.averaged[0]
    files = {**method.pretrained(), **({main: config.train.pretrained} if config.train.pretrained else {})}
    for name, path in files.items():
        load_into(nets[name], method.configs()[name], path)
    trained = {name for phase in method.phases for name in phase.trains}
    for name, net in nets.items():
        net.to(device)
        if name not in trained:
            net.eval().requires_grad_(False)
    return nets


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any], where: str = "") -> list[str]:
    """One line per setting that differs and that training depends on: "data.batch: 8, it was 16"."""
    free = (
        "run.out",
        "run.name",
        "run.steps",
        "run.device",
        "log",
        "checkpoint",
        "evaluate",
        "data.workers",
        "data.cache_mb",
        "train.threads",
        "train.pretrained",
    )
    lines = []
    for key in sorted({*old, *new}):
        name = f"{where}{key}"
        if name in free:
            continue
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += changed_settings(before, after, f"{name}.")
        elif before != after:
            lines.append(f"{name}: {after!r}, it was {before!r}")
    return lines


def _resume_file(folder: Path, resume: str | Path | None) -> Path | None:
    """The state file to begin from; for "auto" the newest one, whose successor may be found damaged later."""
    if resume is None:
        return None
    if resume != "auto":
        return Path(resume)
    for _, path in states.saved_states(folder / "states"):
        try:
            states.load_meta(path)
            return path
        except CheckpointError:
            continue
    raise CheckpointError(f"--resume: {folder / 'states'} holds no readable training state")


def _chosen(config: Config, method: Method, source: Source, nets: dict[str, nn.Module], world: World) -> Precision:
    """The precision of a new run, decided by the main process on the first batch."""
    decided: list[Precision] = []
    rows = -(-config.data.batch // world.size // config.train.accumulate)

    def prepared(precision: Precision) -> tuple[dict[str, nn.Module], Batch]:
        copies = {name: precision.arranged(copy.deepcopy(net)) for name, net in nets.items()}
        with _opened(stream(source, range(1), world.rank, world.size)) as batches:
            batch = assemble(method, next(batches), 0, world.device)
        with torch.no_grad():
            return copies, _arranged(method.prepare(copies, batch.take(slice(0, rows)), 0), precision)

    def separable() -> bool:
        return is_separable(method, *prepared(PLAIN))

    def trial(precision: Precision) -> Callable[[], None]:
        copies, batch = prepared(precision)

        def step() -> None:
            with precision.autocast(world.device):
                terms: Terms = method.phases[0].loss(copies, batch, 0)
            torch.stack([value.float() for value in terms.losses.values()]).sum().backward()

        return step

    if world.is_main:
        precision = choose_precision(config.train.precision, world.device, trial)
        size = 1 if config.train.compile != "off" else crew_size(config.train.crew, world.device, rows, separable)
        told = f"; {size} slices of a batch side by side" if size > 1 else ""
        decided.append(replace(precision, crew=size, reason=precision.reason + told))
    text = json.dumps(vars(decided[0])) if decided else ""
    return Precision(**json.loads(world.from_main(text)))


def _compiled(config: Config, method: Method, state: TrainState) -> Nets:
    """The nets as losses call them."""
    if config.train.compile == "off":
        return state.nets
    trained = {name for phase in method.phases for name in phase.trains}
    return {
        name: cast(nn.Module, torch.compile(net, mode=config.train.compile)) if name in trained else net
        for name, net in state.nets.items()
    }


def _freeze_others(method: Method, phase: Phase, state: TrainState) -> None:
    """Only the phase's own weights collect gradients."""
    if len(method.phases) == 1:
        return
    own = state.trained[phase.name]
    for trained in state.trained.values():
        for key, parameter in trained.items():
            parameter.requires_grad_(key in own)


def _arranged(batch: Batch, precision: Precision) -> Batch:
    """The images that nets read, in the precision's layout."""
    return replace(batch, lr=precision.image(batch.lr), target=precision.image(batch.target))


def _slices(count: int, parts: int) -> Iterator[slice]:
    """`parts` consecutive ranges that cover `count` rows, none empty."""
    bounds = [count * number // parts for number in range(parts + 1)]
    return (slice(begin, end) for begin, end in itertools.pairwise(bounds) if end > begin)


def _fork_devices(world: World) -> list[int]:
    return [world.device.index or 0] if world.device.type == "cuda" else []


@contextmanager
def _threads(config: Config, world: World) -> Iterator[None]:
    """torch's and pydegrade's threads for this run, set back afterwards."""
    before = torch.get_num_threads()
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(config.train.threads or max(1, available // world.local_size))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _opened(batches: Any) -> Iterator[Iterator[RawBatch]]:
    """An iterator that is closed, with its processes, however the block ends."""
    try:
        yield iter(batches)
    finally:
        batches.close()


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM has come; the step at hand is finished first. A second SIGINT interrupts at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        # Not the main thread: signals go elsewhere.
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A run: what it has opened, how it goes on from a state, what it writes, what it does in trouble."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pydegrade.errors import WriteError

from .. import nets as networks
from ..config.config import Config, changed_settings, method_name, to_dict, to_toml
from ..data.batch import Batch
from ..data.source import Source, Unreadable, open_source
from ..errors import CheckpointError, ConfigError, PytrainError, is_out_of_memory, one_line
from ..evaluation.evaluate import evaluate
from ..evaluation.export import export_onnx
from ..evaluation.results import EvalResult, score_names
from ..evaluation.sets import EvalSet, open_sets
from ..files.checkpoint import atomic_write_text, save_model
from ..methods.contract import Method
from . import state as states
from .clock import Clock
from .descend import Compute
from .distributed import World
from .log import Log, as_json
from .opening import (
    NO_BEST,
    best_by,
    build_method,
    check_adapting,
    check_batch,
    check_kept,
    check_phases,
    fresh_nets,
    left_fresh,
    out_folder,
)
from .precision import precision_from
from .slices import SlicePool
from .state import TrainState
from .trial import decided

OpenLog = Callable[[Path, bool], Log]
"""(folder of the run, whether this is the main process) -> where values and events go."""

IMAGES_NAME = "images.json"


class Diverged(PytrainError):
    """Loss or gradient stay non-finite; going on from here would bring the same."""


@dataclass(frozen=True)
class Run:
    """What a run has opened. What changes with its steps is its `TrainState`.

    Attributes:
        config: as configured.
        folder: of everything that is written.
        method: what is learned.
        source: training images.
        sets: what is measured on; empty in all but the main process.
        compute: where and how losses are computed.
        log: where values and events go.
    """

    config: Config
    folder: Path
    method: Method
    source: Source
    sets: tuple[EvalSet, ...]
    compute: Compute
    log: Log

    @property
    def world(self) -> World:
        """The processes of the run."""
        return self.compute.world

    def close(self) -> None:
        """End threads, close files."""
        self.log.close()
        if self.compute.pool is not None:
            self.compute.pool.close()


def open_run(
    config: Config, world: World, resume: str | Path | None = None, open_log: OpenLog | None = None
) -> tuple[Run, TrainState]:
    """Check and open everything before the first step, cheapest first; nothing is written before all checks have passed.

    Args:
        config: of the run.
        world: the processes of the run.
        resume: see `pytrain.training.loop.fit`.
        open_log: default: console and log.jsonl as the configuration says.
    Raises:
        ConfigError, DataError, CheckpointError: bad input, one line.
    """
    folder = out_folder(config)
    if resume is None and states.saved_states(folder / "states"):
        raise ConfigError(
            f"run.out: {folder} holds a run already; go on with --resume, or choose another run.out or run.name"
        )

    # What the configuration names.
    method = build_method(config)
    check_phases(config, method)
    check_batch(config, method, world.size)
    check_adapting(config)
    path = _resume_file(folder, resume)
    listing = None if path is None else _read_listing(folder)
    scale, channels = int(config.net.scale), networks.image_channels(config.net)
    source = open_source(config.data, method.images, scale, config.run.seed, listing, channels, method.mixes_pairs)
    tasks = networks.task_scales(config.net)
    sets = open_sets(config.evaluate, scale, tasks, channels) if world.is_main else ()
    if world.is_main:
        check_kept(config, score_names(config.evaluate, sets))
    log = open_log(folder, world.is_main) if open_log else Log(folder, config.log, config.run.steps, world.is_main)

    # Networks, in the precision that the run has or now decides.
    nets = fresh_nets(config, method, world.device)
    fresh = left_fresh(config, method, nets[method.averaged[0]]) if path is None else ""
    if path is None:
        precision = decided(folder, config, method, source, nets, world)
    else:
        precision = precision_from(states.load_meta(path)["precision"], str(path))
    nets = {name: precision.arranged(net) for name, net in nets.items()}
    state = states.new_state(method, nets, config.optimizer, config.train.ema_decay, precision)
    compute = Compute(
        _compiled(config, method, state),
        precision,
        world,
        Clock(world.device),
        SlicePool(precision.slices) if precision.slices > 1 else None,
    )
    run = Run(config, folder, method, source, sets, compute, log)

    # Go on from a state, or begin the folder.
    if path is not None:
        _restore(run, state, path, explicit=resume != "auto")
    if world.is_main:
        atomic_write_text(folder / "config.toml", to_toml(config))
        if listing is None:
            atomic_write_text(folder / IMAGES_NAME, json.dumps(source.listing()))
    if sets and not best_by(config, method, score_names(config.evaluate, sets)):
        log.event("hint", step=state.step, text=NO_BEST)
    if fresh:
        log.event("hint", step=state.step, text=fresh)
    log.event(
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
    return run, state


def _compiled(config: Config, method: Method, state: TrainState) -> Mapping[str, nn.Module]:
    """The nets as losses call them."""
    if config.train.compile == "off":
        return state.nets
    trained = {name for phase in method.phases for name in phase.trains}
    return {
        name: cast(nn.Module, torch.compile(net, mode=config.train.compile)) if name in trained else net
        for name, net in state.nets.items()
    }


# ---- going on


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


def _read_listing(folder: Path) -> Any:
    """The images that the run started with; None where its folder does not say (it was moved, or is older)."""
    try:
        return json.loads((folder / IMAGES_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _restore(run: Run, state: TrainState, path: Path, explicit: bool) -> None:
    """Go on from a state; unless it was named, a damaged one is passed over for the one before it."""
    problems: list[str] = []
    if explicit:
        meta = states.restore(path, state)
    else:
        path, meta, problems = states.restore_newest(path.parent, state)
    for problem in problems:
        run.log.event("warning", step=state.step, text=f"passed over a damaged state: {problem}")
    for line in changed_settings(meta["config"], run.config):
        run.log.event("warning", step=state.step, text=f"resumed with another {line}")
    if meta["data"] != run.source.digest:
        text = "resumed with other training images: crops differ from here on"
        run.log.event("warning", step=state.step, text=text)
    for name in run.source.changed:
        if name not in state.unreadable:
            text = f"resumed with another {name}: the file had another size when the run started"
            run.log.event("warning", step=state.step, text=text)
    run.log.event("resume", step=state.step, file=str(path))


# ---- measuring


def measure(run: Run, state: TrainState) -> Mapping[str, float]:
    """Scores of the published net on every set; the main process computes, the others wait. None without sets."""
    scores: Mapping[str, float] = {}
    if run.sets:
        with run.compute.clock.part("evaluate"):
            net = state.published(run.method.averaged[0])
            scales = run.method.model_metadata().get("scales", ())
            images = run.folder / "images"
            result = evaluate(net, run.sets, run.config.evaluate, images, state.step, trained_scales=scales)
        scores = dict(result.scores)
        run.log.event("evaluate", step=state.step, **result.to_dict())
        sheets = {one.name: images / f"{one.name}-{state.step:08d}.png" for one in run.sets}
        run.log.pictures(state.step, sheets)
        undefined = [name for name, score in scores.items() if math.isnan(score)]
        if undefined:
            text = f"{', '.join(undefined)}: not a number, the network's output is not finite"
            run.log.event("warning", step=state.step, text=text)
        _keep_best(run, state, result)
    run.world.wait()
    return scores


def _keep_best(run: Run, state: TrainState, result: EvalResult) -> None:
    """Write the model file again when its score is the best so far."""
    wanted = best_by(run.config, run.method, tuple(result.scores))
    if not wanted:
        return
    score = result.scores[wanted]
    sign = -1 if wanted in result.lower_is_better else 1
    if sign * score > sign * state.best.get(wanted, -sign * math.inf):
        state.best = {wanted: score, "step": float(state.step)}
        save_models(run, state, "best", {"score": {wanted: score}})


# ---- saving


def save(run: Run, state: TrainState, scores: Mapping[str, float], final: bool) -> tuple[Path, ...]:
    """A training state and the model files. A checkpoint in between that cannot be written is reported, not fatal.

    Args:
        run, state: what is saved.
        scores: of the last evaluation, for the model files.
        final: whether this is the last one of this process.
    Returns:
        Files that were written; none in all but the main process.
    Raises:
        CheckpointError: the final checkpoint cannot be written.
    """
    _share_unreadable(run, state)
    if not run.world.is_main:
        run.world.wait()
        return ()
    files: tuple[Path, ...] = ()
    try:
        with run.compute.clock.part("save"):
            path = save_state(run, state)
            files = (*save_models(run, state, "last", {"score": dict(scores)}), path)
            states.remove_old(run.folder / "states", run.config.checkpoint.keep_last)
        run.log.event("checkpoint", step=state.step, file=str(path))
    except (CheckpointError, WriteError) as error:
        if final:
            raise
        run.log.event("warning", step=state.step, text=str(error))
    finally:
        run.world.wait()
    return files


def save_state(run: Run, state: TrainState) -> Path:
    """The training state alone: everything that `--resume` needs."""
    meta = {
        "config": to_dict(run.config),
        "precision": asdict(run.compute.precision),
        "data": run.source.digest,
    }
    return states.save(run.folder / "states", state, meta)


def save_models(run: Run, state: TrainState, label: str, metadata: Mapping[str, Any]) -> tuple[Path, ...]:
    """`models/last.safetensors` and `.pth` of the published net; `last_discriminator.pth` of the others."""
    files = []
    described = {**run.method.model_metadata(), **as_json(metadata), "step": state.step, "run": run.config.run.name}
    for name, net_config in run.method.configs().items():
        main = name == run.method.averaged[0]
        if label == "best" and not main:
            continue
        stem = label if main else f"{label}_{name}"
        for suffix in (".safetensors", ".pth") if main else (".pth",):
            path = run.folder / "models" / f"{stem}{suffix}"
            save_model(path, net_config, state.nets[name], state.averages.get(name), described)
            files.append(path)
        if main and run.config.checkpoint.onnx:
            files += _exported(run, state, name, run.folder / "models" / f"{stem}.onnx", described)
    return tuple(files)


def _exported(run: Run, state: TrainState, name: str, path: Path, described: Mapping[str, Any]) -> list[Path]:
    """The ONNX file beside a model file; a network that has no such form is reported, not fatal."""
    try:
        export_onnx(state.published(name), run.method.configs()[name], path, described)
    except CheckpointError as error:
        run.log.event("warning", step=state.step, text=str(error))
        return []
    return [path]


# ---- trouble


def note_unreadable(run: Run, state: TrainState, found: tuple[Unreadable, ...]) -> None:
    """Images that cannot be read: each is named once; a resumed run passes over them from the same sample on."""
    for one in found:
        if one.name not in state.unreadable:
            state.unreadable[one.name] = one.index
            text = f"{one.name} cannot be read, its samples draw other images from here on: {one.reason}"
            run.log.event("warning", step=state.step, text=text)


def _share_unreadable(run: Run, state: TrainState) -> None:
    """What other processes found unreadable, before it is saved: each reads its own samples."""
    for found in run.world.gathered(state.unreadable):
        note_unreadable(
            run, state, tuple(Unreadable(name, index, "found by another process") for name, index in found.items())
        )


def pass_over(run: Run, state: TrainState, batch: Batch, where: str, step: int) -> None:
    """A loss or gradient was not finite: note what it came from, go on, roll back when it does not end.

    Args:
        run, state: its weights are those before the step, unless they go back further.
        batch: of the step.
        where: what was not finite.
        step: the number of the step; the state's is that of the next one.
    Raises:
        Diverged: it does not end after a rollback either, or there is nothing to go back to.
    """
    path = run.folder / "nonfinite" / f"step_{step:09d}_rank{run.world.rank}.json"
    described = {
        "step": step,
        "what": where,
        "indices": batch.indices.tolist(),
        "addresses": batch.addresses(),
        "seed": run.config.run.seed,
    }
    atomic_write_text(path, json.dumps(described, indent=1))
    run.log.event("nonfinite", step=step, what=where, file=str(path))
    state.bad_steps += 1
    if state.bad_steps < run.config.train.bad_steps:
        return
    advice = f"lower optimizer.learning_rate or set optimizer.clip_norm; the batches are in {path.parent}"
    if not states.saved_states(run.folder / "states"):
        raise Diverged(
            f"step {step + 1}: {where} for {state.bad_steps} steps in a row and no checkpoint to return to; {advice}"
        )
    if state.rolled_back_at >= 0:
        raise Diverged(f"step {step + 1}: {where}, again after a rollback to step {state.rolled_back_at}; {advice}")
    here = state.step
    source, _, _ = states.restore_newest(run.folder / "states", state)
    state.rolled_back_at = state.step
    # The weights go back, the position does not: the same images would bring the same trouble.
    state.step, state.bad_steps = here, 0
    run.log.event("rollback", step=here, file=str(source))


def leave(run: Run, state: TrainState, error: Exception) -> Exception:
    """An error ends the run: keep what it has reached, and say what to do.

    Args:
        run: of the main process or another.
        state: saved where it is whole and nobody has saved it yet. A half-taken step is left to be taken again from the
            last checkpoint, and so is a diverged run.
        error: what happened.
    Returns:
        The error to raise: the same, but for memory that ran out.
    """
    step = state.step
    if is_out_of_memory(error):
        on_gpu = run.world.device.type == "cuda" and run.config.train.graphs == "auto"
        graphs = ', or set train.graphs = "off"' if on_gpu else ""
        error = PytrainError(
            f"step {step}: out of memory on {run.world.device} ({one_line(error)}); raise train.accumulate (same result) "
            f"or lower data.batch or data.crop_px{graphs}; `pytrain check` estimates what a training needs"
        )
    saved = step in dict(states.saved_states(run.folder / "states"))
    if run.world.is_main and state.is_whole and step > 0 and not saved and not isinstance(error, Diverged):
        try:
            path = save_state(run, state)
            run.log.event("checkpoint", step=step, file=str(path))
        except (CheckpointError, WriteError, MemoryError, RuntimeError) as problem:
            run.log.event("warning", step=step, text=f"the state could not be saved: {one_line(problem)}")
    newest = states.saved_states(run.folder / "states")
    if newest and not isinstance(error, Diverged):
        run.log.event("interrupted", step=newest[0][0])
    return error

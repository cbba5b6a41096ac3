"""Where a run's numbers and events go: `log.jsonl` always, the console, and TensorBoard, wandb or trackio where asked for.

One JSON object per line: {"kind": "step", "step": 100, "time": seconds since 1970, "l1": 0.031, ...}. Kinds are "step" and
those of events: start, resume, evaluate, checkpoint, hint, warning, skipped, nonfinite, rollback, interrupted, done. Each
line is written at once, so a killed run loses none. A resumed run continues the file of its folder from its step.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from PIL import Image

from pydegrade.shell import Progress, folded

from ..errors import ConfigError, needs, one_line
from ..files.checkpoint import atomic_write_text
from ..settings import LogConfig

FILE_NAME = "log.jsonl"

# What a step line says about itself; everything else in it is a loss or another shown value.
SPEEDS = ("learning_rate", "images_per_s", "steps_per_s")


class Log:
    """Takes the values of steps, and events; a context manager.

    Args:
        out: folder of the run; created.
        config: the section `log`.
        total_steps: length of the run.
        is_main: False in the other processes of a distributed run, where nothing is written.
        stream: of the console; default: stdout.
    Raises:
        ConfigError: TensorBoard, wandb or trackio is asked for and not installed.
    """

    def __init__(
        self, out: Path, config: LogConfig, total_steps: int, is_main: bool = True, stream: TextIO | None = None
    ) -> None:
        self.path = out / FILE_NAME
        self._is_main = is_main
        self._file: TextIO | None = None
        self._is_broken = False
        self._last_step = 0
        self._writers = [] if not is_main else list(_open_writers(out, config, total_steps))
        self._console = _console(stream or sys.stdout, total_steps) if is_main else None

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Means since the last such line.

        Args:
            step: number of finished steps.
            values: losses and shown values by name; learning_rate, images_per_s, steps_per_s; time_read, time_degrade
                and so on as shares of the whole, 0 to 1.
        """
        if not self._is_main:
            return
        self._write("step", {"step": step, **values})
        for writer in self._writers:
            writer.scalars(step, values)
        assert self._console is not None
        self._console.step(step, values)

    def tick(self, step: int) -> None:
        """A step is done: moves the bar of a terminal, at most every 0.2 s. Costs nothing else."""
        if self._console is not None:
            self._console.tick(step)

    def event(self, kind: str, **values: Any) -> None:
        """Something that happened; `step` among the values says when, and the rest is plain JSON."""
        if not self._is_main:
            return
        values = {"step": self._last_step, **values}
        self._write(kind, values)
        scores = values.get("scores")
        if isinstance(scores, Mapping):
            for writer in self._writers:
                writer.scalars(values["step"], scores)
        assert self._console is not None
        self._console.line(describe(kind, values), kind)

    def pictures(self, step: int, files: Mapping[str, Path]) -> None:
        """Pictures of an evaluation for those programs that show them.

        Args:
            step: number of finished steps.
            files: PNG by name; what is not there is left out.
        """
        there = {name: path for name, path in files.items() if path.is_file()}
        for writer in self._writers if there else ():
            writer.pictures(step, there)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on the console; the first column is text, the others are numbers."""
        if self._console is not None:
            for line in text_table(title, columns, rows):
                self._console.line(line, "table")

    def close(self) -> None:
        """Close files and leave the terminal clean. May be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None
        for writer in self._writers:
            writer.close()
        self._writers = []
        if self._console is not None:
            self._console.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, kind: str, values: Mapping[str, Any]) -> None:
        self._last_step = int(values["step"])
        if self._is_broken:
            return
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                cut_back(self.path, self._last_step)
                self._file = self.path.open("a", encoding="utf-8")
            record = {"kind": kind, "step": self._last_step, "time": round(time.time(), 3), **as_json(values)}
            self._file.write(json.dumps(record, allow_nan=False, default=str) + "\n")
            self._file.flush()
        except (OSError, ValueError) as error:
            # A full disk must not end a run whose weights still fit elsewhere.
            self._is_broken = True
            assert self._console is not None
            self._console.line(
                f"warning: {self.path}: cannot be written ({one_line(error)}); training goes on", "warning"
            )


def cut_back(path: Path, step: int) -> None:
    """Drop the records of a log that lie after a step (at step 0: all), and a last line that was cut off."""
    if not path.exists():
        return
    kept = [] if step == 0 else [line for line in path.read_text(encoding="utf-8").splitlines() if _at(line) <= step]
    text = "".join(f"{line}\n" for line in kept)
    atomic_write_text(path, text)


def _at(line: str) -> float:
    """The step of a record; infinity for what is no record."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a log, oldest first; a last line that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if _at(line) < math.inf]


def as_json(value: Any) -> Any:
    """Values as JSON can hold them: it knows no NaN and no infinity, which become texts that `float` reads back."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: as_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(entry) for entry in value]
    return value


# ---- Words for people


def describe(kind: str, values: Mapping[str, Any]) -> str:
    """An event as one line."""
    step = values["step"]
    texts: dict[str, Callable[[], str]] = {
        "start": lambda: _start(values),
        "resume": lambda: f"resumed at step {step} from {values['file']}",
        "checkpoint": lambda: f"step {step}: saved {values['file']}",
        "evaluate": lambda: f"step {step}: {_scores(values)}",
        "hint": lambda: f"hint: {values['text']}",
        "warning": lambda: f"warning: {values['text']}",
        "nonfinite": lambda: f"step {step}: skipped, {values['what']}; its tasks are in {values['file']}",
        "skipped": lambda: f"step {step}: skipped, {values['what']}",
        "rollback": lambda: f"step {step}: went back to the weights of {values['file']}",
        "interrupted": lambda: f"interrupted at step {step}; the same command with --resume goes on",
        "done": lambda: "\n".join([f"done at step {step}", *(f"  {file}" for file in values.get("files", ()))]),
    }
    if kind in texts:
        return texts[kind]()
    rest = ", ".join(f"{key} {value}" for key, value in values.items() if key != "step")
    return f"step {step}: {kind} {rest}"


def _start(values: Mapping[str, Any]) -> str:
    sizes = ", ".join(f"{name} {count:,} parameters" for name, count in values.get("parameters", {}).items())
    shown = {"method": values.get("method"), "nets": sizes, "data": values.get("data"), "device": values.get("device")}
    if values.get("processes", 1) > 1:
        shown["processes"] = values["processes"]
    shown |= {"precision": values.get("precision"), "out": values.get("out")}
    return "\n".join(f"{name:<10} {value}" for name, value in shown.items() if value)


def _scores(values: Mapping[str, Any]) -> str:
    scores = values.get("scores", {})
    return ", ".join(f"{name} {score:.4f}" for name, score in scores.items()) or "evaluated"


def step_line(step: int, total_steps: int, values: Mapping[str, float]) -> str:
    """The values of a step as one line, without the time breakdown."""
    parts = [f"{step:>{len(str(total_steps))}}/{total_steps}"]
    parts += [f"{name} {value:.4g}" for name, value in values.items() if not _is_speed(name)]
    if "learning_rate" in values:
        parts.append(f"rate {values['learning_rate']:.2e}")
    parts += [f"{values[name]:.3g} {unit}/s" for name, unit in _UNITS.items() if name in values]
    return "  ".join(parts)


_UNITS = {"steps_per_s": "steps", "images_per_s": "images"}


def _is_speed(name: str) -> bool:
    return name in SPEEDS or name.startswith("time_")


def breakdown(values: Mapping[str, float]) -> str:
    """Where the time went, in whole percent; parts below one half are left out."""
    shares = {name.removeprefix("time_"): 100 * share for name, share in values.items() if name.startswith("time_")}
    return "  ".join(f"{name} {share:.0f}%" for name, share in shares.items() if share >= 0.5)


def text_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: first column to the left, the others to the right."""
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    lines = [title] if title else []
    for row in cells:
        fitted = [
            cell.ljust(width) if not place else cell.rjust(width) for place, (cell, width) in _placed(row, widths)
        ]
        lines.append("  ".join(fitted).rstrip())
    return lines


def _placed(row: Sequence[str], widths: Sequence[int]) -> enumerate[tuple[str, int]]:
    return enumerate(zip(row, widths))


# ---- Consoles


class _PlainConsole:
    """Lines, for files and pipes."""

    def __init__(self, stream: TextIO, total_steps: int) -> None:
        self._stream, self._total_steps = stream, total_steps

    def step(self, step: int, values: Mapping[str, float]) -> None:
        self.line("  ".join(filter(None, (step_line(step, self._total_steps, values), breakdown(values)))), "step")

    def tick(self, step: int) -> None:
        """A bar in a file would be noise."""

    def line(self, text: str, kind: str) -> None:
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is open."""


STYLES = {"hint": "yellow", "warning": "yellow", "nonfinite": "red", "rollback": "red", "evaluate": "bold"}


class _BarConsole:
    """Lines above the bar that all commands have, no wider than the terminal where they can be cut."""

    def __init__(self, stream: TextIO, total_steps: int) -> None:
        self._stream, self._total_steps = stream, total_steps
        self._progress = Progress(total_steps, unit="steps", stream=stream)
        self._started = False

    def step(self, step: int, values: Mapping[str, float]) -> None:
        width, indent = self._progress.columns, " " * (2 * len(str(self._total_steps)) + 3)
        *lines, last = folded(step_line(step, self._total_steps, values), "  ", indent, width)
        shares = breakdown(values)
        if shares and len(f"{last}  {shares}") <= width:
            lines.append(f"{last}  {shares}")
        else:
            lines += [last, *(folded(indent + shares, "  ", indent, width) if shares else [])]
        self.line("\n".join(lines), "step")

    def tick(self, step: int) -> None:
        if not self._started:
            # A resumed run starts in the middle: its earlier steps do not count for the speed.
            self._progress = Progress(self._total_steps, step, "steps", self._stream)
            self._started = True
        self._progress.reach(step)

    def line(self, text: str, kind: str) -> None:
        for part in text.split("\n"):
            self._progress.say(part, STYLES.get(kind, ""))

    def close(self) -> None:
        self._progress.close()


def _console(stream: TextIO, total_steps: int) -> _PlainConsole | _BarConsole:
    return _BarConsole(stream, total_steps) if stream.isatty() else _PlainConsole(stream, total_steps)


# ---- Other programs


class _TensorBoard:
    def __init__(self, out: Path) -> None:
        self._writer = _tensorboard().SummaryWriter(str(out / "tensorboard"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def pictures(self, step: int, files: Mapping[str, Path]) -> None:
        for name, path in files.items():
            with Image.open(path) as picture:
                self._writer.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """wandb, and trackio, which has its interface and keeps everything on this machine."""

    def __init__(self, out: Path, project: str, total_steps: int) -> None:
        self._package = wandb = _wandb()
        out.mkdir(parents=True, exist_ok=True)
        # The folder's name as id: a resumed run continues its own curves.
        self._run = wandb.init(
            project=project, name=out.name, id=out.name, dir=str(out), resume="allow", config={"steps": total_steps}
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def pictures(self, step: int, files: Mapping[str, Path]) -> None:
        self._run.log({name: self._package.Image(str(path)) for name, path in files.items()}, step=step)

    def close(self) -> None:
        self._run.finish()


class _Trackio(_Wandb):
    def __init__(self, out: Path, project: str, total_steps: int) -> None:
        self._package = trackio = _trackio()
        # The folder's name is the run: one of that name is gone on with.
        self._run = trackio.init(project=project, name=out.name, resume="allow", config={"steps": total_steps})


def _open_writers(out: Path, config: LogConfig, total_steps: int) -> list[_TensorBoard | _Wandb]:
    writers: list[_TensorBoard | _Wandb] = []
    if config.tensorboard:
        writers.append(_TensorBoard(out))
    if config.wandb:
        writers.append(_Wandb(out, config.wandb, total_steps))
    if config.trackio:
        writers.append(_Trackio(out, config.trackio, total_steps))
    return writers


def check_packages(config: LogConfig) -> None:
    """ConfigError when the section `log` asks for a program that is not installed."""
    if config.tensorboard:
        _tensorboard()
    if config.wandb:
        _wandb()
    if config.trackio:
        _trackio()


def _tensorboard() -> Any:
    return _imported("torch.utils.tensorboard", "log.tensorboard", "tensorboard")


def _wandb() -> Any:
    return _imported("wandb", "log.wandb", "wandb")


def _trackio() -> Any:
    return _imported("trackio", "log.trackio", "trackio")


def _imported(module: str, key: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(needs(key, package, package, error)) from None

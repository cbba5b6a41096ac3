"""Result files: what a study measured, kept in benchmarks/results and nowhere else.

A file holds every number per image or task, and what it takes to repeat it: command, commit, settings, machine. The tables
of the documents are written from these files (`python -m benchmarks.doc_tables`); no number in them is typed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measure import busy_s, machine
from benchmarks.quiet import quiet
from pytrain.config.config import Config
from pytrain.evaluation.intervals import Interval, bootstrap
from pytrain.training import loop

RESULTS = Path(__file__).resolve().parent / "results"

Values = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
"""By set ("Set5", "G1"), arm ("vanilla, rate 0.001") and seed ("0"; "-" where there is no seed): a number per item."""


@dataclass(frozen=True)
class Result:
    """One study.

    Attributes:
        study: name of the study and of its file.
        command: repeats it.
        commit: of the code that ran, as `git describe --always --dirty` says; several where it was continued.
        settings: everything that was chosen, seeds among it.
        unit: of the values.
        items: by set: names of the images or addresses of the tasks, in the order of the values.
        values: see Values.
        facts: single numbers beside them.
        seconds: of the processor, over all parts.
        machine: see `benchmarks.measure.machine`.
    """

    study: str
    command: str
    commit: str
    settings: Mapping[str, Any]
    unit: str
    items: Mapping[str, Sequence[str]]
    values: Values
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    machine: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, arms in self.values.items():
            for arm, seeds in arms.items():
                for seed, values in seeds.items():
                    place = f"{self.study}: {name}, {arm}, seed {seed}"
                    if len(values) != len(self.items[name]):
                        raise ValueError(f"{place}: must have {len(self.items[name])} values, got {len(values)}")
                    if not all(math.isfinite(value) for value in values):
                        raise ValueError(f"{place}: values must be finite")

    def mean(self, set_name: str, arm: str) -> float:
        """Over seeds and items."""
        return float(self._table(set_name, arm, self.seeds(set_name, arm)).mean())

    def seeds(self, set_name: str, arm: str) -> list[str]:
        """Seeds that an arm ran with."""
        return list(self.values[set_name][arm])

    def minus(self, set_name: str, arm: str, other: str) -> Difference:
        """One arm minus another on the same items; seeds are paired too, unless the other one has a single run."""
        mine = self.seeds(set_name, arm)
        theirs = self.seeds(set_name, other)
        both = [seed for seed in mine if seed in theirs] if len(theirs) > 1 else mine
        if not both:
            raise ValueError(f"{self.study}: {arm} and {other} have no seed in common")
        paired = both if len(theirs) > 1 else theirs
        differences = self._table(set_name, arm, both) - self._table(set_name, other, paired)
        return Difference(bootstrap(differences.mean(axis=0)), differences.mean(axis=1).tolist())

    def _table(self, set_name: str, arm: str, seeds: Sequence[str]) -> NDArray[np.float64]:
        """[seeds, items]"""
        return np.array([self.values[set_name][arm][seed] for seed in seeds], np.float64)


@dataclass(frozen=True)
class Difference:
    """How two arms differ.

    Attributes:
        interval: mean over seeds and items, and its 95 % bootstrap interval over items.
        by_seed: mean over items, per seed.
    """

    interval: Interval
    by_seed: Sequence[float]

    def over_items(self, digits: int = 2) -> str:
        """`+0.12 [+0.05, +0.20]`"""
        one = self.interval
        return f"{one.mean:+.{digits}f} [{one.low:+.{digits}f}, {one.high:+.{digits}f}]"

    def over_seeds(self, digits: int = 2) -> str:
        """`+0.08 to +0.16`, or nothing for a single seed."""
        if len(self.by_seed) < 2:
            return "one seed"
        return f"{min(self.by_seed):+.{digits}f} to {max(self.by_seed):+.{digits}f}"


def read_result(study: str, folder: Path = RESULTS) -> Result:
    """A study's file."""
    return Result(**json.loads((folder / f"{study}.json").read_text(encoding="utf-8")))


def write_result(result: Result, path: Path) -> None:
    """As JSON, lists of numbers on one line each, so that a file can be read and compared by lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_json(asdict(result)) + "\n", encoding="utf-8")


def _json(value: Any, indent: str = "") -> str:
    if isinstance(value, Mapping) and value:
        inner = ",\n".join(f"{indent} {json.dumps(str(key))}: {_json(one, indent + ' ')}" for key, one in value.items())
        return f"{{\n{inner}\n{indent}}}"
    return json.dumps(value, allow_nan=False)


# ---- runs that a study is made of


def trained(config: Config) -> Path:
    """Train, or go on, or find it done; the model file. A killed study goes on when its command is given again."""
    folder = Path(config.run.out)
    if not (folder / "done.json").exists():
        resume = "auto" if list(folder.glob("states/step_*.safetensors")) else None
        with spending(folder):
            if loop.fit(config, resume=resume, log=quiet).interrupted:
                raise KeyboardInterrupt
    return folder / "models" / "last.safetensors"


@contextmanager
def spending(folder: Path) -> Iterator[None]:
    """Note in a folder's done.json what the work cost, in processor seconds, and which commit did it."""
    begin_s = busy_s()
    yield
    part = {"seconds": round(busy_s() - begin_s, 1), "commit": machine(1)["commit"]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "done.json").write_text(json.dumps(part))


def spent(out: Path) -> dict[str, Any]:
    """`seconds`, `commit` and `machine` of a Result from what the parts in a folder noted."""
    parts = [json.loads(path.read_text()) for path in sorted(out.rglob("done.json"))]
    commits = list(dict.fromkeys([*(part["commit"] for part in parts), machine(1)["commit"]]))
    facts = machine(torch.get_num_threads())
    kept = {name: facts[name] for name in ("cpu", "cores", "threads", "isa", "python", "torch", "numpy", "pydegrade")}
    return {
        "seconds": round(sum(part["seconds"] for part in parts), 1),
        "commit": ", ".join(commits),
        "machine": kept,
    }


def all_results(folder: Path = RESULTS) -> Iterator[Result]:
    """Every study that is kept."""
    for path in sorted(folder.glob("*.json")):
        yield read_result(path.stem, folder)

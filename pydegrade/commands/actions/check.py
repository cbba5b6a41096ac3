"""What a space does, in text: shares of slots, histograms of columns, a dry run on a made-up photograph with its cost."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...engine import degrade_list
from ...errors import TaskError
from ...native.packed import Layout
from ...ops.registry import find
from ...plan import make_plan
from ...tasks.task import TaskBatch

_BARS = " ▁▂▃▄▅▆▇█"
_BINS = 24
_WIDTH = 80
"""Characters of a line."""
_INDENT = 21
"""Characters before what is said of a column."""


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        lines: for people.
        idle: slots that act in none of the tasks.
        unused: columns that are drawn and have an effect in none of the tasks, of slots that act.
    """

    lines: tuple[str, ...]
    idle: tuple[str, ...]
    unused: tuple[str, ...]


def looked_at(tasks: TaskBatch) -> Report:
    """Shares and histograms of N tasks, N >= 1."""
    space = tasks.space
    lines, idle, unused = [], [], []
    if space.components:
        counts = np.bincount(tasks.component, minlength=len(space.components))
        lines += [
            "components",
            *(_share(part.name, n, len(tasks)) for part, n in zip(space.components, counts.tolist())),
        ]
    if space.gate_names:
        lines.append("gates open")
        for gate in space.gate_names:
            here = tasks.gated_by(gate)
            lines.append(_share(gate, int((tasks.column(f"{gate}.on")[here] == 1).sum()), int(here.sum())))
    lines.append("slots that act, and their columns where they have an effect")
    for slot in space.slots:
        acts = tasks.present(slot.name) & ~tasks.neutral(slot.name)
        lines.append(_share(f"{slot.name} ({slot.op})", int(acts.sum()), len(tasks)))
        if not acts.any():
            idle.append(slot.name)
            continue
        for column in space.op(slot.name).columns:
            name = f"{slot.name}.{column.name}"
            if name not in space.drawn_columns:
                continue
            rows = np.nonzero(acts & tasks.mask(name))[0]
            # A column that is off by its own value draws that one too.
            if (
                len(rows) == 0
                and (tasks.column(name) == column.neutral_value).all()
                and not _always_neutral(tasks, name)
            ):
                unused.append(name)
                continue
            text = _labels(tasks.take(rows), name) if column.choices else _numbers(tasks.column(name)[rows])
            lines.append(f"    {column.name:<{_INDENT - 5}} {text}")
    orders = Counter(tasks.orders())
    if len(orders) > 1:
        lines.append(f"running orders: {len(orders)} different; the most frequent")
        for order, count in orders.most_common(3):
            share = f"  {100 * count / len(tasks):5.1f} %  "
            lines += textwrap.wrap(" ".join(order), _WIDTH, initial_indent=share, subsequent_indent=" " * len(share))
    return Report(tuple(lines), tuple(idle), tuple(unused))


def _always_neutral(tasks: TaskBatch, name: str) -> bool:
    return bool((tasks.raw(name) == tasks.space.column(name).neutral_value).all())


def _share(name: str, count: int, total: int) -> str:
    return f"  {name:<18} {100 * count / max(total, 1):5.1f} %" + ("  never" if count == 0 else "")


def _labels(tasks: TaskBatch, name: str) -> str:
    counts = Counter(tasks.labels(name))
    total = max(sum(counts.values()), 1)
    shown = [f"{label} {100 * count / total:.0f} %" for label, count in counts.most_common()]
    for left_out in range(len(shown)):
        text = ", ".join(shown[: len(shown) - left_out]) + (f", {left_out} more" if left_out else "")
        if len(text) <= _WIDTH - _INDENT:
            break
    return text


def _numbers(values: NDArray[np.float32]) -> str:
    if len(values) == 0:
        return "its neutral value"
    low, high = float(values.min()), float(values.max())
    if low == high:
        return f"{low:g}"
    counts, _ = np.histogram(values.astype(np.float64), bins=_BINS, range=(low, high))
    levels = np.ceil(counts / counts.max() * (len(_BARS) - 1)).astype(int)
    return f"{low:<8.4g} |{''.join(_BARS[level] for level in levels)}| {high:<8.4g} mean {values.mean():.4g}"


@dataclass(frozen=True)
class DryRun:
    """What degrading cost, on one thread pool as everything else.

    Attributes:
        images, side_px: how many images of which side.
        draw_ms, degrade_ms: per image.
    """

    images: int
    side_px: int
    draw_ms: float
    degrade_ms: float


def dry_run(tasks: TaskBatch, draw_seconds: float, images: int) -> DryRun:
    """Plan all tasks for the space's crops, and run the first ones on a made-up photograph.

    Args:
        tasks: N tasks.
        draw_seconds: that drawing them took.
        images: how many to run.
    Raises:
        PydegradeError: a task cannot be planned, gives pixels that are no numbers in [0, 1], or others when it runs
            again; its address is named.
    """
    side = tasks.space.hr_px
    for begin in range(0, len(tasks), 256):
        part = tasks.take(slice(begin, begin + 256))
        sides = np.full(len(part), side, np.int32)
        make_plan(part, Layout.of_sizes(sides, sides))
    few = tasks.take(slice(0, images))
    photograph = made_up_photograph(side)
    degrade_list([photograph], few.take([0]))  # tables that are made once
    started_s = time.perf_counter()
    results = degrade_list([photograph] * len(few), few)
    seconds = time.perf_counter() - started_s
    _check_again(photograph, few, results)
    for row, image in enumerate(results):
        low, high = (float(value) for value in torch.aminmax(image))
        if not (low >= 0 and high <= 1):
            raise TaskError(f"{few.addresses[row]}: gives pixels from {low:g} to {high:g}, must lie in [0, 1]")
    return DryRun(len(few), side, 1e3 * draw_seconds / len(tasks), 1e3 * seconds / len(few))


def _check_again(photograph: torch.Tensor, tasks: TaskBatch, before: list[torch.Tensor]) -> None:
    """TaskError unless ops in plain torch give the same pixels again, one task at a time and in another order."""
    own = [slot.name for slot in tasks.space.slots if find(slot.op).apply is not None]
    if not own:
        return
    for row in reversed(range(len(tasks))):
        (again,) = degrade_list([photograph], tasks.take([row]))
        if not torch.equal(again, before[row]):
            runs = [name for name in tasks.orders()[row] if name in own and not tasks.neutral(name)[row]]
            raise TaskError(
                f"{tasks.addresses[row]}: must give the same pixels whenever it runs, gives others the second time; among "
                f"{', '.join(runs)} an op draws from something else than its words (pydegrade.ops.generator)"
            )


def made_up_photograph(side_px: int) -> torch.Tensor:
    """float32 [3, side, side]: slopes, edges, texture and a dark and a bright area, in multiples of 1/255."""
    y, x = np.mgrid[0:side_px, 0:side_px]
    slope = (x * 3 + y * 2) % 511
    slope = np.minimum(slope, 510 - slope)
    edges = np.where((x // 24 + y // 40) % 2 == 0, 40, -40)
    texture = (x * x + 3 * y * y + x * y) % 61 - 30
    levels = np.stack([slope + edges, slope + texture, 255 - slope + edges // 2])
    levels[:, : side_px // 8] = 0
    levels[:, -(side_px // 8) :] = 255
    return torch.from_numpy((np.clip(levels, 0, 255) / 255).astype(np.float32))

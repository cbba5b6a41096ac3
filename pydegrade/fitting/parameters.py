"""What is learned of a space: every column that varies, and a few quantities made of columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import PydegradeError
from ..tasks.space import Space
from ..tasks.task import TaskBatch

BINS = 20
"""Of a number's range: as many equally likely ones under the space that tasks were drawn from."""
_MOST_CLASSES = 6
_LEAST_ROWS = 40
_MID_GRAY_GAIN = float(np.sqrt(255 * 127.5) / np.sqrt(255))
"""Standard deviation in 1/255 of Poisson noise of gain 1 on mid gray: sqrt(127.5)."""

MADE_OF = {
    "level_8bit": {"sigma_8bit": 1.0, "poisson_gain": 1 / _MID_GRAY_GAIN},
    "width_px": {"sigma_x_px": 1.0, "sigma_y_px": 1.0},
}
"""By quantity that is made of columns: what each of them is of it, where it is the only one or all are alike."""


@dataclass(frozen=True)
class Parameter:
    """One quantity of a task.

    Attributes:
        name: "slot.column", or "slot.width_px" and "slot.level_8bit", which are made of columns.
        classes: texts of the values of a choice or of few numbers; empty for a number in bins.
        values: what each class or bin stands for, float64 [K]: the mean of a bin.
        edges: of the bins, float64 [K + 1]; empty for classes.
        made: whether it is made of columns, and so cannot be written into a space.
    """

    name: str
    classes: tuple[str, ...]
    values: NDArray[np.float64]
    edges: NDArray[np.float64]
    made: bool = False

    @property
    def cells(self) -> int:
        """Bins or classes, and behind them one for "has no effect"."""
        return len(self.values) + 1

    def cell_of(self, drawn: Drawn) -> NDArray[np.int64]:
        """In which of `cells` each task lies."""
        if self.classes:
            cell = np.abs(drawn.values[:, None] - self.values).argmin(axis=1)
        else:
            cell = np.clip(np.searchsorted(self.edges, drawn.values, "right") - 1, 0, len(self.values) - 1)
        return np.where(drawn.acts, cell, len(self.values))


@dataclass(frozen=True)
class Drawn:
    """Values of a parameter in N tasks: float64 [N], and where they have an effect, bool [N]."""

    values: NDArray[np.float64]
    acts: NDArray[np.bool_]


def drawn(tasks: TaskBatch, name: str) -> Drawn:
    """Values of a parameter by its name."""
    slot, _, short = name.partition(".")
    acts = np.asarray(tasks.present(slot) & ~tasks.neutral(slot))
    if short == "width_px":
        x = tasks.column(f"{slot}.sigma_x_px").astype(np.float64)
        y = np.where(tasks.mask(f"{slot}.sigma_y_px"), tasks.column(f"{slot}.sigma_y_px"), x)
        return Drawn(np.sqrt((x**2 + y**2) / 2), acts & tasks.mask(f"{slot}.sigma_x_px"))
    if short == "level_8bit":
        poisson = tasks.mask(f"{slot}.poisson_gain")
        level = np.where(
            poisson, _MID_GRAY_GAIN * tasks.column(f"{slot}.poisson_gain"), tasks.column(f"{slot}.sigma_8bit")
        )
        return Drawn(level.astype(np.float64), acts & (poisson | tasks.mask(f"{slot}.sigma_8bit")))
    own = tasks.space.op(slot).columns[0].name == short
    # The switch of a slot has an effect always: "off" is one of its values.
    mask = np.asarray(tasks.present(slot) if own else acts & tasks.mask(name))
    return Drawn(tasks.column(name).astype(np.float64), mask)


def parameters_of(tasks: TaskBatch) -> tuple[Parameter, ...]:
    """All that vary in N tasks of one space, in the order of its slots.

    Raises:
        PydegradeError: nothing varies.
    """
    space = tasks.space
    found: list[Parameter] = []
    for slot in space.slots:
        columns = [column.name for column in space.op(slot.name).columns]
        names = [f"{slot.name}.{column}" for column in columns if f"{slot.name}.{column}" in space.drawn_columns]
        if slot.op == "blur" and f"{slot.name}.sigma_x_px" in names:
            names.append(f"{slot.name}.width_px")
        if slot.op == "noise" and f"{slot.name}.sigma_8bit" in names:
            names.append(f"{slot.name}.level_8bit")
        for name in names:
            made = name.partition(".")[2] in MADE_OF
            parameter = _parameter(name, drawn(tasks, name), space, made)
            if parameter is not None:
                found.append(parameter)
    if not found:
        raise PydegradeError(f"--start: nothing varies in the tasks of {space.name}, so that nothing can be learned")
    return tuple(found)


def _parameter(name: str, values: Drawn, space: Space, made: bool) -> Parameter | None:
    here = values.values[values.acts]
    if len(here) < _LEAST_ROWS:
        return None
    different = np.unique(here)
    column = None if made else space.column(name)
    if len(different) < 2:
        return None
    if (column is not None and column.choices) or len(different) <= _MOST_CLASSES:
        texts = (
            [column.choices[int(value)] for value in different]
            if column is not None and column.choices
            else [f"{value:g}" for value in different]
        )
        return Parameter(name, tuple(texts), different, np.zeros(0))
    edges = np.unique(np.quantile(here, np.linspace(0, 1, BINS + 1)))
    cell = np.clip(np.searchsorted(edges, here, "right") - 1, 0, len(edges) - 2)
    means = np.array([here[cell == one].mean() if (cell == one).any() else np.nan for one in range(len(edges) - 1)])
    centres = (edges[1:] + edges[:-1]) / 2
    return Parameter(name, (), np.where(np.isnan(means), centres, means), edges, made)

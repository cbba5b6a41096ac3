"""Tasks from the command line: by address, or all of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TaskError
from ...tasks.space import Space
from ...tasks.task import TaskBatch


def load_tasks(source: str, space_name: str | None) -> TaskBatch:
    """One task from its address, or all tasks of a file.

    Raises:
        TaskError: neither, or a file without tasks.
    """
    if "@" in source and not Path(source).exists():
        return TaskBatch.from_addresses([source], **({} if space_name is None else {"space": Space.load(space_name)}))
    if not Path(source).is_file():
        raise TaskError(f"a task must be an address (space@digest/sSEED/iINDEX) or a file of tasks, got {source!r}")
    tasks = TaskBatch.load(source, None if space_name is None else Space.load(space_name))
    if len(tasks) == 0:
        raise TaskError(f"{source}: holds no task")
    return tasks


def task_object(tasks: TaskBatch, row: int) -> dict[str, Any]:
    """A task as plain values for JSON."""
    one = tasks.take([row])
    slots = [slot.name for slot in tasks.space.slots]
    return {
        "address": one.addresses[0],
        "fingerprint": f"{int(one.fingerprints()[0]):016x}",
        "space": tasks.space.name,
        "digest": tasks.space.digest,
        "scale": tasks.space.scale,
        "order": [slots[slot] for slot in one.program[0].tolist() if slot >= 0],
        "columns": {name: _plain(one.labels(name)[0]) for name in tasks.columns},
    }


def _plain(value: Any) -> Any:
    """A NumPy value as JSON knows it; float32 as the shortest decimal that gives it back."""
    if isinstance(value, np.floating):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value

"""Tasks and spaces from the command line: by address or name, of a file, or of the folder that `degrade sample` filled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ...errors import SpaceError, TaskError
from ...files.card import is_card, read_card
from ...tasks.sampler import sample
from ...tasks.space import Space
from ...tasks.task import TaskBatch

TASKS = "tasks.npz"
"""What holds the tasks of a run of `degrade sample`, and their space."""


def load_space(name: str) -> Space:
    """A preset, a TOML file, or the space of a card or of a folder that `degrade sample` filled."""
    if Path(name).is_dir() and (Path(name) / TASKS).is_file():
        return TaskBatch.load(Path(name) / TASKS).space
    if is_card(Path(name)):
        return read_card(Path(name)).tasks.space
    return Space.load(name)


def load_tasks(source: str, space_name: str | None) -> TaskBatch:
    """One task from its address, all tasks of a file or a card, or those of a folder that `degrade sample` filled.

    An address of a space that is no preset finds it in the folder where `degrade sample` writes by itself.

    Raises:
        TaskError: neither, or a file without tasks.
    """
    if "@" in source and not Path(source).exists():
        return _of_address(source, space_name)
    path = Path(source) / TASKS if Path(source).is_dir() else Path(source)
    if not path.is_file():
        raise TaskError(
            f"a task must be an address (space@digest/sSEED/iINDEX), a file of tasks or a folder with {TASKS}, got "
            f"{source!r}"
        )
    if is_card(path):
        return read_card(path).tasks
    tasks = TaskBatch.load(path, None if space_name is None else load_space(space_name))
    if len(tasks) == 0:
        raise TaskError(f"{source}: holds no task")
    return tasks


def holds_tasks(source: str) -> bool:
    """Whether a source of `tasks_of_images` holds tasks, with seeds of their own; a space draws them."""
    path = Path(source)
    is_address = "@" in source and not path.exists()
    return is_address or path.is_dir() or path.suffix.lower() in (".npz", ".csv") or is_card(path)


def tasks_of_images(source: str, count: int, seed: int, space_name: str | None = None) -> TaskBatch:
    """A task for each of `count` images.

    Args:
        source: a card, a file of tasks or the folder of `degrade sample`, whose first tasks are taken; or a space, which
            draws them.
        count: how many.
        seed: of what is drawn; a source that holds tasks has seeds of its own.
        space_name: of a table of tasks, as for `load_tasks`.
    Raises:
        TaskError: fewer tasks than images, or no source of tasks.
    """
    if not holds_tasks(source):
        return sample(Space.load(source), seed, range(count))
    tasks = load_tasks(source, space_name)
    if len(tasks) < count:
        raise TaskError(f"--tasks: must hold a task for each of {count} images, got {len(tasks)} of {source}")
    return tasks.take(slice(0, count))


def _of_address(source: str, space_name: str | None) -> TaskBatch:
    if space_name is not None:
        return TaskBatch.from_addresses([source], space=load_space(space_name))
    try:
        return TaskBatch.from_addresses([source])
    except (SpaceError, TaskError):
        usual = re.fullmatch(r"([\w.-]+)@[0-9a-f]+/s(\d{1,19})/.*", source)
        folder = Path("out") / f"{usual[1]}-s{usual[2]}" if usual else None
        if folder is None or not (folder / TASKS).is_file():
            raise
        return TaskBatch.from_addresses([source], space=load_space(str(folder)))


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
        "columns": {name: _plain(one, name) for name in tasks.columns},
    }


def _plain(task: TaskBatch, name: str) -> Any:
    """A column of one task as JSON knows it: names for choices, numbers by the shortest decimal that gives them back."""
    text = task.labels(name)[0]
    column = task.space.column(name)
    if column.choices:
        return text
    return int(text) if column.integer else float(text)

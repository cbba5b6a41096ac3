"""What the files of a space's slots hold: found and read, named by their content, packed into task files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PydegradeError, SpaceError, shown
from ..ops.pool import KEY, MOST, Files, Pool
from .space_text import Document, Item

_BY_CONTENT = re.compile(r"sha256:[0-9a-f]{64}")
VALUES, SHAPES = "pool:", "pool_shapes:"
"""Members of a task file, each with the pool's name behind it."""


def given(arrays: Mapping[str, Sequence[NDArray[Any]]]) -> dict[str, Pool]:
    """Pools by the names that a space has for them; a name that is a hash must be that of the content."""
    pools = {name: Pool.of(values) for name, values in arrays.items()}
    for name, pool in pools.items():
        if _BY_CONTENT.fullmatch(name) and pool.name != name:
            raise SpaceError(f"pools: {name[:15]}... holds something else, of hash {pool.name[:15]}...")
    return pools


def pool_of(item: Item, files: Files, known: Mapping[str, Pool], seen: Callable[[Path], None]) -> Pool:
    """What the value of a key `files` names: given pools, files, and folders, of which all files with a fitting ending.

    Args:
        item: a name or a list of names; files lie in the folder of the text that names them, or below.
        files: how they are read.
        known: pools that are given by name.
        seen: is told every file and folder that was looked at.
    Raises:
        SpaceError: with file and line.
    """
    names = item.value if isinstance(item.value, list) else [item.value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise item.error(f"files must be a file, a folder or a list of them, got {shown(item.value)}")
    arrays: list[NDArray[Any]] = []
    for name in names:
        try:
            if name in known:
                arrays += [
                    files.check(values, f"{shown(name)[:20]}, {place + 1}")
                    for place, values in enumerate(known[name].arrays)
                ]
                continue
            for path in _paths(item, name, files, seen):
                arrays += files.read(path)
                if len(arrays) > MOST:
                    break
        except SpaceError:
            raise
        except PydegradeError as error:
            raise item.error(f"files: {error}") from None
    if not 1 <= len(arrays) <= MOST:
        raise item.error(f"files: expected 1 to {MOST} in {shown(item.value)}, got {len(arrays)}{'+' * bool(arrays)}")
    return Pool.of(arrays)


def _paths(item: Item, name: str, files: Files, seen: Callable[[Path], None]) -> list[Path]:
    """A file, or those of a folder in the order of their names."""
    folder = item.source.folder
    if _BY_CONTENT.fullmatch(name):
        raise item.error(
            f"files: {name[:15]}... is the hash of what the files of a space held and is not given; tasks.npz and cards "
            "hold it, Space.loads takes pools="
        )
    if folder is None:
        raise item.error(
            f"files: {shown(name)} is not given; only a space in a file names files, Space.loads takes pools="
        )
    root, path = folder.resolve(), folder / name

    def inside(one: Path) -> bool:
        return one.resolve().is_relative_to(root)

    if "\0" in name or not inside(path):
        raise item.error(f"files: a space may name files in its own folder or below, got {shown(name)}")
    seen(path)
    try:
        if not path.is_dir():
            return [path]
        found = sorted(one for one in path.iterdir() if one.suffix.lower() in files.endings)
    except OSError as error:
        raise item.error(f"files: {shown(name)}: cannot be read: {error.strerror}") from None
    for one in found[: MOST + 1]:
        if not inside(one):
            raise item.error(f"files: {shown(str(Path(name) / one.name))} leads out of the folder of the space")
        seen(one)
    return found[: MOST + 1]


def by_content(document: Document, names: Mapping[str, str]) -> Document:
    """A space's tables with the files of some slots named by the hash of what they hold."""
    if not names:
        return document
    tables = tuple(
        replace(table, keys={**table.keys, KEY: replace(table.keys[KEY], value=names[table.name])})
        if table.name in names
        else table
        for table in document.slots
    )
    return replace(document, slots=tables, derived=True)


# ---- In task files


def packed(pools: Mapping[str, Sequence[NDArray[np.float32]]]) -> dict[str, NDArray[Any]]:
    """Members of a task file: of each pool all values one after the other, and int32 [N, 2] shapes."""
    members: dict[str, NDArray[Any]] = {}
    for name, arrays in pools.items():
        members[VALUES + name] = np.concatenate([values.ravel() for values in arrays])
        members[SHAPES + name] = np.array([values.shape for values in arrays], np.int32)
    return members


def unpacked(members: Mapping[str, NDArray[Any]]) -> dict[str, list[NDArray[np.float32]]]:
    """Pools of a task file, by name.

    Raises:
        SpaceError: shapes and values that do not go together.
    """
    pools = {}
    for key, values in members.items():
        if not key.startswith(VALUES):
            continue
        name = key.removeprefix(VALUES)
        shapes = members.get(SHAPES + name)
        good = (
            shapes is not None
            and shapes.dtype == np.int32
            and shapes.ndim == 2
            and shapes.shape[1] == 2
            and len(shapes) <= MOST
            and bool((shapes >= 1).all())
        )
        if shapes is None or not good or values.dtype != np.float32 or values.ndim != 1:
            raise SpaceError(f"{shown(key)} must be float32 values with int32 [N, 2] shapes")
        # In floating point, where no product of sides comes round to a small number.
        if shapes.prod(axis=1, dtype=np.float64).sum() != len(values) or not len(values):
            raise SpaceError(f"{shown(key)}: values do not fit their shapes")
        if not np.isfinite(values).all():
            raise SpaceError(f"{shown(key)}: must be finite")
        ends = np.cumsum(shapes.prod(axis=1, dtype=np.int64))
        parts = np.split(values, ends[:-1])
        pools[name] = [part.reshape(shape) for part, shape in zip(parts, shapes.tolist())]
    return pools

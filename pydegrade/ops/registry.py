"""Which ops there are: those of the package, and those that others register from their own code."""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OpError, shown
from ..native import binding
from .declaration import Column, Op
from .pool import KEY

PLUGINS = "PYDEGRADE_PLUGINS"
"""Environment variable: Python files or modules, separated by os.pathsep, that register ops when they are imported."""

_WORD = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = ("name", "op", "before", "after", "without", KEY)
"""Keys of a slot that are no columns."""
_ops: dict[str, Op] = {}
_plugins_loaded = False
_registrations = 0


def register(op: Op, replace: bool = False) -> Op:
    """Make an op known to spaces, tasks, engine and commands.

    Args:
        op: its declaration; with `apply`, a function in plain torch (see `Op`), unless the compiled module has the op.
        replace: take the place of an op in plain torch of the same name, as a notebook's cell does that runs again. Spaces
            read it from then on; raise `op.version` when its pixels change, so that addresses from before are refused.
    Returns:
        The op itself, so that `OP = register(Op(...))` reads well.
    Raises:
        OpError: a name that is taken or no word, a column that contradicts itself, nothing that runs it. One line.
    """
    _check(op)
    known = _ops.get(op.name)
    if known is not None and known is not op and (not replace or known.apply is None):
        hint = "; register(..., replace=True) takes its place" if known.apply is not None else ""
        raise OpError(f"op {op.name!r}: the name is taken{hint}")
    _ops[op.name] = op
    note_registration()
    return op


def registrations() -> int:
    """How many ops and kinds of distributions have been registered: what was made of a space under another number is out of
    date."""
    return _registrations


def note_registration() -> None:
    """Make `registrations` a number that it has not been."""
    global _registrations
    _registrations += 1


def find(name: str) -> Op:
    """The op of that name; KeyError if there is none. Plugins are imported when the package has none of that name."""
    if name not in _ops:
        load_plugins()
    return _ops[name]


def names() -> list[str]:
    """Names of all ops, the package's first, then those of plugins."""
    load_plugins()
    return list(_ops)


def load_plugins() -> None:
    """Import what other distributions declare under the entry point group "pydegrade.ops", and what PYDEGRADE_PLUGINS
    names; once per process.

    Raises:
        OpError: a plugin that cannot be imported or registers something wrong, with its name. One line.
    """
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    for point in entry_points(group="pydegrade.ops"):
        _load(f"entry point {point.name} = {point.value}", point)
    for source in filter(None, os.environ.get(PLUGINS, "").split(os.pathsep)):
        _load(f"{PLUGINS}: {source}", source)


def _load(where: str, source: EntryPoint | str) -> None:
    try:
        if isinstance(source, EntryPoint):
            found = source.load()
            # An entry point may also name the declaration itself.
            if isinstance(found, Op) and found.name not in _ops:
                register(found)
        elif source.endswith(".py"):
            _import_file(Path(source))
        else:
            importlib.import_module(source)
    except Exception as error:
        text = " ".join(str(error).split()) or "no message"
        raise OpError(f"{where}: cannot be loaded: {type(error).__name__}: {text[:300]}") from error


def _import_file(path: Path) -> None:
    """Import a file as `import` would, once: a script may also import the file itself, before or after, or be it."""
    modules = list(sys.modules.values())
    if any(os.path.realpath(getattr(module, "__file__", None) or "") == os.path.realpath(path) for module in modules):
        return
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    added = sys.modules.setdefault(path.stem, module) is module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if added:
            del sys.modules[path.stem]
        raise


def _check(op: Op) -> None:
    if not isinstance(op, Op):
        raise OpError(f"register: expected an Op, got {type(op).__name__}")
    where = f"op {op.name!r}"
    if not isinstance(op.name, str) or not _WORD.fullmatch(op.name):
        raise OpError(f"{where}: name must be a word in lower case, got {op.name!r}")
    if not isinstance(op.version, int) or op.version < 1:
        raise OpError(f"{where}: version must be a whole number >= 1, got {op.version!r}")
    if op.apply is not None and not callable(op.apply):
        raise OpError(f"{where}: apply must be a function, got {shown(op.apply)}")
    if op.apply is None and op.name not in binding.OPS:
        raise OpError(
            f"{where}: expected apply, a function; without it are the ops of csrc/ops/list.h, {', '.join(binding.OPS)}"
        )
    if op.library is not None and not callable(op.library):
        raise OpError(f"{where}: library must be a function that gives a name and version, got {op.library!r}")
    if not op.columns:
        raise OpError(f"{where}: expected at least one column, got none")
    seen: set[str] = set()
    if op.switch and op.switch not in [column.name for column in op.columns if isinstance(column, Column)]:
        raise OpError(f"{where}: switch must be one of its columns, got {op.switch!r}")
    for column in op.columns:
        if not isinstance(column, Column):
            raise OpError(f"{where}: columns must be Column, got {type(column).__name__}")
        if not isinstance(column.name, str) or not _WORD.fullmatch(column.name) or column.name in _RESERVED:
            taken = ", ".join(_RESERVED)
            raise OpError(f"{where}: a column's name must be a word other than {taken}, got {column.name!r}")
        if column.name in seen:
            raise OpError(f"{where}: column {column.name!r} is declared twice")
        seen.add(column.name)
        _check_values(f"{where}: column {column.name!r}", column)
    if op.apply is None and [(c.name, c.dtype.name) for c in op.columns] != list(binding.COLUMNS[op.name]):
        raise OpError(f"{where}: columns must be those of its plan.cpp, {dict(binding.COLUMNS[op.name])}")
    _check_answers(where, op)


def _check_answers(where: str, op: Op) -> None:
    """Whether the declaration's functions answer for two rows of neutral columns as they must for any."""
    columns = {column.name: np.full(2, column.neutral_value, column.dtype) for column in op.columns}
    sides = (np.full(2, 8, np.int64),) * 4

    def answer(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            text = " ".join(str(error).split())[:200]
            raise OpError(
                f"{where}: {name} fails on two rows of neutral columns: {type(error).__name__}: {text}"
            ) from error

    def is_rows(values: Any) -> bool:
        return np.shape(values) == (2,) and np.asarray(values).dtype == np.bool_

    if not is_rows(answer("neutral", op.neutral, columns)):
        raise OpError(f"{where}: neutral must give bool [N]")
    active = answer("active", op.active, columns)
    known = {column.name for column in op.columns}
    if not isinstance(active, Mapping) or not set(active) <= known or not all(map(is_rows, active.values())):
        raise OpError(f"{where}: active must give bool [N] by names of its columns, {', '.join(sorted(known))}")
    if op.out_size is not None:
        found = answer("out_size", op.out_size, columns, *sides)
        if not isinstance(found, tuple) or [np.shape(side) for side in found] != [(2,), (2,)]:
            raise OpError(f"{where}: out_size must give (height, width), [N] each")
    for name in ("idle", "nothing_at_equal_size"):
        function = getattr(op, name)
        if function is not None and not is_rows(answer(name, function, columns)):
            raise OpError(f"{where}: {name} must give bool [N]")


def _check_values(where: str, column: Column) -> None:
    if column.choices:
        if not all(isinstance(choice, str) and choice for choice in column.choices):
            raise OpError(f"{where}: choices must be names, got {column.choices!r}")
        if len(set(column.choices)) != len(column.choices) or column.neutral not in column.choices:
            raise OpError(f"{where}: neutral must be one of its different choices, got {column.neutral!r}")
        return
    low, high, neutral = column.low, column.high, column.neutral
    if isinstance(neutral, str) or not all(_is_finite(value) for value in (low, high, neutral)):
        raise OpError(f"{where}: low, high and neutral must be finite numbers, got {(low, high, neutral)!r}")
    if not low < high:
        raise OpError(f"{where}: low must be below high, got {low!r} and {high!r}")
    if not low <= neutral <= high:
        raise OpError(f"{where}: neutral must lie in [{low:g}, {high:g}], got {neutral!r}")
    if column.integer and neutral != int(neutral):
        raise OpError(f"{where}: neutral must be a whole number, got {neutral!r}")


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)

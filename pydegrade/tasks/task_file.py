"""Task files: rows of parameters with their space in an .npz, and tables of tasks as CSV. They may come from anywhere."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError, TaskError, shown
from ..ops.declaration import Column
from . import pools
from .address import MAX_FRAMES
from .rows import Rows, gated, resolved, together
from .space import Space

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERSION = 3
"""Version 1 has no steps, version 2 no frames."""

NUMBERS = ("seeds", "indices", "noise_indices", "steps", "frames")
_SINCE = {"steps": 2, "frames": 3}
_MAX_MEMBERS = 20_000
_MAX_UNPACKED_BYTES = 256 * 2**20
"""Of files whose members are compressed, which ours are not."""

_MAX_CELL_LETTERS = 20_000


def save(path: str | Path, rows: Rows, numbers: Mapping[str, NDArray[np.int64]]) -> None:
    """Write an .npz file that holds everything, the space included; no pickle."""
    space = rows.space
    meta = {"version": VERSION, "space": space.name, "digest": space.digest}
    arrays: dict[str, Any] = {
        "meta": np.array(json.dumps(meta)),
        "space_toml": np.array(space.to_toml()),
        "component_names": np.array([part.name for part in space.components], dtype=np.str_),
        "component_toml": np.array([part.to_toml() for part in space.components], dtype=np.str_),
        **pools.packed(space.pools),
        **{name: numbers[name] for name in NUMBERS},
        "component": rows.component,
        "program": rows.program,
    }
    arrays |= {f"column:{name}": values for name, values in rows.columns.items()}
    # An open file, because np.savez appends ".npz" to names.
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def load(path: str | Path) -> tuple[Rows, dict[str, NDArray[np.int64]]]:
    """Rows and numbers of what `save` wrote, also by earlier versions.

    Raises:
        TaskError: no task file, damaged, or of a space that no longer has the digest it was written with.
    """
    arrays = _read(Path(path))
    meta = _json(_text(arrays, "meta", path), path)
    if meta.get("version") not in range(1, VERSION + 1):
        raise TaskError(
            f"{path}: expected a task file of version 1 to {VERSION}, got {shown(meta.get('version'))}; it was written "
            "by another version of pydegrade"
        )
    text = _text(arrays, "space_toml", path)
    try:
        space = Space.loads(text, _components(arrays, text, path), pools.unpacked(arrays))
    except SpaceError as error:
        raise TaskError(f"{path}: {error}") from None
    if meta.get("digest") != space.digest:
        raise TaskError(
            f"{path}: expected digest {space.digest[:8]}, got {shown(str(meta.get('digest'))[:8])}: {space.changed()}"
        )
    return _checked(space, arrays, str(path), meta["version"])


# ---- Bytes to arrays


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file, with sizes looked at before memory is taken."""

    def fail(message: str) -> TaskError:
        return TaskError(f"{path}: not a readable task file ({message})")

    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise fail("no regular file")
        if not zipfile.is_zipfile(path):
            raise fail("no .npz archive")
        arrays = {}
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise fail(f"{len(members)} members")
            unpacked = sum(member.file_size for member in members)
            if unpacked > max(_MAX_UNPACKED_BYTES, status.st_size):
                raise fail(f"{status.st_size} bytes that unpack to {unpacked}")
            for member in members:
                if member.flag_bits & 1:
                    raise fail(f"{shown(member.filename)} is encrypted")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise fail(f"{shown(member.filename)} is packed in an unknown way")
                with archive.open(member) as file:
                    raw = file.read(member.file_size + 1)
                arrays[member.filename.removesuffix(".npy")] = _array(raw)
        return arrays
    except FileNotFoundError:
        raise TaskError(f"{path}: no such task file") from None
    except TaskError:
        raise
    # What NumPy's header parser and zipfile raise for damaged bytes, RuntimeError and NotImplementedError among them.
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        SyntaxError,
        RuntimeError,
        zipfile.BadZipFile,
        MemoryError,
    ) as error:
        raise fail(type(error).__name__) from None
    except Exception as error:
        # zlib.error has no base of its own, and tokenize raises what it stumbles over.
        raise fail(type(error).__name__) from None


def _array(raw: bytes) -> NDArray[Any]:
    """The array of an .npy file."""
    file = io.BytesIO(raw)
    version = np.lib.format.read_magic(file)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if reader is None:
        # NumPy writes 3.0 only for names of fields that are no Latin letters.
        raise ValueError(f"version {version}")
    shape, fortran, dtype = reader(file)
    if dtype.hasobject or dtype.kind not in "iufU" or (fortran and len(shape) > 1):
        raise ValueError(f"dtype {dtype}")
    count = 1
    for side in shape:
        count *= side
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(raw) - file.tell():
        raise ValueError(f"shape {shape}")
    return np.frombuffer(raw, dtype, count, file.tell()).reshape(shape)


def _text(arrays: Mapping[str, NDArray[Any]], name: str, path: str | Path) -> str:
    array = arrays.get(name)
    if array is None or array.dtype.kind != "U" or array.shape != ():
        got = "nothing" if array is None else f"{array.dtype} {array.shape}"
        raise TaskError(f"{path}: not a readable task file ({name} must be a text, got {got[:60]})")
    return str(array[()])


def _json(text: str, path: str | Path) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise TaskError(f"{path}: not a readable task file (meta must be a JSON object)")
    return meta


def _components(arrays: Mapping[str, NDArray[Any]], text: str, path: str | Path) -> dict[str, str]:
    """TOML of a mixture's spaces by name. Version 1 has them in order, under names that the mixture may not use."""
    names, tomls = arrays.get("component_names"), arrays.get("component_toml")
    for array in (names, tomls):
        if array is None or array.ndim != 1 or (array.size and array.dtype.kind != "U"):
            raise TaskError(f"{path}: not a readable task file (component_names and component_toml must be lists)")
    assert names is not None
    assert tomls is not None
    found = dict(zip(map(str, names.tolist()), map(str, tomls.tolist())))
    try:
        asked = tomllib.loads(text)["mixture"]["spaces"]
        found |= {name: toml for name, toml in zip(asked, map(str, tomls.tolist())) if isinstance(name, str)}
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # no mixture, or one that is refused with its place when it is read
    return found


# ---- Arrays to rows


def _checked(
    space: Space, arrays: Mapping[str, NDArray[Any]], path: str, version: int
) -> tuple[Rows, dict[str, NDArray[np.int64]]]:
    def get(name: str, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        array = arrays.get(name)
        if array is None or array.dtype != dtype or array.shape != shape:
            got = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise TaskError(f"{path}: {name} must be {np.dtype(dtype)} {shape}, got {got}")
        return np.array(array, dtype, order="C")

    count = len(arrays["indices"]) if "indices" in arrays and arrays["indices"].ndim == 1 else 0
    columns = {}
    for key in arrays:
        if key.startswith("column:"):
            name = key.removeprefix("column:")
            try:
                column = space.column(name)
            except SpaceError as error:
                raise TaskError(f"{path}: {error}") from None
            columns[name] = _in_range(column, get(key, column.dtype, (count,)), f"{path}: {name}")
    missing = space.drawn_columns - columns.keys()
    if missing:
        raise TaskError(f"{path}: the column {min(missing)} is missing")
    program = get("program", np.int8, (count, len(space.slots)))
    component = get("component", np.int32, (count,))
    if program.size and not (program.min() >= -1 and program.max() < len(space.slots)):
        raise TaskError(f"{path}: program must hold slot numbers in -1..{len(space.slots) - 1}, got {program.max()}")
    if component.size and not (component.min() >= 0 and component.max() < max(1, len(space.components))):
        raise TaskError(f"{path}: component out of range, got {component.max()}")
    lined = np.sort(program, axis=1)
    if ((lined[:, 1:] == lined[:, :-1]) & (lined[:, 1:] >= 0)).any():
        raise TaskError(f"{path}: program must name every slot at most once")
    if ((program[:, 1:] >= 0) & (program[:, :-1] < 0)).any():
        raise TaskError(f"{path}: program must have its absent slots (-1) at the end")
    numbers = {name: get(name, np.int64, (count,)) for name in NUMBERS if version >= _SINCE.get(name, 1)}
    for name in NUMBERS:
        numbers.setdefault(name, np.zeros(count, np.int64))
    if count and min(int(values.min()) for values in numbers.values()) < 0:
        raise TaskError(f"{path}: seeds, indices, steps and frames must be >= 0")
    if count and int(numbers["frames"].max()) >= MAX_FRAMES:
        raise TaskError(f"{path}: frames must be below {MAX_FRAMES}, got {numbers['frames'].max()}")
    rows = Rows(space, component, columns, program)
    if (gated(rows).program != program).any():
        raise TaskError(f"{path}: program names a slot whose gate is closed")
    return together(resolved(rows), f"{path}: "), numbers


def _in_range(column: Column, values: NDArray[Any], label: str) -> NDArray[Any]:
    low, high = column.limits
    good = ((values >= low) & (values <= high)) | (values == column.neutral_value)
    if column.name == "size_px":
        good &= values % 2 == 1
    if not good.all():
        row = int(np.argmin(good))
        raise TaskError(f"{label} must lie in [{low:g}, {high:g}], got {values[row]:g} at row {row}")
    return values


# ---- CSV


def write_csv(path: str | Path, rows: Rows, addresses: Sequence[str], marks: NDArray[np.uint64]) -> None:
    """One row per task: address, fingerprint and every column, names for choices."""
    columns = {name: rows.labels(name) for name in rows.columns}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["address", "fingerprint", *columns])
        for row, (address, mark) in enumerate(zip(addresses, marks.tolist())):
            writer.writerow([address, f"{mark:016x}", *(texts[row] for texts in columns.values())])


def read_csv(path: str | Path) -> tuple[list[str], list[str]]:
    """(addresses, fingerprints) of a CSV file with a column `address`; no fingerprints where it has no such column.

    Raises:
        TaskError: no regular file, no text, no such column, or no row.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise TaskError(f"{path}: not a readable task file (no regular file)")
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(_short_lines(file, path))
            header = next(reader, [])
            if "address" not in header:
                raise TaskError(f"{path}: expected a column 'address', got {shown(header)}")
            at = header.index("address")
            mark = header.index("fingerprint") if "fingerprint" in header else None
            table = [row for row in reader if row]
    except FileNotFoundError:
        raise TaskError(f"{path}: no such task file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TaskError(f"{path}: not a readable table of tasks ({type(error).__name__})") from None
    short = next((number for number, row in enumerate(table) if len(row) != len(header)), None)
    if short is not None:
        raise TaskError(f"{path}: row {short + 1} has {len(table[short])} cells, expected {len(header)}")
    if not table:
        raise TaskError(f"{path}: holds no task")
    return [row[at] for row in table], [] if mark is None else [row[mark] for row in table]


def _short_lines(file: io.TextIOBase | Any, path: str | Path) -> Any:
    """Lines of a file, none of which may take all memory."""
    while True:
        line = file.readline(64 * _MAX_CELL_LETTERS)
        if not line:
            return
        if len(line) >= 64 * _MAX_CELL_LETTERS:
            raise TaskError(f"{path}: not a readable table of tasks (a line of more than {len(line) - 1} letters)")
        yield line

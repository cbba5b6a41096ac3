"""Tasks: rows of parameters with stable addresses, as one struct of arrays."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SpaceError, TaskError
from ..native import rng
from ..ops.declaration import BoolArray, Column
from ..ops.registry import find
from . import vectors
from .drawing import draw
from .space import Space, preset_names

_ADDRESS = re.compile(
    r"(?P<space>[^@/\s]+)@(?P<digest>[0-9a-f]{8})/s(?P<seed>\d+)/i(?P<index>\d+)(?:/n(?P<noise>\d+))?"
)
_FILE_VERSION = 1


@dataclass(frozen=True)
class TaskBatch:
    """B tasks of one space.

    Attributes:
        space: where they come from.
        seeds: int64 [B].
        indices: int64 [B], sample numbers.
        noise_indices: int64 [B]; they choose the noise field, by default the sample number itself.
        component: int32 [B], which space of a mixture, else 0.
        columns: by full name "slot.column", [B] each: int32 codes for choices and whole numbers, float32 otherwise. Where
            a column has no effect (see `mask`) it holds its neutral value.
        program: int8 [B, K], slot numbers in running order, -1 = absent.
    """

    space: Space
    seeds: NDArray[np.int64]
    indices: NDArray[np.int64]
    noise_indices: NDArray[np.int64]
    component: NDArray[np.int32]
    columns: Mapping[str, NDArray[Any]]
    program: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.indices)

    # ---- Columns

    def column(self, name: str) -> NDArray[Any]:
        """Values of "slot.column", [B]; the neutral value where the space does not draw it."""
        if name in self.columns:
            return self.columns[name]
        column = self.space.column(name)
        return np.full(len(self), column.neutral_value, column.dtype)

    def labels(self, name: str) -> list[str]:
        """Values of a column as text; names for choices."""
        column, values = self.space.column(name), self.column(name)
        if column.choices:
            return [column.choices[code] for code in values.tolist()]
        return [_number(value) for value in values]

    def mask(self, name: str) -> BoolArray:
        """Where a column has an effect, bool [B]."""
        slot, _, short = name.partition(".")
        self.space.column(name)
        return _masks(self._slot_columns(slot), self.space, slot, self._present(slot))[short]

    def raw(self, name: str) -> NDArray[Any]:
        """What was drawn for a column, also where it has no effect. Draws again from the seeds, so it knows nothing of
        values changed by `replace`."""
        column = self.space.column(name)
        out = np.full(len(self), column.neutral_value, column.dtype)
        for seed in np.unique(self.seeds):
            rows = np.nonzero(self.seeds == seed)[0]
            drawn = draw(self.space, int(seed), np.ascontiguousarray(self.indices[rows])).columns
            if name in drawn:
                out[rows] = drawn[name]
        return out

    def replace(self, **changes: ArrayLike | str) -> TaskBatch:
        """The same tasks with other values, e.g. `tasks.replace(**{"blur1.sigma_x_px": 2.5})`.

        Args:
            changes: by full name; one value for all rows or [B] values; names for choices.
        Raises:
            SpaceError: unknown slot or column. TaskError: a value out of range, or of the wrong count.
        """
        columns = dict(self.columns)
        for name, value in changes.items():
            columns[name] = _checked(self.space.column(name), name, value, len(self))
        return _resolved(replace(self, columns=columns))

    def _slot_columns(self, slot: str) -> dict[str, NDArray[Any]]:
        return {column.name: self.column(f"{slot}.{column.name}") for column in self.space.op(slot).columns}

    def _present(self, slot: str) -> BoolArray:
        number = [candidate.name for candidate in self.space.slots].index(slot)
        return np.asarray((self.program == number).any(axis=1))

    # ---- Rows

    def take(self, rows: ArrayLike | slice) -> TaskBatch:
        """Some of the tasks: positions, a slice or a mask."""
        chosen: Any = rows if isinstance(rows, slice) else np.asarray(rows)
        if not isinstance(chosen, slice) and chosen.size == 0:
            chosen = chosen.astype(np.int64)
        return replace(
            self,
            seeds=self.seeds[chosen],
            indices=self.indices[chosen],
            noise_indices=self.noise_indices[chosen],
            component=self.component[chosen],
            columns={name: values[chosen] for name, values in self.columns.items()},
            program=self.program[chosen],
        )

    @staticmethod
    def concat(batches: Sequence[TaskBatch]) -> TaskBatch:
        """Tasks of several batches of one space, one after the other."""
        if not batches:
            raise TaskError("concat: expected at least one batch, got none")
        space = batches[0].space
        for other in batches[1:]:
            if other.space != space:
                raise TaskError(f"concat: tasks must come from one space, got {space.name!r} and {other.space.name!r}")
        names = {name: None for batch in batches for name in batch.columns}
        return TaskBatch(
            space,
            np.concatenate([batch.seeds for batch in batches]),
            np.concatenate([batch.indices for batch in batches]),
            np.concatenate([batch.noise_indices for batch in batches]),
            np.concatenate([batch.component for batch in batches]),
            {name: np.concatenate([batch.column(name) for batch in batches]) for name in names},
            np.concatenate([batch.program for batch in batches]),
        )

    def with_noise(self, noise_indices: ArrayLike) -> TaskBatch:
        """The same tasks with the noise fields of other numbers, one for all or [B]; for one task on many images."""
        numbers = rng.check_indices(noise_indices, "noise_indices")
        if len(numbers) not in (1, len(self)):
            raise TaskError(f"with_noise: expected 1 or {len(self)} numbers, got {len(numbers)}")
        return replace(self, noise_indices=np.ascontiguousarray(np.broadcast_to(numbers, len(self))))

    # ---- Identity

    def redrawn(self, space: Space) -> TaskBatch:
        """Tasks of another space at the same seeds, indices and noise indices."""
        return draw_tasks(space, self.seeds, self.indices, self.noise_indices)

    @property
    def addresses(self) -> list[str]:
        """Texts that rebuild the tasks: space@digest/s<seed>/i<index>, and /n<noise index> where it differs."""
        stem = f"{self.space.name}@{self.space.digest[:8]}"
        rows = zip(self.seeds.tolist(), self.indices.tolist(), self.noise_indices.tolist())
        return [f"{stem}/s{seed}/i{index}" + ("" if noise == index else f"/n{noise}") for seed, index, noise in rows]

    def image_keys(self) -> NDArray[np.uint32]:
        """Philox words of each image, uint32 [B, 4] (rng.py)."""
        return rng.image_keys(self.seeds, self.indices, self.noise_indices)

    def fingerprints(self) -> NDArray[np.uint64]:
        """uint64 [B]: hash of what each task does. Equal rows have equal fingerprints, however they were drawn; the noise
        field and columns without effect do not count."""
        total = np.zeros(len(self), np.uint64)
        rank = np.zeros(len(self), np.uint64)
        working = {slot.name: self._present(slot.name) & ~self._neutral(slot.name) for slot in self.space.slots}
        for slot in self.space.slots:
            masks = _masks(self._slot_columns(slot.name), self.space, slot.name, working[slot.name])
            for column in find(slot.op).columns:
                name = f"{slot.name}.{column.name}"
                values = self.column(name)
                counts = masks[column.name] & (values != column.neutral_value)
                if not counts.any():
                    continue
                bits = (values if values.dtype == np.int32 else (values + np.float32(0)).view(np.int32)).view(np.uint32)
                term = _mix(_mix(bits.astype(np.uint64)) + np.uint64(rng.hash64(name)))
                total += np.where(counts, term, np.uint64(0))
        for place in range(self.program.shape[1]):
            for number, slot in enumerate(self.space.slots):
                here = (self.program[:, place] == number) & working[slot.name]
                if not here.any():
                    continue
                term = _mix(np.uint64(rng.hash64(slot.name)) + _mix(rank + np.uint64(1)))
                total += np.where(here, term, np.uint64(0))
                rank += here.astype(np.uint64)
        return total

    def _neutral(self, slot: str) -> BoolArray:
        return self.space.op(slot).neutral(self._slot_columns(slot))

    def describe(self, row: int) -> str:
        """A readable account of one task: address, running order and every parameter that has an effect."""
        task = self.take([row])
        names = [slot.name for slot in task.space.slots]
        lines = [
            task.addresses[0],
            f"  space        {task.space.name} (digest {task.space.digest[:8]}), x{task.space.scale}",
            f"  fingerprint  {int(task.fingerprints()[0]):016x}",
        ]
        if task.space.components:
            lines.append(f"  component    {task.space.components[int(task.component[0])].name}")
        for number in task.program[0]:
            if number < 0:
                continue
            slot = names[number]
            op = task.space.op(slot)
            if bool(task._neutral(slot)[0]):
                lines.append(f"  {slot:<12} off")
                continue
            parts = [
                f"{column.name} {task.labels(f'{slot}.{column.name}')[0]}"
                for column in op.columns
                if bool(task.mask(f"{slot}.{column.name}")[0])
                and (f"{slot}.{column.name}" in task.columns or column.choices)
            ]
            lines.append(f"  {slot:<12} {op.name}: {', '.join(parts)}")
        return "\n".join(lines)

    # ---- Degradation vectors

    def vector(self, scheme: str = "dasr33", compat: str | None = None) -> tuple[NDArray[np.float32], BoolArray]:
        """Normalised degradation vectors: float32 [B, 33] and a mask of the entries that mean something (vectors.py)."""
        return vectors.encode(self, scheme, compat)

    # ---- Files

    def save(self, path: str | Path) -> None:
        """Write an .npz file that holds everything, the space included; no pickle."""
        meta = {"version": _FILE_VERSION, "space": self.space.name, "digest": self.space.digest}
        arrays: dict[str, Any] = {
            "meta": np.array(json.dumps(meta)),
            "space_toml": np.array(self.space.text),
            "component_names": np.array([part.name for part in self.space.components], dtype=np.str_),
            "component_toml": np.array([part.text for part in self.space.components], dtype=np.str_),
            "seeds": self.seeds,
            "indices": self.indices,
            "noise_indices": self.noise_indices,
            "component": self.component,
            "program": self.program,
        }
        arrays |= {f"column:{name}": values for name, values in self.columns.items()}
        # An open file, because np.savez appends ".npz" to names.
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    @staticmethod
    def load(path: str | Path) -> TaskBatch:
        """Read what `save` wrote.

        Raises:
            TaskError: no task file, damaged, or of a space that no longer has the digest it was written with.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            meta = json.loads(str(arrays["meta"]))
            space = Space.loads(
                str(arrays["space_toml"]),
                dict(zip(arrays["component_names"].tolist(), arrays["component_toml"].tolist())),
            )
        except FileNotFoundError:
            raise TaskError(f"{path}: no such task file") from None
        except SpaceError as error:
            raise TaskError(f"{path}: {error}") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError) as error:
            raise TaskError(f"{path}: not a readable task file ({type(error).__name__})") from None
        if meta.get("version") != _FILE_VERSION or meta.get("digest") != space.digest:
            got = f"version {meta.get('version')} and digest {str(meta.get('digest'))[:8]}"
            raise TaskError(
                f"{path}: expected task file version {_FILE_VERSION} and digest {space.digest[:8]}, got {got}; it was "
                "written by another version of pydegrade"
            )
        return _from_arrays(space, arrays, str(path))

    def to_csv(self, path: str | Path) -> None:
        """One row per task: address, fingerprint and every column, names for choices."""
        columns = {name: self.labels(name) for name in self.columns}
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["address", "fingerprint", *columns])
            for row, (address, mark) in enumerate(zip(self.addresses, self.fingerprints().tolist())):
                writer.writerow([address, f"{mark:016x}", *(texts[row] for texts in columns.values())])

    @staticmethod
    def from_addresses(addresses: Sequence[str], space: Space | None = None) -> TaskBatch:
        """Rebuild tasks from their addresses.

        Args:
            addresses: of one space.
            space: the space; by default the preset that the addresses name.
        Raises:
            TaskError: not an address, several spaces, or a space with another digest.
        """
        if isinstance(addresses, str):
            addresses = [addresses]
        matches = []
        for address in addresses:
            match = _ADDRESS.fullmatch(address.strip())
            if match is None:
                raise TaskError(f"expected an address such as realesrgan-x4@1f3c9a7e/s7/i123, got {address!r}")
            matches.append(match)
        named = {(match["space"], match["digest"]) for match in matches}
        if len(named) != 1:
            raise TaskError(f"expected addresses of one space, got {sorted(f'{name}@{d}' for name, d in named)}")
        name, digest = named.pop()
        if space is None:
            if name not in preset_names():
                raise TaskError(f"{addresses[0]}: no preset named {name!r}; pass the space file it was drawn from")
            space = Space.load(name)
        if space.name != name or space.digest[:8] != digest:
            raise TaskError(
                f"{addresses[0]}: expected space {name!r} with digest {digest}, got {space.name!r} with digest "
                f"{space.digest[:8]}: the space has changed since"
            )
        numbers = np.array(
            [[int(m["seed"]), int(m["index"]), int(m["noise"] or m["index"])] for m in matches], np.object_
        )
        if int(numbers.max()) >= 2**63:
            raise TaskError(f"seed and index must be below 2^63, got {numbers.max()}")
        return draw_tasks(space, *(np.ascontiguousarray(column, np.int64) for column in numbers.T))

    @staticmethod
    def from_vector(
        values: ArrayLike, space: Space | str, scheme: str = "dasr33", mask: ArrayLike | None = None, component: int = 0
    ) -> TaskBatch:
        """Tasks with the parameters that a degradation vector stands for, so that a person can edit one and look.

        Args:
            values: float [B, 33] as `vector` gives them.
            space: a space with the slots of the scheme.
            mask: bool [B, 33], entries that mean something; others keep the draws of indices 0 .. B - 1, seed 0.
            component: for a mixture, the component whose ranges count.
        """
        vector = np.atleast_2d(np.asarray(values, np.float32))
        known = Space.load(space) if isinstance(space, str) else space
        number = np.arange(len(vector), dtype=np.int64)
        base = draw_tasks(known, np.zeros_like(number), number, number)
        return vectors.decode(
            vector, None if mask is None else np.atleast_2d(np.asarray(mask, bool)), base, scheme, component
        )


def draw_tasks(
    space: Space, seeds: NDArray[np.int64], indices: NDArray[np.int64], noise_indices: NDArray[np.int64]
) -> TaskBatch:
    """Tasks of given seeds and numbers, int64 [B] each."""
    batches = []
    order = []
    for seed in np.unique(seeds):
        rows = np.nonzero(seeds == seed)[0]
        drawn = draw(space, int(seed), np.ascontiguousarray(indices[rows]))
        batches.append(
            TaskBatch(
                space, seeds[rows], indices[rows], noise_indices[rows], drawn.component, drawn.columns, drawn.program
            )
        )
        order.append(rows)
    if not batches:
        drawn = draw(space, 0, indices)
        return TaskBatch(space, seeds, indices, noise_indices, drawn.component, drawn.columns, drawn.program)
    if len(batches) == 1:
        return _resolved(batches[0])
    return _resolved(TaskBatch.concat(batches).take(np.argsort(np.concatenate(order))))


def _resolved(tasks: TaskBatch) -> TaskBatch:
    """The tasks with every column that has no effect at its neutral value."""
    columns = dict(tasks.columns)
    for slot in tasks.space.slots:
        values = tasks._slot_columns(slot.name)
        masks = _masks(values, tasks.space, slot.name, tasks._present(slot.name))
        for column in tasks.space.op(slot.name).columns:
            name = f"{slot.name}.{column.name}"
            if name in columns and not masks[column.name].all():
                neutral = np.asarray(column.neutral_value, column.dtype)
                columns[name] = np.where(masks[column.name], columns[name], neutral)
    return replace(tasks, columns=columns)


def _masks(values: Mapping[str, NDArray[Any]], space: Space, slot: str, present: BoolArray) -> dict[str, BoolArray]:
    """Where each column of a slot has an effect, by short name."""
    op = space.op(slot)
    active = op.active(values)
    return {column.name: np.asarray(present & active.get(column.name, present)) for column in op.columns}


def _checked(column: Column, name: str, value: ArrayLike | str, count: int) -> NDArray[Any]:
    """New values of a column, [count], in its dtype and range."""
    given = np.asarray(value)
    if column.choices and given.dtype.kind == "U":
        unknown = [str(text) for text in np.atleast_1d(given) if text not in column.choices]
        if unknown:
            raise TaskError(f"replace: {name} must be one of {', '.join(column.choices)}, got {unknown[0]!r}")
        given = np.asarray([column.choices.index(text) for text in np.atleast_1d(given)])
        given = given[0] if len(given) == 1 else given
    if given.dtype.kind not in "iufb" or given.ndim > 1 or given.size not in (1, count):
        raise TaskError(f"replace: {name} must be one number or {count} numbers, got {value!r}")
    low, high = (0, len(column.choices) - 1) if column.choices else (column.low, column.high)
    numbers = np.broadcast_to(given.astype(np.float64), count)
    bad = ~((numbers >= low) & (numbers <= high))
    if column.choices or column.integer:
        bad |= numbers != np.rint(numbers)
    if column.name == "size_px":
        bad |= numbers % 2 == 0
    if bad.any():
        row = int(np.argmax(bad))
        kind = "an odd number" if column.name == "size_px" else "a value"
        raise TaskError(f"replace: {name} must be {kind} in [{low:g}, {high:g}], got {numbers[row]:g} at row {row}")
    return np.ascontiguousarray(numbers.astype(column.dtype))


def _from_arrays(space: Space, arrays: Mapping[str, NDArray[Any]], path: str) -> TaskBatch:
    """Check every array of a task file; it may come from anywhere."""

    def get(name: str, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        array = arrays.get(name)
        if array is None or array.dtype != dtype or array.shape != shape:
            got = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise TaskError(f"{path}: {name} must be {np.dtype(dtype)} {shape}, got {got}")
        return np.ascontiguousarray(array)

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
    program = get("program", np.int8, (count, len(space.slots)))
    component = get("component", np.int32, (count,))
    if program.size and not (program.min() >= -1 and program.max() < len(space.slots)):
        raise TaskError(f"{path}: program must hold slot numbers in -1..{len(space.slots) - 1}, got {program.max()}")
    if component.size and not (component.min() >= 0 and component.max() < max(1, len(space.components))):
        raise TaskError(f"{path}: component out of range, got {component.max()}")
    numbers = [get(name, np.int64, (count,)) for name in ("seeds", "indices", "noise_indices")]
    if count and min(int(values.min()) for values in numbers) < 0:
        raise TaskError(f"{path}: seeds and indices must be >= 0")
    return TaskBatch(space, numbers[0], numbers[1], numbers[2], component, columns, program)


def _in_range(column: Column, values: NDArray[Any], label: str) -> NDArray[Any]:
    low, high = (0, len(column.choices) - 1) if column.choices else (column.low, column.high)
    neutral = column.neutral_value
    good = ((values >= low) & (values <= high)) | (values == neutral)
    if not good.all():
        row = int(np.argmin(good))
        raise TaskError(f"{label} must lie in [{low:g}, {high:g}], got {values[row]:g} at row {row}")
    return values


def _mix(values: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele et al. 2014): a bijection of 64-bit words that avalanches."""
    with np.errstate(over="ignore"):
        x = np.asarray(values, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _number(value: Any) -> str:
    """Shortest text that gives the value back."""
    return (
        str(int(value)) if isinstance(value, np.integer) else np.format_float_positional(value, trim="-", unique=True)
    )

"""Tasks: rows of parameters with stable addresses, as one struct of arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import TaskError, shown
from ..native import rng
from ..ops.declaration import BoolArray
from . import address, task_file, vectors
from .drawing import draw, draw_resolved
from .rows import ColumnBlock, Rows, needed
from .space import Space

_NOISE_OF_FRAMES = np.int64(0x1E3779B97F4A7C15)
"""Frame t of a sample with noise number n has the noise field of number n + t times this, modulo 2^63: an odd number, so
that the frames of a clip have different ones."""

HTML_ROWS = 20
"""Tasks that a notebook shows of a batch."""


@dataclass(frozen=True, repr=False)
class TaskBatch(Rows):
    """B tasks of one space. `tasks[3]`, `tasks[2:5]` are batches of some of them; a loop gives one after the other.

    Attributes:
        space: where they come from.
        component: int32 [B], which space of a mixture, else 0.
        columns: by full name "slot.column", [B] each: int32 codes for choices and whole numbers, float32 otherwise. Where
            a column has no effect (see `mask`) it holds its neutral value.
        program: int8 [B, K], slot numbers in running order, -1 = absent.
        seeds: int64 [B].
        indices: int64 [B], sample numbers.
        noise_indices: int64 [B]; they choose the noise field, by default the sample number itself.
        steps: int64 [B], training steps; 0 where the space has no schedule.
        frames: int64 [B], numbers of frames in their clips; 0 also for an image. Rows of one sample whose frames follow
            each other, one row after the other, are a clip (`clips`).
    """

    seeds: NDArray[np.int64]
    indices: NDArray[np.int64]
    noise_indices: NDArray[np.int64]
    steps: NDArray[np.int64]
    frames: NDArray[np.int64]

    # ---- Columns

    def raw(self, name: str) -> NDArray[Any]:
        """What a column would be if it had an effect, [B]: the value as it is where it has one, else what was drawn."""
        return self._behind.column(name)

    def replace(self, **changes: ArrayLike | str | Sequence[str]) -> TaskBatch:
        """The same tasks with other values, e.g. `tasks.replace(**{"blur1.sigma_x_px": 2.5})`; their addresses say so.

        A column that a change brings into effect has the value it was drawn with: a Gaussian blur that becomes "aniso"
        takes its drawn `sigma_y_px`. A change that has no effect is not kept.

        Args:
            changes: by full name; one value for all rows or [B] values; names for choices. "gate.on": 1 or 0. `order`:
                the slots that run, in running order, as "blur1,resize1,jpeg1" or B such texts.
        Raises:
            SpaceError: unknown slot or column. TaskError: a value out of range, or of the wrong count.
        """
        return self._with(address.replaced(self, self._behind, self._drawn, changes))

    @cached_property
    def _drawn(self) -> Rows:
        """The same tasks as the space draws them."""
        return draw(self.space, self.seeds, self.indices, self.steps, self.frames)

    @cached_property
    def _behind(self) -> Rows:
        """The draw with what was changed by hand."""
        return address.raw(self, self._drawn)

    @cached_property
    def _is_as_drawn(self) -> bool:
        """Whether nothing was changed by hand, as far as one look at all values says; False may be wrong."""
        made = draw_resolved(self.space, self.seeds, self.indices, self.steps, self.frames)
        if not isinstance(made.columns, ColumnBlock) or not isinstance(self.columns, ColumnBlock):
            return False
        return made.columns.same_bits(self.columns) and np.array_equal(made.program, self.program)

    def _edits(self) -> list[list[tuple[str, str]]]:
        """What was changed by hand in each row (`address.edits`)."""
        return [[] for _ in range(len(self))] if self._is_as_drawn else address.edits(self, self._drawn, self._behind)

    def _with(self, rows: Rows) -> TaskBatch:
        return replace(self, columns=rows.columns, program=rows.program)

    # ---- Rows

    def __getitem__(self, row: int | ArrayLike | slice) -> TaskBatch:
        """One task, or those at some positions (as `take`), as a batch.

        Raises:
            IndexError: a position that is not there. TypeError: no position.
        """
        if isinstance(row, (int, np.integer)) and not isinstance(row, bool):
            if not -len(self) <= row < len(self):
                raise IndexError(f"row must be in -{len(self)}..{len(self) - 1}, got {shown(int(row))}")
            return self.take([int(row)])
        return self.take(row)

    def __iter__(self) -> Iterator[TaskBatch]:
        return (self.take([row]) for row in range(len(self)))

    def __repr__(self) -> str:
        many = f"{len(self)} task{'' if len(self) == 1 else 's'}"
        seeds = np.unique(self.seeds)
        seed = f", seed {seeds[0]}" if len(seeds) == 1 else ""
        shown_indices = ", ".join(map(str, self.indices[:4].tolist())) + (", ..." if len(self) > 4 else "")
        at = f", samples {shown_indices}" if len(self) else ""
        return f"<TaskBatch {many} of {self.space.name}@{self.space.digest[:8]}{seed}{at}>"

    def _repr_html_(self) -> str:
        """A table for notebooks: the first tasks, their slots in running order and what they do."""
        from html import escape

        count = min(len(self), HTML_ROWS)
        rows = []
        for task in self.take(slice(0, count)):
            (
                address,
                *_,
            ) = task.addresses
            lines = [line.strip() for line in task.describe(0).splitlines()[3:]]
            acts = "".join(f"<li>{escape(line)}</li>" for line in lines if not line.endswith(" off"))
            rows.append(f"<tr><td><code>{escape(address)}</code></td><td><ol>{acts}</ol></td></tr>")
        more = f"<p>{len(self) - count} more tasks</p>" if len(self) > count else ""
        return f"<p>{escape(repr(self))}</p><table>{''.join(rows)}</table>{more}"

    @staticmethod
    def concat(batches: Sequence[TaskBatch]) -> TaskBatch:
        """Tasks of several batches of one space, one after the other."""
        if not isinstance(batches, (list, tuple)):
            raise TypeError(f"concat: expected a list of TaskBatch, got {shown(batches)}")
        for batch in batches:
            check_tasks("concat", batch)
        if not batches:
            raise TaskError("concat: expected at least one batch, got none")
        space = batches[0].space
        for other in batches[1:]:
            if other.space != space:
                raise TaskError(f"concat: tasks must come from one space, got {space.name!r} and {other.space.name!r}")
        names = {name: None for batch in batches for name in batch.columns}
        arrays = ("component", "program", *task_file.NUMBERS)
        return TaskBatch(
            space=space,
            columns=needed(space, {name: np.concatenate([batch.column(name) for batch in batches]) for name in names}),
            **{name: np.concatenate([getattr(batch, name) for batch in batches]) for name in arrays},
        )

    def with_noise(self, noise_indices: ArrayLike) -> TaskBatch:
        """The same tasks with the noise fields of other numbers, one for all or [B]; for one task on many images."""
        numbers = rng.check_indices(noise_indices, "noise_indices")
        if len(numbers) not in (1, len(self)):
            raise TaskError(f"with_noise: expected 1 or {len(self)} numbers, got {len(numbers)}")
        return replace(self, noise_indices=np.ascontiguousarray(np.broadcast_to(numbers, len(self))))

    # ---- Identity

    def redrawn(self, space: Space) -> TaskBatch:
        """Tasks of another space at the same seeds, indices, noise indices, steps and frames, as it draws them."""
        return draw_tasks(space, self.seeds, self.indices, self.noise_indices, self.steps, self.frames)

    @cached_property
    def clips(self) -> list[range]:
        """Rows of each clip, in order: of one sample, with frames that follow each other. An image is a clip of one row.

        What follows each other here is compressed together by a video codec, also where it came from several addresses.
        """
        if not len(self):
            return []
        same = np.diff(self.frames) == 1
        for values in (self.seeds, self.indices, self.noise_indices, self.steps):
            same &= values[1:] == values[:-1]
        starts = [0, *(np.nonzero(~same)[0] + 1).tolist(), len(self)]
        return [range(first, last) for first, last in itertools.pairwise(starts)]

    @property
    def noise_numbers(self) -> NDArray[np.int64]:
        """int64 [B]: number of the noise field of each row, which differs from frame to frame."""
        if not np.count_nonzero(self.frames):
            return self.noise_indices
        with np.errstate(over="ignore"):
            return (self.noise_indices + self.frames * _NOISE_OF_FRAMES) & np.int64(2**63 - 1)

    @property
    def addresses(self) -> list[str]:
        """Texts that rebuild the tasks: space@digest/s<seed>/i<index>, with /t<step> in a space with a schedule,
        /n<noise index> where it differs, /f<frame> of later frames, and ?<column>=<value>&... where a value was changed
        (tasks/address.py).

        In a shell an address with `?` or `&` stands between quotes.
        """
        return address.format_addresses(self.space, self._numbers(), self._edits(), [range(1)] * len(self))

    @property
    def clip_addresses(self) -> list[str]:
        """As `addresses`, one for each clip: .../i123/f0-14. A clip of which some frames alone were changed takes several,
        which `from_addresses` joins again."""
        edits = self._edits()
        starts = [row for clip in self.clips for row in clip if row == clip.start or edits[row] != edits[row - 1]]
        spans = [range(last - first) for first, last in zip(starts, [*starts[1:], len(self)])]
        first = self.take(starts)
        return address.format_addresses(self.space, first._numbers(), [edits[row] for row in starts], spans)

    def _numbers(self) -> dict[str, NDArray[np.int64]]:
        return {name: getattr(self, name) for name in task_file.NUMBERS}

    @staticmethod
    def from_addresses(addresses: Sequence[str], space: Space | None = None) -> TaskBatch:
        """Rebuild tasks from their addresses, bit for bit.

        Args:
            addresses: of one space; that of a clip stands for as many tasks as it has frames.
            space: the space; by default the preset that the addresses name.
        Raises:
            TaskError: not an address, several spaces, or a space with another digest. SpaceError: an edit of an unknown
                column.
        """
        found = address.parse([addresses] if isinstance(addresses, str) else addresses, space)
        drawn = draw(found.space, found.seeds, found.indices, found.steps, found.frames)
        return _batch(
            address.with_edits(drawn, found.edits),
            found.seeds,
            found.indices,
            found.noise_indices,
            found.steps,
            found.frames,
        )

    def image_keys(self) -> NDArray[np.uint32]:
        """Philox words of each image, uint32 [B, 4] (rng.py)."""
        return rng.image_keys(self.seeds, self.indices, self.noise_numbers)

    def fingerprints(self) -> NDArray[np.uint64]:
        """uint64 [B]: hash of what each task does. Equal rows have equal fingerprints, however they were drawn; the noise
        field and columns without effect do not count."""
        return address.fingerprints(self)

    def describe(self, row: int) -> str:
        """A readable account of one task: address, running order and every parameter that has an effect."""
        if not isinstance(row, (int, np.integer)) or isinstance(row, bool):
            raise TypeError(f"describe: row must be a whole number, got {shown(row)}")
        task = self.take([row])
        lines = [
            task.addresses[0],
            f"  space        {task.space.name} (digest {task.space.digest[:8]}), x{task.space.scale}",
            f"  fingerprint  {int(task.fingerprints()[0]):016x}",
        ]
        if task.space.components:
            lines.append(f"  component    {task.space.components[int(task.component[0])].name}")
        for gate in task.space.gate_names:
            if bool(task.gated_by(gate)[0]):
                lines.append(f"  {gate:<12} gate: {'open' if task.column(f'{gate}.on')[0] else 'closed'}")
        for slot in task.orders()[0]:
            op = task.space.op(slot)
            if bool(task.neutral(slot)[0]):
                lines.append(f"  {slot:<12} off")
                continue
            parts = [
                f"{name} {task.labels(f'{slot}.{name}')[0]}" for name, effect in task.masks(slot).items() if effect[0]
            ]
            lines.append(f"  {slot:<12} {op.name}: {', '.join(parts)}")
        return "\n".join(lines)

    # ---- Degradation vectors

    def vector(self, scheme: str = "dasr33", compat: str | None = None) -> tuple[NDArray[np.float32], BoolArray]:
        """Normalised degradation vectors: float32 [B, 33] and a mask of the entries that mean something (vectors.py)."""
        return vectors.encode(self, self.raw, scheme, compat)

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
        if known.components:
            if not 0 <= component < len(known.components):
                raise TaskError(f"from_vector: component must be in 0..{len(known.components) - 1}, got {component}")
            known = known.components[component]
        number = np.arange(len(vector), dtype=np.int64)
        base = draw_tasks(known, np.zeros_like(number), number, number)
        known_mask = None if mask is None else np.atleast_2d(np.asarray(mask, bool))
        return base.replace(**vectors.decode(vector, known_mask, base, base.raw, scheme))

    # ---- Files

    def save(self, path: str | Path) -> None:
        """Write an .npz file that holds everything, the space included; no pickle."""
        task_file.save(path, self, self._numbers())

    @staticmethod
    def load(path: str | Path, space: Space | None = None) -> TaskBatch:
        """Read what `save` wrote (.npz), or rebuild the tasks of a table with a column `address` (.csv).

        Args:
            space: for a table of a space that is no preset.
        Raises:
            TaskError: no task file, damaged, or of a space that no longer has the digest it was written with.
        """
        if Path(path).suffix.lower() == ".csv":
            addresses, marks = task_file.read_csv(path)
            try:
                tasks = TaskBatch.from_addresses(addresses, space)
            except TaskError as error:
                raise TaskError(f"{path}: {error}") from None
            for text, mark, made in zip(addresses, marks, tasks.fingerprints().tolist()):
                if mark != f"{made:016x}":
                    raise TaskError(f"{path}: {text} now has the fingerprint {made:016x}, expected {mark}")
            return tasks
        rows, numbers = task_file.load(path)
        return _batch(rows, **numbers)

    def to_csv(self, path: str | Path) -> None:
        """One row per task: address, fingerprint and every column, names for choices. `load` reads it back."""
        task_file.write_csv(path, self, self.addresses, self.fingerprints())


def check_tasks(where: str, tasks: Any) -> None:
    """TypeError unless `tasks` are a TaskBatch."""
    if not isinstance(tasks, TaskBatch):
        raise TypeError(f"{where}: tasks must be a TaskBatch, got {shown(tasks)}")


def draw_tasks(
    space: Space,
    seeds: NDArray[np.int64],
    indices: NDArray[np.int64],
    noise_indices: NDArray[np.int64],
    steps: NDArray[np.int64] | None = None,
    frames: NDArray[np.int64] | None = None,
) -> TaskBatch:
    """Tasks of given seeds, numbers, training steps and frames, int64 [B] each; 0 without the last two."""
    if steps is None or not space.scheduled:
        steps = np.zeros(len(indices), np.int64)
    if frames is None:
        frames = np.zeros(len(indices), np.int64)
    return _batch(draw_resolved(space, seeds, indices, steps, frames), seeds, indices, noise_indices, steps, frames)


def _batch(
    rows: Rows,
    seeds: NDArray[np.int64],
    indices: NDArray[np.int64],
    noise_indices: NDArray[np.int64],
    steps: NDArray[np.int64],
    frames: NDArray[np.int64],
) -> TaskBatch:
    numbers = (seeds, indices, noise_indices, steps, frames)
    return TaskBatch(rows.space, rows.component, rows.columns, rows.program, *numbers)

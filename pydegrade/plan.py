"""From tasks and image sizes to a list of steps: every size, path and table is settled here, before any pixel is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .errors import OpError, TaskError
from .native import binding
from .native.packed import Layout
from .native.rng import combine_slot, hash32
from .ops.declaration import Op
from .ops.pool import KEY, Pool
from .ops.registry import find, registrations
from .tasks.rows import ColumnBlock
from .tasks.space import Space
from .tasks.space_reader import Slot
from .tasks.task import TaskBatch


@dataclass(frozen=True)
class TorchItems:
    """Uses of one slot whose op is in plain torch; item i belongs to row i.

    Attributes:
        op: its declaration.
        columns: its columns, [B] each.
        key: uint32 [B, 4], Philox words of the image combined with the slot.
        tasks: the tasks, whose addresses messages name.
        pools: what the slot's files hold, by component of the space.
    """

    op: Op
    columns: Mapping[str, NDArray[Any]]
    key: NDArray[np.uint32]
    tasks: TaskBatch
    pools: tuple[Pool | None, ...]

    def values(self, item: int) -> dict[str, Any]:
        """What `Op.apply` is given of the columns of an item: numbers, names of choices, arrays of files."""
        stored: dict[str, Any] = {column.name: self.columns[column.name][item].item() for column in self.op.columns}
        stored |= {column.name: column.choices[stored[column.name]] for column in self.op.columns if column.choices}
        pool = self.pools[int(self.tasks.component[item])]
        return stored if pool is None else {**stored, KEY: pool.arrays}


@dataclass(frozen=True)
class Plan:
    """What a chain needs beside the pixels; made by the compiled module (csrc/chain/steps.h), which keeps the arrays.

    Attributes:
        src, dst: layouts of the HR and LR batches.
        steps: the plan itself.
        tasks: what it was made from; messages name their slots and addresses.
        torch_ops: uses of ops that are not in the compiled module; empty when no row uses one.
    """

    src: Layout
    steps: binding.Steps
    tasks: TaskBatch
    torch_ops: tuple[TorchItems, ...] = ()

    @property
    def has_target(self) -> bool:
        """Whether the pair's target differs from the HR image in any row."""
        return self.steps.has_target

    @cached_property
    def fields(self) -> dict[str, Any]:
        """`ChainArgs` of csrc/chain/chain.h without the pixels, read-only views; ops that no row uses are left out."""
        return self.steps.fields()

    @cached_property
    def dst(self) -> Layout:
        rows = self.fields["dst_rows"]
        return Layout(rows["offset"], rows["height"], rows["width"], rows["channels"])

    @property
    def target_step(self) -> NDArray[np.int32]:
        """int32 [B], steps done when the pair's target is taken (0: the HR image itself)."""
        return self.fields["target_step"]

    @property
    def step_start(self) -> NDArray[np.int64]:
        """int64 [B + 1], row r runs steps step_start[r] .. step_start[r + 1] - 1."""
        return self.fields["step_start"]

    @property
    def step_op(self) -> NDArray[np.int32]:
        """int32 [S], op code; -1 - k: the k-th of `torch_ops`."""
        return self.fields["step_op"]

    @property
    def step_item(self) -> NDArray[np.int64]:
        """int64 [S], place in that op's parameters."""
        return self.fields["step_item"]

    @property
    def step_height(self) -> NDArray[np.int32]:
        """int32 [S], height after the step, px."""
        return self.fields["step_height"]

    @property
    def step_width(self) -> NDArray[np.int32]:
        """int32 [S], width after the step, px."""
        return self.fields["step_width"]

    @property
    def step_slot(self) -> NDArray[np.int32]:
        """int32 [S], position of the slot in the space."""
        return self.steps.step_slot

    def place(self, step: int) -> str:
        """Slot and task of a step, for messages."""
        row = int(np.searchsorted(self.step_start, step, "right")) - 1
        slot = self.tasks.space.slots[int(self.step_slot[step])].name
        return f"slot {slot} ({self.tasks.take([row]).addresses[0]})"

    @property
    def params(self) -> Mapping[str, Mapping[str, NDArray[Any]]]:
        """Arrays of each op's Params struct, by op name and field; ops that no row uses are absent."""
        return {name: self.fields[name] for name in binding.OPS if name in self.fields}


@dataclass(frozen=True)
class _Table:
    """What planning needs to know of a space.

    Attributes:
        registered: registrations when this was made; another op of the same name may be registered later.
        slots: the compiled module's view of them.
        torch_slots: those whose op is in plain torch.
    """

    registered: int
    slots: binding.Slots
    torch_slots: tuple[Slot, ...]


_tables: WeakKeyDictionary[Space, _Table] = WeakKeyDictionary()


def make_plan(tasks: TaskBatch, src: Layout) -> Plan:
    """Resolve the steps of each task for images of the given sizes.

    Args:
        tasks: B tasks.
        src: sizes of the B HR images; sides must be multiples of the space's scale.
    Raises:
        TaskError: a side is not a multiple of the scale, or a task does not end at the LR size.
    """
    if len(src) != len(tasks):
        raise TaskError(f"plan: expected one image per task, got {len(src)} images and {len(tasks)} tasks")
    table = _table(tasks.space)
    others = [(find(slot.op), _slot_columns(tasks, slot)) for slot in table.torch_slots]
    _check_clips(tasks, [slot.name for slot in table.torch_slots], others)
    columns = tasks.columns.fields() if isinstance(tasks.columns, ColumnBlock) else {"columns": dict(tasks.columns)}
    steps = binding.plan(
        slots=table.slots,
        src_rows=src.fields(),
        **columns,
        program=tasks.program,
        seed=tasks.seeds,
        index=tasks.indices,
        noise_index=tasks.noise_numbers,
        neutral=[np.ascontiguousarray(op.neutral(values)) for op, values in others],
        sizes=_sizes(tasks) if others else None,
    )
    if steps.fault is not None:
        raise _explained(tasks, src, *steps.fault)
    if not steps.has_others:
        return Plan(src, steps, tasks)
    keys = tasks.image_keys()
    return Plan(
        src,
        steps,
        tasks,
        tuple(
            TorchItems(op, values, combine_slot(keys, slot.name), tasks, _pools(tasks, slot, op, values))
            for slot, (op, values) in zip(table.torch_slots, others)
        ),
    )


def _check_clips(tasks: TaskBatch, names: list[str], others: list[tuple[Op, dict[str, NDArray[Any]]]]) -> None:
    """TaskError unless the frames of each clip have one order and, for ops that act on all of them, one value."""
    together = [(name, values) for name, (op, values) in zip(names, others) if op.apply_clip is not None]
    if not together or not tasks.frames.any():
        return
    first = np.empty(len(tasks), np.int64)
    for clip in tasks.clips:
        first[clip.start : clip.stop] = clip.start
    for slot, values in together:
        for name, column in values.items():
            _refuse_mixed(tasks, column != column[first], f"{slot}.{name} has one value", first)
    _refuse_mixed(tasks, (tasks.program != tasks.program[first]).any(axis=1), "order is one", first)


def _refuse_mixed(tasks: TaskBatch, differs: NDArray[np.bool_], what: str, first: NDArray[np.int64]) -> None:
    if differs.any():
        row = int(np.argmax(differs))
        one, other = tasks.take([int(first[row]), row]).addresses
        raise TaskError(f"plan: {what} for all frames of a clip, got others in {one} and {other}")


def _pools(tasks: TaskBatch, slot: Slot, op: Op, columns: Mapping[str, NDArray[Any]]) -> tuple[Pool | None, ...]:
    """What the slot's files hold in each component, with the numbers of all tasks looked at."""
    parts = [part.slots for part in tasks.space.components] or [tasks.space.slots]
    found = tuple([next((own.pool for own in slots if own.name == slot.name), None) for slots in parts])
    if op.files is None:
        return found
    counts = np.array([0 if pool is None else len(pool) for pool in found])[tasks.component]
    numbers = columns[op.files.number]
    if (numbers > counts).any():
        row = int(np.argmax(numbers > counts))
        raise TaskError(
            f"plan: {slot.name}.{op.files.number} must be in 0..{counts[row]}, as many as the files of the space hold, got "
            f"{numbers[row]} at row {row} ({tasks.take([row]).addresses[0]})"
        )
    return found


def _table(space: Space) -> _Table:
    table, registered = _tables.get(space), registrations()
    if table is not None and table.registered == registered:
        return table
    ops = [find(slot.op) for slot in space.slots]
    names = [slot.name for slot in space.slots]
    target = -1 if space.target == "hr" else names.index(space.target)
    slots = [
        (
            binding.OPS[op.name] if op.apply is None else None,
            hash32(slot.name),
            op.apply is not None and (op.out_size is not None or op.apply_clip is not None),
            _columns(slot, op) if op.apply is None else [],
        )
        for slot, op in zip(space.slots, ops)
    ]
    torch_slots = tuple(slot for slot, op in zip(space.slots, ops) if op.apply is not None)
    table = _Table(registered, binding.Slots(slots, space.scale, target), torch_slots)
    _tables[space] = table
    return table


def _columns(slot: Slot, op: Op) -> list[tuple[str, float | int]]:
    """Full name and neutral value of every column of a compiled op, in the order of its plan.cpp."""
    return [(f"{slot.name}.{name}", op.column(name).neutral_value) for name, _ in binding.COLUMNS[op.name]]


def _sizes(tasks: TaskBatch) -> Callable[..., Any]:
    """Sizes after an op in plain torch, and where it then does nothing: (slot, rows, height, width, final_height,
    final_width) -> (height, width, idles)."""

    starts = np.array([clip.start for clip in tasks.clips], np.int64)

    def first_of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions among rising `rows` of the first frame of each row's clip; all its frames are there."""
        return np.searchsorted(rows, starts[np.searchsorted(starts, rows, "right") - 1])

    def sizes(
        number: int, rows: NDArray[np.int64], *sides: NDArray[np.int64]
    ) -> tuple[list[int], list[int], list[bool]]:
        slot = tasks.space.slots[number]
        op = find(slot.op)
        values = {name: column[rows] for name, column in _slot_columns(tasks, slot).items()}
        if op.out_size is None:
            # Frames take the size of the first of their clip; where the op is off it is left out.
            at, off = first_of(rows), op.neutral(values)
            height, width = (np.where(off, side, side[at]) for side in sides[:2])
            return height.tolist(), width.tolist(), [False] * len(rows)
        height, width = _size_after(op, values, *sides)
        idles = (height == sides[0]) & (width == sides[1])
        idles &= op.nothing_at_equal_size(values) if op.nothing_at_equal_size is not None else False
        return height.tolist(), width.tolist(), idles.tolist()

    return sizes


def _size_after(
    op: Op, columns: Mapping[str, NDArray[Any]], *sides: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What `op.out_size` answers, checked: ops may come from anywhere."""
    assert op.out_size is not None
    height, width = (np.asarray(side) for side in op.out_size(columns, *sides))
    for side in (height, width):
        if side.shape != sides[0].shape or side.dtype.kind not in "iu" or (side < 1).any() or (side >= 2**24).any():
            raise OpError(
                f"op {op.name!r}: out_size must give whole sides >= 1, {len(sides[0])} each, got {side.dtype} {side.shape}"
            )
    return height.astype(np.int64), width.astype(np.int64)


def _slot_columns(tasks: TaskBatch, slot: Slot) -> dict[str, NDArray[Any]]:
    """All columns of the slot's op; what the space does not draw is neutral."""
    return {column.name: tasks.column(f"{slot.name}.{column.name}") for column in find(slot.op).columns}


def _explained(tasks: TaskBatch, src: Layout, reason: str, row: int, height: int, width: int) -> TaskError:
    """Why a task and its image do not go together."""
    scale, where = tasks.space.scale, tasks.take([row]).addresses[0]
    if reason == "multiple":
        return TaskError(
            f"plan: sides of an HR image must be multiples of the scale {scale}, got {height}x{width} at row "
            f"{row} ({where})"
        )
    if reason == "end":
        final = f"{src.height[row] // scale}x{src.width[row] // scale}"
        return TaskError(
            f"plan: space {tasks.space.name!r} must end at the LR size {final}, got "
            f"{height}x{width} ({where}); end it with a resize of rule 'final'"
        )
    return TaskError(f"plan: sides must stay below 2^24 px, got {height}x{width} at row {row} ({where})")

"""From tasks and image sizes to a list of steps: every size, path and table is settled here, before any pixel is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import OpError, TaskError
from .native import binding
from .native.packed import Layout
from .native.rng import combine_slot
from .ops.declaration import Items, Op
from .ops.registry import find
from .tasks.task import TaskBatch


@dataclass(frozen=True)
class TorchItems:
    """Uses of one op in plain torch.

    Attributes:
        op: its declaration.
        columns: its columns, [N] each.
        key: uint32 [N, 4], Philox words of the image combined with the slot.
        tasks: the tasks they belong to, whose addresses messages name.
    """

    op: Op
    columns: Mapping[str, NDArray[Any]]
    key: NDArray[np.uint32]
    tasks: TaskBatch


@dataclass(frozen=True)
class Plan:
    """What `ChainArgs` of csrc/chain/chain.h needs beside the pixels.

    Attributes:
        src, dst: layouts of the HR and LR batches.
        target_step: int32 [B], steps done when the pair's target is taken (0: the HR image itself).
        step_start: int64 [B + 1], row r runs steps step_start[r] .. step_start[r + 1] - 1.
        step_op, step_height, step_width, step_slot: int32 [S], op code (-1 - k: the k-th of `torch_ops`), size after the
            step, position of the slot in the space.
        step_item: int64 [S], place in that op's parameters.
        params: arrays of each op's Params struct, by op name and field; ops that no row uses are absent.
        torch_ops: uses of ops that are not in the compiled module.
        round_8bit: whether the result is rounded to multiples of 1/255.
    """

    src: Layout
    dst: Layout
    target_step: NDArray[np.int32]
    step_start: NDArray[np.int64]
    step_op: NDArray[np.int32]
    step_item: NDArray[np.int64]
    step_height: NDArray[np.int32]
    step_width: NDArray[np.int32]
    step_slot: NDArray[np.int32]
    params: Mapping[str, Mapping[str, NDArray[Any]]]
    torch_ops: tuple[TorchItems, ...] = ()
    round_8bit: bool = True


def make_plan(tasks: TaskBatch, src: Layout) -> Plan:
    """Resolve the steps of each task for images of the given sizes.

    Args:
        tasks: B tasks.
        src: sizes of the B HR images; sides must be multiples of the space's scale.
    Raises:
        TaskError: a side is not a multiple of the scale, or a task does not end at the LR size.
    """
    scale = tasks.space.scale
    height, width = src.height.astype(np.int64), src.width.astype(np.int64)
    _check_sizes(tasks, height, width)
    final_height, final_width = height // scale, width // scale
    slots = tasks.space.slots
    ops = [find(slot.op) for slot in slots]
    program = tasks.program.astype(np.int64)
    batch, places = program.shape

    # Which op stands where, and the columns of each op's uses: (row, place) of every use of every slot.
    uses = [np.nonzero(program == slot) for slot in range(len(slots))]
    columns = [_slot_columns(tasks, slots[slot].name, ops[slot], uses[slot][0]) for slot in range(len(slots))]
    kept = np.zeros((batch, places), bool)
    for slot, (rows, at) in enumerate(uses):
        kept[rows, at] = ~ops[slot].neutral(columns[slot])

    # Sizes, place by place. Only ops that declare a size rule change them.
    before = np.zeros((batch, places, 2), np.int64)
    after = np.zeros((batch, places, 2), np.int64)
    where = [{} for _ in slots]  # type: list[dict[int, NDArray[np.int64]]]
    for slot, (_, at) in enumerate(uses):
        if ops[slot].out_size is not None:
            where[slot] = {int(place): np.nonzero(at == place)[0] for place in np.unique(at)}
    for place in range(places):
        before[:, place, 0], before[:, place, 1] = height, width
        for slot in range(len(slots)):
            chosen = where[slot].get(place)
            if chosen is None:
                continue
            rows = uses[slot][0][chosen]
            values = {name: column[chosen] for name, column in columns[slot].items()}
            new_height, new_width = _size_after(
                ops[slot], values, height[rows], width[rows], final_height[rows], final_width[rows]
            )
            idle = ops[slot].nothing_at_equal_size
            if idle is not None:
                unchanged = (new_height == height[rows]) & (new_width == width[rows])
                kept[rows[unchanged & idle(values)], place] = False
            height, width = height.copy(), width.copy()
            height[rows], width[rows] = new_height, new_width
        after[:, place, 0], after[:, place, 1] = height, width
    _check_result(tasks, height, width, final_height, final_width)

    # Items: the kept uses of each op, slot after slot.
    item_of = np.zeros((batch, places), np.int64)
    params: dict[str, Mapping[str, NDArray[Any]]] = {}
    torch_ops: list[TorchItems] = []
    code_of: dict[str, int] = {}
    keys = tasks.image_keys()
    for op in {op.name: op for op in ops}.values():
        parts = []
        keyed = []
        for slot, (rows, at) in enumerate(uses):
            if slots[slot].op != op.name:
                continue
            chosen = np.nonzero(kept[rows, at])[0]
            if len(chosen) == 0:
                continue
            if len(chosen) == len(rows):
                part = (rows, at, columns[slot])
            else:
                part = (rows[chosen], at[chosen], {name: column[chosen] for name, column in columns[slot].items()})
            parts.append(part)
            keyed.append(combine_slot(keys[part[0]], slots[slot].name))
        if not parts:
            continue
        rows = np.concatenate([part[0] for part in parts])
        at = np.concatenate([part[1] for part in parts])
        item_of[rows, at] = np.arange(len(rows))
        values = (
            parts[0][2]
            if len(parts) == 1
            else {column.name: np.concatenate([part[2][column.name] for part in parts]) for column in op.columns}
        )
        sizes_before, sizes_after = before[rows, at].astype(np.int32), after[rows, at].astype(np.int32)
        items = Items(
            src_height=np.ascontiguousarray(sizes_before[:, 0]),
            src_width=np.ascontiguousarray(sizes_before[:, 1]),
            dst_height=np.ascontiguousarray(sizes_after[:, 0]),
            dst_width=np.ascontiguousarray(sizes_after[:, 1]),
            key=np.ascontiguousarray(np.concatenate(keyed)),
        )
        if op.params is not None:
            params[op.name], code_of[op.name] = op.params(values, items), binding.OPS[op.name]
        else:
            code_of[op.name] = -1 - len(torch_ops)
            torch_ops.append(TorchItems(op, values, items.key, tasks.take(rows)))

    # Steps, row after row in running order.
    rows, at = np.nonzero(kept)
    step_slot = program[rows, at]
    codes = np.array([code_of.get(slot.op, 0) for slot in slots], np.int32)
    counts = kept.sum(axis=1)
    return Plan(
        src=src,
        dst=Layout.of_sizes(final_height, final_width, src.channels),
        target_step=_target_steps(tasks, program, kept),
        step_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        step_op=np.ascontiguousarray(codes[step_slot]),
        step_item=np.ascontiguousarray(item_of[rows, at]),
        step_height=np.ascontiguousarray(after[rows, at, 0], np.int32),
        step_width=np.ascontiguousarray(after[rows, at, 1], np.int32),
        step_slot=step_slot.astype(np.int32),
        params=params,
        torch_ops=tuple(torch_ops),
    )


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


def _slot_columns(tasks: TaskBatch, slot: str, op: Op, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """All columns of the slot's op for the given rows; what the space does not draw is neutral."""
    columns: dict[str, NDArray[Any]] = {}
    for column in op.columns:
        drawn = tasks.columns.get(f"{slot}.{column.name}")
        columns[column.name] = np.full(len(rows), column.neutral_value, column.dtype) if drawn is None else drawn[rows]
    return columns


def _target_steps(tasks: TaskBatch, program: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number of kept steps up to and including the slot whose image is the target."""
    if tasks.space.target == "hr":
        return np.zeros(len(tasks), np.int32)
    slot = [slot.name for slot in tasks.space.slots].index(tasks.space.target)
    at = np.argmax(program == slot, axis=1)
    return np.asarray(np.take_along_axis(np.cumsum(kept, axis=1), at[:, None], axis=1)[:, 0], np.int32)


def _check_sizes(tasks: TaskBatch, height: NDArray[np.int64], width: NDArray[np.int64]) -> None:
    if len(height) != len(tasks):
        raise TaskError(f"plan: expected one image per task, got {len(height)} images and {len(tasks)} tasks")
    scale = tasks.space.scale
    bad = np.nonzero((height % scale != 0) | (width % scale != 0) | (height < scale) | (width < scale))[0]
    if len(bad):
        row = int(bad[0])
        raise TaskError(
            f"plan: sides of an HR image must be multiples of the scale {scale}, got {height[row]}x{width[row]} at row "
            f"{row} ({tasks.addresses[row]})"
        )


def _check_result(
    tasks: TaskBatch,
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    final_height: NDArray[np.int64],
    final_width: NDArray[np.int64],
) -> None:
    bad = np.nonzero((height != final_height) | (width != final_width))[0]
    if len(bad):
        row = int(bad[0])
        raise TaskError(
            f"plan: space {tasks.space.name!r} must end at the LR size {final_height[row]}x{final_width[row]}, got "
            f"{height[row]}x{width[row]} ({tasks.addresses[row]}); end it with a resize of rule 'final'"
        )

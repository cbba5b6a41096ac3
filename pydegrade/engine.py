"""Runs tasks on images: one image after the other through its whole chain, many images at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .errors import OpError, is_out_of_memory, shown
from .native import binding, devices
from .native.packed import Layout, dense_layout, pack, unpack
from .ops.plain import each
from .plan import Plan, make_plan
from .tasks.task import TaskBatch, check_tasks


@dataclass(frozen=True)
class Pair:
    """One training pair, or a batch of them.

    Attributes:
        lr: degraded image(s), float32, [3, h, w] or [B, 3, h, w], multiples of 1/255 in [0, 1].
        target: what a loss should compare with, [3, H, W] or [B, 3, H, W]: the HR image, or the sharpened HR image where
            the space says `target = "<sharpen slot>"`.
    """

    lr: torch.Tensor
    target: torch.Tensor


@dataclass(frozen=True)
class Stage:
    """One moment of a task: the slot that ran and the image after it (`slot` is "hr" for the start, "lr" for the result
    after rounding)."""

    slot: str
    image: torch.Tensor


def degrade(hr: torch.Tensor, tasks: TaskBatch) -> torch.Tensor:
    """Degrade a batch, one task per image.

    Args:
        hr: float32 [B, 3, H, W], RGB in [0, 1], on the CPU or on CUDA; H and W multiples of the space's scale. Also 1 or 4
            channels, where the space has no JPEG and no gray or correlated noise.
        tasks: B tasks.
    Returns:
        float32 [B, 3, H / scale, W / scale], multiples of 1/255 in [0, 1], on the device of `hr`. The bits depend on
        image and task alone, not on batch, threads, order, instruction set or device. Rows of one sample whose frames
        follow each other are a clip (`TaskBatch.clips`), on which a video codec acts as a whole: then on all of the clip.
        On CUDA the work is queued on the current stream and nothing is waited for, so the range of the pixels is looked
        at only with PYDEGRADE_SYNC=1.
    Raises:
        TypeError, ValueError: wrong dtype, shape, device, range or count; the message names the first bad row.
    """
    return _degrade_dense(hr, tasks, want_target=False).lr


def degrade_batch(hr: torch.Tensor, tasks: TaskBatch) -> Pair:
    """As `degrade`, with the target of each pair: `Pair(lr [B, 3, h, w], target [B, 3, H, W])`.

    Where the target is the HR image itself, `target` is `hr`, not a copy.
    """
    return _degrade_dense(hr, tasks, want_target=True)


def _degrade_dense(hr: torch.Tensor, tasks: TaskBatch, want_target: bool) -> Pair:
    """`degrade_batch`; without a target, `hr` takes its place."""
    check_tasks("degrade", tasks)
    if not isinstance(hr, torch.Tensor) or hr.dim() != 4:
        raise TypeError(f"degrade: hr must be a tensor [B, 3, H, W], got {_shape_of(hr)}")
    _check_image(hr, "hr", len(tasks))
    hr = hr.contiguous()
    plan = make_plan(tasks, dense_layout(hr))
    batch, channels, height, width = hr.shape
    scale = tasks.space.scale
    lr, target = _run(plan, hr, want_target, lr_shape=(batch, channels, height // scale, width // scale))
    return Pair(lr, hr if target is None else target)


def degrade_list(images: Sequence[torch.Tensor], tasks: TaskBatch) -> list[torch.Tensor]:
    """Degrade images of different sizes, one task each.

    Args:
        images: B tensors, float32 [3, H, W], RGB in [0, 1]; sides multiples of the space's scale.
        tasks: B tasks.
    Returns:
        B tensors [3, H / scale, W / scale].
    """
    return [pair.lr for pair in _degrade_packed(images, tasks, want_target=False)]


def degrade_pairs(images: Sequence[torch.Tensor], tasks: TaskBatch) -> list[Pair]:
    """As `degrade_list`, with the target of each pair."""
    return _degrade_packed(images, tasks, want_target=True)


def _degrade_packed(images: Sequence[torch.Tensor], tasks: TaskBatch, want_target: bool) -> list[Pair]:
    """`degrade_pairs`; without targets, the images take their place."""
    data, layout = _pack(images, tasks)
    if not len(tasks):
        return []
    plan = make_plan(tasks, layout)
    lr, target = _run(plan, data, want_target)
    targets = list(images) if target is None else unpack(target, plan.src)
    return [Pair(image, goal) for image, goal in zip(unpack(lr, plan.dst), targets)]


def trace(images: Sequence[torch.Tensor] | torch.Tensor, tasks: TaskBatch) -> list[list[Stage]]:
    """The image after every slot, for looking and testing.

    Args:
        images: as for `degrade_list`, or a batch [B, 3, H, W].
        tasks: B tasks.
    Returns:
        Per task: Stage("hr", ...), one Stage per slot that does something, in running order, and Stage("lr", ...), which
        equals the result of `degrade` bit for bit.
    """
    data, layout = _pack(list(images), tasks)
    if not len(tasks):
        return []
    plan = make_plan(tasks, layout)
    names = [slot.name for slot in tasks.space.slots]
    slots_of_rows = np.split(plan.step_slot, plan.step_start[1:-1])
    stages = []
    for images, slots in zip(_trails(plan, data), slots_of_rows):
        moments = ["hr", *(names[slot] for slot in slots), "lr"]
        stages.append([Stage(moment, image) for moment, image in zip(moments, images)])
    return stages


def _trails(plan: Plan, data: torch.Tensor) -> list[list[torch.Tensor]]:
    """Every row's image at the start, after each of its steps and after rounding."""
    trails: list[list[torch.Tensor]] = [[] for _ in range(len(plan.src))]
    _carry(plan, data, lambda row, done, image: trails[row].append(image.clone()), every_step=True)
    return trails


def _carry(
    plan: Plan,
    data: torch.Tensor,
    seen: Callable[[int, int, torch.Tensor], None] | None = None,
    every_step: bool = False,
) -> list[torch.Tensor]:
    """Every row's image after its steps and rounding.

    Steps of the compiled module that follow each other run in one go, those of other ops one at a time; the frames of a
    clip wait for each other where an op acts on all of them.

    Args:
        seen: called with a row, how many of its steps are done and the image there: at the start, after the steps that run
            in one go, where the target is taken, and once more after rounding.
        every_step: run steps of the compiled module one at a time too.
    """
    images = list(unpack(data, plan.src))
    _explain_range(images)
    rows_of_clip = {row: clip for clip in plan.tasks.clips if len(clip) > 1 for row in clip}
    counts, done = np.diff(plan.step_start), np.zeros(len(images), np.int64)
    targets = plan.target_step

    def note(rows: Iterable[int]) -> None:
        for row in rows if seen is not None else ():
            assert seen is not None
            seen(row, int(done[row]), images[row])

    def run(rows: list[int], lasts: list[int], round_8bit: bool) -> None:
        if not rows:
            return
        firsts = plan.step_start[rows] + done[rows]
        for row, image in zip(
            rows, _run_steps(plan, [images[row] for row in rows], firsts, np.array(lasts), round_8bit)
        ):
            images[row] = image
        done[rows] = np.array(lasts) - plan.step_start[rows]

    note(range(len(images)))
    rounded = np.zeros(len(images), bool)
    while (done < counts).any():
        compiled: tuple[list[int], list[int]] = [], []
        ending: tuple[list[int], list[int]] = [], []
        groups: list[list[int]] = []
        for row in np.nonzero(done < counts)[0].tolist():
            step, end = int(plan.step_start[row] + done[row]), int(plan.step_start[row + 1])
            if plan.step_op[step] >= 0:
                last = step + 1
                target = int(plan.step_start[row] + targets[row])
                while not every_step and last < end and plan.step_op[last] >= 0 and last != target:
                    last += 1
                ends = last == end and not every_step and last != target
                for values, value in zip(ending if ends else compiled, (row, last)):
                    values.append(value)
                continue
            clip = rows_of_clip.get(row)
            if clip is None or plan.torch_ops[-1 - plan.step_op[step]].op.apply_clip is None:
                groups.append([row])
            elif row == clip.start:
                # Their columns and orders are the same: all come to this step, some later than others.
                places = plan.step_start[clip.start : clip.stop] + done[clip.start : clip.stop]
                there = done[clip.start : clip.stop] < counts[clip.start : clip.stop]
                if there.all() and (plan.step_slot[places] == plan.step_slot[step]).all():
                    groups.append(list(clip))
        steps = [[int(plan.step_start[row] + done[row]) for row in group] for group in groups]
        for group, made in zip(groups, _apply_all(plan, steps, [[images[row] for row in group] for group in groups])):
            for row, image in zip(group, made):
                images[row] = image
                done[row] += 1
        run(*compiled, round_8bit=False)
        run(*ending, round_8bit=True)
        rounded[ending[0]] = True
        note([*(row for group in groups for row in group), *compiled[0]])
    left = np.nonzero(~rounded)[0].tolist()
    run(left, plan.step_start[1:][left].tolist(), round_8bit=True)
    note(range(len(images)))
    return images


def _apply_all(plan: Plan, steps: list[list[int]], images: list[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
    """A step of an op in plain torch for each image, or of one that takes them together for the frames of each clip."""
    if not steps:
        return []
    # Copies: an op that writes to its image, although it must not, spoils none that is shown or degraded again.
    return each(
        lambda place: _apply(plan, steps[place], [image.clone() for image in images[place]]),
        len(steps),
        images[0][0].device,
        concurrent=all(plan.torch_ops[-1 - plan.step_op[step]].op.concurrent for group in steps for step in group),
    )


def _apply(plan: Plan, steps: list[int], images: list[torch.Tensor]) -> list[torch.Tensor]:
    """One step of an op in plain torch on an image or the frames of a clip, and whether its answer is what it declared."""
    items, item = plan.torch_ops[-1 - plan.step_op[steps[0]]], int(plan.step_item[steps[0]])
    op = items.op
    assert op.apply is not None
    first, second, third, fourth = items.key[item].tolist()
    words, values = (first, second, third, fourth), items.values(item)
    try:
        if len(images) == 1:
            made: Any = [op.apply(images[0], values, words)]
        else:
            assert op.apply_clip is not None
            made = op.apply_clip(images, values, words)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise OpError(f"{plan.place(steps[0])}: op {op.name!r}: apply failed: {reason}") from error
    if not isinstance(made, (list, tuple)) or len(made) != len(images):
        raise OpError(f"{plan.place(steps[0])}: op {op.name!r}: apply_clip must return {len(images)} frames in a list")
    for out, step, image in zip(made, steps, images):
        shape = (image.shape[0], int(plan.step_height[step]), int(plan.step_width[step]))
        fault = _fault_of(out, shape, image.device)
        if fault:
            raise OpError(f"{plan.place(step)}: op {op.name!r}: apply must return {fault}")
    return [out.detach().contiguous() for out in made]


def _fault_of(out: Any, shape: tuple[int, ...], device: torch.device) -> str:
    """What is wrong with the answer of an op in plain torch; "" when nothing is."""
    if not isinstance(out, torch.Tensor) or out.dtype != torch.float32 or tuple(out.shape) != shape:
        got = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, torch.Tensor) else type(out).__name__
        return f"float32 {shape}, got {got}"
    if out.device != device:
        return f"a tensor on {device}, got {out.device}"
    # A sum is one pass, and finite only where all values are; of huge values it may not be, which is looked at.
    is_finite = torch.isfinite(out.sum()) or torch.isfinite(out).all()
    return "" if is_finite else "finite values, got NaN or infinity"


@dataclass(frozen=True)
class Prepared:
    """Tasks planned for a batch of equal images: what needs no pixels is done, once for any number of batches.
    `degrade_batch` is what `pydegrade.degrade_batch` does; `run` does it without allocating memory or looking at pixels,
    and may be called inside a CUDA graph capture.

    Attributes:
        plan: the steps.
        shape: of the HR batch, (B, channels, H, W).
        lr_shape: of the result.
        device: where the images are.
        has_target: whether the pair's target differs from the HR images.
    """

    plan: Plan
    shape: tuple[int, int, int, int]
    lr_shape: tuple[int, int, int, int]
    device: torch.device
    has_target: bool

    def degrade_batch(self, hr: torch.Tensor) -> Pair:
        """The planned tasks on a batch: bits and errors of `pydegrade.degrade_batch`.

        Args:
            hr: float32 of `shape`, in [0, 1], on `device`.
        """
        _check_image(hr, "hr", self.shape[0])
        self._check_batch("degrade_batch", hr)
        hr = hr.contiguous()
        program = self.program if self.device.type == "cuda" and not self.plan.torch_ops else None
        lr, target = _run(self.plan, hr, self.has_target, program=program, lr_shape=self.lr_shape)
        return Pair(lr, hr if target is None else target)

    @cached_property
    def program(self) -> devices.Program:
        """What the CUDA kernels read."""
        if self.plan.torch_ops:
            raise OpError(f"run: expected ops of the compiled module only, got {self.plan.torch_ops[0].op.name!r}")
        return _record(self.plan, self.device, self.has_target)

    def empty(self) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Memory for `run`: LR batch, target batch (None where it is the HR batch), arena."""
        target = torch.empty(self.shape, device=self.device) if self.has_target else None
        arena = torch.empty(self.program.arena_bytes, dtype=torch.uint8, device=self.device)
        return torch.empty(self.lr_shape, device=self.device), target, arena

    def run(
        self,
        hr: torch.Tensor,
        lr: torch.Tensor,
        target: torch.Tensor | None,
        arena: torch.Tensor,
        backend: devices.Backend | None = None,
    ) -> None:
        """Degrade `hr` into `lr` and `target`, on the current stream. Pixels must lie in [0, 1]; nobody looks.

        Args:
            hr: float32 [B, C, H, W], contiguous, on the prepared device.
            lr, target, arena: from `empty`, any number of times.
            backend: what runs the program; by default the device's own.
        """
        self._check_batch("run", hr)
        if hr.dtype != torch.float32 or not hr.is_contiguous():
            raise ValueError(f"run: hr must be contiguous float32, got {hr.dtype}")
        if tuple(lr.shape) != self.lr_shape or (target is None) == self.has_target:
            raise ValueError("run: lr, target and arena must be those of Prepared.empty")
        if self.device.type == "cpu" and backend is None:
            binding.run(self.plan.steps, src=hr, dst=lr, target=target, check_range=False)
            return
        if self.device.type == "cuda":
            # The program was copied beside the stream that runs it now.
            self.program.device.record_stream(torch.cuda.current_stream(self.device))
        devices.run(self.program, hr, lr, target=target, arena=arena, backend=backend)

    def _check_batch(self, where: str, hr: torch.Tensor) -> None:
        if tuple(hr.shape) != self.shape or hr.device != self.device:
            expected = f"the prepared shape {self.shape} on {self.device}"
            raise ValueError(f"{where}: hr must have {expected}, got {tuple(hr.shape)} on {hr.device}")


def prepare(
    tasks: TaskBatch, height: int, width: int, device: torch.device | str = "cuda", channels: int = 3
) -> Prepared:
    """Plan tasks for HR images of one size: for many runs, or in another thread while an earlier batch is degraded.

    Args:
        tasks: B tasks.
        height, width: px, multiples of the space's scale.
        device: where the images will be. On CUDA the plan is copied there, on a stream of its own, and the copy waited for.
        channels: of the images: 1, 3 (RGB) or 4.
    Returns:
        What `degrade_batch` would do, without the images.
    Raises:
        TypeError, ValueError, TaskError: as `degrade_batch`; a device that is neither the CPU nor CUDA.
    """
    check_tasks("prepare", tasks)
    for name, side in (("height", height), ("width", width)):
        if not isinstance(side, (int, np.integer)) or isinstance(side, bool) or not 1 <= side < 2**24:
            raise ValueError(f"prepare: {name} must be a whole number of px >= 1, got {shown(side)}")
    if channels not in (1, 3, 4):
        raise ValueError(f"prepare: channels must be 1, 3 or 4, got {shown(channels)}")
    where = _known_device(device)
    batch, scale = len(tasks), tasks.space.scale
    sides = np.full(batch, height, np.int32), np.full(batch, width, np.int32)
    plan = make_plan(tasks, Layout.of_sizes(*sides, channels))
    prepared = Prepared(
        plan=plan,
        shape=(batch, channels, height, width),
        lr_shape=(batch, channels, height // scale, width // scale),
        device=where,
        has_target=tasks.space.target != "hr",
    )
    if where.type == "cuda" and not plan.torch_ops and batch:
        # Runs may follow on any stream, and nothing that was queued before is waited for.
        stream = torch.cuda.Stream(where)
        with torch.cuda.stream(stream):
            prepared.program  # noqa: B018
        stream.synchronize()
    return prepared


def _known_device(device: torch.device | str) -> torch.device:
    """A device with its number; ValueError unless it is the CPU or CUDA."""
    try:
        where = torch.device(device)
    except (RuntimeError, TypeError):
        where = None
    if where is None or where.type not in ("cpu", "cuda"):
        raise ValueError(f"prepare: device must be the CPU or CUDA, got {shown(device)}")
    if where.type == "cuda":
        devices.backend_of(where)
        return torch.device("cuda", torch.cuda.current_device() if where.index is None else where.index)
    return torch.device("cpu")


def _run(
    plan: Plan,
    data: torch.Tensor,
    want_target: bool,
    backend: devices.Backend | None = None,
    program: devices.Program | None = None,
    lr_shape: tuple[int, ...] | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """LR and, when asked for and not `data` itself in every row, target, in the shape of `data`.

    Args:
        data: HR images in one block, packed or of equal sides.
        backend: runs the CUDA plan in place of the device's own.
        program: the plan recorded before, with a target if one is wanted.
        lr_shape: of the LR images; None: packed.
    """
    if plan.torch_ops:
        shape = (-1,) if lr_shape is None else lr_shape
        if not want_target or not plan.has_target:
            return pack(_carry(plan, data.view(-1)))[0].view(shape), None
        targets: dict[int, torch.Tensor] = {}

        def seen(row: int, done: int, image: torch.Tensor) -> None:
            if done == plan.target_step[row]:
                targets.setdefault(row, image)

        made = _carry(plan, data.view(-1), seen)
        return pack(made)[0].view(shape), pack([targets[row] for row in range(len(made))])[0].view(data.shape)
    lr = data.new_empty(plan.steps.dst_floats if lr_shape is None else lr_shape)
    target = torch.empty_like(data) if want_target and (plan.has_target or program is not None) else None
    if data.device.type == "cpu" and backend is None:
        with _named(plan):
            in_range = binding.run(plan.steps, src=data, dst=lr, target=target, check_range=True)
        if not in_range:
            _explain_range(unpack(data.view(-1), plan.src))
        return lr, target
    if os.environ.get("PYDEGRADE_SYNC") == "1":
        _explain_range(unpack(data.view(-1), plan.src))
    if program is None:
        program = _record(plan, data.device, target is not None)
    else:
        program.device.record_stream(torch.cuda.current_stream(data.device))
    devices.run(program, data, lr, target=target, backend=backend)
    return lr, target


def _run_steps(
    plan: Plan,
    images: list[torch.Tensor],
    firsts: NDArray[np.int64],
    lasts: NDArray[np.int64],
    round_8bit: bool = False,
) -> list[torch.Tensor]:
    """Steps first .. last - 1 on each image, through the same code as a whole chain."""
    data, src = pack(images)
    counts = lasts - firsts
    height, width = src.height.copy(), src.width.copy()
    some = counts > 0
    height[some], width[some] = plan.step_height[lasts[some] - 1], plan.step_width[lasts[some] - 1]
    dst = Layout.of_sizes(height, width, src.channels)
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    # Of every image's steps: which of the plan's they are.
    steps = np.arange(start[-1]) + np.repeat(firsts - start[:-1], counts)
    one_each = {
        **plan.fields,
        "src_rows": src.fields(),
        "dst_rows": dst.fields(),
        "target_step": np.zeros(len(images), np.int32),
        "step_start": start,
        "step_op": np.ascontiguousarray(plan.step_op[steps]),
        "step_item": np.ascontiguousarray(plan.step_item[steps]),
        "step_height": np.ascontiguousarray(plan.step_height[steps]),
        "step_width": np.ascontiguousarray(plan.step_width[steps]),
        "round_8bit": round_8bit,
    }
    out = data.new_empty(dst.total)
    with _named(plan, firsts):
        if data.device.type == "cpu":
            binding.call("chain", src=data, dst=out, target=None, check_range=False, **one_each)
        else:
            devices.run(devices.record("chain", data.device, has_target=False, **one_each), data, out)
    return unpack(out, dst)


def _record(plan: Plan, device: torch.device, want_target: bool) -> devices.Program:
    # The recorder only asks whether there is a target; where it lies is known when the program runs.
    with _named(plan):
        program = plan.steps.program(want_target)
    return devices.program_of(program, device)


_FAULT = re.compile(r"chain: (.*) in row (\d+), step (\d+)")
"""What the compiled module says of a step that it refuses; steps count from the row's first."""


@contextmanager
def _named(plan: Plan, firsts: NDArray[np.int64] | None = None) -> Iterator[None]:
    """Refusals of steps, with slot and address. `firsts`: the first step that runs in each row; None: the row's first."""
    try:
        yield
    except ValueError as error:
        found = _FAULT.fullmatch(str(error))
        if found is None:
            raise
        row, step = int(found[2]), int(found[3])
        at = int((plan.step_start if firsts is None else firsts)[row]) + step
        raise ValueError(f"degrade: {plan.place(at)}: {found[1]}") from None


def _uneven(images: int, tasks: int) -> str:
    """The refusal of another number of images than of tasks."""
    hint = ""
    if tasks == 1 and images > 1:
        hint = f"; one task for all of them: tasks.take([0] * {images})"
    elif images == 1 and tasks > 1:
        hint = f"; several LR images of one: hr.expand({tasks}, -1, -1, -1), [image] * {tasks}"
    return f"degrade: expected one image per task, got {images} images and {tasks} tasks{hint}"


def _pack(images: Sequence[torch.Tensor], tasks: TaskBatch) -> tuple[torch.Tensor, Layout]:
    check_tasks("degrade", tasks)
    if len(images) != len(tasks):
        raise ValueError(_uneven(len(images), len(tasks)))
    for row, image in enumerate(images):
        if not isinstance(image, torch.Tensor) or image.dim() != 3:
            raise TypeError(f"degrade: image {row} must be a tensor [3, H, W], got {_shape_of(image)}")
        _check_image(image, f"image {row}", None)
        if image.shape[0] != images[0].shape[0]:
            counts = f"{images[0].shape[0]} and {image.shape[0]}"
            raise ValueError(f"degrade: images must have one number of channels, got {counts} (image {row})")
        if image.device != images[0].device:
            places = f"{images[0].device} and {image.device}"
            raise ValueError(f"degrade: images must be on one device, got {places} (image {row})")
    return pack(list(images))


def _check_image(image: torch.Tensor, name: str, batch: int | None) -> None:
    """Device, dtype, planes and count of one image or a batch; the range is checked as pixels are first read."""
    if image.device.type not in ("cpu", "cuda"):
        raise ValueError(f"degrade: {name} must be on the CPU or on CUDA, got {image.device}")
    if image.device.type == "cuda":
        devices.backend_of(image.device)
    if image.layout != torch.strided:
        raise ValueError(f"degrade: {name} must be dense, got {image.layout}")
    if image.dtype != torch.float32:
        hint = "; divide uint8 images by 255" if image.dtype == torch.uint8 else ""
        raise TypeError(f"degrade: {name} must be float32 in [0, 1], got {image.dtype}{hint}")
    if image.shape[-3] not in (1, 3, 4):
        raise ValueError(f"degrade: {name} must have 1, 3 (RGB) or 4 channels, got shape {tuple(image.shape)}")
    if batch is not None and image.shape[0] != batch:
        raise ValueError(_uneven(image.shape[0], batch))
    if image.numel() == 0:
        if batch == 0 and image.shape[-1] > 0 and image.shape[-2] > 0:
            return
        raise ValueError(f"degrade: {name} is empty, got shape {tuple(image.shape)}")


def _explain_range(images: Sequence[torch.Tensor]) -> None:
    """Name the first image with a value that is NaN or outside [0, 1]."""
    for row, image in enumerate(images):
        low, high = (float(bound) for bound in torch.aminmax(image))
        # A comparison with NaN is false, so this also catches NaN.
        if low >= 0.0 and high <= 1.0:
            continue
        if low != low or high != high:
            channel, y, x = (int(index) for index in torch.isnan(image).nonzero()[0])
            found = f"NaN at channel {channel}, y {y}, x {x}"
        else:
            hint = "; divide 8-bit values by 255" if low >= 0 and 1.5 < high <= 255 else ""
            found = f"values from {low:g} to {high:g}{hint}"
        raise ValueError(f"degrade: pixels must lie in [0, 1], got {found}, in image {row}")


def _shape_of(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"shape {tuple(value.shape)}"
    return type(value).__name__

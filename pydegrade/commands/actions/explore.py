"""What `degrade explore` shows: controls of a space, a task changed by them, its stages, its TOML and its Python."""

from __future__ import annotations

import html
import json
import math
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...engine import degrade_list, trace
from ...errors import ImageError, TaskError
from ...files.dataset import photographs_folder
from ...files.paths import display_name
from ...files.pixels import Pixels, to_float, to_uint8
from ...files.read import read_rgb8
from ...files.write import encode_png
from ...ops.declaration import Column
from ...sheet import running_slots, slot_captions
from ...tasks.rows import number_text
from ...tasks.sampler import sample
from ...tasks.space import Space, preset_names
from ...tasks.task import TaskBatch
from .gallery_samples import read_groups

SIDE_PX = 512
"""Largest square of a photograph that is degraded; one answer then takes a fraction of a second."""
SMALL_PX = 256
"""The same for each task of "draw again"."""
DRAWN = 9
"""Tasks of "draw again"."""
_LOOKED_AT = 2000
"""Tasks of a space by which its choices and its whole numbers are known."""
_THUMBNAIL_PX = 160
ORDER = "order"


@dataclass(frozen=True)
class Control:
    """One parameter that a person may change, within what the space draws.

    Attributes:
        name: as `TaskBatch.replace` takes it: "slot.column", "gate.on", or "order".
        slot: whose card it stands on.
        label: its short name.
        doc: one sentence.
        choices: texts to choose from; empty for numbers.
        low, high, step: of numbers.
    """

    name: str
    slot: str
    label: str
    doc: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0

    @property
    def shown(self) -> tuple[float, float]:
        """Limits as a slider says them: with four digits, so that no value of the space lies outside."""
        if self.step >= 1:
            return self.low, self.high
        return four_digits(self.low, math.floor), four_digits(self.high, math.ceil)


def four_digits(value: float, whole: Callable[[float], int] = round) -> float:
    """Rounded to four significant decimal digits, downwards or upwards by math.floor or math.ceil."""
    if value == 0:
        return 0.0
    places = 3 - int(f"{value:e}".partition("e")[2])
    # An exact multiple of the last place stays: 0.3 * 10^4 is not 3000 in binary.
    scaled = float(f"{value * 10.0**places:.9g}")
    return float(f"{whole(scaled) * 10.0**-places:.4g}")


def controls_of(space: Space) -> list[Control]:
    """The parameters that a space draws with more than one value, in running order of their slots."""
    tasks = sample(space, 0, range(_LOOKED_AT))
    limits = _limits(space)
    found = []
    for gate in space.gate_names:
        found.append(Control(f"{gate}.on", gate, "on", "Whether the gate is open.", ("0", "1")))
    for slot in space.slots:
        for column in space.op(slot.name).columns:
            name = f"{slot.name}.{column.name}"
            if name in limits:
                found += _control(slot.name, column, tasks.raw(name), limits[name])
    orders = list(dict.fromkeys(",".join(order) for order in _orders(space, tasks)))
    if 1 < len(orders) <= 24:
        found.append(Control(ORDER, ORDER, ORDER, "Slots in running order.", tuple(orders)))
    return found


def _limits(space: Space) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of every column that the space or one of its components draws."""
    limits: dict[str, tuple[float, float]] = {}
    for part in (space, *space.components):
        for slot in part.slots:
            for column, distribution in slot.columns:
                name = f"{slot.name}.{column}"
                low, high = distribution.bounds()
                before = limits.get(name, (low, high))
                limits[name] = (min(low, before[0]), max(high, before[1]))
    return limits


def _control(slot: str, column: Column, drawn: NDArray[Any], limits: tuple[float, float]) -> list[Control]:
    name = f"{slot}.{column.name}"
    if column.choices:
        seen = tuple(column.choices[code] for code in np.unique(drawn).tolist())
        return [Control(name, slot, column.name, column.doc, seen)] if len(seen) > 1 else []
    # A component of a mixture that has no such slot leaves the neutral value.
    low = min(max(limits[0], column.low), float(drawn.min()))
    high = max(min(limits[1], column.high), float(drawn.max()))
    if np.isclose(low, high):
        return []
    whole = np.unique(drawn)
    if bool((whole == np.round(whole)).all()) and len(whole) > 1:
        step: float = math.gcd(*np.diff(whole).astype(int).tolist())
        return [Control(name, slot, column.name, column.doc, (), float(whole[0]), float(whole[-1]), step)]
    return [Control(name, slot, column.name, column.doc, (), low, high, (high - low) / 1000)]


def _orders(space: Space, tasks: TaskBatch) -> list[list[str]]:
    names = [slot.name for slot in space.slots]
    return [[names[slot] for slot in program if slot >= 0] for program in tasks.program.tolist()]


def value_of(task: TaskBatch, control: Control) -> float | str:
    """What a control stands at; of a column without effect, what was drawn."""
    if control.name == ORDER:
        return ",".join(_orders(task.space, task)[0])
    if control.name.endswith(".on") and control.name.removesuffix(".on") in task.space.gate_names:
        return str(int(task.column(control.name)[0]))
    value = task.raw(control.name)[0]
    # The shortest decimal that gives the stored number back.
    return task.space.column(control.name).choices[value] if control.choices else float(number_text(value))


def moved(task: TaskBatch, control: Control, value: Any) -> TaskBatch:
    """The task with a control at another place.

    Raises:
        TaskError, SpaceError: a value that the control does not have.
    """
    if control.choices:
        if value not in control.choices:
            raise TaskError(f"{control.name}: must be one of {', '.join(control.choices)}")
        return task.replace(**{control.name: int(value) if control.choices == ("0", "1") else value})
    if not isinstance(value, (int, float)) or not control.low <= value <= control.high:
        raise TaskError(f"{control.name}: must be in {control.low:g}..{control.high:g}")
    return task.replace(**{control.name: value})


def task_at(space: Space, address: str) -> TaskBatch:
    """The task of an address; it must be one of the space. Errors as `TaskBatch.from_addresses`, and for several frames."""
    tasks = TaskBatch.from_addresses([address.strip()], space=space)
    if len(tasks) != 1:
        raise TaskError(f"the address must be of one frame, got one of {len(tasks)}")
    return tasks


def drawn_after(task: TaskBatch) -> TaskBatch:
    """The tasks that the space draws next, as it draws them."""
    first = int(task.indices[0]) + 1
    return sample(task.space, int(task.seeds[0]), range(min(first, 2**63 - DRAWN), min(first, 2**63 - DRAWN) + DRAWN))


@dataclass(frozen=True)
class Group:
    """Tasks of a file of groups.

    Attributes:
        name: of the group.
        tasks: its own, in the order of the file.
        said: what the file says of each.
    """

    name: str
    tasks: TaskBatch
    said: tuple[str, ...]


def groups_of(path: Path, space: Space | None) -> tuple[Group, ...]:
    """The groups of a file, at least one.

    Args:
        space: that tasks must be of; None: any preset.
    Raises:
        TaskError: no such file, a damaged one, or tasks of another space.
    """
    tasks, scores = read_groups(path, space)
    names = scores.choices["group"]
    found = []
    for name in dict.fromkeys(names):
        rows = [row for row, one in enumerate(names) if one == name]
        said = tuple(", ".join(f"{key} {values[row]:.3g}" for key, values in scores.values.items()) for row in rows)
        found.append(Group(name, tasks.take(rows), said))
    return tuple(found)


# ---- photographs


def photograph(path: Path | None) -> Pixels:
    """uint8 [H, W, 3]; None: one that ships with scikit-image. Errors as `read_rgb8`."""
    return read_rgb8(photographs_folder() / "astronaut.png" if path is None else path).array


def square(pixels: Pixels, scale: int, across: float = 0.5, down: float = 0.5, side_px: int = SIDE_PX) -> Pixels:
    """A square of a photograph whose side is a multiple of the scale, at most `side_px`.

    Args:
        pixels: uint8 [H, W, 3].
        across, down: where, in [0, 1]; 0.5 is the middle.
    Raises:
        ImageError: an image that is smaller than the scale.
    """
    height, width = pixels.shape[:2]
    side = min(side_px, height, width) // scale * scale
    if side == 0:
        raise ImageError(f"sides must be at least the scale {scale}, got {width} x {height}")
    top, left = round((height - side) * down), round((width - side) * across)
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def whole(pixels: Pixels, side: int, across: float, down: float) -> str:
    """HTML: the photograph, small, and where the square lies in it. Arguments as `square`, with its side."""
    height, width = pixels.shape[:2]
    small = pixels[:: max(1, height // 320), :: max(1, width // 320)]
    left, top = (width - side) * across / width, (height - side) * down / height
    place = f"left:{left:.2%};top:{top:.2%};width:{side / width:.2%};height:{side / height:.2%}"
    uri = _compressed(np.ascontiguousarray(small))
    return f'<div class="whole"><img src="{uri}" alt=""><i style="{place}"></i></div>'


# ---- what is shown


@dataclass(frozen=True)
class Shown:
    """One answer.

    Attributes:
        hr, lr: images as data URIs, LR without loss.
        stages: HTML, the image after every slot.
    """

    hr: str
    lr: str
    stages: str


def shown(hr: Pixels, task: TaskBatch) -> Shown:
    """Degrade a square by one task, and what of that is seen."""
    (stages,) = trace([to_float(hr)], task)
    figures = []
    for stage in stages:
        height, width = stage.image.shape[1:]
        captions = [f"{width} x {height} px"]
        if stage.slot not in ("hr", "lr"):
            captions += slot_captions(task, 0, stage.slot)
        title = stage.slot.upper() if stage.slot in ("hr", "lr") else stage.slot
        lines = "<br>".join(html.escape(text) for text in captions)
        figures.append(
            f'<figure><img src="{_thumbnail(stage.image)}" alt="{html.escape(title)}">'
            f"<figcaption><b>{html.escape(title)}</b><br>{lines}</figcaption></figure>"
        )
    strip = f'<div class="strip">{"".join(figures)}</div>'
    return Shown(_compressed(hr), exact(to_uint8(stages[-1].image)), strip)


def previews(hr: Pixels, tasks: TaskBatch) -> list[Pixels]:
    """LR of each task, enlarged pixel by pixel."""
    found = []
    for lr in degrade_list([to_float(hr)] * len(tasks), tasks):
        pixels = to_uint8(lr)
        factor = max(1, round(256 / pixels.shape[0]))
        found.append(pixels.repeat(factor, axis=0).repeat(factor, axis=1))
    return found


def _thumbnail(image: torch.Tensor) -> str:
    """A stage, float32 [3, H, W]: pixel by pixel where it is small, else the means of squares."""
    factor = max(image.shape[1:]) // _THUMBNAIL_PX
    if factor < 2:
        return exact(to_uint8(image))
    return _compressed(to_uint8(torch.nn.functional.avg_pool2d(image, factor, ceil_mode=True)))


def exact(pixels: Pixels) -> str:
    """A data URI without loss."""
    return "data:image/png;base64," + b64encode(encode_png(pixels)).decode()


def _compressed(pixels: Pixels) -> str:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=92, subsampling=0)
    return "data:image/jpeg;base64," + b64encode(stream.getvalue()).decode()


# ---- what is taken along


def toml_of(task: TaskBatch) -> str:
    """A space that always does what the task does; at the task's seed and index it gives the same pixels.

    Raises:
        TaskError: a slot that takes files, which have no names here.
    """
    space = task.space
    lines = [
        f"# Every image is degraded as by {task.addresses[0]}",
        "[space]",
        'name = "explored"',
        f"scale = {space.scale}",
        f"source = {json.dumps(f'degrade explore, {space.name}@{space.digest[:8]}')}",
        f"hr_px = {space.hr_px}",
    ]
    running = running_slots(task, 0)
    if space.target != "hr" and space.target in running:
        lines.append(f"target = {json.dumps(space.target)}")
    for slot in running:
        if any(one.name == slot and one.pool is not None for part in (space, *space.components) for one in part.slots):
            raise TaskError(f"slot {slot} takes kernels from files; change a copy of the space's own file instead")
        lines += ["", "[[slot]]", f"name = {json.dumps(slot)}", f"op = {json.dumps(space.op(slot).name)}"]
        mask = task.masks(slot)
        for column in space.op(slot).columns:
            name = f"{slot}.{column.name}"
            if not mask.get(column.name, np.ones(1, bool))[0]:
                continue
            text = task.labels(name)[0]
            lines.append(f"{column.name} = {json.dumps(text) if column.choices else text}")
    return "\n".join(lines) + "\n"


def python_of(task: TaskBatch, space_file: str) -> str:
    """A program that degrades an image by the task.

    Args:
        space_file: where the space comes from, as the command was told.
    """
    known = task.space.name in preset_names() and space_file == task.space.name
    given = "" if known else f", space=pydegrade.Space.load({display_name(space_file)!r})"
    return (
        "import pydegrade\n"
        "from pydegrade.files import read_image\n\n"
        f"tasks = pydegrade.TaskBatch.from_addresses([{task.addresses[0]!r}]{given})\n"
        'hr = read_image("photograph.png")  # uint8 [H, W, 3], sides multiples of the scale\n'
        "(lr,) = pydegrade.degrade_list([pydegrade.files.to_float(hr)], tasks)  # float32 [3, h, w], [0, 1]\n"
    )

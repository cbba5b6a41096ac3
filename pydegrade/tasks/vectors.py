"""Degradation vectors: the 33 numbers that DASR's predictor learns, and back.

Layout (index: column): 0-3 blur1 size, sigma_x, sigma_y, angle; 4-7 blur2 the same; 8-9 sinc size, cutoff; 10 resize1
factor, 11-13 its mode (area, bilinear, bicubic); 14, 15-17 resize2; 18 noise1 level (Gaussian sigma or Poisson gain), 19
gray, 20-21 kind (Gaussian, Poisson); 22-25 noise2; 26 jpeg1 quality, 27 jpeg2 quality; 28-29 order (sinc before JPEG, JPEG
before sinc); 30-32 mode of resize3. Numbers are (value - low) / (high - low), not clipped; flags are 0 or 1.

Source: the released DASR code (Liang et al. 2022), with its defects repaired: a vector belongs to its image, slot 9 is the
cutoff, and a mask says which entries mean something. `compat="dasr2022"` gives the released numbers instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TaskError, nearest, shown
from ..native.given import is_one_of, real_array
from .rows import Rows
from .space import Space
from .vector_entries import ENTRIES as ENTRIES  # what callers of this module ask for
from .vector_entries import GROUPS, LEVELS, ORDERS, PLACE, Entry
from .vector_entries import SIZE as SIZE
from .vector_entries import TABLE as TABLE

SCHEMES = ("dasr33", "dasr33-global")
COMPATS = (None, "dasr2022")
_GLOBAL_PRESET = "dasr-severe"


def _places(group: str) -> slice:
    """The entries of a group of flags, which stand side by side."""
    first = PLACE[GROUPS[group][0].name]
    return slice(first, first + len(GROUPS[group]))


def edited(vector: NDArray[np.float32], changes: Mapping[str, str]) -> NDArray[np.float32]:
    """A degradation vector of scheme "dasr33-global" with entries set by a person.

    Args:
        vector: float32 [33].
        changes: name -> value in its own unit: {"blur1.sigma_x_px": "2.5", "noise1.sigma_8bit": "5", "resize1.mode":
            "torch_area", "noise2.gray": "1", "order": "jpeg2,sinc"}. A noise strength also sets the kind.
    Returns:
        float32 [33], a new array.
    Raises:
        TaskError: unknown name (the nearest one is named), or a value out of range.
    """
    result = _vector(vector).astype(np.float32)
    if not isinstance(changes, Mapping) or not all(isinstance(name, str) for name in changes):
        raise TypeError(f"vector: changes must be a mapping of names to values, got {shown(changes)}")
    ranges = _ranges(Space.load(_GLOBAL_PRESET), "dasr33-global")
    flags = [entry.group for entry in TABLE if entry.column == "gray"]
    for name, text in changes.items():
        if name in GROUPS:
            labels = [entry.label for entry in GROUPS[name]]
            if not is_one_of(text, labels):
                raise TaskError(f"vector: {name} must be one of {', '.join(labels)}, got {shown(text)}")
            result[_places(name)] = [float(text == known) for known in labels]
            continue
        if name not in ranges and name not in flags:
            known = [*ranges, *GROUPS, *flags]
            raise TaskError(f"vector: no entry {name!r}{nearest(name, known)}")
        low, high = ranges.get(name, (0.0, 1.0))
        try:
            value = float(text)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise TaskError(f"vector: {name} must be a number, got {shown(text)}") from None
        if not low <= value <= high:
            raise TaskError(f"vector: {name} must be in [{low:g}, {high:g}], got {value:g}")
        slot, _, column = name.partition(".")
        if column in LEVELS.values():
            result[_places(f"{slot}.kind")] = [float(column == known) for known in LEVELS.values()]
            column = "level"
        result[PLACE[f"{slot}.{column}"]] = (value - low) / (high - low)
    return result


def editable() -> dict[str, tuple[float, float] | tuple[str, ...]]:
    """What `edited` takes: name -> (low, high) of a number in its own unit, or the words of a choice."""
    ranges = _ranges(Space.load(_GLOBAL_PRESET), "dasr33-global")
    found: dict[str, tuple[float, float] | tuple[str, ...]] = {}
    for entry in TABLE:
        if entry.label:
            found.setdefault(entry.group, tuple(one.label for one in GROUPS[entry.group]))
        elif entry.column == "level":
            found |= {f"{entry.slot}.{column}": ranges[f"{entry.slot}.{column}"] for column in LEVELS.values()}
        else:
            found[entry.group] = ranges.get(entry.group, (0.0, 1.0))
    return found


def described(vector: NDArray[np.float32]) -> dict[str, float | str]:
    """What a vector of scheme "dasr33-global" says, in units: {"blur1.sigma_x_px": 1.3, "noise1.kind": "gaussian", ...}.

    Numbers are not clipped to their ranges: a predictor may be unsure, or wrong.
    """
    ranges = _ranges(Space.load(_GLOBAL_PRESET), "dasr33-global")
    values = _vector(vector).astype(np.float64)

    def likeliest(group: str) -> str:
        return GROUPS[group][int(np.argmax(values[_places(group)]))].label

    said: dict[str, float | str] = {}
    for place, entry in enumerate(TABLE):
        if entry.label:
            said.setdefault(entry.group, likeliest(entry.group))
            continue
        column = LEVELS[likeliest(f"{entry.slot}.kind")] if entry.column == "level" else entry.column
        low, high = ranges.get(f"{entry.slot}.{column}", (0.0, 1.0))
        said[f"{entry.slot}.{column}"] = float(low + values[place] * (high - low))
    return said


def _vector(vector: Any) -> NDArray[Any]:
    """One vector, [33], from any numbers."""
    values = real_array(f"vector: expected {SIZE} numbers", vector)
    if values.shape != (SIZE,):
        raise TaskError(f"vector: expected shape [{SIZE}], got {list(values.shape)}")
    return values


Raw = Callable[[str], NDArray[Any]]
"""Values of a column by its full name, also where it has no effect."""


def encode(
    tasks: Rows, raw: Raw, scheme: str = "dasr33", compat: str | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors of tasks.

    Args:
        tasks: B rows of a space with DASR's slots (the dasr presets; with "dasr33-global" also the realesrgan presets).
        raw: what columns would be if they had an effect, [B]; the released code wrote such numbers down too.
        scheme: "dasr33": the ranges of the task's own level; "dasr33-global": those of the severe level for all, so that a
            number means the same everywhere.
        compat: None, or "dasr2022": the released numbers. Slot 9 is overwritten by 1 where the second blur runs; tasks
            without final sinc have -0.5 in slots 8 and 9; the entries of a skipped second blur are filled.
    Returns:
        float32 [B, 33], entries that mean nothing are 0; bool [B, 33], where they mean something.
    Raises:
        TaskError: unknown scheme, or a space without the ranges.
    """
    _check_scheme(scheme)
    if compat is not None and not is_one_of(compat, COMPATS):
        raise TaskError(f"vector: compat must be None or 'dasr2022', got {shown(compat)}")
    values = np.zeros((len(tasks), SIZE), np.float32)
    mask = np.zeros((len(tasks), SIZE), bool)
    for component, space in enumerate(tasks.space.components or (tasks.space,)):
        rows = np.nonzero(tasks.component == component)[0] if tasks.space.components else np.arange(len(tasks))
        part = _Encoder(tasks.take(rows), _of_rows(raw, rows), space, _ranges(space, scheme))
        values[rows], mask[rows] = part.released() if compat else part.encoded()
    return values, mask


def _of_rows(raw: Raw, rows: NDArray[np.int64]) -> Raw:
    return lambda name: raw(name)[rows]


def _check_scheme(scheme: str) -> None:
    if not is_one_of(scheme, SCHEMES):
        raise TaskError(f"vector: scheme must be one of {', '.join(SCHEMES)}, got {shown(scheme)}")


def _ranges(space: Space, scheme: str) -> Mapping[str, tuple[float, float]]:
    source = Space.load(_GLOBAL_PRESET) if scheme == "dasr33-global" else space
    if "dasr33" not in source.vectors:
        raise TaskError(
            f"vector: space {space.name!r} gives no ranges [vector.dasr33]; use scheme 'dasr33-global' or a dasr preset"
        )
    return source.vectors["dasr33"]


@dataclass(frozen=True)
class _Encoder:
    """Rows of one level, and what its vector is made with."""

    tasks: Rows
    raw: Raw
    space: Space
    ranges: Mapping[str, tuple[float, float]]

    def encoded(self, released: bool = False) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Values and mask, entry by entry."""
        values = np.zeros((len(self.tasks), SIZE))
        mask = np.zeros((len(self.tasks), SIZE), bool)
        slots = {slot.name for slot in self.space.slots}
        for place, entry in enumerate(TABLE):
            if entry.slot and entry.slot not in slots:
                continue
            if entry.label:
                values[:, place], mask[:, place] = self._flag(entry, slots, released)
            elif entry.column == "gray":
                values[:, place] = self.tasks.column(entry.name)
                mask[:, place] = self.tasks.present(entry.slot)
            else:
                for name, numbers, valid in self._numbers(entry, released):
                    normal = self._normal(name, numbers)
                    values[:, place] = np.where(valid, normal, values[:, place])
                    mask[:, place] |= valid
        return values, mask

    def released(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """As the released code has them."""
        values, mask = self.encoded(released=True)
        slots = {slot.name for slot in self.space.slots}
        if "sinc" in slots:
            # Without a final sinc the released code normalises the raw number 0.
            off = ~self._is("sinc", "sinc")
            for name in ("sinc.size_px", "sinc.cutoff_rad"):
                place = PLACE[name]
                values[:, place] = np.where(off, self._normal(name, np.zeros(len(self.tasks))), values[:, place])
                mask[:, place] |= off
            if "blur2" in slots:
                second = ~self._is("blur2", "delta")
                values[second, PLACE["sinc.cutoff_rad"]] = 1.0
                mask[second, PLACE["sinc.cutoff_rad"]] = True
        return values, mask

    def _normal(self, name: str, numbers: NDArray[Any]) -> NDArray[np.float64]:
        if name not in self.ranges:
            raise TaskError(f"vector: space {self.space.name!r} gives no range for {name}")
        low, high = self.ranges[name]
        return np.asarray((numbers.astype(np.float64) - low) / (high - low))

    def _is(self, slot: str, shape: str) -> NDArray[np.bool_]:
        return np.array(self.tasks.labels(f"{slot}.shape"), dtype=object) == shape

    def _flag(self, entry: Entry, slots: set[str], released: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        everywhere = np.ones(len(self.tasks), bool)
        if entry.group == "order":
            if not {"sinc", "jpeg2"} <= slots:
                return np.zeros(len(self.tasks)), ~everywhere
            both = self.tasks.present("sinc") & self.tasks.present("jpeg2")
            return both & (_sinc_first(self.tasks) == (entry.label == ORDERS[0])), both
        # The mode of a resize that does nothing means nothing; the released code writes down what it drew.
        codes = self.raw(entry.group) if released else self.tasks.column(entry.group)
        valid = everywhere if released else self.tasks.mask(entry.group)
        choices = self.tasks.space.column(entry.group).choices
        return valid & (codes == choices.index(entry.label)), valid

    def _numbers(self, entry: Entry, released: bool) -> list[tuple[str, NDArray[Any], NDArray[np.bool_]]]:
        """(name of the range, numbers, rows in which they count)."""
        tasks, present = self.tasks, self.tasks.present(entry.slot)
        if entry.column == "level":
            kinds = np.array(tasks.labels(f"{entry.slot}.kind"), dtype=object)
            names = {kind: f"{entry.slot}.{column}" for kind, column in LEVELS.items()}
            return [(name, tasks.column(name), present & (kinds == kind)) for kind, name in names.items()]
        if entry.slot == "sinc":
            return [(entry.name, tasks.column(entry.name), self._is("sinc", "sinc"))]
        if entry.slot.startswith("blur"):
            return [(entry.name, *self._blur(entry, released))]
        return [(entry.name, tasks.column(entry.name), present)]

    def _blur(self, entry: Entry, released: bool) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        shapes = np.array(self.tasks.labels(f"{entry.slot}.shape"), dtype=object)
        # The released code fills the entries of a second blur that it then skips. Whether that one was round is drawn
        # with "off" here, so its angle is taken as drawn.
        get = self.raw if released else self.tasks.column
        valid = np.ones(len(self.tasks), bool) if released else np.asarray(shapes != "delta")
        if entry.column == "size_px":
            return get(entry.name), valid
        round_kernel = np.array([shape.endswith("iso") and shape != "aniso" for shape in shapes], bool)
        numbers = get(entry.name)
        if entry.column == "sigma_y_px":
            numbers = np.where(round_kernel, get(f"{entry.slot}.sigma_x_px"), numbers)
        elif entry.column == "angle_rad":
            numbers = np.where(round_kernel, 0.0, numbers)
        # A sinc kernel has a size but no widths.
        return numbers, valid & np.asarray(shapes != "sinc")


def _sinc_first(tasks: Rows) -> NDArray[np.bool_]:
    names = [slot.name for slot in tasks.space.slots]
    place = {name: np.argmax(tasks.program == names.index(name), axis=1) for name in ("sinc", "jpeg2")}
    return np.asarray(place["sinc"] < place["jpeg2"])


def decode(
    values: NDArray[np.float32], mask: NDArray[np.bool_] | None, base: Rows, raw: Raw, scheme: str
) -> dict[str, Any]:
    """What vectors change in tasks: values by full name, and the order, for `TaskBatch.replace`.

    Args:
        values: float32 [B, 33] as `encode` gives them without compat.
        mask: bool [B, 33]; by default every entry of a slot that the space has. Masked entries keep base's values; a
            masked blur or sinc is off.
        base: B rows of a space that is no mixture; raw: what its columns would be if they had an effect.
    """
    if values.ndim != 2 or values.shape[1] != SIZE or not np.isfinite(values).all():
        raise TaskError(f"from_vector: expected finite numbers [B, {SIZE}], got shape {list(values.shape)}")
    _check_scheme(scheme)
    ranges = _ranges(base.space, scheme)
    valid = np.ones(values.shape, bool) if mask is None else mask
    if valid.shape != values.shape:
        raise TaskError(f"from_vector: mask must be [{len(values)}, {SIZE}], got {list(valid.shape)}")
    slots = {slot.name for slot in base.space.slots}
    changes: dict[str, Any] = {}

    def number(place: int, name: str, rows: NDArray[np.bool_] | None = None) -> None:
        if name not in ranges:
            raise TaskError(f"vector: space {base.space.name!r} gives no range for {name}")
        low, high = ranges[name]
        column = base.space.column(name)
        numbers = values[:, place].astype(np.float64) * (high - low) + low
        if name.endswith("size_px"):
            numbers = 2 * np.rint((numbers - 1) / 2) + 1
        elif column.integer or name.endswith("quality"):
            numbers = np.rint(numbers)
        kept = valid[:, place] if rows is None else valid[:, place] & rows
        changes[name] = np.where(kept, np.clip(numbers, column.low, column.high), raw(name))

    def chosen(group: str) -> NDArray[np.str_]:
        labels = [entry.label for entry in GROUPS[group]]
        return np.array(labels)[np.argmax(values[:, _places(group)], axis=1)]

    for place, entry in enumerate(TABLE):
        if entry.slot not in slots:
            continue
        if entry.label:
            changes.setdefault(entry.group, chosen(entry.group))
        elif entry.column == "level":
            kinds = chosen(f"{entry.slot}.kind")
            for kind, column in LEVELS.items():
                number(place, f"{entry.slot}.{column}", kinds == kind)
        elif entry.column == "gray":
            changes[entry.name] = np.rint(np.clip(values[:, place], 0, 1))
        else:
            number(place, entry.name)
    for slot in ("blur1", "blur2"):
        if slot in slots:
            # Equal widths are a round kernel, whose angle means nothing.
            equal = np.isclose(changes[f"{slot}.sigma_x_px"], changes[f"{slot}.sigma_y_px"], rtol=0, atol=1e-5)
            on = valid[:, PLACE[f"{slot}.size_px"]]
            changes[f"{slot}.shape"] = np.where(on, np.where(equal, "iso", "aniso"), "delta")
    if "sinc" in slots:
        changes["sinc.shape"] = np.where(valid[:, PLACE["sinc.size_px"]], "sinc", "delta")
    order = base.space.order
    if order is not None and order.choice and {"sinc", "jpeg2"} <= set(order.choice[0]):
        changes["order"] = _orders(base, values)
    return changes


def _orders(base: Rows, values: NDArray[np.float32]) -> list[str]:
    """The running order that the entries of the order ask for."""
    order = base.space.order
    assert order is not None
    names = [slot.name for slot in base.space.slots]
    places = sorted(names.index(name) for name in order.choice[0])
    table = np.array([[names.index(name) for name in option] for option in order.choice], np.int8)
    sinc_first = np.array([option.index("sinc") < option.index("jpeg2") for option in order.choice])
    asked = values[:, _places("order")]
    picked = np.where(asked[:, 0] >= asked[:, 1], int(np.argmax(sinc_first)), int(np.argmin(sinc_first)))
    program = base.program.copy()
    program[:, places] = table[picked]
    return [",".join(names[number] for number in row if number >= 0) for row in program.tolist()]

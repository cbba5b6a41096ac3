"""Degradation vectors: the 33 numbers that DASR's predictor learns, and back.

Layout (index: column): 0-3 blur1 size, sigma_x, sigma_y, angle; 4-7 blur2 the same; 8-9 sinc size, cutoff; 10 resize1
factor, 11-13 its mode (area, bilinear, bicubic); 14, 15-17 resize2; 18 noise1 level (Gaussian sigma or Poisson gain), 19
gray, 20-21 kind (Gaussian, Poisson); 22-25 noise2; 26 jpeg1 quality, 27 jpeg2 quality; 28-29 order (sinc before JPEG, JPEG
before sinc); 30-32 mode of resize3. Numbers are (value - low) / (high - low), not clipped; flags are 0 or 1.

Source: the released DASR code (Liang et al. 2022), with its defects repaired: a vector belongs to its image, slot 9 is the
cutoff, and a mask says which entries mean something. `compat="dasr2022"` gives the released numbers instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TaskError, nearest
from .space import Space

if TYPE_CHECKING:
    from .task import TaskBatch

SIZE = 33
SCHEMES = ("dasr33", "dasr33-global")
COMPATS = (None, "dasr2022")
_MODES = ("torch_area", "torch_bilinear", "torch_bicubic")
_KINDS = ("gaussian", "poisson")
# First entry and slot of each group.
_BLURS = ((0, "blur1"), (4, "blur2"))
_RESIZES = ((10, "resize1"), (14, "resize2"))
_NOISES = ((18, "noise1"), (22, "noise2"))
_JPEGS = ((26, "jpeg1"), (27, "jpeg2"))
_BLUR_COLUMNS = ("size_px", "sigma_x_px", "sigma_y_px", "angle_rad")
_SINC_COLUMNS = ("size_px", "cutoff_rad")
_ORDER, _BACK = 28, 30
_GLOBAL_PRESET = "dasr-severe"


ENTRIES = (
    *(f"{slot}.{name}" for _, slot in _BLURS for name in _BLUR_COLUMNS),
    *(f"sinc.{name}" for name in _SINC_COLUMNS),
    *(f"{slot}.{part}" for _, slot in _RESIZES for part in ("resize_factor", *(f"mode={mode}" for mode in _MODES))),
    *(f"{slot}.{part}" for _, slot in _NOISES for part in ("level", "gray", *(f"kind={kind}" for kind in _KINDS))),
    "jpeg1.quality",
    "jpeg2.quality",
    "order=sinc,jpeg2",
    "order=jpeg2,sinc",
    *(f"resize3.mode={mode}" for mode in _MODES),
)
"""What each of the 33 entries is. "level" is sigma_8bit or poisson_gain, whichever the kind says."""


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
    result = np.array(vector, np.float32)
    ranges = _ranges(Space.load(_GLOBAL_PRESET), "dasr33-global")
    choices: dict[str, tuple[int, tuple[str, ...]]] = {f"{slot}.mode": (entry + 1, _MODES) for entry, slot in _RESIZES}
    choices |= {"resize3.mode": (_BACK, _MODES), "order": (_ORDER, ("sinc,jpeg2", "jpeg2,sinc"))}
    choices |= {f"{slot}.kind": (entry + 2, _KINDS) for entry, slot in _NOISES}
    flags = {f"{slot}.gray": entry + 1 for entry, slot in _NOISES}
    for name, text in changes.items():
        if name in choices:
            first, names = choices[name]
            if text not in names:
                raise TaskError(f"vector: {name} must be one of {', '.join(names)}, got {text!r}")
            result[first : first + len(names)] = [float(text == known) for known in names]
            continue
        if name not in ranges and name not in flags:
            known = [*ranges, *choices, *flags]
            raise TaskError(f"vector: no entry {name!r}{nearest(name, known)}")
        low, high = ranges.get(name, (0.0, 1.0))
        try:
            value = float(text)
        except ValueError:
            raise TaskError(f"vector: {name} must be a number, got {text!r}") from None
        if not low <= value <= high:
            raise TaskError(f"vector: {name} must be in [{low:g}, {high:g}], got {text}")
        slot, _, column = name.partition(".")
        if column in ("sigma_8bit", "poisson_gain"):
            entry = next(first for first, known_slot in _NOISES if known_slot == slot)
            result[entry + 2 : entry + 4] = [float(column == "sigma_8bit"), float(column == "poisson_gain")]
            result[entry] = (value - low) / (high - low)
        else:
            result[ENTRIES.index(name)] = (value - low) / (high - low)
    return result


def described(vector: NDArray[np.float32]) -> dict[str, float | str]:
    """What a vector of scheme "dasr33-global" says, in units: {"blur1.sigma_x_px": 1.3, "noise1.kind": "gaussian", ...}.

    Numbers are not clipped to their ranges: a predictor may be unsure, or wrong.
    """
    ranges = _ranges(Space.load(_GLOBAL_PRESET), "dasr33-global")
    values = np.asarray(vector, np.float64)
    said: dict[str, float | str] = {}
    for entry, name in enumerate(ENTRIES):
        slot, _, column = name.partition(".")
        if "=" in name:
            group = name.partition("=")[0]
            if group not in said:
                names = [entry_name for entry_name in ENTRIES if entry_name.startswith(group + "=")]
                said[group] = names[int(np.argmax(values[entry : entry + len(names)]))].partition("=")[2]
            continue
        if column == "level":
            column = "sigma_8bit" if values[entry + 2] >= values[entry + 3] else "poisson_gain"
        low, high = ranges.get(f"{slot}.{column}", (0.0, 1.0))
        said[f"{slot}.{column}"] = float(low + values[entry] * (high - low))
    return said


def encode(
    tasks: TaskBatch, scheme: str = "dasr33", compat: str | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors of tasks.

    Args:
        tasks: B tasks of a space with DASR's slots (the dasr presets; with "dasr33-global" also the realesrgan presets).
        scheme: "dasr33": the ranges of the task's own level; "dasr33-global": those of the severe level for all, so that a
            number means the same everywhere.
        compat: None, or "dasr2022": the released numbers. Slot 9 is overwritten by 1 where the second blur runs; tasks
            without final sinc have -0.5 in slots 8 and 9; the entries of a skipped second blur are filled.
    Returns:
        float32 [B, 33], entries that mean nothing are 0; bool [B, 33], where they mean something.
    Raises:
        TaskError: unknown scheme, or a space without the ranges.
    """
    if scheme not in SCHEMES:
        raise TaskError(f"vector: scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    if compat not in COMPATS:
        raise TaskError(f"vector: compat must be None or 'dasr2022', got {compat!r}")
    values = np.zeros((len(tasks), SIZE), np.float32)
    mask = np.zeros((len(tasks), SIZE), bool)
    for component, space in enumerate(tasks.space.components or (tasks.space,)):
        rows = np.nonzero(tasks.component == component)[0] if tasks.space.components else np.arange(len(tasks))
        part = tasks.take(rows)
        values[rows], mask[rows] = _encode(part, space, _ranges(space, scheme), compat)
    return values, mask


def _ranges(space: Space, scheme: str) -> Mapping[str, tuple[float, float]]:
    source = Space.load(_GLOBAL_PRESET) if scheme == "dasr33-global" else space
    if "dasr33" not in source.vectors:
        raise TaskError(
            f"vector: space {space.name!r} gives no ranges [vector.dasr33]; use scheme 'dasr33-global' or a dasr preset"
        )
    return source.vectors["dasr33"]


def _encode(
    tasks: TaskBatch, space: Space, ranges: Mapping[str, tuple[float, float]], compat: str | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    values = np.zeros((len(tasks), SIZE))
    mask = np.zeros((len(tasks), SIZE), bool)
    slots = {slot.name for slot in space.slots}
    released = compat is not None

    def put(entry: int, name: str, raw: NDArray[Any], valid: NDArray[np.bool_], of: str = "") -> None:
        if (of or name) not in ranges:
            raise TaskError(f"vector: space {space.name!r} gives no range for {of or name}")
        low, high = ranges[of or name]
        values[:, entry] = np.where(valid, (raw.astype(np.float64) - low) / (high - low), values[:, entry])
        mask[:, entry] |= valid

    def one_hot(entry: int, labels: list[str], names: tuple[str, ...], valid: NDArray[np.bool_]) -> None:
        given = np.array(labels, dtype=object)
        for place, name in enumerate(names):
            values[:, entry + place] = valid & (given == name)
            mask[:, entry + place] = valid

    everywhere = np.ones(len(tasks), bool)
    for entry, slot in _BLURS:
        if slot not in slots:
            continue
        shapes = np.array(tasks.labels(f"{slot}.shape"), dtype=object)
        on = shapes != "delta"
        # The released code fills the entries of a second blur that it then skips. Whether that one was round is drawn
        # with "off" here, so its angle is taken as drawn.
        get = tasks.raw if released else tasks.column
        valid = everywhere if released else on
        raw = {name: get(f"{slot}.{name}") for name in _BLUR_COLUMNS}
        round_kernel = np.array([shape.endswith("iso") and shape != "aniso" for shape in shapes])
        # A sinc kernel has a size but no widths.
        wide = shapes != "sinc"
        raw["sigma_y_px"] = np.where(round_kernel, raw["sigma_x_px"], raw["sigma_y_px"])
        raw["angle_rad"] = np.where(round_kernel, 0.0, raw["angle_rad"])
        for place, name in enumerate(_BLUR_COLUMNS):
            put(entry + place, f"{slot}.{name}", raw[name], valid if name == "size_px" else valid & wide)
    if "sinc" in slots:
        on = np.array(tasks.labels("sinc.shape"), dtype=object) == "sinc"
        for place, name in enumerate(_SINC_COLUMNS):
            put(8 + place, f"sinc.{name}", tasks.column(f"sinc.{name}"), on)
            if released:
                # Without a final sinc the released code normalises the raw number 0.
                put(8 + place, f"sinc.{name}", np.zeros(len(tasks)), ~on)
        if released and "blur2" in slots:
            second = np.array(tasks.labels("blur2.shape"), dtype=object) != "delta"
            values[second, 9] = 1.0
            mask[second, 9] = True
    for entry, slot in _RESIZES:
        if slot in slots:
            put(entry, f"{slot}.resize_factor", tasks.column(f"{slot}.resize_factor"), everywhere)
            # The mode of a resize that does nothing means nothing; the released code writes down what it drew.
            used = tasks.mask(f"{slot}.mode")
            one_hot(entry + 1, _modes(tasks, slot, released), _MODES, everywhere if released else used)
    for entry, slot in _NOISES:
        if slot not in slots:
            continue
        kinds = tasks.labels(f"{slot}.kind")
        for kind, column in zip(_KINDS, ("sigma_8bit", "poisson_gain")):
            chosen = np.array(kinds, dtype=object) == kind
            put(entry, f"{slot}.{column}", tasks.column(f"{slot}.{column}"), chosen)
        values[:, entry + 1] = tasks.column(f"{slot}.gray")
        mask[:, entry + 1] = True
        one_hot(entry + 2, kinds, _KINDS, everywhere)
    for entry, slot in _JPEGS:
        if slot in slots:
            put(entry, f"{slot}.quality", tasks.column(f"{slot}.quality"), everywhere)
    if "sinc" in slots and "jpeg2" in slots:
        first = _sinc_first(tasks)
        values[:, _ORDER], values[:, _ORDER + 1] = first, ~first
        mask[:, _ORDER : _ORDER + 2] = True
    if "resize3" in slots:
        one_hot(_BACK, tasks.labels("resize3.mode"), _MODES, everywhere)
    return values.astype(np.float32), mask


def _modes(tasks: TaskBatch, slot: str, drawn: bool) -> list[str]:
    """Modes as stored, or as drawn."""
    name = f"{slot}.mode"
    codes = tasks.raw(name) if drawn else tasks.column(name)
    choices = tasks.space.column(name).choices
    return [choices[code] for code in codes.tolist()]


def _sinc_first(tasks: TaskBatch) -> NDArray[np.bool_]:
    names = [slot.name for slot in tasks.space.slots]
    place = {name: np.argmax(tasks.program == names.index(name), axis=1) for name in ("sinc", "jpeg2")}
    return np.asarray(place["sinc"] < place["jpeg2"])


def decode(
    values: NDArray[np.float32], mask: NDArray[np.bool_] | None, base: TaskBatch, scheme: str, component: int
) -> TaskBatch:
    """Tasks with the parameters of vectors; what a vector does not say is that of `base`.

    Args:
        values: float32 [B, 33] as `encode` gives them without compat.
        mask: bool [B, 33]; by default every entry of a slot that the space has. Masked entries keep base's values; a
            masked blur or sinc is off.
        base: B tasks to start from.
        component: for a mixture, the component whose slots and ranges count; base must lie in it.
    """
    if values.ndim != 2 or values.shape[1] != SIZE or not np.isfinite(values).all():
        raise TaskError(f"from_vector: expected finite numbers [B, {SIZE}], got shape {list(values.shape)}")
    if scheme not in SCHEMES:
        raise TaskError(f"vector: scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    if base.space.components:
        part = base.space.components[component]
        return decode(values, mask, base.redrawn(part), scheme, 0)
    ranges = _ranges(base.space, scheme)
    valid = np.ones(values.shape, bool) if mask is None else mask
    if valid.shape != values.shape:
        raise TaskError(f"from_vector: mask must be [{len(values)}, {SIZE}], got {list(valid.shape)}")
    slots = {slot.name for slot in base.space.slots}
    changes: dict[str, Any] = {}

    def number(entry: int, name: str, rows: NDArray[np.bool_] | None = None) -> None:
        low, high = ranges[name]
        column = base.space.column(name)
        raw = values[:, entry].astype(np.float64) * (high - low) + low
        if column.integer:
            raw = 2 * np.rint((raw - 1) / 2) + 1 if name.endswith("size_px") else np.rint(raw)
        if name.endswith("quality"):
            raw = np.rint(raw)
        raw = np.clip(raw, column.low, column.high)
        kept = valid[:, entry] if rows is None else valid[:, entry] & rows
        changes[name] = np.where(kept, raw, changes.get(name, base.column(name)))

    def chosen(entry: int, names: tuple[str, ...]) -> NDArray[np.int64]:
        return np.argmax(values[:, entry : entry + len(names)], axis=1)

    for entry, slot in _BLURS:
        if slot in slots:
            for place, name in enumerate(_BLUR_COLUMNS):
                number(entry + place, f"{slot}.{name}")
            # Equal widths are a round kernel, whose angle means nothing.
            equal = np.isclose(changes[f"{slot}.sigma_x_px"], changes[f"{slot}.sigma_y_px"], rtol=0, atol=1e-5)
            shape = np.where(equal, "iso", "aniso")
            changes[f"{slot}.shape"] = np.where(valid[:, entry], shape, "delta")
    if "sinc" in slots:
        number(8, "sinc.size_px")
        number(9, "sinc.cutoff_rad")
        changes["sinc.shape"] = np.where(valid[:, 8], "sinc", "delta")
    for entry, slot in _RESIZES:
        if slot in slots:
            number(entry, f"{slot}.resize_factor")
            changes[f"{slot}.mode"] = np.array(_MODES)[chosen(entry + 1, _MODES)]
    for entry, slot in _NOISES:
        if slot in slots:
            kind = chosen(entry + 2, _KINDS)
            number(entry, f"{slot}.sigma_8bit", kind == 0)
            number(entry, f"{slot}.poisson_gain", kind == 1)
            changes[f"{slot}.gray"] = np.rint(np.clip(values[:, entry + 1], 0, 1))
            changes[f"{slot}.kind"] = np.array(_KINDS)[kind]
    for entry, slot in _JPEGS:
        if slot in slots:
            number(entry, f"{slot}.quality")
    if "resize3" in slots:
        changes["resize3.mode"] = np.array(_MODES)[chosen(_BACK, _MODES)]
    return _ordered(base.replace(**changes), values)


def _ordered(tasks: TaskBatch, values: NDArray[np.float32]) -> TaskBatch:
    """The running order that entries 28 and 29 ask for."""
    order = tasks.space.order
    if order is None or not order.choice:
        return tasks
    from dataclasses import replace

    names = [slot.name for slot in tasks.space.slots]
    places = sorted(names.index(name) for name in order.choice[0])
    table = np.array([[names.index(name) for name in option] for option in order.choice], np.int8)
    sinc_first = np.array([option.index("sinc") < option.index("jpeg2") for option in order.choice])
    wanted = values[:, _ORDER] >= values[:, _ORDER + 1]
    picked = np.where(wanted, int(np.argmax(sinc_first)), int(np.argmin(sinc_first)))
    program = tasks.program.copy()
    program[:, places] = table[picked]
    return replace(tasks, program=program)

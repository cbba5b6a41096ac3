"""What each of the 33 numbers of a degradation vector stands for; vectors.py makes them."""

from __future__ import annotations

from dataclasses import dataclass

MODES = ("torch_area", "torch_bilinear", "torch_bicubic")
ORDERS = ("sinc,jpeg2", "jpeg2,sinc")
LEVELS = {"gaussian": "sigma_8bit", "poisson": "poisson_gain"}
"""Column that holds the level of a kind of noise."""


@dataclass(frozen=True)
class Entry:
    """One number of a vector.

    Attributes:
        slot: of the space; "" for the order.
        column: of the slot; "level" is sigma_8bit or poisson_gain, whichever the kind says.
        label: for a flag, the name that it stands for; "" for a number.
    """

    slot: str
    column: str
    label: str = ""

    @property
    def group(self) -> str:
        """Full name without the label: "resize1.mode", "order"."""
        return f"{self.slot}.{self.column}" if self.slot else self.column

    @property
    def name(self) -> str:
        return f"{self.group}={self.label}" if self.label else self.group

    @property
    def ranged(self) -> tuple[str, ...]:
        """Full names of the columns that need a range; none for a flag."""
        if self.label or self.column == "gray":
            return ()
        return tuple(f"{self.slot}.{name}" for name in (LEVELS.values() if self.column == "level" else (self.column,)))


def _flags(slot: str, column: str, labels: tuple[str, ...]) -> tuple[Entry, ...]:
    return tuple(Entry(slot, column, label) for label in labels)


TABLE: tuple[Entry, ...] = (
    *(
        Entry(slot, name)
        for slot in ("blur1", "blur2")
        for name in ("size_px", "sigma_x_px", "sigma_y_px", "angle_rad")
    ),
    *(Entry("sinc", name) for name in ("size_px", "cutoff_rad")),
    *(e for slot in ("resize1", "resize2") for e in (Entry(slot, "resize_factor"), *_flags(slot, "mode", MODES))),
    *(
        entry
        for slot in ("noise1", "noise2")
        for entry in (Entry(slot, "level"), Entry(slot, "gray"), *_flags(slot, "kind", tuple(LEVELS)))
    ),
    *(Entry(slot, "quality") for slot in ("jpeg1", "jpeg2")),
    *_flags("", "order", ORDERS),
    *_flags("resize3", "mode", MODES),
)
SIZE = len(TABLE)
ENTRIES = tuple(entry.name for entry in TABLE)
"""What each of the 33 entries is."""

PLACE = {entry.name: place for place, entry in enumerate(TABLE)}
"""Index by name."""
GROUPS = {group: [entry for entry in TABLE if entry.group == group] for group in (e.group for e in TABLE if e.label)}
"""Entries of each group of flags."""

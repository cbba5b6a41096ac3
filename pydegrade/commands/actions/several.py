"""Further LR images of `degrade sample`, as the command line names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...errors import ImageError, PydegradeError, shown
from ...files.sample_manifest import FURTHER_LR
from ...tasks.several import FurtherSpace, further_spaces
from ...tasks.space import Space


def spaces_of_line(lr_per_hr: int, more: Iterable[str], space: Space, seed: int) -> dict[str, FurtherSpace]:
    """What degrades the crops of a run beside its own space, by the names of the images: "lr_2" and so on, then those of
    `more` in order. They are those of `PairDataset(more=...)` of these names.

    Args:
        lr_per_hr: LR images by the run's own space.
        more: texts "lr_NAME=SPACE".
        space, seed: of the run.
    Raises:
        PydegradeError: a text that is no such thing, a name twice, no such space.
    """
    named: dict[str, Space | str] = {f"lr_{number}": space for number in range(2, lr_per_hr + 1)}
    for text in more:
        name, equals, value = text.partition("=")
        if not (equals and value and FURTHER_LR.fullmatch(name)):
            raise PydegradeError(
                "--more: must be lr_NAME=SPACE, NAME of a-z, 0-9 and _ (not NAME_crop2, NAME_address), got "
                f"{shown(text)}"
            )
        if name in named:
            raise PydegradeError(f"--more: every name once, got {name} twice")
        named[name] = value
    return further_spaces(named, seed, "--more")


def check_sides(further: Mapping[str, FurtherSpace], side_px: int) -> None:
    """ImageError unless the crops can be degraded by every space."""
    for name, one in further.items():
        if side_px % one.space.scale:
            raise ImageError(
                f"--more {name}: needs HR crops of a multiple of the scale {one.space.scale} of {one.space.name}, got "
                f"{side_px} px (--hr-size)"
            )

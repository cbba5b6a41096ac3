"""Photographs that `degrade fit` and `degrade match` learn from: each named where it cannot be read, the others used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ...errors import ImageError
from ...files.read import image_size
from ...fitting.photographs import Photograph, read_photograph
from ...shell.images import Fates, Item, Items, each, find_items
from ...shell.progress import Progress

SQUARES = 3


def shorter_sides_px(sources: Sequence[Path], max_pixels: int) -> tuple[Items, list[int]]:
    """The photographs, and the shorter sides of those whose header can be read.

    Raises:
        ImageError: there are none.
    """
    items = find_items(sources)
    sides = []
    reasons = []
    for item in items.images:
        try:
            sides.append(min(image_size(item.path, max_pixels)))
        except ImageError as error:
            reasons.append(str(error))
    if not sides:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise ImageError(f"no photograph can be read: {reasons[0]}{more}")
    return items, sides


def read_all(items: Items, side_px: int, max_pixels: int) -> tuple[list[Photograph], Fates]:
    """Those that hold a square of this side.

    Raises:
        ImageError: none does.
    """
    found: list[Photograph] = []

    def make(item: Item) -> Iterable[str]:
        height, width = image_size(item.path, max_pixels)
        if min(height, width) < side_px:
            raise ImageError(f"{item.path}: must be at least {side_px} x {side_px} px, got {width} x {height}")
        found.append(read_photograph(item.path, side_px, SQUARES, max_pixels))
        return ()

    fates = each(items.images, make, Progress(len(items.images), unit="photographs"), items=items)
    if not found and not fates.interrupted:
        raise ImageError(f"no photograph can be used: {fates.failed[0]}")
    return found, fates

"""The clean images of `degrade sample` and `degrade preview`, and the side of the crops that fits them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ImageError
from ...files.dataset import Augment, Crops, HrImages, draw_crops, find_images, fitting_px
from ...tasks.space import Space
from ...tasks.task import TaskBatch


@dataclass(frozen=True)
class CroppedImages:
    """Images and the side of squares cut from them.

    Attributes:
        images: all that hold such a square.
        side_px: a multiple of the space's scale.
        note: a line for people where the side is not the one they may expect; "" for none.
    """

    images: HrImages
    side_px: int
    note: str = ""

    def crops(self, seed: int, indices: Any, augment: Augment = "hflip", place: int = 0) -> Crops:
        """`draw_crops` of these."""
        return draw_crops(self.images, seed, indices, self.side_px, augment, place=place)

    def crops_of(self, tasks: TaskBatch, augment: Augment = "hflip") -> Crops:
        """The crops that samples of these tasks have, each by its own seed."""
        rows = [np.nonzero(tasks.seeds == seed)[0] for seed in np.unique(tasks.seeds)]
        parts = [self.crops(int(tasks.seeds[one[0]]), tasks.indices[one], augment) for one in rows]
        return Crops.concat(parts).take(np.argsort(np.concatenate(rows)))


def cropped_images(
    hr: Path | None,
    hr_size_px: int | None,
    space: Space,
    bundled_px: int,
    max_pixels: int,
    meta_info: Path | None = None,
) -> CroppedImages:
    """Find images and settle the side of crops.

    Args:
        hr: folder, file or LMDB; None: photographs of scikit-image.
        hr_size_px: wanted side; None: the space's, or the largest multiple of its scale that nine tenths of the images
            hold.
        space: gives scale and usual side.
        bundled_px: largest usual side without `hr`.
        max_pixels: limit of a single image.
        meta_info: see `find_images`.
    Raises:
        ImageError: a side that is no multiple of the scale, or no image that holds it.
    """
    if hr_size_px is not None and hr_size_px % space.scale:
        raise ImageError(f"--hr-size: must be a multiple of the scale {space.scale}, got {hr_size_px}")
    sources = [hr] if hr is not None else []
    found = find_images(sources, side_px=space.scale, meta_info=meta_info, max_pixels=max_pixels)
    note = ""
    if hr_size_px is not None:
        side_px = hr_size_px
    else:
        usual_px = space.hr_px if hr is not None else min(space.hr_px, bundled_px)
        side_px, held = fitting_px(found, space, usual_px)
        if side_px < usual_px:
            note = (
                f"{held} of {len(found.images)} images hold the space's crops of {usual_px} px; crops are {side_px} px "
                "(--hr-size chooses another side)"
            )
    return CroppedImages(_holding(found, side_px), side_px, note)


def _holding(images: HrImages, side_px: int) -> HrImages:
    """Those that hold the square; the others join the excluded."""
    kept = tuple(image for image in images.images if min(image.height, image.width) >= side_px)
    small = tuple(
        f"{image.place}: {image.width} x {image.height} px, smaller than the crop of {side_px} px (--hr-size)"
        for image in images.images
        if min(image.height, image.width) < side_px
    )
    if not kept:
        more = f" (and {len(small) - 1} more)" if len(small) > 1 else ""
        raise ImageError(f"{images.origin}: no usable image among {len(small)}: {small[0]}{more}")
    return replace(images, images=kept, excluded=images.excluded + small)

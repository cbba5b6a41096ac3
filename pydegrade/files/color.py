"""ICC profiles: which ones fit an image, and conversion to sRGB by LittleCMS (Pillow's ImageCms)."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from .formats.info import Colours
from .paths import display_name

_SPACES: dict[str, bytes] = {"gray": b"GRAY", "rgb": b"RGB ", "cmyk": b"CMYK"}
_MODES = {"gray": "L", "rgb": "RGB", "cmyk": "CMYK"}
_SAME_LEVELS = 2
"""Profiles that move no color by more than this, of 255, are sRGB: their tables differ in the last digit only."""


def profile_problem(profile: bytes, colours: Colours) -> str | None:
    """Why a profile cannot belong to an image of such colours, or None. Source: ICC.1:2022, section 7.2."""
    if len(profile) < 132 or profile[36:40] != b"acsp" or int.from_bytes(profile[:4], "big") > len(profile):
        return "colour profile is damaged, ignored"
    if profile[16:20] != _SPACES[colours]:
        return f"colour profile is for {display_name(profile[16:20].decode('latin-1').strip())} pixels, ignored"
    return None


@lru_cache(maxsize=16)
def is_srgb(profile: bytes, colours: Colours) -> bool:
    """Whether a profile says what pixels without one mean anyway.

    Raises:
        ImageCms.PyCMSError: LittleCMS cannot use it.
    """
    if colours == "cmyk":
        _transform(profile, colours)
        return False
    if colours == "gray":
        levels = np.arange(256, dtype=np.uint8)[None]
    else:
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        levels = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    moved = _applied(levels, profile, colours).astype(np.int64)
    return bool(np.abs(moved - (levels[..., None] if levels.ndim == 2 else levels)).max() <= _SAME_LEVELS)


def to_srgb(pixels: NDArray[np.uint8], profile: bytes, colours: Colours) -> NDArray[np.uint8]:
    """uint8 [H, W] or [H, W, C] under a profile -> uint8 [H, W, 3], sRGB. Errors as `is_srgb`."""
    return _applied(pixels, profile, colours)


def profile_name(profile: bytes) -> str:
    """What a profile calls itself."""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return "unnamed"
    return display_name(" ".join(name.split())[:60]) or "unnamed"


def _applied(pixels: NDArray[np.uint8], profile: bytes, colours: Colours) -> NDArray[np.uint8]:
    image = Image.fromarray(np.ascontiguousarray(pixels), _MODES[colours] if colours == "cmyk" else None)
    converted = ImageCms.applyTransform(image, _transform(profile, colours))
    assert converted is not None
    array: NDArray[Any] = np.asarray(converted)
    return array


@lru_cache(maxsize=16)
def _transform(profile: bytes, colours: Colours) -> ImageCms.ImageCmsTransform:
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
    except OSError as error:
        raise ImageCms.PyCMSError(str(error)) from None
    return ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), _MODES[colours], "RGB")

"""What lies on disk: images of every format, folders and LMDBs of them, and the pairs that a run writes.

What other packages may use is named here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import names_of

if TYPE_CHECKING:
    from .atomic import replacing, write_error
    from .card import read_card
    from .dataset import (
        Augment,
        CropReader,
        Crops,
        HrImage,
        HrImages,
        decode,
        decode_as_stored,
        draw_crops,
        find_images,
        listed_names,
    )
    from .lmdb_reader import key_of
    from .lock import folder_lock
    from .memory import MemoryBudget
    from .paths import display_name, path_inside, read_lines, unique_names
    from .pixels import Pixels, to_float, to_uint8
    from .read import MAX_PIXELS, open_image, read_image, read_picture, read_rgb8
    from .verify import compare, listed
    from .write import encode_png, write_image

__all__ = [
    "MAX_PIXELS",
    "Augment",
    "CropReader",
    "Crops",
    "HrImage",
    "HrImages",
    "MemoryBudget",
    "Pixels",
    "compare",
    "decode",
    "decode_as_stored",
    "display_name",
    "draw_crops",
    "encode_png",
    "find_images",
    "folder_lock",
    "key_of",
    "listed",
    "listed_names",
    "open_image",
    "path_inside",
    "read_card",
    "read_image",
    "read_lines",
    "read_picture",
    "read_rgb8",
    "replacing",
    "to_float",
    "to_uint8",
    "unique_names",
    "write_error",
    "write_image",
]

__getattr__ = names_of(
    __name__,
    {
        ".atomic": (
            "replacing",
            "write_error",
        ),
        ".card": ("read_card",),
        ".dataset": (
            "Augment",
            "CropReader",
            "Crops",
            "HrImage",
            "HrImages",
            "decode",
            "decode_as_stored",
            "draw_crops",
            "find_images",
            "listed_names",
        ),
        ".lmdb_reader": ("key_of",),
        ".lock": ("folder_lock",),
        ".memory": ("MemoryBudget",),
        ".paths": (
            "display_name",
            "path_inside",
            "read_lines",
            "unique_names",
        ),
        ".pixels": (
            "Pixels",
            "to_float",
            "to_uint8",
        ),
        ".read": (
            "MAX_PIXELS",
            "open_image",
            "read_image",
            "read_picture",
            "read_rgb8",
        ),
        ".verify": (
            "compare",
            "listed",
        ),
        ".write": (
            "encode_png",
            "write_image",
        ),
    },
)

"""What all commands share: how they end, their options, progress, one fate per image, and what they may write.

What the commands of other packages may use is named here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import names_of

if TYPE_CHECKING:
    from .errors import INTERRUPTED
    from .images import Fates, Item, Items, check_suffix, each, find_items, say_notes
    from .main import CONTEXT, Commands, run, version_option
    from .options import (
        IN_PATH,
        OUT_FILE,
        OUT_FOLDER,
        SEED,
        TASKS,
        Choice,
        Command,
        Number,
        chosen_device,
        device_option,
        force_option,
        max_pixels_option,
        set_option,
    )
    from .outputs import PICTURE_ENDINGS, Results, check_file, check_folder, encode_picture, write_file
    from .progress import Progress
    from .ray_engine import check_engine, engine_options, on_ray
    from .shards import SHARD_HELP, all_shards, parse_shard
    from .text import absolute, complain, folded, say

__all__ = [
    "CONTEXT",
    "INTERRUPTED",
    "IN_PATH",
    "OUT_FILE",
    "OUT_FOLDER",
    "PICTURE_ENDINGS",
    "SEED",
    "SHARD_HELP",
    "TASKS",
    "Choice",
    "Command",
    "Commands",
    "Fates",
    "Item",
    "Items",
    "Number",
    "Progress",
    "Results",
    "absolute",
    "all_shards",
    "check_engine",
    "check_file",
    "check_folder",
    "check_suffix",
    "chosen_device",
    "complain",
    "device_option",
    "each",
    "encode_picture",
    "engine_options",
    "find_items",
    "folded",
    "force_option",
    "max_pixels_option",
    "on_ray",
    "parse_shard",
    "run",
    "say",
    "say_notes",
    "set_option",
    "version_option",
    "write_file",
]

__getattr__ = names_of(
    __name__,
    {
        ".errors": ("INTERRUPTED",),
        ".images": (
            "Fates",
            "Item",
            "Items",
            "check_suffix",
            "each",
            "find_items",
            "say_notes",
        ),
        ".main": (
            "CONTEXT",
            "Commands",
            "run",
            "version_option",
        ),
        ".options": (
            "Choice",
            "Command",
            "IN_PATH",
            "Number",
            "OUT_FILE",
            "OUT_FOLDER",
            "SEED",
            "TASKS",
            "chosen_device",
            "device_option",
            "force_option",
            "max_pixels_option",
            "set_option",
        ),
        ".outputs": (
            "PICTURE_ENDINGS",
            "Results",
            "check_file",
            "check_folder",
            "encode_picture",
            "write_file",
        ),
        ".progress": ("Progress",),
        ".ray_engine": (
            "check_engine",
            "engine_options",
            "on_ray",
        ),
        ".shards": (
            "SHARD_HELP",
            "all_shards",
            "parse_shard",
        ),
        ".text": (
            "absolute",
            "complain",
            "folded",
            "say",
        ),
    },
)

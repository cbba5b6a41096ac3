"""Options of commands that cut crops from clean images."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.options import Command, device_option, max_pixels_option

AUGMENTS = ("none", "hflip", "dihedral")
BUNDLED_HR_SIZE_PX = 192
"""Side of crops from scikit-image's photographs: the smallest is 300 px high, and a first run should be quick."""


def hr_options(command: Command) -> Command:
    """--hr, --hr-size, --max-megapixels and --device."""
    source = click.option(
        "--hr",
        type=click.Path(path_type=Path),
        help="Folder of clean images (searched recursively), LMDB or one image.  [default: photographs in scikit-image]",
    )
    side = click.option(
        "--hr-size",
        type=click.IntRange(min=1),
        metavar="PX",
        help=f"Side of the HR crops.  [default: the space's, smaller where over 10 % of the images do not hold it; "
        f"{BUNDLED_HR_SIZE_PX} without --hr]",
    )
    return source(side(max_pixels_option()(device_option("cpu")(command))))

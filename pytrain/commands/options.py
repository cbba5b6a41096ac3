"""Options of commands that take a configuration or a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pydegrade.shell import Command, device_option, set_option

if TYPE_CHECKING:
    from ..config.config import Config

SET_HELP = 'Change an option: --set run.steps=500 --set \'data.hr=["a", "b"]\'. May be repeated.'


def config_options(required: bool = True) -> Callable[[Command], Command]:
    """The configuration file and --set, which changes it."""
    metavar = "CONFIG" if required else "[CONFIG]"

    def add(command: Command) -> Command:
        argument = click.argument("config_path", metavar=metavar, required=required, type=click.Path(path_type=Path))
        return argument(set_option(SET_HELP)(command))

    return add


def model_options(command: Command) -> Command:
    """--tile, --overlap, --device: how a model is run on whole images."""
    tile = click.option(
        "--tile", "tile_px", type=click.IntRange(min=0), default=0, metavar="PX",
        help="Run in overlapping tiles of this side, in input pixels; 0: whole images.  [default: 0]",
    )  # fmt: skip
    overlap = click.option(
        "--overlap", "overlap_px", type=click.IntRange(min=0), default=32, show_default=True, metavar="PX",
        help="What neighbouring tiles share.",
    )  # fmt: skip
    return tile(overlap(device_option()(command)))


def load_config(path: Path, overrides: Sequence[str]) -> Config:
    """The configuration of a file, changed by --set."""
    from ..config import config

    return config.load(path, overrides)


def located(config: Config, work: Callable[[], Any]) -> Any:
    """The result of `work`, whose errors about keys of the configuration get file and line."""
    from ..config.config import located as with_place
    from ..errors import PytrainError

    try:
        return work()
    except PytrainError as error:
        raise with_place(config, error) from None

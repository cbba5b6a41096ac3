"""The `pytrain` command line: which commands there are. Each is a file here; what the larger ones call is in `actions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import click

from pydegrade.shell import CONTEXT, Commands, run, version_option

COMMANDS = {
    "fit": "pytrain.commands.fit:command",
    "check": "pytrain.commands.check:command",
    "init": "pytrain.commands.init:command",
    "methods": "pytrain.commands.methods:command",
    "schema": "pytrain.commands.schema:command",
    "eval": "pytrain.commands.eval:command",
    "compare": "pytrain.commands.compare:command",
    "plot": "pytrain.commands.plot:command",
    "infer": "pytrain.commands.infer:command",
    "export": "pytrain.commands.export:command",
    "adapt": "pytrain.commands.adapt:command",
    "sweep": "pytrain.commands.sweep:command",
    "group": "pytrain.commands.group:command",
    "study": "pytrain.commands.study:command",
    "cost": "pytrain.commands.cost:command",
}
"""Name -> where the command is; loaded when it is asked for."""

MEMORY_HINT = (
    "for training raise train.accumulate (same result) or lower data.batch or data.crop_px, for whole images give a "
    "smaller --tile; `pytrain check` estimates what a training needs"
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: runs the command and leaves with its exit code; see `pydegrade.shell.run`."""
    run(cli, "pytrain", arguments, MEMORY_HINT)


@click.group(cls=Commands, table=COMMANDS, context_settings=CONTEXT)
@version_option
def cli() -> None:
    """Train super-resolution networks on degradations that are drawn per image.

    \b
    First steps:
      pytrain fit configs/quickstart.toml       two minutes on two cores
      pytrain init --method realesrgan -o my.toml   every option, commented
      pytrain check my.toml                     open everything it names
      pytrain fit my.toml --resume              go on where a run ended
    """

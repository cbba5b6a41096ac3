"""The `degrade` command line: which commands there are. Each is a file here; what it calls is in `actions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import click

from ..shell.main import CONTEXT, Commands, run, version_option

ENTRY_POINTS = "degrade.commands"
"""Group of entry points by which an installed package adds a command: name -> module:object, a `click.Command`."""

COMMANDS = {
    "sample": "pydegrade.commands.sample:command",
    "preview": "pydegrade.commands.preview:command",
    "gallery": "pydegrade.commands.gallery:command",
    "explore": "pydegrade.commands.explore:command",
    "apply": "pydegrade.commands.apply:command",
    "show": "pydegrade.commands.show:command",
    "merge": "pydegrade.commands.merge:command",
    "pack": "pydegrade.commands.pack:command",
    "card": "pydegrade.commands.card:command",
    "verify": "pydegrade.commands.verify:command",
    "spaces": "pydegrade.commands.spaces:command",
    "space": "pydegrade.commands.space:command",
    "check": "pydegrade.commands.check:command",
    "fit": "pydegrade.commands.fit:command",
    "match": "pydegrade.commands.match:command",
    "diff": "pydegrade.commands.diff:command",
    "import": "pydegrade.commands.import_options:command",
    "resize": "pydegrade.commands.resize:command",
}
"""Name -> where the command is; loaded when it is asked for."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: runs the command and leaves with its exit code; see `shell.main.run`."""
    run(cli, "degrade", arguments)


@click.group(cls=Commands, table=COMMANDS, entry_points=ENTRY_POINTS, context_settings=CONTEXT)
@version_option
def cli() -> None:
    """Make training pairs for super-resolution: degrade clean images, each by a task of its own.

    A space (a preset or a TOML file) describes a distribution over degradations; a task is one drawn row of parameters,
    and its address rebuilds it anywhere.

    \b
    First steps:
      degrade sample --tasks 4000        4000 pairs, nothing to download
      degrade preview -o sheet.png       what the default space does, by stage
      degrade spaces                     which spaces there are
    """

"""`degrade verify`: whether a folder holds the set of a card."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.errors import FAILURE
from ..shell.text import complain, say


@click.command(name="verify", short_help="Say whether a folder holds the set of a card.")
@click.argument("card", metavar="CARD", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--pixels", is_flag=True, help="Compare pixels of images; how a PNG packs them may differ.")
def command(card: Path, folder: Path, pixels: bool) -> int:
    """Compare FOLDER with CARD, a card or a SHA256SUMS: name every file that differs, is missing, or is extra.

    The exit code is 0 where all is equal, 1 where something differs, 2 where CARD cannot be read. Hidden files, run.json
    (versions and folders of a machine), SHA256SUMS and sheet.png are no part of a set.

    \b
    Examples:
      degrade verify card.toml out/again
      degrade verify card.toml out/again --pixels
      degrade verify out/run/SHA256SUMS out/run
    """
    from ..files.verify import compare, listed

    found = compare(listed(card), folder, pixels)
    for line in found.lines:
        say(line)
    if found.lines:
        counts = f"{found.differ} differ, {found.missing} missing, {found.extra} extra, {found.equal} equal"
        return complain(f"degrade verify: {folder} is not the set of {card}: {counts}", FAILURE)
    say(f"{found.equal} files equal: {folder} is the set of {card}")
    return 0

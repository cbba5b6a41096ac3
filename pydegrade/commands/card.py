"""`degrade card`: one text file from which a set of pairs can be made again."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ..shell.options import OUT_FILE, max_pixels_option
from ..shell.text import say


@click.command(name="card", short_help="One text file from which a set can be made again.")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--hr",
    type=click.Path(path_type=Path, exists=True),
    help="Folder of clean images or LMDB that RUN was made from.  [default: photographs in scikit-image]",
)
@click.option("--meta-info", type=click.Path(path_type=Path, exists=True), help="As `degrade sample` got it.")
@click.option("--protocol", default="", help="How models are measured on the set, as `pytrain eval` names it.")
@click.option("-o", "--output", type=OUT_FILE, default="card.toml", show_default=True, help="A .toml.")
@click.option("--force", is_flag=True, help="Overwrite an existing card.")
@max_pixels_option()
def command(
    run: Path, hr: Path | None, meta_info: Path | None, protocol: str, output: Path, force: bool, max_pixels: int
) -> None:
    """Write a card of RUN, a finished folder of `degrade sample`.

    A card is one text file: the space, the address of every task, names and SHA-256 of the clean images, how crops are
    cut from them, versions, and the SHA-256 of every file of the set. Whoever has the card and the clean images makes the
    same bytes by `degrade sample --card`, and whoever has the set tells by `degrade verify` whether it is this one.

    \b
    Examples:
      degrade card out/run -o card.toml
      degrade card out/test --hr DIV2K_valid_HR -o div2k-valid.toml
    """
    from ..errors import OutputError
    from ..shell.outputs import check_file, write_file

    check_file(output, (".toml",), "-o", [run] if hr is None else [run, hr])
    if output.exists() and not force:
        raise OutputError(f"-o: {output} exists already; choose another name or give --force")
    from ..files.card import card_text
    from .actions.card import card_of_run

    card = card_of_run(run, hr, meta_info, protocol, max_pixels)
    write_file(output, card_text(card).encode())
    say(f"{len(card.tasks)} samples, {len(card.images)} clean images, {len(card.files)} files")
    say(f"{output.resolve()}; try: degrade verify {shlex.quote(str(output))} {shlex.quote(str(run))}")

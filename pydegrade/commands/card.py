"""`degrade card`: one text file from which a set of pairs can be made again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..shell.options import OUT_FILE, Choice, max_pixels_option
from ..shell.text import absolute, say
from .hr_options import AUGMENTS, BUNDLED_HR_SIZE_PX

if TYPE_CHECKING:
    from ..files.dataset import Augment


@click.command(name="card", short_help="One text file from which a set can be made again.")
@click.argument("source", metavar="RUN|TASKS", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--hr",
    type=click.Path(path_type=Path, exists=True),
    help="Folder of clean images or LMDB that the set is made from.  [default: photographs in scikit-image]",
)
@click.option("--hr-size", type=click.IntRange(min=1), metavar="PX", help="With TASKS: as of `degrade sample`.")
@click.option("--augment", type=Choice(AUGMENTS), help="With TASKS: as of `degrade sample`.")
@click.option("--meta-info", type=click.Path(path_type=Path, exists=True), help="As `degrade sample` got it.")
@click.option("--protocol", default="", help="How models are measured on the set, as `pytrain eval` names it.")
@click.option(
    "-o", "--output", type=OUT_FILE, default="card.toml", show_default=True,
    help="A .toml; or a .md: the same facts as a data card of Hugging Face's hub.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite an existing card.")
@max_pixels_option()
def command(
    source: Path,
    hr: Path | None,
    hr_size: int | None,
    augment: Augment | None,
    meta_info: Path | None,
    protocol: str,
    output: Path,
    force: bool,
    max_pixels: int,
) -> None:
    """Write a card of RUN, a finished folder of `degrade sample`, or of TASKS, a set that is still to be made.

    A card is one text file: the space, the address of every task, names and SHA-256 of the clean images, how crops are
    cut from them, versions, and the SHA-256 of every file of the set. Whoever has the card and the clean images makes the
    same bytes by `degrade sample --card`, and whoever has the set tells by `degrade verify` whether it is this one.

    The card of a file of tasks (one seed, ascending numbers; chosen, or changed by hand) names no files: make its set by
    `degrade sample --card`, and a card of that.

    \b
    Examples:
      degrade card out/run -o card.toml
      degrade card out/test --hr DIV2K_valid_HR -o div2k-valid.toml
      degrade card out/test --hr DIV2K_valid_HR -o README.md
      degrade card chosen.npz --hr DIV2K_valid_HR --hr-size 256 -o recipe.toml
    """
    is_run = source.is_dir()
    if is_run and (hr_size is not None or augment is not None):
        raise click.UsageError("--hr-size and --augment go with TASKS; a RUN has its own")
    from ..errors import OutputError
    from ..shell.outputs import check_file, write_file

    check_file(output, (".toml", ".md"), "-o", [source] if hr is None else [source, hr])
    if output.exists() and not force:
        raise OutputError(f"-o: {output} exists already; choose another name or give --force")
    from ..files.card import card_text
    from .actions.card import card_of_run, card_of_tasks

    if is_run:
        card = card_of_run(source, hr, meta_info, protocol, max_pixels)
    else:
        card = card_of_tasks(
            source, hr, hr_size, BUNDLED_HR_SIZE_PX, augment or "hflip", meta_info, protocol, max_pixels
        )
    if output.suffix.lower() == ".md":
        from .actions.hf_card import hf_card_text

        write_file(output, hf_card_text(card, source.resolve().name).encode())
        say(absolute(output))
        return
    write_file(output, card_text(card).encode())
    say(f"{len(card.tasks)} samples, {len(card.images)} clean images, {len(card.files)} files")
    then = f"verify {shlex.quote(str(output))} {shlex.quote(str(source))}"
    if not is_run:
        then = f"sample --card {shlex.quote(str(output))}" + ("" if hr is None else f" --hr {shlex.quote(str(hr))}")
    say(f"{absolute(output)}; try: degrade {then}")

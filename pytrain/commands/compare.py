"""`pytrain compare`: several models on the same crops, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pydegrade.shell import OUT_FILE, PICTURE_ENDINGS, SEED, Choice, absolute, chosen_device, say

from .options import model_options

if TYPE_CHECKING:
    from ..evaluation.settings import Reference


@click.command(name="compare", short_help="A grid of several models on the same crops.")
@click.option(
    "--model", "models", multiple=True, required=True, metavar="FILE|bicubic",
    help="Model file, or bicubic. May be repeated; a column each, in this order.",
)  # fmt: skip
@click.option(
    "--hr", multiple=True, type=click.Path(path_type=Path),
    help="Clean images; a row each.  [default: scikit-image's photographs]",
)  # fmt: skip
@click.option("--lr", type=click.Path(path_type=Path), help="The low-resolution partners of --hr.")
@click.option(
    "--space", "spaces", multiple=True, metavar="NAME",
    help="How LR is made: bicubic, a preset or a TOML file. May be repeated.  [default: bicubic]",
)  # fmt: skip
@click.option(
    "--reference", type=Choice(("hr", "target")), default="hr", show_default=True, help="As in `pytrain eval`."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the tasks of --space.")
@click.option("--scale", type=click.IntRange(1, 8), help="Needed where only baselines are compared.")
@click.option("--rows", type=click.IntRange(1, 64), default=8, show_default=True, help="Images of each set.")
@click.option("--side", "side_px", type=click.IntRange(16, 1024), default=96, show_default=True, metavar="PX",
              help="Side of the crops, in HR pixels.")  # fmt: skip
@click.option("-o", "--out", type=OUT_FILE, required=True, help="Picture to write: .png, .jpg, .webp.")
@model_options
def command(
    models: tuple[str, ...],
    hr: tuple[Path, ...],
    lr: Path | None,
    spaces: tuple[str, ...],
    reference: Reference,
    seed: int,
    scale: int | None,
    rows: int,
    side_px: int,
    out: Path,
    tile_px: int,
    overlap_px: int,
    device: str,
) -> None:
    """Draw what several models make of the same images: a row per image, a column per model, HR last.

    Each row shows the square where the first model is farthest from HR, with the PSNR of the whole image under it.

    \b
    Examples:
      pytrain compare --model bicubic --model a.pth --hr Set5 -o grid.png
      pytrain compare --model a.pth --model b.pth --space bsrgan-x4 -o grid.png
    """
    from pydegrade.shell import check_file, encode_picture, write_file

    check_file(out, PICTURE_ENDINGS, "-o")
    from .actions.compare import compared
    from .actions.eval import described_sets

    request = described_sets(hr, lr, spaces, seed, reference, models, scale)
    picture = compared(request.changed((), tile_px, overlap_px), chosen_device(device), rows, side_px)
    write_file(out, encode_picture(picture, out.suffix))
    say(absolute(out))

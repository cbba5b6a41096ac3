"""`degrade gallery`: the samples of a run as one page for a browser."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.errors import BAD_INPUT
from ..shell.options import OUT_FILE, max_pixels_option
from ..shell.text import absolute, complain, say, warn

MOST_SAMPLES = 20_000


@click.command(name="gallery", short_help="A page to look through the samples of a run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=OUT_FILE, help="A file .html.  [default: RUN.html, beside the folder]")
@click.option(
    "--first", type=click.IntRange(1, MOST_SAMPLES), default=4000, show_default=True, help="Samples of the run to show."
)
@click.option(
    "--side", "side_px", type=click.IntRange(8, 4096), metavar="PX",
    help="Square of HR that is shown, from the middle.  [default: 192, or 64 LR px where that is less]",
)  # fmt: skip
@click.option(
    "--hr", type=click.Path(path_type=Path), help="Clean images where RUN has no images.  [default: scikit-image's]"
)
@click.option("--space", "space_name", help="TOML file, where tasks are of a space of your own.")
@max_pixels_option()
def command(
    run: Path,
    output: Path | None,
    first: int,
    side_px: int | None,
    hr: Path | None,
    space_name: str | None,
    max_pixels: int,
) -> int:
    """Make one page of RUN, a folder that `degrade sample` filled: HR beside LR, a range for every parameter.

    RUN may also be a folder or a file of tasks without images, a card, or the groups of `pytrain group` (.toml): their
    tasks are run for the page, and the scores of groups are sorted by like parameters.

    The page filters by ranges of parameters, sorts by any of them, and shows a sample large, with its task and its
    address. It is one file that needs no network, no other file and no server, and loads nothing: open it in a browser.
    LR is shown as it is, pixel by pixel; HR is compressed. Larger images show the square in their middle.

    \b
    Examples:
      degrade gallery out/realesrgan-x4-s0
      degrade gallery out/run -o run.html --first 500 --side 128
      degrade gallery groups.toml --hr DIV2K_valid_HR
    """
    from ..shell.outputs import check_file, write_file
    from .actions.gallery import gallery
    from .actions.gallery_samples import samples_of

    if output is not None:
        check_file(output, (".html",), "-o")
    samples = samples_of(run, first, hr, space_name, max_pixels)
    output = output or run.resolve().parent / f"{run.resolve().name}.html"
    check_file(output, (".html",), "-o")
    made = gallery(samples, side_px)
    for line in made.failed:
        warn(f"skipped: {line}")
    if made.page:
        write_file(output, made.page)
        more = f" of {samples.total}" if samples.total > len(samples.tasks) else ""
        say(f"{absolute(output)}: {made.count}{more} samples, {len(made.page) / 1e6:.1f} MB")
    if made.failed:
        return complain(f"degrade gallery: {len(made.failed)} of {len(samples.tasks)} samples skipped", BAD_INPUT)
    return 0

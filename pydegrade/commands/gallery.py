"""`degrade gallery`: the samples of a run as one page for a browser."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.errors import BAD_INPUT
from ..shell.options import IN_PATH, OUT_FILE, max_pixels_option
from ..shell.text import absolute, complain, say, warn

MOST_SAMPLES = 20_000


@click.command(name="gallery", short_help="A page to look through the samples of a run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=OUT_FILE, help="A file .html.  [default: RUN.html, beside the folder]")
@click.option(
    "--first", type=click.IntRange(1, MOST_SAMPLES),
    help="Samples of the run to show.  [default: 4000; 200 of a space, which are made for the page]",
)  # fmt: skip
@click.option(
    "--side", "side_px", type=click.IntRange(8, 4096), metavar="PX",
    help="Square of HR that is shown, from the middle.  [default: 192, or 64 LR px where that is less]",
)  # fmt: skip
@click.option(
    "--hr", type=click.Path(path_type=Path), help="Clean images where RUN has no images.  [default: scikit-image's]"
)
@click.option("--space", "space_name", help="TOML file, where tasks are of a space of your own.")
@click.option(
    "--photographs", multiple=True, type=IN_PATH, metavar="PATH",
    help="Of a space that degrade fit learned: show the nearest of these beside each sample, with its distance.",
)  # fmt: skip
@max_pixels_option()
def command(
    run: Path,
    output: Path | None,
    first: int | None,
    side_px: int | None,
    hr: Path | None,
    space_name: str | None,
    photographs: tuple[Path, ...],
    max_pixels: int,
) -> int:
    """Make one page of RUN, a folder that `degrade sample` filled: HR beside LR, a range for every parameter.

    RUN may also be a folder or a file of tasks without images, a card, the groups of `pytrain group` (.toml), or a space
    such as `degrade fit` writes: their tasks are run for the page, and the scores of groups are sorted by like parameters.
    Of a fit, --photographs names what it learned from. Or RUN is the folder of `pytrain eval --save-images`: then results
    stand beside HR, with their scores and what they gain over bicubic.

    The page filters by ranges of parameters, sorts by any of them, and shows a sample large, with its task and its
    address. It is one file that needs no network, no other file and no server, and loads nothing: open it in a browser.
    LR is shown as it is, pixel by pixel; HR is compressed. Larger images show the square in their middle.

    \b
    Examples:
      degrade gallery out/realesrgan-x4-s0
      degrade gallery out/run -o run.html --first 500 --side 128
      degrade gallery groups.toml --hr DIV2K_valid_HR
      degrade gallery mine.toml --photographs photos --hr DIV2K_train_HR
      degrade gallery shown              of pytrain eval --save-images shown
    """
    from ..shell.outputs import check_file, write_file
    from .actions.gallery import gallery
    from .actions.gallery_evaluation import INDEX, evaluation_of
    from .actions.gallery_samples import FIRST, samples_of

    if output is not None:
        check_file(output, (".html",), "-o")
    if (run / INDEX).is_file():
        if hr is not None or photographs:
            raise click.UsageError("--hr and --photographs: an evaluation has images of its own")
        samples = evaluation_of(run, first or FIRST, space_name)
    else:
        samples = samples_of(run, first, hr, space_name, max_pixels, photographs)
    output = output or run.resolve().parent / f"{run.resolve().name}.html"
    check_file(output, (".html",), "-o")
    made = gallery(samples, side_px)
    for line in made.failed:
        warn(f"skipped: {line}")
    if made.page:
        write_file(output, made.page)
        more = f" of {samples.total}" if samples.total > len(samples.sources) else ""
        say(f"{absolute(output)}: {made.count}{more} samples, {len(made.page) / 1e6:.1f} MB")
    if made.failed:
        return complain(f"degrade gallery: {len(made.failed)} of {len(samples.sources)} samples skipped", BAD_INPUT)
    return 0

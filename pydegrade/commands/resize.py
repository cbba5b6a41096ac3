"""`degrade resize`: MATLAB's imresize on an image or a tree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..shell.options import IN_PATH, Choice, force_option, max_pixels_option
from ..shell.text import absolute, say, warn

if TYPE_CHECKING:
    from ..images.imresize import Border, Kernel

KERNELS = ("bicubic", "bilinear", "box", "nearest", "lanczos2", "lanczos3")
BORDERS = ("symmetric", "replicate")
LOWEST_SCALE, HIGHEST_SCALE = 1e-6, 1e6

_SCALE = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(?:/\s*([0-9]*\.?[0-9]+))?\s*")


def parse_scale(text: str) -> float:
    """ "1/4", "0.25" or "4" as a number, the quotient rounded once.

    Raises:
        click.BadParameter: no number, or out of range.
    """
    match = _SCALE.fullmatch(text) if len(text) <= 100 else None
    value = 0.0
    if match is not None and (match[2] is None or float(match[2]) > 0):
        value = float(match[1]) / float(match[2] or 1)
    if not LOWEST_SCALE <= value <= HIGHEST_SCALE:
        raise click.BadParameter(f"must be a number > 0 such as 1/4, 0.25 or 2, got {text[:60]!r}")
    return value


@click.command(name="resize", short_help="MATLAB's imresize on an image or a tree.")
@click.argument("source", metavar="IN", type=IN_PATH)
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--scale", callback=lambda _context, _option, text: parse_scale(text), required=True, metavar="1/N|S",
    help="Output px per input px: 1/4, 0.25, 2.",
)  # fmt: skip
@click.option("--kernel", type=Choice(KERNELS), default="bicubic", show_default=True)
@click.option("--double", is_flag=True, help="MATLAB after im2double: round once, at the end.")
@click.option("--modcrop", is_flag=True, help="Cut images to multiples of N first, as benchmark sets are.")
@click.option("--suffix", default="", metavar="TEXT", help="Appended to names: x4 gives babyx4.png.")
@click.option("--border", type=Choice(BORDERS), default="symmetric", show_default=True, help="At the edges; see above.")
@click.option("--no-antialias", is_flag=True, help="No low-pass filter when shrinking.")
@force_option()
@max_pixels_option("Refuse larger images and results.")
def command(
    source: Path,
    out: Path,
    scale: float,
    kernel: Kernel,
    double: bool,
    modcrop: bool,
    suffix: str,
    border: Border,
    no_antialias: bool,
    force: bool,
    max_pixels: int,
) -> int:
    """Resize IN (an image, or a folder with all its subfolders) as MATLAB's imresize does, into PNG files under OUT.

    With one image, OUT may be the name of a PNG file. Gray images stay gray. Results that are there and were made from
    the same image with the same options are kept.

    MATLAB rounds uint8 images to whole levels after each of the two passes. Most public benchmark sets are of that kind
    (SwinIR's, SRFBN's and DPSR's Set5), and so are ECO's training pairs, made "without im2double": the default. Code
    that converts to double first (im2double, imresize, imwrite; BasicSR's way) rounds once: --double. On Set5 the two
    differ in 10 to 14 % of the samples, by one or two levels.

    Old MATLAB releases repeated the edge instead of mirroring it; --border replicate reproduces public sets of that
    age (SelfExSR's and RCAN's Set5, Set14, BSD100, Urban100).

    \b
    Examples:
      degrade resize Set5/HR Set5/X4 --scale 1/4 --modcrop --suffix x4
      degrade resize photo.jpg small.png --scale 0.5
      degrade resize LR upscaled --scale 4 --double
    """
    from .actions.resize import ResizeRequest, plan_resize, resize_images, uneven_images, whole_shrinkage

    n = whole_shrinkage(scale) if modcrop else 1
    request = ResizeRequest(scale, kernel, not no_antialias, border, double, n, suffix, max_pixels)
    plan = plan_resize(source, out, suffix)
    if not modcrop and scale < 1 and scale == 1 / round(1 / scale):
        uneven = uneven_images([item.path for item in plan.items.images], round(1 / scale))
        if uneven:
            of = f"{uneven} of {len(plan.items.images)} images"
            warn(f"{of} have sides that are no multiples of {round(1 / scale)}; see --modcrop")
    done = resize_images(plan, request, force)
    if done.kept:
        say(f"{done.kept} images are there already (--force makes them again)")
    say(f"{done.fates.done} of {done.fates.total} images resized, {done.per_second:.1f} images/s")
    say(f"  {absolute(plan.file or plan.folder)}")
    return done.fates.end("degrade resize")

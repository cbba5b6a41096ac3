"""`pytrain adapt`: fit a network to one image and its kernel, then enlarge the image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pydegrade.errors import OutputError
from pydegrade.shell import (
    OUT_FOLDER,
    SEED,
    Choice,
    Number,
    chosen_device,
    device_option,
    force_option,
    say,
)

if TYPE_CHECKING:
    from pydegrade import Subsampling


MOST_STEPS = 10**6


@click.command(name="adapt", short_help="Fit a network to one image and enlarge it.")
@click.argument("image_path", metavar="IMAGE", type=click.Path(path_type=Path))
@click.option("--model", required=True, metavar="FILE|none", help="MZSR's model file; none: ZSSR, from scratch.")
@click.option(
    "--kernel", required=True, metavar="FILE|estimate|bicubic",
    help="Blur kernel that made IMAGE (.npy, .mat, .png; odd side, sum 1); estimate: a Gaussian, from IMAGE's spectrum; "
    "bicubic: MATLAB's antialiased bicubic.",
)  # fmt: skip
@click.option("--down", type=Choice(("direct", "bicubic")), default="direct", show_default=True,
              help="How pixels were kept after the kernel: every scale-th one, or by MATLAB's bicubic.")  # fmt: skip
@click.option("--steps", default="1,5,10", show_default=True, metavar="N,N", help="Write a result after so many steps.")
@click.option("--rate", type=Number(),
              help="Learning rate of every step, as method.inner_rate was.  [default: published, falling]")  # fmt: skip
@click.option("--falling", is_flag=True, help="--rate is the first step's; later ones fall as the published rates do.")
@click.option("--noise", "sigma_8bit", type=Number(high=255), metavar="SIGMA",
              help="Deviation of IMAGE's noise in 8-bit steps: what the network learns from gets as much.")  # fmt: skip
@click.option("--back-projection", "back_projections", type=click.IntRange(0, 1000), default=0, show_default=True,
              metavar="N", help="Correct each result N times towards what becomes IMAGE when made smaller.")  # fmt: skip
@click.option("--scale", type=click.IntRange(2, 4), help="Factor.  [default: the model's; 2 for none]")
@click.option("--reference", type=click.Path(path_type=Path), metavar="HR", help="The clean image: PSNR is printed.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of ZSSR's weights and crops.")
@click.option("--tile", "tile_px", type=click.IntRange(min=64), default=512, show_default=True, metavar="PX",
              help="Compute larger images in parts of this side; the result stays the same.")  # fmt: skip
@click.option("--out", required=True, type=OUT_FOLDER, help="Folder for the results.")
@force_option()
@device_option()
def command(
    image_path: Path,
    model: str,
    kernel: str,
    down: Subsampling,
    steps: str,
    rate: float | None,
    falling: bool,
    sigma_8bit: float | None,
    back_projections: int,
    scale: int | None,
    reference: Path | None,
    seed: int,
    tile_px: int,
    out: Path,
    force: bool,
    device: str,
) -> None:
    """Fit a network to one image and its blur kernel, and enlarge the image with it.

    The image is made smaller once more by the kernel, and the network learns to undo that: MZSR by a few steps of
    gradient descent from a start that was trained for it (method mzsr), ZSSR by hundreds or thousands of steps from
    scratch. Writes NAME_STEPS.png per number of steps; 0 is the network as it is. An estimated kernel is printed and
    kept as NAME_kernel.npy.

    \b
    Examples:
      pytrain adapt photo.png --model mzsr.pth --kernel k.mat --out adapted
      pytrain adapt photo.png --model none --kernel estimate --out zssr
      pytrain adapt lr.png --model mzsr.pth --kernel k.npy --reference hr.png \\
          --steps 0,1,10 --out adapted
    """
    counts = _counts(steps)
    if model == "none" and rate is not None:
        raise OutputError(f"--rate: must be left out for --model none, ZSSR has its own; got {rate}")
    if falling and rate is None:
        raise OutputError("--falling: must be given with --rate, the published rates fall by themselves")
    from pydegrade.shell import check_folder

    check_folder(out, ())
    from .actions.adapt import AdaptRequest, adapt_file

    request = AdaptRequest(
        image_path, model, kernel, down, counts, rate, falling, sigma_8bit or 0.0, back_projections, scale, reference, seed,
        tile_px, chosen_device(device),
    )  # fmt: skip
    adapt_file(request, out, force, say)


def _counts(steps: str) -> tuple[int, ...]:
    try:
        counts = tuple(sorted({int(part) for part in steps.split(",")}))
    except ValueError:
        counts = ()
    if not counts or not 0 <= counts[0] <= counts[-1] <= MOST_STEPS:
        must = f"numbers in [0, {MOST_STEPS:,}] with commas between them"
        raise OutputError(f"--steps: must be {must}, got {steps[:60]!r}")
    return counts

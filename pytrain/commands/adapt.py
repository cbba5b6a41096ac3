"""`pytrain adapt`: fit a network to one image and its kernel, then enlarge the image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pydegrade.commands.shell.options import OUT_FOLDER, SEED, Choice, Number, chosen_device, device_option
from pydegrade.commands.shell.text import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pydegrade.images.blur_down import Subsampling

    from ..nets import MZSR, MZSRConfig


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
@click.option("--scale", type=click.IntRange(2, 4), help="Factor.  [default: the model's; 2 for none]")
@click.option("--reference", type=click.Path(path_type=Path), metavar="HR", help="The clean image: PSNR is printed.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of ZSSR's weights and crops.")
@click.option("--tile", "tile_px", type=click.IntRange(min=64), default=512, show_default=True, metavar="PX",
              help="Compute larger images in parts of this side; the result stays the same.")  # fmt: skip
@click.option("--out", required=True, type=OUT_FOLDER, help="Folder for the results.")
@device_option()
def command(
    image_path: Path,
    model: str,
    kernel: str,
    down: Subsampling,
    steps: str,
    rate: float | None,
    scale: int | None,
    reference: Path | None,
    seed: int,
    tile_px: int,
    out: Path,
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
    from pydegrade import estimate_kernel, imresize, kernels
    from pydegrade.commands.shell.outputs import check_folder, check_targets, write_file
    from pydegrade.files.lock import folder_lock
    from pydegrade.files.pixels import to_float, to_uint8
    from pydegrade.files.read import read_image
    from pydegrade.files.write import encode_png

    from ..evaluation import adapt as adapting
    from ..evaluation.infer import check_finite

    # Everything that may be wrong, before anything is computed.
    where = chosen_device(device)
    counts = _counts(steps)
    name = image_path.stem
    results = {count: out / f"{name}_{count}.png" for count in counts}
    kernel_path = out / f"{name}_kernel.npy"
    check_folder(out, ())
    read = [image_path, *([] if reference is None else [reference]), Path(kernel), Path(model)]
    written = [*results.values(), *([kernel_path] if kernel == "estimate" else [])]
    check_targets(written, read, "--out")
    pixels = read_image(image_path)
    config, net, multi_scale = _network(model, scale, rate)
    factor = config.scale
    found = estimate_kernel(pixels, factor, down) if kernel == "estimate" else None
    weights = None if kernel == "bicubic" else found.kernel if found else kernels.load(kernel)
    image = to_float(pixels)[None].to(where)
    adapting.make_son(image, weights, factor, down)
    clean = None if reference is None else _clean(reference, factor, pixels.shape[:2])

    # Adapt.
    with folder_lock(out):
        if found is not None:
            write_file(kernel_path, _npy(found.kernel))
            say(
                f"  kernel  sigma {found.sigma_x_px:.2f} x {found.sigma_y_px:.2f} px, "
                f"{math.degrees(found.angle_rad):+.0f} degrees  {kernel_path.resolve()}"
            )
        if clean is not None:
            say(f"{'bicubic':>8}  {_psnr(imresize(pixels, factor), clean, factor)}")
        if net is None:
            made = adapting.zssr(config, image, weights, counts, down, seed, tile_px)
        else:
            made = adapting.adapt(net.to(where), image, weights, counts, down, tile_px, rate, multi_scale)
        for result in made:
            check_finite(result.image)
            loss = "" if result.loss is None else f"  loss {result.loss:.5f}"
            made_pixels = to_uint8(result.image[0].cpu())
            write_file(results[result.steps], encode_png(made_pixels))
            score = "" if clean is None else f"  {_psnr(made_pixels, clean, factor)}"
            say(f"{result.steps:>8}{score}{loss}  {results[result.steps].resolve()}")


def _network(model: str, scale: int | None, rate: float | None) -> tuple[MZSRConfig, MZSR | None, bool]:
    """The network to adapt, at the wanted scale, and whether it was trained on several; None for ZSSR, which makes its
    own."""
    from dataclasses import replace

    from .. import nets
    from ..errors import CheckpointError, ConfigError
    from ..files.checkpoint import load_into, load_model

    if model == "none":
        if rate is not None:
            raise ConfigError(f"--rate: must be left out for --model none, ZSSR has its own; got {rate}")
        return nets.MZSRConfig(scale=scale or 2), None, False
    loaded = load_model(model)
    if not isinstance(loaded.config, nets.MZSRConfig):
        raise CheckpointError(f"{model}: must be a network of type mzsr, got a {loaded.config.type}")
    config = replace(loaded.config, scale=scale or loaded.config.scale)
    net = nets.MZSR(config)
    load_into(net, config, model)
    scales = loaded.metadata.get("scales")
    return config, net, isinstance(scales, list) and len(scales) > 1


def _counts(steps: str) -> tuple[int, ...]:
    from ..errors import ConfigError

    try:
        counts = tuple(sorted({int(part) for part in steps.split(",")}))
    except ValueError:
        counts = ()
    if not counts or not 0 <= counts[0] <= counts[-1] <= MOST_STEPS:
        raise ConfigError(
            f"--steps: must be numbers in [0, {MOST_STEPS:,}] with commas between them, got {steps[:60]!r}"
        )
    return counts


def _clean(path: Path, scale: int, lr_sides: tuple[int, ...]) -> NDArray[Any]:
    """The reference, cut to multiples of the scale that the low-resolution image has."""
    from pydegrade.files.read import read_image

    from ..errors import DataError

    pixels = read_image(path)
    height, width = (side // scale for side in pixels.shape[:2])
    if any(not 0 <= mine - theirs <= 1 for mine, theirs in zip(lr_sides, (height, width))):
        raise DataError(
            f"--reference: {path}: must be {scale} times the image's {lr_sides[1]} x {lr_sides[0]} px, "
            f"got {pixels.shape[1]} x {pixels.shape[0]}"
        )
    return pixels[: height * scale, : width * scale]


def _npy(array: NDArray[Any]) -> bytes:
    from io import BytesIO

    import numpy as np

    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _psnr(image: Any, clean: NDArray[Any], scale: int) -> str:
    """PSNR of luma without a border of the scale, as MZSR reports it."""
    import numpy as np

    from pydegrade.images.metrics import Protocol, psnr

    protocol = Protocol("y", border=scale)
    cut = np.ascontiguousarray(image[: clean.shape[0], : clean.shape[1]])
    return f"{psnr(cut, np.ascontiguousarray(clean), protocol).value:.2f} dB (y-uint8-border{scale})"

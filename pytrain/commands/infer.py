"""`pytrain infer`: upscale images with a model."""

from __future__ import annotations

from pathlib import Path

import click

from pydegrade.shell import (
    OUT_FOLDER,
    Choice,
    absolute,
    chosen_device,
    force_option,
    max_pixels_option,
    say,
)

from .options import model_options


@click.command(name="infer", short_help="Upscale images with a model.")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", "model_path", required=True, type=click.Path(path_type=Path), help="Model file.")
@click.option("--out", required=True, type=OUT_FOLDER, help="Folder for the results.")
@click.option("--suffix", default="", help="Put behind each name: photo.jpg -> photoSUFFIX.png.")
@click.option("--precision", type=Choice(("fp32", "bf16", "fp16")), default="fp32", show_default=True)
@max_pixels_option("Refuse larger inputs.")
@force_option()
@click.option(
    "--vector", "vector_texts", multiple=True, metavar="NAME=VALUE[,...]",
    help="dasr models: entries of the degradation vector set by you: blur1.sigma_x_px=2.5,noise1.sigma_8bit=5.",
)  # fmt: skip
@click.option("--task", metavar="NAME", help="ipt models of several tasks: which one, sr-x2 or denoise-30.")
@model_options
def command(
    inputs: tuple[Path, ...],
    model_path: Path,
    out: Path,
    suffix: str,
    precision: str,
    max_pixels: int,
    force: bool,
    vector_texts: tuple[str, ...],
    task: str | None,
    tile_px: int,
    overlap_px: int,
    device: str,
) -> int:
    """Upscale images: files, or folders with the folders in them.

    Results are PNG with the channels and the depth of their input: gray stays gray, alpha is upscaled too, 16 bits stay
    16 bits. Below OUT, they lie as the inputs lie in their folder. Results that are there and were made by the same model
    from the same image are kept, so an interrupted command can be repeated.

    \b
    Examples:
      pytrain infer photos --model out/run/models/best.safetensors --out big
      pytrain infer big.tif --model RealESRGAN_x4plus.pth --out up --tile 512
      pytrain infer photos --model dasr.pth --out up --vector noise1.sigma_8bit=5
    """
    if 0 < tile_px <= overlap_px:
        raise click.UsageError(f"--tile must be above --overlap {overlap_px}, got {tile_px}")
    from pydegrade.shell import check_folder

    for source in inputs:
        if not source.exists():
            raise FileNotFoundError(2, "No such file or folder", str(source))
    check_folder(out, inputs)
    from .actions.infer import InferOptions, open_upscaler, upscale_images

    where = chosen_device(device)
    options = InferOptions(tile_px, overlap_px, precision, suffix, max_pixels)
    upscaler = open_upscaler(model_path, where, task, vector_texts)
    done = upscale_images(inputs, out, upscaler, options, force, lambda line: say(line))
    say(f"  {absolute(out)}")
    return done.end("pytrain infer")

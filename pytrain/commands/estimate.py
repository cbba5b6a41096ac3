"""`degrade estimate`: what files, pixels, or a trained DASR predictor say about the degradation of images."""

from __future__ import annotations

from pathlib import Path

import click

from pydegrade.shell import IN_PATH, OUT_FILE, absolute, chosen_device, device_option, max_pixels_option, say


@click.command(name="estimate", short_help="Estimate the degradation of images.")
@click.argument("images", nargs=-1, required=True, type=IN_PATH)
@click.option("--model", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="CKPT",
              help="A model of method dasr, labels of scheme dasr33-global: print what it believes instead.")  # fmt: skip
@click.option("--json", "json_path", type=OUT_FILE, help="Also write all of it here.")
@max_pixels_option()
@device_option("cpu")
def command(images: tuple[Path, ...], model: Path | None, json_path: Path | None, max_pixels: int, device: str) -> int:
    """Print a line for each image: size, JPEG quality and subsampling by its tables, camera, noise, width of edges,
    traces of an earlier JPEG or enlargement.

    What a file tells is exact; what pixels show is measured in three squares of 256 px, without any model of how the
    image came about (docs/fitting.md). Folders are searched.

    With --model: what a trained predictor believes about blur, resize, noise and compression, in units. These are
    estimates of a network that was trained on one degradation model; docs/dasr.md says how far they can be trusted.

    \b
    Examples:
      degrade estimate photos
      degrade estimate photos --json found.json
      degrade estimate photo.jpg --model dasr.safetensors
    """
    from pydegrade.shell import check_file, write_file

    if json_path is not None:
        check_file(json_path, (".json",), "--json", [*images, *([model] if model else [])])
    from .actions.estimate import estimate_images, measure_images, to_json

    if model is None:
        found, fates = measure_images(images, max_pixels, say)
    else:
        found, fates = estimate_images(images, model, chosen_device(device), max_pixels, say)
    if json_path is not None and found:
        write_file(json_path, to_json(found))
        say(absolute(json_path))
    return fates.end("degrade estimate")

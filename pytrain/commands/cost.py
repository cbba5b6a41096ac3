"""`pytrain cost`: parameters, multiply-adds, memory and time of networks."""

from __future__ import annotations

from pathlib import Path

import click

from pydegrade.shell import absolute, chosen_device, device_option, say


@click.command(name="cost", short_help="Parameters, multiply-adds, memory and time of networks.")
@click.argument("names", metavar="NETWORK|CONFIG|MODEL...", nargs=-1, required=True)
@click.option("--scale", type=click.IntRange(1, 8), default=4, show_default=True, help="Of networks given by name.")
@click.option("--side", "side_px", type=click.IntRange(1, 8192), default=64, show_default=True, metavar="PX",
              help="Side of the image before upscaling.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(0, 1000), default=5, show_default=True, help="Timed calls; 0: none.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Of the CPU.  [default: torch's]")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Also write all numbers here."
)
@device_option()
def command(
    names: tuple[str, ...],
    scale: int,
    side_px: int,
    repeats: int,
    threads: int | None,
    json_path: Path | None,
    device: str,
) -> None:
    """What networks cost on one image: by name (`pytrain methods`) in their published size, as a configuration's net, or as
    a model file.

    Multiply-adds are those of convolutions and matrix products. Memory is what tensors take at once, without weights and
    workspaces, in float32. Both are the same on every machine; time is this one's: the median of --repeats.

    \b
    Examples:
      pytrain cost srresnet dasr rrdbnet swinir
      pytrain cost configs/dasr_x4.toml x4plus.pth --side 128 --threads 1
    """
    from pydegrade.shell import check_file, write_file

    if json_path is not None:
        check_file(json_path, (".json",), "--json")
    from .actions.cost import as_json, as_text, measured

    costs = measured(names, scale, side_px, chosen_device(device), repeats, threads)
    for line in as_text(costs, side_px):
        say(line)
    if json_path is not None:
        write_file(json_path, as_json(costs, side_px, threads).encode())
        say(absolute(json_path))

"""`degrade apply`: run a task, or a file of tasks, on images."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from ..shell.options import (
    IN_PATH,
    OUT_FOLDER,
    SEED,
    Choice,
    chosen_device,
    device_option,
    force_option,
    max_pixels_option,
)
from ..shell.ray_engine import check_engine, engine_options, on_ray
from ..shell.shards import SHARD_HELP, merge_line, parse_shard, shard_folder
from ..shell.text import absolute, say


@click.command(name="apply", short_help="Degrade images by a task or a file of tasks.")
@click.argument("images", nargs=-1, required=True, type=IN_PATH)
@click.option(
    "--task",
    "task_source",
    metavar="ADDRESS|FILE|OUT",
    help="Every image gets it: a task's address, or all of a tasks.npz, its folder or a card.",
)
@click.option(
    "--tasks",
    "tasks_source",
    metavar="CARD|OUT|FILE|SPACE",
    help="Every image gets one of its own: the first that a card, a folder of `degrade sample` or a tasks.npz holds, or "
    "that a space draws.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of tasks that --tasks SPACE draws.")
@click.option(
    "--keep-names",
    is_flag=True,
    help="With --tasks: results have the names of their images, or are refused; --with-target fills lr/ and target/.",
)
@click.option("--out", required=True, type=OUT_FOLDER, help="Folder for the results.")
@click.option(
    "--space",
    "space_name",
    help="TOML file, or a folder of `degrade sample`, if the address names a space of your own.",
)
@click.option("--format", "file_format", type=Choice(("png", "npy")), default="png", show_default=True)
@click.option("--with-target", is_flag=True, help="Also write what a loss should compare with: NAME_target.")
@click.option("--shard", metavar="I/N|auto", help=f"Do images I, I + N, ... alone, in OUT-I-of-N. {SHARD_HELP}")
@engine_options
@force_option()
@max_pixels_option()
@device_option("cpu")
def command(
    images: tuple[Path, ...],
    task_source: str | None,
    tasks_source: str | None,
    seed: int,
    keep_names: bool,
    out: Path,
    space_name: str | None,
    file_format: str,
    with_target: bool,
    shard: str | None,
    engine: str,
    shards: int | None,
    force: bool,
    max_pixels: int,
    device: str,
) -> int:
    """Degrade IMAGES (files or folders), whole: by one task, by each task of a file, or each image by its own.

    Sides that are not multiples of the scale are cut at the bottom and the right. Noise belongs to the task, not to the
    file: the same address on the same pixels gives the same bits as `degrade sample` wrote, on any machine.

    With --tasks, and with one task, results are OUT/NAME.png; with several, OUT/NAME/00000.png and so on, numbered like
    the tasks. --tasks goes through the images in natural order (img2 before img10), and OUT/tasks.csv says which image
    got which. Results that are there and were made from the same task and image are kept.

    Many processes share the images by --shard: each starts the same line with its own I, and `degrade merge` makes one
    folder of what they leave.

    \b
    Examples:
      degrade apply photo.jpg --task realesrgan-x4@c2d470a8/s7/i123 --out out
      degrade apply Set14 --task out/run/tasks.npz --out degraded
      degrade apply DIV2K_HR --tasks bsrgan-x4 --keep-names --out DIV2K_LR
      degrade apply DIV2K_HR --tasks card.toml --keep-names --out DIV2K_LR
    """
    check_engine(engine, shards, shard)
    if (task_source is None) == (tasks_source is None):
        raise click.UsageError("give --task (for every image) or --tasks (one each), and not both")
    if keep_names and tasks_source is None:
        raise click.UsageError("--keep-names goes with --tasks, one task per image")
    from .actions.tasks import holds_tasks, load_tasks, tasks_of_images

    is_seeded = click.get_current_context().get_parameter_source("seed") is not ParameterSource.DEFAULT
    if is_seeded and (tasks_source is None or holds_tasks(tasks_source)):
        raise click.UsageError("--seed goes with --tasks SPACE; tasks that are given have seeds of their own")
    from ..errors import OutputError
    from ..shell.outputs import check_folder
    from .actions.apply import ApplyRequest, Naming, apply_tasks

    where = chosen_device(device)
    if engine == "ray":
        from ..shell.images import find_items

        code, made = on_ray(shards, len(find_items(images).images), gpu=device == "cuda")
        say(f"{made} shards on Ray; all together: {merge_line(out, made)}")
        return code
    place = None if shard is None else parse_shard(shard)
    whole = out
    out = out if place is None else shard_folder(out, place)
    check_folder(out, images)
    if tasks_source is not None:
        naming = Naming(file_format, with_target, keep=keep_names)
        items = naming.items(images)
        tasks = tasks_of_images(tasks_source, len(items.images), seed, space_name)
    else:
        tasks = load_tasks(task_source or "", space_name)
        naming = Naming(file_format, with_target, numbered=len(tasks) > 1)
        items = naming.items(images)
    if place is not None and place[1] > len(items.images):
        raise OutputError(
            f"--shard: {len(items.images)} images make at most {len(items.images)} shards, got {place[1]}"
        )
    request = ApplyRequest(tasks, naming, max_pixels, where, tasks_source is not None, place)
    done = apply_tasks(items, out, request, force)
    if done.kept:
        say(f"{done.kept} images are there already (--force makes them again)")
    say(f"{done.fates.done} of {done.fates.total} images degraded, {done.per_second:.1f} results/s")
    say(f"  {absolute(out)}")
    if place is not None:
        say(f"all shards together: {merge_line(whole, place[1])}")
    return done.fates.end("degrade apply")

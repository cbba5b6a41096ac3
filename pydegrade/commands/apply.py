"""`degrade apply`: run a task, or a file of tasks, on images."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.options import IN_PATH, OUT_FOLDER, Choice, chosen_device, device_option, force_option, max_pixels_option
from ..shell.text import say


@click.command(name="apply", short_help="Degrade images by a task or a file of tasks.")
@click.argument("images", nargs=-1, required=True, type=IN_PATH)
@click.option(
    "--task",
    "task_source",
    required=True,
    metavar="ADDRESS|FILE|OUT",
    help="A task's address, a tasks.npz, or its folder.",
)
@click.option("--out", required=True, type=OUT_FOLDER, help="Folder for the results.")
@click.option(
    "--space",
    "space_name",
    help="TOML file, or a folder of `degrade sample`, if the address names a space of your own.",
)
@click.option("--format", "file_format", type=Choice(("png", "npy")), default="png", show_default=True)
@click.option("--with-target", is_flag=True, help="Also write what a loss should compare with: NAME_target.")
@force_option()
@max_pixels_option()
@device_option("cpu")
def command(
    images: tuple[Path, ...],
    task_source: str,
    out: Path,
    space_name: str | None,
    file_format: str,
    with_target: bool,
    force: bool,
    max_pixels: int,
    device: str,
) -> int:
    """Degrade IMAGES (files or folders) by one task, or by each task of a file.

    Sides that are not multiples of the scale are cut at the bottom and the right. Noise belongs to the task, not to the
    file: the same address on the same pixels gives the same bits as `degrade sample` wrote, on any machine.

    With one task, results are OUT/NAME.png; with several, OUT/NAME/00000.png and so on, numbered like the tasks.
    Results that are there and were made from the same task and image are kept.

    \b
    Examples:
      degrade apply photo.jpg --task realesrgan-x4@c2d470a8/s7/i123 --out out
      degrade apply Set14 --task out/run/tasks.npz --out degraded
    """
    from ..shell.outputs import check_folder
    from .actions.apply import ApplyRequest, apply_tasks
    from .actions.tasks import load_tasks

    where = chosen_device(device)
    check_folder(out, images)
    request = ApplyRequest(load_tasks(task_source, space_name), file_format, with_target, max_pixels, where)
    done = apply_tasks(images, out, request, force)
    if done.kept:
        say(f"{done.kept} images are there already (--force makes them again)")
    say(f"{done.fates.done} of {done.fates.total} images degraded, {done.per_second:.1f} results/s")
    say(f"  {out.resolve()}")
    return done.fates.end("degrade apply")

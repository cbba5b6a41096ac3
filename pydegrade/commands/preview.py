"""`degrade preview`: a contact sheet, stage by stage."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from ..shell.errors import BAD_INPUT
from ..shell.images import say_left_out
from ..shell.options import OUT_FILE, SEED, START, check_last_index, chosen_device
from ..shell.text import absolute, complain, say, warn
from .hr_options import BUNDLED_HR_SIZE_PX, hr_options


@click.command(name="preview", short_help="Contact sheet of a space, stage by stage.")
@click.option(
    "--space",
    "space_name",
    default="realesrgan-x4",
    show_default=True,
    help="Preset, TOML file, card, or a folder of `degrade sample`.",
)
@click.option("--task", "task_source", metavar="ADDRESS|FILE|OUT", help="Show these tasks instead of drawing new ones.")
@click.option("--n", "count", type=click.IntRange(1, 200), default=16, show_default=True, help="Rows of the sheet.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--start", type=START, default=0, show_default=True, help="Index of the first sample.")
@click.option(
    "--columns", type=click.IntRange(0, 64), default=0, show_default=True, metavar="N",
    help="Stages in a line; 4 can be read at the width of a page. 0: all in one line.",
)  # fmt: skip
@click.option("-o", "--output", type=OUT_FILE, default="sheet.png", show_default=True, help="A .png, .jpg or .webp.")
@hr_options
def command(
    space_name: str,
    task_source: str | None,
    count: int,
    seed: int,
    start: int,
    columns: int,
    output: Path,
    hr: Path | None,
    hr_size: int | None,
    max_pixels: int,
    device: str,
) -> int:
    """Draw a contact sheet: one row per task, the image after every slot, with its parameters.

    Crops are those that `degrade sample` cuts for the same tasks from the same images at the same --hr-size.

    \b
    Examples:
      degrade preview -o sheet.png
      degrade preview --n 2 --columns 4 -o page.png
      degrade preview --space bsrgan-x4 --n 8 --hr photos -o bsrgan.png
      degrade preview --task out/run -o run.png
    """
    context = click.get_current_context()
    given = [name for name in ("seed", "start", "space_name") if _is_given(context, name)]
    if task_source is not None and {"seed", "start"} & set(given):
        raise click.UsageError(
            f"--{given[0]} goes with --space; the tasks of --task have seeds and numbers of their own"
        )
    check_last_index(start, count)
    from ..shell.outputs import PICTURE_ENDINGS, check_file, encode_picture, write_file

    check_file(output, PICTURE_ENDINGS, "-o", [] if hr is None else [hr])
    from ..shell.outputs import check_targets
    from ..tasks.sampler import sample
    from .actions.preview import preview_sheet
    from .actions.sources import cropped_images
    from .actions.tasks import load_space, load_tasks

    where = chosen_device(device)
    if task_source is None:
        tasks = sample(load_space(space_name), seed, range(start, start + count))
    else:
        tasks = load_tasks(task_source, space_name if "space_name" in given else None)
        tasks = tasks.take(slice(0, count))
    found = cropped_images(hr, hr_size, tasks.space, BUNDLED_HR_SIZE_PX, max_pixels)
    check_targets([output], [image.path for image in found.images.images], "-o")
    say_left_out(found.images.excluded)
    if found.note:
        warn(found.note)
    sheet, failed = preview_sheet(tasks, found, where, max_pixels, columns)
    for line in failed:
        warn(f"skipped: {line}")
    if sheet is not None:
        write_file(output, encode_picture(sheet, output.suffix))
        say(absolute(output))
    return complain(f"degrade preview: {len(failed)} of {len(tasks)} rows skipped", BAD_INPUT) if failed else 0


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT

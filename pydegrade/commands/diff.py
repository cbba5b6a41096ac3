"""`degrade diff`: two spaces side by side."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.options import OUT_FILE, SEED
from ..shell.text import absolute, say


@click.command(name="diff", short_help="Two spaces side by side.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--tasks", "count", type=click.IntRange(4, 1_000_000), default=4000, show_default=True, help="Tasks drawn of each."
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--step", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Training step of schedules."
)
@click.option("--all", "everything", is_flag=True, help="Also what is equal in both.")
@click.option("-o", "--output", type=OUT_FILE, help="Picture to write, a .png, .jpg or .webp.  [default: text alone]")
@click.option("--force", is_flag=True, help="Overwrite an existing picture.")
def command(
    first: str,
    second: str,
    count: int,
    seed: int,
    step: int,
    everything: bool,
    output: Path | None,
    force: bool,
) -> None:
    """Say how spaces A and B (presets, TOML files, cards, or folders of `degrade sample`) differ.

    First what their texts say differently, then the tasks that both draw at the same seed and numbers: the share in which
    a slot acts, and of each column the mean and the 5 and 95 % points where it has an effect, or the shares of its names.
    A column that both describe alike has the same value in every task, so that what is shown differs and is no chance;
    values of a column that depends on another one, or acts where another lets it, may differ though its own words agree.

    The picture shows photographs under the same tasks of both, and the columns that differ. The exit code is 0 whether
    they differ or not.

    \b
    Examples:
      degrade diff realesrgan-x4 osediff
      degrade diff mine.toml card.toml -o diff.png
    """
    from ..errors import OutputError
    from ..shell.outputs import PICTURE_ENDINGS, check_file, encode_picture, write_file
    from ..tasks.sampler import sample
    from .actions.diff import differences, marginals, table_of, text_of
    from .actions.tasks import load_space

    if output is not None:
        check_file(output, PICTURE_ENDINGS, "-o", [Path(name) for name in (first, second)])
        if output.exists() and not force:
            raise OutputError(f"-o: {output} exists already; choose another name or give --force")
    spaces = [load_space(name) for name in (first, second)]
    names = tuple(f"{space.name}@{space.digest[:8]}" for space in spaces)
    for letter, name, space in zip("AB", names, spaces):
        say(f"{letter}  {name}  x{space.scale}  target {space.target}  crops of {space.hr_px} px")
    said = differences(*spaces)
    if spaces[0] == spaces[1]:
        say("", "both are the same space" + (", but for " + said[0].name if said else ""))
    tasks = [sample(space, seed, range(count), step=step) for space in spaces]
    found = marginals(tasks[0], tasks[1])
    shown = found if everything else [marginal for marginal in found if not marginal.equal]
    if said:
        say("", "parameters that differ", *text_of(said))
    at = f", at step {step}" if any(space.scheduled for space in spaces) else ""
    equal = sum(marginal.equal for marginal in found)
    if shown:
        say("", f"{count} tasks of seed {seed}{at}: mean [5 %, 95 %] where there is an effect", *table_of(shown))
    if equal and not everything:
        say("", f"{equal} of {len(found)} slots and columns are equal in all {count} tasks (--all shows them)")
    if output is not None:
        from .actions.diff_sheet import diff_sheet

        picture = diff_sheet(tasks[0], tasks[1], (names[0], names[1]), shown)
        write_file(output, encode_picture(picture, output.suffix))
        say(absolute(output))

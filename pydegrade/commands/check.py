"""`degrade check`: what a space does, before anything is made with it."""

from __future__ import annotations

import click

from ..shell.options import SEED
from ..shell.text import say, warn


@click.command(name="check", short_help="Say what a space does, and whether it runs.")
@click.argument("space_name", metavar="SPACE")
@click.option(
    "--tasks", "count", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, help="Tasks drawn."
)
@click.option("--images", type=click.IntRange(1, 10_000), default=32, show_default=True, help="Of them degraded.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--step", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Training step of schedules."
)
def command(space_name: str, count: int, images: int, seed: int, step: int) -> None:
    """Draw tasks of SPACE (a preset or a TOML file), show how columns are distributed, degrade a made-up photograph.

    Slots that never act and columns that never have an effect are named. All tasks are planned for the space's crops, so
    that one that cannot run is found; ops of your own are run twice, and must give the same pixels. The exit code is 2
    where they do not.

    \b
    Examples:
      degrade check mine.toml
      degrade check mine.toml --step 100000
      degrade check bsrgan-x4 --tasks 20000
    """
    import textwrap
    import time

    from ..tasks.sampler import sample
    from ..tasks.space import Space
    from .actions.check import dry_run, looked_at

    space = Space.load(space_name)
    started_s = time.perf_counter()
    tasks = sample(space, seed, range(count), step=step)
    seconds = time.perf_counter() - started_s
    say(f"{space.name}  digest {space.digest[:8]}  x{space.scale}  target {space.target}  crops of {space.hr_px} px")
    say(*textwrap.wrap(space.source, 80), "")
    report = looked_at(tasks)
    at = f" at step {step}" if space.scheduled else ""
    say(f"{len(tasks)} tasks of seed {seed}{at}", *report.lines)
    for slot in report.idle:
        warn(f"slot {slot} never acts in {len(tasks)} tasks")
    for name in report.unused:
        warn(f"{name} is drawn but never has an effect in {len(tasks)} tasks")
    done = dry_run(tasks, seconds, min(images, len(tasks)))
    say(
        "",
        f"dry run: {done.images} of {done.side_px} x {done.side_px} px degraded, {len(tasks)} tasks planned;",
        f"per image {done.draw_ms:.2g} ms to draw, {done.degrade_ms:.3g} ms to degrade",
    )

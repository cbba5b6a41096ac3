"""`degrade show`: say what a task does."""

from __future__ import annotations

import json

import click

from ..shell.text import folded, say

INDENT = " " * 15
"""Where the parameters of a slot begin."""


@click.command(name="show", short_help="Say what a task does.")
@click.argument("task_source", metavar="ADDRESS|FILE|OUT")
@click.option(
    "--space",
    "space_name",
    help="TOML file, or a folder of `degrade sample`, if the address names a space of your own.",
)
@click.option("--first", type=click.IntRange(min=1), default=10, show_default=True, help="Tasks of a file to show.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per task and line.")
def command(task_source: str, space_name: str | None, first: int, as_json: bool) -> None:
    """Say what a task does, in words and numbers.

    \b
    Examples:
      degrade show realesrgan-x4@c2d470a8/s7/i123
      degrade show out/run --first 3
      degrade show out/run/tasks.npz --first 4000 --json > tasks.jsonl
    """
    from .actions.tasks import load_tasks, task_object

    tasks = load_tasks(task_source, space_name)
    count = min(first, len(tasks))
    for row in range(count):
        if as_json:
            say(json.dumps(task_object(tasks, row)))
            continue
        say(*(part for line in tasks.describe(row).split("\n") for part in folded(line, ", ", INDENT)), "")
    if count < len(tasks):
        say(f"{count} of {len(tasks)} tasks shown (--first)", err=True)

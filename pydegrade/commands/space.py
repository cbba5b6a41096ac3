"""`degrade space`: spaces of one's own."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from ..errors import PydegradeError
from ..shell.options import OUT_FILE, Choice
from ..shell.text import absolute, say

LEVELS = ("none", "weak", "standard", "severe")


@click.group(name="space", short_help="Begin a space of your own.")
def command() -> None:
    """Begin a space of your own.

    \b
    Example:
      degrade space new mine.toml
    """


# (option, question, type, default); asked in this order where the option is not given.
_QUESTIONS: tuple[tuple[str, str, Any, Any], ...] = (
    ("scale", "How many HR pixels to a LR pixel (1: restoration at one size)", click.IntRange(1, 8), 4),
    ("stages", "Degraded once, or twice as photographs that were shared again (1, 2)", click.IntRange(1, 2), 1),
    ("blur", f"Blur ({', '.join(LEVELS)})", Choice(LEVELS), "standard"),
    ("noise", f"Noise ({', '.join(LEVELS)})", Choice(LEVELS), "standard"),
    ("jpeg", f"JPEG compression ({', '.join(LEVELS)})", Choice(LEVELS), "standard"),
)


@command.command(name="new", short_help="A few questions, and a commented space.")
@click.argument("out", metavar="OUT", type=OUT_FILE)
@click.option("--scale", type=click.IntRange(1, 8), help="HR pixels to a LR pixel.")
@click.option("--stages", type=click.IntRange(1, 2), help="Degraded once or twice.")
@click.option("--blur", type=Choice(LEVELS))
@click.option("--noise", type=Choice(LEVELS))
@click.option("--jpeg", type=Choice(LEVELS))
@click.option("--name", help="Of the space.  [default: that of the file]")
@click.option("--defaults", is_flag=True, help="Ask nothing: 4, 1 and standard where no option says otherwise.")
@click.option("--preview/--no-preview", default=True, help="A contact sheet beside the file.  [default: preview]")
def new(out: Path, name: str | None, defaults: bool, preview: bool, **answers: Any) -> None:
    """Ask a few questions and write OUT, a commented space (.toml), with a contact sheet of four tasks beside it.

    Every question has an option; the levels are those of DASR. What is there is never overwritten.

    \b
    Examples:
      degrade space new mine.toml
      degrade space new mine.toml --scale 2 --noise none --defaults
    """
    from ..errors import OutputError
    from ..shell.outputs import PICTURE_ENDINGS, check_file

    sheet = out.with_suffix(PICTURE_ENDINGS[0])
    check_file(out, (".toml",), "OUT")
    for path in (out, sheet) if preview else (out,):
        if path.exists() or path.is_symlink():
            raise OutputError(f"OUT: {path} exists already; choose another name")
    given = _answered(answers, defaults)
    from .actions.new_space import NewSpace, preview_of, written

    space, text = written(NewSpace(name or out.stem, **given))
    results = {out: text.encode()}
    if preview:
        results[sheet] = preview_of(space)
    _write(results)
    slots = " ".join(slot.name for slot in space.slots)
    say(f"{space.name}@{space.digest[:8]}, x{space.scale}: {slots}")
    for path in results:
        say(f"  {absolute(path)}")
    say(f"try: degrade check {shlex.quote(str(out))}")


def _answered(answers: dict[str, Any], defaults: bool) -> dict[str, Any]:
    """The options, and an answer for each that was not given."""
    open_options = [option for option, *_ in _QUESTIONS if answers[option] is None]
    if open_options and not defaults and not sys.stdin.isatty():
        missing = ", ".join(f"--{option}" for option in open_options)
        raise PydegradeError(f"nobody is here to answer: give {missing}, or --defaults")
    return {
        option: (default if defaults else click.prompt(question, type=kind, default=default, err=True))
        if answers[option] is None
        else answers[option]
        for option, question, kind, default in _QUESTIONS
    }


def _write(results: dict[Path, bytes]) -> None:
    """All files, or none."""
    from ..shell.outputs import write_file

    made: list[Path] = []
    try:
        for path, content in results.items():
            made.append(path)
            write_file(path, content)
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise

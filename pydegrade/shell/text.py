"""Lines for people: one place where names of files become safe to show on a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ..files.paths import display_name

LONGEST_LINE = 1500
"""Characters of an error line; longer ones are cut in the middle (an option of 5000 digits)."""


def printable(text: str) -> str:
    """One line that a terminal shows as it is.

    Line breaks become spaces. Control characters (escape sequences in a file's name), marks that turn the direction of
    writing, and bytes of a name that are no UTF-8 are shown as their codes: "\\x1b[31m.png", "bad\\xff.png".
    """
    line = re.sub(r"\s*[\r\n]+\s*", " ", text)
    return display_name(line)


def absolute(path: Path) -> str:
    """Where something lies, for people and scripts: a whole path on one line, whatever its name."""
    return display_name(path.resolve())


def say(*lines: str, err: bool = False) -> None:
    """Print lines, each as `display_name` shows it: a line break in one belongs to a name, and appears as its code."""
    click.echo("\n".join(map(display_name, lines)), err=err)


def folded(line: str, between: str, indent: str, width: int = 80) -> list[str]:
    """A line cut where `between` stands into lines of at most `width` characters, all but the first indented."""
    start = line[: len(line) - len(line.lstrip())]
    first, *rest = line.lstrip().split(between)
    lines = [start + first]
    for part in rest:
        if len(lines[-1] + between + part) <= width:
            lines[-1] += between + part
        else:
            lines[-1] += between.rstrip()
            lines.append(indent + part)
    return lines


def warn(line: str) -> None:
    """Print "warning: ..." on stderr."""
    say(f"warning: {line}", err=True)


def complain(line: str, code: int) -> int:
    """Print one line on stderr; returns the exit code that goes with it."""
    line = printable(line.strip())
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    click.echo(line, err=True)
    return code

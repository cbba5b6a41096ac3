"""`degrade spaces`: list the presets."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from ..shell.text import say

if TYPE_CHECKING:
    from ..tasks.space import Space

WIDTH = 80


@click.command(name="spaces", short_help="List the presets.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def command(names: tuple[str, ...]) -> None:
    """List the presets by family: name, digest, scale, what it is.

    With names of presets, or paths of spaces: their slots and sources.

    \b
    Examples:
      degrade spaces
      degrade spaces osediff gfpgan
    """
    from ..tasks.space import Space, preset_names, presets

    if names:
        say(*"\n\n".join(_described(Space.load(name)) for name in names).split("\n"))
        return
    families: dict[str, list[Space]] = {}
    here, missing = presets()
    for space in here:
        families.setdefault(space.family, []).append(space)
    width = max(len(name) for name in preset_names())
    blocks = [
        "\n".join([family, *(f"  {s.name:{width}}  {s.digest[:8]}  x{s.scale}  {s.summary}" for s in families[family])])
        for family in sorted(families)
    ]
    if missing:
        lines = (
            f"  {reason}\n{textwrap.fill(', '.join(absent), WIDTH, initial_indent='    ', subsequent_indent='    ')}"
            for reason, absent in missing.items()
        )
        blocks.append("\n".join(["Not on this machine", *lines]))
    say(*"\n\n".join(blocks).split("\n"))


def _described(space: Space) -> str:
    rows = [
        (space.name, f"{space.digest[:8]}, x{space.scale}, {space.summary}" if space.summary else space.digest[:8]),
        ("source", space.source),
        ("target", "the HR image" if space.target == "hr" else f"the HR image after {space.target}"),
        ("slots", " ".join(slot.name for slot in space.slots)),
        ("gates", " ".join(space.gate_names)),
        ("parts", " ".join(part.name for part in space.components)),
    ]
    indent = " " * (len(space.name) + 2)
    return "\n".join(
        textwrap.fill(
            text, WIDTH, initial_indent=f"{name:{len(space.name)}}  ", subsequent_indent=indent, break_long_words=False
        )
        for name, text in rows
        if text
    )

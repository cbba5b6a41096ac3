"""`degrade spaces`: list the presets."""

from __future__ import annotations

import click

from ..shell.text import say


@click.command(name="spaces", short_help="List the presets.")
def command() -> None:
    """List the presets: name, digest, scale, slots, source."""
    from ..tasks.space import Space, preset_names

    presets = [Space.load(name) for name in preset_names()]
    width = max(len(space.name) for space in presets)
    for space in presets:
        slots = " ".join(slot.name for slot in space.slots)
        say(f"{space.name:{width}}  {space.digest[:8]}  x{space.scale}  {slots}")
        say(f"{'':{width}}  {space.source}\n")

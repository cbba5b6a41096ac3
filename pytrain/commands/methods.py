"""`pytrain methods`: list training methods and networks."""

from __future__ import annotations

import click

from pydegrade.shell import folded, say


@click.command(name="methods", short_help="List training methods and networks.")
def command() -> None:
    """List training methods and networks."""
    from ..config.config import TRAINABLE
    from ..methods.registry import METHODS
    from ..training.log import text_table

    rows = [[name, f"{entry.summary} ({entry.paper})"] for name, entry in METHODS.items()]
    width = max(len(name) for name, _ in rows)
    say("Methods (method.type):")
    for name, text in rows:
        say(*folded(f"  {name:<{width}}  {text}", " ", " " * (width + 4)))
    say("Networks (net.type):")
    for line in text_table("", ["", "parameters", "scale"], [_net_row(name) for name in TRAINABLE])[1:]:
        say(f"  {line}")


def _net_row(name: str) -> list[str]:
    """Name, size at its default configuration and scale."""
    import torch

    from .. import nets

    if name == "spandrel":
        return [name, "any", "any"]
    with torch.device("meta"):
        net = nets.build(nets.NETS[name].config())
    return [name, f"{nets.num_parameters(net):,}", f"x{net.scale}"]

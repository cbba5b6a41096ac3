"""`pytrain check`: open everything that a configuration names."""

from __future__ import annotations

from pathlib import Path

import click

from pydegrade.shell import folded, say

from .options import config_options, load_config, located


@click.command(name="check", short_help="Open everything that CONFIG names.")
@config_options()
@click.option("--headers-only", is_flag=True, help="Do not decode the training images.")
def command(config_path: Path, overrides: tuple[str, ...], headers_only: bool) -> None:
    """Open everything that CONFIG names, and print what a run would do.

    Reads every folder, list, space, model file and evaluation set; checks sizes, pairs and scale; tries a step on shapes;
    estimates its memory; decodes every training image and names those that cannot be decoded. Prints the resolved
    configuration, with comments for what was found; nothing is trained or written.

    \b
    Example:
      pytrain check configs/quickstart.toml --set data.hr=DIV2K_train_HR
    """
    config = load_config(config_path, overrides)
    from ..config.config import to_toml
    from .actions.check import findings

    for line in located(config, lambda: findings(config, not headers_only)):
        say(*folded(f"# {line}", ", ", "#   "))
    say(*to_toml(config).removesuffix("\n").split("\n"))

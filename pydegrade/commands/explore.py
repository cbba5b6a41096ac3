"""`degrade explore`: a space on one's own photograph, in the browser."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.options import SEED, START
from ..shell.text import say


@click.command(name="explore", short_help="Design a degradation by looking, in the browser.")
@click.argument("photo", metavar="[PHOTO]", required=False, type=click.Path(path_type=Path))
@click.option("--space", "space_name", default="realesrgan-x4", show_default=True, help="Preset or TOML file.")
@click.option("--task", "address", metavar="ADDRESS", help="The task to begin with.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--index", type=START, default=0, show_default=True, help="Sample to begin with.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of 127.0.0.1.  [default: one that is free]")
@click.option("--open", "opened", is_flag=True, help="Open a browser.")
def command(
    photo: Path | None, space_name: str, address: str | None, seed: int, index: int, port: int, opened: bool
) -> None:
    """Serve a page to this machine's browser: PHOTO under a task, with a control for every parameter of the space.

    The page shows HR and LR under a line that moves, the image after every slot, and nine more draws to choose from; it
    gives the task's address, its TOML and its Python. It is served to 127.0.0.1 alone, and nothing leaves the machine.
    Needs the extra: pip install 'pydegrade[explore]'

    \b
    Examples:
      degrade explore photo.jpg
      degrade explore --space mine.toml --open
    """
    from importlib.util import find_spec

    from ..errors import PydegradeError

    if find_spec("gradio") is None:
        raise PydegradeError("degrade explore needs gradio: pip install 'pydegrade[explore]'")
    from ..tasks.sampler import sample
    from .actions.explore import task_at
    from .actions.explore_page import launch, wait_and_close
    from .actions.tasks import load_space

    space = load_space(space_name)
    first = sample(space, seed, [index]) if address is None else task_at(space, address)
    blocks = launch(space, space_name, first, photo, port, opened)
    say(f"{space.name}@{space.digest[:8]} at {blocks.local_url}  (Ctrl-C ends)")
    wait_and_close(blocks)

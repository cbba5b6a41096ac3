"""`degrade explore`: a space on one's own photograph, in the browser."""

from __future__ import annotations

from pathlib import Path

import click

from ..shell.options import SEED, START
from ..shell.text import say

DEFAULT_SPACE = "realesrgan-x4"


@click.command(name="explore", short_help="Design a degradation by looking, in the browser.")
@click.argument("photo", metavar="[PHOTO]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--space", "space_names", multiple=True, metavar="SPACE",
    help="Preset or TOML file; others that are given stand beside the first.  [default: realesrgan-x4]",
)  # fmt: skip
@click.option(
    "--groups", type=click.Path(path_type=Path), metavar="FILE",
    help="Groups of `pytrain group` (.toml), whose tasks can be chosen; the space is theirs where none is given.",
)  # fmt: skip
@click.option(
    "--model", type=click.Path(path_type=Path), metavar="FILE",
    help="Model file of the space's scale: LR before and after it. Of method dasr: with what it believes, to be changed.",
)  # fmt: skip
@click.option("--task", "address", metavar="ADDRESS", help="The task to begin with.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--index", type=START, default=0, show_default=True, help="Sample to begin with.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of 127.0.0.1.  [default: one that is free]")
@click.option("--open", "opened", is_flag=True, help="Open a browser.")
def command(
    photo: Path | None,
    space_names: tuple[str, ...],
    groups: Path | None,
    model: Path | None,
    address: str | None,
    seed: int,
    index: int,
    port: int,
    opened: bool,
) -> None:
    """Serve a page to this machine's browser: PHOTO under a task, with a control for every parameter of the space.

    The page shows HR and LR under a line that moves, the image after every slot, and nine more draws to choose from; it
    gives the task's address, its TOML and its Python. It is served to 127.0.0.1 alone, and nothing leaves the machine.
    Needs the extra: pip install 'pydegrade[explore]'

    \b
    Examples:
      degrade explore photo.jpg
      degrade explore --space mine.toml --open
      degrade explore photo.jpg --space realesrgan-x4 --space bsrgan-x4
      degrade explore --groups groups.toml --model x4.safetensors
    """
    from importlib.util import find_spec

    from ..errors import PydegradeError, needs

    if find_spec("gradio") is None:
        raise PydegradeError(needs("degrade explore", "gradio", "explore"))
    from ..tasks.sampler import sample
    from .actions.explore import groups_of, task_at
    from .actions.explore_model import open_model
    from .actions.explore_page import Page, launch, wait_and_close
    from .actions.tasks import load_space

    spaces = [load_space(name) for name in space_names]
    chosen = groups_of(groups, spaces[0] if spaces else None) if groups is not None else ()
    if not spaces:
        spaces = [chosen[0].tasks.space if chosen else load_space(DEFAULT_SPACE)]
    space, space_name = spaces[0], space_names[0] if space_names else spaces[0].name
    if address is not None:
        first = task_at(space, address)
    else:
        first = chosen[0].tasks.take([0]) if chosen else sample(space, seed, [index])
    beside = tuple(sample(one, seed, [index]) for one in spaces[1:])
    page = Page(space, space_name, first, beside, chosen, None if model is None else open_model(model, space))
    blocks = launch(page, photo, port, opened)
    say(f"{space.name}@{space.digest[:8]} at {blocks.local_url}  (Ctrl-C ends)")
    wait_and_close(blocks)

"""`pytrain study`: the experiments behind a method, on your own network and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pydegrade.shell import INTERRUPTED, complain, say, set_option

from .options import load_config

if TYPE_CHECKING:
    from ..grouping.run import GroupingRun


@click.group(name="study", short_help="Repeat the experiment behind a method.")
def command() -> None:
    """Repeat the experiment behind a method, on your own network and images.

    \b
    Examples:
      pytrain study conflict configs/tgsr_tiny.toml --tasks 24
      pytrain study scores configs/tgsr_tiny.toml --first 80
    """


@command.command()
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@set_option("Change an option of CONFIG. May be repeated.")
@click.option(
    "--tasks",
    type=click.IntRange(1, 10**7),
    default=100,
    show_default=True,
    help="How many are drawn; the paper's number.",
)
@click.option("--iterations", type=click.IntRange(1), default=1000, show_default=True, help="Steps on each task.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes of one thread each.  [default: method.grouping.workers, else one per core]",
)
@click.option("--redo", is_flag=True, help="Make a file again that was made from something else.")
def conflict(
    config_path: Path, overrides: tuple[str, ...], tasks: int, iterations: int, workers: int | None, redo: bool
) -> int:
    """How far a network is from what it could reach on each task alone (TGSR).

    CONFIG is a configuration of method tgsr: train.pretrained names the network, [method.grouping] crops, batch and rate.
    Each task gets a copy of the network that is fine-tuned on it alone; the gain in PSNR is the task's distance. Writes
    conflict/conflict.toml and conflict.png beside method.groups. Finished tasks are not done again.

    \b
    Examples:
      pytrain study conflict configs/tgsr_tiny.toml --tasks 24
      torchrun --nproc-per-node=8 -m pytrain study conflict tgsr.toml
    """
    from ..errors import PytrainError

    config = load_config(config_path, overrides)
    try:
        from ..grouping.conflict import figure, run_conflict, study_run
        from ..grouping.run import open_grouping

        run = study_run(open_grouping(config, workers, redo), tasks, iterations)
        found = run_conflict(run, say)
        for line in found.describe():
            say(line)
        figure(found, run.path("conflict.png"))
        say(str(run.path("conflict.png")))
    except PytrainError as error:
        from ..config.config import located

        raise located(config, error) from None
    except KeyboardInterrupt:
        return complain("pytrain study: interrupted; the same command goes on", INTERRUPTED)
    return 0


@command.command()
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@set_option("Change an option of CONFIG. May be repeated.")
@click.option("--first", type=click.IntRange(1), required=True, help="So many tasks are compared with the others.")
@click.option(
    "--share", "shares", type=click.FloatRange(0, 1, min_open=True, max_open=True), multiple=True,
    default=(0.2, 0.4, 0.6), show_default=True, help="Of the tasks that are called unsatisfactory. May be repeated.",
)  # fmt: skip
def scores(config_path: Path, overrides: tuple[str, ...], first: int, shares: tuple[float, ...]) -> int:
    """Whether fewer tasks show the same scores, and where a share of them begins (TGSR).

    CONFIG is one whose tasks have been scored by `pytrain group score`: 10,000 of them, say, of which the first 4,000 are
    compared with the others.

    \b
    Example:
      pytrain study scores configs/tgsr_tiny.toml --first 80
    """
    from ..grouping.studies import score_lines

    return _tell(config_path, overrides, lambda run: score_lines(run, first, shares))


@command.command()
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@set_option("Change an option of CONFIG. May be repeated.")
def rounds(config_path: Path, overrides: tuple[str, ...]) -> int:
    """What fine-tuning again after each group changes (TGSR).

    CONFIG is one that `pytrain group` has finished with method.grouping.regroup: how the tasks that are left improve from
    round to round, and how many of each group a single round would have given it too.

    \b
    Example:
      pytrain study rounds tgsr.toml --set method.grouping.regroup=true
    """
    from ..grouping.studies import round_lines

    return _tell(config_path, overrides, round_lines)


def _tell(config_path: Path, overrides: tuple[str, ...], lines: Callable[[GroupingRun], Sequence[str]]) -> int:
    """Print what a study says about the files of a grouping."""
    from ..errors import PytrainError

    config = load_config(config_path, overrides)
    try:
        from ..grouping.run import open_grouping

        for line in lines(open_grouping(config)):
            say(line)
    except PytrainError as error:
        from ..config.config import located

        raise located(config, error) from None
    return 0

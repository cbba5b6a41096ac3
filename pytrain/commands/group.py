"""`pytrain group`: find the tasks that a network does not master, and group them, for method `tgsr`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from pydegrade.shell import (
    INTERRUPTED,
    SHARD_HELP,
    Choice,
    check_engine,
    complain,
    engine_options,
    on_ray,
    parse_shard,
    say,
    set_option,
)

INDICATORS = ("auto", "full", "steps", "halving", "gradient", "last_layer", "surrogate")


class _AllByDefault(click.Group):
    """A group of commands whose first word may also be a configuration: then it means the command `all`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["all", *args]
        return super().parse_args(ctx, args)


@click.group(name="group", cls=_AllByDefault, short_help="Group tasks for method tgsr.")
def command() -> None:
    """Find tasks that a network does not master and group them (TGSR).

    CONFIG is a configuration of method tgsr: its [method.grouping] says how, train.pretrained names the network, and
    method.groups the file that is written, with the files of the other stages beside it. Finished stages are not done
    again; a killed run goes on where it was. Training follows with `pytrain fit CONFIG`.

    \b
    Examples:
      pytrain group configs/tgsr_tiny.toml
      pytrain group --workers 2 my.toml --indicator full
      pytrain group score my.toml        one stage
      pytrain group report my.toml       figures and a page
      torchrun --nproc-per-node=8 -m pytrain group score my.toml
      pytrain group score my.toml --shard 3/64
      pytrain group merge my.toml groups/scores-*-of-64.toml
    """


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path)),
        set_option("Change an option of the configuration. May be repeated."),
        click.option(
            "--indicator",
            metavar="NAME",
            type=Choice(INDICATORS),
            help="How tasks are scored.  [default: method.grouping.indicator]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Scoring processes of one thread each.  [default: method.grouping.workers, else one per core]",
        ),
        click.option("--redo", is_flag=True, help="Make files again that were made from something else."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _run(
    stages: Sequence[str],
    config_path: Path,
    overrides: tuple[str, ...],
    indicator: str | None,
    workers: int | None,
    redo: bool,
    report: bool = False,
    shard: str | None = None,
    shards: Sequence[Path] = (),
    on_cluster: bool = False,
    parts: int | None = None,
) -> int:
    from ..config.config import load, located
    from ..errors import PytrainError

    more = (f"method.grouping.indicator={indicator}",) if indicator else ()
    config = load(config_path, (*overrides, *more))
    try:
        from ..grouping.run import open_grouping
        from ..grouping.runner import run_stages

        run = open_grouping(config, workers, redo)
        if on_cluster:
            from ..grouping.shards import merge_scores, shard_path

            # The device of a run says whether its shards want a GPU; auto takes what machines have.
            code, count = on_ray(parts, run.options.tasks, gpu=config.run.device == "cuda")
            if code:
                return code
            merge_scores(run, [shard_path(run, number, count) for number in range(count)], say)
        elif shard is not None or shards:
            from ..grouping.shards import merge_scores, score_shard

            if shard is not None:
                score_shard(run, parse_shard(shard), say)
            else:
                merge_scores(run, shards, say)
        elif stages:
            run_stages(run, stages, lambda line: say(line))
        if report:
            from ..grouping.report import write_report

            for path in write_report(run):
                say(str(path))
    except PytrainError as error:
        raise located(config, error) from None
    except KeyboardInterrupt:
        return complain("pytrain group: interrupted; the same command goes on", INTERRUPTED)
    return 0


@command.command("all")
@_options
def all_stages(**options: Any) -> int:
    """All stages: what `pytrain group CONFIG` means."""
    from ..grouping.stages import STAGES

    return _run(STAGES, **options)


@command.command()
@_options
def report(**options: Any) -> int:
    """Figures and one page from what the stages left: report/index.html."""
    return _run((), report=True, **options)


@command.command()
@_options
@click.option("--shard", metavar="I/N|auto", help=f"Score tasks I, I + N, ... alone. {SHARD_HELP}")
@engine_options
def score(engine: str, shards: int | None, **options: Any) -> int:
    """Draw the tasks and score them: tasks.npz, scores.toml.

    With --shard scores-I-of-N.toml, of which `pytrain group merge` makes scores.toml: processes need neither each other
    nor one file system. --engine ray does both.
    """
    check_engine(engine, shards, options["shard"])
    return _run(("tasks", "score"), on_cluster=engine == "ray", parts=shards, **options)


@command.command()
@_options
@click.argument("shards", metavar="SHARD...", nargs=-1, required=True, type=click.Path(path_type=Path))
def merge(**options: Any) -> int:
    """Make scores.toml of all shards of `score`: the file of one process, byte for byte."""
    return _run((), **options)


@command.command()
@_options
def select(**options: Any) -> int:
    """Choose the tasks with the largest gains: unsatisfactory.toml."""
    return _run(("select",), **options)


@command.command()
@_options
def joint(**options: Any) -> int:
    """Fine-tune on all of them: joint1.safetensors (with regroup: of every round that can begin)."""
    return _run(("joint",), **options)


@command.command()
@_options
def improve(**options: Any) -> int:
    """Measure what that improved on each of them: pis1.toml."""
    return _run(("improve",), **options)


@command.command("group")
@_options
def group_stage(**options: Any) -> int:
    """Form the groups: groups.toml."""
    return _run(("group",), **options)

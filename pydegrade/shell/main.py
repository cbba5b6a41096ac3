"""The frame round a command line: commands that are loaded when they are asked for, errors as one line, exit codes."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ..errors import OutputError, WriteError, is_out_of_memory, nearest
from .errors import (
    BAD_INPUT,
    DONE,
    FAILURE,
    INTERRUPTED,
    exit_code,
    os_error_text,
)
from .text import complain, printable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of every group of commands."""

ARGUMENTS = "words of the command line"
"""In a context's `meta`: the words of the command line, for `ray_engine`."""

MEMORY_HINT = "lower --batch or --tile, or take smaller images"


def run(
    command: click.Command,
    name: str,
    arguments: Sequence[str] | None = None,
    memory_hint: str = MEMORY_HINT,
) -> NoReturn:
    """Run a command line and leave with its exit code.

    0: done. 2: wrong usage or bad input, said in one line on stderr. 1: failure (a full disk, no memory). 130:
    interrupted. Which error is which says its attribute `exit_code`; what has none is a defect, and keeps its traceback.

    Args:
        command: the group.
        name: of the program.
        arguments: of the command line; None: sys.argv.
        memory_hint: what to do when memory is used up.
    """
    _open_standard_streams()
    format_before, warnings.formatwarning = warnings.formatwarning, _warning_line
    try:
        _check_current_folder()
        code: Any = command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        code = _usage_error(error, name)
    except (KeyboardInterrupt, click.Abort):
        code = complain(f"{name}: interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has left (`| head`); Python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILURE
    except Exception as error:
        known = exit_code(error)
        if known is None:
            raise
        # A file may have several problems; each has its line.
        for problem in getattr(error, "problems", (_text(error, memory_hint),)):
            code = complain(f"{name}: {problem}", known)
    finally:
        warnings.formatwarning = format_before
    sys.exit(code if isinstance(code, int) else DONE)


def _open_standard_streams() -> None:
    """Give standard streams that are closed (`>&-`, a daemon's child) the null device: else the next file that is opened
    gets their number, and what a library prints goes into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _check_current_folder() -> None:
    """OutputError where the current folder has been removed: relative paths mean nothing there, and libraries that ask for
    it end the process."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise OutputError("the current folder has been removed; change to one that exists") from None


def _warning_line(message: Warning | str, *_place: object, **_more: object) -> str:
    """A warning of a library as people read warnings: one line, without the place in its sources."""
    return f"warning: {printable(str(message))}\n"


def _text(error: Exception, memory_hint: str) -> str:
    if is_out_of_memory(error):
        return f"out of memory; {memory_hint}"
    return os_error_text(error) if isinstance(error, OSError) else str(error)


def version_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--version of a program of this package."""

    def show(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
        if wanted and not context.resilient_parsing:
            from .. import __version__

            click.echo(f"{context.command_path}, version {__version__}")
            context.exit()

    option = click.option(
        "--version", is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show the version."
    )
    return option(command)


def _usage_error(error: click.ClickException, name: str) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # since click 8.2; its message is the whole help
        click.echo(error.format_message(), err=True)
        return BAD_INPUT
    where = context.command_path if context else name
    return complain(f"{where}: {error.format_message()} (see {where} --help)", BAD_INPUT)


class Commands(click.Group):
    """A group whose commands are named in a table and loaded when they are asked for.

    Args:
        table: name -> "module:object", a `click.Command`; the help lists them in this order.
        entry_points: group of entry points by which installed packages add commands of their own, listed behind; ""
            for none. A name that both have is the table's.
    """

    def __init__(self, *args: Any, table: Mapping[str, str], entry_points: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._table = dict(table)
        self._entry_points = entry_points

    def added(self) -> Mapping[str, EntryPoint]:
        """Commands of other packages by name; none is loaded."""
        if not self._entry_points:
            return {}
        from importlib.metadata import entry_points

        return {entry.name: entry for entry in entry_points(group=self._entry_points)}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.parent is None:
            ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(dict.fromkeys([*self._table, *super().list_commands(ctx), *sorted(self.added())]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._table:
            module, _, attribute = self._table[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = self.added().get(cmd_name)
        if entry is None:
            return None
        try:
            loaded = entry.load()
        except Exception as error:  # whatever a foreign module does while it is imported
            return _unavailable(entry, f"{type(error).__name__}: {error}")
        if not isinstance(loaded, click.Command):
            return _unavailable(entry, f"must be a click.Command, got {type(loaded).__name__}")
        return loaded

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}{nearest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def _unavailable(entry: EntryPoint, reason: str) -> click.Command:
    """Stands for a command that does not load, so that all others and the help go on working."""
    line = " ".join(f"{entry.name} ({entry.value}) cannot be loaded: {reason}".split())

    def fail(ignored: tuple[str, ...]) -> None:
        raise WriteError(line)

    arguments = click.Argument(["ignored"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True}
    return click.Command(entry.name, settings, fail, [arguments], short_help="Cannot be loaded.", help=line)

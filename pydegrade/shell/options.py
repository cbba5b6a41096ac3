"""Options that several commands have, and the types of their values. Nothing here waits for torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import PydegradeError, nearest

if TYPE_CHECKING:
    import torch

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_MEGAPIXELS = 2**27 / 1e6
MOST_MEGAPIXELS = 1e6
DEFAULT_GIGABYTES = 2**30 / 1e9
MOST_GIGABYTES = 1e6
MOST_TASKS = 10**7
"""Tasks of one run; they are drawn at once, about 300 bytes each."""


class Whole(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    """A whole number in [low, high]; the help does not repeat bounds of 19 digits."""

    name = "integer"

    def __init__(self, low: int, high: int, bounds: str) -> None:
        self.low, self.high, self.bounds = low, high, bounds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            self.fail(f"must be a whole number in {self.bounds}, got {_short(value)}", param, ctx)
        if not self.low <= number <= self.high:
            self.fail(f"must be in {self.bounds}, got {_short(value)}", param, ctx)
        return number


class Number(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    """A finite number in (low, high]."""

    name = "number"

    def __init__(self, low: float = 0.0, high: float = math.inf) -> None:
        self.low, self.high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not (self.low < number <= self.high and math.isfinite(number)):
            most = f" and at most {self.high:,g}" if math.isfinite(self.high) else ""
            self.fail(f"must be a number > {self.low:g}{most}, got {_short(value)}", param, ctx)
        return number


class Choice(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    """One of a few words; a mistyped one is answered with the nearest."""

    name = "choice"

    def __init__(self, choices: tuple[str, ...]) -> None:
        self.choices = choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.choices)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            listed = ", ".join(self.choices)
            self.fail(f"must be one of {listed}, got {_short(value)}{_did_you_mean(value, self.choices)}", param, ctx)
        return str(value)


def _did_you_mean(value: Any, choices: tuple[str, ...]) -> str:
    text = nearest(str(value)[:100], choices)
    return text if "did you mean" in text else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text) - 2} characters)"


SEED = Whole(0, 2**63 - 1, "[0, 2^63)")
START = Whole(0, 2**63 - 1, "[0, 2^63)")
TASKS = Whole(1, MOST_TASKS, f"[1, {MOST_TASKS:,}]; more in several runs, by --start")
IN_PATH = click.Path(path_type=Path, exists=True)
OUT_FOLDER = click.Path(path_type=Path, file_okay=False)
OUT_FILE = click.Path(path_type=Path, dir_okay=False)


def _set_memory_limit(_context: click.Context, _option: click.Parameter, gigabytes: float | None) -> None:
    from ..files.memory import set_limit

    set_limit(None if gigabytes is None else round(gigabytes * 1e9))


def max_pixels_option(help_text: str = "Refuse larger images.") -> Callable[[Command], Command]:
    """--max-megapixels, the command gets `max_pixels`; and --max-memory, which budgets of memory follow."""
    memory = click.option(
        "--max-memory",
        type=Number(high=MOST_GIGABYTES),
        metavar="GB",
        expose_value=False,
        callback=_set_memory_limit,
        help="What images in work may take together; an image that needs more is refused.  "
        f"[default: {DEFAULT_GIGABYTES:.2f}, or 500 times the size of its file]",
    )
    pixels = click.option(
        "--max-megapixels",
        "max_pixels",
        type=Number(high=MOST_MEGAPIXELS),
        default=DEFAULT_MEGAPIXELS,
        metavar="MP",
        callback=lambda _context, _option, megapixels: max(1, round(megapixels * 1e6)),
        help=f"{help_text}  [default: {DEFAULT_MEGAPIXELS:.0f}]",
    )
    return lambda command: pixels(memory(command))


def device_option(default: str = "auto") -> Callable[[Command], Command]:
    """--device; auto is a GPU where there is one."""
    return click.option("--device", type=Choice(("auto", "cpu", "cuda")), default=default, show_default=True)


def set_option(help_text: str) -> Callable[[Command], Command]:
    """--set KEY=VALUE, repeatable; the command gets `overrides`."""
    return click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=help_text)


def force_option() -> Callable[[Command], Command]:
    """--force of commands that keep a record of their results."""
    return click.option(
        "--force", is_flag=True, help="Make results again that are there, also over files of another origin."
    )


def chosen_device(name: str, option: str = "--device") -> torch.device:
    """The device that "auto", "cpu" or "cuda" stands for here; "auto" is a GPU where there is one.

    Args:
        name: what the user wrote.
        option: where, for the message.
    Raises:
        PydegradeError: cuda where there is none.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        instead = f"{option}=cpu" if "." in option else f"{option} cpu"
        raise PydegradeError(f"{option}: cuda needs a GPU and a CUDA build of torch, got neither; use {instead}")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def check_last_index(start: int, count: int) -> None:
    """PydegradeError unless the samples start ... start + count - 1 have numbers below 2^63."""
    if start + count > 2**63:
        raise PydegradeError(f"--start: the last sample's number must be below 2^63, got {start} + {count - 1}")

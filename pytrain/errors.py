"""What the trainer raises for bad input: one line each, `where: name must be X, got Y`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pydegrade.errors import is_out_of_memory, nearest, needs

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "PytrainError",
    "is_out_of_memory",
    "nearest",
    "needs",
    "of_option",
    "one_line",
]

MOST_PROBLEMS = 50
"""Lines of a message; a list of thousands of wrong entries is counted beyond them."""


class PytrainError(ValueError):
    """Base of all errors about values and files that a user passed; itself: of what went wrong on the way.

    Attributes:
        exit_code: with which a command ends that such an error leaves.
    """

    exit_code = 1


class ConfigError(PytrainError):
    """A configuration that cannot be understood; the message names file, line, key and value.

    Attributes:
        problems: a line for each thing that is wrong; together they are the message, which ends after MOST_PROBLEMS.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        more = len(problems) - MOST_PROBLEMS
        said = (*problems[:MOST_PROBLEMS], f"and {more} more such lines") if more > 1 else problems
        super().__init__("\n".join(said))
        self.problems = problems


class CheckpointError(PytrainError):
    """A weight or state file that cannot be read, written or fitted to a network."""

    exit_code = 2


class DataError(PytrainError):
    """A folder, list or image that cannot serve as training or evaluation data."""

    exit_code = 2


@contextlib.contextmanager
def of_option(key: str) -> Iterator[None]:
    """Errors about a model file begin with the option that names it: "method.teacher: x.safetensors: no such file"."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{key}: {error}") from None


def one_line(error: BaseException | str, limit: int = 200) -> str:
    """The text of an error with its line breaks removed and cut to `limit` characters."""
    text = " ".join(str(error).split())
    if not text and isinstance(error, BaseException):
        text = type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."

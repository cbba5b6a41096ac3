"""A small training core for super-resolution networks, on the degradations of pydegrade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import CheckpointError, ConfigError, DataError, PytrainError

__all__ = ["CheckpointError", "ConfigError", "DataError", "PytrainError"]


def __getattr__(name: str) -> Any:
    # Importing pydegrade imports torch, seconds that `pytrain --help` does not have to wait.
    if name not in __all__:
        raise AttributeError(f"module 'pytrain' has no attribute {name!r}")
    from . import errors

    return getattr(errors, name)

"""A small training core for super-resolution networks, on the degradations of pydegrade."""

from .errors import CheckpointError, ConfigError, DataError, PytrainError

__all__ = ["CheckpointError", "ConfigError", "DataError", "PytrainError"]

"""The option --device, which several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def chosen_device(name: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" stands for here; "auto" is a GPU where there is one.

    Raises:
        ConfigError: cuda where there is none.
    """
    import torch

    from ..errors import ConfigError

    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device: cuda needs a GPU and a CUDA build of torch, got neither; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)

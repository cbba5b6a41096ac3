"""Registration with torch.library, shared by the op files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

# define/impl instead of custom_op: a third of the cost per call (pytorch#177109).
LIBRARY = torch.library.Library("pydegrade", "DEF")


def like_data(data: torch.Tensor, *arguments: Any) -> torch.Tensor:
    """Fake of an op that keeps sizes."""
    return torch.empty_like(data, memory_format=torch.contiguous_format)


def define(
    name: str,
    parameters: str,
    run: Callable[..., torch.Tensor],
    *,
    images: str = "Tensor data",
    fake: Callable[..., torch.Tensor] = like_data,
    save: Callable[..., None] | None = None,
    backward: Callable[..., Any] | None = None,
) -> None:
    """Define torch.ops.pydegrade.NAME for CPU and CUDA: schema, kernel, fake and, with `backward`, its gradient.

    Args:
        name: of the op.
        parameters: schema text of what follows the layout.
        run: (images, offset int64 [B], height int32 [B], width int32 [B], planes per row, parameters) -> tensor.
        images: schema text of the packed images, in front of the layout.
        fake: what torch.compile and meta tensors see instead of `run`.
        save, backward: as for `torch.library.register_autograd`.
    """
    LIBRARY.define(
        f"{name}({images}, Tensor offset, Tensor height, Tensor width, int channels, {parameters}) -> Tensor"
    )
    for device_key in ("CPU", "CUDA"):
        LIBRARY.impl(name, run, device_key)
    torch.library.register_fake(f"pydegrade::{name}", fake, lib=LIBRARY)
    if backward is not None:
        torch.library.register_autograd(f"pydegrade::{name}", backward, setup_context=save, lib=LIBRARY)

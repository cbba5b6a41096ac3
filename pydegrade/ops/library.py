"""Registration with torch.library, shared by the op files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import OpError
from ..native import binding, devices
from ..native.packed import dense_layout
from .arguments import check_layout, parameter_tensor

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


# ---- Ops whose parameters are what csrc/ops/<op>/fields.h says, and nothing else


def compiled_fields(name: str) -> tuple[tuple[Any, ...], ...]:
    """`binding.FIELDS` of an op; OpError for a name that csrc/ops/list.h does not have."""
    if name not in binding.OPS:
        raise OpError(
            f"op {name!r}: must be one of csrc/ops/list.h, {', '.join(binding.OPS)}; was the module built since?"
        )
    return tuple(binding.FIELDS[name])


def define_compiled(
    name: str, *, save: Callable[..., None] | None = None, backward: Callable[..., Any] | None = None
) -> None:
    """`define` for an op that keeps the size: parameters are its fields in their order, words as int32 of the same bits.
    What they must be is checked by the compiled module."""
    fields = [(field[0], field[1]) for field in compiled_fields(name)]

    def run(
        data: torch.Tensor,
        offset: torch.Tensor,
        height: torch.Tensor,
        width: torch.Tensor,
        channels: int,
        *values: torch.Tensor,
    ) -> torch.Tensor:
        rows = check_layout(name, data, offset, height, width, channels)
        src = data.contiguous()
        out = torch.empty_like(src)
        named = {
            field: value.view(torch.uint32) if dtype == "uint32" and value.dtype == torch.int32 else value
            for (field, dtype), value in zip(fields, values)
        }
        devices.call(name, rows=rows, src=src, dst=out, **named)
        return out

    define(name, ", ".join(f"Tensor {field}" for field, _ in fields), run, save=save, backward=backward)


def run_compiled(name: str, images: torch.Tensor, **fields: NDArray[Any]) -> torch.Tensor:
    """torch.ops.pydegrade.NAME on [B, C, H, W], of an op made by `define_compiled`; fields [B] or [B, n]."""
    layout = dense_layout(images)
    values = [fields[field[0]] for field in binding.FIELDS[name]]
    signed = [value.view(np.int32) if value.dtype == np.uint32 else value for value in values]
    offset, height, width, *rest = (
        parameter_tensor(images, array) for array in (layout.offset, layout.height, layout.width, *signed)
    )
    out: torch.Tensor = getattr(torch.ops.pydegrade, name)(images, offset, height, width, images.shape[1], *rest)
    return out

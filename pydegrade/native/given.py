"""What callers give as numbers: any array or tensor as a NumPy array of this machine, or one line that refuses."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import shown


def real_array(expected: str, value: Any, error: type[Exception] = TypeError) -> NDArray[Any]:
    """Truth values, whole or real numbers, in the byte order of this machine.

    Args:
        expected: begins the message, such as "blur: beta must be a number".
        value: number, array, tensor on any device, or lists of numbers.
        error: raised for anything else: texts, complex numbers, tensors without memory or sparse ones, ragged lists.
    """

    def refused() -> Exception:
        return error(f"{expected}, got {shown(value)}")

    if isinstance(value, torch.Tensor):
        if value.is_meta or value.layout != torch.strided or value.is_complex():
            raise refused()
        tensor = value.detach().cpu()
        given = tensor.float() if tensor.dtype == torch.bfloat16 else tensor  # NumPy has no such type
    else:
        given = value
    try:
        values = np.asarray(given)
        if values.dtype == object and not isinstance(value, np.ndarray):  # whole numbers beyond 64 bits
            values = values.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise refused() from None
    if values.dtype.kind not in "fiub":
        raise refused()
    return native_order(values)


def native_order(values: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in the byte order of this machine; copied only where that is another one."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def check_array(where: str, value: Any) -> NDArray[Any]:
    """An image given as a NumPy array, in the byte order of this machine; TypeError for anything else."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{where} must be a NumPy array, got {shown(value)}")
    return native_order(value)


def is_one_of(value: Any, choices: Collection[str | None]) -> bool:
    """Whether a value is one of some texts; a tensor, which compares entry by entry, is none."""
    return isinstance(value, str) and value in choices

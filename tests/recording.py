"""A recorder for the CPU that does what a CUDA graph does: it keeps operations with the memory they read and write, and
repeats them whatever Python has changed since. What would make a GPU's host wait is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
# Values that the host asks for, and results whose size depends on values.
WAITS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
}
# How `torch.tensor` brings numbers of the host.
UPLOADS = {aten.lift_fresh.default}


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for the device, or copies from memory that is not page-locked."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__()
        self.count = 0
        self.refuses = refuses

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in WAITS or func in UPLOADS:
            self.count += 1
            if self.refuses:
                raise RuntimeError(f"operation not permitted when stream is capturing\n{func}")
        return self.seen(func, args, kwargs or {})

    def seen(self, func: Any, args: Any, kwargs: Any) -> Any:
        return func(*args, **kwargs)


class Operations(Waits):
    """Keeps every operation, and what the memory that it wrote had held."""

    def __init__(self) -> None:
        super().__init__(refuses=True)
        self.kept: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []

    def seen(self, func: Any, args: Any, kwargs: Any) -> Any:
        given = {**dict(zip((argument.name for argument in func._schema.arguments), args)), **kwargs}
        for argument in func._schema.arguments:
            value = given.get(argument.name)
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.before += [(tensor, tensor.detach().clone()) for tensor in tree_leaves(value)]
        out = func(*args, **kwargs)
        self.kept.append((func, args, kwargs, out))
        return out

    @torch.no_grad()
    def undo(self) -> None:
        for tensor, value in reversed(self.before):
            tensor.copy_(value)

    @torch.no_grad()
    def repeat(self) -> None:
        for func, args, kwargs, out in self.kept:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs))):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class FakeRecorder:
    """`pytrain.training.recording.Recorder` on the CPU.

    Attributes:
        recorded, repeated, fetched: how often each was done.
    """

    def __init__(self, spoil: Callable[[], None] | None = None) -> None:
        self.recorded = self.repeated = self.fetched = 0
        self._spoil = spoil

    def record(self, body: Callable[[], None]) -> Callable[[], None]:
        operations = Operations()
        try:
            with operations:
                body()
        finally:
            operations.undo()
        self.recorded += 1

        def repeat() -> None:
            self.repeated += 1
            operations.repeat()
            if self._spoil is not None:
                self._spoil()

        return repeat

    def fetch(self, values: Tensor) -> Callable[[], list[float]]:
        self.fetched += 1
        kept = values.clone()  # what stands there now; later repetitions write there again
        return kept.tolist

"""Where tests run the ops: the CPU, a GPU, or the kernels' block emulator in the place of both.

A test that takes the fixture `device` runs once for each of `devices()`, and its name shows which. It moves tensors itself,
or calls an op through `on_device`, mostly as a fixture of its module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch

from pydegrade import engine
from pydegrade.native import devices as native_devices
from pydegrade.ops import OPS
from pydegrade.tasks.space import Space, preset_names

from . import emulated

TensorFunction = Callable[..., torch.Tensor]


def devices() -> list[str]:
    """`cpu`, and `cuda` where there is a GPU and a build for it; or what $PYDEGRADE_TEST_DEVICES lists, `emulated` too."""
    wish = os.environ.get("PYDEGRADE_TEST_DEVICES")
    if wish:
        return wish.split(",")
    return ["cpu", "cuda"] if torch.cuda.is_available() and native_devices.has_cuda_kernels() else ["cpu"]


def moved(value: Any, device: torch.device | str) -> Any:
    """A tensor that holds values on the device, everything else as it is."""
    return value.to(device) if isinstance(value, torch.Tensor) and not value.is_meta else value


def on_device(function: TensorFunction, device: torch.device) -> TensorFunction:
    """The function with its tensors moved to the device and its result moved back, gradients included."""

    def run(*arguments: Any, **named: Any) -> torch.Tensor:
        here = [moved(argument, device) for argument in arguments]
        return moved(function(*here, **{name: moved(value, device) for name, value in named.items()}), "cpu")

    return run


def use_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends what belongs on CUDA to the emulator, and everything on the CPU there too, in another order each time."""
    seeds = count(0)
    backend = emulated.load(emulated.build(), lambda: next(seeds))

    def call(
        name: str, *, src: torch.Tensor, dst: torch.Tensor, grad: torch.Tensor | None = None, **named: Any
    ) -> None:
        native_devices.run(native_devices.record(name, src.device, **named), src, dst, grad=grad, backend=backend)

    run_chain = engine._run
    monkeypatch.setattr(native_devices, "call", call)
    monkeypatch.setattr(engine, "_run", lambda *arguments, **named: run_chain(*arguments, **named, backend=backend))
    monkeypatch.setenv("PYDEGRADE_SYNC", "1")


def compiled_presets() -> list[str]:
    """Presets whose ops are all of the compiled module: prepared plans and the emulator's chains know no others."""
    compiled = {op.name for op in OPS}
    return [name for name in preset_names() if compiled.issuperset(slot.op for slot in Space.load(name).slots)]

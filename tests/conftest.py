"""Shared fixtures: where the reference outputs of other programs lie, and photographs that are always there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from pydegrade import engine
from pydegrade.native import devices as native_devices

from . import emulated

ROOT = Path(__file__).resolve().parent.parent

# A shell's background jobs have Ctrl-C ignored, and their children inherit that; tests send it to children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def shared_folder() -> Path | None:
    """Folder with golden/ and data/: $PYDEGRADE_SHARED, else `shared` beside the repository; None when absent."""
    for candidate in (os.environ.get("PYDEGRADE_SHARED"), ROOT.parent / "shared", ROOT.parent.parent / "shared"):
        if candidate and (Path(candidate) / "golden").is_dir():
            return Path(candidate)
    return None


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = shared_folder()
    if folder is None:
        pytest.skip("reference outputs of other programs are not here (set PYDEGRADE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def photographs() -> list[torch.Tensor]:
    """float32 [3, H, W] crops of photographs inside scikit-image, sides multiples of 8, different sizes."""
    from skimage import data

    sizes = [(96, 128), (128, 96), (64, 64), (160, 104), (72, 200), (120, 120), (88, 96)]
    sources = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    crops = []
    for index, (height, width) in enumerate(sizes):
        image = sources[index % len(sources)]
        top, left = 21 * index + 40, 40 * index + 20
        crop = image[top : top + height, left : left + width].astype(np.float32) / 255
        crops.append(torch.from_numpy(crop).permute(2, 0, 1).contiguous())
    return crops


@pytest.fixture(scope="session")
def spandrel() -> Iterator[ModuleType]:
    """The package spandrel, also beside a CPU build of torch, where PyPI's torchvision does not import.

    That torchvision is linked with CUDA, so its operators do not load, and its Python refuses to describe operators that
    are not there. spandrel wants two functions of it that are plain Python; the operators are named, and never run.
    """
    operators = torch.library.Library("torchvision", "FRAGMENT")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import spandrel

    yield spandrel
    del operators  # holds the names for as long as it lives


# ---- Devices. A test module lists the functions that its tests call in RUNS_ON_DEVICES (names in the module, or dotted);
# its tests then run once for every device: the CPU, and CUDA where there is a GPU and a build for it. Arguments are moved
# to the device and results back, so the tests need not know. PYDEGRADE_TEST_DEVICES=emulated runs them on the block
# emulator instead.


def devices() -> list[str]:
    wish = os.environ.get("PYDEGRADE_TEST_DEVICES")
    if wish:
        return wish.split(",")
    return ["cpu", "cuda"] if torch.cuda.is_available() and native_devices.has_cuda_kernels() else ["cpu"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if getattr(metafunc.module, "RUNS_ON_DEVICES", None) and devices() != ["cpu"]:
        metafunc.parametrize("device", devices(), indirect=True)


def moved(value: Any, device: str) -> Any:
    """Tensors in lists, tuples and dataclasses on the device; everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value if value.is_meta else value.to(device)
    if type(value) in (list, tuple):
        return type(value)(moved(item, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        tensors = {name: item.to(device) for name, item in held.items() if isinstance(item, torch.Tensor)}
        return replace(value, **tensors) if tensors else value
    return value


def on_device(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        given = [moved(argument, device) for argument in arguments]
        return moved(function(*given, **{name: moved(value, device) for name, value in named.items()}), "cpu")

    return run


@pytest.fixture(autouse=True)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    chosen = getattr(request, "param", "cpu")
    if chosen == "cuda":
        # So that values out of range are refused as on the CPU.
        monkeypatch.setenv("PYDEGRADE_SYNC", "1")
        for name in request.module.RUNS_ON_DEVICES:
            path = name if "." in name else f"{request.module.__name__}.{name}"
            owner, attribute = path.rsplit(".", 1)
            function = getattr(__import__(owner, fromlist=[attribute]), attribute)
            monkeypatch.setattr(path, on_device(function, "cuda"))
    if chosen == "emulated":
        seeds = count(0)
        use_emulator(monkeypatch, emulated.load(emulated.build(), lambda: next(seeds)))
    return torch.device("cpu" if chosen == "emulated" else chosen)


def use_emulator(monkeypatch: pytest.MonkeyPatch, backend: native_devices.Backend) -> None:
    """Sends what belongs on CUDA to the emulator, and everything on the CPU there too."""

    def call(
        name: str, *, src: torch.Tensor, dst: torch.Tensor, grad: torch.Tensor | None = None, **named: Any
    ) -> None:
        native_devices.run(native_devices.record(name, src.device, **named), src, dst, grad=grad, backend=backend)

    run_chain = engine._run
    monkeypatch.setattr(native_devices, "call", call)
    monkeypatch.setattr(engine, "_run", lambda *arguments, **named: run_chain(*arguments, **named, backend=backend))
    monkeypatch.setenv("PYDEGRADE_SYNC", "1")

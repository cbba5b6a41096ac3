"""Shared fixtures: where the reference outputs of other programs lie, and photographs that are always there."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# Workers of pytest-xdist have a processor each, and so have what they start: threads of torch that wait for each other on a
# processor that others use take a hundred times as long. Set before torch is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

from .devices import devices, use_emulator

ROOT = Path(__file__).resolve().parent.parent

# A shell's background jobs have Ctrl-C ignored, and their children inherit that; tests send it to children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


BEGIN_WITH = (
    "test_adding_op.py",
    "test_adding_net_and_method.py",
    "test_memory.py",
    "test_portability.py",
    "test_cuda_build.py",
)
"""Files of few tests that take minutes, as they compile or start many processes: one worker would end alone with them."""


def shared_folder() -> Path | None:
    """Folder with golden/ and data/: $PYDEGRADE_SHARED, else `shared` beside the repository; None when absent."""
    for candidate in (os.environ.get("PYDEGRADE_SHARED"), ROOT.parent / "shared", ROOT.parent.parent / "shared"):
        if candidate and (Path(candidate) / "golden").is_dir():
            return Path(candidate)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test with `representatives(n)` only n parameter sets, spread over them, are not slow. Long files go first."""
    groups: dict[tuple[str, int], list[pytest.Item]] = {}
    for item in items:
        marker = item.get_closest_marker("representatives")
        if marker is not None:
            groups.setdefault((item.nodeid.partition("[")[0], *marker.args), []).append(item)
    for (name, count), group in groups.items():
        quick = {(2 * number + 1) * len(group) // (2 * count) for number in range(count)}
        assert count >= 1, name
        for number, item in enumerate(group):
            if number not in quick:
                item.add_marker(pytest.mark.slow)
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name not in BEGIN_WITH, -counts[item.path], item.path))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """No test leaves a file open for the next: a process keeps the reader of every LMDB that it has read."""
    module = sys.modules.get("pydegrade.files.lmdb_reader")
    if module is not None:
        module._readers.clear()


@pytest.fixture(autouse=True)
def no_more_right_to_run() -> Iterator[None]:
    """No test leaves its process a real-time one, which as root SVT-AV1 does; it would keep all others from running."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before = os.sched_getscheduler(0)
    yield
    if os.sched_getscheduler(0) != before:
        os.sched_setscheduler(0, before, os.sched_param(0))
        pytest.fail("the test left its process with another scheduling class")


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


@pytest.fixture(params=devices())
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Where the tensors of the test belong; under the emulator that is the CPU, whose calls go there (tests/devices.py)."""
    if request.param == "emulated":
        use_emulator(monkeypatch)
        return torch.device("cpu")
    if request.param == "cuda":
        # So that values out of range are refused as on the CPU.
        monkeypatch.setenv("PYDEGRADE_SYNC", "1")
    return torch.device(request.param)

"""The CUDA kernels on a GPU: the CPU's bits. Skipped where there is none; the other test files run on the GPU as well."""

from __future__ import annotations

import pytest
import torch

import pydegrade
from pydegrade import engine
from pydegrade.native import devices
from pydegrade.tasks.space import preset_names

from . import device_cases
from .test_engine import hr_batch

pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() and devices.has_cuda_kernels()), reason="no GPU, or no build for it"
)
CUDA = torch.device("cuda")


@pytest.mark.parametrize("case", list(device_cases.all_cases()), ids=lambda case: case.label.replace(" ", "-"))
def test_kernels_give_the_bits_of_the_cpu(case):
    assert device_cases.compare(iter([case]), None, CUDA) == []


@pytest.mark.parametrize("space", preset_names())
def test_chains_give_the_bits_of_the_cpu(space):
    hr = hr_batch(48)
    for seed in range(4):
        tasks = pydegrade.sample(space, seed, range(48))
        expected = pydegrade.degrade_batch(hr, tasks)
        got = pydegrade.degrade_batch(hr.to(CUDA), tasks)
        assert torch.equal(got.lr.cpu(), expected.lr)
        assert torch.equal(got.target.cpu(), expected.target)


def test_chains_can_be_captured_in_a_graph():
    tasks = pydegrade.sample("realesrgan-x4", 3, range(6))
    prepared = engine.prepare(tasks, 60, 60)
    hr = hr_batch(6).to(CUDA)
    lr, target, arena = prepared.empty()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        prepared.run(hr, lr, target, arena)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        prepared.run(hr, lr, target, arena)
    for start in range(2):
        images = hr_batch(8)[start : start + 6]
        hr.copy_(images)
        lr.zero_()
        graph.replay()
        expected = pydegrade.degrade_batch(images, tasks)
        assert torch.equal(lr.cpu(), expected.lr)
        assert torch.equal(target.cpu(), expected.target)


def test_work_is_queued_on_the_current_stream():
    tasks, hr = pydegrade.sample("realesrgan-x4", 1, range(4)), hr_batch(4)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        lr = pydegrade.degrade(hr.to(CUDA, non_blocking=True), tasks)
    stream.synchronize()
    assert torch.equal(lr.cpu(), pydegrade.degrade(hr, tasks))


def test_values_out_of_range_are_found_when_asked_for(monkeypatch):
    tasks, hr = pydegrade.sample("realesrgan-x4", 1, range(2)), hr_batch(2).to(CUDA) * 255
    pydegrade.degrade(hr, tasks)
    monkeypatch.setenv("PYDEGRADE_SYNC", "1")
    with pytest.raises(ValueError, match=r"pixels must lie in \[0, 1\]"):
        pydegrade.degrade(hr, tasks)

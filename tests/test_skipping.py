"""A blur before a resize that skips pixels makes only those that are read; the result has the bits of the whole blur."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade.ops.resize import Mode
from pydegrade.tasks.space import preset_names

from . import device_cases
from .test_engine import hr_batch

# Sides around vectors, tiles and kernels, down to one line.
SIDES = [(97, 131), (64, 33), (130, 17), (40, 256), (31, 66), (1, 90), (75, 1), (8, 8)]


def check(tasks: pydegrade.TaskBatch, images: list[torch.Tensor]) -> None:
    """Against `trace`, which runs one step at a time and so makes every image whole."""
    made = pydegrade.degrade_list(images, tasks)
    for row, stages in enumerate(pydegrade.trace(images, tasks)):
        assert torch.equal(made[row], stages[-1].image), tasks.addresses[row]


@pytest.mark.parametrize("mode", get_args(Mode))
def test_result_is_that_of_the_whole_blur(mode):
    tasks = device_cases.skipping_tasks(mode, 40)
    rng = np.random.default_rng(5)
    sides = [SIDES[row % len(SIDES)] for row in range(len(tasks))]
    check(tasks, [torch.from_numpy(rng.random((3, *side), dtype=np.float32)) for side in sides])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_strips_of_one_image_meet(threads):
    tasks = device_cases.skipping_tasks("torch_bilinear", 12)
    image = hr_batch(1, 120)[0]
    pydegrade.set_num_threads(threads)
    try:
        for row in range(len(tasks)):
            check(tasks.take([row]), [image])
    finally:
        pydegrade.set_num_threads(None)


@pytest.mark.representatives(8)
@pytest.mark.parametrize("space", preset_names())
def test_presets_show_whole_images_and_end_with_the_same_bits(space):
    scale = pydegrade.Space.load(space).scale
    images = [image.contiguous() for image in hr_batch(12, 24 * scale)]
    tasks = pydegrade.sample(space, 9, range(len(images)))
    check(tasks, images)

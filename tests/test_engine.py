"""The engine's promises: same bits whatever the batch, order, threads, process or instruction set."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import engine
from pydegrade.errors import TaskError
from pydegrade.tasks.space import preset_names

from .children import HANG_S
from .devices import compiled_presets, moved

COUNT = 48


def hr_batch(count: int = COUNT, side_px: int = 60) -> torch.Tensor:
    """float32 [count, 3, side, side]: waves with some texture, made from integers so that every machine agrees.

    60 px are a multiple of every preset's scale.
    """
    y, x = np.mgrid[0:side_px, 0:side_px]
    images = []
    for index in range(count):
        level = (x * (3 + index % 5) + y * (1 + index % 7) + (x * y * (index + 1)) // 16) % 256
        texture = (x * x + 3 * y + 41 * index) % 64
        images.append(np.stack([level, (level + texture) % 256, 255 - level]))
    return torch.from_numpy(np.stack(images).astype(np.float32) / np.float32(255))


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


@pytest.fixture(autouse=True)
def default_threads():
    yield
    pydegrade.set_num_threads(None)


def cropped(images: list[torch.Tensor], space: str, device: torch.device) -> list[torch.Tensor]:
    """The images on the device, with sides that the scale of the space divides."""
    scale = pydegrade.Space.load(space).scale
    sizes = [(image.shape[1] // scale * scale, image.shape[2] // scale * scale) for image in images]
    return [image[:, :height, :width].contiguous().to(device) for image, (height, width) in zip(images, sizes)]


@pytest.mark.representatives(1)
@pytest.mark.parametrize("space", preset_names())
def test_result_does_not_depend_on_batch_order_or_threads(space, device):
    hr, tasks = hr_batch().to(device), pydegrade.sample(space, 7, range(COUNT))
    pydegrade.set_num_threads(1)
    whole = pydegrade.degrade_batch(hr, tasks)
    assert whole.lr.shape == (COUNT, 3, 60 // tasks.space.scale, 60 // tasks.space.scale)
    for threads in (1, 2, 7):
        pydegrade.set_num_threads(threads)
        for batch in (1, 7, 48):
            parts = [
                pydegrade.degrade_batch(hr[at : at + batch], tasks.take(np.arange(at, min(at + batch, COUNT))))
                for at in range(0, COUNT, batch)
            ]
            assert torch.equal(torch.cat([part.lr for part in parts]), whole.lr)
            assert torch.equal(torch.cat([part.target for part in parts]), whole.target)
    order = np.random.default_rng(1).permutation(COUNT)
    shuffled = pydegrade.degrade_batch(hr[torch.from_numpy(order)], tasks.take(order))
    assert torch.equal(shuffled.lr, whole.lr[torch.from_numpy(order)])
    # The rows alone are enough: nothing is remembered from the call that drew them.
    fresh = pydegrade.sample(space, 7, order.tolist())
    assert torch.equal(pydegrade.degrade(hr[torch.from_numpy(order)], fresh), shuffled.lr)


@pytest.mark.parametrize("space", preset_names())
def test_result_is_eight_bit_and_in_range(space, device):
    lr = pydegrade.degrade(hr_batch(8).to(device), pydegrade.sample(space, 3, range(8)))
    levels = lr * 255
    assert lr.min() >= 0
    assert lr.max() <= 1
    # k / 255 * 255 is within half an ulp of k.
    assert (levels - levels.round()).abs().max() < 2e-5


@pytest.mark.representatives(12)
@pytest.mark.parametrize("space", preset_names())
def test_different_sizes_together_equal_each_alone(space, photographs, device):
    images = cropped(photographs, space, device)
    tasks = pydegrade.sample(space, 11, range(len(images)))
    together = pydegrade.degrade_pairs(images, tasks)
    for row, image in enumerate(images):
        alone = pydegrade.degrade_batch(image[None], tasks.take([row]))
        assert torch.equal(together[row].lr, alone.lr[0])
        assert torch.equal(together[row].target, alone.target[0])
    assert [pair.lr.shape for pair in together] == [lr.shape for lr in pydegrade.degrade_list(images, tasks)]


def test_target_of_rows_that_are_not_sharpened_is_the_image(device):
    hr = hr_batch(3).to(device)
    tasks = pydegrade.sample("realesrgan-x4", 2, range(3))
    mixed = pydegrade.degrade_batch(hr, tasks.replace(**{"usm.weight": np.float32([0.5, 0.0, 0.5])}))
    assert torch.equal(mixed.target[1], hr[1])
    assert not torch.equal(mixed.target[0], hr[0])
    none = pydegrade.degrade_batch(hr, tasks.replace(**{"usm.weight": 0.0}))
    assert none.target is hr
    assert torch.equal(none.lr[1], mixed.lr[1])


@pytest.mark.representatives(12)
@pytest.mark.parametrize("space", preset_names())
def test_trace_ends_at_the_result(space, photographs, device):
    images = cropped(photographs, space, device)
    tasks = pydegrade.sample(space, 5, range(len(images)))
    pairs = pydegrade.degrade_pairs(images, tasks)
    names = [slot.name for slot in tasks.space.slots]
    for row, stages in enumerate(pydegrade.trace(images, tasks)):
        assert stages[0].slot == "hr"
        assert torch.equal(stages[0].image, images[row])
        assert torch.equal(stages[-1].image, pairs[row].lr)
        # The slots appear in the running order of the row's program; those that do nothing are left out.
        program = [names[slot] for slot in tasks.program[row] if slot >= 0]
        ran = [stage.slot for stage in stages[1:-1]]
        assert ran == [name for name in program if name in ran]
        if tasks.space.target != "hr":
            sharpened = next(stage.image for stage in stages if stage.slot == tasks.space.target)
            assert torch.equal(sharpened, pairs[row].target)


def _child(connection, space):
    connection.send(digest(pydegrade.degrade(hr_batch(9), pydegrade.sample(space, 7, range(9)))))
    connection.close()


def test_forked_worker_gives_the_same_bits():
    pydegrade.set_num_threads(2)
    here = digest(pydegrade.degrade(hr_batch(9), pydegrade.sample("realesrgan-x4", 7, range(9))))
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_child, args=(sender, "realesrgan-x4"))
    worker.start()
    sender.close()
    assert receiver.poll(HANG_S), "the forked worker did not answer"
    assert receiver.recv() == here
    worker.join(HANG_S)
    assert worker.exitcode == 0


class _Degraded(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return pydegrade.degrade(hr_batch(6)[index : index + 1], pydegrade.sample("realesrgan-x4", 7, [index]))[0]


def test_data_loader_workers_give_the_same_bits():
    expected = pydegrade.degrade(hr_batch(6), pydegrade.sample("realesrgan-x4", 7, range(6)))
    loader = torch.utils.data.DataLoader(_Degraded(), batch_size=2, num_workers=2)
    assert torch.equal(torch.cat(list(loader)), expected)


PRINT_DIGESTS = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.test_all_ops import PRESETS_OF_CLIPS
from tests.test_engine import digest, hr_batch
import pydegrade
from pydegrade import engine
from pydegrade.tasks.space import preset_names
print(pydegrade.isa_name())
for space in preset_names():
    print(space, digest(pydegrade.degrade(hr_batch(8), pydegrade.sample(space, 7, range(8)))))
for space in PRESETS_OF_CLIPS:
    print(space, digest(pydegrade.degrade(hr_batch(3), pydegrade.sample(space, 7, [1], frames=3))))
"""


@pytest.mark.slow
def test_every_instruction_set_gives_the_same_bits():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    answers = {}
    for isa in ("v2", "v3", "v4"):
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PRINT_DIGESTS, root],
            env=os.environ | {"PYDEGRADE_ISA": isa, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        )
        used, *digests = run.stdout.splitlines()
        if used == isa:
            answers[isa] = digests
    assert len(answers["v2"]) > len(preset_names())
    assert all(digests == answers["v2"] for digests in answers.values())
    if len(answers) == 1:
        pytest.skip("this processor has only one of the instruction sets")


def test_inputs_are_never_written(device):
    hr, tasks = hr_batch(4).to(device), pydegrade.sample("realesrgan-x4", 1, range(4))
    before, columns = hr.clone(), {name: values.copy() for name, values in tasks.columns.items()}
    pydegrade.degrade_batch(hr, tasks)
    pydegrade.trace(list(hr), tasks)
    assert torch.equal(hr, before)
    assert all(np.array_equal(tasks.columns[name], values) for name, values in columns.items())


def test_non_contiguous_and_empty_batches_work(device):
    hr, tasks = hr_batch(4).to(device), pydegrade.sample("realesrgan-x4", 1, range(4))
    channels_last = hr.to(memory_format=torch.channels_last)
    assert torch.equal(pydegrade.degrade(channels_last, tasks), pydegrade.degrade(hr, tasks))
    none = pydegrade.degrade(hr[:0], tasks.take([]))
    assert none.shape == (0, 3, 15, 15)
    assert pydegrade.degrade_list([], tasks.take([])) == []


def nan_batch() -> torch.Tensor:
    hr = hr_batch(2)
    hr[1, 2, 3, 4] = float("nan")
    return hr


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: hr_batch(2) * 255,
            ValueError,
            "pixels must lie in [0, 1], got values from 0 to 255; divide 8-bit values by 255, in image 0",
        ),
        (lambda: hr_batch(2) - 0.5, ValueError, "pixels must lie in [0, 1], got values from -0.5 to 0.5, in image 0"),
        (nan_batch, ValueError, "got NaN at channel 2, y 3, x 4, in image 1"),
        (lambda: hr_batch(2).double(), TypeError, "must be float32 in [0, 1], got torch.float64"),
        (lambda: (hr_batch(2) * 255).byte(), TypeError, "got torch.uint8; divide uint8 images by 255"),
        (lambda: hr_batch(2)[:, :2], ValueError, "must have 1, 3 (RGB) or 4 channels, got shape (2, 2, 60, 60)"),
        (lambda: hr_batch(3), ValueError, "expected one image per task, got 3 images and 2 tasks"),
        (
            lambda: hr_batch(1),
            ValueError,
            "got 1 images and 2 tasks; several LR images of one: hr.expand(2, -1, -1, -1)",
        ),
        (lambda: hr_batch(2)[0], TypeError, "must be a tensor [B, 3, H, W], got shape (3, 60, 60)"),
        (lambda: hr_batch(2).numpy(), TypeError, "must be a tensor [B, 3, H, W], got ndarray"),
        (lambda: hr_batch(2)[..., :58], TaskError, "multiples of the scale 4, got 60x58 at row 0 (realesrgan-x4@"),
        (lambda: hr_batch(2).to("meta"), ValueError, "must be on the CPU or on CUDA, got meta"),
    ],
)
def test_bad_input_is_refused_with_one_line(make, error, message, device):
    with pytest.raises(error) as caught:
        pydegrade.degrade(moved(make(), device), pydegrade.sample("realesrgan-x4", 0, range(2)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_must_end_at_the_lr_size():
    space = pydegrade.Space.loads('[space]\nname = "open"\nscale = 4\nsource = "test"\n')
    with pytest.raises(TaskError, match="must end at the LR size 15x15, got 60x60"):
        pydegrade.degrade(hr_batch(1), pydegrade.sample(space, 0, [0]))


@pytest.mark.parametrize("space", compiled_presets())
def test_prepared_tasks_give_the_bits_of_degrade_batch(space):
    hr, tasks = hr_batch(6, 24), pydegrade.sample(space, 4, range(6))
    prepared = engine.prepare(tasks, 24, 24, "cpu")
    for images in (hr, hr.flip(-1)):
        pair, expected = prepared.degrade_batch(images), pydegrade.degrade_batch(images, tasks)
        assert torch.equal(pair.lr, expected.lr)
        assert torch.equal(pair.target, expected.target)
    lr, target, _ = prepared.empty()
    prepared.run(hr, lr, target, torch.empty(0))
    expected = pydegrade.degrade_batch(hr, tasks)
    assert torch.equal(lr, expected.lr)
    assert target is None or torch.equal(target, expected.target)


def test_prepared_tasks_refuse_what_they_were_not_prepared_for():
    tasks = pydegrade.sample("realesrgan-x4", 0, range(2))
    prepared = engine.prepare(tasks, 24, 24, "cpu")
    expected = re.escape(
        "degrade_batch: hr must have the prepared shape (2, 3, 24, 24) on cpu, got (2, 3, 24, 28) on cpu"
    )
    with pytest.raises(ValueError, match=expected):
        prepared.degrade_batch(torch.zeros(2, 3, 24, 28))
    with pytest.raises(ValueError, match="on meta"):
        prepared.run(torch.zeros(2, 3, 24, 24, device="meta"), *prepared.empty())
    with pytest.raises(ValueError, match="prepare: device must be the CPU or CUDA, got"):
        engine.prepare(tasks, 24, 24, "meta")
    with pytest.raises(ValueError, match="prepare: channels must be 1, 3 or 4, got 2"):
        engine.prepare(tasks, 24, 24, "cpu", 2)
    with pytest.raises(pydegrade.TaskError, match="must be multiples of the scale 4, got 26x24 at row 0"):
        engine.prepare(tasks, 26, 24, "cpu")


def test_images_and_plans_of_several_devices_are_refused(monkeypatch):
    tasks = pydegrade.sample("bicubic-x4", 0, range(2))
    # The device "meta" stands for a second one.
    monkeypatch.setattr(engine, "_check_image", lambda image, name, batch: None)
    images = [torch.rand(3, 8, 8), torch.rand(3, 8, 8, device="meta")]
    with pytest.raises(ValueError, match=r"^degrade: images must be on one device, got cpu and meta \(image 1\)$"):
        pydegrade.degrade_list(images, tasks)
    prepared = pydegrade.prepare(tasks, 8, 8, device="cpu")
    line = r"^degrade_batch: hr must have the prepared shape \(2, 3, 8, 8\) on cpu, got \(2, 3, 8, 8\) on meta$"
    with pytest.raises(ValueError, match=line):
        prepared.degrade_batch(torch.rand(2, 3, 8, 8, device="meta"))

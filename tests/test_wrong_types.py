"""What public functions say to values of the wrong kind: a TypeError or ValueError of one short line, whatever it is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import TaskBatch, kernels, metrics, ops, vectors
from pydegrade.compat import space_from_options


class Odd:
    """Has a length and nothing else, and a text of several lines."""

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        return "odd\nodd"


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


WRONG = {
    "None": None, "a text": "nothing", "bytes": b"x", "an object": object(), "a class": object, "odd": Odd(),
    "mute": Mute(), "complex": 1j, "nan": float("nan"), "a huge number": 1 << 5000, "a set": {1}, "a table": {"a": 1},
    "ragged": [[1], [1, 2]], "texts": ["x", "y"], "a list of None": [None], "an array of objects": np.array([None], object),
    "a 0-d text": np.array("x"), "dates": np.array([1, 2, 3], "M8[s]"), "a path": Path("nothing"),
    "halves": np.full((3, 4), 0.5), "bools": torch.zeros(2, 2, dtype=torch.bool), "meta": torch.ones(3, device="meta"),
    "complex tensor": torch.ones(3, dtype=torch.complex64), "conjugate": torch.ones(3, dtype=torch.complex64).conj(),
    "sparse": torch.eye(3).to_sparse(), "bfloat16": torch.full((3, 4, 5), -1.5, dtype=torch.bfloat16),
    "with gradient": torch.full((3, 4, 5), -1.5, requires_grad=True), "a list of meta": [torch.ones(2, device="meta")],
}  # fmt: skip


@pytest.fixture(scope="module")
def tasks():
    return pydegrade.sample("dasr-weak", 0, range(2))


IMAGES = torch.full((2, 3, 16, 16), 0.5)
ARRAY = np.zeros((40, 40, 3), np.uint8)
KERNEL = np.full((3, 3), 1 / 9)
VECTOR = np.full(33, 0.5, np.float32)

DOORS = {
    "degrade": lambda wrong, tasks: pydegrade.degrade(IMAGES, wrong),
    "degrade hr": lambda wrong, tasks: pydegrade.degrade(wrong, tasks),
    "degrade_batch": lambda wrong, tasks: pydegrade.degrade_batch(IMAGES, wrong),
    "degrade_list": lambda wrong, tasks: pydegrade.degrade_list(list(IMAGES), wrong),
    "degrade_list images": lambda wrong, tasks: pydegrade.degrade_list(wrong, tasks),
    "degrade_pairs": lambda wrong, tasks: pydegrade.degrade_pairs(list(IMAGES), wrong),
    "trace": lambda wrong, tasks: pydegrade.trace(list(IMAGES), wrong),
    "prepare": lambda wrong, tasks: pydegrade.engine.prepare(wrong, 16, 16, "cpu"),
    "prepare height": lambda wrong, tasks: pydegrade.engine.prepare(tasks, wrong, 16, "cpu"),
    "Degrader": lambda wrong, tasks: pydegrade.Degrader(wrong),
    "Degrader seed": lambda wrong, tasks: pydegrade.Degrader("dasr-weak", wrong if wrong is not None else -1),
    "Degrader images": lambda wrong, tasks: pydegrade.Degrader("dasr-weak")(wrong),
    "Degrader indices": lambda wrong, tasks: pydegrade.Degrader("dasr-weak")(IMAGES, wrong if wrong is not None else "x"),
    "Degrader back": lambda wrong, tasks: pydegrade.Degrader("dasr-weak", back=wrong if wrong is not None else "x"),
    "SampleNumbers count": lambda wrong, tasks: pydegrade.SampleNumbers(0).next(wrong),
    "SampleNumbers state": lambda wrong, tasks: pydegrade.SampleNumbers(0).load_state_dict(wrong),
    "space_from_options": lambda wrong, tasks: space_from_options(wrong, dialect="realesrgan"),
    "column": lambda wrong, tasks: tasks.column(wrong),
    "mask": lambda wrong, tasks: tasks.mask(wrong),
    "labels": lambda wrong, tasks: tasks.labels(wrong),
    "raw": lambda wrong, tasks: tasks.raw(wrong),
    "take": lambda wrong, tasks: tasks.take(wrong),
    "describe": lambda wrong, tasks: tasks.describe(wrong),
    "concat": lambda wrong, tasks: TaskBatch.concat(wrong),
    "concat one": lambda wrong, tasks: TaskBatch.concat([tasks, wrong]),
    "with_noise": lambda wrong, tasks: tasks.with_noise(wrong),
    "replace": lambda wrong, tasks: tasks.replace(**{"jpeg1.quality": wrong}),
    "from_addresses": lambda wrong, tasks: TaskBatch.from_addresses([wrong]),
    "vector": lambda wrong, tasks: tasks.vector(wrong),
    "load": lambda wrong, tasks: pydegrade.Space.load(wrong),
    "loads": lambda wrong, tasks: pydegrade.Space.loads(wrong),
    "sample space": lambda wrong, tasks: pydegrade.sample(wrong, 0, [0]),
    "sample seed": lambda wrong, tasks: pydegrade.sample("dasr-weak", wrong, [0]),
    "sample indices": lambda wrong, tasks: pydegrade.sample("dasr-weak", 0, wrong),
    "described": lambda wrong, tasks: vectors.described(wrong),
    "edited": lambda wrong, tasks: vectors.edited(wrong, {}),
    "edited changes": lambda wrong, tasks: vectors.edited(VECTOR, wrong),
    "edited value": lambda wrong, tasks: vectors.edited(VECTOR, {"blur1.sigma_x_px": wrong}),
    "estimate_kernel": lambda wrong, tasks: pydegrade.estimate_kernel(wrong, 2),
    "estimate_kernel scale": lambda wrong, tasks: pydegrade.estimate_kernel(ARRAY, wrong),
    "estimate_kernel way": lambda wrong, tasks: pydegrade.estimate_kernel(ARRAY, 2, wrong),
    "blur_down": lambda wrong, tasks: pydegrade.blur_down(wrong, KERNEL, 20),
    "blur_down kernel": lambda wrong, tasks: pydegrade.blur_down(ARRAY, wrong, 2),
    "blur_down scale": lambda wrong, tasks: pydegrade.blur_down(ARRAY, KERNEL, wrong),
    "blur_down way": lambda wrong, tasks: pydegrade.blur_down(ARRAY, KERNEL, 2, wrong),
    "imresize": lambda wrong, tasks: pydegrade.imresize(wrong, [2]),
    "imresize scale": lambda wrong, tasks: pydegrade.imresize(ARRAY, wrong),
    "imresize size": lambda wrong, tasks: pydegrade.imresize(ARRAY, size=wrong),
    "imresize kernel": lambda wrong, tasks: pydegrade.imresize(ARRAY, 2, kernel=wrong),
    "imresize antialias": lambda wrong, tasks: pydegrade.imresize(ARRAY, 2, antialias=wrong),
    "psnr": lambda wrong, tasks: pydegrade.psnr(wrong, ARRAY),
    "ssim": lambda wrong, tasks: pydegrade.ssim(ARRAY, wrong),
    "psnr protocol": lambda wrong, tasks: pydegrade.psnr(ARRAY, ARRAY, wrong),
    "Protocol": lambda wrong, tasks: metrics.Protocol(wrong),
    "Protocol border": lambda wrong, tasks: metrics.Protocol("y", wrong),
    "kernels.check": lambda wrong, tasks: kernels.check(wrong),
    "kernels.gaussian size": lambda wrong, tasks: kernels.gaussian(wrong, 1.0),
    "kernels.gaussian sigma": lambda wrong, tasks: kernels.gaussian(3, wrong),
    "kernels.sinc": lambda wrong, tasks: kernels.sinc(3, wrong),
    "blur": lambda wrong, tasks: ops.blur(wrong, KERNEL),
    "blur kernels": lambda wrong, tasks: ops.blur(IMAGES, wrong if wrong is not None else "nothing"),
    "blur shape": lambda wrong, tasks: ops.blur(IMAGES, shape=wrong),
    "blur size_px": lambda wrong, tasks: ops.blur(IMAGES, shape="iso", size_px=wrong),
    "blur beta": lambda wrong, tasks: ops.blur(IMAGES, shape="iso", beta=wrong),
    "jpeg": lambda wrong, tasks: ops.jpeg(wrong, 50),
    "jpeg quality": lambda wrong, tasks: ops.jpeg(IMAGES, wrong),
    "noise kind": lambda wrong, tasks: ops.noise(IMAGES, wrong),
    "noise sigma": lambda wrong, tasks: ops.noise(IMAGES, "gaussian", sigma_8bit=wrong),
    "noise seed": lambda wrong, tasks: ops.noise(IMAGES, "gaussian", seed=wrong),
    "noise index": lambda wrong, tasks: ops.noise(IMAGES, "gaussian", index=wrong if wrong is not None else "x"),
    "rain": lambda wrong, tasks: ops.rain(IMAGES, length_px=wrong),
    "resize mode": lambda wrong, tasks: ops.resize(IMAGES, (8, 8), mode=wrong),
    "resize size": lambda wrong, tasks: ops.resize(IMAGES, wrong),
    "sharpen": lambda wrong, tasks: ops.sharpen(IMAGES, wrong),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_wrong_kinds_are_refused_in_one_short_line(door, tasks):
    for name, wrong in WRONG.items():
        try:
            DOORS[door](wrong, tasks)
            text = ""
        except (TypeError, ValueError) as error:
            text = str(error)
        assert text, (door, name)
        assert "\n" not in text, (door, name, text)
        assert len(text) < 600, (door, name, text)


@pytest.mark.parametrize("rows", [[2], [-3], 1, [0.5], [[0]], [True], [True, False, True], "0"])
def test_rows_that_are_not_there(tasks, rows):
    with pytest.raises((TypeError, ValueError), match="rows must be"):
        tasks.take(rows)


@pytest.mark.parametrize(
    "rows",
    [[0, 1], np.array([1], np.uint8), np.array([0], ">i4"), torch.tensor([0]), [-1], slice(1), [True, False], []],
)
def test_rows_that_are_there(tasks, rows):
    wanted = np.arange(2)[rows if isinstance(rows, slice) else np.asarray(rows, None if len(rows) else int)]
    assert tasks.take(rows).indices.tolist() == wanted.tolist()


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_arrays_of_foreign_byte_order_are_what_they_are_here(dtype):
    random = np.random.default_rng(0)
    level = {"u1": 255, "u2": 65535}.get(dtype, 1)
    image = (random.random((48, 40, 3)) * level).astype(dtype)
    foreign = image.astype(image.dtype.newbyteorder("S"))
    kernel = kernels.gaussian(5, 1.2)
    turned = kernel.astype(kernel.dtype.newbyteorder("S"))
    made = pydegrade.imresize(foreign, 0.5)
    assert made.dtype.isnative
    assert np.array_equal(made, pydegrade.imresize(image, 0.5))
    if dtype != "u2":
        made = pydegrade.blur_down(foreign, turned, 2)
        assert made.dtype.isnative
        assert np.array_equal(made, pydegrade.blur_down(image, kernel, 2))
        other = image[::-1]
        for score in (pydegrade.psnr, pydegrade.ssim):
            assert score(foreign, other) == score(image, other) == score(image, other.astype(foreign.dtype))
    assert np.array_equal(kernels.check(turned), kernel)
    assert np.array_equal(pydegrade.estimate_kernel(foreign, 2).kernel, pydegrade.estimate_kernel(image, 2).kernel)


def test_parameters_of_foreign_byte_order():
    sigma = np.array([1.0, 2.0])
    kernel = kernels.gaussian(5, 1.2)
    same = ops.blur(IMAGES, shape="iso", sigma_x_px=sigma.astype(">f8"))
    assert torch.equal(same, ops.blur(IMAGES, shape="iso", sigma_x_px=sigma))
    assert torch.equal(ops.blur(IMAGES, kernel.astype(">f4")), ops.blur(IMAGES, kernel.astype("<f4")))
    numbers = np.array([3, 4], ">i8")
    assert pydegrade.sample("dasr-weak", 0, numbers).addresses == pydegrade.sample("dasr-weak", 0, [3, 4]).addresses


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**6, 10**30, 1.5, True, "4", torch.zeros(2, 2)])
def test_numbers_of_threads_that_no_machine_has_are_refused(threads):
    before = pydegrade.get_num_threads()
    with pytest.raises(ValueError, match=r"threads must be an integer in 1\.\.1024") as found:
        pydegrade.set_num_threads(threads)
    assert "\n" not in str(found.value)
    assert pydegrade.get_num_threads() == before


@pytest.mark.parametrize("text", ["99999", "9" * 5000, "0001", "0", "-1", "x", "\u00b2", ""])
def test_the_environment_never_asks_for_more_threads_than_processors(monkeypatch, text):
    monkeypatch.setenv("PYDEGRADE_NUM_THREADS", text)
    pydegrade.set_num_threads(None)
    assert 1 <= pydegrade.get_num_threads() <= (os.cpu_count() or 1)


def test_a_path_with_a_line_break_is_shown_in_one_line():
    with pytest.raises(ValueError, match="cannot be read") as found:
        pydegrade.Space.load("a\nb")
    assert "\n" not in str(found.value)

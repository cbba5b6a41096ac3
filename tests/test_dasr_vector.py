"""DASR's 33-vector: entries worked out by hand, masks, the released quirks, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

import pydegrade
from pydegrade import TaskBatch
from pydegrade.errors import TaskError


def one(space="dasr-severe", **changes):
    return pydegrade.sample(space, 0, [0]).replace(
        **{name.replace("__", "."): value for name, value in changes.items()}
    )


def test_entries_by_hand():
    tasks = one(
        blur1__shape="aniso", blur1__size_px=21, blur1__sigma_x_px=3.0, blur1__sigma_y_px=1.6, blur1__angle_rad=0.0,
        blur2__shape="iso", blur2__size_px=7, blur2__sigma_x_px=0.85, sinc__shape="sinc", sinc__size_px=14 + 7,
        sinc__cutoff_rad=2 * np.pi / 3, resize1__resize_factor=0.15, resize1__mode="torch_bicubic",
        resize2__resize_factor=1.2, resize2__mode="torch_area", noise1__kind="gaussian", noise1__sigma_8bit=30.0,
        noise1__gray=1, noise2__kind="poisson", noise2__poisson_gain=0.05, noise2__gray=0, jpeg1__quality=95,
        jpeg2__quality=30, resize3__mode="torch_bilinear",
    )  # fmt: skip
    values, mask = tasks.vector()
    expected = [1, 1, 0.5, 0.5, 0, 0.5, 0.5, 0.5, 1, 0.5, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0]
    assert np.allclose(values[0, :28], expected, atol=1e-6)
    assert np.allclose(values[0, 30:], [0, 1, 0])
    names = [slot.name for slot in tasks.space.slots]
    program = [names[slot] for slot in tasks.program[0]]
    assert values[0, 28] == (program.index("sinc") < program.index("jpeg2"))
    assert values[0, 28] + values[0, 29] == 1
    assert mask.all()


def test_masks_of_levels():
    values, mask = pydegrade.sample("dasr-mixed", 0, range(300)).vector()
    component = pydegrade.sample("dasr-mixed", 0, range(300)).component
    first_order = [0, 1, 2, 3, 10, 11, 12, 13, 18, 19, 20, 21, 26, 30, 31, 32]
    resized = pydegrade.sample("dasr-mixed", 0, range(300)).column("resize1.resize_factor") != 1
    assert np.nonzero(mask[(component < 2) & resized].all(0))[0].tolist() == first_order
    assert not mask[component < 2][:, [i for i in range(33) if i not in first_order]].any()
    assert np.array_equal(mask[:, 11:14], np.repeat(resized[:, None], 3, 1))
    assert (values[~mask] == 0).all()
    assert values[mask].min() >= -1e-6
    assert values[mask].max() <= 1 + 1e-6


def test_off_means_masked_and_the_release_means_what_it_did():
    tasks = pydegrade.sample("dasr-severe", 0, range(400))
    values, mask = tasks.vector()
    old, _ = tasks.vector(compat="dasr2022")
    second = np.array(tasks.labels("blur2.shape")) != "delta"
    final = np.array(tasks.labels("sinc.shape")) == "sinc"
    assert np.array_equal(mask[:, 4:8].all(1), second)
    assert np.array_equal(mask[:, 8:10].all(1), final)
    assert (values[~second][:, 4:8] == 0).all()
    # The release: slot 9 is the flag of the second blur, -0.5 without a final sinc, blur 2 filled even when skipped.
    assert (old[second, 9] == 1).all()
    assert np.allclose(old[~final, 8], -0.5)
    assert np.allclose(old[~final & ~second, 9], -0.5)
    assert np.allclose(old[final & ~second, 9], values[final & ~second, 9])
    raw = tasks.raw("blur2.sigma_x_px")
    assert np.allclose(old[:, 5], (raw - 0.2) / 1.3, atol=1e-6)
    others = [i for i in range(33) if i not in (4, 5, 6, 7, 8, 9, 11, 12, 13)]
    assert np.array_equal(old[:, others], values[:, others])
    assert (old[:, 11:14].sum(1) == 1).all()


def test_global_ranges_mean_the_same_everywhere():
    weak = one("dasr-weak", noise1__kind="gaussian", noise1__sigma_8bit=10.0)
    assert weak.vector()[0][0, 18] == 1
    assert np.isclose(weak.vector("dasr33-global")[0][0, 18], 9 / 29)


@pytest.mark.parametrize("space", ["dasr-weak", "dasr-standard", "dasr-severe"])
def test_round_trip(space):
    tasks = pydegrade.sample(space, 5, range(300))
    values, mask = tasks.vector()
    back = TaskBatch.from_vector(values, space, mask=mask)
    again, mask_again = back.vector()
    assert np.array_equal(mask, mask_again)
    # float32 numbers through a division and a multiplication.
    assert np.abs(again - values)[mask].max() < 1e-5
    for slot in ("blur1", "noise1", "jpeg1", "resize1"):
        for column in tasks.space.op(slot).columns:
            name = f"{slot}.{column.name}"
            if tasks.mask(name).any() and name in tasks.columns and column.name != "mode":
                chosen = tasks.mask(name)
                assert np.allclose(tasks.column(name)[chosen], back.column(name)[chosen], atol=1e-4), name
    assert np.array_equal(back.program, tasks.program)


def test_realesrgan_tasks_have_a_vector():
    tasks = pydegrade.sample("realesrgan-x4", 0, range(200))
    values, mask = tasks.vector()
    sinc = np.array(tasks.labels("blur1.shape")) == "sinc"
    assert np.array_equal(mask[:, 0], np.ones(200, bool))
    assert np.array_equal(mask[:, 1], ~sinc)
    assert np.isfinite(values).all()


def test_messages():
    tasks = pydegrade.sample("dasr-weak", 0, range(2))
    with pytest.raises(TaskError, match="scheme must be one of dasr33, dasr33-global, got 'x'"):
        tasks.vector("x")
    with pytest.raises(TaskError, match="compat must be None or 'dasr2022', got 'y'"):
        tasks.vector(compat="y")
    with pytest.raises(TaskError, match=r"gives no ranges \[vector\.dasr33\]"):
        pydegrade.sample("bicubic", 0, [0]).vector()
    with pytest.raises(TaskError, match=r"expected finite numbers \[B, 33\], got shape \[1, 5\]"):
        TaskBatch.from_vector(np.zeros(5), "dasr-weak")

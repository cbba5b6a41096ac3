"""Rain: the float64 twin, its laws, and the same bits whoever computes them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import ops
from pydegrade.native import rng

from .reference import rain as reference

DEFAULTS = {
    "streaks_per_kpx": 2.0,
    "length_px": 30.0,
    "width_px": 1.5,
    "angle_rad": 0.3,
    "blur_px": 1.2,
    "brightness": 0.5,
}
CASES = [
    {},
    {"angle_rad": -1.3, "length_px": 128.0, "width_px": 16.0, "blur_px": 16.0, "streaks_per_kpx": 0.7},
    {"angle_rad": 1.3, "length_px": 100.0, "streaks_per_kpx": 1.0},
    {"length_px": 1.0, "width_px": 0.5, "blur_px": 0.0, "streaks_per_kpx": 20.0, "brightness": 1.0},
    {"angle_rad": 0.0, "length_px": 60.0, "streaks_per_kpx": 0.6},
]


@pytest.fixture(autouse=True)
def default_threads():
    yield
    pydegrade.set_num_threads(None)


def parameters(**changes):
    """As float32 columns hold them."""
    return {name: float(np.float32(value)) for name, value in {**DEFAULTS, **changes}.items()}


def key_of(seed, index):
    one = np.array([index], np.int64)
    return rng.image_keys(np.array([seed], np.int64), one, one)[0].tolist()


def make(images, seed=0, index=None, **changes):
    p = parameters(**changes)
    return ops.rain(images, p.pop("streaks_per_kpx"), **p, seed=seed, index=index)


@pytest.mark.representatives(5)
@pytest.mark.parametrize("changes", CASES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 70), (5, 97), (90, 3)])
def test_rain_equals_float64(changes, height, width):
    base = torch.rand(1, 2, height, width, generator=torch.Generator().manual_seed(1)) * 0.4
    made = make(base, seed=5, index=[9], **changes)[0].numpy()
    p = parameters(**changes)
    layer = reference.layer(p, key_of(5, 9), height, width)
    expected = np.clip(base[0].numpy() + layer, 0, 1)
    # Distances up to 130 px in float32 are off by 1e-5 px, divided by a softness of at least 1 px; several streaks add up.
    assert np.abs(made - expected).max() < 5e-5
    if height * width > 2000:
        assert layer.max() > 0.01


@pytest.mark.slow
def test_density_length_and_brightness_are_what_the_columns_say():
    counts, sums = [], []
    p = parameters(streaks_per_kpx=1.3, length_px=24.0, width_px=2.0, brightness=0.2, angle_rad=0.4)
    size = 512
    for index in range(4):
        image = make(torch.zeros(1, 1, size, size), seed=1, index=[index], **p)
        sums.append(float(image.double().sum()))
        streaks = reference.streaks(p, key_of(1, index), size, size)
        counts.append(sum(0 <= x < size and 0 <= y < size for x, y, _, _ in streaks))
    # floor(mean + u) per cell of 1024 px: the mean is exact, its deviation at most 1/2 a cell; 4 x 256 cells.
    assert abs(np.mean(counts) / size**2 - 1.3e-3) < 4 * 0.5 / np.sqrt(4 * 256) / 1024
    # A streak's sum is brightness * length * width (ramps are symmetric about half); both draws average 3/4.
    expected = 1.3e-3 * size**2 * (0.75 * 0.2) * (0.75 * 24) * 2.0
    # 1365 streaks whose areas have a relative spread of 0.28; sums of pixels miss the integral by less than 1 %.
    assert abs(np.mean(sums) / expected - 1) < 0.03


def test_streaks_point_where_the_angle_says():
    for angle in (-0.9, 0.0, 0.4, 1.2):
        options = {"length_px": 100.0, "width_px": 6.0, "blur_px": 6.0, "streaks_per_kpx": 0.2, "brightness": 0.1}
        image = make(torch.zeros(1, 1, 400, 400), angle_rad=angle, **options)[0, 0].double()
        gy, gx = (torch.gradient(image, dim=dim)[0].flatten() for dim in (0, 1))
        # The direction across which the image changes least: the smallest eigenvector of the structure tensor.
        tensor = np.array([[float(gx @ gx), float(gx @ gy)], [float(gx @ gy), float(gy @ gy)]])
        along = np.linalg.eigh(tensor)[1][:, 0]
        found = np.arctan(along[0] / along[1])
        # Central differences of ramps 6 px wide know the direction to about a degree.
        assert abs(found - angle) < 0.02, angle


def test_result_depends_on_image_and_key_alone():
    images = torch.rand(5, 3, 75, 130, generator=torch.Generator().manual_seed(2))
    options = {"angle_rad": [0.1, -0.4, 0.0, 1.0, 0.3], "length_px": [9.0, 60.0, 20.0, 128.0, 33.0], "width_px": 2.0}
    pydegrade.set_num_threads(1)
    whole = ops.rain(images, 2.0, **options, seed=3, index=[4, 8, 15, 16, 23])
    for threads in (1, 2, 7):
        pydegrade.set_num_threads(threads)
        assert torch.equal(ops.rain(images, 2.0, **options, seed=3, index=[4, 8, 15, 16, 23]), whole)
        for row, index in enumerate((4, 8, 15, 16, 23)):
            one = {name: value[row] if isinstance(value, list) else value for name, value in options.items()}
            alone = ops.rain(images[row : row + 1], 2.0, **one, seed=3, index=[index])
            assert torch.equal(alone, whole[row : row + 1])
    # Places count from the upper left: a larger image only continues the rain.
    one = {name: value[1] if isinstance(value, list) else value for name, value in options.items()}
    part = ops.rain(images[1:2, :, :40, :61].contiguous(), 2.0, **one, seed=3, index=[8])
    assert torch.equal(part, whole[1:2, :, :40, :61])
    other = ops.rain(images, 2.0, **options, seed=3, index=[5, 8, 15, 16, 23])
    assert not torch.equal(other[0], whole[0])
    assert torch.equal(other[1:], whole[1:])


def test_rain_only_adds_and_is_clipped_and_neutral_is_identity():
    images = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(4))
    made = make(images, brightness=1.0, streaks_per_kpx=20.0)
    assert (made >= images).all()
    assert made.max() == 1.0
    # The same layer on every channel.
    layer = make(torch.zeros(2, 3, 40, 50), brightness=0.05, streaks_per_kpx=1.0)
    assert torch.equal(layer[:, 0], layer[:, 2])
    assert torch.equal(make(images, streaks_per_kpx=0.0), images)
    assert torch.equal(make(images, brightness=0.0), images)
    assert make(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)


@pytest.mark.slow
def test_gradient_and_opcheck():
    images = (torch.rand(2, 3, 8, 9) * 0.5 + 0.2).requires_grad_()
    made = make(images, brightness=0.5, streaks_per_kpx=20.0, width_px=3.0)
    made.sum().backward()
    assert torch.equal(images.grad, (made.detach() < 1).float())
    layout = pydegrade.native.packed.dense_layout(images)
    where = [torch.from_numpy(values) for values in (layout.offset, layout.height, layout.width)]
    values = [torch.full((2,), value) for value in parameters().values()]
    key = torch.zeros(2, 4, dtype=torch.int32)
    torch.library.opcheck(torch.ops.pydegrade.rain, (images, *where, 3, *values, key))


def test_the_preset_draws_what_it_says():
    tasks = pydegrade.sample("ipt-derain-light", 0, range(2000))
    for name, low, high in (
        ("streaks_per_kpx", 0.4, 2.5),
        ("length_px", 9, 60),
        ("width_px", 1, 3),
        ("angle_rad", -np.pi / 6, np.pi / 6),
        ("blur_px", 1, 2),
        ("brightness", 0.1, 0.8),
    ):
        values = tasks.column(f"rain1.{name}").astype(float)
        assert low - 1e-6 <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high + 1e-6
    # The slot's own key: another slot name gives other streaks; the engine gives what the op gives.
    hr = torch.full((4, 3, 48, 48), 0.25)
    some = pydegrade.sample("ipt-derain-light", 0, range(4))
    lr = pydegrade.degrade(hr, some)
    assert lr.shape == hr.shape
    for row in range(4):
        p = {name: some.column(f"rain1.{name}")[row].item() for name in DEFAULTS}
        key = rng.combine_slot(some.image_keys()[row : row + 1], "rain1")[0].tolist()
        expected = np.rint(reference.rain(hr[row].double().numpy(), p, key) * 255)
        # A value within 5e-5 of a tie may be rounded the other way.
        assert (np.abs(np.rint(lr[row].numpy() * 255) - expected) > 0).mean() < 0.02
        assert np.abs(lr[row].numpy() * 255 - expected).max() < 1.001


@pytest.mark.parametrize("sigma", [30, 50])
def test_denoising_presets_add_their_noise(sigma):
    hr = torch.full((3, 3, 96, 96), 0.5)
    lr = pydegrade.degrade(hr, pydegrade.sample(f"ipt-denoise-{sigma}", 0, range(3)))
    # 82,944 values; sigma 50 clips a normal at 2.55 deviations, which takes 2 % off its deviation.
    expected = sigma / 255 * (1.0 if sigma == 30 else 0.978)
    assert lr.std().item() == pytest.approx(expected, rel=0.02)
    assert abs(lr.mean().item() - 0.5) < 0.003


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length_px": 129.0}, "rain: length_px must be in [1, 128], got 129"),
        ({"streaks_per_kpx": -1.0}, "rain: streaks_per_kpx must be in [0, 20], got -1"),
        ({"angle_rad": 1.5}, "rain: angle_rad must be in [-1.3, 1.3], got 1.5"),
        ({"brightness": float("nan")}, "rain: brightness must be in [0, 1], got nan"),
    ],
)
def test_messages(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(torch.rand(2, 3, 8, 8), **changes)
    with pytest.raises(ValueError, match=re.escape("rain: index must have 2 numbers, got 1")):
        make(torch.rand(2, 3, 8, 8), index=[1])

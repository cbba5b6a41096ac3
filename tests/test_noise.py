"""Noise against a NumPy twin, tables against the Poisson law, statistics and promises."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade import ops
from pydegrade.native import binding, rng
from pydegrade.ops.noise import noise_matrix, poisson_tables

from .devices import TensorFunction, on_device
from .reference import noise as reference
from .reference.philox import uniform


@pytest.fixture
def noise(device: torch.device) -> TensorFunction:
    return on_device(ops.noise, device)


def test_named_draws_equal_the_numpy_twin():
    indices = np.array([0, 1, 5, 2**31, 2**40 + 3, 2**63 - 1], np.int64)
    draws = [("blur1.sigma_x_px", 0), ("order", 3), ("data.crop_top", 0)]
    for seed in (0, 7, 2**40 + 1, 2**63 - 1):
        expected = uniform(seed, indices, [rng.hash32(name) for name, _ in draws], [draw for _, draw in draws])
        assert np.array_equal(rng.uniforms(seed, indices, draws), expected)
    many = np.arange(10000)
    assert np.array_equal(rng.named_uniform(3, many, "a"), uniform(3, many, [rng.hash32("a")], [0])[:, 0])


def test_layout_of_the_counters_never_changes(request):
    """Golden words: if this fails, every address ever published would mean something else."""
    lines = []
    for seed, index in ((0, 0), (7, 123), (2**40 + 1, 2**33 + 5)):
        number = np.array([index], np.int64)
        for name in ("blur1.sigma_x_px", "order", "mixture.component", "data.hflip"):
            for draw in (0, 1):
                lines.append(
                    f"draw {seed} {index} {name} {draw} {rng.named_uniform(seed, [index], name, draw)[0].hex()}"
                )
        key = rng.image_keys(np.array([seed], np.int64), number, number + 1)
        slot = rng.combine_slot(key, "noise1")
        lines.append(f"key {seed} {index} {index + 1} " + " ".join(f"{word:08x}" for word in [*key[0], slot[0, 3]]))
        pixels = reference.stream(slot[0], "gaussian", 1, 3, 6)[2]
        lines.append(f"pixels {seed} {index} gaussian channel 1 row 2 " + " ".join(f"{word:08x}" for word in pixels))
    golden = request.path.parent / "golden" / "rng_words.txt"
    assert golden.read_text().splitlines() == lines


def batch(count=3, height=21, width=70):
    generator = torch.Generator().manual_seed(5)
    return (torch.rand(count, 3, height, width, generator=generator) * 1.2 - 0.1).clamp(0, 1)


def key_of(seed, index):
    number = np.array([index], np.int64)
    return rng.image_keys(np.array([seed], np.int64), number, number)[0]


@pytest.mark.parametrize("gray", [False, True])
def test_gaussian_equals_the_numpy_twin(noise, gray):
    images = batch()
    made = noise(images, "gaussian", sigma_8bit=[3.0, 20.0, 60.0], gray=gray, seed=11, index=[4, 9, 2**40]).numpy()
    for row, (sigma, index) in enumerate(zip([3.0, 20.0, 60.0], [4, 9, 2**40])):
        for channel in range(3):
            z = reference.normals(key_of(11, index), "gaussian", 0 if gray else channel, 21, 70)
            expected = np.clip(images[row, channel].numpy().astype(float) + z * sigma / 255, 0, 1)
            # float32 normals of up to 6.7 with an error of a few ulp, times sigma below 0.25.
            assert np.abs(made[row, channel] - expected).max() < 1e-6


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("kind", ["speckle", "uniform", "salt_pepper", "shot_read"])
def test_other_kinds_equal_the_numpy_twin(noise, kind, gray):
    images = batch()
    sigmas, densities, shots = [3.0, 20.0, 60.0], [0.0, 0.1, 1.0], [0.0, 0.01, 0.2]
    named = {"sigma_8bit": sigmas, "density": densities, "shot_gain": shots, "gray": gray, "seed": 11}
    made = noise(images, kind, **named).numpy()
    for row in range(3):
        sigma = sigmas[row] / 255
        for channel in range(3):
            place = (key_of(11, row), kind, 0 if gray else channel, 21, 70)
            x = images[row, channel].numpy().astype(float)
            z, word = reference.normals(*place), reference.stream(*place)
            if kind == "speckle":
                expected = x * (1 + sigma * z)
            elif kind == "uniform":
                expected = x + np.sqrt(3) * sigma * word.astype(np.int32) / 2**31
            elif kind == "salt_pepper":
                expected = np.where((word >> 1) / 2**31 < np.float32(densities[row]), word & 1, x)
            else:
                expected = x + np.sqrt(np.float32(shots[row]) * x + sigma**2) * z
            # As for Gaussian noise; sqrt of float32 numbers below 0.5 and a half of an ulp of 1 for the sum.
            assert np.abs(made[row, channel] - np.clip(expected, 0, 1)).max() < 2e-6


def test_statistics_of_the_other_kinds(noise):
    images = torch.full((1, 3, 200, 300), 0.5)
    count = images.numel()
    for kind, named, deviation in (
        ("speckle", {"sigma_8bit": 25.5}, 0.05),
        ("uniform", {"sigma_8bit": 25.5}, 0.1),
        ("shot_read", {"sigma_8bit": 5.1, "shot_gain": 0.01}, np.sqrt(0.01 * 0.5 + 0.02**2)),
    ):
        found = noise(images, kind, **named) - 0.5
        # Four standard errors.
        assert abs(found.mean()) < 4 * deviation / np.sqrt(count)
        assert abs(found.std() / deviation - 1) < 4 / np.sqrt(count)
    grains = noise(images, "salt_pepper", density=0.2)
    for value, share in ((0.0, 0.1), (1.0, 0.1), (0.5, 0.8)):
        assert abs((grains == value).double().mean() - share) < 4 * np.sqrt(share / count)
    together = noise(images, "salt_pepper", density=0.2, gray=True)
    assert torch.equal(together[:, 0], together[:, 2])


def test_noise_of_luma_leaves_chroma_and_noise_of_chroma_leaves_luma(noise):
    images = torch.full((1, 3, 100, 120), 0.5)
    to_ycc = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    for kind in ("luma", "chroma"):
        found = noise(images, kind, sigma_8bit=15.0, seed=2) - 0.5
        luma, *chroma = torch.einsum("dc,bchw->dbhw", to_ycc, found)
        kept, changed = (chroma, [luma]) if kind == "luma" else ([luma], chroma)
        assert all(plane.abs().max() < 1e-5 for plane in kept)
        assert all(abs(plane.std() * 255 / 15 - 1) < 4 / np.sqrt(12000) for plane in changed)


@pytest.mark.parametrize("gray", [False, True])
def test_poisson_equals_the_numpy_twin_exactly(noise, gray):
    images = batch()
    tables = poisson_tables()
    entries, first = tables[: 9 * 256 * 256].reshape(9, 256, 256), tables[9 * 256 * 256 :].reshape(9, 256)
    made = noise(images, "poisson", poisson_gain=[0.5, 1.0, 3.0], gray=gray, seed=1).numpy()
    for row, gain in enumerate(np.float32([0.5, 1.0, 3.0])):
        x = images[row].numpy()
        weights = np.float32([0.2989, 0.587, 0.114])
        shown = ((weights[0] * x[0] + weights[1] * x[1]) + weights[2] * x[2])[None] if gray else x
        levels = np.rint(np.clip(shown * np.float32(255), 0, 255)).astype(np.int64)
        v = reference.exponent(levels)
        for channel in range(3):
            q = levels[0 if gray else channel]
            word = reference.stream(key_of(1, row), "poisson", 0 if gray else channel, 21, 70)
            entry = entries[v, q, word >> 24]
            count = first[v, q] + np.where((word & 0xFFFFFF) < (entry >> 8), word >> 24, entry & 0xFF)
            noise = gain * (count.astype(np.float32) / np.float32(2**v) - q.astype(np.float32) / np.float32(255))
            assert np.array_equal(made[row, channel], np.clip(x[channel] + noise, 0, 1))


def test_poisson_tables_are_the_poisson_law():
    from scipy.stats import poisson

    tables = poisson_tables()
    entries = tables[: 9 * 256 * 256].reshape(9, 256, 256)
    first = tables[9 * 256 * 256 :].reshape(9, 256).astype(np.int64)
    for v in range(9):
        # The loops compute the first count instead of looking it up (poisson_first of csrc/math/poisson.h).
        assert np.array_equal(first[v], np.maximum(np.arange(256) * 2**v // 255 - 128, 0))
        rates = np.arange(256) / 255 * 2**v
        share = (entries[v] >> 8) / 2.0**24
        mass = share.copy()
        np.add.at(mass, (np.arange(256)[:, None], (entries[v] & 0xFF).astype(int)), 1 - share)
        law = poisson.pmf(first[v][:, None] + np.arange(256), rates[:, None])
        # Thresholds have 24 bits: 256 of them, each off by 2^-25 of a 256th on average.
        assert (0.5 * np.abs(mass / 256 - law).sum(1)).max() < 1e-7


def test_poisson_tables_never_change():
    digest = hashlib.sha256(poisson_tables().tobytes()).hexdigest()
    assert digest == "56f51aa06a27f5134fc324009fe08d825a385764ebea6ccbeccf6484e3a7577f"


def test_poisson_levels_equal_basicsr(noise, shared):
    cases = json.loads((shared / "golden/basicsr_ops.json").read_text())["poisson_vals"]
    crop = np.load(shared / "golden/basicsr_ops.npz")["crop_u8"].astype(np.float32) / 255
    images = {"crop": crop, "corner_9x11": crop[:9, :11], "flat_0.5": np.full_like(crop, 0.5)}
    for name, image in images.items():
        for gray, kind in ((False, "color"), (True, "gray")):
            x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].contiguous()
            made = (noise(x, "poisson", poisson_gain=1.0, gray=gray) - x)[0]
            y = (0.2989 * x[0, 0] + 0.587 * x[0, 1] + 0.114 * x[0, 2])[None] if gray else x[0]
            counts = (made + (y * 255).round() / 255) * cases[name][kind]
            inside = ((x[0] + made) > 0) & ((x[0] + made) < 1)
            # Where nothing was clipped, counts are whole numbers exactly when V is right.
            assert float((counts - counts.round()).abs()[inside].max()) < 1e-3, (name, kind)


def test_correlated_noise_has_the_covariance(noise):
    covariance = np.array([[400.0, 250.0, 100.0], [250.0, 300.0, -50.0], [100.0, -50.0, 200.0]])
    x = torch.full((1, 3, 400, 400), 0.5)
    made = (noise(x, "correlated", covariance_8bit2=covariance) - x)[0].reshape(3, -1).numpy().astype(float) * 255
    # 160,000 samples: relative standard error 1/283 of a variance; four of them.
    assert np.abs(np.cov(made) - covariance).max() < 4 * 400 * np.sqrt(2 / 160000) * 2
    indefinite = np.array([[100.0, 300.0, 0.0], [300.0, 100.0, 0.0], [0.0, 0.0, 50.0]])
    rows, columns = np.triu_indices(3)
    matrix = noise_matrix(indefinite[rows, columns][None])[0].reshape(3, 3).astype(float) * 255
    values, vectors = np.linalg.eigh(indefinite)
    assert np.allclose(matrix @ matrix.T, vectors @ np.diag(np.abs(values)) @ vectors.T, atol=1e-3)


@pytest.mark.slow
def test_normals_are_normal(noise):
    from scipy.stats import kstest, norm

    x = torch.full((4, 3, 400, 400), 0.5)
    z = ((noise(x, "gaussian", sigma_8bit=10.0, seed=3) - x) * 25.5).numpy().astype(float)
    n = z.size
    # Moments as z-scores: their standard errors are known for normals.
    for value, expected, error in [
        (z.mean(), 0, 1),
        ((z**2).mean(), 1, np.sqrt(2)),
        ((z**3).mean(), 0, np.sqrt(15)),
        ((z**4).mean(), 3, np.sqrt(96)),
    ]:
        assert abs(value - expected) * np.sqrt(n) / error < 4.5
    for limit in (3, 4, 5):
        p = 2 * norm.sf(limit)
        assert abs((np.abs(z) > limit).sum() - n * p) < 4.5 * np.sqrt(n * p) + 1
    assert kstest(z.ravel(), "norm").pvalue > 1e-3
    # Neighbours in x, y, channel and image, and the two halves of a Box-Muller pair, are unrelated.
    for a, b in [
        (z[..., :-1], z[..., 1:]),
        (z[..., :-4], z[..., 4:]),
        (z[..., :-1, :], z[..., 1:, :]),
        (z[:, :-1], z[:, 1:]),
        (z[:-1], z[1:]),
        (z[..., 0::2] ** 2, z[..., 1::2] ** 2),
    ]:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5e-3


@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
def test_promises(noise, kind):
    images = batch(6, 75, 133)
    settings = {"sigma_8bit": 9.0, "poisson_gain": 1.5, "gray": [0, 1, 0, 1, 1, 0]}
    pydegrade.set_num_threads(1)
    whole = noise(images, kind, **settings, seed=2)
    for threads in (1, 2, 7):
        pydegrade.set_num_threads(threads)
        assert torch.equal(noise(images, kind, **settings, seed=2), whole)
        for row in range(6):
            alone = noise(
                images[row : row + 1], kind, **{**settings, "gray": settings["gray"][row]}, seed=2, index=[row]
            )
            assert torch.equal(alone[0], whole[row])
    pydegrade.set_num_threads(None)
    # A crop at the origin sees the same field.
    if kind == "gaussian":
        crop = noise(images[:1, :, :30, :41].contiguous(), kind, **{**settings, "gray": 0}, seed=2)
        assert torch.equal(crop, whole[:1, :, :30, :41])
    assert torch.equal(noise(images, "off"), images)
    assert not torch.equal(noise(images, kind, **settings, seed=3), whole)


def test_in_place_equals_out_of_place():
    images = batch(2)
    layout = pydegrade.native.packed.dense_layout(images)
    fields = {
        "kind": np.array([1, 2], np.int32),
        "sigma": np.float32([0.1, 0]),
        "gain": np.float32([0, 2]),
        "gray": np.array([1, 1], np.int32),
        "matrix": None,
        "key": np.arange(8, dtype=np.uint32).reshape(2, 4),
        "poisson_tables": poisson_tables(),
    }
    out, same = torch.empty_like(images), images.clone()
    binding.call("noise", rows=layout.fields(), src=images, dst=out, **fields)
    binding.call("noise", rows=layout.fields(), src=same, dst=same, **fields)
    assert torch.equal(out, same)


@pytest.mark.slow
def test_gradient_and_opcheck(noise):
    images = batch(2).requires_grad_()
    out = noise(images, "gaussian", sigma_8bit=40.0)
    (gradient,) = torch.autograd.grad(out.sum(), images)
    assert torch.equal(gradient, ((out > 0) & (out < 1)).float())
    layout = pydegrade.native.packed.dense_layout(images)
    arrays = (
        layout.offset,
        layout.height,
        layout.width,
        np.array([1, 2], np.int32),
        np.float32([0.1, 0]),
        np.float32([0, 2]),
        np.array([1, 0], np.int32),
        np.zeros((2, 9), np.float32),
        np.arange(8, dtype=np.int32).reshape(2, 4),
    )
    tensors = [torch.from_numpy(values) for values in arrays]
    torch.library.opcheck(torch.ops.pydegrade.noise, (images, *tensors[:3], 3, *tensors[3:]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: ops.noise(x, "salt"),
            "noise: kind must be one of 'off', 'gaussian', 'poisson', 'correlated', 'speckle', 'uniform', ",
        ),
        (lambda x: ops.noise(x, sigma_8bit=-1.5), "noise: sigma_8bit must be in [0, 255], got -1.5"),
        (lambda x: ops.noise(x, sigma_8bit=[1.0, 300.0]), "sigma_8bit must be in [0, 255], got 300 at row 1"),
        (lambda x: ops.noise(x, "poisson", poisson_gain=float("nan")), "poisson_gain must be in [0, 10], got nan"),
        (lambda x: ops.noise(x, gray=2), "noise: gray must be in [0, 1], got 2"),
        (lambda x: ops.noise(x[:, :2], gray=1), "gray, correlated, luma and chroma noise need 3 channels, got 2"),
        (lambda x: ops.noise(x, "correlated"), "covariance_8bit2 is missing"),
        (lambda x: ops.noise(x, index=[1]), "index must have 2 numbers, got 1"),
        (lambda x: ops.noise(x, seed=-1), "seed must be in [0, 2^63), got -1"),
        (lambda x: ops.noise(x.double()), "images must be float32 in [0, 1], got torch.float64"),
    ],
)
def test_messages(call, message, device):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(torch.rand(2, 3, 8, 8).to(device))
    assert message in str(caught.value)

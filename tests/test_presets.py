"""Marginals of the presets against the published numbers, written down here once more and independently."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, uniform

import pydegrade

COUNT = 6000


def shares(labels, expected):
    """Counts within 4.5 standard errors of the published probabilities."""
    labels = np.array(labels)
    assert set(labels) <= set(expected)
    for name, p in expected.items():
        assert abs((labels == name).sum() - len(labels) * p) < 4.5 * np.sqrt(len(labels) * p * (1 - p)) + 1e-9, name


def is_uniform(values, low, high):
    assert len(values) > 50
    assert kstest(values, uniform(low, high - low).cdf).pvalue > 1e-4


def kept(tasks, name):
    return tasks.column(name)[tasks.mask(name)].astype(float)


def check_resize(tasks, slot, up, down, keep, low, high):
    factor = tasks.column(f"{slot}.resize_factor").astype(float)
    n = len(factor)
    for p, count in ((up, (factor > 1).sum()), (down, (factor < 1).sum()), (keep, (factor == 1).sum())):
        assert abs(count - n * p) < 4.5 * np.sqrt(n * p * (1 - p))
    is_uniform(factor[factor > 1], 1, high)
    is_uniform(factor[factor < 1], low, 1)


def check_noise(tasks, slot, sigma, gain):
    shares(tasks.labels(f"{slot}.kind"), {"gaussian": 0.5, "poisson": 0.5})
    is_uniform(kept(tasks, f"{slot}.sigma_8bit"), 1, sigma)
    is_uniform(kept(tasks, f"{slot}.poisson_gain"), 0.05, gain)
    shares(tasks.labels(f"{slot}.gray"), {"0": 0.6, "1": 0.4})


THIRDS = {"torch_area": 1 / 3, "torch_bilinear": 1 / 3, "torch_bicubic": 1 / 3}
FAMILIES = {
    "iso": 0.405,
    "aniso": 0.225,
    "generalized_iso": 0.108,
    "generalized_aniso": 0.027,
    "plateau_iso": 0.108,
    "plateau_aniso": 0.027,
    "sinc": 0.1,
}


@pytest.mark.parametrize("name", ["realesrgan-x4", "realesrgan-x2", "realesrgan-x4-diffjpeg"])
def test_realesrgan(name):
    tasks = pydegrade.sample(name, 1, range(COUNT))
    shares(tasks.labels("blur1.shape"), FAMILIES)
    shares(tasks.labels("blur2.shape"), {"delta": 0.2, **{family: 0.8 * p for family, p in FAMILIES.items()}})
    for slot, sigma in (("blur1", 3.0), ("blur2", 1.5)):
        is_uniform(kept(tasks, f"{slot}.sigma_x_px"), 0.2, sigma)
        is_uniform(kept(tasks, f"{slot}.sigma_y_px"), 0.2, sigma)
        is_uniform(kept(tasks, f"{slot}.angle_rad"), -np.pi, np.pi)
        shape = np.array(tasks.labels(f"{slot}.shape"))
        size, cutoff = tasks.column(f"{slot}.size_px"), tasks.column(f"{slot}.cutoff_rad")
        shares(tasks.take(shape != "delta").labels(f"{slot}.size_px"), {str(k): 1 / 8 for k in range(7, 22, 2)})
        is_uniform(cutoff[(shape == "sinc") & (size < 13)].astype(float), np.pi / 3, np.pi)
        is_uniform(cutoff[(shape == "sinc") & (size >= 13)].astype(float), np.pi / 5, np.pi)
        beta = tasks.column(f"{slot}.beta").astype(float)
        generalized = beta[np.char.startswith(shape.astype(str), "generalized")]
        assert abs((generalized < 1).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(len(generalized))
        is_uniform(generalized[generalized > 1], 1, 4)
        plateau = beta[np.char.startswith(shape.astype(str), "plateau")]
        assert abs((plateau == 1).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(len(plateau))
        is_uniform(plateau[plateau > 1], 1, 2)
    check_resize(tasks, "resize1", 0.2, 0.7, 0.1, 0.15, 1.5)
    check_resize(tasks, "resize2", 0.3, 0.4, 0.3, 0.3, 1.2)
    check_noise(tasks, "noise1", 30, 3)
    check_noise(tasks, "noise2", 25, 2.5)
    shares(tasks.labels("resize3.mode"), THIRDS)
    shares(tasks.labels("resize2.mode"), THIRDS)
    shares(tasks.labels("sinc.shape"), {"delta": 0.2, "sinc": 0.8})
    is_uniform(kept(tasks, "sinc.cutoff_rad"), np.pi / 3, np.pi)
    for slot in ("jpeg1", "jpeg2"):
        quality = tasks.column(f"{slot}.quality").astype(float)
        if name.endswith("diffjpeg"):
            is_uniform(quality, 30, 95)
        else:
            assert (quality == np.rint(quality)).all()
            # Rounding a uniform number: the ends get half a share.
            counts = np.bincount(quality.astype(int), minlength=96)[30:96]
            expected = COUNT / 65 * np.array([0.5] + [1.0] * 64 + [0.5])
            assert ((counts - expected) ** 2 / expected).sum() < 65 + 4.5 * np.sqrt(130)
    assert tasks.space.target == "usm"
    assert tasks.space.hr_px == 400


@pytest.mark.parametrize(
    ("level", "sigma", "resize", "noise", "quality"),
    [
        ("weak", 0.8, (0.1, 0.2, 0.7, 0.85, 1.2), (10, 0.5), 90),
        ("standard", 1.5, (0.3, 0.4, 0.3, 0.5, 1.2), (20, 1.5), 50),
        ("severe", 3.0, (0.2, 0.7, 0.1, 0.15, 1.5), (30, 3.0), 30),
    ],
)
def test_dasr(level, sigma, resize, noise, quality):
    tasks = pydegrade.sample(f"dasr-{level}", 2, range(COUNT))
    shares(tasks.labels("blur1.shape"), {"iso": 0.65, "aniso": 0.35})
    shares(tasks.labels("blur1.size_px"), {str(k): 1 / 7 for k in range(9, 22, 2)})
    is_uniform(kept(tasks, "blur1.sigma_x_px"), 0.2, sigma)
    check_resize(tasks, "resize1", *resize)
    check_noise(tasks, "noise1", *noise)
    assert (tasks.column("jpeg1.quality").min(), tasks.column("jpeg1.quality").max()) == (quality, 95)
    if level == "severe":
        shares(tasks.labels("blur2.shape"), {"delta": 0.2, "iso": 0.52, "aniso": 0.28})
        check_resize(tasks, "resize2", 0.3, 0.4, 0.3, 0.3, 1.2)
        check_noise(tasks, "noise2", 25, 2.5)


def test_bsrgan():
    tasks = pydegrade.sample("bsrgan-x4", 3, range(COUNT))
    half = tasks.column("down1.resize_factor") == 0.5
    assert abs(half.mean() - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / COUNT)
    modes = tasks.take(half).labels("down1.mode")
    shares(modes, {"matlab_bicubic": 0.5, "cv2_linear": 1 / 6, "cv2_cubic": 1 / 6, "cv2_area": 1 / 6})
    for rows, variance, sigma, limit, divisor, shift in ((~half, 8, 2.8, 2.4, 8, 1.5), (half, 6, 2.4, 1.2, 4, 0.5)):
        part = tasks.take(rows)
        for slot in ("blur1", "blur2"):
            shape = np.array(part.labels(f"{slot}.shape"))
            shares(shape, {"iso": 0.5, "aniso": 0.5})
            is_uniform(part.column(f"{slot}.sigma_x_px")[shape == "iso"].astype(float), 0, sigma)
            is_uniform(part.column(f"{slot}.sigma_x_px")[shape == "aniso"].astype(float) ** 2, 0, variance)
            is_uniform(part.column(f"{slot}.sigma_y_px")[shape == "aniso"].astype(float) ** 2, 0, variance)
            shares(part.labels(f"{slot}.size_px"), {str(k): 0.1 for k in range(7, 26, 2)})
        gauss = np.array(part.labels("down2_blur.shape")) == "iso"
        assert abs(gauss.mean() - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / len(part))
        is_uniform(part.column("down2_blur.sigma_x_px")[gauss].astype(float), 0.1, limit)
        assert (part.column("down2_blur.shift_px")[gauss] == shift).all()
        assert set(np.array(part.labels("down2.mode"))[gauss]) == {"decimate"}
        is_uniform(1 / part.column("down2.resize_factor")[~gauss].astype(float), 1, divisor)
    kinds = np.array(tasks.labels("noise1.kind"))
    shares(kinds, {"gaussian": 0.8, "correlated": 0.2})
    shares(tasks.take(kinds == "gaussian").labels("noise1.gray"), {"0": 0.5, "1": 0.5})
    shares(tasks.labels("jpeg1.mode"), {"off": 0.1, "libjpeg": 0.9})
    shares(tasks.labels("jpeg2.quality"), {str(q): 1 / 66 for q in range(30, 96)})
    # The covariance against a direct draw from NumPy's SVD: means of its entries.
    generator = np.random.default_rng(0)
    entries = []
    for _ in range(4000):
        basis = np.linalg.svd(generator.uniform(size=(3, 3)))[0]
        entries.append(np.abs(625 * basis.T @ np.diag(generator.uniform(size=3)) @ basis))
    direct = np.array(entries)
    for name, i, j in (("rr", 0, 0), ("rg", 0, 1), ("rb", 0, 2), ("gg", 1, 1), ("gb", 1, 2), ("bb", 2, 2)):
        values = tasks.column(f"noise1.cov_{name}_8bit2")[kinds == "correlated"].astype(float)
        error = np.hypot(values.std() / np.sqrt(len(values)), direct[:, i, j].std() / np.sqrt(4000))
        assert abs(values.mean() - direct[:, i, j].mean()) < 4.5 * error, name

"""Marginals of the presets against the published numbers, written down here once more and independently."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest, uniform

import pydegrade
from pydegrade.tasks.space import preset_names

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


@pytest.mark.slow
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


# ---- Presets of other projects, against the numbers of their option files.
#
# A row of a table is a column: (low, high, mean, share of the tasks in which it has an effect), or for names their shares.

N = 4000


def uniform_row(low, high, share=1.0):
    return low, high, (low + high) / 2, share


def up_down_keep(up, down, keep, low, high, unit=1.0):
    """resize_factor: U(1, high) with probability `up`, U(low, 1) with `down`, 1 with `keep`; in parts of `unit`."""
    return low * unit, high * unit, (up * (1 + high) / 2 + down * (low + 1) / 2 + keep) * unit, 1.0


def kernels(slot, share, sigma, sizes, betag=4.0, betap=2.0):
    """A blur by random_mixed_kernels, else sinc with probability 0.1; `share` of the tasks have it."""
    low, high = sizes
    small = np.mean([size < 13 for size in range(low, high + 1, 2)])
    gaussians, angled = 0.9 * share, 0.9 * share * (0.25 + 0.03 + 0.03)
    # Half of the draws below 1, half above; a lower plateau is 1 exactly.
    beta = (0.15 * (0.75 + (1 + betag) / 2) / 2 + 0.15 * (1 + (1 + betap) / 2) / 2) / 0.3
    return {
        f"{slot}.shape": {"delta": 1 - share, **{name: share * p for name, p in FAMILIES.items()}},
        f"{slot}.size_px": (low, high, (low + high) / 2, share),
        f"{slot}.sigma_x_px": uniform_row(0.2, sigma, gaussians),
        f"{slot}.sigma_y_px": uniform_row(0.2, sigma, angled),
        f"{slot}.angle_rad": uniform_row(-np.pi, np.pi, angled),
        f"{slot}.beta": (0.5, betag, beta, gaussians * 0.3),
        f"{slot}.cutoff_rad": (
            np.pi / 5 if small < 1 else np.pi / 3,
            np.pi,
            np.pi * (small * 2 / 3 + (1 - small) * 0.6),
            0.1 * share,
        ),
    }


def noises(slot, sigma, gain, share=1.0):
    return {
        f"{slot}.kind": {"off": 1 - share, "gaussian": share / 2, "poisson": share / 2},
        f"{slot}.sigma_8bit": uniform_row(1, sigma, share / 2),
        f"{slot}.poisson_gain": uniform_row(0.05, gain, share / 2),
        f"{slot}.gray": (0, 1, 0.4, share),
    }


def two_rounds(
    sigmas, betas, resize1, resize2, noise1, noise2, jpegs, blur2, unit=1.0, sizes=((7, 21),) * 3, on=1.0, all_on=1.0
):
    """Real-ESRGAN's options. `unit`: the LR size in parts of the space's; `on`: share of the tasks with a second round."""
    return {
        **kernels("blur1", all_on, sigmas[0], sizes[0], *betas),
        "resize1.resize_factor": up_down_keep(0.2, 0.7, 0.1, *resize1),
        **noises("noise1", *noise1, all_on),
        "jpeg1.quality": uniform_row(*jpegs[0], all_on),
        **kernels("blur2", blur2 * on * all_on, sigmas[1], sizes[1], *betas),
        "resize2.resize_factor": up_down_keep(0.3, 0.4, 0.3, *resize2, unit),
        **noises("noise2", *noise2, on * all_on),
        "resize3.mode": THIRDS,
        "sinc.shape": {"delta": 1 - 0.8 * all_on, "sinc": 0.8 * all_on},
        "sinc.cutoff_rad": uniform_row(np.pi / 3, np.pi, 0.8 * all_on),
        "sinc.size_px": (*sizes[2], sum(sizes[2]) / 2, 0.8 * all_on),
        "jpeg2.quality": uniform_row(*jpegs[1], all_on),
    }


FULL = {
    "sigmas": (3.0, 1.5), "betas": (4.0, 2.0), "resize1": (0.15, 1.5), "resize2": (0.3, 1.2), "noise1": (30, 3.0),
    "noise2": (25, 2.5), "jpegs": ((30, 95), (30, 95)), "blur2": 0.8,
}  # fmt: skip
LIGHT = {
    "sigmas": (3.0, 1.5), "betas": (4.0, 2.0), "resize1": (0.3, 1.5), "resize2": (0.6, 1.2), "noise1": (15, 2.0),
    "noise2": (12, 1.0), "jpegs": ((60, 95), (60, 100)), "blur2": 0.5,
}  # fmt: skip
STABLESR = {**LIGHT, "sigmas": (1.5, 1.0), "betas": (2.0, 1.5)}


def face(sigma, divisor, noise, quality):
    """GFPGAN's options: blur_sigma, downsample_range, noise_range, jpeg_range, whose qualities lose their fraction."""
    low, high = divisor
    return {
        "blur1.shape": {"iso": 0.5, "aniso": 0.5},
        "blur1.size_px": (41, 41, 41, 1.0),
        "blur1.sigma_x_px": uniform_row(*sigma),
        "blur1.sigma_y_px": uniform_row(*sigma, 0.5),
        "down.resize_factor": (1 / high, 1 / low, np.log(high / low) / (high - low), 1.0),
        "noise1.sigma_8bit": uniform_row(0, noise),
        "jpeg1.quality": uniform_row(quality[0], quality[1] - 1),
    }


def plus_round(n):
    """A round of degradation_bsrgan_plus at x4."""
    return {
        f"blur{n}.shape": {"iso": 0.5, "aniso": 0.5},
        f"blur{n}.size_px": (7, 25, 16, 1.0),
        f"blur{n}.sigma_y_px": (0, np.sqrt(8), np.sqrt(8) * 2 / 3, 0.5),
        f"resize{n}.resize_factor": up_down_keep(0.2, 0.7, 0.1, 0.125, 2.0),
        f"noise{n}.kind": {"gaussian": 0.8, "correlated": 0.2},
        f"noise{n}.sigma_8bit": (2, 25, 13.5, 0.8),
        f"noise{n}.gray": (0, 1, 0.5, 0.8),
        # vals = 10^U(2, 4) photons.
        f"poisson{n}.shot_gain": (1e-4, 1e-2, (1e-2 - 1e-4) / np.log(100), 0.1),
        f"speckle{n}.sigma_8bit": (2, 25, 13.5, 0.1),
        f"jpeg{n}.quality": (30, 95, 62.5, 1.0),
    }


def clip_round(n, sigma, resize, noise, gain, share=1.0):
    """A round of mmagic's RealBasicVSR, first frames: beta is uniform, photons are counted in 0..255."""
    root = np.sqrt(255)
    families = {family: share * p for family, p in FAMILIES.items()}
    generalized = 0.135 * share
    plateau = 0.135 * share
    return {
        f"blur{n}.shape": {"delta": 1 - share, **families} if share < 1 else families,
        f"blur{n}.size_px": (7, 21, 14, share),
        f"blur{n}.sigma_x_px": uniform_row(0.2, sigma, 0.9 * share),
        # One half in [0.5, 4], the other in [1, 2].
        f"blur{n}.beta": (0.5, 4.0, (2.25 + 1.5) / 2, generalized + plateau),
        f"resize{n}.resize_factor": up_down_keep(*resize),
        f"noise{n}.kind": {"gaussian": 0.5, "poisson": 0.5},
        f"noise{n}.sigma_8bit": uniform_row(1, noise, 0.5),
        f"noise{n}.poisson_gain": uniform_row(0.05 / root, gain / root, 0.5),
        f"noise{n}.gray": (0, 1, 0.4, 1.0),
        f"jpeg{n}.quality": uniform_row(30, 95),
        f"video{n}.codec": {"h264": 2 / 3, "mpeg4": 1 / 3},
        f"video{n}.bits_per_frame": uniform_row(1e4, 1e5),
    }


CLIPS = {
    **clip_round(1, 3.0, (0.2, 0.7, 0.1, 0.15, 1.5), 30, 3.0),
    **clip_round(2, 1.5, (0.3, 0.4, 0.3, 0.3, 1.2), 25, 2.5, 0.8),
    "resize3.mode": dict.fromkeys(("cv2_linear", "cv2_area", "cv2_cubic"), 1 / 3),
    "sinc.shape": {"delta": 0.2, "sinc": 0.8},
    "sinc.cutoff_rad": uniform_row(np.pi / 3, np.pi, 0.8),
}

PUBLISHED = {
    "realbasicvsr-x4": CLIPS,
    "dove": {**CLIPS, "back.mode": {"torch_bilinear": 1.0}},
    "animesr-x4": {
        "blur1.shape": {"iso": 0.7, "aniso": 0.3},
        "blur1.sigma_x_px": uniform_row(0.2, 4),
        "blur1.sigma_y_px": uniform_row(0.8, 3, 0.3),
        "noise1.sigma_8bit": uniform_row(0, 10),
        "noise1.gray": (0, 1, 0.5, 1.0),
        "down1.mode": {"cv2_area": 0.3, "cv2_linear": 0.3, "cv2_cubic": 0.4},
        "video1.crf": (18, 35, 26.5, 1.0),
        "video1.profile": {"baseline": 0.1, "main": 0.2, "high": 0.7},
    },
    "osediff": {**two_rounds(**FULL, unit=0.25), "back.mode": THIRDS},
    "hypir": {**two_rounds(**FULL, unit=0.25), "back.mode": {"torch_bicubic": 1.0}},
    "diffbir-v2": {**two_rounds(**FULL, unit=0.25), "back.mode": {"torch_bicubic": 1.0}},
    "realesrgan-light-x4": two_rounds(**LIGHT),
    "stablesr-x4": two_rounds(**STABLESR),
    "s3diff": {**two_rounds(**STABLESR, unit=0.25, all_on=0.99), "degraded.on": (0, 1, 0.99, 1.0)},
    "resshift-x4": {
        **two_rounds(**FULL, sizes=((3, 19), (3, 13), (3, 13)), on=0.5),
        "second.on": (0, 1, 0.5, 1.0),
    },
    "redux-otf": {
        "resize1.resize_factor": up_down_keep(0.2, 0.7, 0.1, 0.4, 1.5),
        "jpeg1.quality": uniform_row(75, 95),
        "resize2.resize_factor": up_down_keep(0.3, 0.4, 0.3, 0.6, 1.2),
        "resize2.rule": {"input": 0.3, "final": 0.7},
        "resize3.mode": dict.fromkeys(
            ("torch_bilinear_aa", "torch_bicubic_aa", "torch_nearest_exact", "lanczos3"), 0.25
        ),
        "jpeg2.quality": uniform_row(75, 95),
    },
    "gfpgan": {
        **face((0.1, 10), (0.8, 8), 20, (60, 100)),
        "shifted.on": (0, 1, 0.3, 1.0),
        "shift.offset_g_8bit": uniform_row(-20, 20, 0.3),
        "gray.gray": (0, 1, 0.01, 1.0),
        "jittered.on": (0, 1, 0.3, 1.0),
        "jitter.brightness": uniform_row(0.5, 1.5, 0.3),
        "jitter.contrast": uniform_row(0.5, 1.5, 0.3),
        "jitter.saturation": uniform_row(0, 1.5, 0.3),
        "jitter.hue_turns": uniform_row(-0.1, 0.1, 0.3),
    },
    "codeformer-small": face((0.1, 10), (1, 12), 15, (60, 100)),
    "codeformer-large": face((1, 15), (4, 30), 20, (30, 80)),
    "diffbir-face": face((0.1, 12), (1, 12), 15, (30, 100)),
    "difface": face((0.1, 15), (0.8, 32), 20, (30, 100)),
    "osediff-face": face((1, 15), (1, 30), 20, (30, 100)),
    "bsrgan-plus-ordered-x4": plus_round(1) | plus_round(2),
    "bsrgan-plus-shuffled-x4": plus_round(1) | plus_round(2),
    "cdd11": {
        "low.gamma": uniform_row(2, 3, 4 / 7),
        "noise1.sigma_8bit": uniform_row(0.03 * 255, 0.08 * 255, 4 / 7),
        "haze1.beta": uniform_row(0.35, 0.7, 4 / 7),
        "haze1.airlight": uniform_row(0.6, 0.9, 4 / 7),
        "rain1.length_px": uniform_row(9, 60, 4 / 7),
    },
    "bsraw": {
        "blur1.shape": {"delta": 0.5, "aniso": 0.5},
        "blur1.size_px": (5, 11, 8, 0.5),
        "blur1.sigma_x_px": (0.05, 4.05, 2.05, 0.5),
        "blur1.sigma_y_px": (0.05, 4.05, 2.05, 0.5),
        "down1.mode": {"torch_area": 1.0},
        # The mean of a log-uniform number is (high - low) / ln(high / low).
        "natural.shot_gain": (1e-4, 1e-3, 9e-4 / np.log(10), 0.5),
        "even.shot_gain": (9.25e-4, 9.25e-4, 9.25e-4, 0.5),
        "even.sigma_8bit": (1.5511, 1.5511, 1.5511, 0.5),
    },
    "apisr-anime-x4": {
        **kernels("blur1", 1.0, 3.0, (7, 21)),
        "resize1.resize_factor": up_down_keep(0.2, 0.7, 0.1, 0.1, 1.2),
        **noises("noise1", 30, 3.0),
        "jpeg1.quality": uniform_row(20, 95, 0.4),
        "webp1.quality": uniform_row(20, 95, 0.6),
        "webp1.method": (0, 6, 3, 0.6),
        **kernels("blur2", 0.8, 1.5, (7, 21)),
        "resize2.resize_factor": up_down_keep(0.2, 0.7, 0.1, 0.15, 1.2),
        **noises("noise2", 25, 2.5),
        "resize3.mode": THIRDS,
        "jpeg2.quality": uniform_row(20, 95, 0.06),
        "webp2.quality": uniform_row(20, 95, 0.1),
        "avif2.quality": uniform_row(20, 95, 0.1),
        "video2.codec": {"off": 0.26, "mpeg2": 0.12, "mpeg4": 0.12, "h264": 0.3, "h265": 0.2},
        "video2.qscale": uniform_row(8, 31, 0.24),
        # h264 23 to 38, h265 28 to 42.
        "video2.crf": (23, 42, (0.3 * 30.5 + 0.2 * 35) / 0.5, 0.5),
        # Of these two alone; the others have the neutral one, medium.
        "video2.preset": {"slow": 0.025, "medium": 0.675, "fast": 0.15, "faster": 0.1, "superfast": 0.05},
    },
    "old-video": {
        "blur1.sigma_x_px": uniform_row(0.4, 1.6),
        "fewer.resize_factor": uniform_row(0.75, 1),
        "tape.weave": (0, 1, 0.3, 1.0),
        "tape.comb_px": (-1.5, 1.5, 0, 1.0),
        "tape.chroma_delay_px": (-3, 3, 0, 1.0),
        "tape.ghost_px": uniform_row(3, 24, 0.4),
        "chroma1.subsampling": {"off": 0.4, "420": 0.3, "411": 0.3},
        "noise1.kind": {"off": 0.2, "luma": 0.4, "chroma": 0.4},
        "noise1.sigma_8bit": uniform_row(1, 12, 0.8),
        "codec.codec": {"h264": 0.6, "mpeg2": 0.25, "mpeg4": 0.15},
        "codec.crf": (23, 33, 28, 0.6),
        "codec.qscale": (3, 12, 7.5, 0.4),
    },
    "game-texture": {"bits.levels": (8, 256, 62.8, 1.0), "jpeg1.quality": uniform_row(60, 95, 0.3)},
    "digital-art": {
        "halftone.inks": {"off": 0.8, "gray": 0.05, "rgb": 0.05, "cmyk": 0.1},
        "halftone.cell_px": uniform_row(2, 4, 0.2),
        "webp1.quality": uniform_row(20, 95, 0.45),
        "webp1.method": (0, 6, 3, 0.45),
        "jpeg1.quality": uniform_row(30, 95, 0.4),
    },
}
SCALES = {"old-video": 2, "bsraw": 2, "x4": 4, "game-texture": 4, "digital-art": 4, "redux-otf": 4}
TARGETS = {"hypir": "usm", "diffbir-v2": "usm", "stablesr-x4": "usm", "realbasicvsr-x4": "usm"}

# Longest steps from frame to frame: sigma, rotate_angle, beta_gaussian, beta_plateau, omega, resize, gaussian_sigma,
# poisson_scale and quality of mmagic's options; and of AnimeSR every frame by itself.
STEPS = {
    "realbasicvsr-x4": {
        **{f"blur{n}.{column}": step for n in (1, 2) for column, step in
           (("sigma_x_px", 0.02), ("sigma_y_px", 0.02), ("angle_rad", 0.31416), ("cutoff_rad", 0.0628))},
        "blur1.beta": 0.1, "blur2.beta": 0.1, "sinc.cutoff_rad": 0.0628,
        "resize1.resize_factor": 0.015, "resize2.resize_factor": 0.03,
        "noise1.sigma_8bit": 0.1, "noise2.sigma_8bit": 0.1,
        "noise1.poisson_gain": 0.005 / 255**0.5, "noise2.poisson_gain": 0.005 / 255**0.5,
        "jpeg1.quality": 3, "jpeg2.quality": 3,
    },
    "dove": {"jpeg1.quality": 3, "jpeg2.quality": 3},
    "animesr-x4": {"noise1.sigma_8bit": 10, "noise1.gray": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_clips_walk_by_the_published_steps(name):
    """These columns, by steps uniform up to the longest where no end is near; no other column walks."""
    tasks = pydegrade.sample(name, 6, range(400), frames=4)
    support = {}
    walking = set()
    for column in tasks.columns:
        values = tasks.column(column).reshape(400, 4).astype(float)
        # A resize that keeps the size has no mode.
        acts = tasks.mask(column).reshape(400, 4)
        moved = np.abs(np.diff(values))[acts[:, 1:] & acts[:, :-1]]
        support[column] = (moved.max(initial=0.0), moved.mean() if len(moved) else 0.0)
        if support[column][0] > 0:
            walking.add(column)
    assert walking == set(STEPS[name])
    for column, step in STEPS[name].items():
        longest, mean = support[column]
        assert longest <= step * 1.001 + 1e-6
        assert longest >= 0.97 * step
        if name == "realbasicvsr-x4" and not column.endswith((".beta", ".quality", ".resize_factor")):
            assert abs(mean - step / 2) < 0.06 * step, column


@pytest.mark.parametrize("name", PUBLISHED)
def test_support_and_moments(name):
    tasks = pydegrade.sample(name, 6, range(N))
    for column, row in PUBLISHED[name].items():
        slot = column.partition(".")[0]
        present = np.ones(N, bool) if slot in tasks.space.gate_names else tasks.present(slot)
        if isinstance(row, dict):
            shares((tasks.take(present) if column.endswith(".mode") else tasks).labels(column), row)
            continue
        low, high, mean, share = row
        # A resize that keeps the size has no effect and is a draw all the same.
        drawn = present if column.endswith(".resize_factor") else tasks.mask(column)
        values = tasks.column(column)[drawn].astype(float)
        if not column.endswith(".resize_factor"):
            assert abs(drawn.mean() - share) <= 4.5 * np.sqrt(share * (1 - share) / N), column
        rounding = 1e-6 * max(abs(low), abs(high))
        assert low - rounding <= values.min(), column
        assert values.max() <= high + rounding, column
        # Thousands of draws come near both ends.
        assert max(values.min() - low, high - values.max()) <= 0.05 * (high - low) + rounding, column
        assert abs(values.mean() - mean) <= 4.5 * values.std() / np.sqrt(len(values)) + rounding, column
    space = tasks.space
    assert space.scale == (4 if name.endswith("-x4") else SCALES.get(name, 1))
    assert space.target == TARGETS.get(name, "hr")


def test_noise_of_bsraw_is_that_of_its_authors_code():
    """real_noise_levels of imresutils/noise.py, drawn beside it: log10 of both variances, and their line."""
    tasks = pydegrade.sample("bsraw", 6, range(N))
    natural = tasks.mask("natural.shot_gain")
    assert (natural ^ tasks.mask("even.shot_gain")).all()
    shot = np.log10(tasks.column("natural.shot_gain")[natural].astype(float))
    read = np.log10((tasks.column("natural.sigma_8bit")[natural].astype(float) / 255) ** 2)
    generator = np.random.default_rng(0)
    drawn = generator.uniform(-4, -3, N)
    line = 1.34 * drawn + 0.22 + generator.normal(0, 0.1, N)
    for ours, theirs in ((shot, drawn), (read, line), (read - 1.34 * shot, line - 1.34 * drawn)):
        assert ks_2samp(ours, theirs).pvalue > 1e-4
    assert np.abs(read - 1.34 * shot - 0.22).max() <= 0.4 + 1e-6


def test_combinations_of_cdd11():
    """Seven, each as often; the light falls first, the air lies over all."""
    tasks = pydegrade.sample("cdd11", 6, range(N))
    combinations = [",".join(order) for order in tasks.orders()]
    shares(
        combinations,
        dict.fromkeys(
            ("low,noise1", "rain1", "haze1", "low,noise1,rain1", "low,noise1,haze1", "rain1,haze1",
             "low,noise1,rain1,haze1"),
            1 / 7,
        ),
    )  # fmt: skip


def test_resizes_of_apisr_stand_at_random_places():
    orders = pydegrade.sample("apisr-anime-x4", 6, range(N)).orders()
    for resize, blur, noise in (("resize1", "blur1", "noise1"), ("resize2", "blur2", "noise2")):
        places = [
            (order.index(resize) > order.index(blur)) + (order.index(resize) > order.index(noise)) for order in orders
        ]
        shares(list(map(str, places)), {"0": 1 / 3, "1": 1 / 3, "2": 1 / 3})
    assert len(set(map(tuple, orders))) == 9


def test_bsrgan_plus_is_shuffled_in_half_of_the_tasks():
    tasks = pydegrade.sample("bsrgan-plus-x4", 6, range(N))
    assert abs((tasks.component == 1).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(N)
    # Not shuffled, the kinds of noise of a round still change places.
    ordered = tasks.take(tasks.component == 0).orders()
    assert len(set(ordered)) == 36
    places = (2, 3, 4, 8, 9, 10)
    assert len({tuple(name for at, name in enumerate(order) if at not in places) for order in ordered}) == 1
    assert {name[:-1] for order in ordered for name in order[2:5]} == {"noise", "poisson", "speckle"}
    shuffled = tasks.take(tasks.component == 1)
    assert len(set(map(tuple, shuffled.program.tolist()))) > 0.95 * len(shuffled)
    names = [slot.name for slot in tasks.space.slots]
    assert all([names[slot] for slot in row if slot >= 0][-2:] == ["resize3", "jpeg2"] for row in tasks.program)


def test_every_preset_is_in_a_family_and_says_what_it_is():
    spaces = [pydegrade.Space.load(name) for name in preset_names()]
    assert all(space.family and space.summary for space in spaces)
    assert len({space.summary for space in spaces}) == len(spaces)
    tested = {*PUBLISHED, "bsrgan-plus-x4"}
    before = ("bicubic", "bsrgan-x4", "dasr", "ipt", "mzsr", "realesrgan-x")
    assert {space.name for space in spaces if not space.name.startswith(before)} == tested

"""PSNR and SSIM: the formulas written out, MATLAB's luma, the literature's bicubic rows, layouts, messages."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import pydegrade
from pydegrade.images.metrics import Protocol, Score, bicubic_scores, mean_score, psnr, rgb_to_y, ssim

SET5 = ("baby", "bird", "butterfly", "head", "woman")


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def pair(height: int = 40, width: int = 37) -> tuple[np.ndarray, np.ndarray]:
    """A photograph and the same with noise, uint8."""
    clean = data.astronaut()[100 : 100 + height, 150 : 150 + width]
    noise = np.random.default_rng(0).normal(0, 9, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8), clean


def luma(levels: np.ndarray) -> np.ndarray:
    return 16 + levels.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """The formula, window by window, with a two-dimensional window."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            numerator = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            values.append(numerator / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(values))


# ---- Formulas


def test_psnr_is_the_formula() -> None:
    ours, theirs = pair()
    for border in (0, 3):
        inside = slice(border, 40 - border), slice(border, 37 - border)
        x, y = ours[inside], theirs[inside]
        compared = {
            "rgb-uint8": (x.astype(float), y.astype(float)),
            "y-uint8": (np.floor(luma(x) + 0.5), np.floor(luma(y) + 0.5)),
            "y-double": (luma(x), luma(y)),
            "y-unrounded": (luma(x), luma(y)),
        }
        for name, (a, b) in compared.items():
            score = psnr(ours, theirs, f"{name}-border{border}")
            # Sums of about 4000 doubles in another order.
            assert score.value == pytest.approx(10 * math.log10(255**2 / np.mean((a - b) ** 2)), abs=1e-10)
            assert score.protocol == f"psnr-{name}-border{border}"


def test_ssim_is_the_formula() -> None:
    for height, width in ((11, 11), (12, 30), (87, 23)):
        ours, theirs = pair(height, width)
        # Variances as differences of squares lose about 255^2 / 58 units of 2^-53.
        expected = slow_ssim(np.floor(luma(ours) + 0.5), np.floor(luma(theirs) + 0.5))
        assert ssim(ours, theirs).value == pytest.approx(expected, abs=1e-11)
        channels = [slow_ssim(ours[..., c].astype(float), theirs[..., c].astype(float)) for c in range(3)]
        assert ssim(ours, theirs, "rgb-uint8-border0").value == pytest.approx(np.mean(channels), abs=1e-11)


def test_ssim_agrees_with_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    ours, theirs = (rgb_to_y(image) for image in pair(90, 70))
    _, full = structural_similarity(
        ours, theirs, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    # The same map inside; skimage itself truncates the window at 3.5 sigma = 5 px too.
    assert ssim(ours, theirs).value == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


def test_equal_images() -> None:
    image = pair()[1]
    assert psnr(image, image).value == math.inf
    assert ssim(image, image).value == pytest.approx(1, abs=1e-15)


def test_luma_rounds_exactly() -> None:
    steps = np.arange(256, dtype=np.int64)
    triples = np.stack(np.meshgrid(steps[::5], steps[::3], steps[::3], indexing="ij"), -1).reshape(-1, 3)
    # One of the 194 colours whose luma lies exactly between two levels, where products of doubles may fall short.
    triples = np.concatenate([triples, [[2, 44, 141]]])
    assert (triples[-1] @ np.array([65481, 128553, 24966])) % 255000 == 127500
    numerator = triples @ np.array([65481, 128553, 24966])
    expected = 16 + (numerator // 255000) + (numerator % 255000 >= 127500)
    np.testing.assert_array_equal(rgb_to_y(triples.astype(np.uint8)[None])[0], expected)


# ---- MATLAB and the literature


def test_luma_equals_matlab(shared: Path) -> None:
    arrays = np.load(shared / "golden" / "matlab_ycbcr_bicubic.npz", allow_pickle=False)
    for name in ("butterfly_x4", "head_x3"):
        image, expected = arrays[f"{name}__im_gt"], arrays[f"{name}__im_gt_y_crop"]
        ours = luma(image)
        # MATLAB's double rgb2ycbcr, up to the order of three products. The window is somewhere in the image.
        height, width = expected.shape
        corners = np.argwhere(np.abs(ours - expected[0, 0]) < 1e-13)
        windows = [ours[top : top + height, left : left + width] for top, left in corners.tolist()]
        assert any(window.shape == expected.shape and np.abs(window - expected).max() < 1e-13 for window in windows)
        # The protocol's luma is the function above: comparing with a shifted copy gives the shift.
        scores = psnr(image, image[:, ::-1], "y-double-border0")
        assert scores.value == pytest.approx(10 * math.log10(255**2 / np.mean((ours - ours[:, ::-1]) ** 2)), abs=1e-10)


LITERATURE = {
    ("y-double", 2): (33.66, 0.9299),
    ("y-double", 3): (30.39, 0.8682),
    ("y-double", 4): (28.42, 0.8104),
    ("rgb-uint8", 2): (33.64, 0.9292),
    ("rgb-uint8", 3): (30.39, 0.8678),
    ("rgb-uint8", 4): (28.42, 0.8101),
}


@pytest.mark.parametrize(("path", "scale"), LITERATURE)
def test_bicubic_rows_of_the_literature(shared: Path, path: str, scale: int) -> None:
    """Set5 rows of SRCNN, VDSR and their successors, to every digit that is printed."""
    images = [read(shared / "golden" / "set5" / "HR" / f"{name}.png") for name in SET5]
    scores = [bicubic_scores(image, scale, path) for image in images]  # type: ignore[arg-type]
    psnrs, ssims = (mean_score([score[k] for score in scores]) for k in range(2))
    expected_psnr, expected_ssim = LITERATURE[path, scale]
    assert round(psnrs.value, 2) == expected_psnr
    assert round(ssims.value, 4) == expected_ssim
    assert psnrs.protocol == f"psnr-y-uint8-border{scale}-bicubic-{path}"
    assert ssims.protocol == f"ssim-y-uint8-border{scale}-bicubic-{path}"
    assert len(psnrs.values) == 5


# ---- Layouts and dtypes


def test_layouts_and_dtypes_agree() -> None:
    ours, theirs = pair()
    expected = psnr(ours, theirs).value, ssim(ours, theirs).value
    tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in (ours, theirs)]
    floats = [image.float() / 255 for image in tensors]
    for x, y in (tensors, floats, [floats[0].double(), tensors[1]], [tensor[None] for tensor in tensors]):
        assert (psnr(x, y).value, ssim(x, y).value) == expected
    batch = psnr(torch.stack([tensors[0], tensors[1]]), torch.stack([tensors[1], tensors[1].flip(0)]))
    assert batch.values == (expected[0], psnr(tensors[1], tensors[1].flip(0)).value)
    assert batch.value == np.mean(batch.values)
    # Gray: the plane itself.
    gray = [rgb_to_y(image) for image in (ours, theirs)]
    assert psnr(*gray).value == expected[0]
    assert psnr(gray[0][..., None], gray[1][..., None]).value == expected[0]
    readonly = ours[::-1].copy()
    readonly.setflags(write=False)
    assert psnr(readonly[::-1], theirs).value == expected[0]


def test_floats_are_rounded_like_files_or_not_at_all() -> None:
    reference = np.full((12, 12), 0.5)
    reference[0, 0] = 1.7
    image = np.full((12, 12), 0.4999)
    # 127.4745 -> 127 and 127.5 -> 128, away from zero; 1.7 is cut to 1.
    rounded = np.full((12, 12), 1.0)
    rounded[0, 0] = 128.0
    assert psnr(image, reference).value == pytest.approx(10 * math.log10(255**2 / np.mean(rounded**2)), abs=1e-10)
    plain = np.mean((255 * (image - reference)) ** 2)
    score = psnr(image, reference, Protocol("y", 0, "unrounded"))
    assert score.value == pytest.approx(10 * math.log10(255**2 / plain), abs=1e-10)


def test_names() -> None:
    for protocol in (Protocol(), Protocol("rgb", 4), Protocol("y", 12, "double"), Protocol("y", 0, "unrounded")):
        assert Protocol.parse(str(protocol)) == protocol
    assert str(Protocol("y", 4)) == "y-uint8-border4"
    image = pair()[1]
    assert psnr(image, image, "rgb-uint8-border2") == Score(math.inf, "psnr-rgb-uint8-border2", (math.inf,))
    assert str(Score(28.4207, "psnr-y-uint8-border4", (28.4207,))) == "28.42 dB psnr-y-uint8-border4"
    assert str(Score(0.81037, "ssim-y-uint8-border4", (0.81037,))) == "0.8104 ssim-y-uint8-border4"
    assert pydegrade.psnr is psnr
    assert pydegrade.ssim is ssim


# ---- Messages

GRAY = np.zeros((12, 12), np.uint8)
PLANES = torch.zeros(3, 12, 12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: psnr([[1]], GRAY), TypeError, "psnr: image must be an array or a tensor, got list"),
        (
            lambda: psnr(GRAY, GRAY.astype(int)),
            TypeError,
            "psnr: reference must be uint8, float32 or float64, got int64",
        ),
        (
            lambda: psnr(GRAY, torch.zeros(12, 12)),
            TypeError,
            "psnr: image and reference must both be arrays or both be tensors, got ndarray and Tensor",
        ),
        (
            lambda: psnr(GRAY, GRAY[:5]),
            ValueError,
            "psnr: image and reference must have the same shape, got [12, 12] and [5, 12]",
        ),
        (
            lambda: psnr(PLANES[:2], PLANES[:2]),
            ValueError,
            "psnr: image must be [H, W], [C, H, W] or [N, C, H, W] with C 1 or 3 and no empty side, "
            "got shape [2, 12, 12]",
        ),
        (
            lambda: psnr(GRAY[0], GRAY[0]),
            ValueError,
            "psnr: image must be [H, W] or [H, W, C] with C 1 or 3 and no empty side, got shape [12]",
        ),
        (
            lambda: psnr(GRAY, GRAY, Protocol("y", 6)),
            ValueError,
            "psnr: sides must be larger than twice the border 6, got 12 x 12",
        ),
        (
            lambda: ssim(GRAY, GRAY, Protocol("y", 1)),
            ValueError,
            "ssim: sides must be at least 11 px inside the border, got 10 x 10",
        ),
        (
            lambda: psnr(PLANES * math.nan, PLANES),
            ValueError,
            "psnr: images must be finite, got NaN or infinity",
        ),
        (
            lambda: psnr(PLANES + 255.0, PLANES + 255.0),
            ValueError,
            "psnr: floats must lie in [0, 1], got a reference from 255 to 255; divide by 255",
        ),
        (lambda: Protocol("l"), ValueError, "Protocol: channel must be 'y', 'rgb' or 'gray', got 'l'"),  # type: ignore[arg-type]
        (lambda: Protocol("y", -1), ValueError, "Protocol: border must be a whole number of px >= 0, got -1"),
        (
            lambda: Protocol("y", 0, "float"),  # type: ignore[arg-type]
            ValueError,
            "Protocol: precision must be 'uint8', 'double' or 'unrounded', got 'float'",
        ),
        (
            lambda: Protocol("rgb", 0, "double"),
            ValueError,
            "Protocol: precision must be 'uint8' or 'unrounded' for channel 'rgb', got 'double'",
        ),
        (
            lambda: psnr(GRAY, GRAY, "y-border4"),
            ValueError,
            "Protocol: name must be like 'y-uint8-border4' or 'rgb-uint8-border0', got 'y-border4'",
        ),
        (
            lambda: mean_score([psnr(GRAY, GRAY), psnr(GRAY, GRAY, Protocol("y", 1))]),
            ValueError,
            "mean_score: scores must be of one protocol, got psnr-y-uint8-border0 and psnr-y-uint8-border1",
        ),
        (lambda: mean_score([]), ValueError, "mean_score: scores must be of one protocol, got no scores"),
        (
            lambda: bicubic_scores(GRAY, 0),
            ValueError,
            "bicubic_scores: scale must be a whole number >= 1, got 0",
        ),
        (
            lambda: bicubic_scores(GRAY, 13),
            ValueError,
            "bicubic_scores: sides of hr must be at least 13 px, got 12 x 12",
        ),
        (
            lambda: bicubic_scores(GRAY.astype(float), 2),
            ValueError,
            "bicubic_scores: hr must be uint8 [H, W] or [H, W, 3], got float64 [12, 12]",
        ),
        (
            lambda: bicubic_scores(GRAY, 2, "rgb"),  # type: ignore[arg-type]
            ValueError,
            "bicubic_scores: path must be 'y-double' or 'rgb-uint8', got 'rgb'",
        ),
    ],
)
def test_messages(call, error, message) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message

"""Facts of files and statistics of pixels: what is known of an image must be found in it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pydegrade
from pydegrade.errors import ImageError
from pydegrade.files.dataset import photographs_folder
from pydegrade.files.pixels import to_float, to_uint8
from pydegrade.files.read import read_image
from pydegrade.fitting import facts, statistics
from pydegrade.fitting.estimate import edge_sigma_px, estimate_photograph
from pydegrade.shell.images import Item, each
from pydegrade.shell.progress import Progress

from .programs import degrade_in as degrade


def value(square: np.ndarray, name: str) -> float:
    return float(statistics.statistics(square[None])[0, statistics.NAMES.index(name)])


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    """A photograph, 128 x 128 px, without compression of its own."""
    found = pydegrade.imresize(read_image(photographs_folder() / "astronaut.png"), scale=0.5)
    return np.ascontiguousarray(found[32:160, 64:192])


def saved(pixels: np.ndarray, path: Path, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


# ---- files


def test_every_quality_of_libjpeg_is_told_from_its_tables(square, tmp_path):
    for quality in (1, 24, 49, 75, 100):
        made = estimate_photograph(saved(square[:32, :32], tmp_path / "a.jpg", quality=quality, subsampling="4:2:2"))
        assert (made.jpeg_quality, made.like_jpeg_quality, made.subsampling) == (quality, None, "422")


@pytest.mark.parametrize("factors", ["4:4:4", "4:2:2", "4:2:0"])
def test_subsampling_and_camera_are_told(square, tmp_path, factors):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "One \x1b[31m"
    path = saved(square[:32, :32], tmp_path / "a.jpg", quality=80, subsampling=factors, exif=exif)
    made = estimate_photograph(path)
    assert (made.subsampling, made.camera) == (factors.replace(":", ""), "Maker One \\x1b[31m")
    assert estimate_photograph(saved(square[:32, :32, 0], tmp_path / "gray.jpg")).subsampling == "gray"


def test_other_tables_are_called_so(square, tmp_path):
    table = [min(255, 3 + 2 * place) for place in range(64)]
    made = estimate_photograph(saved(square[:32, :32], tmp_path / "a.jpg", qtables=[table, table]))
    assert made.jpeg_quality is None
    assert 50 < made.like_jpeg_quality < 90
    assert "not a libjpeg table" in made.line


def test_a_table_that_is_missing_or_cut_off_is_said(square, tmp_path):
    whole = saved(square[:32, :32], tmp_path / "a.jpg", quality=80).read_bytes()
    at = whole.index(b"\xff\xdb")
    length = int.from_bytes(whole[at + 2 : at + 4], "big")
    for damaged in (
        whole[:at] + whole[at + 2 + length :],
        whole[:at] + b"\xff\xdb\0\x05\0\1\1" + whole[at + 2 + length :],
    ):
        (tmp_path / "a.jpg").write_bytes(damaged)
        with pytest.raises(ImageError, match=r"a\.jpg: corrupt or truncated"):
            estimate_photograph(tmp_path / "a.jpg")


def test_tables_are_those_that_the_package_compresses_with(square):
    """A coefficient of a decoded image is a multiple of the step that `facts` says."""
    done = pydegrade.ops.jpeg(to_float(square)[None], quality=30.0, mode="libjpeg")[0]
    assert value(to_uint8(done), "jpeg_quality") == 30
    assert facts.libjpeg_tables()[49, 0, :2].tolist() == [16, 11]


# ---- statistics


def test_a_square_does_not_depend_on_the_others(square):
    squares = np.stack([square, square[::-1], 255 - square])
    together = statistics.statistics(squares)
    assert together.dtype == np.float32
    assert together.shape == (3, len(statistics.NAMES))
    assert np.array_equal(together[1:2], statistics.statistics(squares[1:2]))
    for flat in (np.zeros_like(square), np.full_like(square, 255), np.full_like(square[:32, :32], 7)):
        assert np.isfinite(statistics.statistics(flat[None])).all()
    assert all(all(statistics.describe(name)) for name in statistics.NAMES)


@pytest.mark.parametrize("shape", [(1, 128, 128, 4), (1, 16, 16, 3), (1, 40, 40, 3), (1, 64, 48, 3), (64, 64, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="statistics: "):
        statistics.statistics(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("sigma", [2.0, 10.0])
def test_white_noise_is_measured(sigma):
    noise = np.random.default_rng(0).normal(128, sigma, (128, 128, 3))
    pixels = noise.round().clip(0, 255).astype(np.uint8)
    # 128 x 128 / 4 values give a standard deviation to 1 %, the median to twice that; rounding adds a variance of 1/12.
    assert np.exp(value(pixels, "noise_mad_r")) - 0.05 == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.06)
    # Quiet blocks are those where channels happen to cancel, hence below zero.
    assert -0.3 < value(pixels, "noise_corr_rg") < 0.1
    # What a 3 x 3 mean leaves of white noise has the correlations of its filter, 1 in the middle less 1/9 everywhere:
    # (2 (8/9) (-1/9) + 4/81) / ((8/9)^2 + 8/81) = -1/6 one px away. Quiet blocks are a choice, so only roughly.
    assert value(pixels, "grain_01") == pytest.approx(-1 / 6, abs=0.1)


@pytest.mark.parametrize("sigma_px", [0.6, 1.0, 1.8])
def test_the_width_of_a_blurred_step_is_measured(sigma_px):
    x = np.arange(128) - 60.0
    from math import erf

    step = np.array([40 + 160 * (1 + erf(at / (sigma_px * 2**0.5))) / 2 for at in x])
    pixels = np.repeat(np.tile(step.round().astype(np.uint8), (128, 1))[..., None], 3, axis=2)
    both = np.maximum(pixels, pixels.transpose(1, 0, 2))  # an edge along x, and one along y
    assert edge_sigma_px(value(both, "edge_1")) == pytest.approx(
        sigma_px, abs=0.15
    )  # lies on whole pixels, and in 8 bits


@pytest.mark.parametrize("quality", [15, 50, 90])
def test_an_earlier_jpeg_is_found_by_its_steps(square, tmp_path, quality):
    stream = io.BytesIO()
    Image.fromarray(square).save(stream, "JPEG", quality=quality)
    decoded = np.array(Image.open(stream))
    made = estimate_photograph(saved(decoded, tmp_path / "a.png"))
    assert (made.format, made.pixels_jpeg_quality) == ("PNG", quality)
    assert estimate_photograph(saved(square, tmp_path / "b.png")).pixels_jpeg_quality is None
    if quality == 15:
        moved = estimate_photograph(saved(np.ascontiguousarray(decoded[3:, 5:]), tmp_path / "c.png"))
        assert (moved.pixels_jpeg_quality, moved.grid_phase) == (None, (3, 5))


def test_an_enlargement_is_found(square, tmp_path):
    large = pydegrade.imresize(square, scale=1.5)
    assert estimate_photograph(saved(large, tmp_path / "a.png")).resampled_period_px == pytest.approx(3, rel=0.05)
    assert estimate_photograph(saved(square, tmp_path / "b.png")).resampled_period_px is None


# ---- degrade estimate


def test_estimate_gives_a_line_for_each_photograph_and_names_what_is_broken(square, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    saved(square, folder / "good.jpg", quality=71)
    saved(square, folder / "fine.png")
    whole = {name: (folder / name).read_bytes() for name in ("good.jpg", "fine.png")}
    saved(square[:20, :20], folder / "small.png")
    saved(square, folder / "moves.gif", save_all=True, append_images=[Image.fromarray(255 - square)])
    broken = {
        "empty.png": b"",
        "text.jpg": b"no image",
        "cut.png": whole["fine.png"][:2000],
        "cut.jpg": whole["good.jpg"][:300],
        "head.jpg": whole["good.jpg"][:4],
        "zeros.png": whole["fine.png"][:60] + bytes(500),
        "other.webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20),
        "table.jpg": whole["good.jpg"].replace(b"\xff\xdb", b"\xff\xfe"),
    }
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    code, out, err = degrade(capsys, "estimate", folder, "--json", tmp_path / "found.json")
    assert code == 2
    assert [line.partition(": ")[0].rpartition("/")[2] for line in out.splitlines()[:-1]] == ["fine.png", "good.jpg"]
    assert "JPEG 71 420" in out
    for name in (*broken, "small.png", "moves.gif"):
        assert err.count(f"{name}: ") == 1, name
    assert "10 of 12 images skipped" in err
    found = json.loads((tmp_path / "found.json").read_text())
    assert [entry["jpeg_quality"] for entry in found.values()] == [None, 71]


def test_a_reader_of_stdout_that_is_gone_is_no_fault_of_images(tmp_path):
    def gone(item: Item) -> list[str]:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        each([Item("a", tmp_path / "a.png")], gone, Progress(1))

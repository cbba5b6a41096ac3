"""HR crops by index: pure in (seed, index), inside their image, uniform, and honest about files that cannot serve."""

from __future__ import annotations

import os
import re
from pathlib import Path

import lmdb
import numpy as np
import pytest

from pydegrade.errors import ImageError
from pydegrade.files.dataset import PHOTOGRAPHS, CropReader, draw_crops, find_images
from pydegrade.files.lmdb_reader import LmdbReader
from pydegrade.files.read import read_image
from pydegrade.files.write import write_image


def draw_image(path: Path, height: int, width: int) -> np.ndarray:
    """Every pixel differs: red and green count columns and rows."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x % 256, y % 256, (x // 256) * 16 + y // 256], axis=2).astype(np.uint8)
    write_image(path, pixels)
    return pixels


@pytest.fixture
def folder(tmp_path):
    for name, height, width in [("img2.png", 40, 60), ("img10.png", 33, 32), ("sub/c.png", 64, 48)]:
        draw_image(tmp_path / name, height, width)
    return tmp_path


def test_images_in_natural_order_with_sizes(folder):
    images = find_images([folder], side_px=32)
    assert [(image.name, image.height, image.width) for image in images.images] == [
        ("img2.png", 40, 60),
        ("img10.png", 33, 32),
        ("sub/c.png", 64, 48),
    ]
    assert images.excluded == ()


def test_unusable_files_are_left_out_and_named(folder):
    draw_image(folder / "small.png", 31, 200)
    (folder / "text.png").write_text("no image")
    images = find_images([folder], side_px=32)
    assert len(images.images) == 3
    assert images.excluded == (
        f"{folder / 'small.png'}: 200 x 31 px, smaller than the crop of 32 px",
        f"{folder / 'text.png'}: must be an image file, got something else than PNG, JPEG, TIFF, PNM, WebP, BMP, GIF, "
        "AVIF, JPEG 2000, NumPy, TGA",
    )
    with pytest.raises(ImageError, match=r"no usable image among 5: .*smaller than the crop of 100 px \(and 4 more\)"):
        find_images([folder], side_px=100)


def test_digest_changes_with_the_list_and_not_with_its_place(folder, tmp_path_factory):
    before = find_images([folder], side_px=32).digest
    assert before == find_images([folder], side_px=32).digest
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name, height, width in [("img2.png", 40, 60), ("img10.png", 33, 32), ("sub/c.png", 64, 48)]:
        draw_image(elsewhere / name, height, width)
    assert find_images([elsewhere], side_px=32).digest == before
    draw_image(folder / "another.png", 32, 32)
    assert find_images([folder], side_px=32).digest != before


def test_meta_info_chooses_files_and_cannot_leave_the_folder(folder):
    listing = folder / "meta_info.txt"
    listing.write_text("sub/c.png (64,48,3)\nimg2.png\n\n")
    names = [image.name for image in find_images([folder], side_px=8, meta_info=listing).images]
    assert names == ["sub/c.png", "img2.png"]
    for name in ("../secret.png", "/etc/hostname", "sub/../../x.png"):
        listing.write_text(f"img2.png\n{name} (1,1,3)\n")
        with pytest.raises(ImageError, match=re.escape(f"file names must stay inside the folder, got {name!r}")):
            find_images([folder], meta_info=listing)
    listing.write_text("\n")
    with pytest.raises(ImageError, match="must list at least one file, got none"):
        find_images([folder], meta_info=listing)


def test_several_files_and_missing_sources(folder):
    images = find_images([folder / "img10.png", folder / "img2.png"], side_px=8)
    assert [Path(image.name).name for image in images.images] == ["img10.png", "img2.png"]
    images = find_images([folder, folder / "img2.png"], side_px=8)
    assert [image.name for image in images.images][-2:] == [f"{folder.name}/sub/c.png", "img2.png"]
    with pytest.raises(ImageError, match="must be a folder with images, got nothing"):
        find_images([folder / "absent"])


def test_photographs_of_scikit_image_need_no_download():
    images = find_images(side_px=288)
    assert tuple(image.name for image in images.images) == PHOTOGRAPHS
    assert images.excluded == ()


def test_crops_are_pure_in_seed_and_index(folder):
    images = find_images([folder], side_px=24)
    whole = draw_crops(images, 5, range(500), 24)
    some = draw_crops(images, 5, [499, 3, 3, 77], 24)
    for name in ("index", "image", "top", "left", "hflip", "vflip", "transpose"):
        assert np.array_equal(getattr(some, name), getattr(whole, name)[[499, 3, 3, 77]])
    other = draw_crops(images, 6, range(500), 24)
    assert not np.array_equal(other.top, whole.top)
    with pytest.raises(ImageError, match=r"^draw_crops: augment must be one of none, hflip, dihedral, got 'rot'$"):
        draw_crops(images, 6, range(5), 24, "rot")  # type: ignore[arg-type]


def test_crops_on_a_grid(folder):
    images = find_images([folder], side_px=24)
    crops = draw_crops(images, 0, range(2000), 24, step_px=4)
    assert not (crops.top % 4).any()
    assert not (crops.left % 4).any()
    sides = images.sides_px[crops.image]
    for position in range(3):
        chosen = crops.image == position
        # Every place of the grid is reached: 2000 draws over at most 11 x 10 places.
        assert set(crops.top[chosen].tolist()) == set(range(0, sides[chosen][0, 0] - 23, 4))
        assert set(crops.left[chosen].tolist()) == set(range(0, sides[chosen][0, 1] - 23, 4))
    small = crops.shrunk(4)
    assert np.array_equal(4 * small.top, crops.top)
    assert small.side_px == 6


def test_crops_reach_every_position_and_never_leave_the_image(folder):
    images = find_images([folder], side_px=30)
    crops = draw_crops(images, 0, range(20000), 30)
    heights = np.array([image.height for image in images.images])[crops.image]
    widths = np.array([image.width for image in images.images])[crops.image]
    assert crops.top.min() == 0
    assert crops.left.min() == 0
    # The largest legal position is reached in each image: 20000 draws over at most 35 x 31 positions.
    for position in range(3):
        chosen = crops.image == position
        assert crops.top[chosen].max() == heights[chosen][0] - 30
        assert crops.left[chosen].max() == widths[chosen][0] - 30
    # Shares of images and flips: 5 standard deviations of a binomial over 20000 draws are 1.7 and 1.8 %.
    assert np.abs(np.bincount(crops.image) / 20000 - 1 / 3).max() < 0.017
    assert abs(crops.hflip.mean() - 0.5) < 0.018
    # Positions and flips are drawn independently: their correlation is within 5 / sqrt(20000).
    assert abs(np.corrcoef(crops.top / (heights - 29), crops.hflip)[0, 1]) < 0.036


def test_reader_cuts_what_the_crop_says(folder):
    images = find_images([folder], side_px=16)
    crops = draw_crops(images, 1, range(40), 16)
    reader = CropReader(images)
    assert crops.hflip.any()
    for row in range(40):
        image = read_image(images.images[crops.image[row]].path)
        expected = np.empty((16, 16, 3), np.uint8)
        for y in range(16):
            for x in range(16):
                in_x = 15 - x if crops.hflip[row] else x
                expected[y, x] = image[crops.top[row] + y, crops.left[row] + in_x]
        assert np.array_equal(reader.read(crops, row), expected)


def test_reader_stays_within_its_budget(folder):
    images = find_images([folder], side_px=16)
    crops = draw_crops(images, 1, range(40), 16)
    generous, tight = CropReader(images), CropReader(images, budget_bytes=64 * 48 * 3)
    for row in range(40):
        assert np.array_equal(tight.read(crops, row), generous.read(crops, row))
        assert sum(pixels.nbytes for pixels in tight._decoded.values()) <= 64 * 48 * 3
        assert sum(pixels.nbytes for pixels in tight._decoded.values()) == tight._bytes


def test_reader_notices_a_changed_file_and_reports_conversions(folder):
    gray_alpha = np.zeros((40, 40, 4), np.uint8)
    from PIL import Image

    Image.fromarray(gray_alpha).save(folder / "a.png")
    images = find_images([folder], side_px=16)
    crops = draw_crops(images, 1, range(60), 16)
    reader = CropReader(images)
    draw_image(folder / "img2.png", 50, 70)
    position = [image.name for image in images.images].index("img2.png")
    with pytest.raises(ImageError, match=r"img2.png: changed since its header was read"):
        reader.read(crops, int(np.nonzero(crops.image == position)[0][0]))
    reader.read(crops, int(np.nonzero(crops.image == 0)[0][0]))
    assert reader.notes == {f"{folder / 'a.png'}: alpha channel dropped"}


# ---- LMDB, walked page by page


def written_lmdb(path: Path, values: dict[bytes, bytes]) -> Path:
    """By the lmdb package, small values in the leaves and large ones on pages of their own."""
    with lmdb.open(str(path), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    return path


@pytest.mark.parametrize("count", [0, 1, 30, 3000])
def test_every_entry_of_an_lmdb_is_found(tmp_path, count):
    draw = np.random.default_rng(count)
    values = {f"{number:06d}".encode(): draw.bytes(int(draw.integers(0, 9000))) for number in range(count)}
    values |= {b"bad\xff": b"x", b"k" * 500: b"long"} if count else {}
    reader = LmdbReader(written_lmdb(tmp_path / "x.lmdb", values))
    assert len(reader) == len(values)
    assert [os.fsencode(key) for key in reader.keys] == sorted(values)
    assert all(reader.read(os.fsdecode(key)) == value for key, value in values.items())
    # Entries that were removed and written again, in other places.
    if count:
        gone = dict.fromkeys(list(values)[::2], b"anew" * 2000)
        reader = LmdbReader(written_lmdb(tmp_path / "x.lmdb", gone))
        assert all(reader.read(os.fsdecode(key)) == value for key, value in {**values, **gone}.items())


@pytest.mark.slow
def test_a_damaged_lmdb_is_one_line_or_reads_what_it_says(tmp_path):
    """Hundreds of damaged files: no crash, no loop, no error of another kind, no memory beyond the file's size."""
    draw = np.random.default_rng(0)
    values = {f"{number:05d}".encode(): draw.bytes(int(draw.integers(1, 6000))) for number in range(150)}
    path = written_lmdb(tmp_path / "x.lmdb", values)
    content = (path / "data.mdb").read_bytes()
    heads = [page * 4096 + at for page in range(len(content) // 4096) for at in range(0, 128)]
    for _ in range(800):
        damaged = bytearray(content)
        for _ in range(int(draw.integers(1, 5))):
            at = heads[int(draw.integers(len(heads)))]
            damaged[at] = int(draw.integers(256))
        if draw.random() < 0.1:
            del damaged[int(draw.integers(len(damaged))) :]
        (path / "data.mdb").write_bytes(damaged)
        try:
            reader = LmdbReader(path)
            sizes = [len(reader.read(key)) for key in reader.keys]
        except ImageError as error:
            assert str(error).startswith(f"{path}/data.mdb: ")  # noqa: PT017
            continue
        assert max(sizes, default=0) <= len(content)


@pytest.mark.parametrize(
    "line",
    ["a.png (" + "9" * 31 + ",3,3) 1", "a.png (1,2,3", "(1,2,3)", "a.png (²,2,3)", "a.png (-1,2,3)", "\0"],
)
def test_sizes_that_cannot_be_are_one_line(tmp_path, line):
    path = written_lmdb(tmp_path / "x.lmdb", {b"a": b"x"})
    (path / "meta_info.txt").write_bytes(b"\xef\xbb\xbf" + line.encode())
    with pytest.raises(ImageError, match=r"meta_info\.txt:1: must be like"):
        find_images([path])
    (path / "meta_info.txt").write_bytes(b"\xef\xbb\xbfa.png (3,4,3) 1\r\n")
    (image,) = find_images([path]).images
    assert (image.name, image.height, image.width) == ("a.png", 3, 4)

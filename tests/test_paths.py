"""Names of files as bytes: one corpus of names for listing, naming of results, showing, tables; only regular files."""

from __future__ import annotations

import os
import socket
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from pydegrade.errors import ImageError
from pydegrade.files import paths
from pydegrade.files.dataset import HrImages, find_images
from pydegrade.files.formats.table import OTHER_ENDINGS, READABLE_ENDINGS
from pydegrade.files.paths import csv_cell, display_name, list_images, natural_key, open_regular, unique_names
from pydegrade.files.read import read_image, read_picture
from pydegrade.files.write import encode_png

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
NAMES = [
    b"plain.png",
    b"x5\xc2\xb25.png",  # superscript two, a digit that is no decimal one
    b"\xe2\x91\xa05.png",  # circled one
    b"\xd9\xa3.png",  # an Arabic digit
    b"bad\xff.png",  # no UTF-8
    b"\xed\xb3\xbf.png",  # a surrogate in UTF-8
    b"a" * 251 + b".png",
    "文".encode() * 83 + b"ab.png",
    b"\x1b[31mred\x1b[0m.png",
    b"two\nlines.png",
    b"tab\t.png",
    "left\u202eright.png".encode(),
    b"=HYPERLINK(1).png",
    b"-1+2.png",
    b"with space .png",
    b"100%s{0}.png",
    b"quote'\".png",
    b"back\\slash.png",
    b"#comment.png",
    b"9" * 200 + b".png",
    b"0" * 100 + b"1.png",
    b"dots...png",
    b"UPPER.PNG",
]


@pytest.fixture
def corpus(tmp_path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in NAMES:
        with open(os.path.join(os.fsencode(folder), name), "wb") as stream:
            stream.write(encode_png(PIXELS))
    return folder


def test_every_name_is_listed_read_and_used(corpus):
    listed = list_images(corpus)
    assert sorted(os.fsencode(path.name) for path in listed.paths) == sorted(NAMES)
    assert listed.left_out == ()
    for path in listed.paths:
        assert np.array_equal(read_image(path), PIXELS)
    images = find_images([corpus])
    assert len(images.images) == len(NAMES)
    assert images.digest == find_images([corpus]).digest


def test_every_name_is_shown_on_one_line_of_plain_text(corpus):
    for path in list_images(corpus).paths:
        shown = display_name(path)
        shown.encode("utf-8")
        assert shown.isprintable()
        assert display_name(shown) == shown
    assert display_name("bad\udcff \x1b[0m \u202e \n") == "bad\\xff \\x1b[0m \\u202e \\n"
    assert display_name("plain ² é 文.png") == "plain ² é 文.png"


def test_errors_show_names_as_text(tmp_path):
    name = os.fsdecode(b"\x1b[31m\xff.png")
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(ImageError) as caught:
        read_picture(tmp_path / name)
    assert str(caught.value).isprintable()
    assert "\\x1b[31m\\xff.png: must be an image file" in str(caught.value)


def test_results_of_every_name_are_different_and_can_be_written(corpus, tmp_path):
    relatives = [PurePosixPath(path.name) for path in list_images(corpus).paths]
    names = unique_names(relatives)
    assert len(set(names)) == len(names)
    for name in names:
        for behind in (".png", "_target.png", "x4_suffix.png"):
            (tmp_path / (name + behind)).write_bytes(b"")
            (tmp_path / (name + behind)).unlink()
    assert names[relatives.index(PurePosixPath("plain.png"))] == "plain"


@pytest.mark.parametrize(
    ("images", "results"),
    [
        (["x.jpg", "x.png"], ["x.jpg", "x"]),
        (["x.jpg", "x.bmp"], ["x.jpg", "x.bmp"]),
        (["x.jpg", "y.jpg"], ["x", "y"]),
        (["s/x.jpg", "x.jpg"], ["s/x", "x"]),
        (["x.jpg", "x.png", "x.jpg.tif"], ["x.jpg", "x", "x.jpg.tif"]),
        (["x.png", "x.PNG"], ["x.png", "x.PNG"]),
        (["a.b.png", "a.png"], ["a.b", "a"]),
    ],
)
def test_images_of_one_name_keep_their_endings(images, results):
    assert unique_names([PurePosixPath(image) for image in images]) == results


def test_cells_of_tables_are_no_formulas():
    for text in ("=1+1", "+cmd|' /C calc'!A0", "-1+2", "@SUM(A1)", "=HYPERLINK(1)"):
        assert csv_cell(text) == "'" + text
    for text in ("-1.5", "+3", "-1e-05", "0.1", "plain", "", "a=b", "-inf"):
        assert csv_cell(text) == text
    assert csv_cell("\x1b]0;x\x07.png") == "\\x1b]0;x\\x07.png"


def test_natural_order_of_any_digits():
    names = ["x10", "x9", "x²5", "x" + "9" * 5000, "x0009", "①", "x٣"]
    ordered = sorted(names, key=natural_key)
    assert ordered.index("x9") < ordered.index("x10") < ordered.index("x" + "9" * 5000)
    assert ordered.index("x0009") < ordered.index("x10")


def test_endings_are_those_of_the_reader(tmp_path):
    assert {".avif", ".gif", ".jfif", ".jpe", ".tga", ".jp2", ".png", ".tif", ".npy", ".pbm"} <= READABLE_ENDINGS
    assert not READABLE_ENDINGS & OTHER_ENDINGS
    for ending in READABLE_ENDINGS | OTHER_ENDINGS | {".txt", ""}:
        (tmp_path / f"a{ending}").write_bytes(b"x")
    listed = list_images(tmp_path)
    assert {path.suffix for path in listed.paths} == READABLE_ENDINGS
    assert len(listed.left_out) == len(OTHER_ENDINGS)
    assert f"{tmp_path}/a.heic: images of this format are not read" in listed.left_out


# ---- what is no regular file, and what cannot be opened


def test_pipes_devices_sockets_folders_and_links_to_nothing_are_named(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(encode_png(PIXELS))
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "folder.png" / "inside.png").write_bytes(encode_png(PIXELS))
    (folder / "nothing.png").symlink_to(folder / "absent.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    (folder / "linked.png").symlink_to(folder / "good.png")
    (folder / "linked_folder").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # names of sockets must be short
        listening.bind("socket.png")
        os.chdir(here)
        images = find_images([folder])
    assert sorted(image.name for image in images.images) == ["folder.png/inside.png", "good.png", "linked.png"]
    excluded = "\n".join(images.excluded)
    assert len(images.excluded) == 6
    for line in (
        "pipe.png: must be a file, got a pipe",
        "zero.png: must be a file, got a device",
        "socket.png: must be a file, got a socket",
        "nothing.png: No such file or directory",
        "circle.png: Too many levels of symbolic links",
        "linked_folder: a link to a folder is not followed; name the folder itself",
    ):
        assert line in excluded
    with pytest.raises(ImageError, match="must be a file, got a folder"):
        open_regular(folder / "folder.png")


def test_a_folder_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    """By a replaced scandir, since tests may run as root, who can open anything."""
    for name in ("a/one.png", "closed/two.png", "b/three.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode_png(PIXELS))
    real = os.scandir

    def scandir(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(paths.os, "scandir", scandir)
    images = find_images([tmp_path])
    assert [image.name for image in images.images] == ["a/one.png", "b/three.png"]
    assert images.excluded == (f"{tmp_path}/closed: Permission denied; its images are left out",)


def test_no_more_file_handles_is_no_word_about_images(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encode_png(PIXELS))

    def full(*arguments, **keywords):
        raise OSError(24, "Too many open files")

    for name in ("scandir", "open"):
        monkeypatch.setattr(paths.os, name, full)
        with pytest.raises(OSError, match="Too many open files") as caught:
            list_images(tmp_path) if name == "scandir" else find_images([tmp_path])
        assert not isinstance(caught.value, ImageError)
        monkeypatch.undo()


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    from pydegrade.files.read import open_image

    path = tmp_path / "a.png"
    path.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)))
    with open_image(path) as file:
        os.truncate(path, 50000)
        with pytest.raises(ImageError, match=r"a\.png: changed while it was read"):
            file.decode()


def test_lists_of_files_take_any_bytes(tmp_path, corpus):
    for content in (
        b"\xef\xbb\xbfplain.png\r\nbad\xff.png\r\n",
        b"plain.png (9,12,3)\nbad\xff.png (9,12,3)\n",
        b"plain.png, x.png\nbad\xff.png, y.png\n",
    ):
        (tmp_path / "list.txt").write_bytes(content)
        images = find_images([corpus], meta_info=tmp_path / "list.txt")
        assert [os.fsencode(image.name) for image in images.images] == [b"plain.png", b"bad\xff.png"]
    (tmp_path / "list.txt").write_bytes(b"with space .png (9,12,3) 1\n")
    assert len(find_images([corpus], meta_info=tmp_path / "list.txt").images) == 1
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(ImageError, match=r"pipe\.txt: must be a file, got a pipe"):
        find_images([corpus], meta_info=tmp_path / "pipe.txt")


def test_digest_of_plain_names_has_not_changed():
    from pydegrade.files.dataset import HrImage

    images = HrImages("", (HrImage("a.png", Path("a.png"), 3, 4, 99), HrImage("b/ü.png", Path("x"), 5, 6, 7)), ())
    assert images.digest == "72f99bcdcde9af2e"


def test_a_read_of_any_size_takes_no_more_memory_than_the_file(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100000))
    with open_regular(tmp_path / "a") as stream:
        stream.seek(7)
        assert len(stream.read(2**62)) == 99993
        assert stream.read(2**62) == b""
        stream.seek(2**40)
        assert stream.read(2**62) == b""

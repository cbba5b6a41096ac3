"""Tars in webdataset's layout and Parquet as Hugging Face stores images: packed, read again by samples and training."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pydegrade
from pydegrade.errors import ImageError
from pydegrade.files import find_images
from pydegrade.files.containers import open_container
from pydegrade.files.dataset import decode
from pytrain.data.source import DataConfig, open_source

from .programs import Result, degrade_in, quietly
from .test_cards import SPACE

TASKS = 5


@pytest.fixture
def degrade(capsys) -> Callable[..., Result]:
    return partial(degrade_in, capsys)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """run/, its tars/ of three samples, and its parquet/ where pyarrow is."""
    folder = tmp_path_factory.mktemp("containers")
    (folder / "hr").mkdir()
    (folder / "ours.toml").write_text(SPACE)
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 30 + seed, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "hr" / f"{seed}.png")
    quietly("sample", "--tasks", TASKS, "--space", folder / "ours.toml", "--hr", folder / "hr", "--hr-size", 16,
            "--out", folder / "run")  # fmt: skip
    quietly("pack", folder / "run", folder / "tars", "--samples", 3)
    return folder


@pytest.fixture(scope="module")
def parquet(made) -> Path:
    pytest.importorskip("pyarrow")
    quietly("pack", made / "run", made / "parquet", "--samples", 3, "--format", "parquet")
    return made / "parquet"


def pixels_of(source: Path) -> dict[str, np.ndarray]:
    """Last part of an image's name, without ending -> pixels."""
    found = find_images([source])
    assert not found.excluded
    return {Path(image.name).stem: decode(image).array for image in found.images}


@pytest.mark.parametrize("kind", ["hr", "lr"])
def test_tars_hold_the_images_of_the_run(made, kind):
    wanted = pixels_of(made / "run" / kind)
    found = pixels_of(made / "tars" / kind)
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    # One file alone, named with or without what is in it.
    some = find_images([made / "tars" / "pairs-000001.tar" / kind])
    assert [image.name for image in some.images] == ["00000003.png", "00000004.png"]


@pytest.mark.parametrize("kind", ["hr", "lr"])
def test_parquet_holds_the_images_of_the_run(made, parquet, kind):
    wanted, found = pixels_of(made / "run" / kind), pixels_of(parquet / kind)
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_parquet_says_what_datasets_reads(made, parquet):
    import pyarrow.parquet as pq

    table = pq.read_table(parquet / "pairs-000000.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["hr"] == features["lr"] == {"_type": "Image"}
    assert features.keys() == set(table.column_names)
    first = table.slice(0, 1).to_pylist()[0]
    assert first["lr"] == {"bytes": (made / "run" / "lr" / "00000000.png").read_bytes(), "path": "00000000.lr.png"}
    assert json.loads(first["task"])["address"] == first["address"]
    # A second start keeps it, one that was cut is made anew to the same bytes.
    whole = (parquet / "pairs-000001.parquet").read_bytes()
    (parquet / "pairs-000001.parquet").write_bytes(whole[:-9])
    quietly("pack", made / "run", parquet, "--samples", 3, "--format", "parquet")
    assert (parquet / "pairs-000001.parquet").read_bytes() == whole


@pytest.mark.parametrize("form", ["tars", "parquet"])
def test_training_reads_packed_pairs_as_it_reads_folders(made, form, request):
    if form == "parquet":
        request.getfixturevalue("parquet")
    batches = []
    for folder in (made / "run", made / form):
        config = DataConfig(hr=(str(folder / "hr"),), lr=str(folder / "lr"), crop_px=8, batch=4)
        source = open_source(config, ("hr", "lr"), 2, 0)
        batches.append([image.name.rpartition("/")[2] for image in source.images["hr"].images])
    assert batches[0] == batches[1]


def test_pair_dataset_reads_packed_images(made):
    of_tars = pydegrade.PairDataset(made / "ours.toml", made / "tars" / "hr", crop_px=8, augment="none")
    of_files = pydegrade.PairDataset(made / "ours.toml", made / "run" / "hr", crop_px=8, augment="none")
    for one, other in zip(of_tars.batch(np.arange(4)).values(), of_files.batch(np.arange(4)).values()):
        assert one.equal(other)


def test_degrade_sample_takes_crops_from_tars(made, tmp_path):
    for source, out in (("tars/hr", "a"), ("run/hr", "b")):
        quietly("sample", "--tasks", 2, "--space", made / "ours.toml", "--hr", made / source, "--hr-size", 8,
                "--out", tmp_path / out)  # fmt: skip
    for kind in ("hr", "lr"):
        one, other = ((tmp_path / out / kind / "00000001.png").read_bytes() for out in "ab")
        assert one == other


def png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def tar_of(path: Path, *members: tuple[str, bytes, dict[str, object]], form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for name, content, more in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content) if content else None)
    return path


def test_members_that_lead_outside_and_links_are_left_out_by_name(tmp_path):
    path = tar_of(
        tmp_path / "a.tar",
        ("good.png", png(), {}),
        ("../up.png", png(), {}),
        ("/abs.png", png(), {}),
        ("a/../../b.png", png(), {}),
        ("link.png", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("hard.png", b"", {"type": tarfile.LNKTYPE, "linkname": "good.png"}),
        ("pipe.png", b"", {"type": tarfile.FIFOTYPE}),
        ("folder", b"", {"type": tarfile.DIRTYPE}),
        ("text.json", b"{}", {}),
        ("bad.png", b"no image", {}),
    )
    found = find_images([path])
    assert [image.name for image in found.images] == ["good.png"]
    for name in ("../up.png", "/abs.png", "a/../../b.png", "link.png", "hard.png", "pipe.png", "bad.png"):
        assert sum(f"{name}" in line for line in found.excluded) == 1, found.excluded
    assert len(found.excluded) == 7
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_form_are_read(tmp_path, form):
    long = "x" * (60 if form == tarfile.USTAR_FORMAT else 190)
    path = tar_of(tmp_path / "a.tar", (f"{long}/{long[:50]}ä.png", png(), {}), ("b.png", png(), {}), form=form)
    assert [image.name for image in find_images([path]).images] == [f"{long}/{long[:50]}ä.png", "b.png"]


def damaged_size(content: bytes, text: bytes) -> bytes:
    """The first header with another size, and the right sum."""
    head = bytearray(content[:512])
    head[124:136] = text.ljust(12, b"\0")
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    return bytes(head) + content[512:]


def test_damaged_tars_are_one_line(tmp_path):
    whole = tar_of(tmp_path / "a.tar", ("a.png", png(), {}), ("b.png", png(), {})).read_bytes()
    for content, message in (
        (b"", "not a readable tar"),
        (whole[:560], "truncated"),
        (whole[:1024], "no end"),
        (b"\xff" * 1024, "not a readable tar"),
        (whole[:600] + b"\1" + whole[601 : 512 * 2] + b"zz" + whole[512 * 2 + 2 :], "whose sum is wrong"),
        (damaged_size(whole, b"77777777777"), "truncated"),
        (damaged_size(whole, b"\xff" * 12), "a number that is none"),
        (damaged_size(whole, b"-0000000001"), "a number that is none"),
        (damaged_size(whole, b"\x80" + b"\xff" * 11), "truncated"),
        (whole[:1024] + whole[:1024] + whole[1024:], "two members"),
    ):
        (tmp_path / "bad.tar").write_bytes(content)
        with pytest.raises(ImageError, match=message) as caught:
            find_images([tmp_path / "bad.tar"])
        assert "\n" not in str(caught.value)


def test_damaged_parquet_and_none_of_images_are_one_line(made, parquet, tmp_path):
    import pyarrow
    import pyarrow.parquet as pq

    whole = (parquet / "pairs-000000.parquet").read_bytes()
    for content in (b"", b"PAR1", whole[:-20], whole[: len(whole) // 2] + whole[-8:]):
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises(ImageError, match="not a readable Parquet file") as caught:
            find_images([tmp_path / "bad.parquet"])
        assert "\n" not in str(caught.value)
    pq.write_table(pyarrow.table({"a": [1]}), tmp_path / "none.parquet")
    with pytest.raises(ImageError, match="holds no images"):
        find_images([tmp_path / "none.parquet"])
    # A path in a row is a name, and nothing is opened by it.
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    rows = [{"bytes": png(), "path": "../../etc/passwd.png"}, None, {"bytes": None, "path": "/etc/passwd"}]
    pq.write_table(pyarrow.table({"image": pyarrow.array(rows, kind)}), tmp_path / "evil.parquet")
    assert [image.name for image in find_images([tmp_path / "evil.parquet"]).images] == ["passwd.png"]
    pq.write_table(pyarrow.table({"image": pyarrow.array([None], kind)}), tmp_path / "empty.parquet")
    with pytest.raises(ImageError, match=r"empty\.parquet: holds no images"):
        find_images([tmp_path / "empty.parquet"])


def test_one_damaged_file_of_several_leaves_the_others(made, tmp_path):
    names = [image.name for image in find_images([made / "tars/hr"]).images]
    shutil.copytree(made / "tars", tmp_path / "tars")
    whole = (tmp_path / "tars/pairs-000000.tar").read_bytes()
    (tmp_path / "tars/pairs-000000.tar").write_bytes(whole[:700])
    found = find_images([tmp_path / "tars/hr"])
    assert [image.name for image in found.images] == [name for name in names if name.startswith("pairs-000001/")]
    (line,) = found.excluded
    assert "pairs-000000.tar: not a readable tar (truncated" in line
    # Named one by one: the same.
    one_by_one = find_images([tmp_path / "tars/pairs-000000.tar/hr", tmp_path / "tars/pairs-000001.tar/hr"])
    assert (len(one_by_one.images), len(one_by_one.excluded)) == (2, 1)


def test_a_damaged_row_group_leaves_the_others_and_equal_paths_are_told_apart(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    rows = [{"bytes": png(), "path": f"{number % 3}/a.png"} for number in range(3)]
    path = tmp_path / "a.parquet"
    pq.write_table(pyarrow.table({"image": pyarrow.array(rows, kind)}), path, row_group_size=1, compression="gzip")
    found = find_images([path])
    assert [image.name for image in found.images] == ["a.png", "00000001/a.png", "00000002/a.png"]
    assert [decode(image).array.shape for image in found.images] == [(16, 16, 3)] * 3
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 30] = b"\xff" * 30
    path.write_bytes(content)
    found = find_images([path])
    assert [image.name for image in found.images] == ["a.png", "00000002/a.png"]
    (line,) = found.excluded
    assert "a.parquet: not a readable Parquet file" in line
    assert line.endswith("rows 1 to 1 of 'image' are left out")


def test_pack_refuses_other_numbers_over_the_files_of_an_earlier_start(degrade, made, tmp_path):
    shutil.copytree(made / "tars", tmp_path / "tars")
    before = {path.name: path.read_bytes() for path in (tmp_path / "tars").glob("*.tar")}
    code, _, err = degrade("pack", made / "run", tmp_path / "tars", "--samples", 2)
    assert (code, err.count("\n"), "holds files with samples 3, got 2; choose" in err) == (2, 1, True), err
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "tars").glob("*.tar")}
    assert degrade("pack", made / "run", tmp_path / "tars", "--samples", 2, "--force")[0] == 0
    assert degrade("pack", made / "run", tmp_path / "tars", "--samples", 2)[0] == 0


def test_kinds_are_asked_for_where_there_are_several(made):
    for source, message in (
        ("tars", "several kinds, hr, lr; name one"),
        ("tars/pairs-000000.tar", "several kinds, hr, lr; name one"),
        ("tars/sr", "holds no 'sr', only hr, lr"),
    ):
        with pytest.raises(ImageError, match=message):
            find_images([made / source])


def test_formats_do_not_meet_in_one_folder(degrade, made, tmp_path):
    pytest.importorskip("pyarrow")
    shutil.copytree(made / "tars", tmp_path / "tars")
    code, _, err = degrade("pack", made / "run", tmp_path / "tars", "--samples", 3, "--format", "parquet")
    assert (code, err.count("\n"), "pairs-000000.tar is of another run" in err) == (2, 1, True), err


def test_a_data_card_says_what_the_card_says(degrade, made, tmp_path):
    import yaml

    code, _, err = degrade("card", made / "run", "--hr", made / "hr", "-o", tmp_path / "README.md")
    assert code == 0, err
    text = (tmp_path / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["size_categories"] == ["n<1K"]
    assert facts["configs"][0]["data_files"] == [{"split": "train", "path": "*.parquet"}]
    space = pydegrade.Space.load(made / "ours.toml")
    assert space.digest in body
    assert space.to_toml().strip() in body
    assert pydegrade.sample(space, 0, range(1)).addresses[0] in body
    code, _, err = degrade("card", made / "run", "--hr", made / "hr", "-o", tmp_path / "card.txt")
    assert (code, "must end in .toml or .md" in err) == (2, True), err


def test_a_forked_process_opens_an_lmdb_and_a_tar_of_its_own(made, tmp_path, monkeypatch):
    """Processes that share an open file share its place, and would read each other's bytes."""
    pytest.importorskip("lmdb")
    quietly("sample", "--tasks", 1, "--space", made / "ours.toml", "--hr", made / "hr", "--hr-size", 16,
            "--format", "lmdb", "--out", tmp_path / "run")  # fmt: skip
    for path in (tmp_path / "run" / "hr.lmdb", made / "tars" / "pairs-000000.tar"):
        ours = open_container(path)
        assert open_container(path) is ours
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)
            assert open_container(path) is not ours

"""Training data: the same bytes whatever decodes them, partners that stay aligned, one clear line for what is wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pydegrade.commands.cli import main as degrade
from pydegrade.files.dataset import CropReader, Crops, find_images
from pydegrade.files.read import read_image
from pydegrade.files.write import write_image
from pytrain.data import source as source_module
from pytrain.data.source import BATCHES_AHEAD, DataConfig, RawBatch, Source, open_source, step_indices, stream
from pytrain.errors import ConfigError, DataError

from .children import HANG_S, environment, wait_until, wait_until_gone

SIZES = [("a.png", 40, 60), ("b.png", 33, 47), ("sub/c.png", 64, 32), ("d2.png", 50, 50), ("d10.png", 36, 70)]


@pytest.fixture(autouse=True)
def no_hanging() -> Iterator[None]:
    """A test that waits forever is a failure."""

    def too_long(*_: object) -> None:
        raise AssertionError("nothing happened for 240 s")

    previous = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def write_folder(folder: Path, sizes: list[tuple[str, int, int]] = SIZES, seed: int = 0) -> Path:
    """Images of noise, in which every crop is recognised."""
    generator = np.random.default_rng(seed)
    for name, height, width in sizes:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return folder


def write_lmdb(folder: Path, path: Path) -> Path:
    """The PNG files of a folder in BasicSR's layout, written without our own writer."""
    import lmdb

    lines = []
    with lmdb.open(str(path), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for image in sorted(folder.rglob("*.png")):
            name = image.relative_to(folder).as_posix()
            transaction.put(name.removesuffix(".png").encode(), image.read_bytes())
            width, height = Image.open(image).size
            lines.append(f"{name} ({height},{width},3) 1\n")
    (path / "meta_info.txt").write_text("".join(lines))
    return path


def open_folder(folder: Path | str, **options: object) -> Source:
    config = DataConfig(**{"hr": (str(folder),), "crop_px": 32, "batch": 6, **options})  # type: ignore[arg-type]
    return open_source(config, ("hr",), 4, seed=3)


def collect(source: Source, steps: range, rank: int = 0, world: int = 1) -> list[RawBatch]:
    with stream(source, steps, rank, world) as batches:
        return list(batches)


def same(one: list[RawBatch], other: list[RawBatch]) -> bool:
    return [batch.step for batch in one] == [batch.step for batch in other] and all(
        np.array_equal(a.indices, b.indices)
        and a.images.keys() == b.images.keys()
        and all(np.array_equal(a.images[name], b.images[name]) for name in a.images)
        for a, b in zip(one, other)
    )


# ---- what is drawn


@pytest.mark.slow
def test_every_crop_is_the_one_that_degrade_sample_writes(tmp_path):
    folder = write_folder(tmp_path / "hr")
    arguments = ["--tasks", "24", "--space", "bicubic-x4", "--seed", "3", "--hr", str(folder), "--hr-size", "32"]
    for augment in ("none", "hflip", "dihedral"):
        out = tmp_path / augment
        with pytest.raises(SystemExit) as left:
            degrade(["sample", *arguments, "--augment", augment, "--out", str(out)])
        assert left.value.code == 0
        for batch in collect(open_folder(folder, augment=augment), range(4)):
            for row, index in enumerate(batch.indices.tolist()):
                written = read_image(out / "hr" / f"{index:08d}.png")
                assert np.array_equal(batch.images["hr"][row].numpy(), written.transpose(2, 0, 1))


def test_augment_gives_each_symmetry_of_the_same_square(tmp_path):
    folder = write_folder(tmp_path / "hr")
    plain = open_folder(folder, augment="none").crops(np.arange(800))
    turned = open_folder(folder, augment="dihedral").crops(np.arange(800))
    mirrored = open_folder(folder, augment="hflip").crops(np.arange(800))
    for name in ("image", "top", "left"):
        assert np.array_equal(getattr(plain, name), getattr(turned, name))
        assert np.array_equal(getattr(plain, name), getattr(mirrored, name))
    assert np.array_equal(mirrored.hflip, turned.hflip)
    assert not (plain.hflip | plain.vflip | plain.transpose | mirrored.vflip | mirrored.transpose).any()
    kinds = np.bincount(turned.hflip + 2 * turned.vflip + 4 * turned.transpose, minlength=8)
    # 800 draws over 8 kinds: five standard deviations of a binomial are 47.
    assert np.abs(kinds - 100).max() < 47

    # What the flags mean, from the definition: mirrored left to right, then top to bottom, then transposed.
    hr = find_images([folder], side_px=32).images
    for batch in collect(open_folder(folder), range(3)):
        crops = open_folder(folder).crops(batch.indices)
        for row in range(len(crops)):
            image = read_image(hr[crops.image[row]].path)
            square = image[crops.top[row] : crops.top[row] + 32, crops.left[row] : crops.left[row] + 32]
            square = np.fliplr(square) if crops.hflip[row] else square
            square = np.flipud(square) if crops.vflip[row] else square
            planes = [square[..., channel].T if crops.transpose[row] else square[..., channel] for channel in range(3)]
            assert np.array_equal(batch.images["hr"][row].numpy(), np.stack(planes))


@pytest.mark.slow
def test_workers_processes_and_resuming_change_no_byte(tmp_path):
    folder = write_folder(tmp_path / "hr")
    thread = collect(open_folder(folder), range(8))
    assert [batch.indices.tolist() for batch in thread[:2]] == [list(range(6)), list(range(6, 12))]
    assert thread[0].images["hr"].shape == (6, 3, 32, 32)
    assert thread[0].images["hr"].is_contiguous()

    # Worker processes, more of them than rows of a process, a start in the middle, a cache that holds nothing.
    assert same(collect(open_folder(folder, workers=1), range(8)), thread)
    assert same(collect(open_folder(folder, workers=3, cache_mb=0), range(8)), thread)
    assert same(collect(open_folder(folder, workers=3), range(5, 8)), thread[5:])
    assert same(collect(open_folder(folder), range(5, 8)), thread[5:])

    # Two and three training processes together see what one sees.
    for world, workers in ((2, 0), (3, 2)):
        parts = [collect(open_folder(folder, workers=workers), range(2), rank, world) for rank in range(world)]
        for step in range(2):
            joined = np.concatenate([part[step].images["hr"] for part in parts])
            assert np.array_equal(joined, thread[step].images["hr"])
            assert np.concatenate([part[step].indices for part in parts]).tolist() == thread[step].indices.tolist()


@pytest.mark.slow
def test_no_crop_comes_twice(tmp_path):
    # 960 samples of 5 noise images are many epochs. Among 8 x 17,000 possible crops chance repeats about 4; a worker
    # that repeated another's stream, or an epoch that repeated the last, would repeat hundreds.
    folder = write_folder(tmp_path / "hr", [(f"{number}.png", 90, 90) for number in range(5)])
    source = open_folder(folder, workers=2, batch=96)
    crops = [crop.numpy().tobytes() for batch in collect(source, range(10)) for crop in batch.images["hr"]]
    assert len(crops) == 960
    assert len(set(crops)) > 940


def test_indices_of_a_step_are_divided_without_rest():
    assert step_indices(7, 12, 1, 3).tolist() == [88, 89, 90, 91]
    with pytest.raises(ConfigError, match=r"^data.batch must be a multiple of the number of processes 5, got 12$"):
        step_indices(0, 12, 0, 5)


def test_photographs_by_default_and_a_choice_of_images():
    config = DataConfig(crop_px=96, batch=4, exclude=("astronaut", "coffee.png"))
    source = open_source(config, ("hr",), 2, 0)
    assert len(source.images["hr"].images) == 4
    assert "4 images (photographs of scikit-image)" in source.describe()
    only = open_source(DataConfig(crop_px=96, images=("coffee",)), ("hr",), 2, 0)
    assert [image.name for image in only.images["hr"].images] == ["coffee.png"]
    with pytest.raises(
        ConfigError, match=r"data.images must name images of .*, got 'cofee'; did you mean 'coffee.png'\?"
    ):
        open_source(DataConfig(images=("cofee",)), ("hr",), 2, 0)
    with pytest.raises(ConfigError, match=r"data.exclude must leave at least one image"):
        open_source(DataConfig(images=("coffee",), exclude=("coffee",)), ("hr",), 2, 0)


def test_digest_says_whether_crops_are_the_same(tmp_path):
    folder = write_folder(tmp_path / "hr")
    source = open_folder(folder)
    assert source.digest == open_folder(folder, workers=2, cache_mb=1).digest
    assert source.digest != open_folder(folder, augment="hflip").digest
    assert source.digest != open_folder(folder, exclude=("a",)).digest


# ---- LMDB, several folders, lists


@pytest.mark.slow
def test_lmdb_gives_the_same_crops_as_its_folder(tmp_path):
    folder = write_folder(tmp_path / "hr")
    path = write_lmdb(folder, tmp_path / "hr.lmdb")
    names = [image.name for image in find_images([path]).images]
    listing = tmp_path / "list.txt"
    listing.write_text("".join(f"{name} (1,1,3)\n" for name in names))
    expected = collect(open_folder(folder, meta_info=str(listing)), range(3))
    assert same(collect(open_folder(path), range(3)), expected)
    assert same(collect(open_folder(path, workers=2), range(3)), expected)
    assert open_folder(path).digest == open_folder(folder, meta_info=str(listing)).digest

    # A list may choose among the images of an LMDB, too.
    listing.write_text("d10.png (36,70,3)\n")
    chosen = open_folder(path, meta_info=str(listing))
    assert [image.name for image in chosen.images["hr"].images] == ["d10.png"]
    listing.write_text("e.png (36,70,3)\n")
    with pytest.raises(DataError, match=r"lists 'e.png', .*hr.lmdb does not hold it"):
        open_folder(path, meta_info=str(listing))


def test_what_degrade_sample_writes_as_lmdb_can_be_trained_on(tmp_path):
    folder = write_folder(tmp_path / "hr")
    arguments = ["--tasks", "6", "--space", "bicubic-x4", "--hr", str(folder), "--hr-size", "32", "--format", "lmdb"]
    with pytest.raises(SystemExit):
        degrade(["sample", *arguments, "--out", str(tmp_path / "out")])
    config = DataConfig(hr=(f"{tmp_path}/out/hr.lmdb",), lr=f"{tmp_path}/out/lr.lmdb", crop_px=16, batch=4)
    source = open_source(config, ("hr", "lr"), 4, 0)
    assert len(source.images["lr"].images) == 6
    assert collect(source, range(1))[0].images["lr"].shape == (4, 3, 4, 4)


@pytest.mark.parametrize("damage", ["absent", "no list", "empty list", "bad line", "missing key", "cut", "no lmdb"])
def test_a_bad_lmdb_gives_one_line(tmp_path, damage):
    path = write_lmdb(write_folder(tmp_path / "hr"), tmp_path / "x.lmdb")
    listing = path / "meta_info.txt"
    expected = {
        "absent": "must be an LMDB folder with data.mdb, got nothing",
        "no list": "x.lmdb: must hold meta_info.txt with lines like 'name.png (480,480,3) 1', got none",
        "empty list": "meta_info.txt: must list at least one image, got none",
        "bad line": "meta_info.txt:2: must be like 'name.png (480,480,3) 1', got 'what'",
        "missing key": "x.lmdb: meta_info.txt lists key 'z', data.mdb does not hold it",
        "cut": "data.mdb: not a readable LMDB (truncated, must have",
        "no lmdb": "data.mdb: not a readable LMDB (no LMDB of version 1)",
    }[damage]
    if damage == "absent":
        path = tmp_path / "y.lmdb"
    elif damage == "no list":
        listing.unlink()
    elif damage == "empty list":
        listing.write_text("\n")
    elif damage == "bad line":
        listing.write_text("a.png (40,60,3) 1\nwhat\n")
    elif damage == "missing key":
        listing.write_text("z.png (40,60,3) 1\n")
    elif damage == "cut":
        os.truncate(path / "data.mdb", os.path.getsize(path / "data.mdb") // 2)
    else:
        (path / "data.mdb").write_bytes(b"nothing of the kind" * 1000)
    with pytest.raises(DataError, match=rf"^data.hr: .*{re.escape(expected)}") as caught:
        open_folder(path)
    assert "\n" not in str(caught.value)


def test_an_lmdb_whose_list_lies_about_sizes_is_noticed(tmp_path):
    path = write_lmdb(write_folder(tmp_path / "hr"), tmp_path / "x.lmdb")
    (path / "meta_info.txt").write_text("a.png (60,60,3) 1\n")
    with pytest.raises(DataError, match=r"a.png: is 60 x 40 px, meta_info.txt says 60 x 60"):
        collect(open_folder(path), range(1))


def test_several_folders_are_one_data_set(tmp_path):
    one, two = write_folder(tmp_path / "one", seed=1), write_folder(tmp_path / "two", seed=2)
    single = write_folder(tmp_path, [("three.png", 40, 40)]) / "three.png"
    config = DataConfig(hr=(str(one), str(two), str(single)), crop_px=32, batch=4)
    names = [image.name for image in open_source(config, ("hr",), 4, 0).images["hr"].images]
    assert len(names) == len(set(names)) == 11
    assert names[0] == "one/a.png"
    assert names[-1] == "three.png"
    twice = DataConfig(hr=(str(one), str(tmp_path / "two" / ".." / "one")), crop_px=32)
    names = [image.name for image in open_source(twice, ("hr",), 4, 0).images["hr"].images]
    assert len(set(names)) == 10


# ---- partners


def write_pairs(folder: Path, suffix: str = "", scale: int = 4) -> DataConfig:
    """hr whose blocks of scale x scale px are constant and lr that has one px per block: aligned in every symmetry."""
    generator = np.random.default_rng(0)
    for name, height, width in [("a", 12, 15), ("b", 9, 9), ("sub/c", 10, 20)]:
        lr = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for kind, pixels in (("hr", lr.repeat(scale, 0).repeat(scale, 1)), ("lr", lr)):
            path = folder / kind / f"{name}{suffix if kind == 'lr' else ''}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, pixels)
    return DataConfig(hr=(str(folder / "hr"),), lr=str(folder / "lr"), crop_px=32, batch=8)


@pytest.mark.parametrize("suffix", ["", "x4", "_x4"])
def test_partners_are_cut_at_the_same_place(tmp_path, suffix):
    config = write_pairs(tmp_path, suffix)
    source = open_source(config, ("hr", "lr"), 4, 0)
    assert source.factors == {"hr": 1, "lr": 4}
    for batch in collect(source, range(4)):
        lr = batch.images["lr"].numpy()
        assert lr.shape == (8, 3, 8, 8)
        assert np.array_equal(lr.repeat(4, 2).repeat(4, 3), batch.images["hr"])


@pytest.mark.slow
def test_further_sets_of_hr_or_lr_size(tmp_path):
    config = write_pairs(tmp_path)
    sets = {"sr_pretrained": str(tmp_path / "hr"), "lr_pretrained": str(tmp_path / "lr")}
    config = DataConfig(hr=config.hr, lr=config.lr, sets=sets, crop_px=32, batch=8, workers=2)
    source = open_source(config, ("hr", "lr", "sr_pretrained", "lr_pretrained"), 4, 0)
    assert source.factors == {"hr": 1, "lr": 4, "sr_pretrained": 1, "lr_pretrained": 4}
    for batch in collect(source, range(3)):
        assert np.array_equal(batch.images["sr_pretrained"], batch.images["hr"])
        assert np.array_equal(batch.images["lr_pretrained"], batch.images["lr"])


def mixed(tmp_path: Path, **options: object) -> Source:
    """Noise of 4 x 4 blocks as real pairs, mixed among images of noise; both folders have an a.png."""
    pairs = write_pairs(tmp_path / "pairs")
    folder = str(write_folder(tmp_path / "hr", SIZES[:3]))
    config = DataConfig(
        **{  # type: ignore[arg-type]
            "hr": (folder,), "paired_hr": pairs.hr[0], "paired_lr": pairs.lr, "paired_share": 0.25, "crop_px": 32,
            "batch": 8, **options,
        }
    )  # fmt: skip
    return open_source(config, ("hr",), 4, 3, mixes=True)


def test_real_pairs_are_a_share_of_the_samples(tmp_path):
    source = mixed(tmp_path)
    plain = open_folder(tmp_path / "hr", batch=8)
    assert source.digest != plain.digest
    assert "0.25 of the samples from 3 real pairs" in source.describe()
    batches = collect(source, range(12))
    for batch, without in zip(batches, collect(plain, range(12))):
        lr, hr, paired = batch.images["lr"].numpy(), batch.images["hr"].numpy(), batch.paired
        assert np.array_equal(paired, source.is_paired(batch.indices))
        assert np.array_equal(lr[paired].repeat(4, 2).repeat(4, 3), hr[paired])
        assert not lr[~paired].any()
        # The others are the samples that they are without pairs.
        assert np.array_equal(hr[~paired], without.images["hr"].numpy()[~paired])
    # 96 draws of probability 1/4: four standard deviations.
    assert np.concatenate([batch.paired for batch in batches]).mean() == pytest.approx(0.25, abs=0.18)
    assert source.is_paired(np.arange(20000)).mean() == pytest.approx(0.25, abs=0.013)

    # Any step, any number of processes, after any resumption: the same.
    again = open_source(source.config, ("hr",), 4, 3, source.listing(), mixes=True)
    assert same(collect(again, range(7, 9)), batches[7:9])
    halves = [collect(source, range(2), rank, 2) for rank in range(2)]
    assert np.array_equal(np.concatenate([half[1].images["lr"] for half in halves]), batches[1].images["lr"])


@pytest.mark.slow
def test_workers_cut_real_pairs_too(tmp_path):
    assert same(collect(mixed(tmp_path), range(3)), collect(mixed(tmp_path, workers=2), range(3)))


def test_an_unreadable_pair_costs_nothing_but_itself(tmp_path):
    write_folder(tmp_path / "pairs" / "lr", [("unused.png", 8, 8)])
    source = mixed(tmp_path, paired_share=1.0)
    assert "pairs: data.paired_lr: 1 images belong to none of data.paired_hr: unused.png" in source.notes
    path = tmp_path / "pairs" / "lr" / "a.png"
    path.write_bytes(path.read_bytes()[:60])
    batches = collect(source, range(3))
    (name,) = {one.name for batch in batches for one in batch.unreadable}
    # Neither the a.png among the others nor one in a folder of theirs: a run that goes on asks by name.
    assert name == "paired://a.png"
    assert all(batch.images["lr"].flatten(1).any(1).all() for batch in batches)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"paired_share": 0.0}, r"^data.paired_hr must be empty where data.paired_share is 0, got "),
        ({"paired_lr": ""}, r"^data.paired_lr must name a folder or .lmdb where data.paired_share is 0.25, got ''"),
        ({"paired_lr": "/nowhere"}, r"^data.paired_lr: "),
    ],
)
def test_wrong_real_pairs_are_one_line(tmp_path, options, words):
    with pytest.raises((ConfigError, DataError), match=words) as caught:
        mixed(tmp_path, **options)
    assert "\n" not in str(caught.value)


def test_methods_that_need_the_tasks_mix_nothing(tmp_path):
    with pytest.raises(ConfigError, match=r"^data.paired_share must be 0, this method asks"):
        open_source(mixed(tmp_path).config, ("hr",), 4, 3)


def test_partners_named_in_a_list(tmp_path):
    config = write_pairs(tmp_path)
    (tmp_path / "lr" / "b.png").rename(tmp_path / "lr" / "other.png")
    listing = tmp_path / "pairs.txt"
    listing.write_text("b.png, other.png\nsub/c.png, sub/c.png\n")
    source = open_source(
        DataConfig(hr=config.hr, lr=config.lr, meta_info=str(listing), crop_px=32, batch=8), ("hr", "lr"), 4, 0
    )
    assert [image.name for image in source.images["lr"].images] == ["other.png", "sub/c.png"]
    assert source.notes == ("data.lr: 1 images belong to none of data.hr: a.png",)


def test_partners_of_sizes_that_are_no_multiples(tmp_path):
    # hr of 35 x 43 px: MATLAB's imresize gives 9 x 11, cutting hr to multiples first gives 8 x 10. Both are aligned.
    for height, width in ((9, 11), (8, 10)):
        folder = write_folder(tmp_path / f"{height}", [("hr/a.png", 35, 43), ("lr/a.png", height, width)])
        config = DataConfig(hr=(str(folder / "hr"),), lr=str(folder / "lr"), crop_px=32, batch=64)
        source = open_source(config, ("hr", "lr"), 4, 0)
        crops = source.crops(np.arange(200))
        assert set(crops.top.tolist()) == {0}
        assert set(crops.left.tolist()) == {0, 4, 8}
        lr = read_image(folder / "lr" / "a.png")
        batch = collect(source, range(1))[0]
        for row in range(64):
            left = source.crops(batch.indices).left[row] // 4
            assert sorted(batch.images["lr"][row].flatten().tolist()) == sorted(
                lr[:8, left : left + 8].ravel().tolist()
            )


def test_partners_that_do_not_match(tmp_path):
    config = write_pairs(tmp_path)
    for name in ("a.png", "sub/c.png"):
        (tmp_path / "lr" / name).unlink()
    with pytest.raises(
        DataError,
        match=r"^data.lr: 2 of 3 images of data.hr have no partner in .*lr: a.png, sub/c.png; looked for the same name",
    ):
        open_source(config, ("hr", "lr"), 4, 0)

    config = write_pairs(tmp_path)
    write_image(tmp_path / "lr" / "b.png", np.zeros((9, 12, 3), np.uint8))
    expected = "data.lr: b.png must be 1/4 of hr's 36 x 36 px, got 12 x 9 px"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        open_source(config, ("hr", "lr"), 4, 0)
    with pytest.raises(DataError, match=r"must be 1/2 of hr's 60 x 48 px, got 15 x 12 px \(3 such images\)"):
        open_source(config, ("hr", "lr"), 2, 0)

    (tmp_path / "lr" / "a.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"1 of 3 .* no partner in .*: a.png; .*must be an image file, got something"):
        open_source(config, ("hr", "lr"), 4, 0)


# ---- what is wrong, in one line


def test_options_that_do_not_fit_the_method(tmp_path):
    pairs = write_pairs(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^data.lr must name a folder or .lmdb, this method learns from hr, lr; got ''"
    ):
        open_source(DataConfig(), ("hr", "lr"), 4, 0)
    with pytest.raises(ConfigError, match=r"^data.lr must be empty where the method makes lr from hr"):
        open_source(pairs, ("hr",), 4, 0)
    with pytest.raises(ConfigError, match=r"^data.sets: this method knows no images named 'sr'"):
        open_source(DataConfig(hr=("x",), sets={"sr": "y"}), ("hr",), 4, 0)
    with pytest.raises(ConfigError, match=r"^data.crop_px must be a multiple of the scale 3, got 128$"):
        open_source(DataConfig(), ("hr",), 3, 0)
    with pytest.raises(
        ConfigError, match=r"^data.hr must be one folder or .lmdb where data.lr names partners, got none$"
    ):
        DataConfig(lr="x")
    with pytest.raises(ConfigError, match=r"^data.hr must be one folder or .lmdb where data.meta_info lists it"):
        DataConfig(meta_info="x")
    for name, value in (("crop_px", 0), ("batch", 0), ("workers", -1), ("cache_mb", -1)):
        with pytest.raises(ConfigError, match=rf"^data.{name} must be .*, got {value}$"):
            DataConfig(**{name: value})


def test_missing_and_empty_folders_and_small_images(tmp_path):
    with pytest.raises(DataError, match=r"^data.hr: .*absent: must be a folder with images, got nothing$"):
        open_folder(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"^data.hr: .*empty: must contain images .*, got none$"):
        open_folder(tmp_path / "empty")
    folder = write_folder(tmp_path / "hr")
    with pytest.raises(DataError, match=r"a.png: 60 x 40 px, smaller than the crop of 80 px \(and 4 more\)$"):
        open_folder(folder, crop_px=80)
    assert open_folder(folder, crop_px=36).notes == (
        f"left out: {folder}/b.png: 47 x 33 px, smaller than the crop of 36 px",
        f"left out: {folder}/sub/c.png: 32 x 64 px, smaller than the crop of 36 px",
    )
    with pytest.raises(ConfigError, match=r"data.images must name images of .*, got 'b.png' \(.*smaller than the crop"):
        open_folder(folder, crop_px=36, images=("b.png",))
    with pytest.raises(DataError, match=r"^data.hr: .*names.txt: must be a text file .*, got nothing$"):
        open_folder(folder, meta_info=str(tmp_path / "names.txt"))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1500])


def no_image(path: Path) -> None:
    path.write_text("not an image")


def other_size(path: Path) -> None:
    Image.new("RGB", (50, 60)).save(path)


DAMAGES = (cut_off, no_image, other_size, Path.unlink)


def drawn_by(source: Source, index: int, bad: set[str]) -> list[Crops]:
    """What the rule says: the draws of a sample up to the first whose image is a good one."""
    draws = [source.crops(np.array([index]))]
    while source.images["hr"].images[draws[-1].image[0]].name in bad:
        draws.append(source.crops(np.array([index]), len(draws)))
    return draws


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("workers", [0, 2])
def test_samples_of_an_unreadable_image_draw_another_one(tmp_path, workers, damage):
    folder = write_folder(tmp_path / "hr", [(f"{number}.png", 40, 40) for number in range(12)])
    source = open_folder(folder, workers=workers, batch=4)
    intact = CropReader(open_folder(shutil.copytree(folder, tmp_path / "intact")).images["hr"])
    bad = {"3.png", "7.png"}
    for name in bad:
        damage(folder / name)
    batches = collect(source, range(12))
    draws = {index: drawn_by(source, index, bad) for index in range(48)}
    found = {}
    for batch in batches:
        for index, crop in zip(batch.indices.tolist(), batch.images["hr"].numpy()):
            assert (crop == intact.read(draws[index][-1], 0).transpose(2, 0, 1)).all()
        for one in batch.unreadable:
            found.setdefault(one.name, one)
    assert found.keys() == bad
    for name, one in found.items():
        assert name in one.reason
        assert "\n" not in one.reason
        position = [image.name for image in source.images["hr"].images].index(name)
        assert one.index == min(i for i in draws if position in [int(crop.image[0]) for crop in draws[i]])
    # From the middle on: the same bytes, whether what was found is handed on or not.
    assert same(collect(source, range(5, 12)), batches[5:])
    with stream(source, range(5, 12), unreadable={name: one.index for name, one in found.items()}) as rest:
        assert same(list(rest), batches[5:])


def test_what_was_unreadable_once_stays_out_from_that_sample_on(tmp_path):
    folder = write_folder(tmp_path / "hr", [(f"{number}.png", 40, 40) for number in range(6)])
    source = open_folder(folder, batch=4)
    plain = collect(source, range(8))
    position = [image.name for image in source.images["hr"].images].index("2.png")
    drawn = np.flatnonzero(source.crops(np.arange(32)).image == position)
    with stream(source, range(8), unreadable={"2.png": int(drawn[1])}) as batches:
        changed = list(batches)
    differing = [
        i for i in range(32) if not (plain[i // 4].images["hr"][i % 4] == changed[i // 4].images["hr"][i % 4]).all()
    ]
    assert differing == drawn[1:].tolist()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_sample_whose_partner_is_unreadable_draws_another_one(tmp_path, damage):
    config = write_pairs(tmp_path)
    source = open_source(config, ("hr", "lr"), 4, 0)
    partner = source.images["lr"].images[1].path
    damage(partner)
    name = source.images["hr"].images[1].name
    with stream(source, range(6)) as batches:
        found = [one for batch in batches for one in batch.unreadable]
    assert {one.name for one in found} == {name}
    assert partner.name in found[0].reason


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_when_no_image_can_be_read_the_stream_ends_with_one_line(tmp_path, workers):
    folder = write_folder(tmp_path / "hr")
    source = open_folder(folder, workers=workers)
    shutil.rmtree(folder)
    with stream(source, range(100)) as batches:
        with pytest.raises(
            DataError, match=r"^data: step 0, sample \d+: 64 images in a row cannot be read; the last: "
        ) as caught:
            next(batches)
        assert "\n" not in str(caught.value)
        with pytest.raises(StopIteration):
            next(batches)


def test_what_is_not_the_files_fault_ends_the_stream(tmp_path, monkeypatch):
    source = open_folder(write_folder(tmp_path / "hr"))

    def full(*arguments: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(CropReader, "view", full)
    with (
        stream(source, range(2)) as batches,
        pytest.raises(DataError, match=r"^data: step 0, sample 0: .*Too many open"),
    ):
        next(batches)


def test_images_that_have_vanished_keep_their_numbers(tmp_path):
    folder = write_folder(tmp_path / "hr", [(f"{number}.png", 40, 40) for number in range(8)])
    config = DataConfig(hr=(str(folder),), crop_px=20, batch=4)
    first = open_source(config, ("hr",), 2, 0)
    listing = json.loads(json.dumps(first.listing()))
    (folder / "2.png").unlink()
    no_image(folder / "4.png")
    other_size(folder / "6.png")
    again = open_source(config, ("hr",), 2, 0, listing)
    assert [image.name for image in again.images["hr"].images] == [f"{number}.png" for number in range(8)]
    assert (again.images["hr"].sides_px == first.images["hr"].sides_px).all()
    assert again.digest == first.digest
    with stream(again, range(10)) as batches:
        assert {one.name for batch in batches for one in batch.unreadable} == {"2.png", "4.png", "6.png"}
    # With a new image it is another data set.
    Image.new("RGB", (40, 40)).save(folder / "new.png")
    assert len(open_source(config, ("hr",), 2, 0, listing).images["hr"].images) == 7


def test_partners_that_have_vanished_keep_their_numbers(tmp_path):
    config = write_pairs(tmp_path)
    first = open_source(config, ("hr", "lr"), 4, 0)
    first.images["lr"].images[1].path.unlink()
    first.images["hr"].images[2].path.unlink()
    again = open_source(config, ("hr", "lr"), 4, 0, first.listing())
    assert again.digest == first.digest
    assert [image.name for image in again.images["lr"].images] == [image.name for image in first.images["lr"].images]


def test_a_worker_that_dies_is_reported(tmp_path):
    source = open_folder(write_folder(tmp_path / "hr"), workers=2)
    with stream(source, range(10**6)) as batches:
        next(batches)
        os.kill(batches.worker_pids[1], signal.SIGKILL)
        with pytest.raises(
            DataError, match=r"^data: decoding process 1 died \(killed by signal 9\); if memory ran out"
        ):
            list(batches)
        wait_until_gone(batches.worker_pids)


def test_leaving_early_stops_everything_and_reads_little_ahead(tmp_path, monkeypatch):
    source = open_folder(write_folder(tmp_path / "hr"), workers=2)
    opened = []
    filling = source_module._Filling
    monkeypatch.setattr(source_module, "_Filling", lambda part, step: opened.append(step) or filling(part, step))
    with stream(source, range(10**9)) as batches:
        assert next(batches).step == 0
        wait_until(batches._batches.full)
    wait_until_gone(batches.worker_pids)
    # Those that exist at a time, and the one that was taken.
    assert BATCHES_AHEAD < len(opened) <= 2 * BATCHES_AHEAD + 1 + 1
    batches.close()
    with pytest.raises(StopIteration):
        next(batches)


@pytest.mark.slow
def test_a_script_that_workers_cannot_import_is_no_riddle(tmp_path):
    # Without a main guard every worker would start workers of its own; Python refuses and says so.
    script = tmp_path / "script.py"
    script.write_text(
        "from pytrain.data.source import DataConfig, open_source, stream\n"
        "source = open_source(DataConfig(crop_px=32, batch=6, workers=1), ('hr',), 4, 0)\n"
        "with stream(source, range(5)) as batches:\n"
        "    next(batches)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment(), timeout=HANG_S
    )
    assert done.returncode == 1
    assert "if __name__ == '__main__':" in done.stderr
    assert "data: decoding process 0 ended with code 1; what it says above is the reason" in done.stderr


SCRIPT = """
import sys, time
from pytrain.data.source import DataConfig, open_source, stream
if __name__ == "__main__":
    config = DataConfig(hr=(sys.argv[1],), crop_px=32, batch=6, workers=2)
    batches = stream(open_source(config, ("hr",), 4, 0), range(10**9))
    next(batches)
    print(*batches.worker_pids, flush=True)
    if sys.argv[2] == "forget":
        sys.exit(0)
    for batch in batches:
        pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["forget", "kill", "interrupt"])
def test_workers_end_with_the_training_process(tmp_path, end):
    folder = write_folder(tmp_path / "hr")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder), end],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    assert process.stdout is not None
    pids = tuple(int(pid) for pid in process.stdout.readline().split())
    assert len(pids) == 2
    if end == "kill":
        process.kill()
    elif end == "interrupt":
        os.killpg(process.pid, signal.SIGINT)
    _, complaints = process.communicate(timeout=HANG_S)
    wait_until_gone(pids)
    # Ctrl-C shows the traceback of the script that did not catch it, and nothing from workers.
    assert complaints.count("Traceback") == (1 if end == "interrupt" else 0), complaints

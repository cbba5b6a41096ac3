"""`degrade sample` with several LR images of one HR crop and several crops by one task: what `PairDataset` gives, as
files that resume, are shared out, merged and packed like any run."""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pydegrade
from pydegrade.files.read import read_image

from .programs import Result, degrade_in, quietly
from .test_cards import SPACE
from .test_shards import content

KINDS = [f"{kind}{crop}" for crop in ("", "_crop2") for kind in ("hr", "lr", "lr_2", "lr_large")]


@pytest.fixture
def degrade(capsys) -> Callable[..., Result]:
    return partial(degrade_in, capsys)


def line(folder: Path, *more: object) -> tuple[object, ...]:
    source = ("--space", folder / "ours.toml", "--hr", folder / "hr", "--hr-size", 16, "--seed", 3)
    several = ("--lr-per-hr", 2, "--more", "lr_large=codeformer-large", "--crops", 2)
    return ("sample", "--tasks", 4, *source, *several, *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """hr/ and run/."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "hr").mkdir()
    (folder / "ours.toml").write_text(SPACE)
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 30 + seed, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "hr" / f"{seed}.png")
    quietly(*line(folder, "--out", folder / "run"))
    return folder


def test_files_are_the_items_of_a_data_set(made):
    run, ours = made / "run", pydegrade.Space.load(made / "ours.toml")
    more = {"lr_2": ours, "lr_large": "codeformer-large"}
    pairs = pydegrade.PairDataset(ours, made / "hr", length=4, seed=3, crop_px=16, more=more, crops=2,
                                  with_hr=True, with_address=True)  # fmt: skip
    with open(run / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, item in zip(rows, pairs, strict=True):
        images = {kind: read_image(run / row[kind]) for kind in KINDS}
        for kind in ("hr", "lr", "lr_2", "lr_large"):
            for crop, suffix in enumerate(("", "_crop2")):
                values = (item[kind][crop].permute(1, 2, 0) * 255).round().numpy()
                assert np.array_equal(images[kind + suffix], values), (kind, suffix)
        # Every LR image has its address, which makes it of its crop.
        assert row["lr_2_address"] == item["lr_2_address"]
        for kind in ("lr", "lr_2", "lr_large"):
            for suffix in ("", "_crop2"):
                address = row[f"{kind}_address".removeprefix("lr_" if kind == "lr" else "") + suffix]
                task = pydegrade.TaskBatch.from_addresses([address], ours if kind != "lr_large" else None)
                hr = torch.from_numpy(images["hr" + suffix].transpose(2, 0, 1).copy()) / 255
                lr = pydegrade.degrade(hr[None], task)[0].permute(1, 2, 0)
                assert np.array_equal(images[kind + suffix], (lr * 255).round().numpy()), address
        # The second crop stands where the manifest says.
        photo = read_image(made / "hr" / row["source"])
        top, left = int(row["top_px_crop2"]), int(row["left_px_crop2"])
        square = photo[top : top + 16, left : left + 16]
        assert np.array_equal(images["hr_crop2"], square[:, ::-1] if row["hflip"] == "1" else square)
    for name in ("lr_2", "lr_large"):
        tasks = pydegrade.TaskBatch.load(run / f"tasks_{name}.npz")
        assert tasks.addresses == [row[f"{name}_address"] for row in rows]


@pytest.mark.slow
def test_such_a_run_resumes_and_its_shards_make_it(degrade, made, tmp_path):
    for number in range(2):
        quietly(*line(made, "--out", tmp_path / "run", "--shard", f"{number}/2"))
    quietly("merge", tmp_path / "run", tmp_path / "run-0-of-2", tmp_path / "run-1-of-2")
    whole = content(made / "run")
    assert content(tmp_path / "run") == whole
    (tmp_path / "run" / "lr_2_crop2" / "00000003.png").unlink()
    (tmp_path / "run" / "hr_crop2" / "00000001.png").write_bytes(b"x")
    code, out, _ = degrade(*line(made, "--out", tmp_path / "run"))
    assert (code, "2 of 4 samples are there" in out, content(tmp_path / "run") == whole) == (0, True, True)
    assert degrade("verify", tmp_path / "run" / "SHA256SUMS", tmp_path / "run")[0] == 0

    quietly("pack", tmp_path / "run", tmp_path / "tars")
    with tarfile.open(tmp_path / "tars" / "pairs-000000.tar") as tar:
        assert tar.getnames()[: len(KINDS)] == [f"00000000.{kind}.png" for kind in KINDS]

    # Without them it is another run; a card is of one LR.
    code, _, err = degrade(*line(made, "--out", tmp_path / "run", "--crops", 1))
    assert (code, "holds a run with crops 2, got 1" in err) == (2, True)
    code, _, err = degrade("card", tmp_path / "run", "--hr", made / "hr", "-o", tmp_path / "card.toml")
    assert (code, err.count("\n"), "a card is of one each" in err) == (2, 1, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--more", "lr=bsrgan-x4"), "--more: must be lr_NAME=SPACE"),
        (("--more", "lr_a_crop2=bsrgan-x4"), "--more: must be lr_NAME=SPACE"),
        (("--more", "lr_a"), "--more: must be lr_NAME=SPACE"),
        (("--more", "lr_2=bsrgan-x4"), "--more: every name once, got lr_2 twice"),
        (("--more", "lr_a=codeformer-larg"), "did you mean 'codeformer-large'?"),
        (("--more", "lr_a=mzsr-direct-x3"), "--more lr_a: needs HR crops of a multiple of the scale 3"),
        (("--params-only",), "--crops: --params-only makes no images"),
        (("--clips", 3), "--clips: does not go with --lr-per-hr"),
        (("--seed", 2**62), "seed must be in [0, 2^62)"),
    ],
)
def test_wrong_lines_are_one_line(degrade, made, tmp_path, words, message):
    code, _, err = degrade(*line(made, "--out", tmp_path / "out", *words))
    assert (code, err.count("\n"), message in err) == (2, 1, True), err
    assert not (tmp_path / "out").exists()

"""Shards: parts of a run made apart and merged are the run of one process, byte for byte; what does not belong together is
refused in one line."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pydegrade
from pydegrade.errors import OutputError
from pydegrade.shell import parse_shard

from .programs import Result, degrade_in, quietly
from .test_cards import SPACE

TASKS = 7


@pytest.fixture
def degrade(capsys) -> Callable[..., Result]:
    return partial(degrade_in, capsys)


def line(folder: Path, *more: object) -> tuple[object, ...]:
    source = ("--space", folder / "ours.toml", "--hr", folder / "hr", "--hr-size", 16)
    return ("sample", "--tasks", TASKS, "--start", 2, *source, *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """hr/, run/ of one process, run-I-of-N/ of one, two and seven."""
    folder = tmp_path_factory.mktemp("shards")
    (folder / "hr").mkdir()
    (folder / "ours.toml").write_text(SPACE)
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 30 + seed, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "hr" / f"{seed}.png")
    quietly(*line(folder, "--out", folder / "run"))
    for count in (1, 2, 7):
        for number in range(count):
            quietly(*line(folder, "--out", folder / "run", "--shard", f"{number}/{count}"))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.representatives(1)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_merged_shards_are_the_run_of_one_process_byte_for_byte(made, tmp_path, count):
    shards = [made / f"run-{number}-of-{count}" for number in range(count)]
    for _ in range(2):  # the second time over the first
        quietly("merge", tmp_path / "out", *reversed(shards))
        assert content(tmp_path / "out") == content(made / "run")
    assert sum(len(list((shard / "lr").iterdir())) for shard in shards) == TASKS


def test_a_merged_run_goes_on_as_one_process_would(made, tmp_path):
    quietly("merge", tmp_path / "out", made / "run-0-of-2", made / "run-1-of-2")
    for out in (tmp_path / "out", tmp_path / "whole"):
        quietly(*line(made, "--out", out, "--tasks", TASKS + 2))
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.slow
def test_shards_of_a_card_and_of_an_lmdb(degrade, made, tmp_path):
    quietly(*line(made, "--out", tmp_path / "run", "--format", "lmdb", "--space", "realesrgan-x2", "--tasks", 3))
    quietly("card", tmp_path / "run", "--hr", made / "hr", "-o", tmp_path / "card.toml")
    for number in range(2):
        quietly("sample", "--card", tmp_path / "card.toml", "--hr", made / "hr", "--shard", f"{number}/2",
                "--out", tmp_path / "again")  # fmt: skip
    shards = [tmp_path / "again-0-of-2", tmp_path / "again-1-of-2"]
    quietly("merge", tmp_path / "merged", *shards)
    assert degrade("verify", tmp_path / "card.toml", tmp_path / "merged")[0] == 0
    ours, theirs = content(tmp_path / "merged"), content(tmp_path / "run")
    assert {name for name in theirs if ours.get(name) != theirs[name]} <= {f"{kind}.lmdb/data.mdb" for kind in
                                                                          ("hr", "lr", "target")}  # fmt: skip
    code, _, err = degrade("card", tmp_path / "again-0-of-2", "--hr", made / "hr", "-o", tmp_path / "no.toml")
    assert (code, "holds shard 0/2 alone" in err) == (2, True)

    # What a run.json says of sizes reserves nothing.
    for folder in shards:
        replaced(folder / "run.json", '"hr_size_px": 16', f'"hr_size_px": {10**11}')
    assert degrade("merge", tmp_path / "large", *shards)[0] == 0


def test_a_shard_says_how_all_become_one(degrade, made, tmp_path, monkeypatch):
    quietly("card", made / "run", "--hr", made / "hr", "-o", tmp_path / "card.toml")
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path / "a b")
    card = ("sample", "--card", tmp_path / "card.toml", "--hr", made / "hr", "--shard", "0/7")
    for words, said in (
        ((*card, "--out", "x y"), "degrade merge 'x y' 'x y'-*-of-7\n"),
        ((*line(made, "--shard", "0/7"), "--out", "."), f"degrade merge '{tmp_path}/a b' '{tmp_path}/a b'-*-of-7\n"),
    ):
        code, out, _ = degrade(*words)
        assert (code, f"1 of 7 pairs; all shards together: {said}" in out) == (0, True), out


def test_sums_are_those_of_the_program_and_verify_reads_them(degrade, made, tmp_path):
    code, out, _ = degrade("verify", made / "run" / "SHA256SUMS", made / "run")
    assert (code, out.startswith(f"{2 * TASKS + 2} files equal")) == (0, True)
    lines = (made / "run" / "SHA256SUMS").read_text().splitlines()
    assert lines[0][64:] == "  hr/00000002.png"
    shutil.copytree(made / "run", tmp_path / "run")
    (tmp_path / "run" / "hr" / "00000003.png").write_bytes(b"x")
    (tmp_path / "run" / "SHA256SUMS").write_text("\n".join([*lines, f"{'0' * 64}  ../../outside"]))
    code, out, _ = degrade("verify", tmp_path / "run" / "SHA256SUMS", tmp_path / "run")
    assert (code, out.splitlines()) == (1, ["missing  ../../outside", "differs  hr/00000003.png"])
    (tmp_path / "run" / "SHA256SUMS").write_text("half a line\n")
    code, _, err = degrade("verify", tmp_path / "run" / "SHA256SUMS", tmp_path / "run")
    assert (code, err.count("\n"), "SHA256SUMS:1: must be a SHA-256 and a name" in err) == (2, 1, True)


def test_a_damaged_file_costs_its_sample_which_sample_makes(degrade, made, tmp_path):
    shutil.copytree(made / "run-1-of-2", tmp_path / "bad")
    (tmp_path / "bad" / "lr" / "00000003.png").write_bytes(b"x")
    (tmp_path / "bad" / "hr" / "00000005.png").unlink()
    code, _, err = degrade("merge", tmp_path / "out", made / "run-0-of-2", tmp_path / "bad")
    assert code == 2
    assert err.count("warning: ") == 2
    assert "00000003.png: is not as SHA256SUMS says" in err
    assert err.splitlines()[-1].startswith(f"degrade merge: 2 of {TASKS} samples skipped, listed in")
    quietly(*line(made, "--out", tmp_path / "out"))
    assert content(tmp_path / "out") == content(made / "run")


def test_skipped_samples_of_shards_are_those_of_the_run(degrade, made, tmp_path):
    shutil.copytree(made / "hr", tmp_path / "hr")
    shutil.copy(made / "ours.toml", tmp_path / "ours.toml")
    whole = (tmp_path / "hr" / "1.png").read_bytes()
    (tmp_path / "hr" / "1.png").write_bytes(whole[:900] + bytes(100) + whole[1000:])
    for more in ((), ("--shard", "0/2"), ("--shard", "1/2")):
        assert degrade(*line(tmp_path, "--out", tmp_path / "run", *more))[0] in (0, 2)
    assert (tmp_path / "run" / "skipped.csv").exists()
    assert degrade("merge", tmp_path / "out", tmp_path / "run-0-of-2", tmp_path / "run-1-of-2")[0] == 2
    assert content(tmp_path / "out") == content(tmp_path / "run")


# ---- tars


def test_a_run_and_its_shards_are_packed_into_tars_of_whole_samples(degrade, made, tmp_path):
    for _ in range(2):
        quietly("pack", made / "run", tmp_path / "tars", "--samples", 3)
        assert sorted(path.name for path in (tmp_path / "tars").glob("*.tar")) == [
            f"pairs-00000{n}.tar" for n in range(3)
        ]
    with tarfile.open(tmp_path / "tars" / "pairs-000002.tar") as tar:
        assert tar.getnames() == ["00000008.hr.png", "00000008.lr.png", "00000008.json"]
        hr, lr, task = (tar.extractfile(member).read() for member in tar)
    assert hr == (made / "run" / "hr" / "00000008.png").read_bytes()
    assert lr == (made / "run" / "lr" / "00000008.png").read_bytes()
    assert json.loads(task)["address"].endswith("/s0/i8")

    # What is there is kept, a damaged one is made anew, to the same bytes; shards go into one folder.
    first, second = (tmp_path / "tars" / f"pairs-00000{n}.tar" for n in range(2))
    whole, before = first.read_bytes(), second.stat().st_mtime_ns
    first.write_bytes(whole[:-1000])
    quietly("pack", made / "run", tmp_path / "tars", "--samples", 3)
    assert (first.read_bytes(), second.stat().st_mtime_ns) == (whole, before)
    for number in range(2):
        quietly("pack", made / f"run-{number}-of-2", tmp_path / "both")
    assert sorted(path.name for path in (tmp_path / "both").glob("*.tar")) == [
        "pairs-0-000000.tar",
        "pairs-1-000000.tar",
    ]


def test_an_unfinished_run_says_how_much_of_it_is_packed(degrade, made, tmp_path):
    shutil.copytree(made / "run", tmp_path / "run")
    replaced(tmp_path / "run" / "run.json", f'"tasks": {TASKS}', '"tasks": 30')
    code, out, err = degrade("pack", tmp_path / "run", tmp_path / "a\nb")
    assert (code, f"holds {TASKS} of its 30 samples" in err) == (0, True), err
    assert out == f"1 tar of up to 1000 samples\n  {tmp_path}/a\\nb\n"


def test_tars_in_which_samples_would_stand_twice_are_refused(degrade, made, tmp_path):
    quietly("pack", made / "run", tmp_path / "tars", "--samples", 3)
    quietly("pack", made / "run-0-of-2", tmp_path / "shards")
    for run, folder, other in (
        ("run", "tars", "pairs-000001.tar"),  # 7 samples of one tar beside what is left of three
        ("run-0-of-2", "tars", "pairs-000000.tar"),
        ("run", "shards", "pairs-0-000000.tar"),
    ):
        before = content(tmp_path / folder)
        code, _, err = degrade("pack", made / run, tmp_path / folder)
        assert (code, err.count("\n"), f"{other} is of another run" in err) == (2, 1, True), err
        assert content(tmp_path / folder) == before


def test_a_damaged_sample_costs_its_tar_alone(degrade, made, tmp_path):
    shutil.copytree(made / "run", tmp_path / "run")
    (tmp_path / "run" / "lr" / "00000006.png").write_bytes(b"x")
    code, _, err = degrade("pack", tmp_path / "run", tmp_path / "tars", "--samples", 3)
    assert (code, err.count("\n")) == (2, 2)
    assert "pairs-000001.tar: " in err
    assert "sample 6 is not as it was written" in err
    assert sorted(path.name for path in (tmp_path / "tars").glob("*.tar")) == ["pairs-000000.tar", "pairs-000002.tar"]
    (tmp_path / "tars" / "pairs-000001.tar").write_bytes(b"mine")
    shutil.copytree(made / "run-0-of-2", tmp_path / "evil")
    shutil.copytree(made / "run", tmp_path / "edited")
    pydegrade.TaskBatch.load(made / "run" / "tasks.npz").with_noise(7).save(tmp_path / "edited" / "tasks.npz")
    run_json = tmp_path / "evil" / "run.json"
    run_json.write_text(run_json.read_text().replace('"0/2"', '"../../evil/2"'))
    for words, message in (
        ((tmp_path / "run", tmp_path / "tars", "--samples", 3), "not from this command"),
        ((tmp_path / "evil", tmp_path / "new"), "shard must be I/N"),
        ((tmp_path / "edited", tmp_path / "new"), "tasks.npz is not as SHA256SUMS says"),
        ((made / "hr", tmp_path / "new"), "must be a folder that degrade sample filled"),
        ((made / "run", made / "run" / "tars"), "must lie outside"),
    ):
        code, _, err = degrade("pack", *words)
        assert (code, err.count("\n"), message in err) == (2, 1, True), err
    assert (tmp_path / "tars" / "pairs-000001.tar").read_bytes() == b"mine"


# ---- what is refused, in one line


@pytest.mark.slow
def test_shards_that_make_no_run_are_refused_in_one_line(degrade, made, tmp_path):
    zero, one = made / "run-0-of-2", made / "run-1-of-2"
    quietly(*line(made, "--out", tmp_path / "other", "--seed", 9, "--shard", "1/2"))
    quietly(*line(made, "--out", tmp_path / "more", "--tasks", 9, "--shard", "1/2"))
    for name, change in (
        ("unfinished", lambda folder: (folder / "SHA256SUMS").unlink()),
        ("tampered", lambda folder: (folder / "manifest.csv").write_text("index\n")),
        ("unrecorded", lambda folder: (folder / ".pydegrade.jsonl").unlink()),
        ("sizeless", lambda folder: replaced(folder / "run.json", '"hr_size_px": 16', f'"hr_size_px": {10**30}')),
        ("negative", lambda folder: replaced(folder / "run.json", '"tasks": 7', '"tasks": -7')),
    ):
        shutil.copytree(one, tmp_path / name)
        change(tmp_path / name)
    for shards, message in (
        ([zero], "all 2 shards of a run make a whole one, missing: 1/2"),
        ([made / "run-3-of-7"], "missing: 0/7, 1/7, 2/7, 4/7, 5/7, 6/7"),
        ([zero, zero, one], "both are shard 0/2"),
        ([zero, made / "run-1-of-7"], "whose number of shards is 2, got 7"),
        ([zero, tmp_path / "other-1-of-2"], "whose seed is 0, got 9"),
        ([zero, tmp_path / "more-1-of-2"], "whose number of tasks is 7, got 9"),
        ([zero, tmp_path / "sizeless"], "hr_size_px must be in [0, 2^63)"),
        ([zero, tmp_path / "negative"], "tasks must be at least 0, got -7"),
        ([made / "run"], "got a whole run"),
        ([made / "hr"], "must be a folder that degrade sample filled"),
        ([zero, tmp_path / "unfinished"], "must be a finished shard"),
        ([zero, tmp_path / "tampered"], "manifest.csv is not as SHA256SUMS says"),
        ([zero, tmp_path / "unrecorded"], "must be finished, got 0 of 3 samples"),
    ):
        code, _, err = degrade("merge", tmp_path / "out", *shards)
        assert (code, err.count("\n"), message in err) == (2, 1, True), err
    assert not (tmp_path / "out").exists()
    for out in (zero, zero / "below", made / "run"):  # over a shard, and over another folder of results
        code, _, err = degrade("merge", out, zero, one)
        assert (code, err.count("\n")) == ((0, 0) if out == made / "run" else (2, 1)), err


@pytest.mark.parametrize(
    ("text", "message"),
    [("2/2", "0 <= I < N"), ("x", "0 <= I < N"), ("auto", "got neither"), ("0/8", "7 samples make at most 7 shards")],
)
def test_places_that_are_none_are_refused_in_one_line(degrade, made, tmp_path, monkeypatch, text, message):
    for name in ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = degrade(*line(made, "--out", tmp_path / "out", "--shard", text))
    assert (code, err.count("\n"), message in err) == (2, 1, True), err
    assert list(tmp_path.iterdir()) == []


SLURM = {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "3",
         "SLURM_ARRAY_TASK_STEP": "2"}  # fmt: skip
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "3"}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        (SLURM, (3, 4)),
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "4"}, (0, 4)),
        (TORCHRUN, (1, 3)),
        (SLURM | TORCHRUN, (10, 12)),
        (SLURM | {"SLURM_ARRAY_TASK_ID": "8"}, "one of 4 numbers from 3 on, 2 apart, got 8"),
        (SLURM | {"SLURM_ARRAY_TASK_ID": "11"}, "one of 4 numbers from 3 on, 2 apart, got 11"),
        (SLURM | {"SLURM_ARRAY_TASK_COUNT": "many"}, "SLURM_ARRAY_TASK_COUNT must be a whole number, got 'many'"),
        ({"RANK": "3", "WORLD_SIZE": "3"}, "RANK must be below WORLD_SIZE, got 3 and 3"),
        ({"RANK": "3"}, "WORLD_SIZE must be a whole number, got ''"),
    ],
)
def test_auto_is_the_place_in_an_array_and_among_ranks(environment, place):
    if isinstance(place, str):
        with pytest.raises(OutputError, match=place):
            parse_shard("auto", environment)
    else:
        assert parse_shard("auto", environment) == place
        assert parse_shard(f"{place[0]}/{place[1]}", {}) == place


# ---- shards of degrade apply


@pytest.fixture(scope="module")
def applied(made, tmp_path_factory) -> Path:
    """whole/ of one process and whole-I-of-N/ of two: three photographs, each by its own task, with targets."""
    folder = tmp_path_factory.mktemp("applied")
    line = ("apply", made / "hr", "--tasks", made / "ours.toml", "--seed", 3, "--keep-names", "--with-target")
    quietly(*line, "--out", folder / "whole")
    for number in range(2):
        quietly(*line, "--out", folder / "whole", "--shard", f"{number}/2")
    return folder


def visible(folder: Path) -> dict[str, bytes]:
    """Every file but the record, whose lines stand in the order in which results became ready."""
    return {name: held for name, held in content(folder).items() if not name.startswith(".")}


def test_merged_shards_of_apply_are_the_folder_of_one_process(degrade, made, applied, tmp_path):
    shards = [applied / "whole-1-of-2", applied / "whole-0-of-2"]
    for _ in range(2):
        quietly("merge", tmp_path / "out", *shards)
        assert visible(tmp_path / "out") == visible(applied / "whole")
    assert degrade("verify", shards[0] / "SHA256SUMS", shards[0])[0] == 0
    # What apply would make is there, and every image is one shard's.
    code, out, _ = degrade("apply", made / "hr", "--tasks", made / "ours.toml", "--seed", 3, "--keep-names",
                           "--with-target", "--out", tmp_path / "out")  # fmt: skip
    assert (code, "3 images are there already" in out) == (0, True), out
    assert sum(len(list((shard / "lr").iterdir())) for shard in shards) == 3


def test_one_task_on_many_images_is_shared_out_too(made, tmp_path):
    address = pydegrade.sample(made / "ours.toml", 0, range(1)).addresses[0]
    line = ("apply", made / "hr", "--task", address, "--space", made / "ours.toml")
    quietly(*line, "--out", tmp_path / "whole")
    for number in range(3):
        quietly(*line, "--out", tmp_path / "part", "--shard", f"{number}/3")
    quietly("merge", tmp_path / "out", *(tmp_path / f"part-{number}-of-3" for number in range(3)))
    assert visible(tmp_path / "out") == visible(tmp_path / "whole")


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_names_with_line_breaks_are_merged_too(degrade, made, tmp_path):
    (tmp_path / "hr").mkdir()
    for name in ("a\nb.png", "c\\n\r.png"):
        shutil.copy(next((made / "hr").iterdir()), tmp_path / "hr" / name)
    line = ("apply", tmp_path / "hr", "--tasks", made / "ours.toml", "--out", tmp_path / "whole")
    quietly(*line)
    for number in range(2):
        quietly(*line, "--shard", f"{number}/2")
    quietly("merge", tmp_path / "out", tmp_path / "whole-0-of-2", tmp_path / "whole-1-of-2")
    assert visible(tmp_path / "out") == visible(tmp_path / "whole")
    assert degrade("verify", tmp_path / "whole-0-of-2" / "SHA256SUMS", tmp_path / "whole-0-of-2")[0] == 0


def test_shards_of_apply_that_make_no_run_are_refused_in_one_line(degrade, made, applied, tmp_path):
    zero, one = applied / "whole-0-of-2", applied / "whole-1-of-2"
    degrade("apply", made / "hr", "--tasks", made / "ours.toml", "--seed", 4, "--keep-names", "--with-target",
            "--out", tmp_path / "other", "--shard", "1/2")  # fmt: skip
    for name, change in (
        ("tampered", lambda folder: replaced(folder / "shard.json", '"images": 3', '"images": 30')),
        ("unfinished", lambda folder: (folder / "SHA256SUMS").unlink()),
        ("outside", lambda folder: replaced(folder / "SHA256SUMS", "lr/", "../lr/")),
        ("unrecorded", lambda folder: (folder / ".pydegrade.jsonl").unlink()),
    ):
        shutil.copytree(one, tmp_path / name)
        change(tmp_path / name)
    for shards, message in (
        ([zero], "missing: 1/2"),
        ([zero, zero, one], "both are shard 0/2"),
        ([zero, tmp_path / "other-1-of-2"], "whose images, tasks and options are"),
        ([zero, tmp_path / "tampered"], "shard.json is not as SHA256SUMS says"),
        ([zero, tmp_path / "unfinished"], "must be a finished shard of degrade apply"),
        ([zero, tmp_path / "outside"], "outside"),
        ([zero, tmp_path / "unrecorded"], "differ about"),
        ([zero, made / "run-0-of-2"], "must be a finished shard of degrade apply"),
    ):
        code, _, err = degrade("merge", tmp_path / "out", *shards)
        assert (code, err.count("\n"), message in err) == (2, 1, True), err
    assert not (tmp_path / "out").exists()
    shutil.copytree(one, tmp_path / "damaged")
    name = next((tmp_path / "damaged" / "lr").iterdir())
    name.write_bytes(b"x")
    code, _, err = degrade("merge", tmp_path / "out", zero, tmp_path / "damaged")
    assert (code, f"{name.name}: is not as SHA256SUMS says" in err) == (2, True), err

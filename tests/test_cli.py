"""The `degrade` command: what it writes, that it can be killed, and one line with exit code 2 for everything wrong."""

from __future__ import annotations

import csv
import importlib
import io
import itertools
import json
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pydegrade
from pydegrade.commands import cli
from pydegrade.commands.actions import new_space, preview
from pydegrade.errors import OpError, SpaceError
from pydegrade.files import atomic
from pydegrade.files.pixels import to_float, to_uint8
from pydegrade.files.read import read_image
from pydegrade.files.write import encode_png, write_image
from pydegrade.ops import registry
from pydegrade.shell.main import Commands
from pydegrade.tasks import sampler
from pydegrade.tasks.space import preset_names

from .children import environment, interrupted

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ["--hr-size", "48", "--batch", "7"]


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def degrade(capsys):
    """Runs the command in this process."""

    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(caught.value.code, captured.out, captured.err)

    return run


def command(*arguments: object) -> list[str]:
    """The same command for a process of its own."""
    return [sys.executable, "-m", "pydegrade", *(str(argument) for argument in arguments)]


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def visible(folder: Path) -> dict[str, bytes]:
    """`tree` without hidden files: the record of results."""
    return {name: content for name, content in tree(folder).items() if not name.rpartition("/")[2].startswith(".")}


def manifest(folder: Path) -> list[dict[str, str]]:
    with open(folder / "manifest.csv", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three photographs, as a folder."""
    folder = tmp_path_factory.mktemp("photos")
    from pydegrade.files.dataset import photographs_folder

    for name, suffix in [("astronaut", "png"), ("coffee", "png"), ("rocket", "jpg")]:
        with Image.open(photographs_folder() / f"{name}.{suffix}") as image:
            image.crop((100, 100, 260, 220)).save(folder / f"{name}.png")
    return folder


# ---- sample


@pytest.mark.representatives(1)
@pytest.mark.parametrize("space", preset_names())
def test_sample_writes_what_the_python_functions_return(degrade, photos, tmp_path, space):
    out = tmp_path / "run"
    result = degrade("sample", "--tasks", 8, "--space", space, "--seed", 3, "--hr", photos, "--out", out, *SAMPLE)
    assert result.code == 0, result.err
    tasks = pydegrade.sample(space, 3, range(8))
    assert f"space {space}@{tasks.space.digest[:8]}" in result.out
    assert str((out / "lr").resolve()) in result.out
    assert "pairs/s" in result.out

    rows = manifest(out)
    assert [row["address"] for row in rows] == list(tasks.addresses)
    for index, row in enumerate(rows):
        # The crop is where the manifest says.
        source = read_image(photos / row["source"])
        top, left, side = int(row["top_px"]), int(row["left_px"]), int(row["side_px"])
        crop = source[top : top + side, left : left + side]
        crop = crop[:, ::-1] if row["hflip"] == "1" else crop
        assert side == 48
        assert np.array_equal(read_image(out / row["hr"]), crop)

        # The pair is what degrade_pairs makes of it.
        pair = pydegrade.degrade_pairs([to_float(np.ascontiguousarray(crop))], tasks.take([index]))[0]
        assert np.array_equal(read_image(out / row["lr"]), to_uint8(pair.lr))
        if tasks.space.target != "hr":
            assert np.array_equal(read_image(out / row["target"]), to_uint8(pair.target))
        else:
            assert "target" not in row

        # The columns are the task's.
        for name in tasks.columns:
            assert row[name] == str(tasks.labels(name)[index])
    assert (out / "target").exists() == (tasks.space.target != "hr")

    loaded = pydegrade.TaskBatch.load(out / "tasks.npz")
    assert list(loaded.addresses) == list(tasks.addresses)
    assert np.array_equal(loaded.fingerprints(), tasks.fingerprints())
    if "dasr33" in tasks.space.vectors:
        values, mask = tasks.vector("dasr33")
        assert np.array_equal(np.load(out / "dasr33.npy"), values)
        assert np.array_equal(np.load(out / "dasr33_mask.npy"), mask)
    facts = json.loads((out / "run.json").read_text())
    assert (facts["digest"], facts["seed"], facts["tasks"]) == (tasks.space.digest, 3, 8)
    assert facts["versions"]["torch"] == torch.__version__
    assert read_image(out / "sheet.png").shape[1] > 4 * 388


@pytest.mark.slow
def test_result_does_not_depend_on_batch_and_grows(degrade, photos, tmp_path):
    for name, batch in (("a", 1), ("b", 5)):
        assert (
            degrade(
                "sample", "--tasks", 11, "--hr", photos, "--out", tmp_path / name, "--hr-size", 48, "--batch", batch
            ).code
            == 0
        )
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert degrade("sample", "--tasks", 6, "--hr", photos, "--out", tmp_path / "c", *SAMPLE).code == 0
    grown = degrade("sample", "--tasks", 11, "--hr", photos, "--out", tmp_path / "c", *SAMPLE)
    assert "6 of 11 samples are there from an earlier run" in grown.out
    assert tree(tmp_path / "a") == tree(tmp_path / "c")


def test_a_finished_run_is_not_done_again(degrade, photos, tmp_path):
    arguments = ("sample", "--tasks", 5, "--hr", photos, "--out", tmp_path / "a", *SAMPLE)
    assert degrade(*arguments).code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a" / "lr").iterdir()}
    assert degrade(*arguments).code == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "a" / "lr").iterdir()}


@pytest.mark.slow
def test_npy_and_lmdb_hold_the_same_pixels(degrade, photos, tmp_path):
    import lmdb

    for file_format in ("png", "npy", "lmdb"):
        arguments = ("sample", "--tasks", 9, "--hr", photos, "--out", tmp_path / file_format, "--format", file_format)
        assert degrade(*arguments, *SAMPLE).code == 0
    meta = (tmp_path / "lmdb" / "lr.lmdb" / "meta_info.txt").read_text().splitlines()
    assert meta == [f"{index:08d}.png (12,12,3) 1" for index in range(9)]
    assert (tmp_path / "lmdb" / "hr.lmdb" / "meta_info.txt").read_text().startswith("00000000.png (48,48,3) 1\n")
    with (
        lmdb.open(str(tmp_path / "lmdb" / "lr.lmdb"), readonly=True) as environment,
        environment.begin() as transaction,
    ):
        for index in range(9):
            expected = read_image(tmp_path / "png" / "lr" / f"{index:08d}.png")
            assert np.array_equal(np.load(tmp_path / "npy" / "lr" / f"{index:08d}.npy"), expected)
            encoded = transaction.get(f"{index:08d}".encode())
            assert encoded == encode_png(expected)
    again = degrade("sample", "--tasks", 12, "--hr", photos, "--out", tmp_path / "lmdb", "--format", "lmdb", *SAMPLE)
    assert "9 of 12 samples are there" in again.out
    assert len((tmp_path / "lmdb" / "lr.lmdb" / "meta_info.txt").read_text().splitlines()) == 12


def test_params_only(degrade, tmp_path):
    out = tmp_path / "params"
    assert degrade("sample", "--tasks", 1000, "--params-only", "--start", 50, "--seed", 2, "--out", out).code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "dasr33.npy", "dasr33_mask.npy", "manifest.csv", "run.json", "tasks.npz",
    ]  # fmt: skip
    rows = manifest(out)
    assert (rows[0]["index"], rows[-1]["index"]) == ("50", "1049")
    assert "source" not in rows[0]


def test_photographs_that_ship_with_scikit_image(degrade, tmp_path):
    result = degrade("sample", "--tasks", 3, "--out", tmp_path / "run")
    assert result.code == 0
    assert "HR crops of 192 px" in result.out
    assert read_image(tmp_path / "run" / "hr" / "00000002.png").shape == (192, 192, 3)
    assert read_image(tmp_path / "run" / "lr" / "00000002.png").shape == (48, 48, 3)


# ---- being killed


LONG = ["--tasks", 96, "--hr-size", 120, "--batch", 8]


def interrupted_sample(signal_name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`degrade sample` until the 41st LR image gets its name; other threads are then in the middle of theirs."""
    return subprocess.run(
        interrupted(signal_name, "*/lr/*.png", 41, "pydegrade", "sample", *arguments),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def uninterrupted(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run(command("sample", *LONG, "--hr", photos, "--out", out), env=environment(), check=True)
    return tree(out)


def killed_within_a_write(path):
    """A process that dies while it fills a file; leaves its temporary file."""
    program = f"""
import os, signal
from pydegrade.files.atomic import replacing
with replacing({str(path)!r}) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    before = set(path.parent.iterdir())
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    assert len(set(path.parent.iterdir()) - before) == 1


@pytest.mark.slow
def test_kill_in_the_middle_then_resume_equals_an_uninterrupted_run(degrade, photos, tmp_path, uninterrupted):
    out = tmp_path / "run"
    arguments = [*LONG, "--hr", photos, "--out", out]
    done = interrupted_sample("SIGKILL", *arguments)
    assert done.returncode == -signal.SIGKILL, done
    left = {name: content for name, content in tree(out).items() if name.endswith(".png") and "/." not in name}
    # Threads that stood before their own files when the process died have not named them.
    assert 8 < sum(name.startswith("lr/") for name in left) <= 40
    # Whatever has its final name is complete.
    assert all(content == uninterrupted[name] for name, content in left.items())
    # What a process killed in the middle of a write leaves behind.
    killed_within_a_write(out / "lr" / "00000095.png")
    with open(out / "manifest.csv", "a") as stream:
        stream.write("95,realesrg")

    result = degrade("sample", *arguments)
    assert result.code == 0
    assert "samples are there from an earlier run" in result.out
    assert tree(out) == uninterrupted


@pytest.mark.slow
def test_interrupt_says_what_is_done_and_leaves_valid_tables(degrade, photos, tmp_path, uninterrupted):
    out = tmp_path / "run"
    arguments = [*LONG, "--hr", photos, "--out", out]
    done = interrupted_sample("SIGINT", *arguments)
    assert done.returncode == 130, done
    assert "the same command continues" in done.stderr
    assert "Traceback" not in done.stderr
    rows = manifest(out)
    assert 8 <= len(rows) < 96
    assert list(pydegrade.TaskBatch.load(out / "tasks.npz").addresses) == [row["address"] for row in rows]
    assert all((out / row["lr"]).exists() for row in rows)
    assert degrade("sample", *arguments).code == 0
    assert tree(out) == uninterrupted


# ---- apply


@pytest.mark.representatives(2)
@pytest.mark.parametrize("space", preset_names())
def test_apply_rebuilds_the_bits_of_sample(degrade, photos, tmp_path, space):
    run = tmp_path / "run"
    arguments = ("sample", "--tasks", 2, "--space", space, "--seed", 11, "--hr", photos, "--out", run)
    assert degrade(*arguments, *SAMPLE).code == 0
    for row in manifest(run):
        out = tmp_path / f"out{row['index']}"
        assert degrade("apply", run / row["hr"], "--task", row["address"], "--out", out, "--with-target").code == 0
        name = Path(row["hr"]).stem
        assert (out / f"{name}.png").read_bytes() == (run / row["lr"]).read_bytes()
        if "target" in row:
            assert (out / f"{name}_target.png").read_bytes() == (run / row["target"]).read_bytes()


def test_apply_a_file_of_tasks_to_a_folder_of_any_sizes(degrade, photos, tmp_path):
    pydegrade.sample("bsrgan-x4", 5, range(3)).save(tmp_path / "tasks.npz")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    write_image(tmp_path / "in" / "odd.png", read_image(photos / "coffee.png")[:101, :99])
    write_image(tmp_path / "in" / "sub" / "even.png", read_image(photos / "coffee.png")[:64, :80])
    result = degrade("apply", tmp_path / "in", "--task", tmp_path / "tasks.npz", "--out", tmp_path / "out")
    assert result.code == 0
    assert "odd.png: cut from 99 x 101 to 96 x 100 px, multiples of the scale 4" in result.err
    assert sorted(visible(tmp_path / "out")) == sorted(
        f"{name}/{row:05d}.png" for name in ("odd", "sub/even") for row in range(3)
    )
    tasks = pydegrade.TaskBatch.load(tmp_path / "tasks.npz")
    cut = to_float(np.ascontiguousarray(read_image(tmp_path / "in" / "odd.png")[:100, :96]))
    expected = pydegrade.degrade_list([cut], tasks.take([2]))[0]
    assert np.array_equal(read_image(tmp_path / "out" / "odd" / "00002.png"), to_uint8(expected))


def test_apply_skips_and_reports_broken_files(degrade, photos, tmp_path):
    (tmp_path / "in").mkdir()
    content = (photos / "coffee.png").read_bytes()
    (tmp_path / "in" / "good.png").write_bytes(content)
    (tmp_path / "in" / "half.png").write_bytes(content[: len(content) // 2])
    write_image(tmp_path / "in" / "tiny.png", np.zeros((3, 9, 3), np.uint8))
    address = pydegrade.sample("realesrgan-x4", 0, [0]).addresses[0]
    result = degrade("apply", tmp_path / "in", "--task", address, "--out", tmp_path / "out")
    assert result.code == 2
    assert "half.png: corrupt or truncated" in result.err
    assert "tiny.png: sides must be at least the scale 4, got 9 x 3" in result.err
    assert "degrade apply: 2 of 3 images skipped" in result.err
    assert list(visible(tmp_path / "out")) == ["good.png"]


def test_results_of_one_name_keep_the_ending(degrade, tmp_path):
    for suffix in ("png", "bmp"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"a.{suffix}")
    address = pydegrade.sample("bicubic", 0, [0]).addresses[0]
    source = tmp_path / "in"
    source.mkdir()
    for suffix in ("png", "bmp"):
        (tmp_path / f"a.{suffix}").rename(source / f"a.{suffix}")
    assert degrade("apply", source, "--task", address, "--out", tmp_path / "out").code == 0
    assert sorted(visible(tmp_path / "out")) == ["a.bmp.png", "a.png"]


# ---- show, preview, spaces, help


def test_show(degrade, tmp_path):
    tasks = pydegrade.sample("realesrgan-x4", 7, range(123, 127))
    text = degrade("show", tasks.addresses[0])
    assert text.code == 0
    # The same words, in lines that a terminal holds.
    assert text.out.split() == tasks.describe(0).split()
    assert max(map(len, text.out.splitlines())) <= 80
    tasks.save(tmp_path / "tasks.npz")
    lines = degrade("show", tmp_path / "tasks.npz", "--json", "--first", 3)
    objects = [json.loads(line) for line in lines.out.splitlines()]
    assert [item["address"] for item in objects] == list(tasks.addresses[:3])
    assert "3 of 4 tasks shown" in lines.err
    for row, item in enumerate(objects):
        for name, values in tasks.columns.items():
            shown = item["columns"][name]
            choices = tasks.space.column(name).choices
            assert isinstance(shown, str) == bool(choices)
            assert shown == tasks.labels(name)[row] if choices else np.float32(shown) == values[row]


def test_a_run_keeps_its_space(degrade, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text('[space]\nname = "good"\nbase = "bicubic-x2"\n')
    command = ("sample", "--tasks", 2, "--space", "good.toml", "--seed", 3, "--hr", photos, "--hr-size", 32)
    line = degrade(*command).out.splitlines()[-1]
    address = line.rpartition("degrade show ")[2]
    assert address.startswith("good@")
    assert " " not in address
    line = degrade(*command, "--out", "my run").out.splitlines()[-1]
    Path("good.toml").unlink()
    assert line.endswith(f"try: degrade show {address} --space 'my run'")
    # The folder that is filled by itself is found, others are named; both hold tasks.
    shown = degrade("show", address)
    assert (shown.code, shown.out) == (0, degrade("show", address, "--space", "my run").out)
    assert len(degrade("show", "my run", "--json").out.splitlines()) == 2
    for source in (address, "my run"):
        assert degrade("apply", photos, "--task", source, "--out", tmp_path / "applied", "--force").code == 0
        assert degrade("preview", "--task", source, "--hr", photos, "--hr-size", 32, "-o", "sheet.png").code == 0
    assert (
        degrade("preview", "--space", "my run", "--n", 1, "--hr", photos, "--hr-size", 32, "-o", "sheet.png").code == 0
    )
    other = address.replace("/s3/", "/s4/")
    assert one_line(degrade("show", other))
    assert degrade("preview", "--task", other, "--space", "my run", "--hr-size", 32, "-o", "sheet.png").code == 0
    assert "a folder with tasks.npz" in one_line(degrade("show", tmp_path))


@pytest.mark.slow
def test_preview_has_a_row_per_task(degrade, tmp_path):
    assert degrade("preview", "--n", 2, "--hr-size", 64, "-o", tmp_path / "two.png").code == 0
    assert degrade("preview", "--n", 4, "--hr-size", 64, "-o", tmp_path / "sub" / "four.png").code == 0
    two, four = read_image(tmp_path / "two.png"), read_image(tmp_path / "sub" / "four.png")
    assert four.shape[0] > 2 * two.shape[0] - 100
    pydegrade.sample("bicubic", 0, range(3)).save(tmp_path / "tasks.npz")
    assert degrade("preview", "--task", tmp_path / "tasks.npz", "-o", tmp_path / "three.png").code == 0
    refused = degrade("preview", "--task", tmp_path / "tasks.npz", "--seed", 0, "-o", tmp_path / "four.png")
    assert "--seed goes with --space" in one_line(refused)


def test_preview_of_a_run_shows_the_crops_of_the_run(degrade, photos, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(preview, "render_sheet", lambda *given, **more: np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr(preview, "trace", lambda images, tasks: shown.extend(images))
    monkeypatch.setattr(preview, "stage_rows", lambda tasks, stages: [])
    run = ("--hr", photos, "--hr-size", 32)
    assert degrade("sample", "--tasks", 2, "--seed", 5, "--space", "bicubic", *run, "--out", tmp_path / "run").code == 0
    assert degrade("preview", "--task", tmp_path / "run", *run, "-o", tmp_path / "sheet.png").code == 0
    for number, image in enumerate(shown):
        assert np.array_equal(to_uint8(image), read_image(tmp_path / f"run/hr/{number:08d}.png"))
    assert len(shown) == 2


def test_spaces_lists_every_preset_with_its_digest(degrade):
    result = degrade("spaces")
    assert result.code == 0
    for name in preset_names():
        space = pydegrade.Space.load(name)
        assert f"{name} " in result.out
        assert space.digest[:8] in result.out
        assert f"\n{space.family}\n" in "\n" + result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_spaces_says_what_is_in_one(degrade):
    result = degrade("spaces", "gfpgan", "dasr-mixed")
    assert result.code == 0
    assert "options/train_gfpgan_v1.yml" in result.out
    assert "gates   shifted jittered" in result.out
    assert "dasr-weak dasr-standard dasr-severe" in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    assert "did you mean 'gfpgan'" in one_line(degrade("spaces", "gfpgn"))


@pytest.mark.slow
def test_spaces_lists_a_preset_whose_codec_is_missing(degrade, monkeypatch):
    def missing(*args):
        raise OpError("this Pillow has no WebP")

    # The module: the package's attribute of this name is the function.
    monkeypatch.setattr(importlib.import_module("pydegrade.ops.webp"), "required", missing)
    registry.note_registration()
    result = degrade("spaces")
    assert result.code == 0
    reason, names, *more = result.out.split("Not on this machine\n")[1].splitlines()
    assert reason == "  op 'webp': this Pillow has no WebP"
    assert "digital-art" in names
    assert not more
    assert max(map(len, result.out.splitlines())) <= 80
    assert "game-texture" in result.out


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help_with_an_example(degrade, name):
    for option in ("-h", "--help"):
        result = degrade(name, option)
        assert result.code == 0
        assert result.out.startswith(f"Usage: degrade {name}")
        assert f"degrade {name}" in result.out.split("Example", 1)[1]


def test_version_and_module(degrade):
    assert degrade("--version").out.strip().endswith(pydegrade.__version__)
    done = subprocess.run(command("--help"), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0
    assert "degrade sample --tasks 4000" in done.stdout


# ---- what is wrong is said in one line


def one_line(result: Result) -> str:
    lines = result.err.strip().splitlines()
    assert result.code == 2, result.err
    assert len(lines) == 1, result.err
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample"], "degrade sample: Missing option '--tasks'"),
        (["sample", "--tasks", 0], "'--tasks': must be in [1, 10,000,000]; more in several runs, by --start, got '0'"),
        (["sample", "--tasks", 4, "--tusks", 4], "Did you mean '--tasks'?"),
        (["sample", "--tasks", 4, "--hr", "absent"], "absent: must be a folder with images, got nothing"),
        (["sample", "--tasks", 4, "--hr-size", 50], "--hr-size: must be a multiple of the scale 4, got 50"),
        (["sample", "--tasks", 4, "--hr-size", 4000], "smaller than the crop of 4000 px"),
        (["sample", "--tasks", 4, "--format", "jpg"], "'--format': must be one of png, npy, lmdb, mkv, got 'jpg'"),
        (["sample", "--tasks", 4, "--seed", -1], "'--seed': must be in [0, 2^63), got '-1'"),
        (["simple"], "No such command 'simple'; did you mean 'sample'?"),
        (["show", "nonsense"], "a task must be an address"),
        (["apply", "absent.png", "--task", "x", "--out", "y"], "'absent.png' does not exist"),
    ],
)
def test_wrong_usage(degrade, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in one_line(degrade(*arguments))
    assert list(tmp_path.iterdir()) == []


def test_unknown_space_names_the_nearest(degrade, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for wrong, right in (
        ("realesrgan-x44", "realesrgan-x4"),
        ("realesrgan-4x", "realesrgan-x4"),
        ("mzsr-bicubic-x3", "mzsr-bicubic-x2"),
    ):
        line = one_line(degrade("sample", "--tasks", 4, "--space", wrong))
        assert f"no preset named '{wrong}'; did you mean '{right}'?" in line


def test_an_address_of_another_version_of_the_space_is_refused(degrade, photos, tmp_path):
    address = pydegrade.sample("realesrgan-x4", 7, [123]).addresses[0]
    name, rest = address.split("@")
    other = f"{name}@{'0' * 8}{rest[8:]}"
    assert "00000000" in one_line(degrade("show", other))


def test_cuda_without_a_gpu(degrade, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    line = one_line(degrade("sample", "--tasks", 1, "--device", "cuda", "--out", tmp_path / "out"))
    assert "cuda needs a GPU and a CUDA build" in line


def test_folder_without_images(degrade, tmp_path):
    (tmp_path / "empty").mkdir()
    line = one_line(degrade("sample", "--tasks", 1, "--hr", tmp_path / "empty", "--out", tmp_path / "out"))
    assert "must contain images" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", 1], "holds a run with seed 0, got 1"),
        (["--space", "bsrgan-x4"], "holds a run with space 'realesrgan-x4', got 'bsrgan-x4'"),
        (["--hr-size", 32], "holds a run with hr_size_px 48, got 32"),
        (["--format", "npy"], "holds a run with format 'png', got 'npy'"),
        (["--start", 1], "holds a run with start 0, got 1"),
        (["--tasks", 2], "holds a run of 3 tasks, got 2"),
        (["--hr", "other"], "holds a run with hr_digest"),
        (["--params-only"], "holds a run with hr_digest"),
    ],
)
def test_another_configuration_in_the_same_folder_is_refused(degrade, photos, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    write_image(tmp_path / "other" / "a.png", read_image(photos / "coffee.png"))
    arguments = ["sample", "--tasks", 3, "--hr", photos, "--out", "out", *SAMPLE]
    assert degrade(*arguments).code == 0
    before = tree(tmp_path / "out")
    assert message in one_line(degrade(*arguments, *change))
    assert tree(tmp_path / "out") == before


def test_a_folder_with_other_files_is_not_filled(degrade, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    line = one_line(degrade("sample", "--tasks", 1, "--out", tmp_path))
    assert "must be new, empty or a folder of an earlier run" in line
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.slow
def test_broken_photographs_are_skipped_and_reported(degrade, photos, tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    for path in photos.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    whole = tmp_path / "whole"
    assert degrade("sample", "--tasks", 30, "--hr", source, "--out", whole, *SAMPLE).code == 0

    content = (source / "coffee.png").read_bytes()
    (source / "coffee.png").write_bytes(content[: len(content) // 2])
    (source / "notes.jpg").write_text("no image")
    write_image(source / "small.png", np.zeros((47, 200, 3), np.uint8))
    out = tmp_path / "out"
    result = degrade("sample", "--tasks", 30, "--hr", source, "--out", out, *SAMPLE)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert "left out: " in result.err
    assert "small.png: 200 x 47 px, smaller than the crop of 48 px" in result.err
    assert "notes.jpg: must be an image file" in result.err
    assert result.err.count("coffee.png: corrupt or truncated") == 1

    # The other samples are the same as before, byte for byte; nothing took the place of the skipped ones.
    skipped = [row["index"] for row in manifest(whole) if row["source"] == "coffee.png"]
    with open(out / "skipped.csv", newline="") as stream:
        assert [row["index"] for row in csv.DictReader(stream)] == skipped
    kept = [row for row in manifest(whole) if row["source"] != "coffee.png"]
    assert manifest(out) == kept
    assert all((out / row["lr"]).read_bytes() == (whole / row["lr"]).read_bytes() for row in kept)
    assert len(list((out / "lr").iterdir())) == len(kept) == len(pydegrade.TaskBatch.load(out / "tasks.npz"))


@pytest.mark.slow
def test_unusual_photographs_are_converted_and_reported(degrade, photos, tmp_path):
    pixels = read_image(photos / "coffee.png")
    source = tmp_path / "photos"
    source.mkdir()
    alpha = np.full((*pixels.shape[:2], 1), 90, np.uint8)
    Image.fromarray(np.concatenate([pixels, alpha], axis=2)).save(source / "alpha.png")
    Image.fromarray(pixels).convert("L").save(source / "gray.png")
    Image.fromarray(pixels).quantize(32).save(source / "palette.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(source / "deep.png")
    result = degrade("sample", "--tasks", 40, "--hr", source, "--out", tmp_path / "out", *SAMPLE)
    assert result.code == 0
    assert {line.split(": ", 2)[2] for line in result.err.splitlines() if line.startswith("warning")} == {
        "alpha channel dropped",
        "16 bits rounded to 8",
    }
    for row in manifest(tmp_path / "out"):
        if row["source"] == "deep.png":
            top, left = int(row["top_px"]), int(row["left_px"])
            crop = pixels[top : top + 48, left : left + 48, :1].repeat(3, axis=2)
            crop = crop[:, ::-1] if row["hflip"] == "1" else crop
            assert np.array_equal(read_image(tmp_path / "out" / row["hr"]), crop)


def test_a_list_cannot_lead_out_of_the_folder(degrade, photos, tmp_path):
    (tmp_path / "meta_info.txt").write_text("coffee.png (120,160,3)\n../secret.png (1,1,3)\n")
    arguments = ("sample", "--tasks", 1, "--hr", photos, "--meta-info", tmp_path / "meta_info.txt")
    line = one_line(degrade(*arguments, "--out", tmp_path / "out", *SAMPLE))
    assert "file names must stay inside the folder, got '../secret.png'" in line


def test_huge_photographs_need_a_word(degrade, photos, tmp_path):
    arguments = ("sample", "--tasks", 1, "--hr", photos, "--out", tmp_path / "out", *SAMPLE)
    assert "at most 15,000 pixels, got 160 x 120 = 19,200" in one_line(degrade(*arguments, "--max-megapixels", 0.015))
    assert degrade(*arguments, "--max-megapixels", 0.02).code == 0


@pytest.mark.slow
def test_a_full_disk_is_a_failure_and_keeps_what_is_done(degrade, photos, tmp_path, monkeypatch):
    arguments = ("sample", "--tasks", 20, "--hr", photos, "--out", tmp_path / "out", *SAMPLE)
    write = atomic.os.replace
    calls = []

    def replace(source, target):
        calls.append(target)
        if len(calls) == 25:
            raise OSError(28, "No space left on device")
        write(source, target)

    monkeypatch.setattr(atomic.os, "replace", replace)
    result = degrade(*arguments)
    assert result.code == 1
    assert "No space left on device" in result.err
    assert "Traceback" not in result.err
    monkeypatch.undo()
    assert degrade(*arguments).code == 0
    assert len(manifest(tmp_path / "out")) == 20


def test_an_unexpected_failure_is_not_hidden(degrade, monkeypatch, tmp_path):
    def fail(*_arguments, **_options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(sampler, "sample", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["sample", "--tasks", "1", "--out", str(tmp_path / "out")])


# ---- commands of other packages


def test_the_trainer_declares_its_commands(degrade, monkeypatch):
    tomli = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    declared = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][cli.ENTRY_POINTS]
    entries = {name: EntryPoint(name, value, cli.ENTRY_POINTS) for name, value in declared.items()}
    monkeypatch.setattr(Commands, "added", lambda self: entries)
    assert sorted(entries) == ["estimate", "pairs"]
    for name in entries:
        result = degrade(name, "--help")
        assert (result.code, result.err) == (0, "")
        assert f"degrade {name} [OPTIONS]" in result.out
        assert name in degrade("--help").out


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package:command", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("pydegrade.engine:no_such_command", "AttributeError"),
        ("pydegrade.engine:degrade", "must be a click.Command, got function"),
    ],
)
def test_a_command_that_does_not_load_is_one_line_and_spoils_nothing(degrade, monkeypatch, value, message):
    entries = {name: EntryPoint(name, value, cli.ENTRY_POINTS) for name in ("foreign", "spaces")}
    monkeypatch.setattr(Commands, "added", lambda self: entries)
    result = degrade("foreign", "photo.png", "--option", "1")
    assert result.code == 1
    assert result.err.startswith(f"degrade: foreign ({value}) cannot be loaded: ")
    assert message in result.err
    assert result.err.count("\n") == 1
    listed = degrade("--help")
    assert listed.code == 0
    assert "foreign" in listed.out
    assert degrade("spaces").code == 0, "a name that this package has stays its own"


# ---- sheets


def test_accounts_of_pairs_separate_slots():
    from pydegrade.sheet import pair_rows

    tasks = pydegrade.sample("bicubic", 0, [5])
    (row,) = pair_rows(tasks, [np.zeros((8, 8, 3), np.uint8)], [np.zeros((2, 2, 3), np.uint8)])
    assert row.cells[0].title == "sample 5"
    assert row.cells[0].captions == ("resize1: matlab_bicubic, resize_factor 0.25, factor of the input size",)


def test_sheet_places_every_image_unchanged_at_its_size():
    from pydegrade.sheet import Cell, SheetRow, render_sheet

    rng = np.random.default_rng(0)
    small, exact = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (32, 64))
    rows = [SheetRow("first", (Cell(small, "a", ("one two three four five six seven eight",)), Cell(exact)))]
    sheet = render_sheet(rows, "heading", cell_width_px=64, cell_height_px=64)

    def contains(image: np.ndarray) -> bool:
        height, width, _ = image.shape
        return any(
            np.array_equal(sheet[y : y + height, x : x + width], image)
            for y, x in zip(*np.nonzero((sheet[:-height, :-width] == image[0, 0]).all(axis=2)))
        )

    assert contains(exact)
    assert contains(small.repeat(2, axis=0).repeat(2, axis=1))


def test_captions_are_wrapped_to_their_column():
    from PIL import ImageFont

    from pydegrade.sheet import _wrapped

    font = ImageFont.load_default(13)
    text = "sigma_x 1.27 px sigma_y 0.44 px angle 1.2 rad beta 0.9"
    lines = _wrapped(text, font, 100)
    assert " ".join(lines) == text
    assert len(lines) > 2
    assert all(font.getlength(line) <= 100 for line in lines)
    assert _wrapped("", font, 100) == []


# ---- check


def test_check_shows_what_a_space_does(degrade, tmp_path):
    text = degrade("check", "realesrgan-x4", "--tasks", 200, "--images", 2).out
    assert text.startswith("realesrgan-x4  digest c2d470a8  x4  target usm  crops of 400 px")
    assert "blur1 (blur)       100.0 %" in text
    assert "dry run: 2 of 400 x 400 px degraded, 200 tasks planned" in text
    assert max(map(len, text.splitlines())) <= 80
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[space]\nname = "m"\nscale = 4\nsource = "t"\nhr_px = 32\n'
        '[[slot]]\nname = "n"\nop = "noise"\nkind = "off"\nsigma_8bit = 3\n'
        '[[slot]]\nname = "b"\nop = "blur"\nshape = "iso"\nsize_px = 7\nsigma_x_px = 1\nbeta = { uniform = [1, 2] }\n'
        '[[slot]]\nname = "down"\nop = "resize"\nmode = "matlab_bicubic"\nrule = "final"\n'
        '[[gate]]\nname = "g"\nslots = ["b"]\n'
        'on = { schedule = [{ at = 0, const = 0 }, { at = 9, const = 1 }], between = "hold" }\n'
    )
    done = degrade("check", mine, "--tasks", 50)
    assert done.code == 0
    assert "slot n never acts in 50 tasks" in done.err
    assert "slot b never acts in 50 tasks" in done.err
    done = degrade("check", mine, "--tasks", 50, "--step", 9)
    assert "slot b never acts" not in done.err
    assert "b.beta is drawn but never has an effect in 50 tasks" in done.err
    assert "50 tasks of seed 0 at step 9" in done.out


# ---- space new


def answering(monkeypatch, *answers):
    """A terminal at which somebody gives these answers; None is Ctrl-C."""
    left = list(answers)

    def readline(*_):
        answer = left.pop(0)
        if answer is None:
            raise KeyboardInterrupt
        return answer + "\n"

    terminal = io.StringIO()
    terminal.isatty, terminal.readline = lambda: True, readline
    monkeypatch.setattr(sys, "stdin", terminal)


def test_a_new_space_is_valid_commented_and_previewed(degrade, tmp_path, monkeypatch):
    monkeypatch.setattr(new_space, "PREVIEW_TASKS", 1)
    answering(monkeypatch, "2", "7", "2", "", "weak", "none")
    done = degrade("space", "new", tmp_path / "mine.toml")
    assert done.code == 0, done.err
    space = pydegrade.Space.load(tmp_path / "mine.toml")
    assert (space.name, space.scale) == ("mine", 2)
    assert [slot.name for slot in space.slots] == ["blur1", "resize1", "noise1", "blur2", "down", "noise2"]
    assert "not in the range 1<=x<=2" in done.err, "a wrong answer is asked for again"
    text = (tmp_path / "mine.toml").read_text()
    assert text.count("\n#") == 7
    assert "noise weak" in text
    assert read_image(tmp_path / "mine.png").shape[1] > 400

    before = tree(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert "exists already" in one_line(degrade("space", "new", tmp_path / "mine.toml", "--defaults"))
    (tmp_path / "other.png").write_bytes(b"mine")
    assert "other.png exists already" in one_line(degrade("space", "new", tmp_path / "other.toml", "--defaults"))
    assert "nobody is here" in one_line(degrade("space", "new", tmp_path / "new.toml", "--blur", "weak"))
    for name in ("a b.toml", "\N{GRINNING FACE}.toml"):
        error = one_line(degrade("space", "new", tmp_path / name, "--defaults", "--no-preview"))
        assert "name must be letters" in error
        assert "choose another --name" in error
    spaced = degrade("space", "new", tmp_path / "a b.toml", "--defaults", "--no-preview", "--name", "ab")
    assert f"try: degrade check '{tmp_path}/a b.toml'" in spaced.out
    (tmp_path / "a b.toml").unlink()
    (tmp_path / "other.png").unlink()
    assert tree(tmp_path) == before


def test_ctrl_c_leaves_no_space(degrade, tmp_path, monkeypatch):
    answering(monkeypatch, "2", None)
    assert degrade("space", "new", tmp_path / "mine.toml").code == 130
    assert tree(tmp_path) == {}

    # While the second of the two files is written.
    def interrupted(path, content):
        Path(path).write_bytes(content)
        if Path(path).suffix == ".png":
            raise KeyboardInterrupt

    monkeypatch.setattr(new_space, "preview_of", lambda space: b"sheet")
    monkeypatch.setattr("pydegrade.shell.outputs.write_file", interrupted)
    assert degrade("space", "new", tmp_path / "mine.toml", "--defaults").code == 130
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("stages", [1, 2])
def test_every_answer_gives_a_space_that_runs(scale, stages):
    for blur, noise, jpeg in itertools.product(("none", "severe"), repeat=3):
        answers = new_space.NewSpace("mine", scale, stages, blur, noise, jpeg)
        if (scale, stages, blur, noise, jpeg) == (1, 1, "none", "none", "none"):
            with pytest.raises(SpaceError, match="must do something"):
                new_space.written(answers)
            continue
        space, _ = new_space.written(answers)
        side = 8 * scale
        (lr,) = pydegrade.degrade_list([torch.rand(3, side, side)], pydegrade.sample(space, 0, [0]))
        assert lr.shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must end at the LR size"),
        ('op = "jpeg"\nquality = 3\nmdoe = "off"\n', "mine.toml:10: slot a: unknown key 'mdoe'; did you mean 'mode'?"),
        (
            'op = "resize"\nmode = "torch_area"\nresize_factor = { choice = [0.25, 0.5], weights = [0.999, 0.001] }\n',
            "must end at the LR size 8x8, got 16x16 (m@",
        ),
    ],
)
def test_check_refuses_a_space_that_cannot_run(degrade, text, message, tmp_path):
    mine = tmp_path / "mine.toml"
    slot = f'[[slot]]\nname = "a"\n{text}' if text else ""
    mine.write_text(f'[space]\nname = "m"\nscale = 4\nsource = "t"\nhr_px = 32\n{slot}')
    done = degrade("check", mine, "--tasks", 4000)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.slow
def test_an_lmdb_that_a_full_disk_left_empty_is_begun_anew(degrade, tmp_path):
    arguments = ("sample", "--tasks", "3", "--format", "lmdb", "--out", tmp_path / "out")
    assert degrade(*arguments).code == 0
    expected = (tmp_path / "out" / "manifest.csv").read_bytes()
    for kind in ("hr", "lr", "target"):
        (tmp_path / "out" / f"{kind}.lmdb" / "data.mdb").write_bytes(b"")
    done = degrade(*arguments)
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "manifest.csv").read_bytes() == expected

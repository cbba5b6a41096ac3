"""`degrade sample --clips`: folders of frames and video files in, frames or video out, and what cannot be read."""

from __future__ import annotations

import csv
import hashlib
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import pydegrade
from pydegrade import TaskBatch
from pydegrade.commands.cli import cli
from pydegrade.errors import PydegradeError
from pydegrade.files import clips
from pydegrade.files.pixels import to_float, to_uint8
from pydegrade.files.read import read_image
from pydegrade.files.write import write_image

from .golden_pixels import picture

SPACE = """[space]
name = "small"
scale = 4
hr_px = 32
[[slot]]
name = "noise1"
op = "noise"
kind = "gaussian"
sigma_8bit = { uniform = [1.0, 9.0], walk = { max_step = 2.0 } }
[[slot]]
name = "down"
op = "resize"
mode = "torch_area"
rule = "final"
"""


def frames_of(count: int, seed: int, height: int = 40, width: int = 56) -> list[np.ndarray]:
    return [to_uint8(picture(height, width, seed).roll(2 * number, 2)) for number in range(count)]


def put(folder, frames) -> None:
    folder.mkdir(parents=True)
    for number, pixels in enumerate(frames):
        write_image(folder / f"f{number}.png", pixels)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two folders of frames, a folder of frames of two sizes, one that is too short, and a file that is no video."""
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("clips")
    put(folder / "a", frames_of(6, 1))
    put(folder / "deep" / "b", frames_of(12, 2))
    put(folder / "mixed", [*frames_of(5, 3), *frames_of(1, 3, 40, 60)])
    put(folder / "short", frames_of(3, 4))
    (folder / "video.mkv").write_bytes(clips.encode_video(frames_of(7, 5)))
    (folder / "text.mp4").write_text("#EXTM3U\nhttp://localhost/x.ts\n")
    (folder / "space.toml").write_text(SPACE)
    return folder


def run(source, out, *more: str):
    arguments = ["sample", "--tasks", "4", "--clips", "5", "--space", str(source / "space.toml"), "--hr", str(source)]
    return CliRunner().invoke(cli, [*arguments, "--out", str(out), *more])


def refused(result, message: str) -> None:
    """One line, of click's own or of an error that the shell gives the exit code of bad input."""
    assert result.exit_code == 2 or isinstance(result.exception, PydegradeError)
    line = result.output if result.exit_code == 2 else str(result.exception)
    assert message in line
    assert result.exit_code == 2 or "\n" not in line


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "run"
    result = run(source, out)
    assert result.exit_code == 0, result.output
    return out, result


def test_clips_are_what_their_addresses_say(source, made):
    out, result = made
    with open(out / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["index"] for row in rows] == ["0", "1", "2", "3"]
    assert {row["source"] for row in rows} <= {"a", "deep/b", "video.mkv"}
    assert len({row["source"] for row in rows}) > 1
    space = pydegrade.Space.load(source / "space.toml")
    for row in rows:
        hr = [read_image(path) for path in sorted((out / row["hr"]).iterdir())]
        lr = [read_image(path) for path in sorted((out / row["lr"]).iterdir())]
        tasks = TaskBatch.from_addresses([row["address"]], space)
        assert len(hr) == len(lr) == len(tasks) == 5
        import torch

        expected = pydegrade.degrade(torch.stack([to_float(pixels) for pixels in hr]), tasks)
        assert all(np.array_equal(to_uint8(one), pixels) for one, pixels in zip(expected, lr))
        # The frames are a square of the source, from its first frame on.
        found = next(clip for clip in clips.find_clips(source, 2**20)[0] if clip.name == row["source"])
        top, left, side = (int(row[name]) for name in ("top_px", "left_px", "side_px"))
        for pixels, whole in zip(hr, clips.read_frames(found, int(row["first_frame"]), 5, 2**20), strict=True):
            square = whole[top : top + side, left : left + side]
            assert np.array_equal(pixels, square[:, ::-1] if row["hflip"] == "1" else square)
    assert len(TaskBatch.load(out / "tasks.npz")) == 20
    assert "/f0-4" in result.output


def test_what_was_left_out_is_named(made):
    _, result = made
    for line in (
        "mixed: frames must have one size, got 56 x 40 px in f0.png and 60 x 40 px in f5.png",
        "short: 3 frames, expected at least 5 (--clips)",
        "text.mp4: cannot be read as a video: ",
    ):
        assert line in result.output.replace("\n", " "), result.output


def test_a_run_continues_and_is_the_same_whatever_was_there(source, made, tmp_path):
    out, _ = made
    again = tmp_path / "again"
    shutil.copytree(out, again)
    shutil.rmtree(again / "lr" / "000002")
    # Garbage under a finished name, and what somebody has put beside it.
    (again / "hr" / "000003" / "00001.png").write_bytes(b"garbage")
    (again / "hr" / "000003" / "note.txt").write_text("mine")
    before = (again / "lr" / "000001" / "00000.png").stat().st_mtime_ns
    result = run(source, again)
    assert result.exit_code == 0
    assert "2 clips in" in result.output
    assert (again / "lr" / "000001" / "00000.png").stat().st_mtime_ns == before
    assert (again / "hr" / "000003" / "note.txt").read_text() == "mine"
    for path in sorted(
        path for path in out.rglob("*") if path.suffix in (".png", ".csv", ".npz") or path.name == "SHA256SUMS"
    ):
        assert (again / path.relative_to(out)).read_bytes() == path.read_bytes()
    sums = dict(line.split("  ")[::-1] for line in (again / "SHA256SUMS").read_text().splitlines())
    assert {"hr/000000/00000.png", "lr/000003/00004.png", "manifest.csv", "tasks.npz"} <= set(sums)
    assert all(sum_ == hashlib.sha256((again / name).read_bytes()).hexdigest() for name, sum_ in sums.items())
    other = run(source, again, "--format", "mkv")
    refused(other, "holds a run with clips '5 png', got '5 mkv'")


def test_clips_of_frames_that_have_changed_are_made_anew_and_broken_ones_end_no_others(source, made, tmp_path):
    """Of the same size, so that the run is the same."""
    out, _ = made
    shutil.copytree(out, tmp_path / "run")
    shutil.copytree(source, tmp_path / "source")
    with open(out / "manifest.csv", newline="") as file:
        row = next(row for row in csv.DictReader(file) if not row["source"].endswith(".mkv"))
    frame = tmp_path / "source" / row["source"] / f"f{row['first_frame']}.png"
    content = frame.read_bytes()
    frame.write_bytes(content[:100] + bytes(100) + content[200:])
    result = run(tmp_path / "source", tmp_path / "run")
    assert "of 4 samples skipped, listed in" in result.output
    assert frame.name in (tmp_path / "run" / "skipped.csv").read_text()
    with open(tmp_path / "run" / "manifest.csv", newline="") as file:
        assert 0 < len([found for found in csv.DictReader(file) if found["index"] != row["index"]]) < 4
    frame.write_bytes(content)
    assert run(tmp_path / "source", tmp_path / "run").exit_code == 0
    assert (tmp_path / "run" / "manifest.csv").read_bytes() == (out / "manifest.csv").read_bytes()


def test_video_files_hold_the_same_pixels(source, made, tmp_path):
    out, _ = made
    assert run(source, tmp_path / "video", "--format", "mkv").exit_code == 0
    for number in range(4):
        file = tmp_path / "video" / "lr" / f"{number:06d}.mkv"
        ((clip,), _) = clips.find_clips(file, 2**20)
        assert clip.count == 5
        frames = [read_image(path) for path in sorted((out / "lr" / f"{number:06d}").iterdir())]
        assert all(map(np.array_equal, clips.read_frames(clip, 0, 5, 2**20), frames))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--clips", "50"), "no clip of 50 frames among 4: "),
        (("--hr", "EMPTY"), "must be a folder that holds folders of frames or video files (.mp4, "),
        (("--hr-size", "30"), "--hr-size: must be a multiple of the scale 4, got 30"),
        (("--hr-size", "64"), "px, smaller than the crop of 64 px (--hr-size)"),
        (("--format", "lmdb"), "--clips: --format must be png or mkv, got lmdb"),
        (("--shard", "0/2"), "--clips: does not go with --shard"),
    ],
)
def test_what_cannot_be_is_one_line(source, tmp_path, more, message):
    (tmp_path / "empty").mkdir()
    result = run(source, tmp_path / "out", *(str(tmp_path / "empty") if word == "EMPTY" else word for word in more))
    refused(result, message)
    assert not (tmp_path / "out").exists()


def test_a_run_of_clips_is_no_run_of_images(made, tmp_path):
    out, _ = made
    result = CliRunner().invoke(cli, ["pack", str(out), str(tmp_path / "packed")])
    refused(result, "must hold images, got clips")

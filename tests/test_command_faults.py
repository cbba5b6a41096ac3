"""Every command against every kind of bad input and bad place: one image, one fate; nothing that exists is lost; results
of something else are not taken for these."""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pydegrade
from pydegrade.commands import cli as degrade_cli
from pydegrade.files.lock import folder_lock
from pydegrade.ops import kernels
from pydegrade.shell import outputs
from pytrain import nets
from pytrain.commands import cli as pytrain_cli
from pytrain.files.checkpoint import save_model

SCALE = 2


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys) -> Callable[..., Run]:
    """Runs a command line, given as words, in this process."""

    def start(*words: object) -> Run:
        program, *arguments = map(str, words)
        main = {"degrade": degrade_cli.main, "pytrain": pytrain_cli.main}[program]
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Run(int(left.value.code or 0), out, err)

    return start


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """a.safetensors and b.safetensors (two weights of one network), dasr.safetensors, mzsr.safetensors, task.txt."""
    folder = tmp_path_factory.mktemp("models")
    plain = nets.SRResNetConfig(scale=SCALE, num_features=4, num_blocks=1)
    for name, seed in (("a", 0), ("b", 1)):
        torch.manual_seed(seed)
        save_model(folder / f"{name}.safetensors", plain, nets.build(plain))
    nan = nets.build(plain)
    with torch.no_grad():
        next(nan.parameters())[0] = float("nan")
    save_model(folder / "nan.safetensors", plain, nan)
    for name, config in (
        ("dasr", nets.DASRConfig(scale=SCALE, num_features=4, num_blocks=1, predictor_features=4)),
        ("mzsr", nets.MZSRConfig(scale=SCALE, num_features=4, num_layers=2)),
    ):
        torch.manual_seed(0)
        save_model(folder / f"{name}.safetensors", config, nets.build(config))
    np.save(folder / "kernel.npy", kernels.gaussian(5, 1.0))
    (folder / "task.txt").write_text(pydegrade.sample("bicubic", 0, [0]).addresses[0])
    return folder


def picture(seed: int, height: int = 40, width: int = 36) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three good images: one.png, sub/two.jpg, three.png."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(("one.png", "sub/two.jpg", "three.png")):
        picture(seed).save(folder / name, quality=95)
    return folder


# Every command that walks over a folder of images: (words, results in OUT for the good images).
WALKING: dict[str, tuple[list[str], list[str]]] = {
    "sample": (
        ["degrade", "sample", "--space", "bicubic", "--tasks", "40", "--hr", "IN", "--out", "OUT", "--hr-size", "16"],
        [],
    ),
    "preview": (
        [
            "degrade",
            "preview",
            "--space",
            "bicubic",
            "--n",
            "40",
            "--hr",
            "IN",
            "-o",
            "OUT/sheet.png",
            "--hr-size",
            "16",
        ],
        ["sheet.png"],
    ),
    "apply": (
        ["degrade", "apply", "IN", "--task", "TASK", "--out", "OUT"],
        ["one.png", "sub/two.png", "three.png"],
    ),
    "apply each": (
        ["degrade", "apply", "IN", "--tasks", "bicubic-x4", "--keep-names", "--out", "OUT"],
        ["one.png", "sub/two.png", "three.png"],
    ),
    "resize": (["degrade", "resize", "IN", "OUT", "--scale", "1/2"], ["one.png", "sub/two.png", "three.png"]),
    "infer": (
        ["pytrain", "infer", "IN", "--model", "MODELS/a.safetensors", "--out", "OUT", "--device", "cpu"],
        ["one.png", "sub/two.png", "three.png"],
    ),
    "pairs": (
        ["degrade", "pairs", "--model", "MODELS/a.safetensors", "--hr", "IN", "--out", "OUT"],
        ["lr_pretrained/one.png", "lr_pretrained/sub/two.png", "lr_pretrained/three.png"],
    ),
    "estimate": (
        ["degrade", "estimate", "IN", "--model", "MODELS/dasr.safetensors", "--json", "OUT/found.json"],
        ["found.json"],
    ),
}
RECORDING = ("apply", "resize", "infer", "pairs")


def words_of(name: str, source: Path, out: Path, models: Path) -> list[str]:
    places = {"IN": str(source), "OUT": str(out), "TASK": (models / "task.txt").read_text()}
    words = [places.get(word, word) for word in WALKING[name][0]]
    return [word.replace("OUT/", f"{out}/").replace("MODELS/", f"{models}/") for word in words]


def results(folder: Path) -> dict[str, bytes]:
    """Everything a command left that people see."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- one image, one fate


def truncated(folder: Path) -> None:
    content = (folder / "one.png").read_bytes()
    (folder / "bad.png").write_bytes(content[: len(content) * 2 // 3])


def empty(folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"")


def text(folder: Path) -> None:
    (folder / "bad.png").write_text("no image")


def a_folder(folder: Path) -> None:
    (folder / "bad.png").mkdir()
    picture(7).save(folder / "bad.png" / "inside.png")


def a_dangling_link(folder: Path) -> None:
    (folder / "bad.png").symlink_to(folder / "nowhere.png")


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "bad.png")


def too_large(folder: Path) -> None:
    picture(7, 400, 400).save(folder / "bad.png")


KINDS = {kind.__name__: kind for kind in (truncated, empty, text, a_folder, a_dangling_link, a_pipe, too_large)}


@pytest.mark.representatives(3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WALKING)
def test_one_bad_file_is_named_and_the_others_are_done(run, photos, models, tmp_path, name, kind):
    good = run(*words_of(name, photos, tmp_path / "good", models), "--max-megapixels", "0.1")
    assert good.code == 0, good.err
    KINDS[kind](photos)
    done = run(*words_of(name, photos, tmp_path / "out", models), "--max-megapixels", "0.1")
    left = results(tmp_path / "out")
    for wanted in WALKING[name][1]:
        assert wanted in left
    if kind == "a_folder":  # a folder may be called like a file; what is in it is an image like any other
        assert (done.code, done.err.count("warning")) == (0, 0), done.err
        return
    assert "bad.png" in done.err
    # A file whose header is bad is left out of the crops that are drawn; every other one is a result less.
    expected = 0 if name in ("sample", "preview") and "left out" in done.err else 2
    assert done.code == expected, done.err
    if name in ("apply", "resize", "infer"):
        assert left == results(tmp_path / "good")


@pytest.mark.representatives(1)
@pytest.mark.parametrize("name", WALKING)
def test_an_image_that_vanishes_or_is_too_large_for_the_memory_has_its_own_fate(
    run, photos, models, tmp_path, monkeypatch, name
):
    from pydegrade.files import read

    decode = read.ImageFile.decode

    def fail(file: read.ImageFile) -> read.Picture:
        if file._path.name == "one.png":
            raise MemoryError
        if file._path.name == "three.png":
            raise FileNotFoundError(2, "No such file or directory", str(file._path))
        return decode(file)

    monkeypatch.setattr(read.ImageFile, "decode", fail)
    done = run(*words_of(name, photos, tmp_path / "out", models))
    assert done.code == 2
    assert "one.png: out of memory" in done.err
    assert "three.png" in done.err
    two = [wanted for wanted in WALKING[name][1] if "two" in wanted or "two" not in "".join(WALKING[name][1])]
    assert set(two) <= set(results(tmp_path / "out"))


@pytest.mark.representatives(1)
@pytest.mark.parametrize("name", WALKING)
def test_a_folder_that_cannot_be_opened_is_named_and_the_others_are_done(
    run, photos, models, tmp_path, monkeypatch, name
):
    (photos / "locked").mkdir()
    picture(7).save(photos / "locked" / "four.png")
    scandir = os.scandir

    def refuse(path="."):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    done = run(*words_of(name, photos, tmp_path / "out", models))
    assert "photos/locked: Permission denied; its images are left out" in done.err
    # What crops are drawn from is a list that the command names; every other result that is missing is a failure.
    assert done.code == (0 if name in ("sample", "preview") else 2)
    assert set(WALKING[name][1]) <= set(results(tmp_path / "out"))


def test_images_in_work_share_one_budget_of_memory(run, tmp_path, monkeypatch):
    from pydegrade.files import memory

    (tmp_path / "photos").mkdir()
    for number in range(12):
        picture(number, 200, 200).save(tmp_path / "photos" / f"{number}.png")
    most, held, lock = [0], [0], threading.Lock()
    hold = memory.MemoryBudget.hold

    @contextlib.contextmanager
    def counted(budget: memory.MemoryBudget, needed_bytes: int, name: object, file_bytes: int) -> Iterator[None]:
        with hold(budget, needed_bytes, str(name), file_bytes):
            assert 300_000 < needed_bytes < 600_000
            with lock:
                held[0] += 1
                most[0] = max(most[0], held[0])
            yield
            with lock:
                held[0] -= 1

    monkeypatch.setattr(memory.MemoryBudget, "hold", counted)
    limit = ("--max-memory", "0.0006")
    assert run("degrade", "resize", tmp_path / "photos", tmp_path / "out", "--scale", "1/2", *limit).code == 0
    assert most == [1], "two of these do not fit into 0.6 megabytes"


@pytest.mark.representatives(1)
@pytest.mark.parametrize("name", WALKING)
def test_an_image_that_does_not_fit_the_memory_is_refused_by_name_and_the_others_are_done(
    run, photos, models, tmp_path, name
):
    picture(40, 900, 900).save(photos / "large.png")
    done = run(*words_of(name, photos, tmp_path / "out", models), "--max-memory", "0.006")
    # What crops are drawn from may be drawn from the others alone.
    refused = "large.png: must be worked on in 0.006 GB of memory, needs 0." in done.err
    assert refused or (name in ("sample", "preview") and done.code == 0), done.err
    assert done.code == (2 if refused else 0)
    assert set(WALKING[name][1]) <= set(results(tmp_path / "out"))


def test_a_limit_of_memory_counts_the_result_of_a_network(run, models, tmp_path):
    picture(3, 200, 200).save(tmp_path / "x.png")
    words = ("pytrain", "infer", tmp_path / "x.png", "--model", models / "a.safetensors", "--out", tmp_path / "out")
    done = run(*words, "--max-memory", "0.005")
    assert (done.code, "x.png: must be worked on in 0.005 GB of memory, needs 0.00588" in done.err) == (2, True), (
        done.err
    )
    assert run(*words, "--max-memory", "0.006").code == 0


@pytest.mark.slow
def test_a_header_that_asks_for_more_memory_than_there_is_is_a_damaged_file(run, photos, models, tmp_path, monkeypatch):
    """Decoders may look at sizes that a damaged file names before anything here has seen them."""
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

    def fail(*_arguments: object) -> None:
        raise MemoryError

    picture(3).save(photos / "bad.jp2")
    monkeypatch.setattr(Jpeg2KImageFile, "__init__", fail)
    for name in WALKING:
        done = run(*words_of(name, photos, tmp_path / name, models))
        assert "bad.jp2: corrupt or truncated (more memory is asked for than there is)" in done.err, (name, done.err)
        assert done.code in (0, 2)
        assert set(WALKING[name][1]) <= set(results(tmp_path / name))


def test_a_failing_disk_ends_what_would_be_tied_to_a_shorter_list(run, photos, models, tmp_path, monkeypatch):
    from pydegrade.files.formats import png

    inspect = png.inspect

    def fail(stream: io.BufferedReader) -> object:
        if str(getattr(stream, "name", "")).endswith("one.png"):
            raise OSError(5, "Input/output error")
        return inspect(stream)

    monkeypatch.setattr(png, "inspect", fail)
    done = run(*words_of("sample", photos, tmp_path / "out", models))
    assert done.code == 1, done.err
    assert done.err.strip().endswith("one.png: Input/output error")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    done = run(*words_of("sample", photos, tmp_path / "out", models))
    assert done.code == 0, done.err


@pytest.mark.representatives(1)
@pytest.mark.parametrize("name", ["sample", "preview"])
def test_files_that_crops_are_not_drawn_from_are_named_and_no_failure(run, photos, models, tmp_path, name):
    """Every sample that was asked for is made: from the images that there are (docs/files.md)."""
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run(*words_of(name, photos, tmp_path / "out", models))
    assert done.code == 0, done.err
    assert "warning: left out:" in done.err
    assert "bad.png: corrupt or truncated" in done.err


@pytest.mark.parametrize("name", RECORDING)
def test_an_image_that_changes_while_it_is_read_is_not_recorded(run, photos, models, tmp_path, monkeypatch, name):
    from pydegrade.files import read

    decode = read.ImageFile.decode

    def change(file: read.ImageFile) -> read.Picture:
        made = decode(file)
        if file._path.name == "one.png":
            os.utime(file._path, ns=(1, 1))
        return made

    monkeypatch.setattr(read.ImageFile, "decode", change)
    done = run(*words_of(name, photos, tmp_path / "out", models))
    assert done.code == 2
    assert "one.png: changed while it was read" in done.err
    monkeypatch.undo()
    assert run(*words_of(name, photos, tmp_path / "out", models)).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["apply", "resize", "infer", "pairs"])
def test_images_of_one_name_are_all_made(run, photos, models, tmp_path, name):
    for seed, ending in enumerate(("jpg", "bmp", "png")):
        picture(20 + seed, 32 + 2 * seed).save(photos / f"same.{ending}")
    done = run(*words_of(name, photos, tmp_path / "out", models))
    assert done.code == 0, done.err
    made = [one for one in results(tmp_path / "out") if "same" in one and not one.startswith(("hr/", "sr_", "lr/"))]
    assert len(made) == 3


@pytest.mark.parametrize("name", ["apply", "infer"])
def test_images_of_one_name_in_two_folders_are_both_made_and_a_file_twice_once(run, photos, models, tmp_path, name):
    other = tmp_path / "other"
    other.mkdir()
    picture(30).save(other / "one.png")
    words = words_of(name, photos, tmp_path / "out", models)
    position = words.index(str(photos))
    done = run(*words[:position], photos, other, other / "one.png", photos / "one.png", *words[position + 1 :])
    assert done.code == 0, done.err
    assert sorted(results(tmp_path / "out")) == ["other/one.png", "photos/one.png", "sub/two.png", "three.png"]


# ---- places where nothing may be written


@pytest.fixture
def place(photos, models, tmp_path) -> Iterator[dict[str, Path]]:
    """Things that exist and must stay as they are."""
    picture(1).save(tmp_path / "photo.png")
    (tmp_path / "script.py").write_text("print('mine')\n")
    (tmp_path / "notes.png").write_text("called .png, and is none")
    (tmp_path / "notes.json").write_text("called .json, and is none")
    (tmp_path / "page.html").write_text("<!doctype html><p>by hand\n")
    (tmp_path / "file").write_text("a file\n")
    (tmp_path / "model.pth").write_text("called .pth, and is none")
    (tmp_path / "cfg.toml").write_text("[run]\nsteps = 1\n")
    (tmp_path / "run.toml").write_text(
        f'[run]\nsteps = 1\nout = "{photos}/run"\n[net]\ntype = "srresnet"\n[method]\ntype = "psnr"\n'
        f'[data]\nhr = "{photos}"\n'
    )
    (tmp_path / "taken").mkdir()
    for name in ("one.png", "three.png", "photo.png", "photo_1.png", "photo_kernel.npy"):
        picture(99).save(tmp_path / "taken" / name, "PNG")
    (tmp_path / "nest" / "bicubic" / "bicubic").mkdir(parents=True)
    picture(2).save(tmp_path / "nest" / "bicubic" / "bicubic" / "two.jpg")
    (tmp_path / "photos" / "one_1.png").write_bytes((tmp_path / "photo.png").read_bytes())
    before = snapshot(tmp_path)
    before_models = snapshot(models)
    yield {"tmp": tmp_path, "photos": photos, "models": models}
    assert snapshot(tmp_path) == before, "something was written or lost"
    assert snapshot(models) == before_models


FORBIDDEN = [
    # The folder of inputs, or a folder in it.
    *(f"{words} --out {out}" for out in ("{photos}", "{photos}/out", "{photos}/sub", "{photos}/../photos/a/b")
      for words in ("degrade apply {photos} --task {task}", "degrade sample --tasks 2 --hr {photos} --hr-size 16",
                    "pytrain infer {photos} --model {models}/a.safetensors",
                    "degrade pairs --model {models}/a.safetensors --hr {photos}")),
    "degrade resize {photos} {photos} --scale 2",
    "degrade resize {photos} {photos}/out --scale 2",
    "pytrain eval --hr {photos} --model bicubic --scale 2 --save-images {photos}/out",
    "pytrain fit {tmp}/run.toml",
    "pytrain fit {tmp}/run.toml --set run.out={photos}",
    # A folder of inputs below OUT, in which results would lie.
    *(line + "{tmp}/nest" for line in (
        "degrade apply {tmp}/nest/bicubic --task {task} --out ",
        "degrade resize {tmp}/nest/bicubic --scale 2 ",
        "pytrain infer {tmp}/nest/bicubic --model {models}/a.safetensors --out ",
        "pytrain eval --hr {tmp}/nest/bicubic --model bicubic --scale 2 --save-images ")),
    "pytrain fit {tmp}/run.toml --set run.out={tmp}/o --set evaluate.sets=[{{hr='{tmp}'}}]",
    "pytrain fit {tmp}/run.toml --set run.out={tmp}/o --set data.hr='{tmp}/o/images'",
    "degrade preview --hr {photos} --hr-size 16 -o {photos}/new.png",
    # The very input.
    "degrade apply {tmp}/photo.png --task {task} --out {tmp}",
    "degrade resize {tmp}/photo.png {tmp} --scale 2",
    "degrade resize {tmp}/photo.png {tmp}/photo.png --scale 2",
    "pytrain infer {tmp}/photo.png --model {models}/a.safetensors --out {tmp}",
    "degrade preview --hr {tmp}/photo.png --hr-size 16 -o {tmp}/photo.png",
    "degrade preview --hr {photos} --hr-size 16 -o {photos}/one.png",
    "pytrain sweep {tmp}/photo.png --model {models}/dasr.safetensors --vector blur1.sigma_x_px=1:2 -o {tmp}/photo.png",
    "pytrain export {models}/a.safetensors {models}/a.safetensors",
    "pytrain adapt {photos}/one.png --model none --kernel bicubic --steps 1 --reference {photos}/one_1.png --out {photos}",
    # Files of another origin under the names of results.
    "degrade apply {photos} --task {task} --out {tmp}/taken",
    "degrade apply {photos} --tasks bicubic --keep-names --out {tmp}/taken",
    "degrade resize {photos} {tmp}/taken --scale 2",
    "pytrain infer {photos} --model {models}/a.safetensors --out {tmp}/taken",
    "degrade sample --tasks 2 --hr {photos} --hr-size 16 --out {tmp}/taken",
    "degrade pairs --model {models}/a.safetensors --hr {photos} --out {tmp}/taken",
    "pytrain adapt {tmp}/photo.png --model none --kernel bicubic --steps 1 --out {tmp}/taken",
    # Another kind than the name says, and names that no command writes.
    *(f"{words} {name}" for name in ("{tmp}/script.py", "{tmp}/notes.png", "{tmp}/new.gif", "{tmp}/new", "{tmp}/photos",
                                     "{tmp}/file/new.png")
      for words in ("degrade preview --hr-size 16 -o",
                    "pytrain sweep {tmp}/photo.png --model {models}/dasr.safetensors --vector blur1.sigma_x_px=1:2 -o")),
    *(f"{words} {name}" for name in ("{tmp}/script.py", "{tmp}/notes.json", "{tmp}/new.txt", "{tmp}/file/x.json")
      for words in ("pytrain schema -o", "degrade estimate {photos} --model {models}/dasr.safetensors --json",
                    "pytrain eval --hr {tmp}/photo.png --model bicubic --scale 2 --json")),
    *(f"pytrain export {{models}}/a.safetensors {name}"
      for name in ("{tmp}/script.py", "{tmp}/model.pth", "{tmp}/new.zip", "{tmp}/file/new.pth")),
    *(f"degrade card {{tmp}}/taken -o {name}"
      for name in ("{tmp}/script.py", "{tmp}/cfg.toml", "{tmp}/new.txt", "{tmp}/file/new.toml", "{tmp}/taken/new.toml")),
    "degrade sample --card {tmp}/cfg.toml --hr {photos} --out {tmp}/new",
    "degrade verify {tmp}/cfg.toml {photos}",
    *(f"degrade pack {{tmp}}/taken {out}" for out in ("{tmp}/new", "{tmp}/file", "{tmp}/taken", "{tmp}/taken/out")),
    *(f"degrade space new {name} --defaults" for name in ("{tmp}/cfg.toml", "{tmp}/script.py", "{tmp}/file/new.toml",
                                                          "{tmp}/notes.toml")),
    *(f"degrade merge {out} {{photos}} {{tmp}}/taken" for out in ("{tmp}/new", "{tmp}/file", "{photos}", "{photos}/out")),
    *(f"degrade gallery {{photos}} -o {name}" for name in ("{tmp}/script.py", "{tmp}/page.html", "{tmp}/file/g.html")),
    *(f"pytrain init --method psnr -o {name}" for name in ("{tmp}/script.py", "{tmp}/cfg.toml", "{tmp}/new.txt")),
    "pytrain init --method psnr --force -o {tmp}/script.py",
    "degrade resize {tmp}/photo.png {tmp}/new.jpg --scale 2",
    "degrade resize {tmp}/photo.png {tmp}/notes.png --scale 2",
    # A file where a folder should be, or in the way to it.
    *(f"{words} {out}" for out in ("{tmp}/file", "{tmp}/file/deeper")
      for words in ("degrade apply {photos} --task {task} --out",
                    "pytrain infer {photos} --model {models}/a.safetensors --out",
                    "degrade sample --tasks 2 --hr {photos} --hr-size 16 --out", "degrade resize {photos} --scale 2",
                    "degrade pairs --model {models}/a.safetensors --hr {photos} --out",
                    "pytrain adapt {tmp}/photo.png --model none --kernel bicubic --out",
                    "pytrain eval --hr {tmp}/photo.png --model bicubic --scale 2 --save-images")),
]  # fmt: skip


@pytest.mark.representatives(8)
@pytest.mark.parametrize("line", FORBIDDEN)
def test_nothing_that_exists_is_written_over(run, place, line):
    task = (place["models"] / "task.txt").read_text()
    done = run(*(word.format(task=task, **place) for word in line.split()))
    assert (done.code, done.err.strip().count("\n")) == (2, 0), done.err


@pytest.mark.representatives(1)
@pytest.mark.parametrize(("ending", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("JPEG", "JPEG")])
def test_the_ending_of_a_sheet_decides_its_format(run, photos, tmp_path, ending, kind):
    target = tmp_path / f"new/sheet.{ending}"
    for _ in range(2):  # the second time over the first
        assert run("degrade", "preview", "--n", 2, "--hr", photos, "--hr-size", 16, "-o", target).code == 0
        with Image.open(target) as sheet:
            assert sheet.format == kind


# ---- results carry what made them


@pytest.mark.representatives(1)
@pytest.mark.parametrize("name", RECORDING)
def test_results_are_kept_only_where_they_were_made_from_the_same(run, photos, models, tmp_path, name):
    out = tmp_path / "out"
    words = words_of(name, photos, out, models)
    assert run(*words).code == 0
    whole = results(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert run(*words).code == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == times, "made again for nothing"

    # Garbage, half a file, nothing, another picture under a finished name.
    victim = next(path for path in sorted(out.rglob("*.png")) if path.name == "one.png")
    content = victim.read_bytes()
    for garbage in (b"", b"garbage", content[:-20], whole[next(one for one in whole if "three" in one)]):
        victim.write_bytes(garbage)
        assert run(*words).code == 0
        assert results(out) == whole

    # Other content of the same size, with the same time.
    source = photos / "three.bmp"
    picture(50).save(source)
    status = source.stat()
    if name == "pairs":
        assert run(*words).code == 2, "another list of images is another run"
        words = words_of(name, photos, tmp_path / "out2", models)
        out = tmp_path / "out2"
    assert run(*words).code == 0
    before = results(out)
    picture(51).save(source)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source.stat().st_size == status.st_size
    assert run(*words).code == 0
    after = results(out)
    changed = {one for one in before if before[one] != after[one]}
    assert changed
    assert all("three.bmp" in one or one == "manifest.json" for one in changed)


@pytest.mark.representatives(2)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("infer", {"MODELS/a.safetensors": "MODELS/b.safetensors"}),
        ("infer", {"cpu": "cpu --precision bf16"}),
        ("infer", {"cpu": "cpu --tile 20 --overlap 4"}),
        ("resize", {"1/2": "1/4"}),
        ("resize", {"1/2": "1/2 --kernel box"}),
        ("apply", {"TASK": "OTHER"}),
    ],
)
def test_another_model_or_option_makes_results_anew(run, photos, models, tmp_path, name, change):
    other = pydegrade.sample("realesrgan-x4", 5, [3]).addresses[0]
    first = words_of(name, photos, tmp_path / "out", models)
    second = list(first)
    for old, new in change.items():
        old = old.replace("MODELS", str(models)).replace("TASK", (models / "task.txt").read_text())
        new = new.replace("MODELS", str(models)).replace("OTHER", other)
        second = [part for word in second for part in (new.split() if word == old else [word])]
    assert run(*first).code == 0
    before = results(tmp_path / "out")
    assert run(*second).code == 0
    fresh = [word.replace(str(tmp_path / "out"), str(tmp_path / "fresh")) for word in second]
    assert run(*fresh).code == 0
    assert results(tmp_path / "out") == results(tmp_path / "fresh") != before


def test_a_result_of_another_command_is_not_replaced_but_by_force(run, photos, models, tmp_path):
    assert run(*words_of("resize", photos, tmp_path / "out", models)).code == 0
    before = results(tmp_path / "out")
    done = run(*words_of("infer", photos, tmp_path / "out", models))
    assert (done.code, "made by resize" in done.err) == (2, True)
    assert results(tmp_path / "out") == before
    assert run(*words_of("infer", photos, tmp_path / "out", models), "--force").code == 0
    assert results(tmp_path / "out").keys() == before.keys()
    assert results(tmp_path / "out") != before


def test_a_record_that_is_damaged_costs_no_more_than_what_it_says(run, photos, models, tmp_path):
    words = words_of("resize", photos, tmp_path / "out", models)
    assert run(*words).code == 0
    whole = results(tmp_path / "out")
    record = tmp_path / "out" / outputs.RECORD_FILE
    lines = record.read_text().splitlines(keepends=True)
    for content in ("".join(lines)[:-7], "[]\nnull\n5\n{}\n" + "".join(lines), "[" * 100_000 + "\n" + "".join(lines)):
        record.write_text(content)
        done = run(*words)
        if done.code == 2:  # the line of a result is lost: it is of unknown origin then
            assert "not from this command" in done.err
            done = run(*words, "--force")
        assert done.code == 0
        assert results(tmp_path / "out") == whole
        assert all(json.loads(line)["name"] in whole for line in record.read_text().splitlines())


@pytest.mark.representatives(1)
@pytest.mark.parametrize("broken", [b"", b"garbage", "half"])
@pytest.mark.parametrize("file_format", ["png", "npy"])
def test_sample_notices_garbage_under_a_finished_name(run, photos, tmp_path, broken, file_format):
    words = ["degrade", "sample", "--tasks", 8, "--hr", photos, "--hr-size", 16, "--format", file_format]
    assert run(*words, "--out", tmp_path / "whole").code == 0
    assert run(*words, "--out", tmp_path / "out").code == 0
    for kind in ("hr", "lr"):
        victim = tmp_path / "out" / kind / f"00000003.{file_format}"
        victim.write_bytes(victim.read_bytes()[:-10] if broken == "half" else broken)
        assert run(*words, "--out", tmp_path / "out").code == 0
        assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_sample_makes_pairs_of_a_changed_photograph_anew(run, photos, tmp_path):
    words = ["degrade", "sample", "--tasks", 12, "--hr", photos, "--hr-size", 16, "--space", "bicubic"]
    source = photos / "four.bmp"
    picture(50).save(source)
    assert run(*words, "--out", tmp_path / "out").code == 0
    picture(51).save(source)
    assert run(*words, "--out", tmp_path / "out").code == 0
    assert run(*words, "--out", tmp_path / "fresh").code == 0
    assert results(tmp_path / "out") == results(tmp_path / "fresh")


# ---- results that are no numbers


@pytest.mark.parametrize(
    "words",
    [
        "infer {photos} --model {models}/nan.safetensors --out {out}",
        "infer {photos} --model {models}/nan.safetensors --out {out} --precision bf16",
        "eval --hr {photos} --model {models}/nan.safetensors --json {out}/scores.json",
        "eval --hr {photos} --model {models}/nan.safetensors --save-images {out}",
        "pairs --hr {photos} --model {models}/nan.safetensors --out {out}",
    ],
)
def test_results_that_are_not_finite_are_not_written(run, photos, models, tmp_path, words):
    program = "degrade" if words.startswith("pairs") else "pytrain"
    done = run(program, *(word.format(photos=photos, models=models, out=tmp_path / "out") for word in words.split()))
    assert done.code == 2
    assert "not finite (NaN or infinity)" in done.err
    if "infer" in words:
        assert "--precision fp32" in done.err
        assert done.err.count("not finite") == 3
    assert [one for one in results(tmp_path / "out") if not one.endswith("pairs.json")] == []


# ---- failed starts, other processes, the disk


@pytest.mark.slow
def test_a_failed_start_leaves_nothing_behind(run, photos, models, tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "lmdb" else find(name, *more))
    words = ["degrade", "sample", "--tasks", 2, "--hr", photos, "--hr-size", 16, "--out", tmp_path / "out"]
    done = run(*words, "--format", "lmdb")
    assert (done.code, "pip install 'pydegrade[lmdb]'" in done.err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert run(*words).code == 0


LOCKING = {**{name: WALKING[name][0] for name in ("sample", *RECORDING)}}


@pytest.mark.representatives(1)
@pytest.mark.parametrize("name", LOCKING)
def test_a_second_process_in_one_folder_is_refused(run, photos, models, tmp_path, name):
    words = words_of(name, photos, tmp_path / "out", models)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with folder_lock(tmp_path / "out", "0-of-1" if name == "pairs" else ""):
            held.set()
            done.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    try:
        assert held.wait(60)
        refused = run(*words)
    finally:
        done.set()
        other.join()
    assert (refused.code, "another process is writing" in refused.err) == (2, True), refused.err
    assert results(tmp_path / "out") == {} if (tmp_path / "out").exists() else True
    assert run(*words).code == 0


@pytest.mark.representatives(1)
@pytest.mark.parametrize("number", [28, 30, 122])  # full, read-only, over quota
@pytest.mark.parametrize("name", WALKING)
def test_a_full_or_read_only_disk_is_a_failure(run, photos, models, tmp_path, monkeypatch, name, number):
    replace = os.replace
    calls = []

    def fail(source, target, **more):
        calls.append(target)
        if len(calls) > 2 or name in ("preview", "estimate"):
            raise OSError(number, os.strerror(number), str(source), None, str(target))
        return replace(source, target, **more)

    monkeypatch.setattr(os, "replace", fail)
    done = run(*words_of(name, photos, tmp_path / "out", models))
    assert done.code == 1, done.err
    assert os.strerror(number) in done.err
    monkeypatch.undo()
    assert run(*words_of(name, photos, tmp_path / "out", models)).code == 0


# ---- crops that fit


@pytest.mark.slow
def test_the_default_crop_fits_nine_tenths_of_the_images(run, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(20):
        picture(number, 90 + number, 200).save(folder / f"{number}.png")
    done = run("degrade", "sample", "--tasks", 3, "--hr", folder, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    # 18 of 20 have at least 92 rows; multiples of 4.
    assert "HR crops of 92 px from 18 images" in done.out
    assert (
        "0 of 20 images hold the space's crops of 400 px; crops are 92 px (--hr-size chooses another side)" in done.err
    )
    assert done.err.count("smaller than the crop of 92 px (--hr-size)") == 2
    assert run("degrade", "preview", "--n", 2, "--hr", folder, "-o", tmp_path / "sheet.png").code == 0
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    picture(0, 3, 3).save(tiny / "a.png")
    done = run("degrade", "sample", "--tasks", 3, "--hr", tiny, "--out", tmp_path / "none")
    assert (done.code, done.err.count("\n")) == (2, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
@pytest.mark.parametrize("command", ["check", "fit"])
def test_a_device_that_is_not_there_is_said_of_what_asked_for_it(run, photos, tmp_path, command):
    (tmp_path / "cfg.toml").write_text(
        f'[run]\nsteps = 1\ndevice = "cuda"\nout = "{tmp_path}/out"\n[net]\ntype = "srresnet"\nscale = 2\n'
        f'num_features = 4\nnum_blocks = 1\n[method]\ntype = "psnr"\n[data]\nhr = "{photos}"\ncrop_px = 32\n'
    )
    done = run("pytrain", command, tmp_path / "cfg.toml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "run.device" in done.err
    assert "--device" not in done.err
    assert not (tmp_path / "out").exists()

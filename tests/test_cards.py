"""Cards: the set of a card is made again byte for byte, what differs is named, and no card reaches beyond its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pydegrade
from pydegrade.errors import CardError
from pydegrade.files import to_float, to_uint8
from pydegrade.files.card import Card, card_text, read_card
from pydegrade.ops import kernels

from .programs import Result, degrade_in, quietly

SPACE = """
[space]
name = "ours"
scale = 2
source = "a test"
[[slot]]
name = "noise1"
op = "noise"
kind = "gaussian"
sigma_8bit = { uniform = [1.0, 9.0] }
[[slot]]
name = "down"
op = "resize"
mode = "matlab_bicubic"
rule = "final"
"""


@pytest.fixture
def degrade(capsys) -> Callable[..., Result]:
    return partial(degrade_in, capsys)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """hr/ (three images), run/ (five samples of a space of its own), card.toml."""
    folder = tmp_path_factory.mktemp("cards")
    (folder / "hr" / "sub").mkdir(parents=True)
    for seed, name in enumerate(("one.png", "sub/two.png", "three.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 36 + seed, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "hr" / name)
    (folder / "ours.toml").write_text(SPACE)
    quietly("sample", "--tasks", 5, "--start", 3, "--seed", 7, "--space", folder / "ours.toml", "--hr", folder / "hr",
            "--hr-size", 16, "--augment", "dihedral", "--out", folder / "run")  # fmt: skip
    quietly("card", folder / "run", "--hr", folder / "hr", "-o", folder / "card.toml")
    return folder


@pytest.fixture
def here(made, tmp_path) -> Path:
    """A copy of `made` to be changed."""
    shutil.copytree(made, tmp_path / "set")
    return tmp_path / "set"


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_set_of_a_card_has_the_same_bytes(degrade, made, tmp_path):
    """In a folder of images with others in it, elsewhere, without the space's file."""
    images = tmp_path / "elsewhere"
    shutil.copytree(made / "hr", images)
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(images / "another.png")
    done = degrade("sample", "--card", made / "card.toml", "--hr", images, "--out", tmp_path / "out")
    assert done[0] == 0, done[2]
    ours, theirs = content(tmp_path / "out"), content(made / "run")
    assert {name for name in theirs if ours.get(name) != theirs[name]} == {
        "run.json"
    }  # which names the folder of images
    assert ours.keys() == theirs.keys()
    code, out, err = degrade("verify", made / "card.toml", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "12 files equal" in out
    # A card of it says the same again, and so does its text read and written.
    quietly("card", tmp_path / "out", "--hr", made / "hr", "-o", tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_bytes() == (made / "card.toml").read_bytes()
    assert card_text(read_card(made / "card.toml")).encode() == (made / "card.toml").read_bytes()


@pytest.mark.parametrize("file_format", ["npy", "lmdb"])
def test_cards_of_other_formats(degrade, made, tmp_path, file_format):
    """Of spaces that sharpen their target, from a mixture; an LMDB's values count, its pages do not."""
    words = ("--space", "dasr-mixed", "--hr", made / "hr", "--hr-size", 16, "--format", file_format)
    quietly("sample", "--tasks", 3, *words, "--out", tmp_path / "run")
    quietly("card", tmp_path / "run", "--hr", made / "hr", "-o", tmp_path / "card.toml")
    quietly("sample", "--card", tmp_path / "card.toml", "--hr", made / "hr", "--out", tmp_path / "out", "--batch", 1)
    code, out, err = degrade("verify", tmp_path / "card.toml", tmp_path / "out")
    assert code == 0, out + err
    if file_format == "lmdb":
        import lmdb

        with (
            lmdb.open(str(tmp_path / "out" / "lr.lmdb"), lock=False) as environment,
            environment.begin(write=True) as one,
        ):
            one.put(b"00000001", b"other")
            one.put(b"00000009", b"more")
            one.delete(b"00000002")
        code, out, err = degrade("verify", tmp_path / "card.toml", tmp_path / "out")
        assert code == 1
        assert out.splitlines() == [
            "differs  lr.lmdb/00000001",
            "missing  lr.lmdb/00000002",
            "extra    lr.lmdb/00000009",
        ]


def test_kernels_that_a_space_takes_from_files_are_in_its_card(degrade, made, here):
    np.save(here / "kernels.npy", np.stack([kernels.gaussian(5, 1.0), kernels.gaussian(5, 2.0)]))
    slot = '[[slot]]\nname = "k"\nop = "kernel_pool"\nfiles = "kernels.npy"\n'
    (here / "ours.toml").write_text(SPACE.replace("[[slot]]", slot + "[[slot]]", 1))
    words = ("--hr", here / "hr", "--hr-size", 16, "--out", here / "blurred")
    quietly("sample", "--tasks", 3, "--space", here / "ours.toml", *words)
    quietly("card", here / "blurred", "--hr", here / "hr", "-o", here / "new.toml")
    (here / "kernels.npy").unlink()
    quietly("sample", "--card", here / "new.toml", "--hr", here / "hr", "--out", here / "again")
    assert content(here / "blurred") == content(here / "again")
    text = (here / "new.toml").read_text()
    for old, new in (('float32 = "', 'float32 = "%'), ("shapes = [[5, 5]", "shapes = [[5, 6]"), ("= [[5", "= [[-5")):
        (here / "bad.toml").write_text(text.replace(old, new))
        code, _, err = degrade("verify", here / "bad.toml", here / "again")
        assert (text != (here / "bad.toml").read_text(), code, err.count("\n")) == (True, 2, 1), err


def test_photographs_of_the_package_need_no_folder(degrade, made, tmp_path):
    quietly("sample", "--tasks", 2, "--space", "bicubic", "--hr-size", 16, "--out", tmp_path / "run")
    quietly("card", tmp_path / "run", "-o", tmp_path / "card.toml", "--protocol", "y-uint8-border4")
    assert read_card(tmp_path / "card.toml").protocol == "y-uint8-border4"
    quietly("sample", "--card", tmp_path / "card.toml", "--out", tmp_path / "out")
    assert content(tmp_path / "run") == content(tmp_path / "out")
    code, _, err = degrade("card", made / "run", "-o", tmp_path / "no.toml")
    assert (code, err.count("\n")) == (2, 1)
    assert "name their folder, --hr FOLDER" in err


def test_tasks_changed_by_hand_are_a_card_of_their_own(degrade, made, here):
    card = read_card(here / "card.toml")
    changed = card.tasks.replace(**{"noise1.sigma_8bit": 5.0})
    text = (here / "card.toml").read_text()
    for before, after in zip(card.tasks.addresses, changed.addresses):
        text = text.replace(f'"{before}"', f'"{after}"')
    (here / "card.toml").write_text(text)
    # The folder holds the run of the drawn tasks, and says so.
    code, _, err = degrade("sample", "--card", here / "card.toml", "--hr", here / "hr", "--out", here / "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "holds a run with addresses" in err
    quietly("sample", "--card", here / "card.toml", "--hr", here / "hr", "--out", here / "out")
    assert pydegrade.TaskBatch.load(here / "out" / "tasks.npz").addresses == changed.addresses
    quietly("card", here / "out", "--hr", here / "hr", "-o", here / "changed.toml")
    assert degrade("verify", here / "changed.toml", here / "out")[0] == 0
    assert degrade("verify", here / "card.toml", here / "out")[0] == 1


def test_a_card_of_tasks_is_a_recipe_for_a_set_that_is_still_to_be_made(degrade, here):
    """Of tasks that were chosen and changed, which no option of `degrade sample` draws."""
    tasks = pydegrade.sample(here / "ours.toml", 7, [2, 5, 11]).replace(**{"noise1.sigma_8bit": [1.0, 4.0, 9.0]})
    tasks.save(here / "chosen.npz")
    recipe = here / "recipe.toml"
    quietly("card", here / "chosen.npz", "--hr", here / "hr", "--hr-size", 16, "--augment", "none", "-o", recipe)
    quietly("sample", "--card", recipe, "--hr", here / "hr", "--out", here / "out")
    assert pydegrade.TaskBatch.load(here / "out" / "tasks.npz").addresses == tasks.addresses
    assert sorted(path.name for path in (here / "out" / "lr").iterdir()) == [f"{n:08d}.png" for n in (2, 5, 11)]
    quietly("card", here / "out", "--hr", here / "hr", "-o", here / "made.toml")
    assert degrade("verify", here / "made.toml", here / "out")[0] == 0
    for words, message in (
        (("verify", recipe, here / "out"), "names no files"),
        (("card", here / "out", "--augment", "none", "-o", here / "no.toml"), "go with TASKS"),
        (("card", here / "hr" / "one.png", "-o", here / "no.toml"), "not a readable task file"),
    ):
        code, _, err = degrade(*words)
        assert (code, err.count("\n"), message in err) == (2, 1, True), err
    # Shards of it hold the tasks that were chosen, too.
    for number in range(2):
        quietly("sample", "--card", recipe, "--hr", here / "hr", "--out", here / "s", "--shard", f"{number}/2")
    quietly("merge", here / "merged", here / "s-0-of-2", here / "s-1-of-2")
    assert content(here / "merged") == content(here / "out")


# ---- apply: one task per image


@pytest.mark.parametrize("source", ["card.toml", "run", "run/tasks.npz", "ours.toml"])
def test_every_image_gets_a_task_of_its_own_and_keeps_its_name_and_size(degrade, here, source):
    seed = ("--seed", 7) if source == "ours.toml" else ()  # the others hold tasks of that seed
    words = ("apply", here / "hr", "--tasks", here / source, *seed, "--out", here / "out")
    quietly(*words, "--keep-names")
    tasks = pydegrade.sample(here / "ours.toml", 7, range(3) if source == "ours.toml" else range(3, 6))
    for name, task in zip(("one", "sub/two", "three"), tasks):
        hr = np.array(Image.open(here / "hr" / f"{name}.png"))
        hr = hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2]
        lr = to_uint8(pydegrade.degrade_list([to_float(hr)], task)[0])
        assert np.array_equal(np.array(Image.open(here / "out" / f"{name}.png")), lr)
    again = pydegrade.TaskBatch.load(here / "out" / "tasks.csv", tasks.space)
    assert again.addresses == tasks.addresses
    # A second start keeps them, also with the table there.
    before = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.png")}
    quietly(*words, "--keep-names")
    assert {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.png")} == before


def test_names_that_cannot_be_kept_and_tasks_that_are_too_few_are_refused(degrade, here):
    words = ("apply", here / "hr", "--tasks", here / "card.toml", "--keep-names", "--out", here / "out")
    shutil.copy(here / "hr" / "one.png", here / "hr" / "one.bmp")
    code, _, err = degrade(*words)
    assert (code, err.count("\n"), "another image has its name" in err) == (2, 1, True)
    for number in range(3):
        (here / "hr" / f"more{number}.png").write_bytes((here / "hr" / "one.png").read_bytes())
    (here / "hr" / "one.bmp").unlink()
    code, _, err = degrade(*words)
    assert (code, err.count("\n"), "a task for each of 6 images, got 5" in err) == (2, 1, True)
    for wrong in ((*words, "--task", here / "run"), words[:2] + words[5:], words[:2] + words[4:]):
        code, _, err = degrade(*wrong)
        assert (code, err.count("\n"), "--tasks" in err) == (2, 1, True)
    assert not (here / "out").exists()


def test_a_seed_belongs_to_what_is_drawn(degrade, here):
    for words in (("--tasks", here / "run"), ("--task", here / "run"), ("--tasks", "bicubic@00000000/s0/i0")):
        code, _, err = degrade("apply", here / "hr", *words, "--seed", 0, "--out", here / "no")
        assert (code, err.count("\n"), "--seed goes with --tasks SPACE" in err) == (2, 1, True), err
        assert not (here / "no").exists()


def test_pairs_of_whole_images_have_one_name_in_two_folders(here):
    words = ("--tasks", "realesrgan-x2", "--keep-names", "--with-target")
    quietly("apply", here / "hr", *words, "--out", here / "out")
    for name in ("one.png", "sub/two.png", "three.png"):
        low, target = (Image.open(here / "out" / folder / name) for folder in ("lr", "target"))
        assert target.size == (low.width * 2, low.height * 2)


# ---- pytrain eval --card


def test_models_are_measured_on_the_set_of_a_card_by_its_protocol(capsys, made, here):
    from pytrain.commands import cli as pytrain

    def evaluate(*words: object) -> Result:
        with pytest.raises(SystemExit) as left:
            pytrain.main(["eval", "--model", "bicubic", *map(str, words)])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    quietly("card", here / "run", "--hr", here / "hr", "-o", here / "ours.card.toml", "--protocol", "rgb-uint8-border1")
    capsys.readouterr()
    words = ("--card", here / "ours.card.toml", "--hr", here / "run")
    code, out, err = evaluate(*words, "--json", here / "card.json")
    assert code == 0, err
    assert "rgb-uint8-border1 against hr" in out
    options = ("--scale", 2, "--protocol", "rgb-uint8-border1", "--json", here / "plain.json")
    assert evaluate("--hr", here / "run" / "hr", "--lr", here / "run" / "lr", *options)[0] == 0
    ours, plain = (json.loads((here / name).read_text())[0]["sets"][0] for name in ("card.json", "plain.json"))
    assert ours["measured"] == plain["measured"]
    assert ours["name"].startswith("ours.card@")
    (here / "run" / "lr" / "00000004.png").unlink()
    for wrong, message in (
        (words, "missing  lr/00000004.png (1 such)"),
        ((*words, "--scale", 2), "leave out --lr, --space and --scale"),
        ((*words, "--reference", "target"), "needs a space with a sharpened target"),
        (words[:2], "the one folder that degrade sample --card made, got 0"),
        (("--card", here / "ours.toml", *words[2:]), "a card has a table [card], got none"),
    ):
        code, _, err = evaluate(*wrong)
        assert (code, err.count("\n"), message in err) == (2, 1, True), err


# ---- verify


def test_every_file_that_differs_is_missing_or_extra_is_named(degrade, here):
    run = here / "run"
    (run / "lr" / "00000004.png").unlink()
    with (run / "hr" / "00000005.png").open("ab") as file:
        file.write(b"behind its end")
    (run / "hr" / "00000006.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (run / "lr" / "00000007.png").write_bytes((run / "lr" / "00000003.png").read_bytes())
    (run / "notes.txt").write_text("mine")
    (run / "hr" / "link").symlink_to(here)
    (run / ".hidden").write_text("mine")
    code, out, err = degrade("verify", here / "card.toml", run)
    assert code == 1
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "differs  hr/00000005.png", "differs  hr/00000006.png", "extra    hr/link", "missing  lr/00000004.png",
        "differs  lr/00000007.png", "extra    notes.txt",
    ]  # fmt: skip
    assert "same pixels" in lines[0]
    assert err.strip().endswith("3 differ, 1 missing, 2 extra, 8 equal")
    code, out, _ = degrade("verify", here / "card.toml", run, "--pixels")
    assert (code, "00000005" in out) == (1, False)


def test_verify_does_not_follow_a_link_out_of_the_folder(degrade, here, tmp_path):
    victim = here / "run" / "lr" / "00000004.png"
    shutil.move(victim, tmp_path / "outside.png")
    victim.symlink_to(tmp_path / "outside.png")
    code, out, _ = degrade("verify", here / "card.toml", here / "run")
    assert (code, out.startswith("differs  lr/00000004.png: ")) == (1, True)
    assert "must stay inside the folder" in out


# ---- what is refused, in one line


def changed(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: text.index("\n[hr]") - 7], "half a card?"),
        (lambda text: text[: text.index("[files]") + 200].rpartition("\n")[0], "files, holds 1; a card that is cut off"),
        (lambda text: text[: text.index("\n[hr]")], "a card has a table [hr], got none"),
        (lambda text: "", "a card has a table [card], got none"),
        (lambda text: "\0", "not valid TOML"),
        (lambda text: "x = " + "[" * 3000, "nested too deeply"),
        (changed("version = 1", "version = 2"), "must be a card of version 1, got 2"),
        (changed("sigma_8bit = { uniform = [1", "sigma_8bit = { uniform = [2"), "expected digest"),
        (changed('op = "noise"', 'op = "nose"'), "did you mean 'noise'?"),
        (changed('space = "ours"', 'space = "theirs"'), "card.space must be the space's, ours, got 'theirs'"),
        (changed("/s7/i4", "/s8/i4"), "one seed and ascending sample numbers"),
        (changed("/s7/i4", "/s7/i9"), "one seed and ascending sample numbers"),
        (changed("seed = 7", "seed = 8"), "crops.seed must be that of the tasks, 7, got 8"),
        (changed("side_px = 16", "side_px = 15"), "crops.side_px must be a multiple of the scale 2, got 15"),
        (changed('augment = "dihedral"', 'augment = "all"'), "crops.augment must be one of none, hflip, dihedral"),
        (changed('"lr/00000004.png"', '"../00000004.png"'), "must stay inside the folder"),
        (changed('"lr/00000004.png"', '"/etc/passwd"'), "must stay inside the folder"),
        (changed('"lr/00000004.png" = { sha256', '"lr/00000004.png" = { md5'), "must be a SHA-256"),
    ],
)  # fmt: skip
def test_a_card_that_cannot_be_is_refused_in_one_line(degrade, here, change, message):
    card = here / "card.toml"
    card.write_text(change(card.read_text()))
    for words in (
        ("verify", card, here / "run"),
        ("sample", "--card", card, "--hr", here / "hr", "--out", here / "out"),
    ):
        code, _, err = degrade(*words)
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err
    assert not (here / "out").exists()


def test_a_task_that_ends_at_another_size_is_refused_wherever_a_card_is_read(degrade, here):
    tasks = pydegrade.sample("bicubic-x2", 0, [0, 1])
    tasks = tasks.replace(**{"resize1.resize_factor": [0.5, 1.0]})
    images = {"one.png": "0" * 64}
    (here / "size.toml").write_text(card_text(Card(tasks, 16, "none", "png", images, {})))
    tasks.save(here / "size.npz")
    for words in (
        ("verify", here / "size.toml", here / "run"),
        ("sample", "--card", here / "size.toml", "--hr", here / "hr", "--out", here / "out"),
        ("card", here / "size.npz", "--hr", here / "hr", "--hr-size", 16, "-o", here / "no.toml"),
    ):
        code, _, err = degrade(*words)
        assert (code, err.count("\n"), "must end at the LR size 8x8, got 16x16" in err) == (2, 1, True), err
    assert not (here / "out").exists()
    assert not (here / "no.toml").exists()


def test_other_images_are_refused_before_anything_is_written(degrade, here):
    words = ("sample", "--card", here / "card.toml", "--hr", here / "hr", "--out", here / "out")
    Image.fromarray(np.zeros((40, 36, 3), np.uint8)).save(here / "hr" / "one.png")
    for message in ("one.png: must have the card's SHA-256", "must hold all 3 images of the card, one.png is missing"):
        code, _, err = degrade(*words)
        assert (code, err.count("\n"), message in err) == (2, 1, True), err
        (here / "hr" / "one.png").unlink(missing_ok=True)
    assert not (here / "out").exists()


def test_a_card_is_made_of_a_whole_run_alone(degrade, here):
    words = ("card", here / "run", "--hr", here / "hr", "-o", here / "new.toml")
    Image.fromarray(np.zeros((40, 36, 3), np.uint8)).save(here / "run" / "lr" / "00000005.png")
    for message, then in (
        ("sample 5 is not as it was written", lambda: (here / "run" / "run.json").write_text("{}")),
        ("not a description of a run", lambda: shutil.rmtree(here / "run")),
        ("does not exist", lambda: None),
    ):
        code, _, err = degrade(*words)
        assert (code, err.count("\n"), message in err) == (2, 1, True), err
        then()
    quietly("sample", "--tasks", 2, "--params-only", "--out", here / "params")
    code, _, err = degrade("card", here / "params", "-o", here / "new.toml")
    assert (code, "parameters without images" in err) == (2, True)
    assert not (here / "new.toml").exists()
    # Nor is one that is there written over.
    code, _, err = degrade("card", here / "params", "-o", here / "card.toml")
    assert (code, "--force" in err) == (2, True)


def test_what_a_card_says_is_not_asked_twice(degrade, made, tmp_path):
    code, _, err = degrade(
        "sample", "--card", made / "card.toml", "--hr", made / "hr", "--seed", 3, "--out", tmp_path / "o"
    )
    assert (code, "--seed" in err, err.count("\n")) == (2, True, 1)


def test_a_name_that_is_no_text_has_no_card(made):
    card = read_card(made / "card.toml")
    with pytest.raises(CardError, match="names images by text"):
        card_text(type(card)(**{**vars(card), "images": {"\udcff.png": "0" * 64}}))

"""`degrade gallery`: what the page holds, that nothing in it acts or is loaded, and how it behaves in a browser."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pydegrade
from pydegrade.commands.actions import gallery as page_of
from pydegrade.commands.actions import gallery_samples
from pydegrade.files.pixels import to_float, to_uint8
from pydegrade.files.read import read_image
from pydegrade.images.metrics import psnr

from .browser import CHROMIUM, Page
from .programs import degrade_in as degrade
from .programs import quietly

HOSTILE = "<img src=x onerror=document.title='bad'>.png"
COUNT = 8

in_a_browser = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium")


def samples_of(origin: Path, first: int = 4000, hr: Path | None = None) -> gallery_samples.ShownSamples:
    return gallery_samples.samples_of(origin, first, hr, None, 10**6)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate((HOSTILE, "plain.png")):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(coarse).resize((80, 80), Image.Resampling.BICUBIC).save(folder / name)
    return folder


def sampled(photos: Path, out: Path, *more: object) -> Path:
    quietly("sample", "--tasks", COUNT, "--hr", photos, "--hr-size", 64, "--out", out, *more)
    return out


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sampled(photos, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def made(run: Path) -> str:
    """The page of the run."""
    return page_of.gallery(samples_of(run)).page.decode()


def blocks(page: str) -> tuple[dict[str, Any], list[list[Image.Image]]]:
    """Facts of a page, and HR and LR of each sample."""
    facts = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    images = re.search(r'<script type="text/plain" id="images">(.*?)</script>', page, re.DOTALL)
    assert facts
    assert images
    pairs = [[Image.open(io.BytesIO(base64.b64decode(one))) for one in row.split(" ")] for row in images[1].split("\n")]
    return json.loads(facts[1]), pairs


def test_the_page_holds_every_sample_with_its_task(made, run):
    facts, pairs = blocks(made)
    tasks = pydegrade.TaskBatch.load(run / "tasks.npz")
    assert facts["address"] == tasks.addresses
    assert [facts["orders"][at].split() for at in facts["order"]] == list(map(list, tasks.orders()))
    for row, (hr, lr) in enumerate(pairs):
        assert np.array_equal(np.array(lr), read_image(run / f"lr/{row:08d}.png")), "LR is shown bit for bit"
        clean = read_image(run / f"hr/{row:08d}.png").astype(float)
        assert np.abs(np.array(hr) - clean).mean() < 12  # lossy, quality 75, of noise at 13 px: 5 here
    for column in facts["columns"]:
        values = np.frombuffer(base64.b64decode(column["values"]), "<f4")
        values = np.broadcast_to(values, COUNT) if len(values) == 1 else values
        if column["name"] == "psnr_db":
            hr, lr = (read_image(run / f"{kind}/00000003.png") for kind in ("hr", "lr"))
            expected = psnr(lr, pydegrade.imresize(hr, 0.25), "rgb-uint8-border0")
            assert values[3] == pytest.approx(expected.value, abs=1e-3)
            continue
        acts = tasks.present(column["slot"]) & ~tasks.neutral(column["slot"])
        if column["name"] == "acts":
            assert np.array_equal(values, acts)
        else:
            name = f"{column['slot']}.{column['name']}"
            expected = np.where(acts & tasks.mask(name), tasks.column(name), np.nan)
            assert np.array_equal(values, expected.astype(np.float32), equal_nan=True)


def test_nothing_is_loaded_and_no_name_is_markup(made):
    assert "//" not in re.sub(r"(?m)(^|\s)// .*$", "", made.split('id="images"')[0]).replace("</", "")
    assert "<img src=x" not in made
    assert HOSTILE in blocks(made)[0]["sources"]
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', made)[1])  # type: ignore[index]
    assert policy.startswith("default-src 'none'; img-src data:; script-src 'sha256-")
    assert "unsafe" not in policy


def test_texts_of_a_space_are_texts(photos, tmp_path):
    evil = '</script><script>document.title=\\"bad\\"</script>{{images}}<!--'
    (tmp_path / "mine.toml").write_text(f'[space]\nname = "mine"\nbase = "bicubic-x4"\nsource = "{evil}"\n')
    out = sampled(photos, tmp_path / "a<b>&{{data}}", "--space", tmp_path / "mine.toml", "--tasks", 2)
    page = page_of.gallery(samples_of(out, 2)).page.decode()
    facts, pairs = blocks(page)
    assert evil.replace("\\", "") in facts["about"]
    assert facts["space_option"].startswith(" --space '/")
    assert len(pairs) == 2
    assert "a&lt;b&gt;&amp;{{data}}</title>" in page
    assert page.count("<script") == 3


@pytest.mark.parametrize("file_format", ["npy", "lmdb"])
def test_other_formats_give_the_same_images(made, photos, tmp_path, file_format):
    if file_format == "lmdb":
        pytest.importorskip("lmdb")
    out = sampled(photos, tmp_path / "run", "--format", file_format, "--tasks", 2)
    _, pairs = blocks(page_of.gallery(samples_of(out)).page.decode())
    for row, expected in zip(pairs, blocks(made)[1]):
        assert [one.tobytes() for one in row] == [one.tobytes() for one in expected]


def test_a_square_from_the_middle_of_large_images(run):
    _, pairs = blocks(page_of.gallery(samples_of(run, 1), side_px=32).page.decode())
    assert [one.size for one in pairs[0]] == [(32, 32), (8, 8)]
    assert np.array_equal(np.array(pairs[0][1]), read_image(run / "lr/00000000.png")[4:12, 4:12])


def test_the_command(capsys, run, tmp_path):
    before = sorted(run.iterdir())
    code, out, _ = degrade(capsys, "gallery", run, "--first", 3)
    assert (code, "run.html: 3 of 8 samples" in out) == (0, True)
    assert degrade(capsys, "gallery", run, "--first", 2)[0] == 0, "a page of ours is replaced"
    assert len(blocks((run.parent / "run.html").read_text())[1]) == 2
    assert sorted(run.iterdir()) == before
    (tmp_path / "mine.html").write_text("<!doctype html><p>by hand")
    code, _, err = degrade(capsys, "gallery", run, "-o", tmp_path / "mine.html")
    assert (code, err.count("\n"), "holds something else" in err) == (2, 1, True)


def test_what_is_no_run_is_one_line(capsys, run, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cfg.toml").write_text("[run]\nsteps = 1\n")
    (tmp_path / "g.toml").write_text('[[group]]\nname = "G1"\naddresses = ["realesrgan-x4@c2d470a8/s0/x"]\n')
    (tmp_path / "h.toml").write_text('[[group]]\nname = "G1"\naddresses = [5]\n')
    address = pydegrade.sample("bicubic", 0, [0]).addresses[0]
    (tmp_path / "big.toml").write_text(f'[[group]]\nname = "G"\naddresses = ["{address}"]\ngain = [1{"0" * 400}]\n')
    (tmp_path / "clip.toml").write_text(f'[[group]]\nname = "G"\naddresses = ["{address}/f0-4"]\ngain = [1]\n')
    (tmp_path / "dots.toml").write_text(".".join(["a"] * 10_000) + " = 1\n")
    shutil.copytree(run, tmp_path / "edited")
    pydegrade.TaskBatch.load(run / "tasks.npz").with_noise(7).save(tmp_path / "edited" / "tasks.npz")
    for name, said in (
        ("edited", "tasks.npz is not as SHA256SUMS says"),
        ("dots.toml", "not a file of groups: a key of more than 32 parts"),
        ("file", "not a readable task file"),
            ("nowhere", "got nothing at"), ("empty", "tasks.npz"), ("cfg.toml", "not a file of groups"),
        ("g.toml", "g.toml: "), ("h.toml", "h.toml: "), ("big.toml", "not a file of groups (OverflowError"),
        ("clip.toml", "clip.toml: each address must be of one frame"),
    ):  # fmt: skip
        code, _, err = degrade(capsys, "gallery", tmp_path / name)
        assert (code, err.count("\n"), said in err) == (2, 1, True), err
        assert not (tmp_path / f"{name}.html").exists()


def test_tasks_without_images_are_run_on_the_crops_that_sample_cuts(capsys, made, photos, tmp_path):
    words = ["sample", "--tasks", COUNT, "--params-only", "--out", tmp_path / "params"]
    assert degrade(capsys, *words)[0] == 0
    samples = samples_of(tmp_path / "params", 2, photos)
    _, pairs = blocks(page_of.gallery(samples).page.decode())
    for row, (_, lr) in enumerate(pairs):
        hr, expected = samples.read(row)
        assert np.array_equal(np.array(lr), expected[:48, :48])
        (again,) = pydegrade.degrade_list([to_float(hr)], samples.tasks.take([row]))
        assert np.array_equal(to_uint8(again), expected)


def test_tasks_of_several_seeds_are_shown_on_the_crops_of_their_own(photos, tmp_path):
    one, other = pydegrade.sample("bicubic-x4", 3, [0, 5]), pydegrade.sample("bicubic-x4", 2, [5, 1])
    both = pydegrade.TaskBatch.concat([one, other]).take([2, 0, 3, 1])
    read = []
    for name, tasks in (("one", one), ("other", other), ("both", both)):
        tasks.save(tmp_path / f"{name}.npz")
        samples = samples_of(tmp_path / f"{name}.npz", 9, photos)
        read.append([samples.read(row)[0] for row in range(len(tasks))])
    expected = [*read[0], *read[1]]
    assert all(np.array_equal(read[2][row], expected[place]) for row, place in enumerate([2, 0, 3, 1]))
    assert not np.array_equal(expected[1], expected[2])


def test_a_card_is_shown_on_the_crops_of_its_set(capsys, made, photos, run, tmp_path):
    assert degrade(capsys, "card", run, "--hr", photos, "-o", tmp_path / "card.toml")[0] == 0
    assert degrade(capsys, "gallery", tmp_path / "card.toml", "--hr", photos)[0] == 0
    again = (tmp_path / "card.toml.html").read_text()
    for ours, theirs in zip(blocks(again)[1], blocks(made)[1], strict=True):
        assert all(np.array_equal(np.array(one), np.array(other)) for one, other in zip(ours, theirs))


def test_groups_are_shown_with_their_scores(photos, tmp_path):
    tasks = pydegrade.sample("bicubic", 0, range(3))
    groups = ""
    for name, rows, gains in (("<b>G1", [2, 0], [0.5, 0.25]), ("G2", [1], [0.125])):
        addresses = [tasks.addresses[row] for row in rows]
        groups += f'[[group]]\nname = "{name}"\naddresses = {addresses}\ngain = {gains}\nnote = ["x"]\n'
    (tmp_path / "groups.toml").write_text(groups)
    facts, pairs = blocks(page_of.gallery(samples_of(tmp_path / "groups.toml", hr=photos)).page.decode())
    assert facts["address"] == [tasks.addresses[row] for row in (2, 0, 1)]
    assert len(pairs) == 3
    scores = {column["name"]: column for column in facts["columns"] if not column["slot"]}
    assert list(scores) == ["psnr_db", "group", "gain"]
    assert scores["group"]["choices"] == ["<b>G1", "G2"]
    assert np.frombuffer(base64.b64decode(scores["gain"]["values"]), "<f4").tolist() == [0.5, 0.25, 0.125]


def test_a_fit_is_shown_beside_the_nearest_photograph(capsys, photos, tmp_path):
    space = ' [ space ] # mine\nname = "mine"\nscale = 2\nsource = "a fit"\nhr_px = 64\n[[slot]]\nname = "noise1"\n'
    space += (
        'op = "noise"\nkind = "gaussian"\nsigma_8bit = { uniform = [1, 30] }\n[[slot]]\nname = "down"\nop = "resize"\n'
    )
    space += 'rule = "final"\nmode = "torch_area"\n'
    (tmp_path / "mine.toml").write_text(space)
    words = ("gallery", tmp_path / "mine.toml", "--hr", photos, "--first", 3)
    assert degrade(capsys, *words, "--photographs", photos / "plain.png")[0] == 0
    facts, rows = blocks((tmp_path / "mine.toml.html").read_text())
    assert (facts["pictures"], facts["thumbnails"]) == (["HR", "LR", "nearest photograph"], [1, 2])
    assert facts["address"] == pydegrade.sample(tmp_path / "mine.toml", 0, range(3)).addresses
    (distance,) = (column for column in facts["columns"] if column["name"] == "distance")
    assert (np.frombuffer(base64.b64decode(distance["values"]), "<f4") > 0).all()
    photograph = read_image(photos / "plain.png")
    for _, _, third in rows:
        side = third.height
        places = [(top, left) for top in range(0, 81 - side, 16) for left in range(0, 81 - side, 16)]
        assert any(np.array_equal(third, photograph[y : y + side, x : x + side]) for y, x in places)
    for wrong, said in (
        (("gallery", photos.parent, "--photographs", photos), "RUN must be a space"),
        ((*words, "--photographs", tmp_path / "mine.toml"), "no photograph can be read"),
    ):
        code, _, err = degrade(capsys, *wrong)
        assert (code, err.count("\n"), said in err) == (2, 1, True), err


def evaluation(folder: Path, **changed: Any) -> Path:
    """A folder as `pytrain eval --save-images` leaves it: two images of a hostile name under two models."""
    names, files = [HOSTILE, "b.png"], ["a.png", "b.png"]
    tasks = pydegrade.sample("bicubic-x2", 3, [0, 1])
    for number, (file, value) in enumerate(zip(files, (40, 80))):
        for place, side in (("inputs/set/hr", 16), ("inputs/set/lr", 8), ("bicubic/set", 16), ("<b>net", 16)):
            place = place if "/" in place else f"{place}/set"
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (side, side), (value + number, value, value)).save(folder / place / file)
    of_set = {"name": "set", "degradation": "<i>", "images": names, "files": files, "addresses": tasks.addresses}
    models = [
        {"label": label, "sets": [{"psnr-y": values, "lpips-v1": [0.5, 0.25]}]}
        for label, values in (("bicubic", [20.0, 30.0]), ("<b>net", [21.5, float("inf")]), ("no-images", [1.0, 1.0]))
    ]
    content = {"version": 1, "scale": 2, "sets": [of_set], "models": models, **changed}
    (folder / "eval.json").write_text(json.dumps(content).replace("Infinity", "1e999"))
    return folder


def test_an_evaluation_is_shown_with_what_every_model_gains(capsys, tmp_path):
    folder = evaluation(tmp_path / "shown")
    assert degrade(capsys, "gallery", folder)[0] == 0
    page = tmp_path / "shown.html"
    facts, rows = blocks(page.read_text())
    assert "<b>net" not in page.read_text()
    assert [facts["sources"][at] for at in facts["source"]] == [HOSTILE, "b.png"] * 2
    assert facts["address"] == pydegrade.sample("bicubic-x2", 3, [0, 1]).addresses * 2
    assert [slot["name"] for slot in facts["slots"]] == ["resize1"]
    assert facts["index"] == ["0", "1", "2", "3"]
    scores = {column["name"]: column for column in facts["columns"] if not column["slot"]}
    assert scores["model"]["choices"] == ["bicubic", "<b>net"]
    assert np.frombuffer(base64.b64decode(scores["gain"]["values"]), "<f4").tolist() == [0, 0, 1.5, 70]
    assert [one.size for one in rows[2]] == [(16, 16), (8, 8), (16, 16)]

    content = json.loads((folder / "eval.json").read_text())
    long = [{**content["sets"][0], "name": "s" * 5000}]
    for changed in (
        {"sets": 5}, {"models": []}, {"models": [{"label": "bicubic", "sets": [{"psnr-y": [1.0]}]}]}, {"scale": "x"},
        {"scale": float("inf")}, {"models": [{"label": "bicubic", "sets": [{"psnr-y": [10**400] * 2}]}]}, {"sets": long},
        {"version": 2},
    ):  # fmt: skip
        code, _, err = degrade(capsys, "gallery", evaluation(folder, **changed))
        assert (code, err.count("\n"), "not the index of an evaluation" in err) == (2, 1, True), err
    models = [{"label": "../shown/bicubic", "sets": [{"psnr-y": [1.0, 1.0]}]}]
    code, _, err = degrade(capsys, "gallery", evaluation(folder, models=models))
    assert (code, err.count("\n")) == (2, 1), err

    # Edited, but with images: sides that no scale joins, an address of several frames, a name that no file can have.
    files, address = ["a.png", "\ud800.png"], pydegrade.sample("bicubic-x2", 3, [0]).addresses[0]
    sets = [{**content["sets"][0], "files": files, "addresses": [f"{address}/f0-4", address]}]
    evaluation(folder, sets=sets, models=content["models"][:1])
    Image.new("RGB", (2, 64)).save(folder / "inputs/set/hr/a.png")
    code, _, err = degrade(capsys, "gallery", folder)
    assert (code, err.count("\n"), "no file can have the name" in err) == (2, 2, True), err
    facts, (row,) = blocks(page.read_text())
    assert (facts["slots"], facts["address"]) == ([], [f"{address}/f0-4"])
    assert row[0].size == (2, 64)


def test_one_bad_image_costs_its_sample_alone(capsys, photos, tmp_path):
    out = sampled(photos, tmp_path / "run", "--space", "bicubic")
    (out / "lr/00000002.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (out / "hr/00000005.png").unlink()
    (out / "manifest.csv").write_bytes(b"\xff\x00,,")
    code, _, err = degrade(capsys, "gallery", out)
    assert code == 2
    assert "lr/00000002.png: corrupt" in err
    assert "hr/00000005.png: No such file" in err
    assert err.endswith("degrade gallery: 2 of 8 samples skipped\n")
    facts, pairs = blocks((tmp_path / "run.html").read_text())
    assert facts["index"] == ["0", "1", "3", "4", "6", "7"]
    assert len(pairs) == 6


# ---- in a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    opened = Page(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def shown(page: Page) -> list[str]:
    return page.run("[...document.querySelectorAll('.card span')].map((one) => one.textContent.split(' ')[0])")


@in_a_browser
@pytest.mark.slow
def test_a_person_filters_sorts_and_looks(page, made, run, tmp_path):
    path = tmp_path / "gallery.html"
    path.write_text(made)
    tasks = pydegrade.TaskBatch.load(run / "tasks.npz")
    page.open(path.as_uri())
    assert len(shown(page)) == COUNT
    assert page.run("$('count').textContent") == "8 samples"

    # Filter by a range, sort by another column.
    quality = tasks.column("jpeg1.quality")
    page.run(
        "{ const filter = filters.find((one) => one.column.full === 'jpeg1.quality');"
        "  const low = filter.box.querySelector('input'); low.value = Math.ceil(low.max / 2);"
        "  low.dispatchEvent(new Event('input'));"
        "  const sort = $('sort'); sort.value = sortable.findIndex((one) => one.full === 'jpeg2.quality');"
        "  sort.dispatchEvent(new Event('input')); $('direction').click(); }"
    )
    least = quality.min() + np.ceil((quality.max() - quality.min()) / 2)
    kept = np.nonzero(quality >= least)[0]
    assert 0 < len(kept) < COUNT
    best = sorted(kept, key=lambda row: (-tasks.column("jpeg2.quality")[row], row))
    assert shown(page) == [f"#{row}" for row in best]
    page.run("$('reset').click()")
    assert len(shown(page)) == COUNT

    # A choice, by its checkbox.
    page.run(
        "{ const filter = filters.find((one) => one.column.full === 'noise1.kind');"
        "  filter.box.querySelector('input').click(); }"
    )
    assert 0 < len(shown(page)) < COUNT
    page.run("$('reset').click()")

    # The large view: address, slots, pixels of LR as they are stored, keys, permalink.
    page.run("document.querySelector('.card').click()")
    row = int(page.run("$('number').textContent")[1:])
    assert page.run("$('address').value") == tasks.addresses[row]
    assert np.array_equal(page.pixels("#lr"), read_image(run / f"lr/{row:08d}.png"))
    slots = page.run("[...document.querySelectorAll('.slot b')].map((one) => one.firstChild.textContent.trim())")
    assert slots[0] == "scores"
    assert slots[1 : 1 + len(tasks.orders()[row])] == list(tasks.orders()[row])
    page.run("$('in').click()")
    assert page.run("$('lr').style.transform") != page.run("$('hr').style.transform")
    page.press("ArrowRight")
    page.until(f"$('number').textContent !== '#{row}'")
    page.run("$('close').click()")
    page.open(path.as_uri() + "#5")
    assert page.run("$('large').open && $('address').value") == tasks.addresses[5]

    # Nothing failed, nothing but the file itself was asked for, and the photograph's name did nothing.
    assert page.errors == page.refused == []
    assert {url.split(":")[0] for url in page.requests} <= {"file", "data", "about"}
    assert page.run("document.title") == f"realesrgan-x4@{tasks.space.digest[:8]}: run"
    sources = page.run("data.index.map((_, row) => { show(row); return $('file').textContent; })")
    assert HOSTILE in sources
    assert page.run("document.querySelectorAll('main img:not([src^=\"data:\"])').length") == 0


@in_a_browser
@pytest.mark.slow
def test_four_thousand_samples_are_in_the_page_only_where_they_are_seen(page, run, tmp_path):
    tasks = pydegrade.sample("realesrgan-x4", 1, range(4000))
    images = np.zeros((8, 8, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    samples = gallery_samples.ShownSamples(run, tasks, 4000, lambda row: images, ("",) * 4000)
    path = tmp_path / "many.html"
    path.write_bytes(page_of.gallery(samples).page)
    page.open(path.as_uri())
    assert page.run("$('count').textContent") == "4,000 samples"
    assert 0 < page.run("document.querySelectorAll('.card').length") < 100
    page.run("main.scrollTop = main.scrollHeight")
    page.until("[...document.querySelectorAll('.card')].some((card) => card.textContent.startsWith('#3999'))")
    assert page.run("document.querySelectorAll('.card').length") < 100
    page.run("$('copy-all').click()")  # a clipboard may be refused; the page goes on
    assert page.run("Array.from(shown, (row) => data.address[row])") == tasks.addresses
    assert page.errors == []

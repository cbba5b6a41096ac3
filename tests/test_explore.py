"""`degrade explore`: what its controls do to a task, what it gives to take along, and the page in a browser."""

from __future__ import annotations

import importlib.util
import runpy
import socket
import urllib.parse
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pydegrade
from pydegrade.commands import cli
from pydegrade.commands.actions import explore, explore_model
from pydegrade.errors import ImageError, PydegradeError, TaskError
from pydegrade.files.pixels import Pixels, to_float, to_uint8
from pydegrade.files.write import write_image
from pydegrade.tasks import vectors
from pytrain import nets
from pytrain.files.checkpoint import save_model

from .browser import CHROMIUM, Page
from .small_nets import SMALL

SPACES = ("realesrgan-x4", "bsrgan-x4", "dasr-mixed", "mzsr-direct-x3")


@pytest.fixture(scope="module")
def photo() -> Pixels:
    coarse = np.random.default_rng(3).integers(0, 256, (9, 7, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((84, 108), Image.Resampling.BICUBIC))


def lr_of(hr: Pixels, task: pydegrade.TaskBatch) -> Pixels:
    return to_uint8(pydegrade.degrade_list([to_float(hr)], task)[0])


@pytest.mark.parametrize("name", SPACES)
def test_controls_stand_where_the_task_is_and_stay_in_the_ranges_of_the_space(name):
    space = pydegrade.Space.load(name)
    controls = explore.controls_of(space)
    assert len({control.name for control in controls}) == len(controls) >= 3
    (task,) = pydegrade.sample(space, 1, [0])
    for control in controls:
        value = explore.value_of(task, control)
        assert explore.moved(task, control, value).addresses == task.addresses, "what is not moved is no edit"
        if not control.choices:
            assert control.low <= value <= control.high
            low, high = control.shown
            assert low <= explore.four_digits(value) <= high, control.name
            assert control.low - 1e-3 * abs(control.low) <= low <= control.low
            assert control.high <= high <= control.high + 1e-3 * abs(control.high)
            assert (
                max(len(f"{end:.10g}".strip("-0.").replace(".", "")) for end in (low, high)) <= 4 or control.step >= 1
            )
    numbers = [control for control in controls if not control.choices]
    for control in numbers[:3]:
        for wrong in (control.high + control.step, control.low - control.step, float("nan"), None, "5"):
            with pytest.raises(TaskError, match=f"{control.name}: must be in"):
                explore.moved(task, control, wrong)
    for control in [one for one in controls if one.choices][:3]:
        assert explore.moved(task, control, control.choices[-1]).space == space
        with pytest.raises(TaskError, match="must be one of"):
            explore.moved(task, control, "<b>")


@pytest.mark.parametrize("name", SPACES)
def test_the_toml_and_the_python_give_the_pixels_that_are_seen(name, photo, tmp_path, monkeypatch):
    space = pydegrade.Space.load(name)
    hr = explore.square(photo, space.scale)
    controls = explore.controls_of(space)
    for index, task in enumerate(pydegrade.sample(space, 2, range(2))):
        control = controls[index]
        task = explore.moved(task, control, control.choices[-1] if control.choices else control.high)
        saved = pydegrade.Space.loads(explore.toml_of(task))
        expected = lr_of(hr, task)
        assert np.array_equal(lr_of(hr, pydegrade.sample(saved, 2, [index])), expected)
    monkeypatch.chdir(tmp_path)
    write_image("photograph.png", hr)
    (tmp_path / "program.py").write_text(explore.python_of(task, name))
    assert np.array_equal(to_uint8(runpy.run_path("program.py")["lr"]), expected)


def test_the_strip_has_every_stage_and_lr_is_exact(photo):
    (task,) = pydegrade.sample("realesrgan-x4", 0, [1])
    hr = explore.square(photo, 4, side_px=64)
    seen = explore.shown(hr, task)
    for slot in ("HR", *explore.running_slots(task, 0), "LR"):
        assert f"<b>{slot}</b>" in seen.stages
    assert seen.lr.startswith("data:image/png;base64,")
    assert [one.shape for one in explore.previews(hr, explore.drawn_after(task))] == [(256, 256, 3)] * explore.DRAWN
    last = pydegrade.sample("bicubic", 0, [2**63 - 1])
    assert len(explore.drawn_after(last)) == explore.DRAWN


def test_the_page_is_of_one_frame():
    task = pydegrade.sample("bicubic", 1, [0])
    assert explore.task_at(task.space, f" {task.addresses[0]}/f3 ").frames.tolist() == [3]
    with pytest.raises(TaskError, match="the address must be of one frame, got one of 5"):
        explore.task_at(task.space, f"{task.addresses[0]}/f0-4")


def test_squares_are_multiples_of_the_scale_inside_the_photograph(photo):
    assert explore.square(photo, 4).shape == (84, 84, 3)
    assert np.array_equal(explore.square(photo, 4, 1.0, 1.0, 32), photo[-32:, -32:])
    assert np.array_equal(explore.square(photo, 4, 0.0, 0.0, 35), photo[:32, :32])
    assert "left:0.00%;top:22.22%" in explore.whole(photo, 84, 0.5, 1.0)
    with pytest.raises(ImageError, match="at least the scale 4, got 3 x 9"):
        explore.square(np.zeros((9, 3, 3), np.uint8), 4)


def test_without_gradio_it_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None)
    with pytest.raises(SystemExit) as left:
        cli.main(["explore"])
    assert left.value.code == 2
    assert (
        capsys.readouterr().err
        == "degrade: degrade explore needs the package gradio: pip install 'pydegrade[explore]'\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.png"], "nowhere.png: No such file"),
        (["bad.png"], "bad.png: corrupt or truncated"),
        (["tiny.png"], "at least the scale 4, got 3 x 3"),
        (["--task", "x@y"], "x@y"),
        (["--space", "realesrgan-x5"], "did you mean"),
    ],
)
def test_what_cannot_be_explored_is_one_line_and_nothing_is_served(capsys, monkeypatch, tmp_path, words, said):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name == "gradio" or find(name, *more))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write_image(tmp_path / "tiny.png", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(SystemExit) as left:
        cli.main(["explore", *words])
    err = capsys.readouterr().err
    assert (left.value.code, err.count("\n"), said in err) == (2, 1, True), err


def test_groups_of_a_file_and_what_it_says_of_their_tasks(tmp_path):
    tasks = pydegrade.sample("bicubic", 0, range(3))
    text = "".join(
        f'[[group]]\nname = "{name}"\naddresses = {[tasks.addresses[row] for row in rows]}\ngain = {gains}\n'
        for name, rows, gains in (("<b>G1", [2, 0], [0.5, 0.25]), ("G2", [1], [0.125]))
    )
    (tmp_path / "groups.toml").write_text(text)
    first, second = explore.groups_of(tmp_path / "groups.toml", None)
    assert (first.name, first.tasks.indices.tolist(), first.said) == ("<b>G1", [2, 0], ("gain 0.5", "gain 0.25"))
    assert second.tasks.addresses == [tasks.addresses[1]]


def test_a_model_is_opened_by_an_installed_package_or_refused(tmp_path, monkeypatch):
    """Of the space's scale; what a package opens is asked for images and, of DASR, for what it believes."""
    save_model(tmp_path / "dasr.safetensors", SMALL["dasr"], nets.build(SMALL["dasr"]))
    entry = EntryPoint("pytrain", "pytrain.commands.actions.explore:open_model", explore_model.MODELS)
    monkeypatch.setattr(explore_model, "entry_points", lambda group: [entry])
    space = pydegrade.Space.load("realesrgan-x4")
    model = explore_model.open_model(tmp_path / "dasr.safetensors", space)
    lr = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    believed = model.belief(lr)
    assert (model.name, model.scale, model.believes) == ("dasr.safetensors", 4, True)
    assert set(believed) <= set(vectors.editable())
    changes = {name: str(limits[-1]) for name, limits in vectors.editable().items()}
    assert model.enlarged(lr, changes).shape == (64, 80, 3)
    (task,) = pydegrade.sample(space, 0, [0])
    table = explore_model.believed_table(task, believed, {"jpeg2.quality": "31"})
    assert table.count("<tr>") == 1 + len(set(vectors.editable()) & {*believed, "jpeg2.quality"})
    assert f"<td>{task.column('jpeg2.quality')[0]:g}</td><td>31</td>" in table
    with pytest.raises(PydegradeError, match="has scale 4, bicubic-x2 has 2"):
        explore_model.open_model(tmp_path / "dasr.safetensors", pydegrade.Space.load("bicubic-x2"))
    monkeypatch.setattr(explore_model, "entry_points", lambda group: [])
    with pytest.raises(PydegradeError, match="no installed package opens model files"):
        explore_model.open_model(tmp_path / "dasr.safetensors", space)


# ---- in a browser

needs = pytest.mark.skipif(
    not CHROMIUM or importlib.util.find_spec("gradio") is None,
    reason="needs Chromium (apt-get install chromium) and gradio (pip install 'pydegrade[explore]')",
)


@pytest.fixture(scope="module")
def outside() -> Iterator[list[Any]]:
    """Addresses that this process connects to or asks the name of, but for its own machine's."""
    asked: list[Any] = []
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def note(address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "localhost", "::1", "0.0.0.0", None, ""):
            asked.append(address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", lambda self, address: (note(address), connect(self, address))[1])
    patch.setattr(socket, "getaddrinfo", lambda host, *more, **named: (note((host,)), resolve(host, *more, **named))[1])
    yield asked
    patch.undo()


@pytest.fixture(scope="module")
def url(outside: list[Any], photo: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from pydegrade.commands.actions.explore_page import Page as Explored
    from pydegrade.commands.actions.explore_page import launch

    path = tmp_path_factory.mktemp("photo") / "photo.png"
    write_image(path, photo)
    space = pydegrade.Space.load("realesrgan-x4")
    page = Explored(space, "realesrgan-x4", pydegrade.sample(space, 7, [3]))
    blocks = launch(page, path, 0, False)
    assert blocks.local_url.startswith("http://127.0.0.1:")
    yield blocks.local_url
    blocks.close(verbose=False)


LR = "#view .lr img"


def loaded(page: Page, url: str) -> None:
    page.open(url)
    page.until(f"!!document.querySelector('{LR}')?.naturalWidth")


def address_of(page: Page) -> str:
    return page.run("document.querySelector('#address textarea, #address input').value")


@needs
@pytest.mark.slow
def test_a_person_explores(url, outside, photo, tmp_path):
    space = pydegrade.Space.load("realesrgan-x4")
    page = Page(tmp_path / "profile")
    try:
        # What is seen first.
        loaded(page, url)
        hr = explore.square(photo, 4)
        (task,) = pydegrade.sample(space, 7, [3])
        page.until("document.querySelector('#address textarea, #address input').value !== ''")
        assert address_of(page) == task.addresses[0]
        assert np.array_equal(page.pixels(LR), lr_of(hr, task))

        # A slider is moved: the pixels are those of the engine, and the page's own address names the task.
        before = page.run(f"document.querySelector('{LR}').src")
        page.run(
            "[...document.querySelectorAll('.cards button')].find((one) => one.textContent.includes('jpeg2')).click()"
        )
        page.until("!!document.querySelector('#jpeg2-quality input[type=range]')")
        page.run(
            "{ const range = document.querySelector('#jpeg2-quality input[type=range]'); range.value = 31;"
            "range.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
        page.until(f"document.querySelector('{LR}').src !== {before!r}")
        page.until("location.search.includes('quality')")
        edited = task.replace(**{"jpeg2.quality": 31})
        assert address_of(page) == edited.addresses[0]
        assert np.array_equal(page.pixels(LR), lr_of(hr, edited))
        link = page.run("location.href")
        assert urllib.parse.unquote(link.partition("?task=")[2]) == edited.addresses[0]

        # The link in a second browser, while the first stays what it is; an address that is none changes nothing.
        other = Page(tmp_path / "other")
        try:
            loaded(other, link)
            other.until("document.querySelector('#address textarea, #address input').value.includes('quality=31')")
            assert np.array_equal(other.pixels(LR), lr_of(hr, edited))
            loaded(other, f"{url}?task=%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D'bad'%22%3E")
            other.until("document.body.textContent.includes('expected')")
            assert other.run("document.title") == "realesrgan-x4: degrade explore"
            assert address_of(other) == task.addresses[0]
        finally:
            other.close()
        assert address_of(page) == edited.addresses[0]

        # A bad file is said in a line; a photograph of 40 megapixels is shown.
        (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        page.give_file("#photo input[type=file]", tmp_path / "bad.png")
        page.until("document.body.textContent.includes('corrupt or truncated')")
        assert np.array_equal(page.pixels(LR), lr_of(hr, edited))
        large = np.zeros((5000, 8000, 3), np.uint8)
        large[2000:3000, 3500:4500] = np.arange(1000, dtype=np.uint32)[:, None, None].astype(np.uint8)
        write_image(tmp_path / "large.png", large)
        before = page.run(f"document.querySelector('{LR}').src")
        page.run("document.querySelector('#photo [aria-label*=emove], #photo [aria-label=Clear]')?.click()")
        page.until("!!document.querySelector('#photo input[type=file]')")
        page.give_file("#photo input[type=file]", tmp_path / "large.png")
        page.until(f"document.querySelector('{LR}').naturalWidth === 128")
        assert np.array_equal(page.pixels(LR), lr_of(explore.square(large, 4), edited))

        # Nine more draws, of which one is chosen.
        page.run("document.querySelector('#draw').click()")
        page.until("document.querySelectorAll('#nine button img').length >= 9")
        page.run("document.querySelectorAll('#nine button img')[4].closest('button').click()")
        page.until("location.search.includes('i8')")
        page.until("document.querySelector('#address textarea, #address input').value.endsWith('/i8')")
        chosen = pydegrade.sample(space, 7, [8])
        assert address_of(page) == chosen.addresses[0]

        # Nothing failed, and nobody else was asked for anything.
        assert page.errors == []
        hosts = {urllib.parse.urlparse(request).netloc for request in page.requests if request.startswith("http")}
        assert hosts == {urllib.parse.urlparse(url).netloc}
        assert outside == []
    finally:
        page.close()


@needs
@pytest.mark.slow
def test_other_spaces_groups_and_a_network_stand_on_the_page(photo, tmp_path, monkeypatch):
    from pydegrade.commands.actions.explore_page import Page as Explored
    from pydegrade.commands.actions.explore_page import launch

    torch.manual_seed(0)
    save_model(tmp_path / "dasr.safetensors", SMALL["dasr"], nets.build(SMALL["dasr"]))
    entry = EntryPoint("pytrain", "pytrain.commands.actions.explore:open_model", explore_model.MODELS)
    monkeypatch.setattr(explore_model, "entry_points", lambda group: [entry])
    space = pydegrade.Space.load("realesrgan-x4")
    tasks = pydegrade.sample(space, 9, range(12))
    groups = (
        explore.Group("<b>mild", tasks.take(range(10)), ("gain 1",) * 10),
        explore.Group("G2", tasks[10:], ("", "")),
    )
    other = pydegrade.sample("bsrgan-x4", 7, [3])
    model = explore_model.open_model(tmp_path / "dasr.safetensors", space)
    write_image(tmp_path / "photo.png", photo)
    explored = Explored(space, "realesrgan-x4", tasks[0], (other,), groups, model)
    blocks = launch(explored, tmp_path / "photo.png", 0, False)
    page = Page(tmp_path / "profile")
    hr = explore.square(photo, 4)
    try:
        loaded(page, blocks.local_url)
        # The network's answer, and what it believes.
        page.until("!!document.querySelector('#after .lr img')?.naturalWidth")
        expected = model.enlarged(lr_of(hr, tasks[0]), {})
        assert np.array_equal(page.pixels("#after .lr img"), expected)
        page.run(
            "[...document.querySelectorAll('button')].find((one) => one.textContent.includes('to be changed')).click()"
        )
        page.until("document.querySelectorAll('#believed tr').length > 20")

        # An entry is changed: the network gives something else.
        name = "#vector-jpeg2-quality input[type=range]"
        page.until(f"!!document.querySelector('{name}')")
        before = page.run("document.querySelector('#after .lr img').src")
        page.run(
            f"{{ const range = document.querySelector('{name}'); range.value = range.max;"
            "range.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
        page.until(f"document.querySelector('#after .lr img').src !== {before!r}")
        changed = model.enlarged(lr_of(hr, tasks[0]), {"jpeg2.quality": "95"})
        assert np.array_equal(page.pixels("#after .lr img"), changed)

        # The other space's draw, and its next one.
        assert np.array_equal(page.pixels(".beside .lr img"), lr_of(hr, other))
        before = page.run("document.querySelector('.beside .lr img').src")
        page.run("document.querySelector('.beside .next').click()")
        page.until(f"document.querySelector('.beside .lr img').src !== {before!r}")
        assert np.array_equal(page.pixels(".beside .lr img"), lr_of(hr, pydegrade.sample("bsrgan-x4", 7, [4])))

        # A task of the group is taken.
        page.until("document.querySelectorAll('#nine button img').length >= 9")
        page.run("document.querySelectorAll('#nine button img')[4].closest('button').click()")
        page.until("document.querySelector('#address textarea, #address input').value.endsWith('/i4')")
        page.run("document.querySelector('#more').click()")
        page.until("document.querySelectorAll('#nine button img').length === 1")
        assert page.errors == []
    finally:
        page.close()
        blocks.close(verbose=False)

"""`degrade fit` and `degrade match`: known populations are found, bad input is said, what cannot be told is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pydegrade
from pydegrade.errors import PydegradeError
from pydegrade.files.dataset import photographs_folder
from pydegrade.files.pixels import to_float, to_uint8
from pydegrade.files.read import read_image
from pydegrade.fitting import fit, population, posterior
from pydegrade.fitting.facts import FileFacts, JpegFacts
from pydegrade.fitting.known import known_by_files
from pydegrade.fitting.match import nearest_share, ranked
from pydegrade.fitting.parameters import Parameter, drawn, parameters_of
from pydegrade.fitting.photographs import Photograph
from pydegrade.fitting.prior import SCALES, wide_space
from pydegrade.fitting.space_file import fitted_space
from pydegrade.fitting.statistics import NAMES
from pydegrade.tasks.space import Space

from .programs import degrade_in as degrade

HIDDEN = """
[space]
name = "hidden"
scale = 1
source = "a test"
[[slot]]
name = "noise1"
op = "noise"
kind = "gaussian"
sigma_8bit = { uniform = [10, 20] }
[[slot]]
name = "jpeg1"
op = "jpeg"
quality = { uniform = [80, 90], round = true }
"""


def bins(low: float, high: float) -> Parameter:
    edges = np.linspace(low, high, 21)
    return Parameter("slot.column", (), (edges[1:] + edges[:-1]) / 2, edges)


@pytest.fixture(scope="module")
def simulated() -> dict[str, np.ndarray]:
    """A number in [0, 10], of which photographs show it with an error of 1, by six scenes with an error of their own."""
    words = np.random.default_rng(0)
    values = words.uniform(0, 10, 1500)
    image = words.integers(0, 6, 1500)
    shown = values + words.normal(0, 1, 1500) + words.normal(0, 0.2, 6)[image]
    return {"values": values, "image": image, "shown": shown}


def likelihood(parameter: Parameter, shown: np.ndarray) -> np.ndarray:
    cells = np.exp(-0.5 * (shown[:, None] - parameter.values) ** 2)
    full = np.concatenate([cells, np.full((len(cells), 1), 1e-6)], axis=1)
    return full / full.mean(axis=1, keepdims=True)


def found_in(simulated: dict[str, np.ndarray], shown: np.ndarray) -> population.Population:
    parameter = bins(0, 10)
    cells = np.clip((simulated["values"] * 2).astype(int), 0, 19)
    return population.population(
        parameter, likelihood(parameter, simulated["shown"]), cells, simulated["values"], simulated["image"],
        likelihood(parameter, shown), np.arange(len(shown)), 0.5, 0,
    )  # fmt: skip


@pytest.mark.parametrize(("low", "high"), [(1.0, 3.0), (6.0, 9.5)])
def test_mean_and_spread_of_a_population_are_found(monkeypatch, simulated, low, high):
    monkeypatch.setattr(population, "TRIED", 200)
    true = np.random.default_rng(1).uniform(low, high, 60)
    found = found_in(simulated, true + np.random.default_rng(2).normal(0, 1, 60))
    assert found.mean.low <= (low + high) / 2 <= found.mean.high
    assert found.mean.high - found.mean.low < 2
    assert found.spread.low <= (high - low) / 12**0.5 <= found.spread.high
    assert found.identified
    assert low - 1 < found.quantiles[0] <= found.quantiles[-1] < high + 1


def test_populations_that_intervals_come_from_are_of_resampled_scenes(simulated):
    """By the Bayesian bootstrap a scene's share of six has the variance (1/6) (5/6) / 7, and that of drawing 60 of it."""
    parameter, image = bins(0, 10), simulated["image"]
    cells = np.clip((simulated["values"] * 2).astype(int), 0, 19)
    members, _ = population._populations(
        parameter, cells, simulated["values"], image, 60, np.random.Generator(np.random.Philox(0))
    )
    shares = np.stack([(image[members] == scene).mean(axis=1) for scene in range(6)])
    assert shares.mean() == pytest.approx(1 / 6)
    # 400 populations, six shares each: a standard error of 4 %.
    assert shares.var(axis=1).mean() == pytest.approx(5 / 36 / 7 + 5 / 36 / 60, rel=0.15)


def test_what_says_nothing_is_not_identified(monkeypatch, simulated):
    monkeypatch.setattr(population, "TRIED", 200)
    parameter = bins(0, 10)
    cells = np.clip((simulated["values"] * 2).astype(int), 0, 19)
    flat = np.ones((1500, 21))
    found = population.population(
        parameter, flat, cells, simulated["values"], simulated["image"], flat[:60], np.arange(60), 0.0, 0
    )
    assert not found.identified
    assert found.mean.high - found.mean.low > 4
    assert found.mean.low < 5 < found.mean.high


def test_two_heaps_are_told_from_one():
    words = np.random.default_rng(0)
    for one in (words.normal(5, 1, 100), words.uniform(0, 1, 100), np.ones(100), words.normal(0, 1, 5)):
        assert fit._two_heaps(one) is None
    low, high, share = fit._two_heaps(np.concatenate([words.normal(1, 0.3, 30), words.normal(5, 0.3, 70)]))
    assert (low, high, share) == pytest.approx((1, 5, 0.3), abs=0.2)


def test_parameters_of_the_wide_space():
    for scale in (1, 4, SCALES[-1]):
        wide_space(scale)
    tasks = pydegrade.sample(wide_space(2), 0, range(400))
    names = {one.name: one for one in parameters_of(tasks)}
    assert names["jpeg1.mode"].classes == ("off", "libjpeg")
    assert {"noise1.level_8bit", "blur1.width_px", "jpeg1.quality", "noise1.gray"} <= set(names)
    for one in names.values():
        cell = one.cell_of(drawn(tasks, one.name))
        assert cell.min() >= 0
        assert cell.max() < one.cells


def test_equal_sets_are_not_told_apart_and_the_nearest_space_is_first():
    words = np.random.default_rng(0)
    one, same, other = (words.normal(mean, 1, (60, len(NAMES))).astype(np.float32) for mean in (0, 0, 2))
    assert nearest_share(one, same) < 0.65
    assert nearest_share(one, other) > 0.95
    first, second = ranked(one, np.arange(60), {"far": other, "near": same})
    assert (first.name, first.best, second.name) == ("near", 1.0, "far")
    assert first.low <= first.distance <= first.high + 0.1
    assert first.high < second.low


@pytest.mark.parametrize("off", [0.04536, 0.5, 0.33333, 0.0])
def test_what_was_learned_stands_in_the_file_whatever_the_digits_of_its_shares(off):
    """Weights are rounded, and their sum must be 1 all the same."""

    def figure(value: float) -> population.Figure:
        return population.Figure(value, value, value)

    mode = Parameter("jpeg1.mode", ("off", "libjpeg"), np.arange(2.0), np.zeros(0))
    gain = Parameter("noise1.poisson_gain", (), np.ones(1), np.array([0.03, 4.0]))
    acts, quantiles = figure(1.0), (0.03, 0.03, 0.2, 0.4, 0.5, 0.6, 1.5)
    learned = (
        population.Population(gain, acts, acts, acts, (), quantiles, (), 0.5, True, 0.1),
        population.Population(mode, acts, None, None, (figure(off), figure(1 - off)), (), (), 0.5, True, 0.1),
    )
    space, _, unwritten = fitted_space(wide_space(4), learned, "mine", 9)
    assert unwritten == ()
    tasks = pydegrade.sample(space, 0, range(500))
    gains = tasks.column("noise1.poisson_gain")[tasks.mask("noise1.poisson_gain")]
    assert 0.03 <= gains.min() < gains.max() <= 1.5
    # Four and a half standard deviations of a share of 500.
    found = np.mean([label == "off" for label in tasks.labels("jpeg1.mode")])
    assert abs(found - max(off, 0.005)) <= 4.5 * np.sqrt(max(off, 0.005) * (1 - off) / 500)


def test_a_file_written_by_hand_is_changed_where_it_says_so_however_it_is_laid_out():
    start = Space.loads(
        """
# noise1 comes first
[space]
name='own'
scale=1
source = "me"
summary = "by hand"
[[slot]]
"name" = 'noise1' # "sigma_8bit" = 3
op="noise"
kind = "gaussian"
sigma_8bit={ choice = [
  5,
  6, ] , weights = [0.5, 0.5] }
[[slot]]
name="noise2"
op="noise"
kind = "gaussian"
sigma_8bit={ choice = [5, 6], weights = [0.5, 0.5] }
"""
    )
    one = population.Figure(1.0, 0.9, 1.0)
    none = population.Figure(0.0, 0.0, 0.1)
    sigma = Parameter("noise2.sigma_8bit", ("5", "6"), np.array([5.0, 6.0]), np.zeros(0))
    learned = population.Population(sigma, one, None, None, (none, one), (), (), 0.5, True, 0.1)
    space, text, unwritten = fitted_space(start, [learned], "mine", 3)
    assert unwritten == ()
    assert "# noise2.sigma_8bit: 5 0 % (0 to 10), 6 100 % (90 to 100)\nsigma_8bit = " in text
    assert (space.name, space.summary) == ("mine", "")
    tasks = pydegrade.sample(space, 0, range(300))
    assert set(tasks.column("noise1.sigma_8bit").tolist()) == {5, 6}
    assert np.mean(tasks.column("noise2.sigma_8bit") == 6) > 0.97


def test_a_level_is_written_where_its_kind_is_not_known_and_off_where_the_others_are_not():
    def figure(value: float, width: float) -> population.Figure:
        return population.Figure(value, value - width / 2, value + width / 2)

    def of(parameter: Parameter, shares: tuple[population.Figure, ...], quantiles: tuple[float, ...], known: bool):
        one, before = figure(1.0, 0.0), (0.1, 0.55, 0.35) if shares else ()
        return population.Population(parameter, one, one, one, shares, quantiles, before, 0.5, known, 0.1)

    kinds = (figure(0.0, 0.1), figure(0.5, 0.9), figure(0.5, 0.9))
    learned = (
        of(Parameter("noise1.kind", ("off", "gaussian", "poisson"), np.arange(3.0), np.zeros(0)), kinds, (), False),
        of(bins(0.5, 40), (), (1.0,) * 7, True),
        of(bins(0.03, 1), (), (0.5,) * 7, False),
        of(bins(0.5, 40), (), (9.0, 9.5, 10.0, 10.5, 11.0, 11.5, 12.0), True),
    )
    names = ("noise1.kind", "noise1.sigma_8bit", "noise1.poisson_gain", "noise1.level_8bit")
    learned = tuple(
        replace(one, parameter=replace(one.parameter, name=name, made=name.endswith("level_8bit")))
        for one, name in zip(learned, names)
    )
    space, text, unwritten = fitted_space(wide_space(4), learned, "mine", 9)
    assert unwritten == ()
    tasks = pydegrade.sample(space, 0, range(400))
    labels = np.array(tasks.labels("noise1.kind"))
    assert np.mean(labels == "off") < 0.03
    # 0.55 of 0.9, within four standard deviations of a share of 400.
    assert abs(np.mean(labels == "gaussian") - 0.55 / 0.9) < 0.1
    level = drawn(tasks, "noise1.level_8bit").values
    assert set(level[labels == "gaussian"].tolist()) == {1.0}, "what is known of a column itself stays"
    # The range of the gain ends at 1, a level of 11.3.
    assert 8.99 < level[labels == "poisson"].min() < 9.6 < 10.9 < level[labels == "poisson"].max() < 11.4
    assert "off 0 % (-5 to 5); between gaussian and poisson photographs do not say: as in wide-x4" in text
    assert "of poisson_gain alone photographs do not say" in text


def test_tables_of_jpeg_files_are_known_and_not_learned():
    tasks = pydegrade.sample(wide_space(1), 0, range(300))
    parameters = parameters_of(tasks)
    values = [drawn(tasks, one.name) for one in parameters]
    here = [value.values[value.acts] for value in values]

    def files(*facts: JpegFacts | None) -> list[Photograph]:
        return [
            Photograph(Path("a"), FileFacts("JPEG", 64, 64, 1, one), np.zeros((0,)), np.zeros((0,)))  # type: ignore[arg-type]
            for one in facts
        ]

    phone, web = JpegFacts(95, 95, "420"), JpegFacts(None, 70, "444")
    known, notes = known_by_files(files(*[phone] * 5, web), tasks, parameters, here)
    assert set(known) == {"jpeg1.mode", "jpeg1.quality", "jpeg1.subsampling"}
    assert [share.value for share in known["jpeg1.quality"].shares] == [pytest.approx(1 / 6), pytest.approx(5 / 6)]
    assert "tables of 1 are not libjpeg's" in notes[0]
    space, text, _ = fitted_space(wide_space(1), list(known.values()), "mine", 6)
    assert "known by the tables of 6 files" in text
    made = pydegrade.sample(space, 0, range(300))
    assert set(made.column("jpeg1.quality").tolist()) == {70, 95}
    assert set(made.labels("jpeg1.mode")) == {"libjpeg"}
    assert 0.7 < np.mean([one == "420" for one in made.labels("jpeg1.subsampling")]) < 0.9

    # Many qualities are a distribution; what the space has no word for, or only some files tell, is left to pixels.
    many = known_by_files(files(*(JpegFacts(q, q, "422") for q in range(40, 80))), tasks, parameters, here)
    assert many[0]["jpeg1.quality"].mean.low < 59.5 < many[0]["jpeg1.quality"].mean.high
    assert "jpeg1.subsampling" not in many[0]
    assert any("has no 422" in note for note in many[1])
    assert known_by_files(files(phone, None), tasks, parameters, here)[0] == {}
    assert known_by_files(files(None), tasks, parameters, here) == ({}, ())


# ---- the commands


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Clean images, and photographs that a hidden space made of others, with a broken one among them."""
    root = tmp_path_factory.mktemp("fit")
    names = {"clean": ("astronaut.png", "coffee.png", "rocket.jpg"), "photos": ("chelsea.png", "motorcycle_left.png")}
    space = Space.loads(HIDDEN)
    for folder, sources in names.items():
        (root / folder).mkdir()
        for number in range(6):
            pixels = pydegrade.imresize(read_image(photographs_folder() / sources[number % len(sources)]), scale=0.5)
            square = np.ascontiguousarray(pixels[20 + 5 * number :][:80, 10 * number :][:, :80])
            if folder == "photos":
                square = to_uint8(pydegrade.degrade(to_float(square)[None], pydegrade.sample(space, 3, [number]))[0])
            Image.fromarray(square).save(root / folder / f"{number}.png")
    (root / "photos" / "broken.png").write_bytes(b"no image")
    return {"clean": root / "clean", "photos": root / "photos", "root": root}


@pytest.mark.slow
def test_fit_writes_a_space_and_a_page_and_goes_on(monkeypatch, folders, tmp_path, capsys):
    monkeypatch.setattr(population, "TRIED", 40)
    monkeypatch.setattr(population, "NEAREST", 20)
    monkeypatch.setattr(posterior, "EPOCHS", 3)
    words = ["fit", folders["photos"], "-o", tmp_path / "mine.toml", "--scale", 1, "--clean", folders["clean"]]
    code, out, err = degrade(capsys, *words, "--simulations", 100)
    assert code == 2  # one photograph is broken, and named; all else is done
    assert "broken.png: must be an image" in err
    assert "6 photographs are few" in err
    assert "6 photographs, squares of 80 px" in out
    assert "100 simulations of wide-x1 on 6 clean images" in out
    space = Space.load(tmp_path / "mine.toml")
    assert (space.name, space.scale) == ("mine", 1)
    page = (tmp_path / "mine.html").read_text()
    assert "<script" not in page
    assert page.count("data:image/webp") == 6 + 16
    assert "default-src 'none'" in page
    tasks = pydegrade.sample(space, 0, range(50))
    assert len(tasks) == 50

    # The simulations are there: no crop is degraded again but those of the page, and the bytes are equal.
    before = (tmp_path / "mine.toml").read_bytes(), page
    kept = (tmp_path / ".mine.fit.npz").stat().st_mtime_ns
    assert degrade(capsys, *words, "--simulations", 100)[0] == 2
    assert ((tmp_path / "mine.toml").read_bytes(), (tmp_path / "mine.html").read_text()) == before
    assert (tmp_path / ".mine.fit.npz").stat().st_mtime_ns == kept

    # Simulations that were made from something else are not replaced, nor is a space that somebody wrote.
    for more, said in (
        (("--seed", 3), ".mine.fit.npz keeps simulations with --seed 0, got 3"),
        (("--clean", folders["photos"]), "keeps simulations with --clean 6 images, "),
    ):
        code, _, err = degrade(capsys, *words, "--simulations", 100, *more)
        assert (code, said in err) == (2, True), err
    (tmp_path / "mine.toml").write_text(HIDDEN)
    code, _, err = degrade(capsys, *words, "--simulations", 100)
    assert (code, "degrade fit did not write" in err) == (2, True), err
    assert (tmp_path / "mine.toml").read_text() == HIDDEN
    assert (tmp_path / ".mine.fit.npz").stat().st_mtime_ns == kept
    # Nor is another page.
    (tmp_path / "mine.toml").write_text("")
    (tmp_path / "mine.html").write_text("<!doctype html><!-- degrade gallery -->")
    code, _, err = degrade(capsys, *words, "--simulations", 100)
    assert (code, "mine.html is a file that degrade fit did not write" in err) == (2, True), err


@pytest.mark.slow
def test_match_ranks_the_space_that_made_them_first(folders, capsys):
    (folders["root"] / "hidden.toml").write_text(HIDDEN)
    (folders["root"] / "other.toml").write_text(HIDDEN.replace("[10, 20]", "[1, 2]").replace('"hidden"', '"other"'))
    spaces = [word for name in ("other", "hidden") for word in ("--space", folders["root"] / f"{name}.toml")]
    code, out, _ = degrade(
        capsys, "match", folders["photos"], *spaces, "--clean", folders["clean"], "--simulations", 12
    )
    assert code == 2
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["space", "hidden", "other"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["EMPTY"], "must contain images"),
        (["EMPTY/a.txt"], "no photograph can be read"),
        (["PHOTOS", "--start", "dasr-mixed"], "--start: dasr-mixed is a mixture"),
        (["PHOTOS", "--start", "bicubic-x4", "--scale", 2], "--scale: bicubic-x4 has scale 4, got 2"),
        (["PHOTOS", "--scale", 8], "must hold squares of 32 px"),
        (["PHOTOS", "--clean", "EMPTY"], "must contain images"),
    ],
)
def test_what_fit_cannot_use_is_said_before_anything_is_made(folders, tmp_path, capsys, words, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("a")
    places = {"EMPTY": tmp_path / "empty", "EMPTY/a.txt": tmp_path / "empty" / "a.txt", "PHOTOS": folders["photos"]}
    clean = [] if "--clean" in words or "--start" in words else ["--clean", folders["clean"]]
    code, _, err = degrade(
        capsys, "fit", *(places.get(str(word), word) for word in words), *clean, "-o", tmp_path / "mine.toml"
    )
    assert code == 2
    assert message in err
    assert not list(tmp_path.glob("*.toml"))


def test_a_start_that_does_not_vary_is_refused():
    with pytest.raises(PydegradeError, match="nothing varies in the tasks of bicubic-x4"):
        parameters_of(pydegrade.sample("bicubic-x4", 0, range(50)))

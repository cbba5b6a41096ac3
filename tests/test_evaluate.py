"""Measuring: the literature's rows, protocols that travel with values, sets made three ways, pictures, bad input."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from pydegrade import Space, TaskBatch, degrade_list, degrade_pairs, imresize, sample
from pydegrade.files.pixels import to_float, to_uint8
from pydegrade.files.read import read_image
from pydegrade.files.write import write_image
from pydegrade.images.metrics import bicubic_scores, psnr, ssim
from pydegrade.tasks.space import preset_names
from pytrain.commands.actions.eval import _index, described_sets
from pytrain.errors import ConfigError, DataError
from pytrain.evaluation import sets as sets_module
from pytrain.evaluation import strips
from pytrain.evaluation.evaluate import evaluate
from pytrain.evaluation.results import EvalResult, table
from pytrain.evaluation.sets import EvalSet, open_sets
from pytrain.evaluation.settings import EvalSetConfig, EvaluateConfig, protocol_of


class Nearest(nn.Module):
    """Repeats pixels; counts its calls, and notes the mode it ran in."""

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.calls: list[tuple[int, ...]] = []
        self.modes: set[bool] = set()

    def forward(self, image: Tensor) -> Tensor:
        self.calls.append(tuple(image.shape))
        self.modes.add(self.training)
        return image.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


def opened(scale: int = 4, protocols: tuple[str, ...] = ("y-uint8",), **options: Any) -> tuple[EvaluateConfig, EvalSet]:
    """Two photographs of 64 px, unless told otherwise."""
    given = {"images": ("coffee", "rocket"), "crop_px": 64, **options}
    config = EvaluateConfig(sets=(EvalSetConfig(**given),), protocols=protocols)
    return config, open_sets(config, scale)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Odd sizes, one gray file."""
    generator = np.random.default_rng(0)
    for name, height, width in (("a.png", 50, 61), ("sub/b.png", 44, 48)):
        (tmp_path / "hr" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "hr" / name, generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    Image.fromarray(generator.integers(0, 256, (47, 52), dtype=np.uint8)).save(tmp_path / "hr" / "gray.png")
    return tmp_path / "hr"


# ---- numbers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "decibels", "similarity"), [(2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104)]
)
def test_the_literature_s_row_of_set5(shared: Path, scale: int, decibels: float, similarity: float) -> None:
    config = EvaluateConfig(sets=(EvalSetConfig(name="set5", hr=(str(shared / "data" / "Set5"),)),))
    sets = open_sets(config, scale)
    result = evaluate("bicubic-y-double", sets, config)
    # Printed with two and four decimals in every table of the field (e.g. Dong et al. 2014, Kim et al. 2016).
    assert round(result.scores["set5/psnr"], 2) == decibels
    assert round(result.scores["set5/ssim"], 4) == similarity
    assert [score.protocol for score in result.sets[0].scores] == [
        f"{kind}-y-uint8-border{scale}-bicubic-y-double" for kind in ("psnr", "ssim")
    ]
    files = evaluate("bicubic", sets, config)
    hr = [read_image(shared / "data" / "Set5" / name) for name in files.sets[0].images]
    expected = [bicubic_scores(image, scale, "rgb-uint8")[0].value for image in hr]
    assert files.sets[0].scores[0].values == pytest.approx(expected, abs=1e-9)  # the same numbers by another way
    # Rounding after every pass costs a little, and never helps by more than its noise.
    assert -0.2 < files.scores["set5/psnr"] - decibels < 0.05


def test_a_network_is_measured_under_each_protocol(folder: Path) -> None:
    protocols = ("y-uint8", "y-double-border0", "rgb-uint8", "rgb-unrounded-border2")
    config, one = opened(hr=(str(folder),), images=(), crop_px=0, protocols=protocols)
    assert [pair.name for pair in one.pairs()] == ["a.png", "gray.png", "sub/b.png"]
    net = Nearest()
    result = evaluate(net, [one], config)
    names = ["y-uint8-border4", "y-double-border0", "rgb-uint8-border4", "rgb-unrounded-border2"]
    assert [score.protocol for score in result.sets[0].scores] == [f"{k}-{n}" for n in names for k in ("psnr", "ssim")]

    for position, pair in enumerate(one.pairs()):
        decoded = np.asarray(Image.open(folder / pair.name))
        hr = decoded[: decoded.shape[0] // 4 * 4, : decoded.shape[1] // 4 * 4]
        assert np.array_equal(pair.hr, hr)
        lr = imresize(hr, 0.25)
        assert np.array_equal(pair.lr if hr.ndim == 3 else pair.lr[..., 0], lr)
        sr = np.repeat(np.repeat(lr, 4, 0), 4, 1)
        for number, name in enumerate(names):
            # "unrounded" compares floats: k / 255 in float32, and gray is the mean of three equal channels.
            for offset, measure in ((0, psnr), (1, ssim)):
                measured = result.sets[0].scores[2 * number + offset].values[position]
                assert measured == pytest.approx(measure(sr, hr, name).value, abs=1e-5 if "unrounded" in name else 1e-9)
    means = [np.mean(score.values) for score in result.sets[0].scores]
    assert [score.value for score in result.sets[0].scores] == pytest.approx(means)
    assert list(result.scores) == [
        "photographs/psnr",
        "photographs/ssim",
        *(f"photographs/{kind}-{name}" for name in names[1:] for kind in ("psnr", "ssim")),
    ]


def test_large_images_run_in_tiles_with_the_same_result() -> None:
    whole, one = opened(crop_px=160)
    tiled = EvaluateConfig(sets=whole.sets, tile_px=24, overlap_px=8)
    first, second = Nearest(), Nearest()
    results = evaluate(first, [one], whole), evaluate(second, [one], tiled)
    assert {shape[-1] for shape in first.calls} == {40}
    assert {shape[-1] for shape in second.calls} == {24}
    # Tiles are weighted by shares that sum to 1 up to float32 rounding: no 8-bit value changes here.
    assert results[0].scores == results[1].scores


def test_the_network_runs_in_evaluation_mode_and_gets_its_modes_back() -> None:
    config, one = opened()
    net = Nearest()
    net.add_module("frozen", nn.BatchNorm2d(3).eval())
    net.train()
    net.frozen.eval()
    evaluate(net, [one], config)
    assert net.modes == {False}
    assert net.training
    assert not net.frozen.training


def test_a_network_that_gives_nan_scores_nan() -> None:
    class Broken(Nearest):
        def forward(self, image: Tensor) -> Tensor:
            return super().forward(image) * math.nan

    config, one = opened(protocols=("y-uint8", "rgb-uint8"))
    result = evaluate(Broken(), [one], config)
    assert all(math.isnan(value) for value in result.scores.values())
    assert len(result.scores) == 4


# ---- sets


def test_a_space_gives_each_image_its_own_task() -> None:
    config, one = opened(space="realesrgan-x4", seed=5)
    tasks = sample(Space.load("realesrgan-x4"), 5, range(2)).replace(**{"usm.weight": 0.0})
    for position, pair in enumerate(one.pairs()):
        lr = degrade_list([to_float(pair.hr)], tasks.take([position]))[0]
        assert np.array_equal(pair.lr, to_uint8(lr))
    assert re.fullmatch(r"realesrgan-x4@[0-9a-f]{8}/s5\?usm\.weight=0", one.degradation)
    stem, _, edit = one.degradation.partition("?")
    again = TaskBatch.from_addresses([f"{stem}/i0"]).replace(**{edit.partition("=")[0]: float(edit.partition("=")[2])})
    assert np.array_equal(next(one.pairs()).lr, to_uint8(degrade_list([to_float(next(one.pairs()).hr)], again)[0]))
    assert evaluate("bicubic", [one], config).scores["photographs/psnr"] > 5
    other = opened(space="realesrgan-x4", seed=6)[1]
    assert not np.array_equal(next(one.pairs()).lr, next(other.pairs()).lr)


def test_partners_from_a_folder(folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("*.png"):
        lr = imresize(read_image(path), 0.25)  # sides rounded up: what MATLAB gives for images that were not cut
        target = tmp_path / "lr" / path.relative_to(folder).with_name(path.stem + "x4.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, lr)
    _, one = opened(hr=(str(folder),), lr=str(tmp_path / "lr"), images=(), crop_px=0)
    for pair in one.pairs():
        assert pair.hr.shape[:2] == (4 * pair.lr.shape[0], 4 * pair.lr.shape[1])
    _, cut = opened(hr=(str(folder),), lr=str(tmp_path / "lr"), images=("a",), crop_px=40)
    pair = next(cut.pairs())
    # 50 x 61 px hold 12 x 15 px of LR; the central 10 x 10 begin at (1, 2).
    assert np.array_equal(pair.hr, read_image(folder / "a.png")[4:44, 8:48])
    assert np.array_equal(pair.lr, read_image(tmp_path / "lr" / "ax4.png")[1:11, 2:12])
    (tmp_path / "lr" / "ax4.png").unlink()
    with pytest.raises(
        DataError, match=r"^evaluate.sets \(photographs\): lr: 1 of 3 images .* no partner in .*: a.png"
    ):
        opened(hr=(str(folder),), lr=str(tmp_path / "lr"), images=(), crop_px=0)


def test_sets_that_do_not_fit_into_memory_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    config, held = opened(space="bsrgan-x4")
    monkeypatch.setattr(sets_module, "HELD_BYTES", 1)
    _, unheld = opened(space="bsrgan-x4")
    assert held.held is not None
    assert unheld.held is None
    for _ in range(2):
        assert evaluate(Nearest(), [unheld], config) == evaluate(Nearest(), [held], config)


# ---- what comes out


def test_a_result_survives_json(folder: Path) -> None:
    config, one = opened(hr=(str(folder),), images=(), crop_px=0, protocols=("y-uint8", "rgb-uint8-border0"))
    result = evaluate(Nearest(), [one], config, label="nearest")
    assert EvalResult.from_dict(json.loads(result.to_json())) == result
    assert json.loads(result.to_json())["sets"][0]["measured"][0]["protocol"] == "psnr-y-uint8-border4"

    # A perfect network: infinite PSNR is written as a number that every reader takes as infinite.
    flat = np.full((48, 48, 3), 7, np.uint8)
    write_image(folder / "flat.png", flat)
    config, one = opened(hr=(str(folder),), images=("flat",), crop_px=0)
    perfect = evaluate(Nearest(), [one], config)
    assert perfect.scores["photographs/psnr"] == math.inf
    assert "Infinity" not in perfect.to_json()
    assert EvalResult.from_dict(json.loads(perfect.to_json())) == perfect


def sharpened_spaces() -> list[str]:
    return [name for name in preset_names() if Space.load(name).target != "hr"]


class Perfect(nn.Module):
    """Answers each LR image with the image it was made from."""

    scale = 4

    def __init__(self, known: Mapping[bytes, Tensor]) -> None:
        super().__init__()
        self.known = known

    def forward(self, lr: Tensor) -> Tensor:
        return self.known[lr.numpy().tobytes()][None]


@pytest.mark.representatives(4)
@pytest.mark.parametrize("space", sharpened_spaces())
def test_sets_of_sharpened_spaces_are_made_of_what_they_are_compared_with(space: str) -> None:
    scale = Space.load(space).scale
    for reference, wrong in (("hr", "target"), ("target", "hr")):
        config, one = opened(scale, space=space, reference=reference)
        plain = opened(scale)[1]
        images: dict[str, dict[bytes, Tensor]] = {"hr": {}, "target": {}}
        tasks = sample(space, 0, range(2))
        for row, (made, given) in enumerate(zip(one.pairs(), plain.pairs())):
            hr = to_float(given.hr)
            edited = tasks.take([row])
            if reference == "hr":
                edited = edited.replace(**{f"{Space.load(space).target}.weight": 0.0})
            pair = degrade_pairs([hr], edited)[0]
            # The LR image comes from the very image that results are compared with.
            assert np.array_equal(made.lr, to_uint8(pair.lr))
            key = to_float(made.lr)[None].numpy().tobytes()
            images["hr"][key] = hr
            images["target"][key] = degrade_pairs([hr], tasks.take([row]))[0].target
        perfect = Perfect(images[reference])
        perfect.scale = scale
        result = evaluate(perfect, [one], config)
        assert result.scores["photographs/psnr"] == math.inf
        assert f"against {reference}" in result.table()
        assert one.degradation.endswith("/s0?usm.weight=0" if reference == "hr" else "/s0")
        assert EvalResult.from_dict(json.loads(result.to_json())) == result
        other = Perfect(images[wrong])
        other.scale = scale
        assert evaluate(other, [one], config).scores["photographs/psnr"] < 45


def test_a_reference_that_a_set_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="reference must be 'hr' where no space makes lr, got 'target'"):
        EvalSetConfig(reference="target")
    with pytest.raises(ConfigError, match="--reference target needs --space or --lr"):
        described_sets([Path("x")], None, ["bicubic"], 0, "target", ["bicubic"], 4)
    (asked,) = described_sets([Path("x")], Path("lr"), [], 0, "target", ["bicubic"], 4).settings.sets
    assert (asked.lr, asked.reference) == ("lr", "target")
    with pytest.raises(ConfigError, match="needs a space with a sharpened target, got bsrgan-x4, whose target is hr"):
        opened(space="bsrgan-x4", reference="target")


def test_tables_show_models_degradations_and_protocols() -> None:
    first, second = (
        EvalSetConfig(name="clean", images=("coffee",), crop_px=64),
        EvalSetConfig(name="real", images=("coffee", "rocket"), crop_px=64, space="realesrgan-x4"),
    )
    config = EvaluateConfig(sets=(first, second))
    sets = open_sets(config, 4)
    progress: list[tuple[int, int]] = []
    results = [
        evaluate("bicubic", sets, config),
        evaluate(Nearest(), sets, config, label="ours", progress=lambda done, total: progress.append((done, total))),
    ]
    assert progress == [(1, 3), (2, 3), (3, 3)]
    lines = table(results).splitlines()
    assert [line.split()[0] for line in lines] == ["set", "clean", "clean", "real", "real"]
    assert all(line.endswith("y-uint8-border4 against hr") for line in lines[1:])
    assert "MATLAB bicubic x4, 8 bits" in lines[1]
    assert re.search(r"  bicubic +\d\d\.\d\d +0\.\d{4} ", lines[1])
    assert re.search(r"  ours +\d\d\.\d\d +0\.\d{4} ", lines[4])
    detailed = results[1].table(per_image=True).splitlines()
    assert [line.split()[1] for line in detailed[1:]] == ["coffee.png", "1", "coffee.png", "rocket.jpg", "2"]


@pytest.mark.slow
def test_pictures_for_people(tmp_path: Path) -> None:
    config, one = opened(crop_px=160)
    config = EvaluateConfig(sets=config.sets, save_images=1)
    evaluate(Nearest(), [one], config, tmp_path / "images", step=20)
    evaluate(Nearest(), [one], config, tmp_path / "images", step=40)
    files = sorted(path.relative_to(tmp_path / "images").as_posix() for path in (tmp_path / "images").rglob("*.png"))
    assert files == ["photographs-00000020.png", "photographs-00000040.png", "photographs/coffee.png"]
    lr = next(one.pairs()).lr
    result = read_image(tmp_path / "images" / "photographs" / "coffee.png")
    assert np.array_equal(result, np.repeat(np.repeat(lr, 4, 0), 4, 1))
    sheet = read_image(tmp_path / "images" / "photographs-00000020.png")
    assert sheet.shape[1] > 3 * 256
    evaluate(Nearest(), [one], EvaluateConfig(sets=config.sets), tmp_path / "none", step=20)
    assert not (tmp_path / "none").exists()


def test_every_image_of_a_set_has_a_result_of_its_own() -> None:
    names = [
        "x.png",
        "x.jpg",
        "e/x.png",
        "e_x.png",
        "e/x.jpg",
        "..",
        ".",
        "../x.png",
        "long" * 70 + ".png",
        "bad\udcff.png",
    ]
    results = strips.file_names(names)
    assert results[0] == "x"
    assert len(set(results)) == len(names)
    for result in results:
        assert "/" not in result
        assert len(os.fsencode(result)) < 251


def test_the_square_with_the_largest_difference() -> None:
    reference = np.zeros((300, 200, 3), np.uint8)
    image = reference.copy()
    image[250:260, 150:160] = 9
    top, left = strips._worst_square(image, reference, strips.STRIP_PX)
    assert 132 <= top <= 172
    assert 32 <= left <= 72
    assert strips._worst_square(image[:50, :60], reference[:50, :60], strips.STRIP_PX) == (0, 0)


# ---- bad input


def test_configurations_that_cannot_be() -> None:
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (EvalSetConfig, {"name": "a/b"}, "evaluate.sets.name must be a plain name, without /, got 'a/b'"),
        (EvalSetConfig, {"name": ".."}, "evaluate.sets.name must be a plain name, without /, got '..'"),
        (EvalSetConfig, {"crop_px": -4}, "evaluate.sets.crop_px must be >= 0, got -4"),
        (EvalSetConfig, {"hr": ("x",), "lr": "y", "space": "z"}, "evaluate.sets.space must be empty where lr names"),
        (EvalSetConfig, {"lr": "y"}, "evaluate.sets.hr must be one folder or .lmdb where lr is given, got []"),
        (EvaluateConfig, {"every_steps": 0}, "evaluate.every_steps must be >= 1, got 0"),
        (EvaluateConfig, {"tile_px": 60}, "evaluate.tile_px must be 0 or more than twice overlap_px, got 60"),
        (EvaluateConfig, {"protocols": ()}, "evaluate.protocols must be at least one, got []"),
        (EvaluateConfig, {"protocols": ("luma",)}, "evaluate.protocols must be like 'y-uint8' or"),
        (
            EvaluateConfig,
            {"sets": (EvalSetConfig(), EvalSetConfig())},
            "evaluate.sets.name must be different for every",
        ),
    ]
    for kind, values, message in cases:
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
            kind(**values)
    assert str(protocol_of("rgb-uint8", 3)) == "rgb-uint8-border3"


def test_sets_that_cannot_be_opened(folder: Path, tmp_path: Path) -> None:
    cases: list[tuple[type[Exception], dict[str, Any], str]] = [
        (ConfigError, {"crop_px": 63}, "crop_px must be a multiple of the scale 4, got 63"),
        (DataError, {"hr": (str(tmp_path / "absent"),)}, r".*absent: must be a folder with images, got nothing"),
        (ConfigError, {"space": "bicubic-x2"}, "space must have the network's scale x4, got bicubic-x2 x2"),
        (ConfigError, {"space": "bicubik-x4"}, ".*bicubik-x4"),
        (ConfigError, {"images": ("coffe",)}, r"evaluate.sets \(photographs\).images must name .*did you mean"),
        (DataError, {"crop_px": 16, "images": ()}, r"astronaut.png: sides must be at least 19 px to measure SSIM"),
        (
            DataError,
            {"hr": (str(folder),), "images": (), "crop_px": 48},
            r"every image must be usable, got 2 that is not",
        ),
    ]
    for kind, options, message in cases:
        with pytest.raises(kind, match=message) as caught:
            opened(**options)
        assert str(caught.value).startswith("evaluate.sets (photographs)")
        assert "\n" not in str(caught.value)
    path = folder / "a.png"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"^evaluate.sets \(photographs\): .*a.png: corrupt or truncated"):
        opened(hr=(str(folder),), images=(), crop_px=0)


def test_models_that_do_not_fit_a_set() -> None:
    config, one = opened(protocols=("y-uint8", "rgb-uint8"))
    with pytest.raises(ConfigError, match=r"^evaluate: net must have the scale x4 of the sets, got 2$"):
        evaluate(Nearest(2), [one], config)
    with pytest.raises(ConfigError, match=r"^evaluate: bicubic-y-double has luma only, got protocol rgb-uint8-border4"):
        evaluate("bicubic-y-double", [one], config)
    config, one = opened(space="realesrgan-x4")
    with pytest.raises(
        ConfigError, match=r"^evaluate: bicubic-y-double is for sets of MATLAB bicubic, got photographs"
    ):
        evaluate("bicubic-y-double", [one], config)
    with pytest.raises(ConfigError, match=r"must be a network, 'bicubic' or 'bicubic-y-double', got 'lanczos'"):
        evaluate("lanczos", [one], config)  # type: ignore[arg-type]


def test_the_index_of_results_keeps_names_that_hold_infinity():
    """JSON has no infinity; what stands in quotes is none."""
    images = [SimpleNamespace(name=f"{word}.png") for word in ("Infinity", "-Infinity")]
    shown = SimpleNamespace(
        name="Infinity", degradation="\nInfinity", hr=SimpleNamespace(images=images), scale=2, tasks=None
    )
    scores = SimpleNamespace(scores=[SimpleNamespace(protocol="p", values=(float("inf"), 2.0))], perceptual=())
    text = _index([SimpleNamespace(model="Infinity", sets=[scores])], [shown])
    made = json.loads(text, parse_constant=pytest.fail)
    assert made["sets"][0]["files"] == ["Infinity.png", "-Infinity.png"]
    assert (made["sets"][0]["name"], made["models"][0]["label"]) == ("Infinity", "Infinity")
    assert made["models"][0]["sets"] == [{"p": [float("inf"), 2.0]}]

"""Metrics of pyiqa in evaluation: with a stand-in for the package, and with the package itself where it is installed."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pytrain.commands.cli import main
from pytrain.errors import ConfigError
from pytrain.evaluation import perceptual
from pytrain.evaluation.evaluate import evaluate
from pytrain.evaluation.results import EvalResult, score_names
from pytrain.evaluation.sets import open_sets
from pytrain.evaluation.settings import EvalSetConfig, EvaluateConfig


@pytest.fixture(scope="module")
def photographs_dir(tmp_path_factory):
    from skimage import data

    folder = tmp_path_factory.mktemp("photographs")
    for number, image in enumerate((data.astronaut(), data.coffee())):
        Image.fromarray(np.ascontiguousarray(image[100:292, 150:342])).save(folder / f"{number}.png")
    return folder


def sets_of(folder, *metrics: str) -> EvaluateConfig:
    return EvaluateConfig(sets=(EvalSetConfig("few", (str(folder),), crop_px=64),), perceptual=metrics)


class StandIn:
    """A metric with pyiqa's face: mean absolute error with a reference, or the image's mean without one."""

    def __init__(self, name: str) -> None:
        self.metric_mode = "FR" if name == "far" else "NR"
        self.lower_better = name == "far"

    def __call__(self, image, reference=None):
        assert image.shape[1] == 3
        assert torch.equal(image, (image * 255).round() / 255)
        return (image - reference).abs().mean() if self.metric_mode == "FR" else image.mean()


@pytest.fixture
def stand_in(monkeypatch):
    """pyiqa with the metrics far (lower is better), bright, and lost, whose weights cannot be had."""

    def create_metric(name, device, **options):
        if name == "lost" or options:
            raise OSError("no route to host\nmore")
        return StandIn(name)

    module = types.SimpleNamespace(
        list_models=lambda: ["far", "bright", "lost"], create_metric=create_metric, __version__="0"
    )
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    perceptual._opened.cache_clear()
    yield
    perceptual._opened.cache_clear()


def test_metrics_are_scores_beside_psnr(stand_in, photographs_dir):
    config = sets_of(photographs_dir, "far", "bright")
    sets = open_sets(config, 2)
    result = evaluate("bicubic", sets, config)
    assert list(result.scores) == score_names(config, sets) == ["few/psnr", "few/ssim", "few/far", "few/bright"]
    assert result.lower_is_better == {"few/far"}
    (one,) = result.sets
    assert one.perceptual[0].protocol == "far-rgb-uint8-border0-pyiqa0"
    # The same by hand: whole images, RGB rounded to 8 bits.
    for pair, far, bright in zip(sets[0].pairs(), one.perceptual[0].values, one.perceptual[1].values):
        from pydegrade import imresize

        image = np.asarray(imresize(pair.lr, 2)).astype(np.float64) / 255
        np.testing.assert_allclose(far, np.abs(image - pair.hr / 255.0).mean(), atol=1e-6)  # float32 means
        np.testing.assert_allclose(bright, image.mean(), atol=1e-6)
    assert EvalResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    text = result.table(per_image=True)
    rows = [line.split() for line in text.splitlines()]
    assert sum("lower" in row for row in rows) == 3, "two images and their mean"
    assert "rgb-uint8-border0-pyiqa0 against hr" in text
    old = {
        **result.to_dict(),
        "sets": [{k: v for k, v in s.items() if k != "perceptual"} for s in result.to_dict()["sets"]],
    }
    assert EvalResult.from_dict(old).sets[0].perceptual == ()


def test_what_cannot_be_measured_is_one_line(stand_in, photographs_dir, monkeypatch):
    for metrics, message in (
        (("fra",), "must be metrics of pyiqa, got 'fra'; did you mean 'far'"),
        (("far", "far=x.pth"), "must name a metric once, got 'far' twice"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_sets(sets_of(photographs_dir, *metrics), 2)
    config = sets_of(photographs_dir, "lost")
    with pytest.raises(ConfigError, match="lost: pyiqa could not open it, are its weights at hand") as caught:
        evaluate("bicubic", open_sets(config, 2), config)
    assert "\n" not in str(caught.value)
    luma = replace(config, perceptual=("far",))
    with pytest.raises(ConfigError, match="bicubic-y-double has luma only, got metric far"):
        evaluate("bicubic-y-double", open_sets(luma, 2), luma)
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ConfigError, match=r"far needs the package pyiqa: pip install 'pydegrade\[perceptual\]'"):
        open_sets(luma, 2)


def test_the_command_measures_them(stand_in, photographs_dir, tmp_path, capsys):
    path = tmp_path / "scores.json"
    with pytest.raises(SystemExit) as left:
        main(["eval", "--hr", str(photographs_dir), "--scale", "2", "--model", "bicubic", "--metric", "far", "--json",
              str(path)])  # fmt: skip
    assert not left.value.code
    assert "far" in capsys.readouterr().out
    (written,) = json.loads(path.read_text())
    assert written["sets"][0]["perceptual"][0]["value"] > 0


@pytest.mark.parametrize(("values", "best"), [((0.5, 0.2, 0.4), 2), ((0.1, 0.2, 0.4), 1)])
def test_the_best_model_has_the_least_distance(stand_in, photographs_dir, tmp_path, monkeypatch, values, best):
    from pytrain.files.checkpoint import load_model
    from pytrain.training import loop
    from pytrain.training import run as runs

    from .test_loop import configuration

    left = list(values)

    def given(net, *arguments, **options):
        result = evaluate(net, *arguments, **options)
        (one,) = result.sets
        return replace(result, sets=(replace(one, perceptual=(replace(one.perceptual[0], value=left.pop(0)),)),))

    monkeypatch.setattr(runs, "evaluate", given)
    loop.fit(
        configuration(
            photographs_dir, tmp_path, f"evaluate.sets=[{{name='few', hr=['{photographs_dir}']}}]",
            "evaluate.perceptual=['far']", "evaluate.every_steps=1", "checkpoint.keep_best=few/far", "run.steps=3",
        )
    )  # fmt: skip
    metadata = load_model(tmp_path / "models" / "best.safetensors").metadata
    assert metadata["step"] == best
    assert metadata["score"] == {"few/far": min(values)}


def test_the_package_itself_agrees_where_we_know_the_answer(photographs_dir):
    """PSNR over RGB of whole images is ours too; MS-SSIM needs no weights, is 1 for equal images and falls with noise."""
    pytest.importorskip("pyiqa", exc_type=ImportError)
    config = replace(sets_of(photographs_dir, "psnr", "ms_ssim"), protocols=("rgb-uint8-border0",))
    config = replace(config, sets=(replace(config.sets[0], crop_px=192),))
    (one,) = evaluate("bicubic", open_sets(config, 2), config).sets
    np.testing.assert_allclose(
        one.perceptual[0].values, one.scores[0].values, atol=1e-3
    )  # theirs is float32, with eps 1e-8
    image = torch.rand(1, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    (metric,) = perceptual.open_metrics(("ms_ssim",), torch.device("cpu"))
    assert not metric.lower_is_better
    values = [
        metric.measure((image + sigma * torch.ones(192).cumsum(0).sin()).clamp(0, 1), image) for sigma in (0, 0.1, 0.3)
    ]
    assert values[0] == pytest.approx(1, abs=1e-6)
    assert values[0] > values[1] > values[2]

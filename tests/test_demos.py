"""The demonstrations' scripts run from start to table; a few steps show that they work, not what they show."""

from __future__ import annotations

import click
import numpy as np
import pytest
from PIL import Image

from benchmarks import demo_dasr, demo_eco


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(images to train on, images to measure on)."""
    rng = np.random.default_rng(0)
    found = []
    for name, count in (("train", 3), ("test", 2)):
        folder = tmp_path_factory.mktemp(name)
        for number in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
            coarse.resize((256, 248), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        found.append(folder)
    return tuple(found)


@pytest.mark.slow
def test_eco_demonstration_runs_to_its_table(folders, tmp_path):
    train, test = folders
    result = demo_eco.run(tmp_path, (train,), (test,), 2, 2, 1, (1e-3,), batches=3)
    text = demo_eco.table(result)
    finals = [line.split("|")[3].strip() for line in text.splitlines() if line.startswith(("| van", "| sig", "| lin"))]
    assert len(finals) == 3
    assert "| vanilla | 0.001 | " in text
    assert len(set(finals)) > 1, "schedules see different pairs"
    assert all(ratio > 0 for ratio in result.facts["signal_to_noise_ratios"])
    # Given again it trains nothing, and says the same.
    again = demo_eco.run(tmp_path, (train,), (test,), 2, 2, 1, (1e-3,), batches=3)
    assert again.values == result.values
    # The mean over the images is what the run's own evaluation logged.
    (curve,) = (one for one in result.facts["curves"] if one["mix"] == "sigmoid")
    assert result.mean("held-out", "sigmoid, rate 0.001") == pytest.approx(
        curve["psnr"][2], abs=1e-4
    )  # 4 digits are kept


@pytest.mark.slow
def test_dasr_demonstration_runs_to_its_table(folders, tmp_path):
    train, test = folders
    arms = ("plain", "dasr", "shuffled", "oracle")
    small = ("data.batch=2", "data.crop_px=64")
    result, found = demo_dasr.run(tmp_path, (train,), (test,), 2, 2, 1, crops=48, arms=arms, overrides=small)
    demo_dasr.plot(result, found, tmp_path / "dasr.png")
    assert (tmp_path / "dasr.png").stat().st_size > 10_000
    text = demo_dasr.table(result) + demo_dasr.predictor_table(result) + demo_dasr.moves_table(result)
    for row in (
        "start",
        *arms,
        "dasr, wrong",
        "regression L1",
        "jpeg1.quality",
        "all, as a crop of another level",
    ):
        assert f"| {row} |" in text
    # What the shares follow is not among bicubic's numbers.
    assert result.values["bicubic"].keys() == {"start", "plain", "dasr", "shuffled"}
    # What was trained with the task's own numbers is judged with them.
    assert result.values["dasr-weak"]["oracle"] == result.values["dasr-weak"]["oracle, true"]
    # The mean over a level's crops is that of its photographs, weighted by their crops.
    level, psnr = found["truth"]["level"], found["dasr_0"]["psnr"]
    for number, name in enumerate(demo_dasr.LEVELS):
        counts = [
            ((level == number) & (found["truth"]["photograph"] == photograph)).sum()
            for photograph in result.items[name]
        ]
        mean = np.average(result.values[name]["dasr"]["0"], weights=counts)
        assert mean == pytest.approx(psnr[level == number].mean(), abs=1e-4)  # four digits are kept
    with pytest.raises(click.UsageError, match="--arm must name plain and dasr"):
        demo_dasr.run(tmp_path, (train,), (test,), 2, 2, 1, arms=("plain",))
    # Two steps cannot tell a predictor more than the constant knows.
    quality = result.facts["predictor"]["dasr_0"]
    assert 0.5 < quality["regression_l1"] / quality["constant_l1"] < 3

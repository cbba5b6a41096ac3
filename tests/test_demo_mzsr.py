"""The short version of benchmarks/demo_mzsr.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks import demo_mzsr
from benchmarks.result_files import read_result


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        (tmp_path / "images").mkdir(exist_ok=True)
        coarse.resize((96, 80), Image.Resampling.BICUBIC).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.slow
def test_the_demonstration_gives_every_network_its_own_rate(images, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_mzsr, "SIDE_PX", 64)
    monkeypatch.setattr(demo_mzsr, "RATES", (0.001, 0.1))
    monkeypatch.setattr(demo_mzsr, "KERNELS", dict(list(demo_mzsr.KERNELS.items())[:1]))
    folders = [f"--{name}={images}" for name in ("train", "test", "tune")]
    arguments = [*folders, "--pretrain", "2", "--meta", "2", "--zssr-steps", "12", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(demo_mzsr.main, arguments)
    assert done.exit_code == 0, done.output
    result = read_result("mzsr", tmp_path / "out")
    (kernel,) = demo_mzsr.kernel_sets(result)
    # The same images were given for both sets, so the best rate on the one is the best on the other.
    for name in ("joint", "mzsr", "pretrained"):
        chosen = demo_mzsr.best_arm(result, name, 10)
        each = [result.mean(kernel, demo_mzsr.arm(name, 10, rate)) for rate in (0.001, 0.1)]
        assert result.mean(kernel, chosen) == max(each)
        assert each[0] != each[1]
    untouched = {result.mean(kernel, demo_mzsr.arm(name, 0, 0)) for name in ("pretrained", "joint", "mzsr")}
    assert len(untouched) == 3
    assert f"| {kernel} | {result.mean(kernel, 'bicubic'):.2f} | " in done.output
    # Rates that fall begin as constant ones do, and end elsewhere.
    for rate in (0.001, 0.1):
        falling = result.mean(kernel, demo_mzsr.arm("mzsr, falling", 10, rate))
        assert falling != result.mean(kernel, demo_mzsr.arm("mzsr", 10, rate))
    assert "| MZSR at falling rates | 10 and 10 | " in done.output
    without = {name: values for name, values in result.values[demo_mzsr.TUNING].items() if "joint, 10" not in name}
    with pytest.raises(ValueError, match=r"joint must have results after 10 steps at every rate, got none at 0\.001"):
        demo_mzsr.best_rate(replace(result, values={**result.values, demo_mzsr.TUNING: without}), "joint", 10)
    # Given again it trains and measures nothing, and says the same.
    again = CliRunner().invoke(demo_mzsr.main, arguments)
    assert again.output.splitlines()[:-1] == done.output.splitlines()[:-1]


def test_too_few_images_to_choose_rates_on_are_one_line(images, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_mzsr, "SIDE_PX", 64)
    (images / "2.png").unlink()
    folders = [f"--{name}={images}" for name in ("train", "test", "tune")]
    done = CliRunner().invoke(demo_mzsr.main, [*folders, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "Error: --tune: must hold at least 3 images" in done.output

"""The short version of benchmarks/demo_fit.py."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks import demo_fit
from pydegrade.fitting import population, posterior


@pytest.mark.slow
def test_the_demonstration_runs_and_every_space_trains_a_network_of_its_own(tmp_path, monkeypatch, capsys):
    words = np.random.default_rng(0)
    folders = {}
    for name in ("train", "photographs", "test"):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        for number in range(2):
            coarse = Image.fromarray(words.integers(0, 256, (12, 12, 3), np.uint8))
            coarse.resize((200, 196), Image.Resampling.BICUBIC).save(folders[name] / f"{number}.png")
    monkeypatch.setattr(population, "TRIED", 20)
    monkeypatch.setattr(population, "BOOTSTRAPS", 5)
    monkeypatch.setattr(demo_fit, "TASKS", 1)
    monkeypatch.setattr(posterior, "EPOCHS", 5)
    small = ("schedule.warmup_steps=0", "train.ema_decay=0", "data.batch=2", "net.num_features=4", "net.num_blocks=1")
    given = [(folders[name],) for name in ("train", "photographs", "test")]

    def run():
        return demo_fit.run(tmp_path / "out", *given, (8,), (0.05,), 1, 1, count=3, simulations=100, overrides=small)

    result = run()
    (found,) = result.values.values()
    assert len(found) == len((*demo_fit.OWN, *demo_fit.COMMON)) + 1
    assert len({tuple(by_seed.popitem()[1]) for by_seed in map(dict, found.values())}) == len(found)
    means = result.facts["means"]["hidden-8"]
    assert means["fitted 0"].keys() == means["hidden"].keys() == set(demo_fit.JUDGED)
    assert all(f"| {name} | " in demo_fit.table(result) for name in (*demo_fit.COMMON, demo_fit.ENLARGED))
    assert "| hidden-8 | jpeg1.quality | 72.9 |" in demo_fit.means_table(result)
    # Given again it trains and fits nothing, and says the same.
    capsys.readouterr()
    assert run().values == result.values
    assert "simulations" not in capsys.readouterr().out

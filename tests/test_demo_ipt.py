"""The short version of benchmarks/demo_ipt.py."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks import demo_ipt


@pytest.mark.slow
def test_the_demonstration_runs_and_every_way_gives_its_own_numbers(tmp_path, monkeypatch):
    # Few patches per evaluation: the sets are 96 px wide otherwise.
    monkeypatch.setattr(demo_ipt, "CONFIG", demo_ipt.CONFIG.replace("crop_px = 96", "crop_px = 48"))
    done = CliRunner().invoke(demo_ipt.main, ["--pretrain", "1", "--finetune", "1", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    (result,) = json.loads((tmp_path / "scores.json").read_text())
    for scores in result["psnr"].values():
        assert len(scores) == 6
        assert scores["fine-tuned, with"] != scores["pretrained with contrastive term"]
        assert scores["from scratch, 1 steps"] != scores["from scratch, 2 steps"]
    assert "| fine-tuned, with | " in done.output

"""The short version of benchmarks/demo_ipt.py."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import demo_ipt
from benchmarks.result_files import read_result


@pytest.mark.slow
def test_the_demonstration_runs_and_every_way_gives_its_own_numbers(tmp_path, monkeypatch):
    # Few patches per evaluation: the sets are 96 px wide otherwise.
    monkeypatch.setattr(demo_ipt, "CONFIG", demo_ipt.CONFIG.replace("crop_px = 96", "crop_px = 48"))
    done = CliRunner().invoke(demo_ipt.main, ["--pretrain", "1", "--finetune", "1", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    result = read_result("ipt", tmp_path)
    for task in demo_ipt.TASKS:
        assert len(result.values[task]) == 7
        means = {way: result.mean(task, way) for way in result.values[task]}
        assert means["fine-tuned, with"] != means["pretrained with contrastive term"]
        assert means["from scratch, 1 steps"] != means["from scratch, 2 steps"]
        assert means["from scratch, 2 steps"] != means["from scratch, 2 steps, all images"]
        assert len(result.items[task]) == 2
    assert "| fine-tuned, with | " in done.output

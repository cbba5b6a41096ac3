"""The short version of benchmarks/demo_ipt.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

from benchmarks import demo_ipt
from benchmarks.result_files import read_result

SIZES = ("--pretrain", "1", "--finetune", "1")


@pytest.mark.slow
def test_the_demonstration_runs_and_every_way_gives_its_own_numbers(tmp_path, monkeypatch):
    # Few patches per evaluation: the sets are 96 px wide otherwise.
    small = demo_ipt.CONFIG
    for wide, narrow in (
        ("crop_px = 96", "crop_px = 48"),
        ("batch = 12", "batch = 4"),
        ("num_layers = 2", "num_layers = 1"),
    ):
        small = small.replace(wide, narrow)
    monkeypatch.setattr(demo_ipt, "CONFIG", small)
    done = CliRunner().invoke(demo_ipt.main, [*SIZES, "--weight", "5", "--unseen", "70", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    result = read_result("ipt", tmp_path)
    for task in demo_ipt.TASKS:
        assert len(result.values[task]) == 9
        means = {way: result.mean(task, way) for way in result.values[task]}
        assert means["fine-tuned, with"] != means["pretrained with contrastive term"]
        assert means["from scratch, 1 steps"] != means["from scratch, 2 steps"]
        assert means["from scratch, 2 steps"] != means["from scratch, 2 steps, all images"]
        assert len(result.items[task]) == 2
    assert "| fine-tuned, with | " in done.output
    # Noise that no pretraining had, by every pretrained network and by none.
    assert "| fine-tuned, weight 5 | " in demo_ipt.unseen_table(result)
    assert result.values["denoise-70"].keys() == {
        "fine-tuned, with", "fine-tuned, without", "fine-tuned, weight 5", "from scratch, 1 steps"
    }  # fmt: skip
    assert demo_ipt.unseen_table(replace(result, values={task: result.values[task] for task in demo_ipt.TASKS})) == ""

"""The short version of benchmarks/demo_mzsr.py."""

from __future__ import annotations

import json

from click.testing import CliRunner

from benchmarks import demo_mzsr


def test_the_demonstration_runs_and_starts_where_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_mzsr, "SIDE_PX", 64)
    monkeypatch.setattr(demo_mzsr, "KERNELS", dict(list(demo_mzsr.KERNELS.items())[:1]))
    arguments = ["--pretrain", "2", "--meta", "2", "--zssr-steps", "3", "--out", str(tmp_path)]
    done = CliRunner().invoke(demo_mzsr.main, arguments)
    assert done.exit_code == 0, done.output
    ((scores,),) = ([*one["psnr"].values()] for one in json.loads((tmp_path / "scores.json").read_text()))
    assert scores["zssr"]["0"] == scores["bicubic"]["0"], "ZSSR starts as bicubic enlargement"
    assert list(scores["mzsr"]) == ["0", "1", "5", "10"]
    assert len({scores[name]["0"] for name in ("pretrained", "joint", "mzsr")}) == 3
    assert "| mzsr | 0: " in done.output

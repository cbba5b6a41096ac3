"""pytrain group score --shard: shards merged are the scores of one process, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from pydegrade.errors import OutputError
from pytrain.commands.cli import main
from pytrain.config import config as configs
from pytrain.errors import DataError
from pytrain.grouping.run import open_grouping
from pytrain.grouping.runner import run_stages
from pytrain.grouping.shards import merge_scores, score_shard, shard_path

from . import tgsr


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors on several threads mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without any stage run; tests copy it."""
    folder = tmp_path_factory.mktemp("shards")
    tgsr.write_project(folder)
    return folder


def opened(project: Path, folder: Path, indicator: str = "full", redo: bool = False):
    if not folder.exists():
        shutil.copytree(project, folder)
    return open_grouping(configs.load(folder / "tgsr.toml", (f"method.grouping.indicator={indicator}",)), 1, redo)


def quiet(line: str) -> None:
    pass


@pytest.mark.slow
@pytest.mark.parametrize(("count", "indicator"), [(1, "last_layer"), (2, "halving"), (7, "full")])
def test_merged_shards_are_the_scores_of_one_process(project: Path, tmp_path: Path, count: int, indicator: str):
    whole = opened(project, tmp_path / "whole", indicator)
    run_stages(whole, ("tasks", "score"), quiet)
    files = []
    for number in range(count):  # each in a folder of its own, as on machines without a common file system
        part = opened(project, tmp_path / f"part{number}", indicator)
        files.append(score_shard(part, (number, count), quiet))
    merged = opened(project, tmp_path / "merged", indicator)
    merge_scores(merged, files[::-1], quiet)
    for name in ("scores.toml", "tasks.npz"):
        assert merged.path(name).read_bytes() == whole.path(name).read_bytes()
    assert not merged.path("scores.parts").exists()
    merge_scores(merged, files, quiet)  # again: it is there


@pytest.fixture(scope="module")
def halves(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both shards of two, in one file system."""
    folder = tmp_path_factory.mktemp("halves") / "both"
    for number in range(2):
        score_shard(opened(project, folder, "last_layer"), (number, 2), quiet)
    return folder


def test_a_finished_shard_is_kept_and_one_of_other_settings_refused(project: Path, halves: Path):
    path = shard_path(opened(project, halves, "last_layer"), 0, 2)
    before = path.stat().st_mtime_ns
    assert score_shard(opened(project, halves, "last_layer"), (0, 2), quiet) == path
    assert path.stat().st_mtime_ns == before
    with pytest.raises(DataError, match="must be made from settings"):
        score_shard(opened(project, halves, "full"), (0, 2), quiet)


def test_shards_that_make_no_scores_are_refused(project: Path, halves: Path, tmp_path: Path):
    run = opened(project, halves, "last_layer")
    zero, one = (shard_path(run, number, 2) for number in range(2))
    text = one.read_text()
    foreign = tmp_path / "foreign.toml"
    foreign.write_text(
        "\n".join(line for line in text.split("\n") if not line.startswith("digest")).replace("1/2", "0/1")
    )
    damaged = tmp_path / "damaged.toml"
    damaged.write_text(text.replace("gain_db", "gain_dB"))
    for paths, message in (
        ([zero], "missing: 1/2"),
        ([zero, zero, one], "both are shard 0/2"),
        ([zero, foreign], "must be one of the 2 shards"),
        ([zero, damaged], "do not match its digest"),
        ([zero, tmp_path / "none.toml"], "no such file"),
        ([zero, halves / "tgsr.toml"], "must be a file of stage scores.shard"),
    ):
        with pytest.raises((DataError, OutputError), match=message):
            merge_scores(run, paths, quiet)
    assert not run.path("scores.toml").exists()
    with pytest.raises(DataError, match="10 tasks make at most 10 shards, got 11"):
        score_shard(run, (0, 11), quiet)


def test_the_commands(halves: Path, capsys: pytest.CaptureFixture[str]):
    path = halves / "tgsr.toml"
    indicator = ("--indicator", "last_layer")

    def ran(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["group", *map(str, arguments)])
        return int(left.value.code or 0), *capsys.readouterr()

    assert ran("score", path, *indicator, "--shard", "1/2")[0] == 0
    files = [halves / "groups" / f"scores-{number}-of-2.toml" for number in range(2)]
    code, out, err = ran("merge", path, *indicator, *files)
    assert (code, "scores.toml" in out) == (0, True), err
    code, _, err = ran("score", path, *indicator, "--shard", "2/2")
    assert (code, err.count("\n"), "0 <= I < N" in err) == (2, 1, True), err

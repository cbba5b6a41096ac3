"""--engine ray: the shards of a line on a local cluster of two machines are those of `--shard`, also when one is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pydegrade.files.lock import folder_lock
from pydegrade.shell.ray_engine import run_shard

from .programs import Result, degrade_in, quietly
from .test_cards import SPACE

ray: Any = pytest.importorskip("ray", reason="pip install ray")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = pytest.mark.slow
TASKS = 8


@pytest.fixture
def degrade(capsys) -> Callable[..., Result]:
    return partial(degrade_in, capsys)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """Two machines of one CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Workers are nicer than all else by default, and would starve on a busy machine.
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
        try:
            made = Cluster(
                initialize_head=True,
                head_node_args={"num_cpus": 1, "object_store_memory": 10**8, "include_dashboard": False},
            )
            made.add_node(num_cpus=1, object_store_memory=10**8)
            ray.init(address=made.address, log_to_driver=False)
        except (Exception, SystemExit) as error:  # Ray gives its own start a limit of time
            pytest.skip(f"no local Ray cluster: {error}")
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def line(tmp_path) -> tuple[object, ...]:
    (tmp_path / "hr").mkdir()
    (tmp_path / "ours.toml").write_text(SPACE)
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 30 + seed, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "hr" / f"{seed}.png")
    source = ("--space", tmp_path / "ours.toml", "--hr", tmp_path / "hr", "--hr-size", 16)
    return ("sample", "--tasks", TASKS, *source)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_shards_on_ray_merge_to_the_run_of_one_process(cluster, degrade, line, tmp_path):
    code, out, err = degrade(*line, "--out", tmp_path / "run", "--engine", "ray", "--shards", 3)
    assert (code, f"degrade merge {tmp_path}/run {tmp_path}/run-*-of-3" in out) == (0, True), err
    quietly("merge", tmp_path / "merged", *(tmp_path / f"run-{number}-of-3" for number in range(3)))
    quietly(*line, "--out", tmp_path / "whole")
    assert content(tmp_path / "merged") == content(tmp_path / "whole")
    # Again: all is there. A shard that fails says which line of which.
    assert degrade(*line, "--out", tmp_path / "run", "--engine", "ray", "--shards", 3)[0] == 0
    code, _, err = degrade(*line, "--seed", 9, "--out", tmp_path / "run", "--engine", "ray", "--shards", 3)
    assert (code, "shard 2/3: degrade: " in err, "holds a run with seed 0" in err) == (2, True, True), err


def test_a_machine_that_is_lost_costs_nothing(cluster, degrade, line, tmp_path, monkeypatch):
    """One of two is removed as soon as its shard has stored a sample; the other one takes over."""
    lost = cluster.add_node(num_cpus=1, object_store_memory=10**8)
    removed = []
    wait = ray.wait

    def waited(references: list[Any], **more: Any) -> Any:
        while not removed:
            done, _ = wait(references, timeout=0.02)
            if any(tmp_path.glob("run-*-of-3/lr/*.png")) or done:
                cluster.remove_node(lost, allow_graceful=False)
                removed.append(lost)
        return wait(references, **more)

    monkeypatch.setattr(ray, "wait", waited)
    code, _, err = degrade(*line, "--out", tmp_path / "run", "--engine", "ray", "--shards", 3)
    assert (code, removed) == (0, [lost]), err
    quietly("merge", tmp_path / "merged", *(tmp_path / f"run-{number}-of-3" for number in range(3)))
    quietly(*line, "--out", tmp_path / "whole")
    assert content(tmp_path / "merged") == content(tmp_path / "whole")


def test_a_shard_waits_for_the_process_of_a_lost_machine(degrade, line, tmp_path):
    """Which may still hold the folder: here until the second look."""
    words = [*map(str, line), "--out", str(tmp_path / "run"), "--shard", "0/8"]
    waits: list[float] = []
    with ExitStack() as held:
        held.enter_context(folder_lock(tmp_path / "run-0-of-8"))

        def waited(seconds: float) -> None:
            waits.append(seconds)
            held.close()

        assert run_shard("pydegrade", words, str(tmp_path), 1, {}, waited)[0] == 0
    assert waits == [2]
    assert run_shard("pydegrade", words, str(tmp_path / "none"), 1, {})[0] == 2


def test_what_does_not_go_together_is_one_line(degrade, line):
    for words, message in (
        (("--engine", "ray", "--shard", "0/2"), "leave out --shard"),
        (("--shards", 2), "--shards goes with --engine ray"),
        (("--engine", "ray", "--params-only"), "--params-only makes no images"),
    ):
        code, _, err = degrade(*line, *words)
        assert (code, err.count("\n"), message in err) == (2, 1, True), err

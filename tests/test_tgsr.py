"""TGSR: what a step draws from its groups, the stages that find them, and what they refuse."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pydegrade
from pytrain.commands.cli import main
from pytrain.config import config as configs
from pytrain.errors import ConfigError, DataError
from pytrain.files.digested_toml import StageRecord, read_record, write_record
from pytrain.grouping import stages
from pytrain.grouping.conflict import read_conflict
from pytrain.grouping.run import open_grouping
from pytrain.grouping.runner import run_stages
from pytrain.methods.contract import Setup
from pytrain.methods.groups import Group, groups_record, network_digest, read_groups
from pytrain.methods.tgsr import GroupingOptions, TgsrMethod, TgsrOptions
from pytrain.nets import SRResNetConfig, config_to_dict
from pytrain.training import trial
from pytrain.training.loop import fit
from pytrain.training.precision import Precision

from . import tgsr
from .children import HANG_S, environment

SPACE = pydegrade.Space.load("realesrgan-x4")


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors on several threads mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- Records


def test_records_come_back_and_say_what_they_were_made_from(tmp_path: Path):
    path = tmp_path / "a.toml"
    values = {
        "text": 'a "quoted" \\ line\nand another \x7f',
        "yes": True,
        "numbers": [0.1, 1e-300, -3.0, 1 / 3] * 40,
        "none": [],
        "table": {"x": 1, "name": "y"},
        "row": [{"a": 1.5, "b": ["p", "q"]}, {"a": 2.5, "b": []}],
    }
    record = StageRecord("sums", {"tasks": "12ab", "network": "34cd"}, values)
    write_record(path, record, "What it is.")
    found = read_record(path, "sums", {"tasks": "12ab", "network": "34cd"})
    assert found == record
    assert found.digest == record.digest
    assert max(map(len, path.read_text().splitlines())) < 120
    with pytest.raises(
        DataError, match=r"a\.toml: must be made from network 5555, got network 34cd; use another folder"
    ):
        read_record(path, "sums", {"tasks": "12ab", "network": "5555"})
    with pytest.raises(DataError, match="must be a file of stage scores, got 'sums'"):
        read_record(path, "scores")
    path.write_text(path.read_text().replace("0.1,", "0.2,", 1))
    with pytest.raises(DataError, match="do not match its digest"):
        read_record(path, "sums")
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("digest")))
    assert read_record(path, "sums").values["numbers"][0] == 0.2
    path.write_text("= 3")
    with pytest.raises(DataError, match="not a readable file of stage sums"):
        read_record(path, "sums")
    with pytest.raises(DataError, match="no such file"):
        read_record(tmp_path / "b.toml", "sums")


@pytest.mark.parametrize(
    "value",
    ["inf", "nan", "1979-05-27", "{ a = 1 }", '"²"', "[[1.0]]", "true", "9" * 400, "9" * 5000, "[" * 3000 + "]" * 3000],
)
def test_lists_of_numbers_that_hold_anything_else_are_named(tmp_path: Path, value: str):
    path = tmp_path / "groups.toml"
    write_groups(path)
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("digest"))
    changed = re.sub(r"improvement_db = \[0\.0, ", f"improvement_db = [{value}, ", text, count=1)
    assert changed != text
    path.write_text(changed)
    with pytest.raises(DataError) as caught:
        read_groups(path, SPACE)
    assert "\n" not in str(caught.value)
    assert "groups.toml" in str(caught.value)


# ---- The method


def write_groups(
    path: Path, sizes: tuple[int, ...] = (2, 5), net: SRResNetConfig = tgsr.NET, network: str = "00"
) -> None:
    rows = pydegrade.sample(SPACE, 9, range(100, 100 + sum(sizes)))
    groups, begin = [], 0
    for number, size in enumerate(sizes, 1):
        tasks = rows.take(slice(begin, begin + size))
        groups.append(Group(f"G{number}", "some", tasks, {"improvement_db": np.arange(size) / 4}))
        begin += size
    record = groups_record("groups", {"network": network}, SPACE, config_to_dict(net), groups)
    write_record(path, record, "for a test")
    # A list on one line is easier to damage.
    text = re.sub(r"\[\n([^][]*?),?\n\]", lambda found: f"[{' '.join(found[1].split())}]", path.read_text())
    path.write_text(text)


@pytest.mark.parametrize(
    "entries",
    ["[{x = 1}, 2]", '["2", 3]', "[2020-01-01, 1]", "[-inf, 1]", "[nan, 1]", "[true, 1]", "[1]", f"[{'9' * 5000}, 1]",
     f"[{'9' * 400}, 1]", "[" * 3000 + "]" * 3000],
)  # fmt: skip
def test_a_groups_file_with_other_than_numbers_is_refused_in_one_line(tmp_path, entries):
    write_groups(tmp_path / "groups.toml")
    lines = (tmp_path / "groups.toml").read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("improvement_db"))
    lines[place] = f"improvement_db = {entries}"
    text = "\n".join(line for line in lines if not line.startswith("digest"))
    (tmp_path / "groups.toml").write_text(text)
    with pytest.raises(DataError, match=r"groups.toml: ") as caught:
        read_groups(tmp_path / "groups.toml", SPACE)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def method_of(path: Path, **changes: object) -> TgsrMethod:
    config = TgsrOptions(**{"groups": str(path), "network": "any", **changes})  # type: ignore[arg-type]
    return opened(config, Setup(tgsr.NET, seed=5, crop_px=16, batch=4, steps=10))


def opened(config: TgsrOptions, setup: Setup) -> TgsrMethod:
    """The method as the loop opens it: files are read when the nets are made."""
    method = TgsrMethod(config, setup)
    method.nets()
    return method


def test_groups_are_drawn_uniformly_and_tasks_uniformly_within(tmp_path: Path):
    write_groups(tmp_path / "groups.toml")
    method = method_of(tmp_path / "groups.toml")
    count = 30_000
    group, member = method.draw(np.arange(count))
    # Binomial deviations: sqrt(n p q) is 82 for p = 1/3, 68 for 1/6, 43 for 1/15; four of them.
    for number in range(3):
        assert abs((group == number).sum() - count / 3) < 4 * 82
    for row in range(2):
        assert abs((member == row).sum() - count / 6) < 4 * 68
    for row in range(2, 7):
        assert abs((member == row).sum() - count / 15) < 4 * 43
    assert ((member == -1) == (group == 0)).all()
    only, rows = method_of(tmp_path / "groups.toml", whole_space=False).draw(np.arange(2000))
    assert set(only.tolist()) == {1, 2}
    assert rows.min() == 0
    # Half for the whole space, a quarter for each group: deviations 87 and 75.
    group, member = method_of(tmp_path / "groups.toml", whole_share=0.5).draw(np.arange(count))
    assert abs((group == 0).sum() - count / 2) < 4 * 87
    for number in (1, 2):
        assert abs((group == number).sum() - count / 4) < 4 * 75
    assert ((member == -1) == (group == 0)).all()
    for change in ({"whole_share": 1.0}, {"whole_share": 0.5, "whole_space": False}):
        with pytest.raises(ConfigError, match=r"^method\.whole_share must be "):
            TgsrOptions(**change)


@pytest.mark.slow
def test_a_draw_depends_on_its_sample_number_alone(tmp_path: Path):
    write_groups(tmp_path / "groups.toml")
    method = method_of(tmp_path / "groups.toml")
    indices = np.arange(40)
    whole = method.select(0, indices)
    group, member = method.draw(indices)
    assert len(set(group.tolist())) == 3
    assert (whole.noise_indices == indices).all()
    fresh = group == 0
    assert (whole.indices[fresh] == indices[fresh]).all()
    assert (whole.seeds[fresh] == 5).all()
    assert whole.take(fresh).addresses == pydegrade.sample(SPACE, 5, indices[fresh]).addresses
    assert (whole.indices[~fresh] == 100 + member[~fresh]).all()
    assert (whole.seeds[~fresh] == 9).all()
    order = np.random.default_rng(0).permutation(40)
    shuffled = method.select(3, indices[order])
    assert shuffled.addresses == [whole.addresses[row] for row in order]
    assert (shuffled.fingerprints() == whole.fingerprints()[order]).all()
    one = [method.select(7, indices[row : row + 1]).addresses[0] for row in range(40)]
    assert one == whole.addresses
    # The pixels follow: the same task on the same crop with two sample numbers has two noise fields.
    hr = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pydegrade.degrade(hr, whole)[order], pydegrade.degrade(hr[order], shuffled))


def test_losses_are_those_of_the_base_method(tmp_path: Path):
    write_groups(tmp_path / "groups.toml")
    plain = method_of(tmp_path / "groups.toml")
    assert [phase.name for phase in plain.phases] == ["generator"]
    gan = method_of(tmp_path / "groups.toml", stage="realesrgan", perceptual_weight=0.0)
    assert [phase.name for phase in gan.phases] == ["generator", "discriminator"]
    assert set(gan.nets()) == {"generator", "discriminator"}
    with pytest.raises(ConfigError, match=r"^method\.vgg19 must name"):
        TgsrOptions(stage="realesrgan")


def test_groups_of_something_else_are_refused(tmp_path: Path):
    path = tmp_path / "groups.toml"
    with pytest.raises(ConfigError, match=r"method\.groups must name the file that `pytrain group` wrote, got ''"):
        method_of(Path(""), groups="")
    with pytest.raises(ConfigError, match=r"method\.groups: .*groups\.toml: no such file; `pytrain group` makes it"):
        method_of(path)
    write_groups(path)
    with pytest.raises(ConfigError, match=r"must be made from space bsrgan-x4@[0-9a-f]{8}, got realesrgan-x4@"):
        method_of(path, space="bsrgan-x4")

    # Another network, other weights, none.
    model = tmp_path / "start.safetensors"
    tgsr.write_network(model)
    write_groups(path, network=network_digest(model, tgsr.NET))
    config = TgsrOptions(groups=str(path))
    setup = Setup(tgsr.NET, 0, 16, 4, 10, str(model))
    opened(config, setup)
    with pytest.raises(
        ConfigError, match=r"^net\.num_features must be 4 as in .*, got 8; train that network, or set met"
    ):
        opened(config, replace(setup, net=SRResNetConfig(num_features=8, num_blocks=1)))
    with pytest.raises(ConfigError, match=r"^train\.pretrained must name the network with digest [0-9a-f]{8}, got ''"):
        opened(config, replace(setup, pretrained=""))
    tgsr.write_network(tmp_path / "other.safetensors", seed=1)
    with pytest.raises(ConfigError, match=r"^train\.pretrained must have the weights that .* digest [0-9a-f]{8}, got "):
        opened(config, replace(setup, pretrained=str(tmp_path / "other.safetensors")))
    # The same weights in another kind of file are the same.
    from pytrain.files.checkpoint import load_model, save_model

    save_model(tmp_path / "start.pth", tgsr.NET, load_model(model).net)
    opened(config, replace(setup, pretrained=str(tmp_path / "start.pth")))


def test_damaged_groups_are_named(tmp_path: Path):
    path = tmp_path / "groups.toml"

    def edited(old: str, new: str) -> Path:
        write_groups(path)
        text = path.read_text()
        assert old in text
        lines = [line for line in text.replace(old, new, 1).splitlines() if not line.startswith("digest = ")]
        path.write_text(
            "\n".join([*lines[:2], *lines[2:]]).replace('name = "realesrgan-x4"', f'digest = "{SPACE.digest}"')
        )
        return path

    mark = f"{pydegrade.sample(SPACE, 9, [100]).fingerprints()[0]:016x}"
    with pytest.raises(
        DataError, match=rf"group G1: task .*/s9/i100 must have fingerprint {'0' * 16}, this version gives"
    ):
        read_groups(edited(mark, "0" * 16), SPACE)
    with pytest.raises(DataError, match="group G1: addresses and fingerprints must be equally many, got 2 and 1"):
        read_groups(edited(f'"{mark}", ', ""), SPACE)
    with pytest.raises(DataError, match="improvement_db of group G1 must be a list of 2 finite numbers, got 1"):
        read_groups(edited("[0.0, 0.25]", "[0.0]"), SPACE)
    address = pydegrade.sample(SPACE, 9, [100]).addresses[0]
    with pytest.raises(DataError, match="group G1: "):
        read_groups(edited(address, address.replace("i100", "ix")), SPACE)
    write_groups(path)
    text = path.read_text()
    begin, end = text.index("addresses"), text.index("improvement_db")
    hollow = text[:begin] + "addresses = []\nfingerprints = []\n" + text[end:].replace("[0.0, 0.25]", "[]", 1)
    path.write_text(
        "\n".join(line for line in hollow.splitlines() if not line.startswith('digest = "' + "x" * 0) or len(line) > 40)
    )
    with pytest.raises(DataError, match="group G1 must hold at least one task, got none"):
        read_groups(path, SPACE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds_db": (0.4, 0.8)}, r"thresholds_db must be strictly falling, got \[0\.4, 0\.8\]"),
        ({"thresholds_db": ()}, "thresholds_db must be strictly falling"),
        ({"shares": (0.6, 0.6)}, "shares must be positive with a sum of at most 1"),
        ({"share": 1.0}, r"share must be < 1, got 1\.0"),
        ({"average": 200}, "average must be at most iterations, got 200"),
        ({"tasks": 1}, "tasks must be >= 2, got 1"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=r"^method\.grouping\." + message):
        GroupingOptions(**changes)  # type: ignore[arg-type]


# ---- Stages


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages have all run with one worker; tests copy it."""
    folder = tmp_path_factory.mktemp("tgsr")
    group(tgsr.write_project(folder))
    return folder


def group(
    path: Path, *overrides: str, names: tuple[str, ...] = stages.STAGES, workers: int = 1, redo: bool = False
) -> list[str]:
    lines: list[str] = []
    run_stages(open_grouping(configs.load(path, overrides), workers, redo), names, lines.append)
    return lines


def copied(grouped: Path, folder: Path) -> Path:
    shutil.copytree(grouped, folder, dirs_exist_ok=True)
    return folder / "tgsr.toml"


@pytest.mark.slow
def test_every_stage_leaves_its_file_and_is_not_done_again(grouped: Path, tmp_path: Path):
    path = copied(grouped, tmp_path)
    names = sorted(item.name for item in (tmp_path / "groups").iterdir() if not item.name.startswith("."))
    expected = ["groups.toml", "joint1.safetensors", "joint2.safetensors", "pis1.toml", "pis2.toml", "rest2.toml"]
    assert names == [*expected, "scores.toml", "tasks.npz", "unsatisfactory.toml"]
    before = {name: (tmp_path / "groups" / name).read_bytes() for name in names}
    assert group(path) == []
    assert {name: (tmp_path / "groups" / name).read_bytes() for name in names} == before

    # Every stage alone, from nothing, gives the same bytes.
    shutil.rmtree(tmp_path / "groups")
    for name in ("tasks", "score", "select", "joint", "improve", "joint", "improve", "group"):
        group(path, names=(name,))
    assert {name: (tmp_path / "groups" / name).read_bytes() for name in names} == before


def test_groups_follow_from_gains_and_improvements(grouped: Path):
    scored = read_record(grouped / "groups" / "scores.toml", "scores").values
    gain = np.array(scored["gain"])
    assert gain.shape == (10,)
    assert len(np.unique(gain)) == 10
    worst = read_groups(grouped / "groups" / "unsatisfactory.toml", SPACE, ("unsatisfactory",)).groups[0]
    assert worst.tasks.indices.tolist() == np.argsort(-gain)[:4].tolist()
    first = np.array(read_record(grouped / "groups" / "pis1.toml", "improvements").values["improvement_db"])
    groups = read_groups(grouped / "groups" / "groups.toml", SPACE).groups
    assert [len(found.tasks) for found in groups] == [1, 2]
    assert groups[0].tasks.indices[0] == worst.tasks.indices[np.argmax(first)]
    assert groups[0].values["improvement_db"][0] == first.max()
    assert groups[0].tasks.indices[0] not in groups[1].tasks.indices
    assert (np.diff(groups[1].values["improvement_db"]) <= 0).all()


def test_improvements_are_psnr_after_minus_before(grouped: Path):
    from pytrain.files.checkpoint import load_model

    plan = open_grouping(configs.load(grouped / "tgsr.toml"))
    members = read_groups(grouped / "groups" / "rest2.toml", SPACE, ("unsatisfactory",)).groups[0].tasks
    values = read_record(grouped / "groups" / "pis2.toml", "improvements").values
    nets = [load_model(grouped / name).net for name in ("start.safetensors", "groups/joint2.safetensors")]
    hr = torch.from_numpy(plan.validation.images).float() / 255
    for row in range(len(members)):
        pair = pydegrade.degrade_batch(hr, members.take([row] * 2).with_noise(plan.validation.numbers))
        with torch.no_grad():
            before, after = (pydegrade.psnr(net(pair.lr), pair.target, "y-unrounded-border4").value for net in nets)
        # PSNR from float32 sums there, float64 here.
        assert values["before_db"][row] == pytest.approx(before, abs=1e-4)
        assert values["improvement_db"][row] == pytest.approx(after - before, abs=2e-4)


def test_no_scored_task_is_one_that_training_draws(grouped: Path):
    config = configs.load(grouped / "tgsr.toml")
    scored = pydegrade.TaskBatch.load(grouped / "groups" / "tasks.npz")
    assert config.run.seed == config.method.grouping.seed == 0
    # Of whatever seed: those of runs lie below 2^62, those of scored tasks above.
    assert scored.seeds.min() >= 2**62
    fresh = pydegrade.sample(SPACE, config.run.seed, scored.indices)
    assert not set(fresh.fingerprints().tolist()) & set(scored.fingerprints().tolist())


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(grouped: Path, tmp_path: Path):
    path = copied(grouped, tmp_path)
    expected = (tmp_path / "groups" / "scores.toml").read_bytes()
    for workers in (2, 3):
        (tmp_path / "groups" / "scores.toml").unlink()
        group(path, names=("score",), workers=workers)
        assert (tmp_path / "groups" / "scores.toml").read_bytes() == expected


@pytest.mark.slow
def test_all_stages_run_in_one_command_under_torchrun(grouped: Path, tmp_path: Path):
    path = copied(grouped, tmp_path)
    expected = (tmp_path / "groups" / "scores.toml").read_bytes()
    shutil.rmtree(tmp_path / "groups")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "pytrain", "group", str(path)]
    done = subprocess.run(
        command,
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert (tmp_path / "groups" / "scores.toml").read_bytes() == expected
    # Two processes add gradients in another order, so improvements may differ in their last digits: sizes, not bytes.
    sizes = [
        [len(one.tasks) for one in read_groups(folder / "groups" / "groups.toml", SPACE, ("groups",)).groups]
        for folder in (grouped, tmp_path)
    ]
    assert sizes[0] == sizes[1]


KILLED_AT_THE_THIRD_TASK = """
import dataclasses, os, signal
from pytrain.commands.cli import main
from pytrain.grouping import stages
from pytrain.grouping.conflict import read_conflict

measure_rows, tasks = stages.measure_rows, iter(range(2))

def until_the_third(measurement, *arguments):
    def measure(*given):
        if next(tasks, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return measurement.measure(*given)

    return measure_rows(dataclasses.replace(measurement, measure=measure), *arguments)

stages.measure_rows = until_the_third
main()
"""


@pytest.mark.slow
def test_the_precision_of_joint_fine_tuning_is_decided_once(tmp_path: Path, monkeypatch):
    """Also when a kill comes before its first state: the clock must not have another say."""
    calls: list[str] = []

    def decide(*arguments: object) -> Precision:
        calls.append("decided")
        return Precision("bf16", True, "first") if len(calls) == 1 else Precision("fp32", False, "second")

    monkeypatch.setattr(trial, "choose_precision", decide)
    path = tgsr.write_project(tmp_path)
    text = path.read_text().replace('precision = "fp32"', 'precision = "auto"')
    path.write_text(text)
    select = TgsrMethod.select

    def killed(self, step, indices):
        raise KeyboardInterrupt

    monkeypatch.setattr(TgsrMethod, "select", killed)
    with pytest.raises(KeyboardInterrupt):
        run_stages(open_grouping(configs.load(path)), ("tasks", "score", "select", "joint"), lambda line: None)
    assert calls == ["decided"]
    monkeypatch.setattr(TgsrMethod, "select", select)
    run_stages(open_grouping(configs.load(path)), ("joint",), lambda line: None)
    assert calls == ["decided"]


@pytest.mark.slow
def test_a_killed_run_goes_on(grouped: Path, tmp_path: Path):
    path = copied(grouped, tmp_path)
    scores = tmp_path / "groups" / "scores.toml"
    expected = scores.read_bytes()
    scores.unlink()
    part = tmp_path / "groups" / "scores.parts" / "full" / "rank_0.jsonl"
    command = [sys.executable, "-c", KILLED_AT_THE_THIRD_TASK, "group", "score", str(path), "--workers", "1"]
    killed = subprocess.run(command, env=environment(OMP_NUM_THREADS="1"), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed
    done = part.read_bytes()
    assert done.count(b"\n") == 2
    assert not scores.exists()
    part.write_bytes(done + b'{"row": 9, "gain')
    group(path, names=("score",))
    assert scores.read_bytes() == expected


def test_unfinished_work_of_finished_stages_is_removed_and_that_without_an_identity_begun_anew(
    grouped: Path, tmp_path: Path
):
    path = copied(grouped, tmp_path)
    groups = tmp_path / "groups"
    expected = {item.name: item.read_bytes() for item in groups.glob("*.*") if item.is_file()}
    # Killed between the file of a stage and the removal of its parts; and before a folder had got its identity.
    (groups / "pis1.parts").mkdir()
    (groups / "pis1.parts" / "run.toml").write_text("left behind")
    (groups / "joint2.safetensors").unlink()
    (groups / "joint2.run" / "states").mkdir(parents=True)
    group(path)
    assert {item.name: item.read_bytes() for item in groups.glob("*.*") if item.is_file()} == expected
    assert [item.name for item in groups.iterdir() if item.is_dir()] == []


@pytest.mark.slow
def test_other_settings_are_refused_and_named(grouped: Path, tmp_path: Path):
    path = copied(grouped, tmp_path)

    def refused(message: str, *overrides: str, names: tuple[str, ...] = stages.STAGES) -> None:
        with pytest.raises((ConfigError, DataError), match=message):
            group(path, *overrides, names=names)

    refused("tasks.npz: must hold 11 tasks .* got 10 tasks", "method.grouping.tasks=11")
    refused("scores.toml: must be made from settings", "method.grouping.average=1")
    refused("scores.toml: must be made from validation", "method.grouping.validation_px=36")
    refused("unsatisfactory.toml: must be made from settings", "method.grouping.share=0.3", names=("select",))
    refused("joint1.safetensors: must be made from settings", "method.grouping.joint_steps=5")
    refused("rest2.toml: must be made from settings|groups.toml: must be made", "method.grouping.shares=[0.5, 0.25]")
    tgsr.write_network(tmp_path / "start.safetensors", seed=1)
    refused("scores.toml: must be made from network [0-9a-f]{8}, got network")
    shutil.copy(grouped / "start.safetensors", tmp_path / "start.safetensors")

    # Single stages whose inputs are not there, or came from elsewhere.
    (tmp_path / "groups" / "pis2.toml").unlink()
    refused(r"pis2\.toml: no such file", names=("group",))
    shutil.copy(tmp_path / "groups" / "pis1.toml", tmp_path / "groups" / "pis2.toml")
    refused(r"pis2\.toml: must be made from tasks", names=("group",))
    shutil.copy(grouped / "groups" / "pis2.toml", tmp_path / "groups" / "pis2.toml")
    (tmp_path / "groups" / "groups.toml").unlink()
    refused(
        r"group 1 \(the largest improvements, 0\.05 of .*; score more tasks",
        "method.grouping.shares=[0.05]",
        names=("group",),
    )
    thresholds = ("method.grouping.shares=[]", "method.grouping.thresholds_db=[9.0]", "method.grouping.regroup=false")
    refused(r"group 1 \(improvement above 9 dB\) is empty, .*; lower thresholds_db", *thresholds, names=("group",))

    # --redo makes them again.
    group(path, "method.grouping.shares=[0.5, 0.5]", "method.grouping.regroup=false", redo=True)
    found = read_groups(tmp_path / "groups" / "groups.toml", SPACE).groups
    assert [len(one.tasks) for one in found] == [2, 2]


def test_training_with_groups_resumes_bit_for_bit(grouped: Path, tmp_path: Path):
    path = copied(grouped, tmp_path)

    def trained(name: str, stop_at: int) -> dict[str, torch.Tensor]:
        from pytrain.nets.weights import read_weights

        overrides = (f"run.name={name}", f"run.out={tmp_path / name}")
        if stop_at:
            fit(configs.load(path, (*overrides, f"run.steps={stop_at}")))
        fit(configs.load(path, overrides), resume="auto" if stop_at else None)
        return read_weights(tmp_path / name / "models" / "last.safetensors").state

    whole, halves = trained("whole", 0), trained("halves", 3)
    assert all(torch.equal(whole[key], halves[key]) for key in whole)
    start = configs.load(path).train.pretrained
    assert network_digest(tmp_path / "whole/models/last.safetensors", tgsr.NET) != network_digest(start, tgsr.NET)


# ---- Report and demonstration


@pytest.mark.slow
def test_the_report_is_one_page_with_everything_in_it(grouped: Path, tmp_path: Path):
    from pytrain.grouping.report import differing_parameters, write_report

    plan = open_grouping(configs.load(copied(grouped, tmp_path)))
    page, *pictures = write_report(plan)
    names = ["scores.png", "improvements.png", "parameters.png", "G1.png", "G2.png"]
    assert [path.name for path in pictures] == names
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 5
    assert "http" not in text
    first = read_groups(tmp_path / "groups" / "groups.toml", SPACE).groups[0].tasks.addresses[0]
    assert first in text

    # Of two groups, one cut at a parameter: that parameter comes first.
    tasks = pydegrade.sample(SPACE, 0, range(400))
    quality = tasks.column("jpeg2.quality")
    cut = [Group("G1", "", tasks.take(quality < 45), {}), Group("G2", "", tasks.take(slice(0, 100)), {})]
    assert differing_parameters(tasks, tuple(cut))[0] == "jpeg2.quality"


@pytest.mark.slow
def test_the_demonstration_runs(tmp_path: Path):
    from click.testing import CliRunner

    from benchmarks.demo_tgsr import ARMS, CONFLICT
    from benchmarks.demo_tgsr import main as demonstrate
    from benchmarks.result_files import read_result

    tgsr.write_project(tmp_path)
    small = {"tasks": 8, "iterations": 2, "average": 1, "crop_px": 16, "batch": 2, "validation_crops": 1,
             "validation_px": 32, "joint_steps": 2, "shares": "[0.4, 0.4]", "indicator": "full"}  # fmt: skip
    arguments = ["--out", tmp_path / "out", "--hr", tmp_path / "hr", "--validation", tmp_path / "hr"]
    arguments += ["--pretrained", tmp_path / "start.safetensors", "--steps", 2, "--seeds", 1, "--workers", 1]
    arguments += ["--crops", 2, "--conflict-tasks", 3, "--conflict-steps", 2]
    for name, value in small.items():
        arguments += ["--set", f"method.grouping.{name}={value}"]
    for setting in (
        "net.num_features=4",
        "net.num_blocks=1",
        "data.crop_px=16",
        "data.batch=2",
        "train.precision=fp32",
        "train.ema_decay=0",
        "optimizer.learning_rate=1e-2",
    ):
        arguments += ["--set", setting]
    run = CliRunner().invoke(demonstrate, [str(argument) for argument in arguments], catch_exceptions=False)
    assert run.exit_code == 0
    lines = run.output.splitlines()
    assert any(line.startswith("|  | G1 (1) | G2 (1) | ") for line in lines)
    assert any(line.startswith("| tgsr | ") for line in lines)
    again = CliRunner().invoke(demonstrate, [str(argument) for argument in arguments], catch_exceptions=False)
    assert again.output.splitlines()[-5:-1] == lines[-5:-1]

    # The controls hold the tasks they say, and every arm has numbers of its own.
    result = read_result("tgsr", tmp_path / "out")
    groups = {
        name: read_groups(tmp_path / "out" / "groups" / f"{name}.toml", SPACE).groups
        for name in ("groups", "shuffled", "one", "random")
    }
    tasks = {name: [address for one in found for address in one.tasks.addresses] for name, found in groups.items()}
    assert sorted(tasks["shuffled"]) == sorted(tasks["one"]) == sorted(tasks["groups"])
    assert {name: [len(one.tasks) for one in found] for name, found in groups.items()} == {
        "groups": [1, 1], "shuffled": [1, 1], "random": [1, 1], "one": [2]
    }  # fmt: skip
    # Two groups of one task may be shuffled into themselves; two steps may draw the same tasks in two arms.
    assert len({result.mean("all unsatisfactory", arm) for arm in ARMS}) >= len(ARMS) - 2
    study = read_result("conflict", tmp_path / "out")
    assert len(study.items[CONFLICT]) == 3
    assert study.mean(CONFLICT, "alone") != study.mean(CONFLICT, "start")


# ---- The command


def test_the_command(grouped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = copied(grouped, tmp_path)

    def ran(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["group", *arguments])
        return int(left.value.code or 0), *capsys.readouterr()

    assert ran(str(path))[0] == 0
    assert ran("group", str(path), "--set", "method.grouping.share=0.4")[0] == 0
    code, _, errors = ran(str(path), "--set", "method.grouping.share=2")
    assert code == 2
    assert errors.count("\n") == 1
    assert "method.grouping.share must be < 1, got 2" in errors
    code, _, errors = ran("score", str(path), "--indicator", "gradeint")
    assert code == 2
    assert "did you mean 'gradient'" in errors
    code, _, errors = ran(str(path), "--set", "train.pretrained=")
    assert code == 2
    assert "train.pretrained must name the network whose tasks are scored" in errors
    for key, value in (("validation_px", "6"), ("crop_px", "18"), ("validation_px", "8")):
        code, _, errors = ran(str(path), "--set", f"method.grouping.{key}={value}")
        assert code == 2
        assert f"method.grouping.{key} must be" in errors
    code, _, errors = ran(str(path), "--set", "method.type=psnr")
    assert code == 2
    tgsr.write_network(tmp_path / "wide.safetensors", SRResNetConfig(num_features=8, num_blocks=1))
    code, _, errors = ran(str(path), "--set", f"train.pretrained={tmp_path / 'wide.safetensors'}")
    assert code == 2
    assert "does not fit srresnet x4" in errors
    assert json.dumps(errors)


# ---- The study of conflict


@pytest.mark.slow
def test_the_study_fine_tunes_on_each_task_alone_and_goes_on(grouped: Path, tmp_path: Path, capsys):
    path = copied(grouped, tmp_path)

    def ran(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["study", "conflict", str(path), "--tasks", "3", "--iterations", "3", *arguments])
        return int(left.value.code or 0), *capsys.readouterr()

    code, out, _ = ran()
    assert code == 0
    assert "3 tasks, PSNR distance" in out
    folder = tmp_path / "groups" / "conflict"
    assert (folder / "conflict.png").stat().st_size > 5_000
    found = read_conflict(folder / "conflict.toml")

    # The same steps, crops and average as the score of `pytrain group score`: its gains are the distances.
    scored = read_record(tmp_path / "groups" / "scores.toml", "scores").values
    np.testing.assert_array_equal(found.distance_db, found.after_db - found.before_db)
    np.testing.assert_allclose(found.distance_db, scored["gain"][:3], rtol=0, atol=1e-12)  # after - before in float64
    for threshold in (found.distance_db.min() - 1, float(np.median(found.distance_db)), found.distance_db.max()):
        assert found.share_above(threshold).mean == np.mean(found.distance_db > threshold)

    # Given again it measures nothing; a killed one keeps what was finished; other settings are refused by name.
    written = (folder / "conflict.toml").read_bytes()
    assert "->" not in ran()[1]
    assert (folder / "conflict.toml").read_bytes() == written
    code, _, errors = ran("--set", "method.grouping.learning_rate=1e-5")
    assert code == 2
    assert errors.count("\n") == 1
    assert "must be made from settings" in errors
    code, _, errors = ran("--iterations", "10000000")
    assert code == 2
    assert "training crops of all steps must fit into" in errors


@pytest.mark.slow
def test_studies_of_finished_stages(grouped: Path, tmp_path: Path, capsys):
    path = grouped / "tgsr.toml"

    def ran(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["study", arguments[0], str(path), *arguments[1:]])
        return int(left.value.code or 0), *capsys.readouterr()

    gain = np.array(read_record(grouped / "groups" / "scores.toml", "scores").values["gain"])
    code, out, _ = ran("scores", "--first", "4", "--share", "0.2")
    assert code == 0
    assert f"others       6 tasks, gain {np.quantile(gain[4:], 0.1):.3f}" in out
    # By hand: the larger of the distances at every value.
    at = [abs(np.mean(gain[:4] <= value) - np.mean(gain[4:] <= value)) for value in gain]
    assert f"first and others {max(at):.3f}; by chance up to" in out
    assert f"share 20%: gain of at least {np.sort(gain)[-2]:.3f}, of the first tasks {gain[:4].max():.3f} dB" in out
    code, _, errors = ran("scores", "--first", "10")
    assert code == 2
    assert errors.count("\n") == 1
    assert "--first must be in [1, 9], got 10" in errors

    code, out, _ = ran("rounds")
    assert code == 0
    second = np.array(read_record(grouped / "groups" / "pis2.toml", "improvements").values["improvement_db"])
    assert f"round 2: {len(second)} tasks improve by {second.mean():+.3f} dB on average; in round 1 " in out
    assert "G2: " in out
    code, _, errors = ran("rounds", "--set", "method.grouping.regroup=false")
    assert code == 2
    assert "method.grouping.regroup must be true" in errors

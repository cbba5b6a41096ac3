"""degrade diff: what two spaces say and draw differently, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

import pydegrade
from pydegrade.commands.actions.diff import differences, label_shares, marginals, table_of, text_of

from .programs import Result, degrade_in

ONE = """
[space]
name = "one"
scale = 2
[[slot]]
name = "noise1"
op = "noise"
kind = { choice = ["gaussian", "poisson"], weights = [0.75, 0.25] }
sigma_8bit = { uniform = [1.0, 9.0] }
poisson_gain = { uniform = [0.1, 2.0] }
[[slot]]
name = "down"
op = "resize"
mode = "matlab_bicubic"
rule = "final"
"""
OTHER = ONE.replace('"one"', '"other"').replace("[1.0, 9.0]", "[1.0, 5.0]")


@pytest.fixture
def degrade(capsys) -> Callable[..., Result]:
    return partial(degrade_in, capsys)


@pytest.mark.parametrize("name", ["realesrgan-x4", "dasr-mixed", "bsrgan-x4"])
def test_a_space_is_equal_to_itself_under_any_name(name):
    """Draws belong to names of columns: a copy under another name has the same values, row by row."""
    space = pydegrade.Space.load(name)
    copy = pydegrade.Space.loads(
        space.to_toml().replace(f'"{name}"', '"copy"', 1), {p.name: p.to_toml() for p in space.components}
    )
    assert copy != space
    assert differences(space, copy) == []
    assert all(
        found.equal for found in marginals(pydegrade.sample(space, 3, range(64)), pydegrade.sample(copy, 3, range(64)))
    )


def test_only_what_differs_is_named():
    a, b = pydegrade.Space.loads(ONE), pydegrade.Space.loads(OTHER)
    (found,) = differences(a, b)
    assert (found.name, found.a, found.b) == (
        "noise1.sigma_8bit",
        "{ uniform = [1.0, 9.0] }",
        "{ uniform = [1.0, 5.0] }",
    )
    drawn = marginals(pydegrade.sample(a, 0, range(200)), pydegrade.sample(b, 0, range(200)))
    assert [one.name for one in drawn if not one.equal] == ["noise1.sigma_8bit"]


def test_marginals_count_tasks_with_an_effect_alone():
    """Sigma where the noise is Gaussian, shares of kinds where it acts."""
    tasks = pydegrade.sample(pydegrade.Space.loads(ONE), 0, range(4000))
    found = {one.name: one for one in marginals(tasks, tasks)}
    kind, sigma = found["noise1.kind"], found["noise1.sigma_8bit"]
    shares = label_shares(kind.column, kind.a, None)
    assert shares["gaussian"][0] == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 4000) ** 0.5)  # four standard errors
    assert len(sigma.a.values) == round(shares["gaussian"][0] * 4000)
    assert sigma.a.values.min() >= 1
    assert "sigma_8bit" in "\n".join(table_of([*found.values()]))


def test_slots_gates_orders_and_neutral_values_are_named():
    a = pydegrade.Space.loads(ONE)
    b = pydegrade.Space.loads(
        ONE.replace("poisson_gain = { uniform = [0.1, 2.0] }", "").replace(
            'kind = { choice = ["gaussian", "poisson"], weights = [0.75, 0.25] }', 'kind = "gaussian"'
        )
        + '[[slot]]\nname = "jpeg1"\nop = "jpeg"\nquality = 50\n'
        + '[[gate]]\nname = "half"\nslots = ["jpeg1"]\non = { bernoulli = 0.5 }\n'
    )
    said = {one.name: (one.a, one.b) for one in differences(a, b)}
    assert said["noise1.poisson_gain"][1].endswith("(not drawn)")
    assert said["jpeg1"] == ("", "jpeg")
    assert said["gate half.slots"] == ("", '["jpeg1"]')
    assert all(len(line) <= 80 for line in text_of(differences(a, b)))


def test_a_card_and_a_folder_give_their_spaces(degrade, tmp_path):
    (tmp_path / "ours.toml").write_text(ONE)
    tasks = pydegrade.sample(tmp_path / "ours.toml", 0, range(2))
    (tmp_path / "run").mkdir()
    tasks.save(tmp_path / "run" / "tasks.npz")
    code, out, err = degrade("diff", tmp_path / "ours.toml", tmp_path / "run", "--tasks", 20)
    assert code == 0, err
    assert "both are the same space" in out


@pytest.mark.slow
def test_the_picture_is_as_wide_as_a_page(degrade, tmp_path):
    picture = tmp_path / "diff.png"
    code, out, err = degrade("diff", "realesrgan-x4", "osediff", "--tasks", 50, "-o", picture)
    assert code == 0, err
    assert Image.open(picture).width == 856
    assert all(len(line) <= 80 for line in out.split("\n") if not line.startswith(str(Path(picture).parent)))
    again = degrade("diff", "realesrgan-x4", "osediff", "-o", picture)
    assert again[0] == 2
    assert "exists already" in again[2]


def test_bad_input_is_one_line(degrade, tmp_path):
    code, _, err = degrade("diff", "realesrgan-x4", tmp_path / "none.toml")
    assert code == 2
    assert len(err.splitlines()) == 1

"""Ops that a user registers, in plain torch: in spaces, chains, addresses and commands; and those that are wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pydegrade
from pydegrade.errors import OpError
from pydegrade.ops import Column, Op, find, generator, register, registry

from .conftest import ROOT
from .golden_pixels import picture


def darkened(image, columns, words):
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    falloff = {"square": x * x + y * y, "line": x.abs() + y.abs()}[columns["shape"]]
    return image * (1 - columns["strength"] * falloff / 2).to(image)


def grained(image, columns, words):
    noise = torch.randn(image.shape, generator=generator(words)).to(image)
    return image + columns["sigma"] * noise


def halved(columns, height, width, final_height, final_width):
    half = columns["on"] == 1
    return np.where(half, (height + 1) // 2, height), np.where(half, (width + 1) // 2, width)


OPS = (
    Op(
        "vignette",
        (
            Column("strength", "How much the corners lose.", 0.0, 1.0),
            Column("shape", "Of the falloff.", choices=("square", "line"), neutral="square"),
        ),
        active=lambda columns: {"shape": columns["strength"] > 0},
        neutral=lambda columns: columns["strength"] == 0,
        apply=darkened,
    ),
    Op("grain", (Column("sigma", "Standard deviation.", 0.0, 0.5),), apply=grained),
    Op(
        "halve",
        (Column("on", "Whether it is halved.", 0, 1, integer=True),),
        out_size=halved,
        apply=lambda image, columns, words: image[:, ::2, ::2],
    ),
)

SPACE = """
[space]
name = "own"
scale = 4
source = "test"
target = "usm"

[[slot]]
name = "usm"
op = "sharpen"
weight = { choice = [0.0, 0.5] }

[[slot]]
name = "vignette1"
op = "vignette"
strength = { uniform = [0.2, 0.9] }
shape = { choice = ["square", "line"] }

[[slot]]
name = "blur1"
op = "blur"
shape = { choice = ["delta", "iso"] }
size_px = 7
sigma_x_px = { uniform = [0.5, 2.0] }

[[slot]]
name = "halve1"
op = "halve"
on = { bernoulli = 0.5 }

[[slot]]
name = "grain1"
op = "grain"
sigma = { mixture = [0.0, { uniform = [0.01, 0.1] }], weights = [0.3, 0.7] }

[[slot]]
name = "down"
op = "resize"
mode = "torch_area"
rule = "final"

[[slot]]
name = "grain2"
op = "grain"
sigma = 0.02

[order]
choice = [["blur1", "halve1"], ["halve1", "blur1"]]
"""


@pytest.fixture(autouse=True)
def own_ops(monkeypatch):
    monkeypatch.setattr(registry, "_ops", dict(registry._ops))
    for op in OPS:
        register(op)


def images(count: int) -> list[torch.Tensor]:
    return [picture(4 * (9 + 5 * number % 13), 4 * (11 + 3 * number % 7), number) for number in range(count)]


def test_chains_of_own_and_compiled_ops_replay_from_their_addresses_in_any_batch():
    space = pydegrade.Space.loads(SPACE)
    tasks = pydegrade.sample(space, 3, range(12))
    assert len({tuple(row) for row in tasks.program.tolist()}) == 2
    together = pydegrade.degrade_pairs(images(12), tasks)
    trails = pydegrade.trace(images(12), tasks)
    for row, hr in enumerate(images(12)):
        (alone,) = pydegrade.degrade_pairs([hr], pydegrade.sample(space, 3, [row]))
        assert torch.equal(alone.lr, together[row].lr)
        assert torch.equal(alone.target, together[row].target)
        assert torch.equal(trails[row][-1].image, alone.lr)
        assert alone.lr.shape[1:] == (hr.shape[1] // 4, hr.shape[2] // 4)
        # Each stage is what the op itself makes of the stage before it.
        before = dict(zip([stage.slot for stage in trails[row]][1:], trails[row]))
        drawn = {
            "strength": float(tasks.column("vignette1.strength")[row]),
            "shape": tasks.labels("vignette1.shape")[row],
        }
        vignette = next(stage for stage in trails[row] if stage.slot == "vignette1")
        assert torch.equal(vignette.image, darkened(before["vignette1"].image, drawn, None))
        sharpened = [stage.image for stage in trails[row] if stage.slot == "usm"]
        assert torch.equal(alone.target, sharpened[0] if sharpened else hr)
    # The two slots of one op draw different noise, and a neutral one does nothing.
    ran = [[stage.slot for stage in trail] for trail in trails]
    assert 0 < sum("grain1" in slots for slots in ran) < 12
    assert all("grain2" in slots for slots in ran)
    assert "strength" in tasks.describe(0)
    assert torch.equal(
        pydegrade.degrade(torch.stack([picture(32, 32)] * 2), tasks.take([0, 1]))[:1],
        pydegrade.degrade(picture(32, 32)[None], tasks.take([0])),
    )


def test_a_raised_version_changes_the_digest(monkeypatch):
    before = pydegrade.Space.loads(SPACE).digest
    monkeypatch.setitem(registry._ops, "grain", replace(find("grain"), version=2))
    assert pydegrade.Space.loads(SPACE).digest != before


def test_tasks_of_own_ops_are_not_prepared_for_graphs():
    from pydegrade.engine import prepare

    hr, tasks = (
        torch.stack([picture(32, 32, number) for number in range(2)]),
        pydegrade.sample(pydegrade.Space.loads(SPACE), 0, [0, 1]),
    )
    prepared = prepare(tasks, 32, 32, "cpu")
    pair, expected = prepared.degrade_batch(hr), pydegrade.degrade_batch(hr, tasks)
    assert torch.equal(pair.lr, expected.lr)
    assert torch.equal(pair.target, expected.target)
    with pytest.raises(OpError, match="run: expected ops of the compiled module only, got 'vignette'"):
        prepared.empty()


ONE = Column("a", "One.", 0.0, 1.0)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Op("blur", (ONE,), apply=grained), "op 'blur': the name is taken"),
        (Op("Two words", (ONE,), apply=grained), "name must be a word in lower case, got 'Two words'"),
        (Op("x", (), apply=grained), "expected at least one column, got none"),
        (Op("x", (ONE, ONE), apply=grained), "column 'a' is declared twice"),
        (
            Op("x", (ONE,)),
            "expected apply, a function; without it are the ops of csrc/ops/list.h, blur, resize, noise, jpeg, sharpen",
        ),
        (Op("x", (ONE,), apply=grained, version=0), "version must be a whole number >= 1, got 0"),
        (Op("x", (ONE,), apply=3), "apply must be a function, got 3"),
        (Op("x", ("a",), apply=grained), "columns must be Column, got str"),
        (
            Op("x", (Column("op", "", 0, 1),), apply=grained),
            "a word other than name, op, before, after, without, files, got 'op'",
        ),
        (Op("x", (Column("a", "", 1, 0),), apply=grained), "low must be below high, got 1 and 0"),
        (Op("x", (Column("a", "", 0, 1, neutral=2.0),), apply=grained), "neutral must lie in [0, 1], got 2.0"),
        (Op("x", (Column("a", "", 0, float("nan")),), apply=grained), "must be finite numbers"),
        (Op("x", (Column("a", "", 0, 3, neutral=0.5, integer=True),), apply=grained), "neutral must be a whole number"),
        (Op("x", (Column("a", "", choices=("u", "u"), neutral="u"),), apply=grained), "one of its different choices"),
        (Op("x", (Column("a", "", choices=("u", "v"), neutral="w"),), apply=grained), "different choices, got 'w'"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused_with_one_line(op, message):
    known = set(registry._ops)
    with pytest.raises(OpError, match=re.escape(message)) as caught:
        register(op)
    assert "\n" not in str(caught.value)
    assert set(registry._ops) == known


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda image, columns, words: image[:, 1:],
            "apply must return float32 (3, 16, 16), got torch.float32 (3, 15, 16)",
        ),
        (lambda image, columns, words: image.double(), "apply must return float32 (3, 16, 16), got torch.float64"),
        (lambda image, columns, words: image.numpy(), "got ndarray"),
        (lambda image, columns, words: image / 0, "apply must return finite values, got NaN or infinity"),
        (lambda image, columns, words: image.to("meta"), "apply must return a tensor on cpu, got meta"),
    ],
)
def test_an_answer_that_was_not_declared_is_refused_with_the_address(answer, message):
    register(Op("odd", (Column("a", "One.", 0.0, 1.0),), apply=answer))
    space = pydegrade.Space.loads(
        '[space]\nname = "odd"\nscale = 1\nsource = "test"\n[[slot]]\nname = "odd1"\nop = "odd"\na = 0.5\n'
    )
    with pytest.raises(OpError, match=re.escape(message)) as caught:
        pydegrade.degrade(picture(16, 16)[None], pydegrade.sample(space, 0, [7]))
    assert "slot odd1 (odd@" in str(caught.value)
    assert "/s0/i7)" in str(caught.value)


def test_sides_that_are_none_are_refused():
    register(Op("bad", (ONE,), out_size=lambda columns, h, w, fh, fw: (h / 2, w / 2), apply=grained))
    space = pydegrade.Space.loads(
        '[space]\nname = "bad"\nscale = 1\nsource = "test"\n[[slot]]\nname = "bad1"\nop = "bad"\na = 0.5\n'
    )
    with pytest.raises(OpError, match="op 'bad': out_size must give whole sides >= 1, 1 each, got float64"):
        pydegrade.degrade(picture(16, 16)[None], pydegrade.sample(space, 0, [7]))


# ---- Files and commands


def example() -> tuple[str, str]:
    """The Python file and the space that docs/adding.md shows."""
    section = (ROOT / "docs/adding.md").read_text().partition("## An op in Python")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.S)
    (space,) = re.findall(r"```toml\n(.*?)```", section, re.S)
    return code, space


def command(*arguments: str | Path, plugin: Path | None, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if plugin is not None:
        environment["PYDEGRADE_PLUGINS"] = str(plugin)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pydegrade", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_documented_example_runs_on_the_command_line(tmp_path):
    code, space = example()
    plugin, toml = tmp_path / "my_ops.py", tmp_path / "dusty.toml"
    plugin.write_text(code)
    toml.write_text(space)
    run = command("sample", "--space", toml, "--tasks", "6", "--out", "out", plugin=plugin, folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert len(list((tmp_path / "out/lr").rglob("*.png"))) == 6
    run = command("preview", "--space", toml, "--n", "2", "-o", "sheet.png", plugin=plugin, folder=tmp_path)
    assert run.returncode == 0, run.stderr
    run = command("show", "out/tasks.npz", plugin=plugin, folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "dust" in run.stdout
    # Without the plugin the same files are refused, with the reason.
    for arguments in (("show", "out/tasks.npz"), ("preview", "--space", toml, "-o", "x.png")):
        run = command(*arguments, plugin=None, folder=tmp_path)
        assert run.returncode == 2
        assert "unknown op 'dust'" in run.stderr
        assert len(run.stderr.splitlines()) == 1


@pytest.mark.slow
def test_plugins_that_cannot_be_loaded_are_one_line(tmp_path):
    code, space = example()
    (tmp_path / "dusty.toml").write_text(space)
    bad = tmp_path / "bad.py"
    for text, message in (
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        (code.replace('"dust"', '"blur"'), "the name is taken"),
    ):
        bad.write_text(text)
        run = command("preview", "--space", "dusty.toml", "-o", "x.png", plugin=bad, folder=tmp_path)
        assert run.returncode == 2
        assert message in run.stderr
        assert "bad.py" in run.stderr
        assert len(run.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("first", ["import my_ops", "pydegrade.ops.registry.load_plugins()", "pass"])
def test_a_plugin_that_a_script_imports_too_is_loaded_once(tmp_path, first):
    code, space = example()
    (tmp_path / "my_ops.py").write_text(code)
    (tmp_path / "dusty.toml").write_text(space)
    (tmp_path / "run.py").write_text(
        f"import pydegrade\n{first}\npydegrade.ops.registry.load_plugins()\nimport my_ops\n"
        "print(pydegrade.Space.load('dusty.toml').slots[0].op)\n"
    )
    (tmp_path / "whole.py").write_text(f"{code}\nimport pydegrade\nprint(pydegrade.ops.registry.names()[-1])\n")
    for script, plugin in (("run.py", "my_ops.py"), ("whole.py", "./whole.py")):
        run = subprocess.run(
            [sys.executable, "-W", "ignore", script],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYDEGRADE_PLUGINS": plugin},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stdout.strip() == "dust", run.stderr


def test_what_is_no_op_is_refused():
    with pytest.raises(OpError, match="register: expected an Op, got str"):
        register("dust")  # type: ignore[arg-type]


def test_an_op_that_writes_to_its_image_spoils_no_other(monkeypatch):
    def darker(image, columns, words):
        return image.mul_(0.5)

    register(Op("darker", (ONE,), apply=darker))
    space = pydegrade.Space.loads(
        '[space]\nname = "x"\nscale = 4\nsource = "a test"\n'
        f'[[slot]]\nname = "dark1"\nop = "darker"\n{ONE.name} = 1\n'
        f'[[slot]]\nname = "dark2"\nop = "darker"\n{ONE.name} = 1\n'
        '[[slot]]\nname = "down"\nop = "resize"\nmode = "torch_area"\nrule = "final"\n'
    )
    hr = torch.stack([picture(16, 16, number) for number in range(2)])
    given = hr.clone()
    tasks = pydegrade.sample(space, 0, range(2))
    for row, stages in enumerate(pydegrade.trace(hr, tasks)):
        assert torch.equal(stages[0].image, given[row])
        assert torch.equal(stages[1].image, given[row] * 0.5)
        assert torch.equal(stages[2].image, given[row] * 0.25)
    pydegrade.degrade(hr, tasks)
    assert torch.equal(hr, given)


@pytest.mark.slow
def test_entry_points_are_loaded_when_a_name_is_unknown(tmp_path):
    code, space = example()
    site = tmp_path / "site"
    (site / "dusty-1.0.dist-info").mkdir(parents=True)
    (site / "dusty_ops.py").write_text(code)
    (site / "dusty-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: dusty\nVersion: 1.0\n")
    (site / "dusty-1.0.dist-info/entry_points.txt").write_text("[pydegrade.ops]\ndust = dusty_ops\n")
    (tmp_path / "dusty.toml").write_text(space)
    script = "import pydegrade; print(pydegrade.Space.load('dusty.toml').slots[0].op)"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "dust", run.stderr


def test_a_cell_of_a_notebook_may_run_again():
    first = register(Op("cell", (ONE,), apply=grained))
    with pytest.raises(OpError, match=r"the name is taken; register\(\.\.\., replace=True\) takes its place"):
        register(Op("cell", (ONE,), apply=darkened))
    second = register(Op("cell", (ONE,), apply=darkened), replace=True)
    assert find("cell") is second is not first
    with pytest.raises(OpError, match=r"op 'blur': the name is taken$"):
        register(Op("blur", (ONE,), apply=grained), replace=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neutral": lambda columns: columns["b"] == 0}, "neutral fails on two rows of neutral columns: KeyError: 'b'"),
        ({"neutral": lambda columns: True}, r"neutral must give bool \[N\]"),
        (
            {"active": lambda columns: {"b": columns["a"] > 0}},
            r"active must give bool \[N\] by names of its columns, a",
        ),
        ({"active": lambda columns: {"a": 1}}, r"active must give bool \[N\]"),
        ({"out_size": lambda columns, height, width: (height, width)}, "out_size fails on two rows"),
        ({"out_size": lambda *given: given[1]}, r"out_size must give \(height, width\), \[N\] each"),
        ({"nothing_at_equal_size": lambda columns: 1}, r"nothing_at_equal_size must give bool \[N\]"),
    ],
)
def test_functions_of_a_declaration_that_answer_wrongly_are_refused_when_it_is_registered(changes, message):
    with pytest.raises(OpError, match=message):
        register(Op("odd", (ONE,), apply=grained, **changes))


def test_what_fails_inside_an_op_names_op_and_address():
    def broken(image, columns, words):
        raise ZeroDivisionError("by\nnothing")

    register(Op("broken", (ONE,), apply=broken))
    space = pydegrade.Space.loads(
        '[space]\nname = "broken"\nscale = 1\nsource = "test"\n[[slot]]\nname = "b1"\nop = "broken"\na = 0.5\n'
    )
    with pytest.raises(
        OpError, match=r"^slot \w+ \(broken@.*/s0/i7\): op 'broken': apply failed: ZeroDivisionError: by nothing$"
    ):
        pydegrade.degrade(picture(16, 16)[None], pydegrade.sample(space, 0, [7]))


@pytest.mark.slow
def test_check_finds_an_op_that_draws_from_the_generator_of_all(tmp_path):
    """What it gives depends on whatever ran before."""
    plugin = "\n".join([
        "import torch",
        "from pydegrade.ops import Column, Op, generator, register",
        "def own(image, columns, words):",
        "    return image + columns['sigma'] * torch.randn(image.shape{})",
        "register(Op('grainy', (Column('sigma', 'x', 0.0, 0.5),), apply=own))",
    ])  # fmt: skip
    space = (
        '[space]\nname = "grainy"\nscale = 2\nsource = "here"\nhr_px = 32\n[[slot]]\nname = "g"\nop = "grainy"\n'
        'sigma = 0.1\n[[slot]]\nname = "d"\nop = "resize"\nmode = "matlab_bicubic"\nrule = "final"\n'
        '[[slot]]\nname = "j"\nop = "jpeg"\nquality = 50\n'
    )
    (tmp_path / "grainy.toml").write_text(space)
    for drawn, code in (("", 2), (", generator=generator(words)", 0)):
        (tmp_path / "own.py").write_text(plugin.format(drawn))
        done = subprocess.run(
            [sys.executable, "-m", "pydegrade", "check", "grainy.toml", "--tasks", "6", "--images", "3"],
            cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYDEGRADE_PLUGINS": "own.py", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert ("must give the same pixels whenever it runs" in done.stderr) == (code == 2)
        assert code == 0 or re.search(r"^degrade: grainy@.*; among g an op draws", done.stderr, re.M), done.stderr

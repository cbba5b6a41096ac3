"""The steps of docs/adding.md for an op in C++, taken in a copy of the repository: it builds, runs on the CPU, as a CUDA
kernel under the emulator, in a chain and in a space; and they are all the places there are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import emulated

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "tests/templates/op"
LAST_ROW = "X(rain, Rain, 5, without_adjoint, kInPlace | kKeyed)\n"
# File, what stands there, what is put behind it: the lines of docs/adding.md.
STEPS = [
    ("csrc/ops/list.h", '#include "ops/sharpen/legal.h"\n', '#include "ops/vignette/legal.h"\n'),
    ("csrc/ops/list.h", LAST_ROW, "X(vignette, Vignette, 6, without_adjoint, kInPlace)\n"),
    ("pydegrade/ops/__init__.py", "from . import sharpen as _sharpen\n", "from . import vignette as _vignette\n"),
    ("pydegrade/ops/__init__.py", "from .sharpen import sharpen\n", "from .vignette import vignette\n"),
    ("pydegrade/ops/__init__.py", "_rain.OP", "_vignette.OP"),
    ("pydegrade/ops/__init__.py", '    "sharpen",\n', '    "vignette",\n'),
]
MOST_PLACES = 8

USE = """
from itertools import count
import numpy as np, torch, pydegrade
from pydegrade import engine, ops
from pydegrade.native import devices
from pydegrade.native.packed import dense_layout
from pydegrade.plan import make_plan
from tests import emulated

seeds = count(0)
backend = emulated.load(emulated.build(("-O0",)), lambda: next(seeds))
images = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))

dark = ops.vignette(images, [0.0, 0.5, 1.0])
y, x = ((2 * torch.arange(side) + 1 - side) / side for side in (32, 48))
light = 1 - (y[:, None] ** 2 + x**2) / 2 * torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1)
assert torch.allclose(dark, images * light, atol=1e-6)
out = torch.full_like(images, float("nan"))
fields = {"rows": dense_layout(images).fields(), "strength": np.float32([0, 0.5, 1])}
devices.run(devices.record("vignette", torch.device("cpu"), **fields), images, out, backend=backend)
assert torch.equal(out, dark)

try:
    devices.record("vignette", torch.device("cpu"), **{**fields, "strength": np.zeros(3)})
except TypeError as error:
    assert str(error) == "vignette: strength must be float32, got float64"

tasks = pydegrade.sample("dark.toml", 1, range(3))
rows = dense_layout(images)
plan = make_plan(tasks, rows)
here, there = engine._run(plan, images.reshape(-1), False), engine._run(plan, images.reshape(-1), False, backend)
assert torch.equal(here[0], there[0])
assert torch.equal(here[0].view(3, 3, 8, 12), pydegrade.degrade(images, tasks))
assert tasks.columns["dark.strength"].min() > 0.2
print("works")
"""

SPACE = """
[space]
name = "dark"
scale = 4
source = "a test"

[[slot]]
name = "dark"
op = "vignette"
strength = { uniform = [0.3, 0.9] }

[[slot]]
name = "down"
op = "resize"
mode = "matlab_bicubic"
rule = "final"
"""


def copy_with_op(folder: Path) -> None:
    """The repository's files, the template's, and the steps."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True)
    for name, old, new in STEPS:
        text = (folder / name).read_text()
        assert text.count(old) == 1, f"{name} has no {old!r}: say so in docs/adding.md too"
        if old.startswith("X("):  # the rows of a macro
            text = text.replace(old, f"{old.rstrip()} \\\n  {new}")
        elif old.endswith("\n"):
            text = text.replace(old, old + new)
        else:
            text = text.replace(old, f"{old}, {new}")
        (folder / name).write_text(text)


def test_the_document_has_every_step():
    text = (ROOT / "docs/adding.md").read_text()
    section = text[text.index("## An op in C++") :]
    section = section[: section.index("\n## ")]
    for name, _, new in STEPS:
        assert f"`{name}`" in section
        assert new.strip() in section, new
    # A room of its own, a Python file, and the lines above.
    assert len(STEPS) + 2 <= MOST_PLACES
    for path in sorted((TEMPLATE / "csrc/ops/vignette").iterdir()):
        assert f"`{path.name}`" in section, path.name


@pytest.mark.slow
def test_an_op_from_the_template_works(tmp_path):
    if emulated.compiler() is None:
        pytest.skip("no C++ compiler")
    copy_with_op(tmp_path)
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path),
        "PYDEGRADE_CUDA": "0",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("PYDEGRADE_PLUGINS", None)
    (tmp_path / "dark.toml").write_text(SPACE)
    (tmp_path / "use.py").write_text(USE)
    checks = [
        "tests/test_layers.py",
        "tests/test_border.py",
        "-m",
        "not slow",
        "-k",
        "vignette or includes or stub or random",
    ]
    for command in (
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        [sys.executable, "use.py"],
        # The tests that walk all ops find the new one by themselves.
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *checks],
    ):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]

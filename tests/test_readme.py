"""What the README says works when pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch

import pydegrade
from pydegrade.tasks.space import preset_names
from pytrain.methods.registry import METHODS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(pydegrade.sample("realesrgan-x4", 7, [123]).addresses[0])


def test_addresses_that_are_shown_resolve():
    """In documents and in help texts, so that they work when pasted."""
    files = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", *(ROOT / "pydegrade").rglob("*.py")]
    shown = {
        found.rstrip(".,:;")
        for path in files
        for found in re.findall(
            r"[a-z0-9-]+@[0-9a-f]{8}/s\d+/i\d+(?:/n\d+)?(?:\?[\w.,=&]+)?", path.read_text(encoding="utf-8")
        )
    }
    assert len(shown) >= 3
    for address in (one for one in shown if one.split("@")[0] in preset_names()):
        pydegrade.TaskBatch.from_addresses([address])


def section(title: str) -> str:
    """The text of the README under a heading, up to the next one."""
    return README.split(f"# {title}\n", 1)[1].split("\n#", 1)[0]


def test_presets_and_files_exist():
    named = set(re.findall(r"`([a-z]+[a-z0-9-]*)`", section("Presets"))) - {"imresize"}
    assert "realesrgan-x4" in named
    assert named <= set(preset_names())
    for path in re.findall(r"\b((?:docs|tests|configs)/[A-Za-z0-9_/.]+\.[a-z]+)", README):
        assert (ROOT / path).exists(), path


def test_every_method_is_in_the_readme():
    named = set(re.findall(r"`([a-z]+)`", "".join(re.findall(r"^\|([^|]+)\|", section("Methods"), re.M))))
    assert named == set(METHODS)


def test_spaces_document_parses_and_runs():
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/spaces.md").read_text(), re.S)
    whole = [pydegrade.Space.loads(block) for block in blocks if "scale = " in block]
    assert [space.name for space in whole] == ["mine", "photographed-print"]
    for space in whole:
        side = 16 * space.scale
        lr = pydegrade.degrade(torch.rand(2, 3, side, side), pydegrade.sample(space, 0, range(2)))
        assert lr.shape == (2, 3, 16, 16)


def test_the_block_of_the_migration_page_says_what_it_shows(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/migration.md").read_text(), re.S)
    exec(compile(block, "docs/migration.md", "exec"), {})
    (shown,) = re.findall(r"print\(error\)  # (.*)", block)
    assert capsys.readouterr().out == shown + "\n"


def test_every_block_of_the_python_page_runs(capsys):
    text = (ROOT / "docs/python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("step 0: samples 0 to 3, loss ")
    loop = blocks[0].strip().splitlines()
    assert len([line for line in loop if line]) <= 20

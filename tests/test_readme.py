"""What the README says works when pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pydegrade
from pydegrade.space import preset_names

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(pydegrade.sample("realesrgan-x4", 7, [123]).addresses[0])


def test_presets_and_files_exist():
    named = set(re.findall(r"`((?:bicubic|realesrgan|bsrgan|dasr)[a-z0-9-]*)`", README))
    assert named - {"realesrgan-x4"} <= set(preset_names())
    for path in re.findall(r"\b((?:docs|tests)/[A-Za-z0-9_/.]+\.[a-z]+)", README):
        assert (ROOT / path).exists(), path


def test_spaces_document_parses():
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/spaces.md").read_text(), re.S)
    assert pydegrade.Space.loads(text).name == "mine"

"""The steps of docs/adding.md for a network and for a method, taken in a copy of the repository: the new name works in all
commands, is in the schema, and passes the tests that walk the registries; and the steps are all the places there are."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# File, what stands there, what is put behind it: the lines of docs/adding.md.
STEPS = {
    "network": [
        ("pytrain/nets/__init__.py", "    edsr,\n", "    espcn,\n"),
        ("pytrain/nets/__init__.py", "NETS: dict[str, Net] = {\n",
         '    "espcn": Net(espcn.ESPCNConfig, espcn.ESPCN, espcn.detect),\n'),
    ],
    "method": [
        ("pytrain/methods/registry.py", "from .eco import EcoMethod, EcoOptions\n",
         "from .edges import EdgesMethod, EdgesOptions\n"),
        ("pytrain/methods/registry.py", "METHODS: dict[str, MethodEntry] = {\n",
         '    "edges": MethodEntry(EdgesOptions, EdgesMethod, "pixel loss with a weight at edges", "an example"),\n'),
    ],
}  # fmt: skip
CONFIGURATIONS = {
    "network": ("init", "--method", "psnr", "--net", "espcn", "--scale", "2", "-o", "cfg.toml"),
    "method": ("init", "--method", "edges", "--net", "srvgg", "--scale", "2", "-o", "cfg.toml"),
}
SMALL = ("run.steps=2", "net.num_features=8", "data.crop_px=32", "data.batch=2", "train.precision=fp32", "run.out=run")
# Tests that take networks and methods from the registries.
WALKS = ("tests/test_layers.py", "tests/test_config.py", "tests/test_nets.py", "tests/test_proof.py")


def section_of(kind: str) -> str:
    text = (ROOT / "docs/adding.md").read_text()
    section = text[text.index(f"## A {kind}\n") :]
    return section[: section.index("\n## ", 1)] if "\n## " in section[1:] else section


@pytest.mark.parametrize("kind", STEPS)
def test_the_document_has_every_step(kind):
    section = section_of(kind)
    for name, _, new in STEPS[kind]:
        assert name in section
        assert new.strip() in section
    template = ROOT / "tests/templates" / kind
    assert template.relative_to(ROOT).as_posix() in section


@pytest.mark.slow
@pytest.mark.parametrize("kind", STEPS)
def test_a_new_one_works_everywhere(kind, tmp_path):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    names = [name for name in listed.split("\0") if name]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for module in ROOT.glob("pydegrade/*.so"):
        shutil.copy(module, tmp_path / "pydegrade")
    template = ROOT / "tests/templates" / kind
    shutil.copytree(template, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in STEPS[kind]:
        text = (tmp_path / name).read_text()
        assert text.count(old) == 1, f"{name} has no {old!r}: say so in docs/adding.md too"
        (tmp_path / name).write_text(text.replace(old, old + new))

    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    # The commands.
    changes = [text for one in SMALL for text in ("--set", one)]
    run("pytrain", *CONFIGURATIONS[kind])
    run("pytrain", "check", "cfg.toml", *changes)
    run("pytrain", "fit", "cfg.toml", *changes)
    model = tmp_path / "run/models/last.safetensors"
    run("pytrain", "infer", str(tmp_path / "docs/images/quickstart.png"), "--model", str(model), "--out", "made")
    run("pytrain", "export", str(model), "again.pth")
    run("pytrain", "schema", "-o", "configs/pytrain.schema.json")
    new = {"network": "espcn", "method": "edges"}[kind]
    assert new in run("pytrain", "methods")

    # The tests that walk the registries.
    select = f"layers or schema or {new} or every or written"
    run("pytest", "-q", "-x", "-p", "no:cacheprovider", *WALKS, "-k", select, "-m", "not slow")

    # The places.
    changed = {name for name in names if not filecmp.cmp(ROOT / name, tmp_path / name, shallow=False)}
    written_by_command = {"configs/pytrain.schema.json"}
    assert changed - written_by_command == {name for name, _, _ in STEPS[kind]}
    assert len(changed - written_by_command) == 1, "its file and a line with its import in one other"

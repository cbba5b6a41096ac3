"""What a reader of the repository can rely on: what is cited is there, and formatters have one version."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .children import ROOT

TEXT = {".py", ".pyi", ".md", ".toml", ".txt", ".h", ".cpp", ".cu", ".cuh", ".sh", ".yaml", ".json", ".cfg", ""}
NOT_OURS = {".git", ".venv", "build", "out", "runs", "node_modules"}
WRITTEN_BY_PROGRAMS = {"index.md", "table.md", "tables.md"}
WRITTEN_FOR_THE_SITE = "reference/"


def texts() -> dict[str, str]:
    """Every file of the repository that people read, by its path."""
    found = {}
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT)
        hidden = any(part in NOT_OURS or (part.startswith(".") and part != ".ci") for part in inside.parts[:-1])
        if (
            not hidden
            and path.name != ".git"
            and path.is_file()
            and path.suffix in TEXT
            and "egg-info" not in str(inside)
        ):
            found[inside.as_posix()] = path.read_text(errors="replace")
    assert "README.md" in found
    assert len(found) > 200
    return found


def test_documents_that_are_cited_exist():
    files = texts()
    names = {Path(name).name for name in files} | WRITTEN_BY_PROGRAMS
    for name, text in files.items():
        for cited in re.findall(r"[\w./-]*\w\.md\b", text):
            place = Path(cited)
            there = cited in files or (str(place.parent) == "." and place.name in names)
            there = there or (Path(name).parent / place).as_posix() in files or cited.startswith(WRITTEN_FOR_THE_SITE)
            assert there, f"{name} cites {cited}, which is not in the repository"


CITATIONS = [r"\bissues?\s+#?\d", r"(?<![\w&\"'])#\d{1,5}\b", r"\bpull request\s+#?\d", r"/work/|\.\./shared/"]


@pytest.mark.slow
@pytest.mark.parametrize("words", CITATIONS)
def test_nothing_cites_what_a_reader_does_not_have(words):
    this = Path(__file__).relative_to(ROOT).as_posix()
    for name, text in texts().items():
        if name == this or name.endswith(".json"):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            assert not re.search(words, line, re.IGNORECASE), f"{name}:{number}: {line.strip()}"


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"\b([a-z][a-z-]*)==([\w.]+)", text))


def test_hooks_run_the_versions_that_lint_runs():
    constraints = pins((ROOT / "constraints.txt").read_text())
    config = ROOT / ".pre-commit-config.yaml"
    hooks = pins(config.read_text())
    assert set(hooks) == {"ruff", "clang-format"}
    assert hooks.items() <= constraints.items()
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", str(config)], check=True, cwd=ROOT)


def test_messages_name_extras_that_there_are():
    """What a command needs is installed as an extra; a package alone might come in a release that does not fit."""
    (table,) = re.findall(r"\[project.optional-dependencies\]\n(.*?)\n\n", (ROOT / "pyproject.toml").read_text(), re.S)
    allowed = {f"pydegrade[{name}]" for name in re.findall(r"^(\w+) = ", table, re.M)}
    allowed |= {"pydegrade[{extra}]", ".", "scipy", "scikit-image", "torchvision", "albumentations"}  # no extras
    asked = {
        (path.name, name)
        for package in ("pydegrade", "pytrain")
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r"pip install ['\"]?([\w.{}\[\]][\w.{}\[\]-]*)", path.read_text(encoding="utf-8"))
    }
    # Most messages are of `needs(what, package, extra)`.
    for package in ("pydegrade", "pytrain"):
        for path in (ROOT / package).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "needs":
                    extra = call.args[2]
                    name = ast.literal_eval(extra) if isinstance(extra, ast.Constant) else "{extra}"
                    asked.add((path.name, f"pydegrade[{name}]"))
    assert len(asked) > 10
    assert not {found for found in asked if found[1] not in allowed}


def test_the_workflow_names_a_release_of_cibuildwheel():
    """It has no tags like "v4", which would end the workflow before its first step."""
    text = (ROOT / ".github/workflows/wheels.yml").read_text(encoding="utf-8")
    named = re.findall(r"pypa/cibuildwheel@(\S+)", text)
    assert named
    assert all(re.fullmatch(r"v[0-9]+[.][0-9]+[.][0-9]+", one) for one in named)

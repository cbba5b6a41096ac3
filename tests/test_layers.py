"""Who may import whom (DESIGN.md section 3), read from the sources."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Layers of pydegrade, lowest first; a module imports only from lower layers (or its own, without cycles).
LAYERS = [
    ["errors", "toml_lines", "_C"],
    ["_native", "columns", "packed"],
    ["_device"],
    ["rng", "eigen", "psf"],
    ["distributions", "kernels"],
    ["ops"],
    ["imresize", "metrics", "space"],
    ["blur_down"],
    ["kernel_estimate"],
    ["drawing"],
    ["vectors", "task"],
    ["sampler"],
    ["plan"],
    ["engine"],
]


def module_imports(path: Path, package: str) -> set[str]:
    """Modules of `package` that a file imports, by the first part of their names; those for type checkers count."""
    found = set()
    depth = len(path.relative_to(ROOT / package).parts) - 1
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level == 0 and (node.module or "").split(".")[0] == package:
                parts = (node.module or "").split(".")[1:]
                found |= {parts[0]} if parts else {alias.name for alias in node.names}
            elif node.level == depth + 1:
                parts = (node.module or "").split(".")
                found |= {parts[0]} if parts[0] else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith(f"{package}.")}
    return found


def test_pydegrade_imports_point_downwards():
    rank = {name: level for level, names in enumerate(LAYERS) for name in names}
    for path in sorted((ROOT / "pydegrade").rglob("*.py")):
        name = path.relative_to(ROOT / "pydegrade").parts[0].removesuffix(".py")
        if name not in rank:
            continue
        for imported in module_imports(path, "pydegrade"):
            if imported not in rank:
                assert not (ROOT / "pydegrade" / f"{imported}.py").exists(), f"{path}: {imported} stands above it"
                continue
            assert rank[imported] < rank[name] or imported == name or rank[imported] == rank[name] != rank["ops"], (
                f"{path.relative_to(ROOT)} imports {imported}, which is not below it"
            )


def test_pydegrade_never_imports_pytrain():
    for path in (ROOT / "pydegrade").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) pytrain", path.read_text(), re.M), path


def test_pytrain_uses_public_names_of_pydegrade():
    for path in (ROOT / "pytrain").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pydegrade":
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not any(name.startswith("_") for name in names), f"{path}: {names}"


def test_cpp_includes_point_downwards():
    # math knows the codes in ops.h, core also core, cpu and cuda all of these; pybind11 is in bindings.cpp alone.
    may = {"math": {"math", "ops.h"}, "core": {"core", "math", "ops.h"}, "cpu": {"cpu", "core", "math", "ops.h"}}
    may["cuda"] = {"cuda", "core", "math", "ops.h"}
    for path in sorted((ROOT / "csrc").rglob("*")):
        if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
            continue
        text = path.read_text()
        folder = path.relative_to(ROOT / "csrc").parts[0]
        assert "torch" not in re.findall(r'#include [<"]([a-z0-9_]+)', text), path
        if path.name != "bindings.cpp":
            assert "pybind11" not in text, path
        for included in re.findall(r'#include "([^"]+)"', text):
            if folder in may:
                assert included.split("/")[0] in may[folder], f"{path.relative_to(ROOT)} includes {included}"


def test_no_pickle_and_no_global_random_numbers():
    for package in ("pydegrade", "pytrain"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            assert not re.search(r"^\s*(import|from) (pickle|random)\b", text, re.M), path
            assert not re.search(
                r"allow_pickle\s*=\s*True|weights_only\s*=\s*False|np\.random\.(rand|seed|uniform)", text
            ), path

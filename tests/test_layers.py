"""Who may import whom, read from the sources of every module."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import native

ROOT = Path(__file__).resolve().parent.parent

# Rooms of each package, lowest floor first: folders, and modules beside them. A module imports from lower floors
# and from its own room, there without circles; rooms on one floor do not know each other. "__init__" is the package itself.
FLOORS = {
    "pydegrade": [
        ["_C", "errors", "lazy", "toml_lines"],
        ["native"],
        ["ops"],
        ["images", "tasks"],
        ["plan"],
        ["engine"],
        ["files"],
        ["fitting", "loading"],
        ["compat", "transforms"],
        ["__init__"],
        ["sheet", "shell"],
        ["commands"],
        ["__main__"],
    ],
    "pytrain": [
        ["errors"],
        ["__init__", "options"],
        ["settings"],
        ["nets"],
        ["data", "files"],
        ["evaluation"],
        ["methods"],
        ["config"],
        ["training"],
        ["grouping"],
        ["commands"],
        ["__main__"],
    ],
}
# Folders whose __init__ hands names on; the others hold a docstring, so that importing one module loads little.
FACES = {
    "pydegrade",
    "pydegrade.compat",
    "pydegrade.files",
    "pydegrade.ops",
    "pydegrade.shell",
    "pytrain",
    "pytrain.nets",
}
# What pytrain, and any other package, may use of pydegrade (docs/architecture.md): the names that faces list in __all__,
# and those of these modules that begin with no underscore.
PUBLIC_FACES = ("pydegrade", "pydegrade.files", "pydegrade.ops", "pydegrade.shell")
PUBLIC_MODULES = (
    "pydegrade.errors",
    "pydegrade.fitting.estimate",
    "pydegrade.images.metrics",
    "pydegrade.sheet",
    "pydegrade.toml_lines",
)


@dataclass(frozen=True)
class Import:
    """One module that another one names.

    Attributes:
        target: dotted name of a module of either package, or of what it would be.
        typing: whether only type checkers see it.
    """

    target: str
    typing: bool = False


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def all_modules() -> dict[str, Path]:
    found = {module_name(path): path for package in FLOORS for path in sorted((ROOT / package).rglob("*.py"))}
    return {**found, "pydegrade._C": ROOT / "pydegrade" / "_C.pyi"}


MODULES = all_modules()


def imports_of(source: str, name: str, is_package: bool) -> Iterator[Import]:
    """Modules of the two packages that a source names: by import statements, those for type checkers and inside functions
    included, and by strings as importlib.import_module and tables of lazy imports take them (dotted, "package.module",
    ".module" or "module:object")."""
    package = name if is_package else name.rpartition(".")[0]
    tree = ast.parse(source)
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    # Groups of entry points are named like modules and are none.
    groups = {
        id(keyword.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "entry_points"
        for keyword in node.keywords
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            if base.split(".")[0] in FLOORS:
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    yield Import(full if full in MODULES else base, id(node) in typing)
        elif isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names if alias.name.split(".")[0] in FLOORS)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            yield from (Import(argument.value) for argument in node.args[:1] if is_text(argument) in FLOORS)
        text = "" if id(node) in groups else is_text(node)
        if re.fullmatch(r"(pydegrade|pytrain)(\.\w+)+(:\w+)?", text):
            module = text.partition(":")[0]
            while module not in MODULES and module.count(".") > 1:  # the last part may be an object's name
                module = module.rpartition(".")[0]
            yield Import(module)
        elif re.fullmatch(r"\.*\w+(\.\w+)*(:\w+)?", text) and "." in text:
            dots = len(text) - len(text.lstrip("."))
            above = package.split(".")[: len(package.split(".")) - max(dots - 1, 0)]
            relative = ".".join([*above, text.lstrip(".").partition(":")[0]])
            if relative in MODULES:
                yield Import(relative)


def is_text(node: ast.AST) -> str:
    """A constant text, or an empty one."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def imports_of_module(name: str) -> list[Import]:
    path = MODULES[name]
    return list(imports_of(path.read_text(), name, path.name == "__init__.py")) if path.suffix == ".py" else []


def room_of(name: str) -> str:
    package, _, rest = name.partition(".")
    return f"{package}.{rest.partition('.')[0] or '__init__'}"


RANKS = {
    f"{package}.{room}": rank
    for package, floors in FLOORS.items()
    for rank, rooms in enumerate(floors)
    for room in rooms
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from . import eigen", "pydegrade.ops.eigen"),
        ("from .eigen import symmetric_eigen3", "pydegrade.ops.eigen"),
        ("from .. import __version__", "pydegrade"),
        ("from ..engine import degrade", "pydegrade.engine"),
        ("from pydegrade import engine", "pydegrade.engine"),
        ("import pydegrade.engine as e", "pydegrade.engine"),
        ("def f():\n    from ..tasks.task import TaskBatch", "pydegrade.tasks.task"),
        ("if TYPE_CHECKING:\n    from ..tasks import task", "pydegrade.tasks.task"),
        ("importlib.import_module('pytrain.nets')", "pytrain.nets"),
        ("importlib.import_module('pytrain')", "pytrain"),
        ("import_module('..engine', __package__)", "pydegrade.engine"),
        ("LAZY = {'estimate': 'pytrain.commands.estimate:command'}", "pytrain.commands.estimate"),
        ("LAZY = {'open_source': 'pytrain.data.source.open_source'}", "pytrain.data.source"),
        ("LAZY = {'eigen': '.eigen'}", "pydegrade.ops.eigen"),
    ],
)
def test_every_kind_of_import_is_seen(source, expected):
    assert {found.target for found in imports_of(source, "pydegrade.ops.blur", False)} == {expected}


def test_every_module_stands_on_a_floor():
    rooms = {room_of(name) for name in MODULES}
    assert sorted(rooms - set(RANKS)) == [], "a room without a floor"
    assert sorted(set(RANKS) - rooms) == [], "a floor lists what is not there"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_downwards(name):
    for found in imports_of_module(name):
        assert found.target in MODULES, f"{name} imports {found.target}, which is not there"
        here, there = room_of(name), room_of(found.target)
        if here.split(".")[0] == there.split(".")[0]:
            assert here == there or RANKS[there] < RANKS[here], f"{name} imports {found.target}, which is not below it"


@pytest.mark.slow
def test_no_circles():
    # What only type checkers see inside one room is no circle: nothing runs along it.
    below = {name: {found.target for found in imports_of_module(name) if not found.typing} - {name} for name in MODULES}
    while below:
        ground = {name for name, imported in below.items() if not imported & below.keys()}
        assert ground, f"circles among {sorted(below)}"
        below = {name: imported for name, imported in below.items() if name not in ground}


@pytest.mark.parametrize("name", sorted(name for name, path in MODULES.items() if path.name == "__init__.py"))
def test_folders_load_nothing_of_their_own(name):
    body = ast.parse(MODULES[name].read_text()).body
    assert ast.get_docstring(ast.Module(body, [])), f"{name} does not say what it is for"
    assert name in FACES or len(body) == 1, f"{name} must hold a docstring alone"


@pytest.mark.slow
def test_pydegrade_never_imports_pytrain():
    for name in MODULES:
        if name.startswith("pydegrade"):
            assert not [found.target for found in imports_of_module(name) if found.target.startswith("pytrain")], name


def private_uses(source: str) -> list[str]:
    """What a source takes from pydegrade that is not public."""
    found = []
    tree = ast.parse(source)
    # `import pydegrade.tasks.space` would hand on what `pydegrade` alone does not.
    found += [text for text in map(is_text, ast.walk(tree)) if re.fullmatch(r"pydegrade(\.\w+)+(:\w+)?", text)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("pydegrade.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pydegrade":
            module = node.module or ""
            names = [alias.name for alias in node.names]
            if module in PUBLIC_FACES:
                found += [f"{module}.{name}" for name in names if not is_public_of(module, name)]
            elif module in PUBLIC_MODULES:
                found += [f"{module}.{name}" for name in names if name.startswith("_")]
            else:
                found.append(module)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pydegrade":
            found += [] if is_public_of("pydegrade", node.attr) else [ast.unparse(node)]
    return found


def is_public_of(face: str, name: str) -> bool:
    return name in importlib.import_module(face).__all__ or f"{face}.{name}" in PUBLIC_MODULES


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("pytrain")))
def test_pytrain_uses_public_names_of_pydegrade(name):
    # The group's name of entry points is no module.
    assert [use for use in private_uses(MODULES[name].read_text()) if use != "pydegrade.ops"] == []


@pytest.mark.parametrize(
    "source",
    [
        "from pydegrade.files.read import read_image",
        "from pydegrade.files import remove_leftovers",
        "from pydegrade.native.rng import named_uniform",
        "from pydegrade.images.metrics import _window",
        "from pydegrade import engine",
        "import pydegrade.tasks.space",
        "importlib.import_module('pydegrade.plan')",
        "import pydegrade\npydegrade.engine.degrade",
    ],
)
def test_what_is_not_public_is_seen(source):
    assert private_uses(source)


@pytest.mark.parametrize("face", PUBLIC_FACES)
def test_public_names_are_there_and_documented_as_public(face):
    module = importlib.import_module(face)
    for name in module.__all__:
        assert hasattr(module, name), name
    with pytest.raises(AttributeError, match=f"'{face}' has no attribute 'nothing'"):
        getattr(module, "nothing")  # noqa: B009
    text = (ROOT / "docs/architecture.md").read_text()
    for public in (*PUBLIC_FACES, *PUBLIC_MODULES):
        assert f"`{public}`" in text, public


def test_cpp_includes_point_downwards():
    # An op sees its own folder, never another's. Who runs ops sees their list and the one question of legality (the doors),
    # who plans chains also what ops say of their columns; the list alone sees into the folders. pybind11 is in
    # bindings.cpp alone.
    doors = ("ops/list.h", "ops/legal.h")
    lowest = ("math/", "core/")
    may: dict[str, tuple[str, ...]] = {
        "math": ("math/",),
        "core": lowest,
        "cpu": (*lowest, *doors, "cpu/"),
        "cuda": (*lowest, *doors, "cuda/"),
        "chain": (*lowest, *doors, "ops/plan.h", "cpu/", "cuda/", "chain/"),
        "ops": (*lowest, "ops/"),
        "": (*lowest, "ops/", "cpu/", "cuda/", "chain/", "functions.h"),
    }
    for op in (path.name for path in (ROOT / "csrc/ops").iterdir() if path.is_dir()):
        may[f"ops/{op}"] = (*lowest, *doors, "ops/plan.h", "cpu/", "cuda/", f"ops/{op}/")
    checked = 0
    for path in sorted((ROOT / "csrc").rglob("*")):
        if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
            continue
        text = path.read_text()
        folder = path.parent.relative_to(ROOT / "csrc").as_posix().removeprefix(".")
        assert "torch" not in re.findall(r'#include [<"]([a-z0-9_]+)', text), path
        if path.name != "bindings.cpp":
            assert "pybind11" not in text, path
        for included in re.findall(r'#include "([^"]+)"', text):
            assert included.startswith(may[folder]), f"{path.relative_to(ROOT)} includes {included}"
            checked += 1
    assert checked > 100


def test_every_source_of_csrc_is_built_by_all_who_build():
    """CMake, the build without CMake on a borrowed GPU, and the tests' own."""
    every = {path for path in (ROOT / "csrc").rglob("*.cpp") if path.name != "emulate.cpp"}
    assert {*native.loops(), *native.host(), ROOT / "csrc/bindings.cpp"} == every
    for builder in ("CMakeLists.txt", "benchmarks/gpu_check.sh"):
        patterns = re.findall(r"csrc/[\w/*.]*\.cpp", (ROOT / builder).read_text())
        assert {path for pattern in patterns for path in ROOT.glob(pattern)} == every, builder


def test_no_pickle_and_no_global_random_numbers():
    for package in ("pydegrade", "pytrain"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            assert not re.search(r"^\s*(import|from) (pickle|random)\b", text, re.M), path
            assert not re.search(
                r"allow_pickle\s*=\s*True|weights_only\s*=\s*False|np\.random\.(rand|seed|uniform)", text
            ), path

"""Configurations that ship with the package: the published ones, and small ones that need nothing downloaded."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError, nearest

FOLDER = "configs"
"""What documents call the folder of these files. Their paths begin at its parent: "../out", "../datasets"."""

_PACKAGE = Path(__file__).resolve().parent.parent
# In a wheel they lie inside the package (setup.py), in a source tree in the folder `configs` beside it.
_FOLDERS = (_PACKAGE / FOLDER, _PACKAGE.parent / FOLDER)


def _files() -> dict[str, Path]:
    folder = next((folder for folder in _FOLDERS if (folder / "quickstart.toml").is_file()), _FOLDERS[0])
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _text(path: Path) -> str:
    """Without the line that names a schema beside it."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#:schema "))


def shipped() -> dict[str, str]:
    """All configurations: file name -> TOML text."""
    return {path.name: _text(path) for path in _files().values()}


def hint_for(path: Path) -> str:
    """Where a missing file comes from, for the end of a message; "" for one that does not ship."""
    is_ours = path.parent.name == FOLDER and path.stem in _files()
    return f"; `pytrain init --configs {FOLDER}` writes it" if is_ours else ""


def quickstarts() -> list[str]:
    """Names of the small configurations."""
    return [name for name in _files() if name.endswith(("quickstart", "_tiny"))]


def quickstart(name: str = "quickstart") -> str:
    """The TOML text of a small configuration, for a file in the folder that holds `out`.

    Raises:
        ConfigError: no such configuration.
    """
    if name not in quickstarts():
        raise ConfigError(f"--quickstart: must be a known configuration, got {name!r}{nearest(name, quickstarts())}")
    return _text(_files()[name]).replace('"../', '"')

"""Configurations that ship with the package and need nothing downloaded: small networks on scikit-image's photographs."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError, nearest

_PACKAGE = Path(__file__).resolve().parent.parent
# In a wheel they lie inside the package (setup.py), in a source tree in the folder `configs` beside it.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def _files() -> dict[str, Path]:
    folder = next((folder for folder in _FOLDERS if (folder / "quickstart.toml").is_file()), _FOLDERS[0])
    return {path.stem: path for path in sorted(folder.glob("*.toml")) if path.stem.endswith(("quickstart", "_tiny"))}


def quickstarts() -> list[str]:
    """Names of the configurations."""
    return list(_files())


def quickstart(name: str = "quickstart") -> str:
    """The TOML text of a configuration, without the line that names a schema beside it.

    Raises:
        ConfigError: no such configuration.
    """
    files = _files()
    if name not in files:
        raise ConfigError(f"--quickstart: must be a known configuration, got {name!r}{nearest(name, files)}")
    lines = files[name].read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#:schema "))

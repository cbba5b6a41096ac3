"""Packages that hand on names of their modules without importing these before they are used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def names_of(package: str, homes: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """`__getattr__` of a package.

    Importing torch takes a second, which `degrade --help` and a mistyped option do not have to wait.

    Args:
        package: its `__name__`.
        homes: relative name of a module -> the names that the package has from it.
    """

    def get(name: str) -> Any:
        home = next((module for module, names in homes.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home, package), name)
        setattr(sys.modules[package], name, value)
        return value

    return get

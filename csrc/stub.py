"""Writes pydegrade/_C.pyi from what the compiled module says of itself, so that fields are written down once, in C++.

setup.py runs it after every build in place; by hand: python csrc/stub.py MODULE STUB. Needs neither NumPy nor torch.
"""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from pathlib import Path
from types import ModuleType

HEAD = '''\
# Written by csrc/stub.py from csrc/ops/list.h and the fields of every op: change those and build.
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import NotRequired

Fields = Mapping[str, Any]
"""Arrays and CPU tensors, contiguous, and numbers, named as in csrc/functions.h."""

RESIZE_MODES: tuple[str, ...]
OPS: dict[str, int]
"""Number of every op in plans, by name."""
LIMITS: dict[str, int]
"""blur_size_px: largest side of a kernel. random_height_px, random_width_px: of the largest image whose places fit into
counters."""
FIELDS: dict[str, tuple[tuple[str, str, bool, int, int, bool, str], ...]]
"""Of every struct of parameters: name, dtype, whether it is written, values per item (0: any number), least number of
values, whether it may be left out, what it is."""
COLUMNS: dict[str, tuple[tuple[str, str], ...]]
"""Of every op its columns, in the order of its plan.cpp: name, dtype."""
RESIZING: tuple[str, ...]
"""Ops that change the size."""
PSF_TRIM: float

class Slots:
    """The slots of a space. Each: code (None: an op in plain torch), hash of its name, whether an op in plain torch changes
    sizes, and full name and neutral value of every column of a compiled op."""
    def __init__(
        self, slots: list[tuple[int | None, int, bool, list[tuple[str, float | int]]]], scale: int, target: int
    ) -> None: ...

class Steps:
    """Tasks planned for images (csrc/chain/steps.h)."""
    def run(self, fields: Fields) -> bool: ...
    def program(self, has_target: bool) -> NDArray[np.uint8]: ...
    def fields(self) -> dict[str, Any]: ...
    @property
    def fault(self) -> tuple[str, int, int, int] | None: ...
    @property
    def has_target(self) -> bool: ...
    @property
    def has_others(self) -> bool: ...
    @property
    def dst_floats(self) -> int: ...
    @property
    def step_slot(self) -> NDArray[np.int32]: ...
'''


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("pydegrade._C", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stub(module: ModuleType) -> str:
    lines = [HEAD]
    for name, fields in module.FIELDS.items():
        lines.append(f"class {name.capitalize()}Fields(TypedDict):")
        for field, dtype, written, per_item, at_least, optional, doc in fields:
            array = f"NDArray[np.{dtype}] | torch.Tensor"
            size = (
                f"items, {per_item}"
                if per_item > 1
                else "items"
                if per_item
                else f">= {at_least}"
                if at_least
                else "any"
            )
            note = f"[{size}]{' written:' if written else ''} {doc}"
            lines += [f"    # {line}" for line in textwrap.wrap(note, 110)]
            lines.append(f"    {field}: {f'NotRequired[{array} | None]' if optional else array}")
        lines.append("")
    plain = {"isa_name": "() -> str", "isa_request_honoured": "() -> bool", "num_threads": "() -> int"}
    words = "(leaf1_ecx: int, leaf7_ebx: int, extended_ecx: int, xcr0: int) -> str"
    plain |= {"isa_of": words, "isa_lacks": words, "cpu_words": "() -> tuple[int, int, int, int]"}
    plain |= {"set_num_threads": "(threads: int) -> None", "chain": "(fields: Fields) -> bool"}
    plain |= {"plan": "(fields: Fields) -> Steps", "neutral": "(fields: Fields) -> NDArray[np.bool_]"}
    plain |= {"out_size": "(fields: Fields) -> tuple[NDArray[np.int64], NDArray[np.int64]]"}
    functions = [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("__")]
    for name in sorted(name for name in functions if not isinstance(getattr(module, name), type)):
        result = "bytes" if name.endswith("_program") else "None"
        lines.append(f"def {name}{plain.get(name, f'(fields: Fields) -> {result}')}: ...")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(stub(load(Path(sys.argv[1]))))

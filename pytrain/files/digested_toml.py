"""Small readable files that say what they were made from: TOML with a digest, refused where they do not fit.

Each stage of a longer work leaves one. `made_from` names the digests of everything the contents depend on; a reader
that expects others gets an error naming the first that differs, so results of two settings never mix.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from pydegrade.toml_lines import parsed

from ..errors import DataError, one_line
from .checkpoint import atomic_write

VERSION = 1
_HEAD = ("stage", "version", "digest", "made_from")


@dataclass(frozen=True)
class StageRecord:
    """One file.

    Attributes:
        stage: what wrote it: "scores", "groups".
        made_from: digests by name.
        values: texts, numbers, lists and tables by name.
    """

    stage: str
    made_from: Mapping[str, str]
    values: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """16 hex digits over all of it."""
        return digest_of([self.stage, VERSION, dict(self.made_from), dict(self.values)])


def digest_of(value: Any) -> str:
    """16 hex digits of plain values: texts, finite numbers, lists, tables."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise DataError("a record's numbers must be finite, got NaN or infinity") from None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write_record(path: Path, record: StageRecord, about: str) -> None:
    """Write a record atomically.

    Args:
        path: where; the folder is created.
        record: what.
        about: one line for people, put above as a comment.
    """
    tables = {name: value for name, value in record.values.items() if _is_table(value) or _is_tables(value)}
    content = {
        "stage": record.stage,
        "version": VERSION,
        "digest": record.digest,
        **{name: value for name, value in record.values.items() if name not in tables},
        "made_from": record.made_from,
        **tables,
    }
    text = f"# {about}\n{tomli_w.dumps(content)}"
    atomic_write(path, lambda temporary: _write(temporary, text))


def read_record(path: Path, stage: str, made_from: Mapping[str, str] | None = None) -> StageRecord:
    """Read what `write_record` wrote.

    Args:
        path: the file.
        stage: which it must be.
        made_from: the digests that its own must equal; None: any.
    Raises:
        DataError: missing, damaged or of another stage or version, or made from something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `pytrain group` makes it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable file of stage {stage} ({one_line(error, 120)})") from None
    kind = f"a readable file of stage {stage}"
    values = parsed(text, str(path), kind, lambda fault: DataError(f"{fault}; not {kind}"))
    if values.get("stage") != stage:
        raise DataError(f"{path}: must be a file of stage {stage}, got {values.get('stage')!r}")
    if values.get("version") != VERSION:
        raise DataError(f"{path}: version must be {VERSION}, got {values.get('version')!r}")
    sources = values.get("made_from")
    if not isinstance(sources, dict) or not all(isinstance(source, str) for source in sources.values()):
        raise DataError(f"{path}: the table [made_from] of texts is missing")
    record = StageRecord(stage, sources, {name: value for name, value in values.items() if name not in _HEAD})
    try:
        digest = record.digest
    except (TypeError, ValueError, RecursionError):
        raise DataError(f"{path}: must hold texts, finite numbers, lists and tables, got something else") from None
    if values.get("digest", digest) != digest:
        raise DataError(
            f"{path}: its contents do not match its digest; it is damaged, or was edited (then remove the line digest)"
        )
    if made_from is not None:
        check_made_from(path, sources, made_from)
    return record


def numbers(path: Path, name: str, value: Any, count: int | None = None) -> NDArray[np.float64]:
    """A list of finite numbers from a record, float64 [N].

    Args:
        path, name: where it stands, for messages.
        value: what stands there.
        count: how many there must be; None: any number.
    Raises:
        DataError: something else.
    """
    expected = "finite numbers" if count is None else f"{count} finite numbers"
    listed = value if isinstance(value, list) else None
    if listed is None or not all(isinstance(entry, (int, float)) and not isinstance(entry, bool) for entry in listed):
        raise DataError(f"{path}: {name} must be a list of {expected}")
    if count is not None and len(listed) != count:
        raise DataError(f"{path}: {name} must be a list of {expected}, got {len(listed)}")
    try:
        values = np.array([float(entry) for entry in listed], np.float64)
    except OverflowError:
        values = np.array([np.inf])
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {name} must be a list of {expected}, got one that is not")
    return values


def check_made_from(path: Path, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """DataError naming the first digest that differs."""
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            got = f"{name} {found[name]}" if name in found else f"no {name}"
            wanted = f"{name} {expected[name]}" if name in expected else f"no {name}"
            raise DataError(f"{path}: must be made from {wanted}, got {got}; use another folder, or --redo")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(entry, Mapping) for entry in value)

"""Spaces: distributions over tasks, read from TOML into frozen values, with errors that name file, line, key and value."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import SpaceError, nearest, shown
from ..native.rng import LAYOUT_VERSION
from ..ops.declaration import Column, Op
from ..ops.pool import KEY, Files, Pool
from ..ops.registry import find, registrations
from . import pools, space_reader, space_text
from .distributions import content
from .space_reader import GATE_COLUMN, Gate, Order, Slot
from .space_text import MAX_SLOTS, NAME, Document, Item, Source

PRESETS = Path(__file__).parent.parent / "spaces"
MAX_COMPONENTS = 256
MAX_LINE = 100


@dataclass(frozen=True, repr=False)
class Space:
    """A distribution over tasks.

    Attributes:
        name: e.g. "realesrgan-x4".
        scale: the SR factor.
        source: paper, section, options file.
        family, summary: for lists: what it belongs to and what it is, in one line each; "" where nobody says.
        target: "hr", or the sharpen slot whose result a loss compares with.
        hr_px: side of the HR crop the space was published with.
        slots: in declared order; for a mixture the union of its components' slots, without distributions.
        order: None: slots run as declared.
        vectors: normaliser ranges of degradation vectors, by scheme and column.
        components, weights: for a mixture, the spaces among which each image chooses; else empty. A mixture among them
            stands here with its own components, their weights multiplied.
        gates: draws that let several slots run together or not at all.
        text: a TOML text of it that names no base; a mixture's names its components.
        digest: SHA-256 (hex) of the parsed content; two spaces are equal when their digests are.
    """

    name: str
    scale: int
    source: str
    target: str
    hr_px: int
    slots: tuple[Slot, ...]
    order: Order | None = None
    vectors: space_reader.Ranges = field(default_factory=dict)
    components: tuple[Space, ...] = ()
    weights: tuple[float, ...] = ()
    gates: tuple[Gate, ...] = ()
    family: str = field(default="", compare=False)
    summary: str = field(default="", compare=False)
    text: str = field(default="", compare=False, repr=False)
    digest: str = field(default="", compare=False)

    TABLES: ClassVar[str] = "_tables"
    """Attribute in which tables.py keeps what it makes of the space."""

    @staticmethod
    def load(name_or_path: str | Path) -> Space:
        """A preset by name, or a TOML file by path.

        The file may name presets, and files in its own folder or below, as its base, in a mixture and as kernels. While
        these files stay as they are and nothing is registered, the same space is given again.

        Raises:
            TypeError: neither text nor path. SpaceError: no such preset or file, or a file that cannot be understood.
        """
        if not isinstance(name_or_path, (str, os.PathLike)):
            raise TypeError(f"a space must be the name of a preset or a path, got {shown(name_or_path)}")
        return _loaded(str(name_or_path))

    @staticmethod
    def loads(
        text: str,
        components: Mapping[str, str] | None = None,
        pools: Mapping[str, Sequence[NDArray[Any]]] | None = None,
    ) -> Space:
        """A space from TOML text.

        Args:
            text: the space.
            components: the TOML of spaces that it names; the others are presets.
            pools: what the files hold that its slots name by `files`: arrays by name, kernels for a `kernel_pool`.
        """
        if not isinstance(text, str):
            raise TypeError(f"a space must be TOML text, got {shown(text)}")
        return _Library(components, pools).parsed(Source(text, "space"))

    def to_toml(self) -> str:
        """A TOML text that gives this space; what came from a base stands in it.

        A mixture's names its components. Where some are no presets, `Space.loads` takes their texts beside it:
        `components={part.name: part.to_toml() for part in space.components}`. Files of a slot are named by the hash of
        what they hold: `pools=space.pools`.
        """
        return self.text

    @cached_property
    def pools(self) -> dict[str, tuple[NDArray[np.float32], ...]]:
        """What the files of its slots hold, those of components included, by the names that `to_toml` has for them."""
        own = {slot.pool.name: slot.pool.arrays for slot in self.slots if slot.pool is not None}
        for part in self.components:
            own |= part.pools
        return own

    @cached_property
    def scheduled(self) -> bool:
        """Whether tasks depend on the training step, so that addresses name it."""
        return space_reader.scheduled(self.slots, self.gates) or any(part.scheduled for part in self.components)

    @cached_property
    def walks(self) -> bool:
        """Whether columns walk from frame to frame of a clip."""
        return space_reader.walking(self.slots) or any(part.walks for part in self.components)

    @cached_property
    def drawn_columns(self) -> frozenset[str]:
        """Full names of the columns that are drawn, those of gates included."""
        own = [f"{slot.name}.{name}" for slot in self.slots for name, _ in slot.columns]
        gates = [f"{gate.name}.on" for gate in self.gates]
        return frozenset([*own, *gates]).union(*(part.drawn_columns for part in self.components))

    def slot(self, name: str) -> Slot:
        """The slot of that name; SpaceError if there is none."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise SpaceError(f"space {self.name!r}: no slot {name!r}{nearest(name, [slot.name for slot in self.slots])}")

    def op(self, slot: str) -> Op:
        """Declaration of the op that fills a slot."""
        return find(self.slot(slot).op)

    def column(self, name: str) -> Column:
        """Declaration of a column by its full name "slot.column" or "gate.on"; SpaceError if there is none."""
        if not isinstance(name, str):
            raise TypeError(f"a column's name must be a text such as 'blur1.shape', got {shown(name)}")
        slot, _, short = name.partition(".")
        if short == GATE_COLUMN.name and slot in self.gate_names:
            return GATE_COLUMN
        op = self.op(slot)
        try:
            return op.column(short)
        except KeyError:
            known = [column.name for column in op.columns]
            raise SpaceError(
                f"space {self.name!r}: slot {slot} has no column {short!r}{nearest(short, known)}"
            ) from None

    @cached_property
    def gate_names(self) -> tuple[str, ...]:
        """Names of the gates of the space and of its components, each once."""
        names = [gate.name for gate in self.gates] + [name for part in self.components for name in part.gate_names]
        return tuple(dict.fromkeys(names))

    @cached_property
    def all_columns(self) -> tuple[str, ...]:
        """Full names of all columns that a task of the space can have, in declared order: gates, then slots."""
        gates = [f"{name}.{GATE_COLUMN.name}" for name in self.gate_names]
        return (*gates, *(f"{slot.name}.{column.name}" for slot in self.slots for column in find(slot.op).columns))

    @cached_property
    def libraries(self) -> tuple[str, ...]:
        """Names and versions of the libraries that its ops run, as this machine has them."""
        ops = {slot.op: find(slot.op) for slot in self.slots}
        return tuple(op.library() for op in ops.values() if op.library is not None)

    def changed(self) -> str:
        """For messages: why a digest may differ from the one that something was made with."""
        here = f", or a library: here are {'; '.join(self.libraries)}" if self.libraries else ""
        files = ", or what its files hold" if self.pools else ""
        return f"the space has changed since, or what one of its columns does{files}{here}"

    def __repr__(self) -> str:
        parts = f"{len(self.components)} components" if self.components else f"{len(self.slots)} slots"
        return f"<Space {self.name}@{self.digest[:8]}, x{self.scale}, {parts}, target {self.target}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __getstate__(self) -> dict[str, Any]:
        """Without the tables, which name functions of ops that may not pickle."""
        return {name: value for name, value in vars(self).items() if name != self.TABLES}


def preset_names() -> list[str]:
    """Names of the presets that ship with the package, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def presets() -> tuple[list[Space], dict[str, list[str]]]:
    """The presets that work here, by name; and those that do not, by what is missing: a codec, a package."""
    here: list[Space] = []
    missing: dict[str, list[str]] = {}
    for name in preset_names():
        try:
            here.append(Space.load(name))
        except SpaceError as error:
            # What the op says is the same for all spaces that need it; in which line it stands helps nobody here.
            place, op, reason = str(error).partition(": op ")
            missing.setdefault(f"op {reason}" if op else place, []).append(name)
    return here, missing


# ---- Spaces that have been loaded

_KEPT_SPACES = 256
_YOUNG_NS = 2_000_000_000
"""Files that changed so shortly before are read again: clocks of file systems are coarse."""

_Mark = tuple[int, ...]


@dataclass(frozen=True)
class _Kept:
    """A loaded space, registrations before it was read, and the marks of the files that it was read from."""

    space: Space
    registered: int
    marks: tuple[tuple[str, _Mark], ...]


_kept: dict[str, _Kept] = {}


def _loaded(name: str) -> Space:
    """The space of a preset's name or a path, read where it is not known or something has changed."""
    key = name if NAME.fullmatch(name) and not name.endswith(".toml") else os.path.abspath(name)
    found = _kept.get(key)
    registered = registrations()
    if found is not None and found.registered == registered and all(_mark(p) == mark for p, mark in found.marks):
        return found.space
    library = _Library()
    space = library.space(name, None)
    marks = tuple(library.marks.items())
    if all(mark and time.time_ns() - max(mark[:2]) > _YOUNG_NS for _, mark in marks):
        while len(_kept) >= _KEPT_SPACES:
            _kept.pop(next(iter(_kept), ""), None)
        _kept[key] = _Kept(space, registered, marks)
    return space


def _mark(path: str | Path) -> _Mark:
    """What changes with a file; nothing for one that is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev


# ---- Finding the texts that a space names


class _Library:
    """Where the names in a space are looked up: given texts, presets, files beside the one that names them. Each is read
    once, and nothing may contain itself."""

    def __init__(
        self,
        given: Mapping[str, str] | None = None,
        given_pools: Mapping[str, Sequence[NDArray[Any]]] | None = None,
    ) -> None:
        self.given = given or {}
        self.pools = pools.given(given_pools or {})
        self.documents: dict[str, Document] = {}
        self.spaces: dict[str, Space] = {}
        self.open: list[str] = []
        self.marks: dict[str, _Mark] = {}

    def space(self, name: str, asked: Item | None) -> Space:
        """The space of a name that stands at `asked`; without that a caller names it."""
        key, source = self._source(name, asked)
        if key not in self.spaces:
            self.spaces[key] = self._within(key, asked, lambda: self.parsed(source))
        return self.spaces[key]

    def pool(self, item: Item, files: Files) -> Pool:
        def seen(path: Path) -> None:
            self.marks[os.path.abspath(path)] = _mark(path)

        return pools.pool_of(item, files, self.pools, seen)

    def parsed(self, source: Source) -> Space:
        document = self._laid_out(source)
        try:
            return _space(document, self)
        except SpaceError as error:
            if not document.derived or document.mixture or str(error).startswith(source.origin):
                raise
            raise SpaceError(f"{source.origin}: with what its base gives: {error}") from None

    def _laid_out(self, source: Source) -> Document:
        """The tables of a text, over those of its base."""
        own = space_text.read(source)
        if "base" not in own.head:
            space_text.refuse_base_words(own)
            return own
        asked = own.head["base"]
        if not isinstance(asked.value, str):
            raise asked.error(f"[space]: base must be a name, got {shown(asked.value)}")
        key, base = self._source(asked.value, asked)
        if key not in self.documents:
            self.documents[key] = self._within(key, asked, lambda: self._laid_out(base))
        return space_text.with_base(own, self.documents[key])

    def _within(self, key: str, asked: Item | None, read: Any) -> Any:
        """`read`, unless it is what is being read."""
        if key in self.open:
            chain = " -> ".join(Path(name).name for name in [*self.open[self.open.index(key) :], key])
            message = f"a space contains itself: {chain}"
            raise SpaceError(message) if asked is None else asked.error(message)
        if len(self.open) >= 16:
            message = "at most 16 spaces may be built on each other"
            raise SpaceError(message) if asked is None else asked.error(message)
        self.open.append(key)
        try:
            return read()
        finally:
            self.open.pop()

    def _source(self, name: str, asked: Item | None) -> tuple[str, Source]:
        """What a name means: something that tells it from others, and the text."""

        def fail(message: str) -> SpaceError:
            return SpaceError(message) if asked is None else asked.error(message)

        if name in self.given:
            return f"given {name}", Source(self.given[name], name)
        if NAME.fullmatch(name) and not name.endswith(".toml"):
            if name not in preset_names():
                own = (
                    ""
                    if asked is None or asked.source.folder is not None
                    else "; give spaces of your own by components="
                )
                raise fail(f"no preset named {name!r}{nearest(name, preset_names())}{own}")
            path = PRESETS / f"{name}.toml"
            self.marks[str(path)] = _mark(path)
            return str(path), Source(path.read_text(encoding="utf-8"), path.name)
        path = Path(name)
        if asked is not None:
            folder = asked.source.folder
            if folder is None:
                raise fail(f"only presets can be named here, got {shown(name)}; give spaces of your own by components=")
            path = folder / name
            if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
                raise fail(f"a space may name presets and files in its own folder, got {shown(name)}")
        self.marks[os.path.abspath(path)] = _mark(path)
        text, error = _read_text(path)
        if error:
            raise fail(f"{path if str(path).isprintable() else shown(str(path))}: cannot be read: {error}")
        return str(path.resolve()), Source(text, str(path), path.parent)


def _read_text(path: Path) -> tuple[str, str]:
    """(text, "") of a file, or ("", what is wrong with it). Only regular files are opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "", "no regular file"
        with open(path, "rb") as file:
            raw = file.read(4 * space_text.MAX_BYTES + 1)
        return raw.decode("utf-8-sig"), ""
    except OSError as error:
        return "", str(error.strerror or error)
    except ValueError as error:  # of the name, or of bytes that are no UTF-8
        return "", str(error)


# ---- From tables to a space


def _space(document: Document, library: _Library) -> Space:
    name = space_reader.head_value(document, "name", str)
    if not NAME.fullmatch(name):
        message = f"name must be letters, digits, '.', '_' and '-', at most 100, got {shown(name)}"
        raise space_reader.head_error(document, "name", message)
    scale = space_reader.head_value(document, "scale", int)
    if not 1 <= scale <= 16:
        raise space_reader.head_error(document, "scale", f"scale must be in 1..16, got {shown(scale)}")
    hr_px = space_reader.head_value(document, "hr_px", int, 64 * scale)
    if not scale <= hr_px <= 65535 or hr_px % scale:
        message = f"hr_px must be a multiple of the scale {scale}, at most 65535, got {shown(hr_px)}"
        raise space_reader.head_error(document, "hr_px", message)
    target = space_reader.head_value(document, "target", str, "hr")
    source = space_reader.head_value(document, "source", str, "")
    lines = {key: space_reader.head_value(document, key, str, "") for key in ("family", "summary")}
    for key, line in lines.items():
        if len(line) > MAX_LINE or not line.isprintable():
            message = f"{key} must be one line of at most {MAX_LINE} letters, got {shown(line)}"
            raise space_reader.head_error(document, key, message)

    head = Space(name, scale, source, target, hr_px, (), **lines)
    if document.mixture:
        return _mixture(document, library, head)
    slots, gates = space_reader.slots_and_gates(document, library.pool)
    document = pools.by_content(document, {slot.name: slot.pool.name for slot in slots if slot.pool is not None})
    order = space_reader.order_of(document, slots)
    vectors = space_reader.vectors_of(document, slots)
    if target != "hr":
        if not slots or slots[0].name != target or slots[0].op != "sharpen":
            message = f"target must be 'hr' or the first slot, a sharpen, got {shown(target)}"
            raise space_reader.head_error(document, "target", message)
        held = [gate.name for gate in gates if target in gate.slots]
        if held:
            raise space_reader.head_error(document, "target", f"the target {target!r} must run always, not by a gate")
    text = document.to_toml() if document.derived else document.source.text
    return _with_digest(replace(head, slots=slots, order=order, vectors=vectors, gates=gates, text=text))


def _mixture(document: Document, library: _Library, head: Space) -> Space:
    """A mixture, with the components of mixtures among its own in their place."""
    for kind, tables in (("slot", document.slots), ("gate", document.gates)):
        if tables:
            raise tables[0].place.error(f"a mixture has no [[{kind}]]; its components do")
    for kind, table in (("order", document.order), ("vector", document.vectors)):
        if table:
            raise document.error(f"a mixture has no [{kind}]; its components do", kind)
    asked, weights = space_reader.mixture_of(document)
    components: list[Space] = []
    shares: list[float] = []
    for number, (name, weight) in enumerate(zip(asked.value, weights)):
        item = replace(asked, value=name, path=(*asked.path, number))
        found = library.space(name, item)
        if (found.scale, found.target) != (head.scale, head.target):
            raise item.error(
                f"components must have scale {head.scale} and target {head.target!r}, got {found.scale} and "
                f"{found.target!r} in {found.name!r}"
            )
        components += found.components or (found,)
        shares += [weight * share for share in found.weights] if found.components else [weight]
        if len(components) > MAX_COMPONENTS:
            raise item.error(f"a mixture has at most {MAX_COMPONENTS} components")
    digests: dict[str, str] = {}
    for part in components:
        if digests.setdefault(part.name, part.digest) != part.digest:
            raise asked.error(f"two different components have the name {part.name!r}")
    slots = _united(components, asked)
    names = [part.name for part in components]
    gates = {name for part in components for name in part.gate_names}
    both = sorted(gates & {slot.name for slot in slots})
    if both:
        raise asked.error(f"{both[0]} is a slot in one component and a gate in another")

    flat = replace(asked, value=names), replace(asked, value=shares)
    own = (
        document
        if names == asked.value
        else replace(document, mixture=dict(zip(("spaces", "weights"), flat)), derived=True)
    )
    text = own.to_toml() if own.derived else own.source.text
    mixed = replace(head, slots=slots, components=tuple(components), weights=tuple(shares), text=text)
    return _with_digest(mixed)


def _united(components: list[Space], asked: Item) -> tuple[Slot, ...]:
    """Slots of all components, by name, in the order in which they first appear; the longest component leads."""
    united: dict[str, Slot] = {}
    for component in sorted(components, key=lambda space: -len(space.slots)):
        for slot in component.slots:
            if united.setdefault(slot.name, Slot(slot.name, slot.op)).op != slot.op:
                raise asked.error(
                    f"slot {slot.name} is {united[slot.name].op} in one component and {slot.op} in another"
                )
    if len(united) > MAX_SLOTS:
        raise asked.error(f"a mixture has at most {MAX_SLOTS} different slots, got {len(united)}")
    return tuple(united.values())


# ---- Digest


def _with_digest(space: Space) -> Space:
    return replace(space, digest=_digest(space))


def _digest(space: Space) -> str:
    """SHA-256 of the parsed space as canonical JSON, with the version of the random-number layout."""
    parts: dict[str, Any] = {
        "layout": LAYOUT_VERSION,
        "name": space.name,
        "scale": space.scale,
        "target": space.target,
        "slots": [
            [slot.name, slot.op, {name: content(d, name) for name, d in slot.columns}, *_versions(slot)]
            for slot in space.slots
        ],
        "order": None if space.order is None else asdict(space.order),
        "vectors": {scheme: dict(ranges) for scheme, ranges in space.vectors.items()},
        "components": [component.digest for component in space.components],
        "weights": space.weights,
    }
    if space.gates:
        parts["gates"] = [[gate.name, gate.slots, content(gate.on, "on")] for gate in space.gates]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _versions(slot: Slot) -> list[dict[str, int | str]]:
    """Versions of the slot's op and columns that are not the first, of the library that the op runs, and the hash of what
    its files hold, in a list that is empty when there are none."""
    op = find(slot.op)
    newer: dict[str, int | str] = {
        name: op.column(name).version for name, _ in slot.columns if op.column(name).version > 1
    }
    if op.version > 1:
        newer["op"] = op.version
    if op.library is not None:
        newer["library"] = op.library()
    if slot.pool is not None:
        newer[KEY] = slot.pool.name
    return [newer] if newer else []

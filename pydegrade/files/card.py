"""Cards: one text file that says how a set of pairs was made, and what its files are, so that anyone can make it again.

A card is TOML. It holds the space as text, the task of every sample as an address, names and SHA-256 of the clean images,
the rule by which crops are cut from them, and the SHA-256 of every file. It names no path but names below folders that
the reader gives.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from ..errors import CardError, ImageError, PydegradeError, SpaceError, TaskError, shown
from ..native.packed import Layout
from ..plan import make_plan
from ..tasks import pools
from ..tasks.space import Space
from ..tasks.task import TaskBatch
from ..toml_lines import parsed
from .dataset import AUGMENTS, Augment
from .paths import display_name, open_regular
from .sample_manifest import FORMATS

VERSION = 1
MAX_BYTES = 2**26
"""Longest card: about 110,000 samples of three images each, 160,000 of two."""

_PLANNED = 4096
"""Tasks whose sizes are worked out at a time."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEAD = """\
# What a set of pairs for super-resolution is made of: enough to make it again, bit for bit.
#   degrade sample --card CARD --hr HR --out OUT    makes it; HR is the folder with the images named under [hr]
#   degrade verify CARD OUT                         names every file that differs, is missing, or is extra
"""


@dataclass(frozen=True)
class Digests:
    """SHA-256 (hex) of a file.

    Attributes:
        sha256: of its bytes.
        pixels: of the image in it (`pixels_sha256`); "" for a table.
    """

    sha256: str
    pixels: str = ""


@dataclass(frozen=True)
class Card:
    """How a set was made.

    Attributes:
        tasks: N tasks of one space and one seed, sample numbers ascending.
        side_px: side of the square crops.
        augment: how they are mirrored, one of `dataset.AUGMENTS`.
        file_format: one of `sample_manifest.FORMATS`.
        images: name -> SHA-256 of the clean images, in the order in which `dataset.draw_crops` numbers them.
        files: name below the set's folder -> digests.
        versions: name -> version of what made it.
        protocol: how models are measured on it: "y-uint8-border4"; "" where nothing is said.
    """

    tasks: TaskBatch
    side_px: int
    augment: Augment
    file_format: str
    images: Mapping[str, str]
    files: Mapping[str, Digests]
    versions: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""

    @property
    def seed(self) -> int:
        return int(self.tasks.seeds[0])

    @property
    def start(self) -> int:
        return int(self.tasks.indices[0])

    @property
    def addresses_digest(self) -> str:
        """16 hex digits of the addresses where the tasks are not those that the space draws for consecutive numbers; ""
        where they are. What `RunIdentity.addresses` holds."""
        from ..tasks.sampler import sample

        mine = self.tasks.addresses
        if mine == sample(self.tasks.space, self.seed, range(self.start, self.start + len(mine))).addresses:
            return ""
        return hashlib.sha256("\n".join(mine).encode()).hexdigest()[:16]


def pixels_sha256(array: Any) -> str:
    """SHA-256 over type, shape and samples of an image, the same however its file is packed."""
    head = f"{array.dtype.name} {'x'.join(map(str, array.shape))}\n".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).hexdigest()


# ---- writing


def card_text(card: Card) -> str:
    """The card as TOML.

    Raises:
        CardError: a name that is no text, or more samples than a card can hold.
    """
    space = card.tasks.space
    head = {
        "card": {
            "version": VERSION,
            "space": space.name,
            "digest": space.digest,
            "scale": space.scale,
            "samples": len(card.tasks),
            "images": len(card.images),
            "files": len(card.files),
            "format": card.file_format,
            **({"protocol": card.protocol} if card.protocol else {}),
            "versions": dict(card.versions),
        },
        "crops": {"rule": "square", "side_px": card.side_px, "augment": card.augment, "seed": card.seed},
    }
    lines = [f"{_HEAD}\n{tomli_w.dumps(head)}\n[space]\ntoml = {_paragraph(space.to_toml())}\n"]
    if space.components:
        lines.append("\n[space.components]\n")
        lines += [f"{_text(part.name)} = {_paragraph(part.to_toml())}\n" for part in space.components]
    for name, arrays in space.pools.items():
        shapes = [list(array.shape) for array in arrays]
        lines.append(
            f"\n# What files of the space hold: float32, little-endian, in base64.\n[space.pools.{_text(name)}]\n"
        )
        lines.append(f"shapes = {shapes}\nfloat32 = {_text(_base64(arrays))}\n")
    lines.append("\n[tasks]\naddresses = [\n")
    lines += [f"    {_text(address)},\n" for address in card.tasks.addresses]
    lines.append("]\n\n# Clean images, by name and SHA-256, in the order in which crops number them.\n[hr]\n")
    lines += [f"{_text(name)} = {_text(sha256)}\n" for name, sha256 in card.images.items()]
    lines.append("\n# The set: SHA-256 of every file and, where it is an image, of its pixels.\n[files]\n")
    for name, one in card.files.items():
        pixels = f", pixels = {_text(one.pixels)}" if one.pixels else ""
        lines.append(f"{_text(name)} = {{ sha256 = {_text(one.sha256)}{pixels} }}\n")
    text = "".join(lines)
    if len(text.encode("utf-8", "surrogateescape")) > MAX_BYTES:
        raise CardError(f"a card has at most {MAX_BYTES:,} bytes, which {len(card.tasks):,} samples exceed")
    return text


def _base64(arrays: Sequence[NDArray[np.float32]]) -> str:
    return base64.b64encode(b"".join(array.astype("<f4").tobytes() for array in arrays)).decode()


def _paragraph(text: str) -> str:
    """A text of several lines as TOML, as it stands where that can be."""
    is_plain = "'''" not in text and all(line.isprintable() for line in text.replace("\t", " ").split("\n"))
    return f"'''\n{text}'''" if is_plain else _text(text)


def _text(value: str) -> str:
    """A TOML string, which is also a key."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CardError(f"{display_name(value)}: a card names images by text, this name is none; rename it") from None
    return tomli_w.dumps({"x": value}).partition(" = ")[2].strip()


# ---- reading


def read_card(path: Path) -> Card:
    """The card in a file.

    Raises:
        CardError: no card, one that is cut off, of another version, or whose space has another digest here.
    """
    where = display_name(path)
    data = _parsed(path, where)
    head = _table(data, "card", where)
    version = head.get("version")
    if type(version) is not int or version != VERSION:
        raise CardError(f"{where}: must be a card of version {VERSION}, got {shown(version)}")
    space = _space(data, head, where)
    tasks = _tasks(data, head, space, where)
    crops = _table(data, "crops", where)
    if crops.get("rule") != "square":
        raise CardError(f"{where}: crops.rule must be 'square', got {shown(crops.get('rule'))}")
    side_px = _value(crops, "side_px", int, f"{where}: crops.")
    if not (0 < side_px < 2**31 and side_px % space.scale == 0):
        raise CardError(f"{where}: crops.side_px must be a multiple of the scale {space.scale}, got {shown(side_px)}")
    check_sizes(tasks, side_px, where)
    if crops.get("seed") != int(tasks.seeds[0]):
        raise CardError(
            f"{where}: crops.seed must be that of the tasks, {tasks.seeds[0]}, got {shown(crops.get('seed'))}"
        )
    images = {name: _sha256(value, f"{where}: hr.{shown(name)}") for name, value in _table(data, "hr", where).items()}
    files = {name: _digests(name, value, where) for name, value in _table(data, "files", where).items()}
    for name, found in (("images", images), ("files", files)):
        _check_count(head, name, len(found), where)
    if not images:
        raise CardError(f"{where}: must name at least one image under [hr], got none")
    protocol = _value(head, "protocol", str, f"{where}: card.") if "protocol" in head else ""
    return Card(
        tasks,
        side_px,
        _one_of(crops, "augment", AUGMENTS, f"{where}: crops."),  # type: ignore[arg-type]
        _one_of(head, "format", FORMATS, f"{where}: card."),
        images,
        files,
        _versions(head, where),
        protocol,
    )


def is_card(path: Path) -> bool:
    """Whether a .toml file begins as a card does: its first table is [card]."""
    if path.suffix.lower() != ".toml":
        return False
    try:
        with open_regular(path) as stream:
            head = stream.read(2**16).decode("utf-8", "replace")
    except (ImageError, OSError):
        return False
    tables = (line.strip() for line in head.split("\n") if line.lstrip().startswith("["))
    return next(tables, "") == "[card]"


def _parsed(path: Path, where: str) -> dict[str, Any]:
    try:
        with open_regular(path) as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (ImageError, OSError) as error:
        raise CardError(str(error) if isinstance(error, ImageError) else f"{where}: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise CardError(f"{where}: a card has at most {MAX_BYTES:,} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CardError(f"{where}: must be a card, got a file that is no text") from None
    return parsed(text, where, "a card", lambda fault: CardError(f"{fault}; half a card?"))


def _table(data: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    found = data.get(name)
    if not isinstance(found, dict):
        raise CardError(
            f"{where}: a card has a table [{name}], got {'none; half a card?' if found is None else shown(found)}"
        )
    return found


def _value(table: Mapping[str, Any], name: str, kind: type, label: str) -> Any:
    if type(table.get(name)) is not kind:
        expected = {int: "a whole number", str: "a text", list: "a list"}[kind]
        raise CardError(f"{label}{name} must be {expected}, got {shown(table.get(name))}")
    return table[name]


def _one_of(table: Mapping[str, Any], name: str, known: tuple[str, ...], label: str) -> str:
    value = table.get(name)
    if value not in known:
        raise CardError(f"{label}{name} must be one of {', '.join(known)}, got {shown(value)}")
    return str(value)


def _check_count(head: Mapping[str, Any], name: str, found: int, where: str) -> None:
    stated = _value(head, name, int, f"{where}: card.")
    if stated != found:
        raise CardError(f"{where}: states {shown(stated)} {name}, holds {found}; a card that is cut off or was changed")


def _space(data: Mapping[str, Any], head: Mapping[str, Any], where: str) -> Space:
    table = _table(data, "space", where)
    texts = table.get("components", {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise CardError(f"{where}: space.components must be texts by name, got {shown(texts)}")
    try:
        space = Space.loads(_value(table, "toml", str, f"{where}: space."), texts, _pools(table, where))
    except SpaceError as error:
        raise CardError(f"{where}: {error}") from None
    for name, found in (("space", space.name), ("scale", space.scale)):
        if head.get(name) != found:
            raise CardError(f"{where}: card.{name} must be the space's, {found}, got {shown(head.get(name))}")
    digest = _value(head, "digest", str, f"{where}: card.")
    if digest != space.digest:
        made = "; ".join(f"{name} {version}" for name, version in _versions(head, where).items())
        raise CardError(
            f"{where}: expected digest {display_name(digest[:8])}, got {space.digest[:8]}: {space.changed()}"
            + (f" (made with {display_name(made[:200])})" if made else "")
        )
    return space


def _pools(table: Mapping[str, Any], where: str) -> dict[str, list[NDArray[np.float32]]]:
    """What files of the space hold, by name; that it fits the name is looked at where the space is read."""
    members: dict[str, NDArray[Any]] = {}
    found = table.get("pools", {})
    try:
        for name, one in found.items():
            members[pools.VALUES + name] = np.frombuffer(base64.b64decode(one["float32"], validate=True), "<f4")
            members[pools.SHAPES + name] = np.array(one["shapes"], np.int32)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise CardError(f"{where}: space.pools must hold shapes and float32 values in base64 by name") from None
    return pools.unpacked(members)


def _tasks(data: Mapping[str, Any], head: Mapping[str, Any], space: Space, where: str) -> TaskBatch:
    addresses = _value(_table(data, "tasks", where), "addresses", list, f"{where}: tasks.")
    _check_count(head, "samples", len(addresses), where)
    if not addresses or not all(isinstance(one, str) for one in addresses):
        raise CardError(f"{where}: tasks.addresses must be at least one address, got {shown(addresses)}")
    try:
        tasks = TaskBatch.from_addresses(addresses, space)
    except (TaskError, SpaceError) as error:
        raise CardError(f"{where}: {error}") from None
    check_numbered(tasks, where)
    return tasks


def check_numbered(tasks: TaskBatch, where: str) -> None:
    """CardError unless tasks have one seed and ascending sample numbers, which name the files of a set."""
    if (tasks.seeds != tasks.seeds[0]).any() or (np.diff(tasks.indices) <= 0).any():
        raise CardError(f"{where}: the tasks of a card must have one seed and ascending sample numbers")
    if int(tasks.indices[-1]) >= 10**18:
        raise CardError(f"{where}: sample numbers must be below 10^18, got {tasks.indices[-1]}")


def check_sizes(tasks: TaskBatch, side_px: int, where: str) -> None:
    """CardError unless every task makes LR of a crop: edited by hand, it may end at another size."""
    for start in range(0, len(tasks), _PLANNED):
        some = tasks.take(slice(start, start + _PLANNED))
        sides = np.full(len(some), side_px, np.int32)
        try:
            make_plan(some, Layout.of_sizes(sides, sides))
        except PydegradeError as error:
            raise CardError(f"{where}: {error}") from None


def _versions(head: Mapping[str, Any], where: str) -> dict[str, str]:
    found = head.get("versions", {})
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CardError(f"{where}: card.versions must be texts by name, got {shown(found)}")
    return found


def _sha256(value: Any, label: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise CardError(f"{label} must be a SHA-256, 64 hex digits, got {shown(value)}")
    return value


def _digests(name: str, value: Any, where: str) -> Digests:
    label = f"{where}: files.{shown(name)}"
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\0" in name or not path.parts:
        raise CardError(f"{label}: names of files must stay inside the folder")
    if not isinstance(value, dict):
        raise CardError(f"{label} must be {{ sha256 = ... }}, got {shown(value)}")
    pixels = value.get("pixels", "")
    return Digests(_sha256(value.get("sha256"), label), pixels and _sha256(pixels, f"{label}: pixels"))

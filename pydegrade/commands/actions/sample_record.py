"""What a run of `degrade sample` knows about its finished samples: which bytes it wrote, and from which photograph.

A line of the record is added once a sample is stored. A sample without a line, with other bytes, or from a photograph that
has other content by now is made anew: its bits follow from the space, the seed, its number and the photograph alone.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ImageError
from ...files.atomic import append, write_atomic
from ...files.containers import open_container
from ...files.dataset import Crops, HrImage, HrImages
from ...files.paths import display_name, open_regular, sha256_of_file
from ...files.sample_manifest import PairStore
from ...shell.outputs import RECORD_FILE


@dataclass(frozen=True)
class Finished:
    """One finished sample.

    Attributes:
        sha256: of its stored images, in the order of kinds.
        source: SHA-256 of its photograph.
    """

    sha256: tuple[str, ...]
    source: str


class SourceDigests:
    """Digests of the contents of images, each computed once. Any thread may call."""

    def __init__(self, images: HrImages) -> None:
        self._images = images.images
        self._known: dict[int, tuple[tuple[int, int, int], str]] = {}
        self._lock = threading.Lock()

    def of(self, position: int) -> str:
        """SHA-256 of the content of an image.

        Raises:
            ImageError: it cannot be read, or has changed since it was first asked for.
        """
        image = self._images[position]
        state = (0, 0, 0) if image.key else _state(image.path)
        with self._lock:
            known = self._known.get(position)
        if known is None:
            known = (state, image_sha256(image))
            with self._lock:
                known = self._known.setdefault(position, known)
        if known[0] != state:
            raise ImageError(f"{display_name(image.place)}: changed while it was read")
        return known[1]

    def known(self, position: int) -> str:
        """The digest of an image that `of` was asked for."""
        with self._lock:
            return self._known[position][1]


def image_sha256(image: HrImage) -> str:
    """SHA-256 of the file of a clean image, or of its value in an LMDB."""
    if image.key:
        return hashlib.sha256(open_container(image.path).read(image.key)).hexdigest()
    return sha256_of_file(image.path)


def _state(path: Path) -> tuple[int, int, int]:
    with open_regular(path):  # refuses pipes and what is gone, in one line
        found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def read_samples(folder: Path) -> dict[int, Finished]:
    """Index -> what the record says; lines that are no lines of a record are left out."""
    found: dict[int, Finished] = {}
    try:
        lines = (folder / RECORD_FILE).read_bytes().split(b"\n")
    except OSError:
        return {}
    for line in lines:
        try:
            values = json.loads(line)
            index, sha256, source = values["index"], values["sha256"], values["source"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if type(index) is int and isinstance(sha256, list) and all(isinstance(one, str) for one in [*sha256, source]):
            found[index] = Finished(tuple(sha256), source)
    return found


def write_samples(folder: Path, samples: Mapping[int, Finished]) -> None:
    """The record of exactly these, in order."""
    write_atomic(folder / RECORD_FILE, _lines(sorted(samples.items())))


def append_samples(folder: Path, samples: Mapping[int, Finished]) -> None:
    """Add samples that are stored now."""
    append(folder / RECORD_FILE, _lines(samples.items()))


def _lines(samples: Iterable[tuple[int, Finished]]) -> bytes:
    return "".join(json.dumps({"index": index, **vars(one)}) + "\n" for index, one in samples).encode()


def still_finished(
    record: Mapping[int, Finished],
    indices: NDArray[np.int64],
    crops: Crops,
    store: PairStore,
    digests: SourceDigests,
    workers: int,
) -> NDArray[np.int64]:
    """Rows whose images are stored as they were written, from photographs that are as they were.

    Args:
        record: from `read_samples`.
        indices: sample number of each row.
        crops: crop of each row.
        store: of the run.
        digests: of the images that `crops` refers to.
        workers: threads.
    """
    stored = store.finished()
    rows = [row for row, index in enumerate(indices.tolist()) if index in stored and index in record]

    def holds(row: int) -> bool:
        said = record[int(indices[row])]
        try:
            return digests.of(int(crops.image[row])) == said.source and store.sha256(int(indices[row])) == said.sha256
        except (ImageError, OSError):
            return False

    with ThreadPoolExecutor(max_workers=workers) as pool:
        kept = [row for row, good in zip(rows, pool.map(holds, rows)) if good]
    return np.array(kept, np.int64)

"""One file of many samples, written a sample at a time: tar in webdataset's layout, Parquet as `datasets` stores images."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...files.parquet_reader import pyarrow_parquet

FORMATS = ("tar", "parquet")
ROWS_AT_ONCE = 64
"""Samples of a row group of Parquet: what a reader holds to read one of them."""


@dataclass(frozen=True)
class PackedSample:
    """A sample as it is packed.

    Attributes:
        index: its number.
        images: kind -> content of the image file, in order.
        ending: of these files, without the dot.
        task: address and parameters as plain values.
    """

    index: int
    images: Mapping[str, bytes]
    ending: str
    task: Mapping[str, Any]

    def name(self, kind: str) -> str:
        return f"{self.index:08d}.{kind}.{self.ending}"


Add = Callable[[PackedSample], None]


@contextmanager
def tar_of_samples(path: Path, kinds: tuple[str, ...]) -> Iterator[Add]:
    """Members `00000012.hr.png`, ... and `00000012.json` of every sample."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:

        def member(name: str, content: bytes) -> None:
            # Without time and owner, which would tell one start from another.
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))

        def add(sample: PackedSample) -> None:
            for kind in kinds:
                member(sample.name(kind), sample.images[kind])
            member(f"{sample.index:08d}.json", json.dumps(sample.task).encode())

        yield add


@contextmanager
def parquet_of_samples(path: Path, kinds: tuple[str, ...]) -> Iterator[Add]:
    """Columns index, address, an image per kind, and task, the parameters as JSON.

    The schema carries the features of Hugging Face's `datasets`, so that `load_dataset("parquet", ...)` gives images.
    """
    parquet = pyarrow_parquet()
    import pyarrow

    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    features = {
        "index": {"dtype": "int64", "_type": "Value"},
        "address": {"dtype": "string", "_type": "Value"},
        **{kind: {"_type": "Image"} for kind in kinds},
        "task": {"dtype": "string", "_type": "Value"},
    }
    types = {"index": pyarrow.int64(), "address": pyarrow.string(), **dict.fromkeys(kinds, image)}
    schema = pyarrow.schema([*types.items(), ("task", pyarrow.string())]).with_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    waiting: list[dict[str, Any]] = []
    # Images are compressed already.
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:

        def flush() -> None:
            if waiting:
                writer.write_table(pyarrow.Table.from_pylist(waiting, schema), row_group_size=ROWS_AT_ONCE)
                waiting.clear()

        def add(sample: PackedSample) -> None:
            images = {kind: {"bytes": sample.images[kind], "path": sample.name(kind)} for kind in kinds}
            address = sample.task["address"]
            waiting.append({"index": sample.index, "address": address, **images, "task": json.dumps(sample.task)})
            if len(waiting) == ROWS_AT_ONCE:
                flush()

        yield add
        flush()


WRITERS = {"tar": tar_of_samples, "parquet": parquet_of_samples}
"""Format, which is also the ending of its files -> how one is written."""

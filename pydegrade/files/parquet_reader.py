"""Images in Parquet files as Hugging Face's `datasets` stores them: columns of struct{bytes, path}, read a row group at a
time. Needs `pip install 'pydegrade[parquet]'`. What stands in `path` names an image and is never opened."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ImageError, needs
from .paths import as_image_error, display_name, open_regular

MOST_GROUP_BYTES = 2**31
"""Of one row group's image column; writers make some 100 MB."""


def pyarrow_parquet() -> Any:
    """The module pyarrow.parquet.

    Raises:
        ImageError: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImageError(needs("a Parquet file", "pyarrow", "parquet")) from None
    return pyarrow.parquet


class ParquetReader:
    """A Parquet file whose columns are known and whose rows are read on demand. Any thread may read.

    Attributes:
        kinds: names of the columns of images.
        left_out: nothing that is known before rows are read.

    Raises:
        ImageError: no Parquet file, a damaged one, or pyarrow is not installed.
    """

    left_out: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        parquet = pyarrow_parquet()
        self._path = path
        self._lock = threading.Lock()
        self._kept: tuple[tuple[str, int], list[Any]] | None = None
        try:
            self._file = parquet.ParquetFile(open_regular(path))
            schema = self._file.schema_arrow
            self.kinds = tuple(field.name for field in schema if _is_image(field.type))
            sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        except Exception as error:  # whatever pyarrow raises about a damaged file
            raise self._refused(error) from None
        if any(size < 0 for size in sizes):
            raise ImageError(f"{display_name(path)}: not a readable Parquet file (a row group of {min(sizes)} rows)")
        self._starts = [sum(sizes[:group]) for group in range(len(sizes))]
        self._rows = sum(sizes)

    def of_kind(self, kind: str, left_out: list[str]) -> Iterator[tuple[str, str, bytes]]:
        """(name, key, content) of a column's images in order; rows without an image are passed over.

        Args:
            kind: one of `kinds`.
            left_out: gets a line for each row group that cannot be read.
        """
        seen = set[str]()
        for group, start in enumerate(self._starts):
            try:
                values = self._group(kind, group)
            except ImageError as error:
                end = ([*self._starts, self._rows])[group + 1]
                left_out.append(f"{error}; rows {start} to {end - 1} of {display_name(kind)!r} are left out")
                continue
            for row, value in enumerate(values, start):
                if value is not None and value.get("bytes"):
                    name = _named(value.get("path"), kind, row)
                    # Paths may differ in their folders alone; a row's number tells HR and LR of a sample apart from
                    # others in the same way.
                    name = f"{row:08d}/{name}" if name in seen else name
                    seen.add(name)
                    yield name, f"{kind}/{row}", value["bytes"]

    def read(self, key: str) -> bytes:
        """The image of "column/row".

        Raises:
            ImageError: no such image.
        """
        kind, _, number = key.rpartition("/")
        row = int(number) if number.isdecimal() and len(number) < 19 else self._rows
        if kind not in self.kinds or row >= self._rows:
            raise ImageError(f"{display_name(self._path)}: does not hold {display_name(key)!r}")
        group = bisect.bisect_right(self._starts, row) - 1
        value = self._group(kind, group)[row - self._starts[group]]
        if value is None or not value.get("bytes"):
            raise ImageError(f"{display_name(self._path)}: row {row} has no image {display_name(kind)!r}")
        return bytes(value["bytes"])

    def _group(self, kind: str, group: int) -> list[Any]:
        """A column's values in a row group; the last one is kept."""
        with self._lock:
            if self._kept is not None and self._kept[0] == (kind, group):
                return self._kept[1]
            try:
                metadata = self._file.metadata.row_group(group)
                columns = [metadata.column(number) for number in range(metadata.num_columns)]
                needed = sum(one.total_uncompressed_size for one in columns if one.path_in_schema.split(".")[0] == kind)
                if needed > MOST_GROUP_BYTES:
                    raise ImageError(
                        f"{display_name(self._path)}: row group {group} of {display_name(kind)!r} has {needed:,} bytes, at "
                        f"most {MOST_GROUP_BYTES:,} are read"
                    )
                values = self._file.read_row_group(group, columns=[kind]).column(0).to_pylist()
            except ImageError:
                raise
            except Exception as error:
                raise self._refused(error) from None
            self._kept = (kind, group), values
            return values

    def _refused(self, error: Exception) -> ImageError:
        if isinstance(error, ImageError):
            return error
        if isinstance(error, OSError) and error.errno:  # of what holds the file; pyarrow's own have no number
            return as_image_error(self._path, error)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return ImageError(f"{display_name(self._path)}: not a readable Parquet file ({display_name(reason)})")


def _is_image(kind: Any) -> bool:
    """Whether a column is struct{bytes: binary, path: string}, as `datasets` stores images."""
    import pyarrow

    if not pyarrow.types.is_struct(kind):
        return False
    fields = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
    held = fields.get("bytes")
    return held is not None and (pyarrow.types.is_binary(held) or pyarrow.types.is_large_binary(held))


def _named(path: Any, kind: str, row: int) -> str:
    """What an image is called: by its path's last part, without the kind, so that HR and LR of a sample share a name."""
    name = PurePosixPath(str(path or "").replace("\\", "/")).name
    if not name or name == "..":
        return f"{row:08d}"
    return name.replace(f".{kind}.", ".", 1)

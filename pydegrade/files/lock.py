"""One writer per output folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

from ..errors import OutputError
from .atomic import make_folder, remove_leftovers, write_error
from .paths import display_name


@contextlib.contextmanager
def folder_lock(folder: str | os.PathLike[str], part: str = "") -> Iterator[None]:
    """Hold an output folder for the block: a second process that wants the same is refused at once.

    The folder is created, and removed again if it stays empty; what killed writers left in it is removed. The lock is a
    hidden file of the folder, held by the operating system, so that it ends with the process however that ends. File
    systems that know no locks are written to without one.

    Args:
        folder: the results' folder.
        part: name of the part of it that this process fills, where several may work in it at a time ("shard-0-of-4").
    Raises:
        OutputError: another process holds it.
        WriteError: it cannot be written to.
    """
    folder = Path(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    make_folder(folder)
    path = folder / f".pydegrade{'-' + part if part else ''}.lock"
    lock = filelock.FileLock(path, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise OutputError(
            f"{display_name(folder)}: another process is writing here; wait for it, or choose another folder"
        ) from None
    except NotImplementedError:
        pass
    except OSError as error:
        raise write_error(folder, error) from None
    try:
        remove_leftovers(folder)
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile finds, once locked, that it has no name, and tries anew.
        path.unlink(missing_ok=True)
        lock.release()
        for place in made:  # a start that failed leaves nothing behind
            if any(place.iterdir()):
                break
            place.rmdir()

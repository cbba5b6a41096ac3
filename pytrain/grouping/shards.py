"""Many independent measurements over many processes, none of them lost.

Every process appends a line per task to a file of its own. What is done is what stands in these files: a process that is
killed loses its current task, and the next start, with any number of processes, goes on with the rest. A measurement is
a pure function of (job, row), so neither the number of processes nor the order changes a result.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

import pydegrade

from ..errors import DataError, PytrainError, one_line
from ..training.distributed import World

Values = Mapping[str, Any]
Measure = Callable[[Any, int], Values]
"""(what `Job.open` returned, row) -> numbers and lists of numbers by name, as JSON can hold them."""

POLL_S = 0.5


@dataclass(frozen=True)
class Job:
    """Something to measure for many rows.

    Attributes:
        open: makes the object that measures, once per process; picklable.
        measure: a function of a module, so that other processes find it.
        name: of the measurement: its files lie in a folder of this name.
    """

    open: Callable[[], Any]
    measure: Measure
    name: str


def measure_rows(
    job: Job, rows: Sequence[int], folder: Path, workers: int, world: World, advance: Callable[[int], None]
) -> dict[int, Values]:
    """Measure every row that is not measured yet.

    Args:
        job: what to do.
        rows: for which rows.
        folder: of this measurement's part files; created.
        workers: processes to start, of one thread each; 1: this process does it. Under torchrun its processes share the
            rows and this number does not count.
        world: this process among those of torchrun.
        advance: called with numbers of rows that were finished.
    Returns:
        By row, in rising order, what `measure` returned.
    Raises:
        PytrainError: a process failed, or was killed before it finished a single row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(rows)
    done = {row: values for row, values in read_parts(folder).items() if row in wanted}
    advance(len(done))
    pending = [row for row in rows if row not in done]
    if world.size > 1:
        # All processes must cut the same list, whoever is ahead.
        pending = json.loads(world.from_main(json.dumps(pending)))
        _work(job, pending[world.rank :: world.size], folder / f"rank_{world.rank}.jsonl", lambda: advance(1))
        world.wait()
    elif pending and (workers == 1 or len(pending) == 1):
        _work(job, pending, folder / "rank_0.jsonl", lambda: advance(1))
    else:
        while pending:
            _spawn(job, pending, folder, min(workers, len(pending)), advance)
            found = read_parts(folder)
            left = [row for row in pending if row not in found]
            if len(left) == len(pending):
                raise PytrainError(f"{job.name}: every process was killed before it finished a task; is memory short?")
            pending = left
    found = read_parts(folder)
    return {row: found[row] for row in sorted(wanted)}


def read_parts(folder: Path) -> dict[int, Values]:
    """What the part files of a folder hold; a line that was torn by a kill is left out.

    Raises:
        DataError: a line that is none of ours.
    """
    found: dict[int, Values] = {}
    for path in sorted(folder.glob("rank_*.jsonl")):
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
            try:
                values = json.loads(line)
                found[int(values.pop("row"))] = values
            except (ValueError, KeyError, AttributeError, TypeError):
                raise DataError(
                    f"{path}:{number}: not a line of results; remove it to measure its task again"
                ) from None
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time works in a folder; the lock ends with the process, however it ends.

    Raises:
        DataError: another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(f"{folder}: another `pytrain group` works there") from None
        yield


def _work(job: Job, rows: Sequence[int], path: Path, finished: Callable[[], None]) -> None:
    """Measure rows one after the other, in one thread, and append them to a file."""
    if not rows:
        return
    before = torch.get_num_threads(), pydegrade.get_num_threads()
    # One thread always: sums over threads would round differently from one number of threads to another.
    torch.set_num_threads(1)
    pydegrade.set_num_threads(1)
    try:
        measuring = job.open()
        with open(path, "ab+") as file:
            _cut_torn_line(file)
            for row in rows:
                values = job.measure(measuring, row)
                file.write(json.dumps({"row": row, **values}, allow_nan=False).encode() + b"\n")
                file.flush()
                finished()
    finally:
        torch.set_num_threads(before[0])
        pydegrade.set_num_threads(before[1])


def _cut_torn_line(file: Any) -> None:
    """Remove what a killed process left behind the last line break."""
    file.seek(0)
    content = file.read()
    file.truncate(content.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def _spawn(job: Job, rows: Sequence[int], folder: Path, workers: int, advance: Callable[[int], None]) -> None:
    """Share rows among fresh processes and wait for them; returns also when some were killed."""
    # Fresh interpreters: a copy of this one would inherit torch's threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    before = len(read_parts(folder))
    processes: list[tuple[Any, Connection]] = []
    try:
        for rank in range(workers):
            receiving, sending = context.Pipe(duplex=False)
            arguments = (job, rows[rank::workers], folder / f"rank_{rank}.jsonl", sending)
            process = context.Process(target=_child, args=arguments, daemon=True)
            process.start()
            sending.close()
            processes.append((process, receiving))
        while any(process.is_alive() for process, _ in processes):
            time.sleep(POLL_S)
            now = len(read_parts(folder))
            advance(now - before)
            before = now
        advance(len(read_parts(folder)) - before)
        for process, receiving in processes:
            process.join()
            try:
                message = receiving.recv()
            except EOFError:
                continue
            raise PytrainError(f"{job.name}: {message}")
    finally:
        for process, receiving in processes:
            process.terminate()
            process.join()
            receiving.close()


def _child(job: Job, rows: Sequence[int], path: Path, sending: Connection) -> None:
    """A process of its own; it sends one line when it fails."""
    parent = multiprocessing.parent_process()

    def finished() -> None:
        if parent is not None and not parent.is_alive():
            raise SystemExit(1)

    try:
        _work(job, rows, path, finished)
    except KeyboardInterrupt:
        pass
    except Exception as error:
        sending.send(f"{type(error).__name__}: {one_line(error)}")
    finally:
        sending.close()

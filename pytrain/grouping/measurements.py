"""Many independent measurements over many processes, few of them ever lost.

A line per row goes to a file as soon as it is measured; what is done is what stands there. A start with any number of
processes goes on with the rest. A measurement is a pure function of (measurement, row), so neither the number of processes
nor the order changes a result.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, BinaryIO

import torch

import pydegrade
from pydegrade.shell import say

from ..errors import DataError, PytrainError, is_out_of_memory, one_line
from ..training.distributed import World

Values = Mapping[str, Any]
Measure = Callable[[Any, int], Values]
"""(what `Measurement.open` returned, row) -> numbers and lists of numbers by name, as JSON can hold them."""


@dataclass(frozen=True)
class Measurement:
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
    measurement: Measurement,
    rows: Sequence[int],
    folder: Path,
    workers: int,
    world: World,
    advance: Callable[[int], None],
    replicas: int = 1,
) -> dict[int, Values]:
    """Measure every row that is not measured yet.

    Args:
        measurement: what to do.
        rows: for which rows.
        folder: of this measurement's part files; created.
        workers: processes to start, of one thread each; 1: this process does it. Under torchrun its processes share the
            rows and this number does not count.
        world: this process among those of torchrun.
        advance: called with numbers of rows that were finished.
        replicas: how often `measurement` is opened on a GPU, to measure rows side by side; fewer where memory runs out.
    Returns:
        By row, in rising order, what `measure` returned.
    Raises:
        PytrainError: a process failed, or processes are killed before they finish a single row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(rows)
    done = wanted & read_parts(folder).keys()
    advance(len(done))
    pending = [row for row in rows if row not in done]
    if world.size > 1:
        # All processes must cut the same list, whoever is ahead.
        pending = json.loads(world.from_main(json.dumps(pending)))[world.rank :: world.size]
    with _appending(folder / f"rank_{world.rank}.jsonl") as write:
        if world.size > 1 or workers == 1 or len(pending) <= 1:
            found_here = _measured_here(measurement, pending)
            if replicas > 1:
                found_here = measured_by_replicas(measurement, pending, min(replicas, len(pending)), world.device)
            for row, values in found_here:
                write(row, values)
                advance(1)
        while pending and world.size == 1 and workers > 1:
            left = set(pending)
            for row, values in _measured_by_processes(measurement, pending, min(workers, len(pending))):
                write(row, values)
                left.discard(row)
                advance(1)
            if len(left) == len(pending):
                raise PytrainError(
                    f"{measurement.name}: every process was killed before it finished a task; is memory short?"
                )
            pending = [row for row in pending if row in left]
    world.wait()
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
            except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
                raise DataError(
                    f"{path}:{number}: not a line of results; remove it to measure its task again"
                ) from None
    return found


@contextmanager
def _appending(path: Path) -> Iterator[Callable[[int, Values], None]]:
    """A part file that takes a line at a time; what a kill left behind its last line break is removed first."""
    with open(path, "ab+") as file:
        _cut_torn_line(file)

        def write(row: int, values: Values) -> None:
            file.write(json.dumps({"row": row, **values}, allow_nan=False).encode() + b"\n")
            file.flush()

        yield write


def _cut_torn_line(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def _measured_here(measurement: Measurement, rows: Sequence[int]) -> Iterator[tuple[int, Values]]:
    """One row after the other in this process."""
    if not rows:
        return
    with _one_thread():
        opened = measurement.open()
        for row in rows:
            yield row, measurement.measure(opened, row)


def measured_by_replicas(
    measurement: Measurement, rows: Sequence[int], count: int, device: torch.device
) -> Iterator[tuple[int, Values]]:
    """Rows as several replicas on one GPU finish them, each with a thread and a stream of its own.

    All are opened before the first row is measured: what they record must not meet work of another thread.

    Raises:
        PytrainError: not even one fits into the memory of the device.
    """
    replicas: list[_Replica] = []
    for _ in range(count if rows else 0):
        in_stream = _own_stream(device)
        try:
            with in_stream():
                replicas.append((measurement.open(), in_stream))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            shortage = one_line(error)
        else:
            continue
        _say_fewer(measurement, device, len(replicas), shortage)
        break
    _free_memory(device)
    while rows:
        waiting = deque(rows)
        failed: dict[int, str] = {}
        for number, row, found in _side_by_side(measurement.measure, replicas, waiting):
            if isinstance(found, str):
                failed[number] = found
                waiting.append(row)
            else:
                yield row, found
        rows = list(waiting)
        if failed:
            # Several that fail together may leave enough for one.
            left = [replica for number, replica in enumerate(replicas) if number not in failed]
            replicas = left or replicas[: len(replicas) > 1]
            _say_fewer(measurement, device, len(replicas), next(iter(failed.values())))
            _free_memory(device)


_Replica = tuple[Any, Callable[[], AbstractContextManager[Any]]]
"""What `Measurement.open` returned, and the context of its stream."""


def _side_by_side(
    measure: Measure, replicas: Sequence[_Replica], waiting: deque[int]
) -> Iterator[tuple[int, int, Values | str]]:
    """(replica, row, values) as threads take rows from `waiting`; a replica that runs out of memory leaves its row with a
    line of text and stops. Rows that nobody took stay where they are."""
    found: queue.SimpleQueue[tuple[int, int, Values | str | BaseException] | None] = queue.SimpleQueue()

    def work(number: int) -> None:
        replica, in_stream = replicas[number]
        try:
            with in_stream():
                while waiting:
                    row = waiting.popleft()
                    try:
                        found.put((number, row, measure(replica, row)))
                    except Exception as error:
                        found.put((number, row, one_line(error) if is_out_of_memory(error) else error))
                        return
        except IndexError:  # another thread took the last row
            pass
        finally:
            found.put(None)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(replicas))]
    running = len(threads)
    for thread in threads:
        thread.start()
    try:
        while running:
            one = found.get()
            if one is None:
                running -= 1
                continue
            number, row, values = one
            if isinstance(values, BaseException):
                raise values
            yield number, row, values
    finally:
        if running:  # the caller ends early: no thread takes another row
            waiting.clear()
        for thread in threads:
            thread.join()


def _say_fewer(measurement: Measurement, device: torch.device, count: int, shortage: str) -> None:
    """A line where replicas are left; else an error."""
    reason = f"{measurement.name}: out of memory on {device} ({shortage})"
    if not count:
        raise PytrainError(f"{reason}; lower method.grouping.batch or method.grouping.crop_px")
    say(f"pytrain group: {reason}; {count} {'replica goes' if count == 1 else 'replicas go'} on", err=True)


def _own_stream(device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """Contexts in which work is queued on one stream that nobody else has."""
    if device.type != "cuda":
        return nullcontext
    stream = torch.cuda.Stream(device)
    return lambda: torch.cuda.stream(stream)


def _free_memory(device: torch.device) -> None:
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def _measured_by_processes(measurement: Measurement, rows: Sequence[int], workers: int) -> Iterator[tuple[int, Values]]:
    """Rows as fresh processes finish them; ends early when a process was killed.

    Raises:
        PytrainError: a measurement failed; the first failure, in one line.
    """
    # Fresh interpreters: a copy of this one would inherit torch's threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    stop, keep_going = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _open_in_process, (measurement.open, stop))
    futures = {pool.submit(_measure_in_process, measurement.measure, row): row for row in rows}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        return
    except Exception as error:
        raise PytrainError(f"{measurement.name}: {type(error).__name__}: {one_line(error)}") from None
    finally:
        # Closing the pipe ends the processes, also in the middle of a row.
        keep_going.close()
        pool.shutdown(cancel_futures=True)
        stop.close()


_opened: Any = None
"""In a process of a pool: what `Measurement.open` returned."""


def _open_in_process(open_measuring: Callable[[], Any], stop: Connection) -> None:
    global _opened
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent decides
    # A pool's processes would wait for ever for the next row of a parent that was killed: that closes its end as well.
    threading.Thread(target=lambda: (wait([stop]), os._exit(1)), daemon=True).start()
    _set_threads(1, 1)
    try:
        _opened = open_measuring()
    except Exception as error:  # reported by the first row: a pool only says that its initializer failed
        _opened = error


def _measure_in_process(measure: Measure, row: int) -> Values:
    if isinstance(_opened, Exception):
        raise _opened
    return measure(_opened, row)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread always: sums over threads would round differently from one number of threads to another."""
    before = torch.get_num_threads(), pydegrade.get_num_threads()
    _set_threads(1, 1)
    try:
        yield
    finally:
        _set_threads(*before)


def _set_threads(torch_threads: int, pydegrade_threads: int) -> None:
    torch.set_num_threads(torch_threads)
    pydegrade.set_num_threads(pydegrade_threads)

"""What a run changes in its process, and sets back: torch's random generator, threads, signal handlers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from .distributed import World


@contextmanager
def settled(threads: int, world: World) -> Iterator[None]:
    """torch's threads for a run, and a random generator that the caller does not share.

    Args:
        threads: of torch and of the degradations; 0: all cores, shared between the processes of a machine.
        world: this process among those of the run.
    """
    before = torch.get_num_threads()
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = [world.device.index or 0] if world.device.type == "cuda" else []
    torch.set_num_threads(threads or max(1, available // world.local_size))
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM has come; the step at hand is finished first. A second SIGINT interrupts at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        # Not the main thread: signals go elsewhere.
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

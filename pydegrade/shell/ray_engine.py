"""`--engine ray`: the shards of a command as tasks of a Ray cluster that is there already.

Nothing is scheduled here: every task is the command's own line with `--shard I/N`, so that what a task leaves is what that
line leaves anywhere, and a task that died with its machine goes on on another one where it stopped. All machines see the
folders of the line under the same names. Needs `pip install 'pydegrade[ray]'`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from ..errors import OutputError, needs
from .errors import BAD_INPUT, DONE, FAILURE, INTERRUPTED
from .main import ARGUMENTS
from .options import Choice, Command
from .progress import Progress

MODULES = {"degrade": "pydegrade", "pytrain": "pytrain"}
"""Name of a program -> what `python -m` runs."""

RETRIES = 100
"""Machines that a shard may lose."""

LOCK_WAIT_S = 120
"""What a shard waits for the process of a machine that is lost, which may end after the machine is given up."""

_PASSED_ON = ("PYDEGRADE_PLUGINS",)
_OWN = ("--engine", "--shards")


def engine_options(command: Command) -> Command:
    """--engine and --shards."""
    engine = click.option(
        "--engine", type=Choice(("local", "ray")), default="local", show_default=True,
        help="ray: shards as tasks of the Ray cluster of RAY_ADDRESS, or of this machine.",
    )  # fmt: skip
    shards = click.option(
        "--shards",
        type=click.IntRange(1, 10**6),
        metavar="N",
        help="With --engine ray.  [default: one for each machine]",
    )
    return engine(shards(command))


def check_engine(engine: str, shards: int | None, shard: str | None) -> None:
    """UsageError for options that do not go together."""
    if engine == "local" and shards is not None:
        raise click.UsageError("--shards goes with --engine ray; --shard I/N makes one of N here")
    if engine == "ray" and shard is not None:
        raise click.UsageError("--engine ray makes all shards; leave out --shard")


def on_ray(shards: int | None, most: int | None = None, gpu: bool = False) -> tuple[int, int]:
    """Run the command's own line as shards on a Ray cluster: (exit code, number of shards).

    What shards print for people is not shown, but for their warnings and errors. 0: all are done; 2: some left images
    out; 1: one failed; 130: interrupted with Ctrl-C. The same line goes on.

    Args:
        shards: how many; None: one for each machine of the cluster.
        most: more there cannot be.
        gpu: whether a shard takes a GPU.
    Raises:
        OutputError: Ray is not installed, no cluster is there, or no machine of it has what a shard takes.
    """
    ray = _connected()
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpu:
        machines = [one for one in machines if one.get("GPU", 0) >= 1]
    machines = [one for one in machines if one.get("CPU", 0) >= 1]
    if not machines:
        raise OutputError(f"--engine ray: needs machines with a CPU{' and a GPU' if gpu else ''}, the cluster has none")
    cores = int(min(one["CPU"] for one in machines))
    fitting = len(machines)
    if gpu:
        fitting = int(sum(one["GPU"] for one in machines))
        cores = max(1, int(min(one["CPU"] / one["GPU"] for one in machines)))
    count = shards or fitting
    if most is not None:
        if shards is not None and shards > most:
            raise OutputError(f"--shards: {most} samples or images make at most {most} shards, got {shards}")
        count = min(count, most)
    root = click.get_current_context().find_root()
    line = _without(root.meta[ARGUMENTS], _OWN)
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    task = ray.remote(num_cpus=cores, num_gpus=int(gpu), max_retries=RETRIES, scheduling_strategy="SPREAD")(run_shard)
    more = (os.getcwd(), cores, environment)
    module = MODULES[root.info_name or ""]
    waiting = {task.remote(module, [*line, "--shard", f"{n}/{count}"], *more): n for n in range(count)}
    codes = []
    progress = Progress(count, 0, "shards")
    try:
        while waiting:
            (done, *_), _ = ray.wait([*waiting])
            number = waiting.pop(done)
            code, errors = _result(ray, done)
            codes.append(code)
            for text in errors:
                progress.say(f"shard {number}/{count}: {text}")
            progress.advance()
    except KeyboardInterrupt:
        for reference in waiting:
            ray.cancel(reference)
        codes.append(INTERRUPTED)
    finally:
        progress.close()
    return next((code for code in (INTERRUPTED, FAILURE, BAD_INPUT) if code in codes), DONE), count


def _connected() -> Any:
    """The module ray, connected to a cluster that is there."""
    try:
        import ray  # type: ignore[import-not-found,import-untyped]
    except ImportError:
        raise OutputError(needs("--engine ray", "ray", "ray")) from None
    if not ray.is_initialized():
        # What Ray would report over the network about its use is asked for by nobody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(address="auto", log_to_driver=False, configure_logging=False)
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise OutputError(
                f"--engine ray: no cluster is there ({reason}); start one (ray start --head), or set RAY_ADDRESS"
            ) from None
    return ray


def _without(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """A command line without some options that take a value."""
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def _result(ray: Any, reference: Any) -> tuple[int, list[str]]:
    """Exit code of a shard, and lines of what went wrong."""
    try:
        code, errors = ray.get(reference)
    except KeyboardInterrupt:
        raise
    except Exception as error:  # Ray's own, or a defect, with its traceback
        return FAILURE, [line for line in str(error).splitlines() if line.strip()]
    return int(code), [line for line in errors.splitlines() if code != DONE or line.startswith("warning:")]


def run_shard(
    module: str,
    arguments: list[str],
    folder: str,
    threads: int,
    environment: dict[str, str],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[int, str]:
    """In a process of the cluster: run a command line by `python -m MODULE` in a folder, as a process of its own, which
    shares no library with Ray's and ends with it.

    Returns:
        Exit code, and what it said on stderr.
    """
    if not os.path.isdir(folder):
        return BAD_INPUT, f"{folder}: every machine must see this folder under this name"
    variables = {**os.environ, **environment, "PYDEGRADE_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    for waited_s in range(0, LOCK_WAIT_S + 1, 2):
        with subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=folder, env=variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        ) as child:  # fmt: skip
            try:
                _, errors = child.communicate()
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)
                child.wait()
                raise
        if child.returncode != BAD_INPUT or "another process is writing here" not in errors or waited_s >= LOCK_WAIT_S:
            break
        sleep(2)
    return child.returncode, errors

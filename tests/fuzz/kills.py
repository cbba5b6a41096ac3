"""Faults at random events: a command is killed, interrupted, or refused by its disk, and then started again.

An event is a file of the case that is opened, made, renamed or removed, counted by an audit hook; the fault strikes
before the n-th. So a case does not depend on the speed of the machine, and every step of every command is reached.
After the faults the same command runs to its end: the folder must equal that of a run that was never disturbed, byte
for byte, with nothing left behind.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from . import product
from .harness import Case, Done, Failure, check_words, in_child, quietly, snapshot
from .images import GOOD, png

FAULTS = (
    "kill",
    "kill",
    "kill",
    "interrupt",
    "full",
    "read-only",
    "broken",
    "twice",
    "vanish",
    "change",
    "small files",
    "small disk",
)
LIMIT_S = 90.0
"""Processor seconds of one command."""


@dataclass(frozen=True)
class Scenario:
    """A command, and what its results are.

    Attributes:
        words: program and arguments; "out" is the folder of results, "in" the inputs.
        again: what continues it, where that is another command.
        results: files of the folder -> contents that must be equal; what depends on times is left out.
    """

    words: tuple[str, ...]
    again: tuple[str, ...] = ()
    results: Callable[[Path], dict[str, Any]] = field(default=lambda folder: every_file(folder))


def every_file(folder: Path, *left_out: str) -> dict[str, Any]:
    """Contents of all files by name."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (
            path.is_file()
            and not path.name.startswith(".")
            and path.name not in left_out
            and not path.name.endswith(".lock")
        ):
            found[name] = path.read_bytes()
    return found


def lmdb_too(folder: Path) -> dict[str, Any]:
    """Every file, and of LMDBs the entries: where pages lie depends on the transactions."""
    import lmdb

    found = every_file(folder, "data.mdb", "lock.mdb")
    for path in sorted(folder.rglob("*.lmdb")):
        with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
            found[path.name] = list(transaction.cursor())
    return found


def weights(folder: Path) -> dict[str, Any]:
    """Of a training: the models; logs hold times."""
    return {
        name: content
        for name, content in every_file(folder).items()
        if name.endswith(".safetensors") and "states" not in name
    }


def grouped(folder: Path) -> dict[str, Any]:
    """Of `pytrain group`: records and weights; measured seconds are in the parts and pages only."""
    return {
        name: [line for line in content.split(b"\n") if b"second" not in line] if name.endswith(".toml") else content
        for name, content in every_file(folder).items()
        if name.endswith((".toml", ".safetensors", ".npz")) and not name.startswith("report")
    }


FIT = ("pytrain", "fit", "in/fit.toml")
SCENARIOS: dict[str, Scenario] = {
    "sample": Scenario(("degrade", "sample", "--tasks", "6", "--hr", "in/hr", "--hr-size", "32", "--batch", "2",
    "--out", "out/r")),
    "sample npy": Scenario(
        ("degrade", "sample", "--tasks", "5", "--hr", "in/hr", "--hr-size", "16", "--space", "bicubic-x2", "--batch",
        "1", "--format",
         "npy", "--out", "out/r")
    ),
    "sample lmdb": Scenario(
        ("degrade", "sample", "--tasks", "6", "--hr", "in/hr", "--hr-size", "16", "--space", "bicubic-x2", "--batch",
        "2", "--format",
         "lmdb", "--out", "out/r"),
        results=lmdb_too,
    ),
    "sample params": Scenario(("degrade", "sample", "--tasks", "6", "--params-only", "--out", "out/r")),
    "merge": Scenario(("degrade", "merge", "out/r", "in/s-0-of-2", "in/s-1-of-2")),
    "resize": Scenario(("degrade", "resize", "in/hr", "out/r", "--scale", "1/2")),
    "pairs": Scenario(("degrade", "pairs", "--hr", "in/hr", "--model", "in/tiny.safetensors", "--out", "out/r")),
    "apply": Scenario(("degrade", "apply", "in/hr", "--task", "in/tasks.npz", "--with-target", "--out", "out/r")),
    "infer": Scenario(("pytrain", "infer", "in/hr", "--model", "in/tiny.safetensors", "--out", "out/r", "--device",
    "cpu")),
    "fit": Scenario(FIT, (*FIT, "--resume"), weights),
    "group": Scenario(("pytrain", "group", "in/group.toml", "--workers", "1"), results=grouped),
}  # fmt: skip

_FIT = product.training_toml(
    run={"steps": 5, "out": "out/r"},
    train={"ema_decay": 0.9},
    evaluate={"every_steps": 2, "sets": [{"name": "s", "hr": "hr"}]},
    checkpoint={"every_steps": 2},
    log={"every_steps": 1},
)

_GROUP = product.training_toml(
    run={"name": "g"},
    net={"scale": 4},
    method={
        "type": "tgsr",
        "stage": "realesrnet",
        "groups": "../out/r/groups.toml",
        "grouping": {
            "tasks": 6, "iterations": 2, "average": 1, "crop_px": 32, "batch": 2, "learning_rate": 1e-4,
            "validation_hr": ["hr"], "validation_crops": 2, "validation_px": 32, "joint_steps": 3,
            "shares": [0.5, 0.5], "share": 0.5, "regroup": False, "indicator": "full",
        },
    },
    data={"crop_px": 32},
    train={"pretrained": "x4.safetensors"},
)  # fmt: skip


@cache
def inputs() -> Path:
    """What all scenarios read, made once."""
    import safetensors.torch
    import torch

    import pydegrade
    from pytrain import nets

    folder = Path(tempfile.mkdtemp(prefix="fuzz-kills-"))
    atexit.register(shutil.rmtree, folder, True)
    source = folder / "in"
    (source / "hr" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "deep/c.png", "deep/d.png")):
        (source / "hr" / name).write_bytes(png(np.roll(GOOD, number, 0).repeat(2, 0).repeat(2, 1), 2, 8, False))
    shutil.copy(product.tiny_model(), source / "tiny.safetensors")

    def work() -> None:
        torch.manual_seed(1)
        net = nets.build(nets.SRResNetConfig(scale=4, num_features=8, num_blocks=1))
        safetensors.torch.save_file(net.state_dict(), source / "x4.safetensors")
        pydegrade.sample("realesrgan-x2", 1, range(3)).save(source / "tasks.npz")
        words = ("sample", "--tasks", "6", "--hr", str(source / "hr"), "--hr-size", "16", "--space", "bicubic-x2")
        for number in range(2):
            quietly("degrade", *words, "--out", str(source / "s"), "--shard", f"{number}/2")

    in_child(work)
    (source / "fit.toml").write_text(_FIT)
    (source / "group.toml").write_text(_GROUP)
    return source


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: how many events it has, and what it leaves."""

    events: int
    results: dict[str, Any]
    largest_bytes: int
    hidden: frozenset[str]


def hidden(folder: Path) -> frozenset[str]:
    """Names below a folder that are none of results: records and locks, and what a process forgot."""
    names = [os.fsdecode(name) for name in snapshot(folder)]
    kept = [name for name in names if Path(name).name.startswith(".") or name.endswith((".tmp", ".partial"))]
    return frozenset(name for name in kept if not name.endswith("lock"))


@cache
def references() -> dict[str, Reference]:
    folder = inputs().parent
    found = {}
    for name, scenario in SCENARIOS.items():
        case = folder / "reference" / name
        case.mkdir(parents=True)
        (case / "in").symlink_to(inputs())
        done, events = start(case, scenario.words)
        if done.code:
            raise RuntimeError(f"{name}: the undisturbed run left with {done.code}: {done.err[-800:]}")
        results = scenario.results(case / "out" / "r")
        largest = max((path.stat().st_size for path in (case / "out" / "r").rglob("*") if path.is_file()), default=0)
        found[name] = Reference(events, results, largest, hidden(case / "out"))
        assert results, name
    return found


def prepare() -> None:
    references()


# ---- a command in a process of its own


Fault = Callable[[], None]


class _Running:
    """A command in a forked process that may be struck at one of its events."""

    def __init__(
        self, folder: Path, words: tuple[str, ...], at: int = 0, fault: Fault | None = None, file_bytes: int = 0
    ) -> None:
        self.out, self.err = (os.memfd_create(name) for name in ("out", "err"))
        counter, theirs = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(counter)
            _child(folder, words, at, fault, file_bytes, self.out, self.err, theirs)
        os.close(theirs)
        self.counter = counter

    def wait(self, stopped: bool = False) -> int | None:
        """Wait for the end; the status, or None when it stopped itself (only with `stopped`)."""
        asleep, before, last_spin = 0, -1.0, time.monotonic()
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG | (os.WUNTRACED if stopped else 0))
            if pid:
                return None if os.WIFSTOPPED(status) else status
            time.sleep(0.01)
            if time.monotonic() - last_spin > 0.4:
                # Work a little, or the harness would take this process for one that hangs.
                last_spin = time.monotonic()
                while time.process_time() and time.monotonic() - last_spin < 0.02:
                    pass
                fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
                cpu_s = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
                asleep = asleep + 1 if cpu_s == before and fields[0] == "S" else 0
                before = cpu_s
                if asleep > 40 or cpu_s > LIMIT_S:
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    raise Failure(
                        "hang", f"the command {'sleeps' if asleep > 40 else 'works and works'}: {self.said()!r}"
                    )

    def said(self) -> str:
        return os.pread(self.err, 2**20, 0).decode("utf-8", "replace")

    def done(self, status: int) -> Done:
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        return Done(code, os.pread(self.out, 2**20, 0).decode("utf-8", "replace"), self.said())

    def events(self) -> int:
        """How many events there were, once it has ended."""
        data = b""
        while part := os.read(self.counter, 2**16):
            data += part
        return int.from_bytes(data[-4:], "little")

    def close(self) -> None:
        for file in (self.out, self.err, self.counter):
            with contextlib.suppress(OSError):
                os.close(file)


_WATCHED = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")


def _child(
    folder: Path,
    words: tuple[str, ...],
    at: int,
    fault: Fault | None,
    file_bytes: int,
    out: int,
    err: int,
    counter: int,
) -> None:
    code = 99
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        os.chdir(folder)
        os.dup2(out, 1)
        os.dup2(err, 2)
        import torch

        torch.set_num_threads(1)
        seen, struck, place, inputs_of_case = 0, False, os.fsencode(folder), os.fsencode(folder / "in")

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen, struck
            if event not in _WATCHED or not isinstance(arguments[0], (str, bytes, os.PathLike)):
                return
            path = os.path.abspath(os.fsencode(arguments[0]))
            if not path.startswith(place + b"/"):
                return
            seen += 1
            # A disk that refuses does so for results: an image that cannot be read is left out by design, with a word.
            if (
                seen < at
                or fault is None
                or struck
                or (isinstance(fault, _Refuses) and path.startswith(inputs_of_case))
            ):
                return
            struck = True
            fault()

        if file_bytes:
            import resource

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        sys.addaudithook(audit)
        code = _run_main(words)
        os.write(counter, seen.to_bytes(4, "little"))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run_main(words: tuple[str, ...]) -> int:
    try:
        product.main_of(words[0])(list(words[1:]))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    return 0


def start(
    folder: Path, words: tuple[str, ...], at: int = 0, fault: Fault | None = None, file_bytes: int = 0
) -> tuple[Done, int]:
    """Run a command to its end, whatever that is: what it said, and its number of events."""
    running = _Running(folder, words, at, fault, file_bytes)
    try:
        done = running.done(running.wait() or 0)
        return done, running.events()
    finally:
        running.close()


# ---- faults


@dataclass(frozen=True)
class _Refuses:
    """A call that fails as on a disk that is full, read-only or broken."""

    number: int

    def __call__(self) -> None:
        raise OSError(self.number, os.strerror(self.number), "simulated")


def check(case: Case) -> None:
    """Faults, one to three in a row, then the whole command."""
    scenario_name = case.random.choice((*SCENARIOS, "sample", "sample lmdb", "fit", "infer"))
    scenario, reference = SCENARIOS[scenario_name], references()[scenario_name]
    fault = case.random.choice(FAULTS)
    at = case.random.randint(1, reference.events)
    case.about(f"{scenario_name}: {fault} at event {at} of {reference.events}")
    shutil.copytree(inputs(), case.folder / "in")
    if fault == "small disk":
        _on_a_small_disk(case, scenario, reference)
    elif fault == "twice":
        _two_at_once(case, scenario, at)
    elif fault in ("vanish", "change"):
        _inputs_change(case, scenario, fault, at)
        return
    else:
        for _ in range(case.random.choice((1, 1, 2, 3)) if fault == "kill" else 1):
            _strike(case, scenario, reference, fault, case.random.randint(1, reference.events))
    _finish(case, scenario, reference)


def _next_words(case: Case, scenario: Scenario) -> tuple[str, ...]:
    """What a person would type now: with --resume where a state is there to resume from."""
    states = case.out / "r" / "states"
    resumes = bool(scenario.again) and states.is_dir() and any(not p.name.startswith(".") for p in states.iterdir())
    return scenario.again if resumes else scenario.words


def _strike(case: Case, scenario: Scenario, reference: Reference, fault: str, at: int) -> None:
    words = _next_words(case, scenario)
    if fault == "small files":
        limit = case.random.randrange(1, max(2, reference.largest_bytes))
        done, _ = start(case.folder, words, file_bytes=limit)
        _refused(f"{case.label}, files of at most {limit} bytes", done)
        return
    faults: dict[str, Fault] = {
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
        "full": _Refuses(errno.ENOSPC),
        "read-only": _Refuses(errno.EROFS),
        "broken": _Refuses(errno.EIO),
    }
    done, _ = start(case.folder, words, at, faults[fault])
    if fault == "kill":
        _no_orphans()
        if done.code not in (0, -signal.SIGKILL):
            raise Failure("wrong", f"{case.label}: left with {done.code} before it was killed: {done.err[-400:]!r}")
    elif fault == "interrupt":
        # What was reached is said on whichever stream, with or without the command's name.
        if done.code not in (0, 130) or "Traceback" in done.err:
            kind = "traceback" if done.code == 99 or "Traceback" in done.err else "words"
            raise Failure(kind, f"{case.label}: code {done.code}: {done.err[-600:]!r}")
        if done.code and not done.out + done.err:
            raise Failure("words", f"{case.label}: interrupted without a word")
    else:
        _refused(case.label, done)


def _refused(label: str, done: Done) -> None:
    """A disk's refusal is a failure, said in one line; a single file may be skipped with code 2."""
    if done.code == 99:
        raise Failure("traceback", f"{label}: {done.err[-700:]}")
    if done.code < 0:
        raise Failure("crash", f"{label}: signal {-done.code}: {done.err[-300:]!r}")
    check_words(label, done, (0, 1, 2))


def _no_orphans() -> None:
    """Processes that a killed command had started end, too."""
    deadline = time.monotonic() + 20
    while True:
        left = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                    if int(fields[2]) == os.getpgid(0) and fields[0] != "Z":
                        left.append(int(entry.name))
        if not left:
            return
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            raise Failure("lost", f"{len(left)} processes outlive the killed command")
        time.sleep(0.1)


def _finish(case: Case, scenario: Scenario, reference: Reference) -> None:
    """The command again, until it is done; then everything is as if nothing had happened."""
    words = _next_words(case, scenario)
    done, _ = start(case.folder, words)
    if done.code == 2 and words != scenario.words:
        done, _ = start(case.folder, scenario.words)
    if done.code:
        kind = "traceback" if done.code == 99 else "lost"
        raise Failure(kind, f"{case.label}: the next start leaves with {done.code}: {done.err[-500:]!r}")
    results = scenario.results(case.out / "r")
    for name in {**reference.results, **results}:
        if name not in results:
            raise Failure("lost", f"{case.label}: {name} is missing after the next start")
        if name not in reference.results:
            raise Failure("lost", f"{case.label}: {name} is left behind")
        if results[name] != reference.results[name]:
            raise Failure("wrong", f"{case.label}: {name} differs from an undisturbed run's")
    left = hidden(case.out) - reference.hidden
    if left:
        raise Failure("lost", f"{case.label}: leftovers after the next start: {sorted(left)[:3]}")


def _two_at_once(case: Case, scenario: Scenario, at: int) -> None:
    """A second start while the first is stopped at an event; then the first goes on, or is told that the second, which came
    before it had taken the folder, has done everything."""
    allowed: tuple[int, ...] = (0,)
    first = _Running(case.folder, scenario.words, at, lambda: os.kill(os.getpid(), signal.SIGSTOP))
    try:
        status = first.wait(stopped=True)
        if status is None:
            second, _ = start(case.folder, scenario.words)
            if second.code == 99:
                raise Failure("traceback", f"{case.label}: the second start: {second.err[-600:]}")
            check_words(f"{case.label}: the second start", second, (0, 1, 2))
            allowed = (0, 2) if second.code == 0 else (0,)
            os.kill(first.pid, signal.SIGCONT)
            status = first.wait()
        done = first.done(status or 0)
        if done.code == 2 and 2 in allowed:
            check_words(case.label, done, allowed)
        elif done.code:
            raise Failure(
                "lost", f"{case.label}: a second start broke the first: code {done.code}: {done.err[-400:]!r}"
            )
    finally:
        with contextlib.suppress(OSError, ChildProcessError):
            os.kill(first.pid, signal.SIGKILL)
            os.waitpid(first.pid, 0)
        first.close()


def _inputs_change(case: Case, scenario: Scenario, fault: str, at: int) -> None:
    """An input is removed, or becomes another picture, during the run: named or made, and the others are made."""
    victims = sorted((case.folder / "in" / "hr").rglob("*.png"))
    victim = os.fsencode(case.random.choice(victims))
    other = case.random.choice(
        (b"", b"junk", png(GOOD[:9], 2, 8, False), png(255 - GOOD.repeat(2, 0).repeat(2, 1), 2, 8, False))
    )

    def strike() -> None:
        if fault == "vanish":
            with contextlib.suppress(OSError):
                os.unlink(victim)
        else:
            file = os.open(victim, os.O_WRONLY | os.O_TRUNC)
            os.write(file, other)
            os.close(file)

    done, _ = start(case.folder, scenario.words, at, strike)
    if done.code == 99:
        raise Failure("traceback", f"{case.label}: {done.err[-700:]}")
    check_words(case.label, done, (0, 2))
    if scenario.words[1] in ("resize", "apply", "infer"):
        made = {os.fsdecode(name) for name in snapshot(case.out)} if case.out.is_dir() else set()
        for path in victims:
            if os.fsencode(path) != victim and not any(
                path.stem in Path(name).parts[-1] or path.stem in Path(name).parts for name in made
            ):
                raise Failure("lost", f"{case.label}: {path.name} was not made: {done.err[-300:]!r}")
        name = Path(os.fsdecode(victim)).stem
        if (
            not any(name in Path(entry).parts or Path(entry).stem.startswith(name) for entry in made)
            and f"{name}.png" not in done.err
        ):
            raise Failure("lost", f"{case.label}: {name}.png was neither made nor named: {done.err[-300:]!r}")


def _on_a_small_disk(case: Case, scenario: Scenario, reference: Reference) -> None:
    """A disk that is full before the results are there, where this process may mount one; then a larger one."""
    needed = sum(len(value) for value in reference.results.values() if isinstance(value, bytes))
    size = case.random.randrange(4096, max(8192, needed))
    case.out.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    target = os.fsencode(case.out)
    # In a mount namespace of our own nothing stays mounted, however this process ends (CLONE_NEWNS, MS_REC, MS_PRIVATE).
    if (
        libc.unshare(0x20000)
        or libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)
        or libc.mount(b"tmpfs", target, b"tmpfs", 0, f"size={size}".encode())
    ):
        case.about(f"{case.label} (no disk of its own here)")
        return
    try:
        done, _ = start(case.folder, scenario.words)
        _refused(f"{case.label}, a disk of {size} bytes", done)
        if done.code == 0:
            return
        if libc.mount(b"tmpfs", target, b"tmpfs", 32, f"size={2**28}".encode()):  # MS_REMOUNT
            raise OSError(ctypes.get_errno(), "remount")
        _finish(case, scenario, reference)
    finally:
        libc.umount2(target, 2)  # MNT_DETACH

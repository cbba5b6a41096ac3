"""Runs cases in forked children and names what went wrong.

What must hold for every case, whatever the input is:

- the process does not die, and answers within LIMIT_S seconds of processor time (a case that sleeps counts as hanging);
- no exception but the package's own reaches the user; commands leave with 0, 1 or 2, the last line on stderr names the
  command or the place, and no control character of a file name reaches the terminal;
- at most LIMIT_BYTES more memory than before;
- nothing is written, renamed or removed outside of the folder of results; no process is started, no socket opened and
  no pickle resolved.

Children are forked from a process that has imported everything; each works through a batch of cases and reports them
over a pipe, so that a case that kills its child costs only that child.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import re
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import product

LIMIT_S = 5.0
"""Processor seconds of one case."""
LIMIT_BYTES = 2**30
"""Resident memory that a case may add."""
ADDRESS_SPACE_BYTES = 4 * 2**30
"""What a child may map beyond its start; beyond, allocations fail instead of taking the machine along."""
SLEEPING_POLLS, POLL_S = 24, 0.25
"""A child that slept at so many polls in a row, without a millisecond of work between, hangs."""
BATCH = 25
"""Cases per child."""

KINDS = ("crash", "hang", "traceback", "lost", "wrong", "memory", "escape", "words")
"""Ways to fail.

crash: the process died. traceback: an exception that is not the package's. lost: one file ended the work of others, or was
left out unnamed. wrong: other pixels, weights or results than right. escape: something was written, started or executed
that must not be. words: no single line with the place, a control character, a wrong exit code.
"""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SPOKEN = re.compile(r"(warning: |note: |degrade|pytrain|  )")


class Failure(Exception):
    """What a case found, by kind."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        assert kind in KINDS, kind
        self.kind = kind


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Result:
    """What became of a case; `kind` is "fine" or one of KINDS."""

    round: str
    seed: int
    case: int
    kind: str
    label: str = ""
    text: str = ""
    peak_bytes: int = 0
    seconds: float = 0.0


Check = Callable[["Case"], None]


class Case:
    """One case: its random numbers, its folder, and ways to call the package that check what must always hold."""

    def __init__(self, name: str, seed: int, number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder
        self.random = random.Random(f"{name}/{seed}/{number}")
        self.numbers = np.random.default_rng(self.random.getrandbits(64))
        self.label = ""
        self.result_bytes = 0
        """What a right result of the case takes: nobody can have it for less."""

    def about(self, label: str) -> None:
        """Say what the case is, for people; kept beside it, so that it is known of a case that dies, too."""
        self.label = label[:300].encode("unicode_escape").decode()
        with contextlib.suppress(OSError):
            (self.folder.parent / "label").write_text(self.label, encoding="utf-8", errors="backslashreplace")

    @property
    def out(self) -> Path:
        """The folder that commands may write to."""
        return self.folder / "out"

    def command(self, program: str, *arguments: Any, codes: Sequence[int] = (0, 2), places: Sequence[str] = ()) -> Done:
        """Run a command in this process, in the case's folder, and check what must always hold.

        Args:
            program: "degrade" or "pytrain".
            arguments: bytes, texts or paths.
            codes: allowed exit codes.
            places: texts of which one must stand in the last line when the code is not 0.
        """
        words = [argument if isinstance(argument, str) else os.fsdecode(argument) for argument in map(_text, arguments)]
        shown = " ".join(short(repr(word)) for word in words)
        before = snapshot(self.folder, without=self.out)
        with watched(self.out) as events, captured() as (out, err):
            code = _leave_code(program, words)
        done = Done(code, out(), err())
        if events:
            raise Failure("escape", f"{program} {shown}: {events[0]}")
        after = snapshot(self.folder, without=self.out)
        if before != after:
            changed = sorted(map(str, set(before.items()) ^ set(after.items())))
            raise Failure("escape", f"{program} {shown}: changed {changed[0]}")
        check_words(f"{program} {shown}", done, codes, places)
        return done

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The result of a public function, or the error of the caller's that it raised; any other error is a failure."""
        label = f"{getattr(function, '__qualname__', function)}"
        try:
            with watched(self.out) as events, captured(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = function(*arguments, **named)
        except (ValueError, TypeError, FileNotFoundError, PermissionError) as error:
            if isinstance(error, UnicodeError):
                raise Failure("traceback", f"{label}: {_where(error)}") from None
            text = str(error)
            if "\n" in text.strip():
                raise Failure("words", f"{label}: message of several lines {text[:300]!r}") from None
            result = error
        except MemoryError as error:
            raise Failure("memory", f"{label}: {_where(error)}") from None
        except Exception as error:
            raise Failure("traceback", f"{label}: {_where(error)}") from None
        if events:
            raise Failure("escape", f"{label}: {events[0]}")
        return result


def short(value: Any, most: int = 60) -> str:
    """A value as text, its middle left out."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else f"{text[: most - 12]}...{text[-6:]}"


def _text(argument: Any) -> Any:
    return argument if isinstance(argument, (str, bytes, os.PathLike)) else str(argument)


def _where(error: BaseException) -> str:
    """An error and the innermost lines of the package that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/pydegrade/" in f.filename or "/pytrain/" in f.filename]
    places = [f"{Path(f.filename).parent.name}/{Path(f.filename).name}:{f.name}" for f in own[-3:]]
    return f"{type(error).__name__}: {str(error)[:300]!r} in {' > '.join(places) or '(no frame of the package)'}"


def _leave_code(program: str, words: list[str]) -> int:
    try:
        product.main_of(program)(words)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except MemoryError as error:
        raise Failure("memory", f"{program} {words[:1]}: {_where(error)}") from None
    except Exception as error:
        raise Failure("traceback", f"{program} {words[:1]}: {_where(error)}") from None
    return 0


def check_words(shown: str, done: Done, codes: Sequence[int] = (0, 2), places: Sequence[str] = ()) -> None:
    """Exit code and messages of a command."""
    if "Traceback (most recent call last)" in done.err + done.out:
        raise Failure("traceback", f"{shown}: {done.err[-600:]}")
    lines = done.err.splitlines()
    last = lines[-1] if lines else ""
    if done.code not in codes:
        kind = "memory" if done.code == 1 and "memory" in last else "words"
        raise Failure(kind, f"{shown}: code {done.code}, allowed {codes}: {done.err[-300:]!r}")
    if done.code:
        if not last:
            raise Failure("words", f"{shown}: code {done.code} without a word")
        if not _SPOKEN.match(last):
            raise Failure("words", f"{shown}: last line does not name the command: {last[:300]!r}")
        if len(last) > 2048 and "Invalid value for" not in last:
            raise Failure("words", f"{shown}: a line of {len(last):,} characters: {last[:200]!r}")
        if places and not any(place in done.err for place in places):
            raise Failure("words", f"{shown}: none of {list(places)} is named in {done.err[-300:]!r}")
    for text in (done.err, done.out):
        found = CONTROL.search(text.replace("\r\n", "\n"))
        if found:
            around = text[max(0, found.start() - 60) : found.start() + 20]
            raise Failure("words", f"{shown}: control character {found[0]!r} in {around!r}")
    for line in lines:
        if "Warning" in line and ("warnings.warn" in line or re.search(r"\.py:\d+: ", line)):
            raise Failure("words", f"{shown}: a raw Python warning: {line[:300]!r}")


def snapshot(folder: Path, without: Path | None = None) -> dict[bytes, tuple[int, int, int]]:
    """Everything under a folder, by relative name: kind, size and time of change."""
    found: dict[bytes, tuple[int, int, int]] = {}
    root, left_out = os.fsencode(folder), None if without is None else os.fsencode(without)
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.path == left_out:
                    continue
                status = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
                size = 0 if is_folder else status.st_size
                found[entry.path[len(root) + 1 :]] = (status.st_mode, size, 0 if is_folder else status.st_mtime_ns)
                if is_folder:
                    waiting.append(entry.path)
    return found


# ---- what the process does


_STARTS = (
    "subprocess.Popen",
    "os.fork",
    "os.forkpty",
    "os.exec",
    "os.posix_spawn",
    "os.system",
    "os.spawn",
    "pty.spawn",
)
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
            "os.chown", "shutil.rmtree", "shutil.move")  # fmt: skip
_allowed: bytes | None = None
_events: list[str] = []
_hooked = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _allowed is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if writes and isinstance(path, (str, bytes, os.PathLike)) and not _inside(path):
            _events.append(f"opened {path!r} for writing ({mode!r})")
    elif event in _CHANGES:
        if event == "os.link":
            targets = arguments[1:2]
        else:
            targets = arguments[:2] if event in ("os.rename", "shutil.move") else arguments[:1]
        for path in targets:
            if isinstance(path, (str, bytes, os.PathLike)) and not _inside(path):
                _events.append(f"{event} of {path!r}")
    elif event in _STARTS or event == "socket.connect":
        _events.append(f"{event} {arguments[:1]!r}")
    elif event == "pickle.find_class":
        _events.append(f"pickle resolved {arguments!r}")


def _inside(path: Any) -> bool:
    assert _allowed is not None
    absolute = os.path.abspath(os.fsencode(path))
    if b"/torchinductor_" in absolute:  # torch makes it when an optimizer first steps
        return True
    return absolute == _allowed or absolute.startswith((_allowed + b"/", b"/dev/", b"/proc/"))


@contextlib.contextmanager
def watched(writable: Path) -> Iterator[list[str]]:
    """What is done inside the block that must not be."""
    global _allowed, _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    _events.clear()
    found: list[str] = []
    _allowed = os.fsencode(os.path.abspath(writable))
    try:
        yield found
    finally:
        _allowed = None
        found += _events


_streams: dict[int, int] = {}
_streams_unlinked = True


@contextlib.contextmanager
def captured() -> Iterator[tuple[Callable[[], str], Callable[[], str]]]:
    """What the block writes to stdout and stderr, from C too: two functions that read it afterwards."""
    files, before = [], []
    for number in (1, 2):
        if number not in _streams:
            # A file, so that what a process said before it died can be read.
            path = os.path.join(tempfile.gettempdir(), f"fuzz-stream{number}-{os.getpid()}")
            _streams[number] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            if _streams_unlinked:
                os.unlink(path)
        os.ftruncate(_streams[number], 0)
        os.lseek(_streams[number], 0, os.SEEK_SET)
        files.append(_streams[number])
        (sys.stdout if number == 1 else sys.stderr).flush()
        before.append(os.dup(number))
        os.dup2(_streams[number], number)

    def reader(file: int) -> Callable[[], str]:
        return lambda: os.pread(file, min(os.fstat(file).st_size, 2**20), 0).decode("utf-8", "surrogateescape")

    try:
        yield reader(files[0]), reader(files[1])
    finally:
        for number, old in zip((1, 2), before):
            with contextlib.suppress(OSError, ValueError):
                (sys.stdout if number == 1 else sys.stderr).flush()
            os.dup2(old, number)
            os.close(old)


# ---- children


def run(
    name: str,
    check: Check,
    seed: int,
    numbers: Iterable[int],
    jobs: int = 1,
    limit_s: float = LIMIT_S,
    batch: int = BATCH,
) -> Iterator[Result]:
    """Results of cases, as they come.

    Args:
        name: of the round.
        check: what to do for a case.
        seed, numbers: which cases.
        jobs: children at once.
        limit_s: processor seconds of one case.
        batch: cases per child.
    """
    waiting = list(numbers)
    batches = [waiting[start : start + batch] for start in range(0, len(waiting), batch)][::-1]
    selector = selectors.DefaultSelector()
    children: dict[int, _Child] = {}
    try:
        while batches or children:
            while batches and len(children) < jobs:
                child = _Child(name, check, seed, batches.pop())
                children[child.pipe] = child
                selector.register(child.pipe, selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(POLL_S)}
            for pipe, child in list(children.items()):
                ended = False
                if pipe in ready:
                    results, ended = child.read()
                    yield from results
                else:
                    ended = child.is_stuck(limit_s)
                if ended:
                    selector.unregister(pipe)
                    del children[pipe]
                    last = child.end()
                    if last is not None:
                        yield last
                    left = child.left()
                    if left:
                        batches.append(left)
    finally:
        for child in children.values():
            child.end()


class _Child:
    def __init__(self, name: str, check: Check, seed: int, numbers: list[int]) -> None:
        self.name, self.seed, self.numbers = name, seed, numbers
        self.done: set[int] = set()
        self.current: int | None = None
        self.stuck = False
        self.buffer = b""
        self.cpu_at_start = 0.0
        self.sleeping, self.cpu_before = 0, -1.0
        self.pipe, theirs = os.pipe()
        self.home = Path(tempfile.mkdtemp(prefix="fuzz-"))
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            try:
                _work(name, check, seed, numbers, theirs, self.home)
            finally:
                os._exit(0)
        os.close(theirs)

    def read(self) -> tuple[list[Result], bool]:
        data = os.read(self.pipe, 2**16)
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        results = []
        for line in lines:
            message = json.loads(line)
            self.sleeping = 0
            if "start" in message:
                self.current, self.cpu_at_start = message["start"], self._cpu_s()
            else:
                results.append(Result(**message))
                self.done.add(message["case"])
                self.current = None
        return results, not data

    def is_stuck(self, limit_s: float) -> bool:
        cpu_s, asleep = self._cpu_s(), self._asleep()
        self.sleeping = self.sleeping + 1 if asleep and cpu_s == self.cpu_before else 0
        self.cpu_before = cpu_s
        if self.current is not None and (cpu_s - self.cpu_at_start > limit_s or self.sleeping >= SLEEPING_POLLS):
            self.stuck = True
        return self.stuck

    def _stat(self) -> list[str]:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return []

    def _cpu_s(self) -> float:
        fields = self._stat()
        # utime, stime, and those of children that have ended (proc(5), fields 14 to 17).
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") if fields else 0.0

    def _asleep(self) -> bool:
        fields = self._stat()
        if not fields or fields[0] != "S":
            return False
        tasks = Path(f"/proc/{self.pid}/task")
        with contextlib.suppress(OSError):
            return all(t.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "S" for t in tasks.iterdir())
        return False

    def end(self) -> Result | None:
        """Collect the process; what its last case was, if it did not end by itself."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL) if self.stuck else None
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pipe)
        label = said = ""
        with contextlib.suppress(OSError):
            label = (self.home / "label").read_text(encoding="utf-8", errors="replace")
            said = (self.home / f"fuzz-stream2-{self.pid}").read_text(encoding="utf-8", errors="replace")[-600:]
        shutil.rmtree(self.home, ignore_errors=True)
        if self.current is None:
            return None
        self.done.add(self.current)
        if self.stuck:
            how = "sleeps" if self.sleeping >= SLEEPING_POLLS else "works and works"
            return Result(self.name, self.seed, self.current, "hang", label, how)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        # What a sanitizer said, if one did.
        report = Path(f"{os.environ.get('FUZZ_REPORTS', os.devnull)}.{self.pid}")
        said = report.read_text(errors="replace")[:1500] if report.is_file() else said
        return Result(self.name, self.seed, self.current, "crash", label, f"signal {number}, status {status} {said}")

    def left(self) -> list[int]:
        return [number for number in self.numbers if number not in self.done]


def _work(name: str, check: Check, seed: int, numbers: list[int], pipe: int, home: Path) -> None:
    """In the child: the cases of a batch, one after the other."""
    os.setsid()
    # A child must not outlive the run, however that ends: PR_SET_PDEATHSIG (prctl(2)).
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    for handled in (signal.SIGINT, signal.SIGTERM):
        signal.signal(handled, signal.default_int_handler if handled == signal.SIGINT else signal.SIG_DFL)
    sys.dont_write_bytecode = True
    for category in (UserWarning, RuntimeWarning):  # what one case was warned of must not hide it in the next
        warnings.simplefilter("always", category)
    import click.utils
    import torch

    torch.set_num_threads(1)
    # As on a terminal, where click lets escape sequences pass.
    click.utils.should_strip_ansi = lambda *_, **__: False  # type: ignore[assignment]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which maps terabytes of shadow
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + ADDRESS_SPACE_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["TMPDIR"] = str(home)
    tempfile.tempdir = str(home)
    global _streams_unlinked
    _streams.clear()
    _streams_unlinked = False  # they go with the folder
    with captured():
        pass
    for number in numbers:
        os.write(pipe, json.dumps({"start": number}).encode() + b"\n")
        result = one(name, check, seed, number, home)
        os.write(pipe, json.dumps(asdict(result)).encode() + b"\n")
        if result.kind != "fine":
            break  # what a failed case left behind must not fail the next one


def one(name: str, check: Check, seed: int, number: int, home: Path, keep: bool = False) -> Result:
    """Run one case in this process.

    Args:
        name, check, seed, number: which.
        home: the case's folder is made in it, and removed afterwards.
        keep: leave the folder.
    """
    folder = home / f"c{number}"
    folder.mkdir(parents=True)
    case = Case(name, seed, number, folder)
    with captured():  # opens its files before anybody watches
        pass
    back = os.getcwd()
    os.chdir(folder)
    global _highest
    _highest = 0
    started, before = time.process_time(), _reset_peak()
    kind, text = "fine", ""
    try:
        check(case)
    except Failure as failure:
        kind, text = failure.kind, str(failure)
    except MemoryError:
        kind, text = "memory", "out of memory in the check itself"
    except BaseException as error:
        kind, text = "traceback", f"the check itself: {traceback.format_exc()[-1500:]} {error!r}"
    peak = max(0, max(_highest, _status("VmHWM")) - before)
    # A result is looked at through a copy.
    if kind == "fine" and peak > LIMIT_BYTES + 2 * case.result_bytes:
        kind, text = "memory", f"{peak:,} bytes more than before"
    os.chdir(back)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(name, seed, number, kind, case.label, text[:2000], peak, time.process_time() - started)


def _status(field: str) -> int:
    """Bytes of a line of /proc/self/status."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) * 1024 if match else 0


def _reset_peak() -> int:
    """Forget the peak of resident memory (proc(5), clear_refs); what is resident now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmHWM")


_highest = 0


@contextlib.contextmanager
def oracle() -> Iterator[None]:
    """What another library takes inside the block does not count: OpenCV believes a damaged file that names 2 GB."""
    global _highest
    _highest = max(_highest, _status("VmHWM"))
    try:
        yield
    finally:
        _reset_peak()


def in_child(work: Callable[[], None]) -> None:
    """Do something in a forked child, so that this process stays fit for forking; raises if that fails."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            import torch

            torch.set_num_threads(1)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"a child that prepares a round left with status {status}")


def quietly(program: str, *words: str) -> Done:
    """Run a command in this process; RuntimeError if it does not end with 0."""
    with captured() as (out, err):
        code = _leave_code(program, list(words))
    if code:
        raise RuntimeError(f"{program} {words}: {code}: {err()}")
    return Done(code, out(), err())

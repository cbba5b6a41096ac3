"""The harness finds what it is there to find: each way to fail, planted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A round of planted failures: case number -> what it does, and the kind that the harness must report.
SCRIPT = """
import os, subprocess, sys, time
os.environ.update(OMP_NUM_THREADS="1")
from pathlib import Path
from tests.fuzz import harness, product
from tests.fuzz.harness import Case, Done, Failure, check_words
product.preload()

def spin(case):
    while True: pass
def sleep(case):
    os.mkfifo(case.folder / "pipe"); open(case.folder / "pipe").read()
def memory(case):
    keep = b"x" * (harness.LIMIT_BYTES + 2**28)
def writes(case):
    case.call(lambda: (case.folder / "in.txt").write_text("x"))
def starts(case):
    case.call(lambda: subprocess.run(["true"]))
def unpickles(case):
    import pickle
    case.call(pickle.loads, pickle.dumps(os.getcwd))
def raises(case):
    case.call(lambda: {}["x"])
def several_lines(case):
    case.call(lambda: int("x\\ny") or 1)
def fine(case):
    assert isinstance(case.call(int, "x"), ValueError)
    done = case.command("degrade", "show", "nothing@00000000/s0/i0")
    assert done.code == 2

planted = [
    (fine, "fine"), (lambda case: os.kill(os.getpid(), 11), "crash"), (fine, "fine"), (spin, "hang"), (sleep, "hang"),
    (memory, "memory"),
    (writes, "escape"), (starts, "escape"), (unpickles, "escape"), (raises, "traceback"), (fine, "fine"),
    (lambda case: check_words("x", Done(2, "", "")), "words"),
    (lambda case: check_words("x", Done(2, "", "degrade: a\\x1b[31m\\n")), "words"),
    (lambda case: check_words("x", Done(2, "", "not a name\\n")), "words"),
    (lambda case: check_words("x", Done(3, "", "degrade: x\\n")), "words"),
    (lambda case: check_words("x", Done(1, "", "degrade: x\\n")), "words"),
    (lambda case: check_words("x", Done(2, "", "degrade: x\\n")), "fine"),
    (lambda case: case.command("degrade", "show", "x", places=("not there",)), "words"),
    (lambda case: 1 / 0, "traceback"),
]
results = {}
# 4 s of the processor: what has to take memory to be found needs one of them on a slow machine.
for result in harness.run("planted", lambda case: planted[case.number][0](case), 0, range(len(planted)), 2, 4.0, 4):
    results[result.case] = result.kind
import json
print(json.dumps([[number, results.get(number, "missing"), kind] for number, (_, kind) in enumerate(planted)]))
"""


@pytest.mark.slow
def test_every_way_to_fail_is_reported_and_costs_only_its_own_case() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [row for row in rows if row[1] != row[2]] == []

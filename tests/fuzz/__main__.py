"""`python -m tests.fuzz ROUND --seed S --case N`, or a long round: `python -m tests.fuzz all --cases images=20000`."""

from __future__ import annotations

import os

# Before NumPy and torch start threads: children are forked.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", PYDEGRADE_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from . import harness, product
from .harness import KINDS, Check, Result

ROUNDS = {
    "images": (20000, 5.0, 25),
    "names": (1000, 5.0, 25),
    "spaces": (2500, 5.0, 50),
    "configs": (2500, 5.0, 25),
    "models": (2000, 5.0, 25),
    "files": (2000, 5.0, 25),
    "options": (2000, 5.0, 50),
    "api": (20000, 5.0, 200),
    "kills": (300, 600.0, 5),
}
"""Round, a module of this folder: cases of the long round, processor seconds that a case may take, cases per child."""
SHORT = {
    "images": 150, "names": 120, "spaces": 150, "configs": 60, "models": 80, "files": 100, "options": 60,
    "api": 400, "kills": 12,
}  # fmt: skip
"""Cases of the short round."""


def check_of(name: str) -> Check:
    check: Check = import_module(f"{__package__}.{name}").check
    return check


def prepare(name: str) -> None:
    """What a round makes once, before children are forked."""
    getattr(import_module(f"{__package__}.{name}"), "prepare", lambda: None)()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("round", choices=[*ROUNDS, "all"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--case", type=int, action="append", help="Run only this case, in this process, and keep its folder."
    )
    parser.add_argument("--cases", default="", metavar="N | ROUND=N,...", help="How many; default: a long round.")
    parser.add_argument("--jobs", type=int, default=1, help="Children at once.")
    parser.add_argument("--out", type=Path, help="Append results here, and go on where it ends.  [default: a new file]")
    parser.add_argument("--quiet", action="store_true", help="No line per failure.")
    parser.add_argument(
        "--short", action="store_true", help="The round of tests/fuzz/test_short_rounds.py, held against known.json."
    )
    parser.add_argument("--mended", action="store_true", help="With --short: take what holds now out of known.json.")
    parser.add_argument(
        "--sanitized", choices=("v2", "v3", "v4"), help="With a module built with sanitizers, on these loops."
    )
    options = parser.parse_args(arguments)

    if options.sanitized:
        from . import sanitized

        tree = sanitized.build(options.sanitized)
        words = [word for word in sys.argv[1:] if word not in ("--sanitized", options.sanitized)]
        if options.out:
            words[words.index("--out") + 1] = str(options.out.absolute())
        command = [sys.executable, "-m", "tests.fuzz", *words]
        return subprocess.run(
            command, cwd=tree, env=sanitized.environment(options.sanitized, tree), check=False
        ).returncode
    product.preload()
    if options.short:
        return short_round(options.round, options.jobs, options.mended)
    names = list(ROUNDS) if options.round == "all" else [options.round]
    if options.case is not None:
        prepare(names[0])
        for number in options.case:
            _show(names[0], options.seed, number)
        return 0
    counts = {name: ROUNDS[name][0] for name in names}
    if options.cases:
        given = dict(part.split("=") if "=" in part else (names[0], part) for part in options.cases.split(","))
        counts = {name: int(number) for name, number in given.items()}
    path = options.out or Path(tempfile.mkdtemp(prefix="fuzz-results-")) / "results.jsonl"
    before = read(path)
    started = time.monotonic()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for name, count in counts.items():
            done = {result.case for result in before if (result.round, result.seed) == (name, options.seed)}
            numbers = [number for number in range(count) if number not in done]
            _, limit_s, batch = ROUNDS[name]
            limit_s *= float(os.environ.get("FUZZ_SLOWER", "1"))
            if numbers:
                prepare(name)
            for result in harness.run(name, check_of(name), options.seed, numbers, options.jobs, limit_s, batch):
                file.write(json.dumps(asdict(result)) + "\n")
                file.flush()
                if result.kind != "fine" and not options.quiet:
                    print(f"{name} {result.case}: {result.kind}: {result.label}: {result.text}"[:600], flush=True)
    results = [result for result in read(path) if result.round in counts]
    print(table(results))
    print(f"{time.monotonic() - started:.0f} s; results: {path}")
    return int(any(result.kind != "fine" for result in results))


def short_round(name: str, jobs: int, mended: bool) -> int:
    """The first cases of a round with seed 0; fails where a case fails that known.json does not list, or the reverse."""
    known_path = Path(__file__).parent / "known.json"
    every = json.loads(known_path.read_text(encoding="utf-8"))
    known: dict[str, str] = every.get(name, {})
    prepare(name)
    _, limit_s, batch = ROUNDS[name]
    results = list(harness.run(name, check_of(name), 0, range(SHORT[name]), jobs, limit_s, batch))
    failed = {str(result.case): result for result in results if result.kind != "fine"}
    gone = [number for number in known if number not in failed]
    if mended and gone:
        every[name] = {number: text for number, text in known.items() if number in failed}
        known_path.write_text(json.dumps(every, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
        print(f"{name}: {len(gone)} taken out of {known_path}")
        gone = []
    for number, result in failed.items():
        if number not in known:
            print(f"{name} {number} fails: {result.kind}: {result.label}: {result.text}"[:600])
    for number in gone:
        print(f"{name} {number} holds now, take it out of {known_path.name} (--short --mended): {known[number]}")
    return int(bool(gone) or any(number not in known for number in failed))


def read(path: Path) -> list[Result]:
    """Results of earlier runs; a line torn by a kill is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [Result(**json.loads(line)) for line in lines]


def table(results: list[Result]) -> str:
    """One row per round: cases, failures by kind, peak memory, slowest case."""
    names = list(dict.fromkeys(result.round for result in results))
    lines = [" ".join([f"{'round':<10}{'cases':>8}", *(f"{kind:>10}" for kind in KINDS), "   peak MB  slowest s"])]
    for name in names:
        own = [result for result in results if result.round == name]
        counts = Counter(result.kind for result in own)
        peak, slowest = max(result.peak_bytes for result in own) / 1e6, max(result.seconds for result in own)
        row = [
            f"{name:<10}{len(own):>8}",
            *(f"{counts[kind]:>10}" for kind in KINDS),
            f"{peak:>10.0f} {slowest:>10.1f}",
        ]
        lines.append(" ".join(row))
    return "\n".join(lines)


def _show(name: str, seed: int, number: int) -> None:
    os.setpgrp()  # what a killed command leaves running is looked for in this group
    home = Path(tempfile.mkdtemp(prefix="fuzz-case-"))
    result = harness.one(name, check_of(name), seed, number, home, keep=True)
    print(f"{name} {number}: {result.kind}: {result.label}\n{result.text}")
    print(f"{result.peak_bytes:,} bytes, {result.seconds:.2f} s; {home}")


sys.exit(main())

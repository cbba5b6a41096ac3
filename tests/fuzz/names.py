"""One corpus of file names, used with every command: bytes to us, whatever they look like."""

from __future__ import annotations

import os
from pathlib import Path

from . import product
from .harness import Case, Failure, short
from .images import GOOD_PNG, snapshot_names

STEMS: tuple[bytes, ...] = (
    "x5²5".encode(),  # isdigit(), but not an int()
    "①5".encode(),
    "٣4".encode(),  # an int(), in Arabic digits
    b"bad\xff",  # not UTF-8
    b"\xed\xa0\x80half",  # a lone surrogate in UTF-8
    b"a" * 245,  # a result's name may be longer by a suffix, a temporary one too
    b"a" * 251,  # 255 bytes with its ending
    "ü".encode() * 122,
    b"two\nlines",
    b"carriage\rreturn",
    b"tab\there",
    b"red\x1b[31mtext",
    b"\x1b]0;title\x07",
    "turned\u202egnp".encode(),
    b"=HYPERLINK(1)",
    b"+1",
    b"@SUM(1)",
    b"-leading",
    b"--out",
    b"a b  c",
    b" leading space",
    b"trailing space ",
    b"dots...in.name",
    b"quote'\"s",
    b"back\\slash",
    b"semi;colon,comma",
    b"$HOME`id`",
    b"%s%d{0}",
    b"*?[a]",
    b"con",
    b"x.png",
    b"x.npy",
    b"1" * 200,
    b"#hash",
    b"~",
    "é".encode(),
    "e\u0301".encode(),  # looks like the one before
    "\U0001f600".encode(),
    "\u200b".encode(),
    b"hr.png (1,1,3) 1",
)
ENDINGS = (b".png", b".PNG", b".Png")
COMMANDS = (
    "resize",
    "apply",
    "infer",
    "sample",
    "preview",
    "pairs",
    "eval",
    "lmdb",
    "adapt",
    "fit check",
    "file",
    "folder",
    "apply each",
    "card",
)
CASES = len(STEMS) * len(COMMANDS)


def check(case: Case) -> None:
    """One command on a folder with one such name between two plain ones; numbers beyond CASES mix names at random."""
    stem = STEMS[case.number // len(COMMANDS) % len(STEMS)]
    command = COMMANDS[case.number % len(COMMANDS)]
    ending = b".png"
    if case.number >= CASES:
        stem = b"".join(case.random.sample([s for s in STEMS if len(s) < 60], 2))
        ending = case.random.choice(ENDINGS)
    name = stem + ending
    case.about(f"{command} {short(name)}")
    folder = os.path.join(os.fsencode(case.folder), b"in")
    inner = os.path.join(folder, stem[:200]) if command == "folder" else folder
    os.makedirs(inner)
    for one in (os.path.join(inner, name), os.path.join(folder, b"a.png"), os.path.join(folder, b"z.png")):
        with open(one, "wb") as file:
            file.write(GOOD_PNG)
    odd = os.path.join(b"in", name)
    if command == "file":
        _single(case, odd)
        return
    model = product.tiny_model()
    results = 3
    codes = (0, 2) if len(name) > 240 else (0,)
    if command in ("resize", "folder"):
        done = case.command("degrade", "resize", "in", "out", "--scale", "1/2", codes=codes)
    elif command == "apply":
        done = case.command("degrade", "apply", "in", "--task", product.task_address(), "--out", "out", codes=codes)
    elif command == "apply each":
        keep = () if len(name) > 200 else ("--keep-names",)  # names are cut there, which is no keeping
        options = ("--tasks", "bicubic-x2", *keep, "--out", "out")
        done = case.command("degrade", "apply", "in", *options, codes=codes)
    elif command == "card":
        _card(case, name)
        return
    elif command == "infer":
        options = ("--model", model, "--out", "out", "--device", "cpu")
        done = case.command("pytrain", "infer", "in", *options, codes=codes)
    elif command in ("sample", "lmdb"):
        kind = ("--format", "lmdb") if command == "lmdb" else ()
        options = ("--tasks", 9, "--hr", "in", "--hr-size", 8, "--space", "bicubic-x2", "--out", "out/run", *kind)
        done = case.command("degrade", "sample", *options, codes=(0,))
        _check_manifest(case.out / "run" / "manifest.csv")
        results = 9 if command == "sample" else 0
    elif command == "preview":
        options = ("--hr", "in", "--hr-size", 8, "--space", "bicubic-x2", "--n", 6, "-o", "out/s.png")
        done = case.command("degrade", "preview", *options, codes=(0,))
        results = 1
    elif command == "pairs":
        done = case.command("degrade", "pairs", "--hr", "in", "--model", model, "--out", "out/p", codes=codes)
        results = 12
    elif command == "adapt":
        options = ("--model", "none", "--kernel", "bicubic", "--steps", "0,1", "--out", "out", "--device", "cpu")
        done = case.command("pytrain", "adapt", *options, "--", odd, codes=codes)
        results = 2
    elif command == "fit check":
        (case.folder / "c.toml").write_text(_CONFIG)
        done = case.command("pytrain", "check", "c.toml", codes=(0,))
        results = 0
    else:
        options = ("--model", "bicubic", "--scale", 2, "--per-image", "--save-images", "out/i", "--json", "out/s.json")
        done = case.command("pytrain", "eval", "--hr", "in", *options, codes=codes)
        results = 4
    _count(case, done.code, done.err, results)


_CONFIG = product.training_toml(run={"name": "x"}, data={"hr": "in"})


def _card(case: Case, name: bytes) -> None:
    """A card of a run, and the run made again from it; names that are no text have no card."""
    options = ("--tasks", 9, "--hr", "in", "--hr-size", 8, "--space", "bicubic-x2", "--out", "out/run")
    case.command("degrade", "sample", *options, codes=(0,))
    try:
        name.decode()
        codes = (0,)
    except UnicodeDecodeError:
        codes = (2,)
    done = case.command("degrade", "card", "out/run", "--hr", "in", "-o", "out/c.toml", codes=codes)
    if done.code == 0:
        case.command("degrade", "sample", "--card", "out/c.toml", "--hr", "in", "--out", "out/again", codes=(0,))
        case.command("degrade", "verify", "out/c.toml", "out/again", codes=(0,))


def _single(case: Case, odd: bytes) -> None:
    """The file itself on the command line."""
    codes = (0, 2) if len(odd) > 240 else (0,)
    kind = case.random.choice(("resize", "apply", "infer"))
    case.about(f"{kind} of the file {short(odd)}")
    if kind == "resize":
        done = case.command("degrade", "resize", "--scale", "1/2", "--", odd, "out", codes=codes)
    elif kind == "apply":
        done = case.command(
            "degrade", "apply", "--task", product.task_address(), "--out", "out", "--", odd, codes=codes
        )
    else:
        options = ("--model", product.tiny_model(), "--out", "out", "--device", "cpu")
        done = case.command("pytrain", "infer", *options, "--", odd, codes=codes)
    _count(case, done.code, done.err, 1)


def _count(case: Case, code: int, errors: str, results: int) -> None:
    made = [name for name in snapshot_names(case.out) if name.lower().endswith((b".png", b".npy", b".json"))]
    hidden = [name for name in snapshot_names(case.out) if b".partial" in name or b".tmp" in name]
    if hidden:
        raise Failure("lost", f"left behind: {hidden[0]!r}")
    least = results if code == 0 else results - max(1, results // 3)
    if len(made) < least:
        raise Failure("lost", f"{len(made)} results, expected {least}, code {code}: {errors[-300:]!r}")


def _check_manifest(path: Path) -> None:
    """Cells of a table that a spreadsheet would run."""
    import csv

    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))
    if len({len(row) for row in rows}) != 1:
        raise Failure("wrong", f"{path.name}: rows of different lengths")
    source = rows[0].index("source")
    bad = [row[source] for row in rows[1:] if row[source][:1] in ("=", "+", "-", "@", "\t", "\r")]
    if bad:
        raise Failure("escape", f"{path.name}: a spreadsheet runs the cell {bad[0]!r}")

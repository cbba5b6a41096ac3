"""Files that the commands write and read again, lists, tables and options, each with something wrong in it."""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import os
import shutil
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from . import product, toml
from .configs import bases
from .harness import Case, Failure, in_child, quietly, short
from .images import GOOD, GOOD_PNG, Marker, mutated, png
from .spaces import presets


@cache
def artefacts() -> Path:
    """A folder with one of each: run (png), lmdb, pairs, fit, tasks files; made once, copied by cases."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-artefacts-"))
    atexit.register(shutil.rmtree, folder, True)
    (folder / "hr").mkdir()
    for number in range(3):
        (folder / "hr" / f"{number}.png").write_bytes(
            png(np.roll(GOOD, number, 0).repeat(2, 0).repeat(2, 1), 2, 8, False)
        )

    def work() -> None:
        import pydegrade

        os.chdir(folder)
        sample = ("sample", "--tasks", "4", "--hr", "hr", "--hr-size", "16", "--space", "bicubic-x2")
        quietly("degrade", *sample, "--out", "run")
        quietly("degrade", *sample, "--out", "lmdb", "--format", "lmdb")
        for name in ("run", "lmdb"):
            quietly("degrade", "card", name, "--hr", "hr", "-o", f"{name}-card.toml")
        for number in range(2):
            quietly("degrade", *sample, "--out", "shard", "--shard", f"{number}/2")
        quietly("degrade", "pairs", "--hr", "hr", "--model", str(product.tiny_model()), "--out", "pairs")
        (folder / "fit.toml").write_text(_FIT)
        quietly("pytrain", "fit", "fit.toml")
        for name in ("realesrgan-x4", "dasr-mixed", "bsrgan-x4", "bicubic-x2", "ipt-derain-light"):
            pydegrade.sample(name, 3, range(5)).save(folder / f"{name}.npz")

    in_child(work)
    return folder


prepare = artefacts

_FIT = product.training_toml(run={"out": "fit"}, checkpoint={"every_steps": 1}, log={"every_steps": 1})


def check(case: Case) -> None:
    kinds: tuple[Callable[[Case], None], ...] = (
        _tasks_file, _tasks_file, _tasks_file, _groups, _pairs, _run, _gallery, _lmdb, _lmdb, _listing, _kernel,
        _address, _options, _options, _state, _card, _card, _shards,
    )  # fmt: skip
    (case.folder / "in").mkdir()
    (case.folder / "in" / "a.png").write_bytes(GOOD_PNG)
    case.random.choice(kinds)(case)
    if (case.folder / "executed").exists():
        raise Failure("escape", f"{case.label}: a payload was executed")


# ---- tasks.npz


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _npy_header(shape: str, dtype: str = "<i8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text = text.ljust((len(text) // 64 + 1) * 64 - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(40)


_METADATA = ("[]", "5", '"x"', "null", "{", "", '{"version": 1}', '{"version": [1], "space": {}, "digest": 5}',
    "[" * 5000 + "]" * 5000,
             "[" * 200000, '{"version": ' + "9" * 5000 + "}", '{"version": 1, "space": "\\u001b[31m", "digest": "x"}',
             '{"version": 99, "space": "x", "digest": ""}', '{"version": NaN}')  # fmt: skip


def _tasks_file(case: Case) -> None:
    name = case.random.choice(("realesrgan-x4", "dasr-mixed", "bsrgan-x4", "bicubic-x2", "ipt-derain-light"))
    path = artefacts() / f"{name}.npz"
    with zipfile.ZipFile(path) as file:
        members = {entry: file.read(entry) for entry in file.namelist()}
    arrays = dict(np.load(path, allow_pickle=False))
    kind = case.random.choice(("array", "array", "array", "metadata", "space", "component", "member", "bytes", "bomb",
        "npy", "object",
                               "encrypted", "header"))  # fmt: skip
    what, compression = "", zipfile.ZIP_STORED
    if kind == "array":
        key = case.random.choice(list(arrays))
        array, how = _other_array(case, arrays[key])
        members[f"{key}.npy"], what = _npy(array), f"{key} {how}"
    elif kind == "metadata":
        text = case.random.choice(_METADATA)
        members["meta.npy"], what = _npy(np.array(text)), short(text)
    elif kind == "space":
        text, _ = case.random.choice(presets())
        text = case.random.choice(
            (
                text,
                "x = [" * 3000,
                "",
                f"[space]\nname = {'9' * 5000}",
                "slot = 5\n" + text,
                text.replace("scale", "scalf"),
            )
        )
        members["space_toml.npy"], what = _npy(np.array(text)), short(text)
    elif kind == "component":
        evil = case.random.choice(
            ("/dev/zero", "/proc/self/mem", "../../../../etc/passwd", "in/fifo.toml", "in/a.png", "x\ny", "in")
        )
        os.mkfifo(case.folder / "in" / "fifo.toml")
        quoted = evil.replace("\n", "\\n")
        head = f'[space]\nname = "m"\nscale = 2\nsource = "x"\n[mixture]\nspaces = ["{quoted}"]\n'
        members["space_toml.npy"] = _npy(np.array(head))
        names = case.random.choice(([], [evil], ["m"]))
        inner = case.random.choice((head, presets()[0][0]))
        members["component_names.npy"] = _npy(np.array(names, np.str_))
        members["component_toml.npy"] = _npy(np.array([inner] * len(names), np.str_))
        what = f"{evil} {names}"
    elif kind == "member":
        key = case.random.choice(list(members))
        what = case.random.choice(("gone", "empty", "cut", "renamed", "doubled"))
        data = members.pop(key)
        if what == "renamed":
            members[
                case.random.choice(
                    ("../x.npy", "column:nothing.x.npy", "column:.npy", "column:blur1.\x1b[31m.npy", "x")
                )
            ] = data
        elif what != "gone":
            members[key] = b"" if what == "empty" else data[: len(data) // 2]
        what += f" {key}"
    elif kind == "bomb":
        key = case.random.choice(list(members))
        compression = zipfile.ZIP_DEFLATED
        members[key], what = _npy_header("(134217728,)")[:-40] + bytes(2**28), key
    elif kind == "header":
        key = case.random.choice(list(members))
        shape = case.random.choice(
            ("(1000000000000,)", "(-1,)", "(2, 3", "(0,) * 5", "(2**70,)", "[3]", "(1e3,)", "(" + "1, " * 3000 + ")")
        )
        dtype = case.random.choice(("<i8", "|O", "<U99999999", "<f4", "<M8[s]", "|V8", "x", "<i8,<f4", ">i8"))
        members[key], what = _npy_header(shape, dtype), f"{key} {shape:.30} {dtype}"
    elif kind == "object":
        key = case.random.choice(list(members))
        members[key], what = _npy(np.array([Marker(case.folder / "executed")], object)), key
    stream = io.BytesIO()
    import warnings

    with zipfile.ZipFile(stream, "w", compression) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for entry, data in members.items():
            file.writestr(entry, data)
            if what.startswith("doubled"):
                file.writestr(entry, data)
    content = stream.getvalue()
    if kind == "encrypted":
        # The flag that says so, in the local and in the central header.
        content = content.replace(b"PK\3\4\x14\0\0\0", b"PK\3\4\x14\0\1\0").replace(
            b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"
        )
    elif kind == "bytes":
        content, what = mutated(case, content), ""
    elif kind == "npy":
        content = _npy(
            case.random.choice((np.zeros(3), np.array("x"), np.array([Marker(case.folder / "executed")], object)))
        )
    case.about(f"npz {name} {kind} {what}")
    (case.folder / "in" / "t.npz").write_bytes(content)
    command = case.random.choice(("show", "show --json", "apply", "preview"))
    case.about(f"{command}: {case.label}")
    if command.startswith("show"):
        case.command("degrade", "show", "in/t.npz", *command.split()[1:], places=("in/t.npz",))
    elif command == "apply":
        case.command(
            "degrade", "apply", "in/a.png", "--task", "in/t.npz", "--out", "out", places=("in/t.npz", "in/a.png")
        )
    else:
        options = ("--hr", "in/a.png", "--n", 2, "--hr-size", 24, "-o", "out/s.png")
        case.command("degrade", "preview", "--task", "in/t.npz", *options, places=("in/t.npz", "--hr-size"))


def _other_array(case: Case, array: Any) -> tuple[Any, str]:
    kind = case.random.choice(("dtype", "shape", "value", "value", "empty", "0-d", "big"))
    if kind == "dtype":
        dtype = case.random.choice(("f4", "f8", "i4", "i8", "u8", "i1", "U5", "S3", "?", "c8", "M8[s]", ">i8", ">f4"))
        try:
            return array.astype(dtype), dtype
        except (ValueError, TypeError):
            return np.zeros(array.shape, dtype), dtype
    if kind == "shape":
        return case.random.choice(
            (array.reshape(-1)[:2], np.atleast_2d(array), array[..., None], np.repeat(np.atleast_1d(array), 2, 0))
        ), kind
    if kind == "value" and array.dtype.kind in "iuf" and array.size:
        array = array.copy()
        high = 3.4e38 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
        low = -high if array.dtype.kind == "f" else np.iinfo(array.dtype).min
        values = [high, low, 0, -1, 1, 2, 127] + ([np.nan, np.inf, -np.inf, 1e-40] if array.dtype.kind == "f" else [])
        value = case.random.choice(values)
        array.reshape(-1)[case.random.randrange(array.size)] = value
        return array, f"value {value}"
    if kind == "empty":
        return array.reshape(-1)[:0], kind
    if kind == "big":
        return np.zeros(10**6, array.dtype if array.dtype.kind != "U" else "U1"), kind
    return np.asarray(array).reshape(-1)[0] if array.size else array, kind


# ---- what TGSR and ECO read


def _config(case: Case, name: str, **method: Any) -> None:
    import copy

    tree = copy.deepcopy(dict(bases())[name])
    tree["method"] |= method
    tree["data"]["hr"] = "in/hr"
    tree["evaluate"]["sets"] = []
    (case.folder / "in" / "hr").mkdir()
    (case.folder / "in" / "hr" / "b.png").write_bytes(png(GOOD.repeat(8, 0).repeat(8, 1), 2, 8, False))
    (case.folder / "c.toml").write_text(toml.dumps(tree))


def _groups(case: Case) -> None:
    import pydegrade

    tasks = pydegrade.sample("realesrgan-x4", 0, range(6))
    marks = [f"{mark:016x}" for mark in tasks.fingerprints().tolist()]
    tree: dict[str, Any] = {
        "stage": "groups", "version": 1, "made_from": {"network": "0" * 8, "space": tasks.space.digest},
        "space": {"name": tasks.space.name, "digest": tasks.space.digest}, "net": {"type": "srresnet"},
        "group": [{"name": f"G{n}", "about": "x", "addresses": tasks.addresses[n * 3 : n * 3 + 3],
        "fingerprints": marks[n * 3 : n * 3 + 3],
                   "improvement_db": [0.5, 0.2, 0.1]} for n in range(2)],
    }  # fmt: skip
    if case.random.random() < 0.2:
        content = toml.mutated_text(case.random, toml.dumps(tree))
        done = ["bytes"]
    else:
        done = [toml.change(case.random, tree, []) for _ in range(case.random.choice((1, 1, 2)))]
        content = toml.dumps(tree).encode("utf-8", "surrogatepass")
    case.about(f"groups.toml: {'; '.join(map(short, done))}")
    _config(case, "tgsr_tiny", groups="in/groups.toml")
    (case.folder / "in" / "groups.toml").write_bytes(content)
    case.command("pytrain", "check", "c.toml", places=("groups.toml", "method.groups", "c.toml"))


def changed_json(case: Case, text: str) -> tuple[str, str]:
    """JSON with something wrong in it, and what."""
    if case.random.random() < 0.3:
        other = case.random.choice(
            (
                "",
                "[]",
                "5",
                "null",
                "{}",
                '"x"',
                "[" * 100000,
                text[: len(text) // 2],
                "\ufeff" + text,
                text + "}",
                "NaN",
            )
        )
        return other, f"is {short(other)}"
    tree = json.loads(text)
    said = toml.change(case.random, tree, [])
    return json.dumps(tree, default=lambda raw: "x" if not isinstance(raw, toml.Raw) else raw.text[:4000]), said


def _pairs(case: Case) -> None:
    shutil.copytree(artefacts() / "pairs", case.folder / "in" / "pairs")
    kind = case.random.choice(("manifest", "manifest", "image", "name", "resume"))
    manifest = case.folder / "in" / "pairs" / "manifest.json"
    said = ""
    if kind == "image":
        image = case.random.choice(sorted((case.folder / "in" / "pairs").rglob("*.png")))
        image.write_bytes(mutated(case, image.read_bytes()))
    elif kind == "name":
        tree = json.loads(manifest.read_text())
        evil = case.random.choice(
            ("../../../../../../etc/passwd", "/etc/passwd", "..", "", "a/../../x", "\0", "\x1b[31m", "x" * 300, ".")
        )
        files = tree["files"]
        first = next(iter(files))
        if case.random.random() < 0.5:
            files[evil] = files.pop(first)
        else:
            files[first][evil] = files[first].pop("lr")
        manifest.write_text(json.dumps(tree))
        said = repr(evil)
    elif kind == "manifest":
        text, said = changed_json(case, manifest.read_text())
        manifest.write_text(text, encoding="utf-8", errors="surrogatepass")
    if kind == "resume":
        # The folder of results is damaged, and the command runs again.
        shutil.rmtree(case.folder / "in" / "pairs")
        shutil.copytree(artefacts() / "pairs", case.out / "p")
        shutil.copytree(artefacts() / "hr", case.folder / "in" / "hr")
        identity = case.out / "p" / "pairs.json"
        text, said = changed_json(case, identity.read_text())
        identity.write_text(text, encoding="utf-8", errors="surrogatepass")
        case.about(f"pairs.json {said}")
        options = ("--hr", "in/hr", "--model", product.tiny_model(), "--out", "out/p")
        case.command("degrade", "pairs", *options, places=("out/p",))
        return
    case.about(f"pairs {kind} {said}")
    _config(case, "eco_tiny", pairs="in/pairs")
    case.command("pytrain", "check", "c.toml", places=("in/pairs", "method.pairs", "c.toml", "pairs"))


# ---- cards


def _card(case: Case) -> None:
    """A card, its images, or the set, with something wrong in it."""
    run = case.random.choice(("run", "lmdb"))
    text = (artefacts() / f"{run}-card.toml").read_text()
    shutil.copytree(artefacts() / "hr", case.folder / "in" / "hr")
    shutil.copytree(artefacts() / run, case.folder / "in" / "set")
    kind = case.random.choice(("tree", "tree", "tree", "bytes", "half", "name", "set", "image"))
    said, content = "", text.encode()
    if kind == "tree":
        tree = tomllib.loads(text)
        said = "; ".join(short(toml.change(case.random, tree, [])) for _ in range(case.random.choice((1, 1, 2))))
        content = toml.dumps(tree).encode("utf-8", "surrogatepass")
    elif kind == "bytes":
        content = toml.mutated_text(case.random, text)
    elif kind == "half":
        content = content[: case.random.randrange(len(content))]
    elif kind == "name":
        said = case.random.choice(
            ("../x", "/etc/passwd", "..", "", "a/../../x", "\\u0000", "\\u001b[31m", "x" * 300, ".")
        )
        old = case.random.choice(("lr/00000001.png", "manifest.csv", "0.png", "lr.lmdb/00000001"))
        content = text.replace(f'"{old}"', f'"{said}"').encode()
    elif kind == "set":
        victim = case.random.choice(
            [path for path in sorted((case.folder / "in" / "set").rglob("*")) if path.is_file()]
        )
        victim.write_bytes(mutated(case, victim.read_bytes()))
        said = victim.name
    else:
        victim = case.folder / "in" / "hr" / "1.png"
        victim.write_bytes(mutated(case, victim.read_bytes()))
    (case.folder / "in" / "c.toml").write_bytes(content)
    case.about(f"card {run} {kind} {said}")
    command = case.random.choice(("verify", "verify", "verify --pixels", "sample", "card", "apply", "eval"))
    places = ("in/c.toml", "in/set", "in/hr")
    if command == "sample":
        case.command("degrade", "sample", "--card", "in/c.toml", "--hr", "in/hr", "--out", "out/run", places=places)
    elif command == "card":
        case.command("degrade", "card", "in/set", "--hr", "in/hr", "-o", "out/new.toml", places=places)
    elif command == "eval":
        case.command("pytrain", "eval", "--card", "in/c.toml", "--hr", "in/set", "--model", "bicubic", places=places)
    elif command == "apply":
        case.command(
            "degrade", "apply", "in/hr", "--tasks", "in/c.toml", "--keep-names", "--out", "out/a", places=places
        )
    else:
        case.command("degrade", *command.split(), "in/c.toml", "in/set", codes=(0, 1, 2), places=places)


def _shards(case: Case) -> None:
    """Two shards of a run, one with something wrong in it."""
    for number in range(2):
        shutil.copytree(artefacts() / f"shard-{number}-of-2", case.folder / "in" / str(number))
    victims = [path for path in sorted((case.folder / "in" / "1").rglob("*")) if path.is_file()]
    victim = case.random.choice([path for path in victims if path.suffix != ".png"] + victims)
    said = ""
    if victim.suffix == ".json":
        text, said = changed_json(case, victim.read_text())
        victim.write_text(text, encoding="utf-8", errors="surrogatepass")
    else:
        victim.write_bytes(mutated(case, victim.read_bytes()))
    if case.random.random() < 0.4:  # a list of sums that fits what is there
        sums = case.folder / "in" / "1" / "SHA256SUMS"
        lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(sums.parent).as_posix()}"
                 for path in victims if path not in (sums,) and not path.name.startswith(".")]  # fmt: skip
        sums.write_text("\n".join(lines))
        said += " with its sum"
    case.about(f"shard: {victim.name} {said}")
    places = ("in/0", "in/1", "shards")
    kind = case.random.random()
    if kind < 0.2:
        case.command("degrade", "pack", "in/1", "out/t", "--samples", 1, places=(*places, "out/t", "tars"))
    elif kind < 0.4:
        case.command("degrade", "verify", "in/1/SHA256SUMS", "in/1", codes=(0, 1, 2), places=places)
    else:
        case.command("degrade", "merge", "out/m", "in/0", "in/1", places=(*places, "out/m"))


# ---- a run's own folder, LMDBs, lists


def _run(case: Case) -> None:
    shutil.copytree(artefacts() / "run", case.out / "run")
    shutil.copytree(artefacts() / "hr", case.folder / "in" / "hr")
    kind = case.random.choice(("run.json", "run.json", "manifest.csv", "tasks.npz", "image", "stray", "name"))
    path = case.out / "run" / kind
    said = ""
    if kind == "run.json":
        text, said = changed_json(case, path.read_text())
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
    elif kind in ("manifest.csv", "tasks.npz"):
        path.write_bytes(mutated(case, path.read_bytes()))
    elif kind == "image":
        path = case.out / "run" / "lr" / "00000001.png"
        path.write_bytes(case.random.choice((b"", b"x", mutated(case, path.read_bytes()))))
    elif kind == "stray":
        name = case.random.choice(
            (
                "x.png",
                "²5.png",
                "1_0.png",
                "+1.png",
                "99999999999999999999999.png",
                ".x.1.partial",
                "00000001.png.png",
                "-1.png",
            )
        )
        (case.out / "run" / "lr" / name).write_bytes(b"x")
        said = name
    else:
        (case.out / "run" / "lr" / "00000009.png").mkdir()
    case.about(f"sample again: {kind} {said}")
    options = ("--tasks", 5, "--hr", "in/hr", "--hr-size", 16, "--space", "bicubic-x2", "--out", "out/run")
    done = case.command("degrade", "sample", *options, places=("out/run",))
    if done.code == 0:
        _same_pairs(case.out / "run")


def _gallery(case: Case) -> None:
    """A page of a run in which something is damaged, or called like markup."""
    name = case.random.choice(("run", "lmdb"))
    shutil.copytree(artefacts() / name, case.folder / "in" / "run")
    files = sorted(path for path in (case.folder / "in" / "run").rglob("*") if path.is_file())
    path = case.random.choice([file for file in files if file.suffix in (".csv", ".npz")] * 3 + files)
    content = path.read_bytes()
    how = case.random.choice(("bytes", "markup", "empty", "gone"))
    if how == "gone":
        path.unlink()
    else:
        markup = content.replace(b".png", b"</script><script>alert(1)</script>\xff\x1b[31m{{images}}.png")
        path.write_bytes({"bytes": mutated(case, content), "markup": markup, "empty": b""}[how])
    case.about(f"gallery of {name}: {path.name} {how}")
    case.command("degrade", "gallery", "in/run", "-o", "out/g.html", places=("in/run",))
    page = (case.out / "g.html").read_text(encoding="utf-8") if (case.out / "g.html").exists() else ""
    if page.count("<script") not in (0, 3):
        raise Failure("escape", f"{case.label}: a name became markup")


def _same_pairs(folder: Path) -> None:
    """The pairs of a run that goes on are those of a run that was never touched."""
    import cv2

    for kind in ("hr", "lr"):
        for number in range(4):
            name = f"{kind}/{number:08d}.png"
            found = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
            right = cv2.imread(str(artefacts() / "run" / name), cv2.IMREAD_UNCHANGED)
            if found is None or not np.array_equal(found, right):
                raise Failure("wrong", f"{name} is damaged and stays so, code 0")


def _lmdb(case: Case) -> None:
    source = case.folder / "in" / "x.lmdb"
    shutil.copytree(artefacts() / "lmdb" / "hr.lmdb", source)
    kind = case.random.choice(("data", "data", "data", "meta_info", "meta_info", "gone", "cut", "lock", "sizes"))
    said = ""
    if kind == "data":
        content = bytearray((source / "data.mdb").read_bytes())
        for _ in range(case.random.choice((1, 2, 8, 64))):
            # The two meta pages, the pages that are used, or anywhere.
            at = case.random.randrange(min(len(content), case.random.choice((4096, 8192, 40960, len(content)))))
            content[at] = case.random.choice((0, 255, content[at] ^ 1 << case.random.randrange(8)))
        (source / "data.mdb").write_bytes(content)
    elif kind == "cut":
        content = bytearray((source / "data.mdb").read_bytes())
        (source / "data.mdb").write_bytes(content[: case.random.randrange(len(content))])
    elif kind == "gone":
        (source / case.random.choice(("data.mdb", "meta_info.txt", "lock.mdb"))).unlink(missing_ok=True)
    elif kind == "lock":
        (source / "lock.mdb").write_bytes(case.random.randbytes(8192))
    else:
        text = (source / "meta_info.txt").read_text()
        number = case.random.choice(("9" * 31, "9" * 400, "9" * 5000, "0", "-1", "²", "16", "65536", "1000000"))
        said = case.random.choice((
            text.replace("16,16", f"{number},16"), text.replace("16,16", f"{number},{number}"), "\ufeff" + text,
            text.replace("\n", "\r\n"), text.replace(".png", ""), text.replace("0000", "../0000"),
            text + "x.png (16,16,3) 1\n", text * 3, "", "x\n", "(" * 50000 + "\n", "a " * 50000 + "\n",
            text.replace("0", "\0"), text.replace("0", "\x1b[31m"), text[:-20],
        ))  # fmt: skip
        (source / "meta_info.txt").write_text(said)
        if case.random.random() < 0.1:
            (source / "meta_info.txt").write_bytes(text.encode("utf-16"))
    case.about(f"lmdb {kind} {short(said)}")
    options = ("--tasks", 5, "--hr", "in/x.lmdb", "--hr-size", 16, "--space", "bicubic-x2", "--out", "out/run")
    case.command("degrade", "sample", *options, places=("in/x.lmdb", "out/run"))


def _listing(case: Case) -> None:
    shutil.copytree(artefacts() / "hr", case.folder / "in" / "hr")
    lines = case.random.choice((
        ["0.png (48,48,3)", "1.png (48,48,3)"], ["0.png"], ["0.png, 1.png"], ["../a.png"], ["/etc/passwd"],
        ["0.png\0"], ["nothing.png"], ["..\\a.png"], ["C:\\x.png"], ["./0.png"], ["0.png"] * 4000, ["\x1b[31m.png"],
        ["x" * 5000 + ".png"], [""], ["   "], ["."], ["hr"], ["a/../../a.png"], ["0.png\t5"], ["0.PNG"],
        ["\u202e.png"], ["link.png"], ["=1+1"],
    ))  # fmt: skip
    (case.folder / "in" / "hr" / "link.png").symlink_to("../a.png")
    text = case.random.choice(("\n", "\r\n", "\r")).join(lines) + case.random.choice(("\n", ""))
    encoding = case.random.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    content = text.encode(encoding, "replace") + case.random.choice((b"", b"", b"\xff\n"))
    case.about(f"meta_info {short(text)} as {encoding}")
    kind = case.random.choice(("file", "file", "file", "fifo", "folder", "device"))
    path = case.folder / "in" / "m.txt"
    if kind == "file":
        path.write_bytes(content)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    case.about(f"{case.label} {kind}")
    options = (
        "--tasks",
        3,
        "--hr",
        "in/hr",
        "--hr-size",
        16,
        "--space",
        "bicubic-x2",
        "--out",
        "out/run",
        "--meta-info",
        "in/m.txt",
    )
    done = case.command("degrade", "sample", *options, places=("in/m.txt", "in/hr"))
    plain = (
        kind == "file"
        and lines == ["0.png (48,48,3)", "1.png (48,48,3)"]
        and encoding in ("utf-8", "utf-8-sig", "latin-1")
    )
    if plain and not content.endswith(b"\xff\n") and done.code:
        raise Failure("lost", f"a good list is refused: {done.err[-200:]!r}")


# ---- kernels, addresses, options, states


def _kernel(case: Case) -> None:
    good = np.outer([1, 2, 1], [1, 2, 1]) / 16
    kind = case.random.choice(("npy", "npy", "mat", "mat", "png", "bytes", "odd"))
    name, content, said = "k.npy", b"", ""
    if kind in ("npy", "bytes"):
        values: list[Any] = [good, -good, good * np.nan, good * np.inf, np.zeros((3, 3)), np.ones((2, 2)), np.ones((4,
            5)), np.ones(3),
                             np.ones((1, 1)), good[None], np.ones((999, 999)), good.astype(complex), good.astype(str),
                             np.zeros((0, 0)),
                             np.array([Marker(case.folder / "executed")], object), good > 0, good.astype(np.float16),
                             np.ones((3, 3), int),
                             good * 1e308, good * 1e-320, np.zeros(3, [("a", "f8")]), np.array("x"), np.array(5.0),
                             good.astype(">f8")]  # fmt: skip
        place = case.random.randrange(len(values))
        content, said = _npy(values[place]), str(place)
        if kind == "bytes":
            content = mutated(case, content)
    elif kind == "mat":
        from scipy.io import savemat

        stream = io.BytesIO()
        contents: dict[str, Any] = case.random.choice((
            {"k": good}, {"k": good, "j": good}, {"k": "text"}, {"k": {"a": good}},
            {"k": np.array([good, good], object)}, {"x": 1}, {"k": np.ones((999, 999))}, {"k": good * np.nan},
        ))  # fmt: skip
        savemat(stream, contents, do_compression=case.random.random() < 0.5)
        name, content, said = "k.mat", stream.getvalue(), str(list(contents))
        if case.random.random() < 0.6:
            content, said = mutated(case, content), said + " mutated"
    elif kind == "png":
        name, content = "k.png", case.random.choice((GOOD_PNG, png(np.zeros((3, 3, 1), np.uint8), 0, 8, False), b"",
        GOOD_PNG[:40],
                                                     png(np.full((5, 5, 1), 9, np.uint16), 0, 16, False)))  # fmt: skip
    else:
        name = case.random.choice(("k.txt", "k", "nothing.npy", "dir.npy", "fifo.npy", "zero.npy"))
        if name == "dir.npy":
            (case.folder / "in" / name).mkdir()
        elif name == "fifo.npy":
            os.mkfifo(case.folder / "in" / name)
        elif name == "zero.npy":
            (case.folder / "in" / name).symlink_to("/dev/zero")
        content = b"1 2 1"
    if not (case.folder / "in" / name).exists() and name != "nothing.npy":
        (case.folder / "in" / name).write_bytes(content)
    case.about(f"kernel {name} {kind} {said}")
    options = ("--model", "none", "--kernel", f"in/{name}", "--steps", "0", "--out", "out", "--device", "cpu")
    case.command("pytrain", "adapt", "in/a.png", *options, places=(f"in/{name}", "in/a.png"))


def _address(case: Case) -> None:
    good = product.task_address()
    stem, _, rest = good.partition("@")
    text = case.random.choice((
        good + "x", good.replace("/i0", "/i" + "9" * 30), good.replace("/i0", "/i" + "9" * 5000),
        good.replace("s0", "s18446744073709551616"), good.replace("/i0", "/i-1"), good.upper(),
        stem + "@00000000/s0/i0", "nothing@" + rest, "../../x@" + rest, "/dev/zero@" + rest, good.replace("0", "²"),
        good.replace("0", "٣"), good + "/n" + "9" * 40, good + "\n", "\x1b[31m@" + rest, "@", "", "@@@/s/i",
        good + "?blur1.x=1", good + "?", good + "?resize.mode=nothing", good + "?x.y=" + "9" * 5000, "in/a.png",
        "in", "x.toml@" + rest, good + "/n0", good + " ", good.replace("/i0", "/i9223372036854775807"),
        good.replace("/s0", "/s9223372036854775808"), good * 200, good + "?resize1.resize_factor=nan",
    ))  # fmt: skip
    case.about(f"address {short(text)}")
    if case.random.random() < 0.5:
        case.command("degrade", "show", "--", text)
    else:
        case.command("degrade", "apply", "in/a.png", "--task", text, "--out", "out")


def _options(case: Case) -> None:
    """Numbers that are allowed by their type and mean nothing."""
    number = case.random.choice(("0", "-1", "1", "2", "3", "inf", "nan", "-inf", "1e300", "1e-300", "10000000000000",
        "9223372036854775806",
                                 "9223372036854775807", "18446744073709551615", "18446744073709551616", "9" * 400,
                                 "9" * 5000, "x", "", "0.5",
                                 "1/0", "1/3", "0/1", "1e9", "²", "1_0", "0x10", " 1", "134217728",
                                 "2147483648"))  # fmt: skip
    sample = ["degrade", "sample", "--hr", "in", "--space", "bicubic-x2", "--out", "out/run"]
    fixed: dict[str, list[str]] = {"--tasks": ["--tasks", "2"], "--hr-size": ["--hr-size", "8"]}
    model = str(product.tiny_model())
    resize, infer = (
        ["degrade", "resize", "in", "out"],
        ["pytrain", "infer", "in/a.png", "--model", model, "--out", "out", "--device", "cpu"],
    )
    adapt = [
        "pytrain",
        "adapt",
        "in/a.png",
        "--model",
        "none",
        "--kernel",
        "bicubic",
        "--out",
        "out",
        "--device",
        "cpu",
    ]
    pairs = ["degrade", "pairs", "--hr", "in", "--model", model, "--out", "out/p"]
    evaluate = ["pytrain", "eval", "--hr", "in", "--model", "bicubic"]
    preview = ["degrade", "preview", "--hr", "in", "--hr-size", "8", "--space", "bicubic-x2", "-o", "out/s.png"]
    options: list[tuple[list[str], str, list[str]]] = [
        *((sample, option, [word for other, words in fixed.items() if other != option for word in words])
          for option in ("--tasks", "--start", "--seed", "--batch", "--hr-size", "--max-megapixels")),
        ([*sample, "--params-only"], "--tasks", []), ([*sample, "--params-only"], "--start", ["--tasks", "3"]),
        ([*sample, "--params-only"], "--seed", ["--tasks", "3"]),
        *((preview, option, ["--n", "1"] if option != "--n" else []) for option in ("--n", "--seed", "--start",
            "--max-megapixels", "--hr-size")),
        (resize, "--scale", []), (resize, "--max-megapixels", ["--scale", "1/2"]), (resize, "--suffix", ["--scale",
        "1/2"]),
        ([*resize, "--modcrop"], "--scale", []), (["degrade", "show", str(artefacts() / "bicubic-x2.npz")], "--first",
        []),
        *((infer, option, []) for option in ("--tile", "--overlap", "--max-megapixels", "--suffix", "--vector",
            "--task", "--precision")),
        *((pairs, option, []) for option in ("--scale", "--tile", "--shard")),
        *((evaluate, option, ["--scale", "2"] if option != "--scale" else []) for option in ("--scale", "--seed",
            "--tile", "--overlap", "--protocol", "--space")),
        *((adapt, option, ["--steps", "0"] if option != "--steps" else []) for option in ("--steps", "--rate",
            "--scale", "--seed", "--tile", "--reference")),
        *((["degrade", "gallery", str(artefacts() / "run"), "-o", "out/g.html"], option, []) for option in ("--first",
            "--side")),
        *((["degrade", "space", "new", "out/s.toml", "--no-preview", "--defaults"], option, []) for option in ("--scale",
            "--stages", "--noise", "--name")),
        (["pytrain", "init", "--method", "psnr"], "--scale", []), (["pytrain", "init"], "--method", []),
    ]  # fmt: skip
    words, option, more = case.random.choice(options)
    case.about(f"{words[0]} {words[1]} {option} {short(number)}")
    case.command(*words, *more, option, number, codes=(0, 2) if option != "--steps" else (0, 1, 2))


def _state(case: Case) -> None:
    """A damaged state, log or model of an interrupted training."""
    shutil.copytree(artefacts() / "fit", case.out / "run")
    shutil.copytree(artefacts() / "hr", case.folder / "hr")
    (case.folder / "c.toml").write_text(
        _FIT.replace('out = "fit"', 'out = "out/run"').replace("steps = 2", "steps = 3", 1)
    )
    files = sorted(path for path in (case.out / "run").rglob("*") if path.is_file())
    path = case.random.choice([file for file in files if "states" in file.parts] * 5 + files)
    kind = case.random.choice(("bytes", "bytes", "cut", "empty", "gone"))
    content = path.read_bytes()
    if kind == "gone":
        path.unlink()
    else:
        at = case.random.randrange(len(content)) if content else 0
        path.write_bytes({"bytes": mutated(case, content), "cut": content[:at], "empty": b""}[kind])
    case.about(f"fit --resume: {path.relative_to(case.out)} {kind}")
    case.command("pytrain", "fit", "c.toml", "--resume", codes=(0, 1, 2))

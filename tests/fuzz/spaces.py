"""Spaces with something wrong in them; what is accepted must also draw and degrade."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import torch

from . import product, toml
from .harness import Case, Failure, short
from .product import tomllib


@cache
def presets() -> list[tuple[str, dict[str, Any]]]:
    paths = sorted((product.ROOT / "pydegrade" / "spaces").glob("*.toml"))
    return [(path.read_text(encoding="utf-8"), tomllib.loads(path.read_text(encoding="utf-8"))) for path in paths]


def _special(case: Case) -> tuple[str, bytes]:
    """Documents that no mutation finds."""
    head = '[space]\nname = "s"\nscale = 2\nsource = "here"\n'
    slot = '[[slot]]\nname = "s"\nop = "jpeg"\nquality = '
    texts = {
        "slot = 5": "slot = 5\n" + head,
        "slot of numbers": "slot = [1, 2]\n" + head,
        "op = [1]": head + '[[slot]]\nname = "a"\nop = [1]\n',
        "order = 5": "order = 5\n" + head,
        "order of tables": "[[order]]\nchoice = []\n" + head,
        "before = 5": head + '[order]\nshuffle = [["a"]]\nbefore = 5\n[[slot]]\nname = "a"\nop = "jpeg"\n',
        "vector = 5": "vector = 5\n" + head,
        "vector of numbers": "vector = [1]\n" + head,
        "mixture = 5": "mixture = 5\n" + head,
        "mixture of itself": head + '[mixture]\nspaces = ["x.toml"]\n',
        "mixture of itself twice": head + '[mixture]\nspaces = ["./x.toml", "../in/x.toml"]\nweights = [1, 1]\n',
        "mixture of itself from here": head + '[mixture]\nspaces = ["in/x.toml"]\n',
        "mixture of itself, 60 times": head + "[mixture]\nspaces = [" + '"in/x.toml", ' * 60 + "]\n",
        "mixture of a device": head + '[mixture]\nspaces = ["/dev/zero"]\n',
        "mixture of a folder": head + '[mixture]\nspaces = ["."]\n',
        "mixture of numbers": head + "[mixture]\nspaces = [1, 2]\n",
        "mixture of nothing": head + "[mixture]\nspaces = []\n",
        "mixture of 100000": head + "[mixture]\nspaces = [" + '"bicubic-x2", ' * 100000 + "]\n",
        "base of itself": 'base = "x.toml"\n' + head,
        "base of itself in the table": head + 'base = "x.toml"\n',
        "deep mixture of distributions": head + slot + "{mixture = [" * 400 + "5" + "]}" * 400 + "\n",
        "deep case": head + slot + '{by = "s.quality", cases = {' * 50 + "}}" * 50 + "\n",
        "20000 slots": head + "".join(f'[[slot]]\nname = "s{n}"\nop = "jpeg"\nquality = 5\n' for n in range(20000)),
        "200 slots": head + "".join(f'[[slot]]\nname = "s{n}"\nop = "jpeg"\nquality = 50\n' for n in range(200)),
        "slot names twice": head + ('[[slot]]\nname = "a"\nop = "jpeg"\n' * 2),
        "empty": "",
        "nothing but a comment": "# x\n" * 1000,
        "one long line": head + "# " + "x" * 2**22 + "\n",
        "long key": head + "a" * 100000 + " = 1\n",
        "dotted 3000": ".".join("a" * 3000) + " = 1\n" + head,
        "table 3000": "[" + ".".join("a" * 3000) + "]\n" + head,
        "tables 5000": "".join(f"[t{n}]\n" for n in range(5000)) + head,
        "bom": "\ufeff" + head + slot + "50\n",
        "crlf": (head + slot + "50\n").replace("\n", "\r\n"),
        "bsrgan_covariance = 1e200":
            head + '[[slot]]\nname = "n"\nop = "noise"\nkind = "correlated"\n'
            'cov_rr_8bit2 = {bsrgan_covariance = 1e200, entry = "rr"}\n',
        "unknown trait": head + '[[slot]]\nname = "n"\nop = "noise"\ntrait = "x"\n',
        "hr_px of 400 digits": head + f"hr_px = {'8' * 400}\n",
        "quality of 5000 digits": head + slot + "9" * 5000 + "\n",
        "size 2**62": head + '[[slot]]\nname = "b"\nop = "blur"\nsize_px = 4611686018427387903\nsigma_x_px = 1\n',
        "integers up to 10**13": head + slot + "{integers = [1, 10000000000000]}\n",
        "integers step 10**400": head + slot + "{integers = [1, 100], step = 1" + "0" * 400 + "}\n",
        "weights overflow": head + slot + "{choice = [30, 50], weights = [1e308, 1e308]}\n",
        "weights 1e-320": head + slot + "{choice = [30, 50], weights = [1e-320, 1e-320]}\n",
        "choice of 200000": head + slot + "{choice = [" + "50, " * 200000 + "]}\n",
        "case nan":
            head + slot + '50\n[[slot]]\nname = "t"\nop = "jpeg"\n'
            'quality = {by = "s.quality", cases = {nan = 30, inf = 20, "1e999" = 3}}\n',
    }  # fmt: skip
    kind = case.random.choice(list(texts))
    return kind, texts[kind].encode()


def document(case: Case) -> bytes:
    """The file of a case."""
    text, tree = case.random.choice(presets())
    kind = case.random.random()
    if kind < 0.15:
        label, content = _special(case)
        case.about(label)
        return content
    if kind < 0.3:
        case.about(f"bytes of {tree['space']['name']} changed")
        return toml.mutated_text(case.random, text)
    tree = copy.deepcopy(tree)
    others = [other for _, other in presets()]
    done = [toml.change(case.random, tree, others) for _ in range(case.random.choice((1, 1, 1, 2, 4)))]
    case.about(f"{case.label or 'preset'}: " + "; ".join(short(text) for text in done))
    return toml.dumps(tree).encode("utf-8", "surrogatepass")


def check(case: Case) -> None:
    folder = case.folder / "in"
    folder.mkdir()
    (folder / "x.toml").write_bytes(document(case))
    options = ("--space", "in/x.toml", "--tasks", 3, "--params-only", "--out", "out/run")
    done = case.command("degrade", "sample", *options, places=("x.toml", "preset", "cannot be read"))
    if done.code == 0:
        degrades(case)


def degrades(case: Case) -> None:
    """An accepted space gives finite pixels, the same ones twice."""
    import pydegrade

    space = case.call(pydegrade.Space.load, "in/x.toml")
    if isinstance(space, Exception):
        raise Failure("wrong", f"the command reads it, Space.load says {space}")
    tasks = case.call(pydegrade.sample, space, 7, range(4))
    side = min(space.hr_px, 24 * space.scale)
    images = torch.from_numpy(np.random.default_rng(0).random((4, 3, side, side), np.float32))
    first = case.call(pydegrade.degrade_list, list(images), tasks)
    if isinstance(first, Exception):
        if not isinstance(first, pydegrade.PydegradeError):
            raise Failure("words", f"accepted, but degrade says {type(first).__name__}: {first}")
        return
    for row, image in enumerate(first):
        if tuple(image.shape) != (3, side // space.scale, side // space.scale):
            raise Failure("wrong", f"row {row}: {tuple(image.shape)} of a {side} px image at scale {space.scale}")
        if not bool(torch.isfinite(image).all()):
            raise Failure("wrong", f"row {row}: NaN or infinity from an accepted space")
    again = case.call(pydegrade.degrade_list, [images[2]], tasks.take([2]))
    if not isinstance(again, list) or not torch.equal(again[0], first[2]):
        raise Failure("wrong", "a task alone gives other pixels than in a batch")
    case.call(tasks.vector, "dasr33")
    case.call(tasks.describe, 0)
    addresses = case.call(pydegrade.TaskBatch.from_addresses, tasks.addresses, space)
    if isinstance(addresses, Exception) or (addresses.fingerprints() != tasks.fingerprints()).any():
        raise Failure("wrong", f"addresses do not rebuild the tasks: {addresses!r}"[:300])

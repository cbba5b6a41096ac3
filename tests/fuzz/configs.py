"""Configurations of pytrain with something wrong in them; what `check` accepts must also run."""

from __future__ import annotations

import copy
import re
from functools import cache
from typing import Any

from . import product, toml
from .harness import Case, short
from .images import GOOD, png
from .product import tomllib

NAMES = (
    "quickstart",
    "dasr_tiny",
    "eco_tiny",
    "ipt_tiny",
    "mzsr_tiny",
    "tgsr_tiny",
    "realesrnet_x4plus",
    "swinir_classical_x4",
)
"""Configurations of the repository to begin with, one per method; all are made small and get images from the case."""


@cache
def bases() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name in NAMES:
        tree = tomllib.loads((product.ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8"))
        scale = tree.get("net", {}).get("scale", 2)
        tree["run"].update(steps=2, device="cpu", out="out/run")
        tree["data"] = {
            **tree.get("data", {}),
            "hr": "in",
            "crop_px": 4 * scale if name != "ipt_tiny" else 48,
            "batch": 2,
        }
        tree["data"].pop("exclude", None)
        tree["data"].pop("meta_info", None)
        for key in ("num_features", "num_blocks", "num_groups"):
            if key in tree.get("net", {}):
                tree["net"][key] = 8 if key == "num_features" else 1
        if name == "swinir_classical_x4":
            tree["net"].update(embed_dim=12, depths=[1], num_heads=[2], window_size=4)
        tree.get("train", {}).pop("pretrained", None)
        tree.setdefault("evaluate", {})["sets"] = [{"name": "s", "hr": "in"}]
        found.append((name, tree))
    return found


def _overrides(case: Case) -> list[str]:
    """Texts for --set."""
    if case.random.random() < 0.6:
        return []
    keys = ("run.steps", "data.batch", "data.hr", "net.num_features", "evaluate.sets[0].name", "evaluate.sets[9]",
        "run",
            "method.type", "", ".", "a.b.c", "run.steps[0]", '"', "run..steps", "net.type", "data.crop_px",
            "train.precision",
            "evaluate.sets[99999999999999999999]", "run.name", "optimizer.betas[0]", "data", "\x1b[31m")  # fmt: skip
    values = ("1e9", "[", "{", "9" * 400, "9" * 5000, "[" * 3000, "nan", "-1", "true", "", '"a\nb"', "1 # x",
        "x\ny = 1", "²",
              "1979-05-27", "/dev/zero", "{a = 1}", "[1, 2]", "\x1b[2J", "'", "2**3")  # fmt: skip
    equals = case.random.choice(("=", "=", "=", "=", " = ", "", "=="))
    return [
        f"{case.random.choice(keys)}{equals}{case.random.choice(values)}" for _ in range(case.random.choice((1, 1, 2)))
    ]


def check(case: Case) -> None:
    folder = case.folder / "in"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(png(GOOD.repeat(4, axis=0).repeat(4, axis=1), 2, 8, False))
    name, tree = case.random.choice(bases())
    overrides = _overrides(case)
    others = [other for _, other in bases()]
    if case.random.random() < 0.15:
        content = toml.mutated_text(case.random, toml.dumps(tree))
        label = f"{name}: bytes changed"
    else:
        tree = copy.deepcopy(tree)
        count = 0 if overrides and case.random.random() < 0.7 else case.random.choice((1, 1, 1, 2, 4))
        done = [toml.change(case.random, tree, others) for _ in range(count)]
        content = toml.dumps(tree).encode("utf-8", "surrogatepass")
        label = f"{name}: " + "; ".join(short(text) for text in done)
    case.about(f"{label} {' '.join('--set ' + short(text) for text in overrides)}")
    (case.folder / "c.toml").write_bytes(content)
    options = [word for text in overrides for word in ("--set", text)]
    places = ("c.toml", "--set", "in", "evaluate.sets", "train.pretrained", "method.")
    done = case.command("pytrain", "check", "c.toml", *options, places=places)
    # What `check` takes must run; networks and batches that are no longer small would need longer than a case may.
    small = not re.search(r"\bnet\b|method|data\.batch", label + " ".join(overrides))
    if done.code == 0 and small and case.random.random() < 0.2 and not re.search(r"run\.", " ".join(overrides)):
        case.about(f"fit: {case.label}")
        fixed = ("--set", "run.steps=1", "--set", "run.out=out/run", "--set", "data.workers=0")
        if "precision" not in case.label:  # the trial that chooses one takes most of the seconds of a step
            fixed += ("--set", "train.precision=fp32")
        case.command("pytrain", "fit", "c.toml", *options, *fixed, codes=(0, 1, 2))

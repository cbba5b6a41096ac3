"""Option files of other projects, changed where their structure is known and in their bytes, for `degrade import`."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from functools import cache
from typing import Any

from .. import test_compat as published
from . import spaces, toml
from .harness import Case, short


@cache
def bases() -> list[tuple[str, str, dict[str, Any]]]:
    """(dialect, ending, options) of every dialect."""
    from pydegrade.compat.hcl import parsed_hcl

    train = {"params": {**published.KERNELS, "out_size": 512}}
    transform = {"params": {**published.BATCH, "use_sharpener": True, "stage2_scale": 4}}
    resshift = {**published.STAGES, "sf": 4, "second_order_prob": 0.5, "gt_size": 256, "resize_back": False}
    return [
        ("wtp", "hcl", parsed_hcl(published.WTP, "wtp")),
        ("realesrgan", "yml", published.REALESRGAN),
        ("osediff", "yml", published.OSEDIFF),
        ("pasd", "yml", {"scale": 4, **published.LIGHT, "kernel_info": published.KERNELS}),
        ("hypir", "yaml", {"data_config": {"train": {"dataset": train, "batch_transform": transform}}}),
        ("diffbir", "yaml", {"dataset": {"train": train}, "batch_transform": transform}),
        ("stablesr", "yaml", published.STABLESR),
        ("redux", "yml", published.REDUX_OTF),
        ("neosr", "toml", published.NEOSR),
        ("kair", "json", published.KAIR),
        ("resshift", "yaml", {"degradation": resshift, "data": {"train": {"params": published.KERNELS}}}),
        ("faces", "yml", {"datasets": {"train": {**published.FACE, **published.JITTER}}}),
    ]


_TEXTS = {
    "hcl": (
        'a = "${file("/etc/passwd")}"', 'a = "%{ if true }x%{ endif }"', "a = <<EOT\nx\nEOT\n", "a = 1 + 1", "a = b.c",
        'degradation "resize" {\n  scale = 2\n}', "degradation {" * 40, "/* " * 3000, "/*", '"a" = 1', 'a = "\\ud800"',
        "a = 1 b = 2", "a = [1 2]", "a = [,]", "a = {b = 1 c = 2}", "a = -", "a = 1.", "a = 1e", "a = 0x10", "# \x1b[31m",
        "a = " + "9" * 5000, "a = [" + "1, " * 60000 + "]", "degradation {}\n" * 3000, "a = 1\r\nb = 2\r\n",
        'degradation { type = "' + "x" * 10000 + '" }', "\ufeffa = 1", "a = \u00b2", "degradation = {}", "degradation = []",
    ),
    "yml": (
        "a: !!python/object/apply:os.system [touch executed]", "a: &a [1, *a]", "<<: {a: 1}", "a: 1:30:30", "a: 010",
        "? {a: 1}\n: 2", "a: !!binary x", "a: !!set {x, y}", "a: .inf", "--- {}\n--- {}", "%YAML 9.9\n---\na: 1",
        "&x a: *x", "a: |\n x", "a: !!timestamp 1", "a: !!int x", "a: !!float _", "a: 0b2", "a: [" * 900, "a: " * 900,
    ),
    "toml": ("[[a]]\n[a]", "a.b = 1\na = 2", 'a = """', "[a]\n[a]"),
    "json": ("{", '{"a": 1e999}', '{"a": NaN}', '{"a": 1, "a": 2}', '"x"', "[]", '{"a": "// x"}', "\x00"),
}  # fmt: skip
_TEXTS["yaml"] = _TEXTS["yml"]


def check(case: Case) -> None:
    folder = case.folder / "in"
    folder.mkdir()
    dialect, ending, options = case.random.choice(bases())
    if case.random.random() < 0.3:
        # The format of its own reader, more often than one file in twelve is written in it.
        dialect, ending, options = bases()[0]
    kind = case.random.random()
    if kind < 0.1:
        text = case.random.choice(_TEXTS[ending])
        content = (text if case.random.random() < 0.5 else dumped(options, ending) + text).encode("utf-8", "replace")
        case.about(f"{ending} {short(text)}")
    elif kind < 0.35:
        content = toml.mutated_text(case.random, dumped(options, ending))
        case.about(f"bytes of {dialect} changed")
    else:
        tree = deepcopy(options)
        others = [other for _, _, other in bases()]
        done = [toml.change(case.random, tree, others) for _ in range(case.random.choice((1, 1, 1, 2, 4)))]
        content = dumped(tree, ending).encode("utf-8", "surrogatepass")
        case.about(f"{dialect}: " + "; ".join(short(text) for text in done))
    if case.random.random() < 0.05:
        ending = case.random.choice(("yml", "toml", "json", "hcl", "HCL", "txt"))
    (folder / f"o.{ending}").write_bytes(content)
    words: list[Any] = ["degrade", "import", f"in/o.{ending}", "-o", "out/m.toml"]
    if case.random.random() < 0.5:
        words += ["--dialect", dialect if case.random.random() < 0.8 else case.random.choice(bases())[0]]
    for option, values in (
        ("--scale", ("1", "2", "3", "16")),
        ("--usm", ("none", "lq", "target")),
        ("--jpeg", ("diffjpeg_basicsr",)),
        ("--name", ("x", "", "a b", "\x1b[31m", "../x", '"', "x" * 300, "dove", "é")),
    ):
        if case.random.random() < 0.15:
            words += [option, case.random.choice(values)]
    case.out.mkdir(exist_ok=True)
    if case.command(*words).code == 0:
        shutil.copyfile(case.out / "m.toml", folder / "x.toml")
        spaces.degrades(case)


def dumped(tree: dict[str, Any], ending: str) -> str:
    """Options as a project would write them."""
    if ending == "toml":
        return toml.dumps(tree)
    if ending == "hcl":
        return "".join(f"{_hcl_entry(key, value)}\n" for key, value in tree.items())
    if ending == "json":
        return _flow(tree)
    return "".join(f"{json.dumps(str(key))}: {_flow(value)}\n" for key, value in tree.items())


def _flow(value: Any) -> str:
    """JSON, which YAML is, too."""
    if isinstance(value, toml.Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)


def _hcl_entry(key: Any, value: Any) -> str:
    name = str(key) if str(key).isidentifier() and str(key).isascii() else json.dumps(str(key))
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return "\n".join(f"{name} {{\n{_hcl_body(entry, chr(10))}\n}}" for entry in value)
    return f"{name} = {_hcl_value(value)}"


def _hcl_body(table: dict[str, Any], between: str) -> str:
    return between.join(_hcl_entry(key, value) for key, value in table.items())


def _hcl_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(str(key))} = {_hcl_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_hcl_value, value)) + "]"
    return _flow(value)

"""Model files: hostile structure and metadata, pickles that would execute something, sizes that nobody can build."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import product
from .harness import Case, Failure
from .images import GOOD_PNG, Marker, mutated

FORMATS = ("pytrain-model", "pytrain-state", "", "x")


def check(case: Case) -> None:
    """A model file read by export, infer or pairs: refused by name, or its weights arrive unchanged."""
    folder = case.folder / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(GOOD_PNG)
    label, suffix, content = make(case)
    case.about(label)
    path = folder / f"m{suffix}"
    path.write_bytes(content)
    relative = f"in/m{suffix}"
    kind = case.random.choice(("export", "export", "infer", "pairs", "eval", "estimate", "adapt"))
    case.about(f"{kind}: {label}")
    if kind == "export":
        done = case.command("pytrain", "export", relative, "out/e.safetensors", places=(relative,))
        if done.code == 0 and label.startswith("plain"):
            _same_weights(case.out / "e.safetensors")
    elif kind == "infer":
        options = ("--model", relative, "--out", "out", "--device", "cpu")
        case.command("pytrain", "infer", "in/a.png", *options, places=(relative, "in/a.png", "--"))
    elif kind == "pairs":
        case.command(
            "degrade", "pairs", "--model", relative, "--hr", "in/a.png", "--out", "out/p", places=(relative, "a.png")
        )
    elif kind == "estimate":
        case.command("degrade", "estimate", "in/a.png", "--model", relative, places=(relative,))
    elif kind == "adapt":
        options = ("--model", relative, "--kernel", "bicubic", "--steps", "0", "--out", "out", "--device", "cpu")
        case.command("pytrain", "adapt", "in/a.png", *options, places=(relative, "--"))
    else:
        options = ("--model", relative, "--hr", "in/a.png", "--device", "cpu")
        case.command("pytrain", "eval", *options, places=(relative, "in/a.png", "evaluate.sets"))
    if (case.folder / "executed").exists():
        raise Failure("escape", f"{label}: a pickled payload was executed")


def _same_weights(path: Path) -> None:
    import safetensors.torch

    written, right = safetensors.torch.load_file(path), product.tiny_state()
    if written.keys() != right.keys() or any(not torch.equal(written[key], right[key]) for key in right):
        raise Failure("wrong", "export changed the weights")


# ---- files


def make(case: Case) -> tuple[str, str, bytes]:
    """(label, suffix, bytes)."""
    kinds: dict[str, Callable[[Case], tuple[str, str, bytes]]] = {
        "plain": _plain, "metadata": _metadata, "header": _header, "pickle": _pickle, "zip": _zip,
        "structure": _structure, "tensors": _tensors, "keys": _keys, "huge": _huge,
    }  # fmt: skip
    label, suffix, content = kinds[case.random.choice(list(kinds))](case)
    if case.random.random() < 0.25:
        return f"mutated {label}", suffix, mutated(case, content)
    return label, suffix, content


def _safetensors(tensors: dict[str, Any], header: dict[str, str] | None = None) -> bytes:
    import safetensors.torch

    return safetensors.torch.save({key: value.contiguous() for key, value in tensors.items()}, header)


def _torch(content: Any, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def _plain(case: Case) -> tuple[str, str, bytes]:
    state = product.tiny_state()
    kind = case.random.choice(
        ("safetensors", "raw", "params", "params_ema", "state_dict", "module.", "ordered", "legacy")
    )
    if kind == "safetensors":
        return "plain safetensors", ".safetensors", _safetensors(state)
    content: Any = {
        "raw": state, "legacy": state, "ordered": collections.OrderedDict(state),
        "module.": {f"module.{key}": value for key, value in state.items()},
    }.get(kind, {kind: state})  # fmt: skip
    return f"plain .pth {kind}", case.random.choice((".pth", ".pt", ".ckpt")), _torch(content, kind == "legacy")


_DEEP = "[" * 3000 + "]" * 3000
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2, 1e300, 10**7, 10**400, 2**63, "", "x", [], {}, [1], {"type": 1}, ["srresnet"], "a" * 10**5,
    0.5, {"type": "srresnet", "num_blocks": 10**7}, {"type": "srresnet", "num_features": 10**9},
    {"type": "edsr", "num_blocks": -1}, {"type": "rrdbnet", "num_blocks": 1e7},
    {"type": "swinir", "depths": [6] * 10**4, "num_heads": [6] * 10**4}, {"type": "swinir", "window_size": 10**6},
    {"type": "ipt"}, {"type": "ipt", "tasks": ["x"] * 9999}, {"type": "spandrel"},
    {"type": "spandrel", "path": "/dev/zero"}, {"type": "srresnet", "scale": 0},
    {"type": "srresnet", "scale": 10**6}, {"type": "unet_discriminator"}, {"type": "dasr"}, {"type": "mzsr"},
    {"type": "nothing"}, {"type": "srresnet", "x": 1}, {"type": "rcan", "num_groups": 10**5, "num_blocks": 10**5},
    {"type": "srvgg", "num_convs": 10**7},
)  # fmt: skip


def _metadata(case: Case) -> tuple[str, str, bytes]:
    """Right weights, and a header that says something else."""
    described: dict[str, Any] = {
        "format": case.random.choice(FORMATS[:3] if case.random.random() < 0.3 else FORMATS[:1]), "version": 1,
        "scale": 2, "architecture": "srresnet",
        "net": {"type": "srresnet", "scale": 2, "num_features": 8, "num_blocks": 1}, "weights": "params",
    }  # fmt: skip
    said = []
    for _ in range(case.random.choice((1, 1, 2))):
        key = case.random.choice(
            (*described, "crc32", "step", "vector", "labels", "method", "space", "num_weights", "space_toml")
        )
        value = case.random.choice(_VALUES)
        if key == "net" and case.random.random() < 0.5:
            inner = case.random.choice(
                ("type", "scale", "num_features", "num_blocks", "num_in_ch", "num_out_ch", "nonsense")
            )
            value = {**(described["net"] if isinstance(described["net"], dict) else {}), inner: value}
        described[key] = value
        said.append(f"{key} {value!r:.60}")
    text = json.dumps(described)
    odd = case.random.random()
    if odd < 0.1:
        text, said = _DEEP, ["3000 lists deep"]
    elif odd < 0.2:
        text, said = '{"format": "pytrain-model", "net": ' + _DEEP + "}", ["net 3000 lists deep"]
    elif odd < 0.25:
        text, said = '{"format": "pytrain-model", "version": ' + "9" * 5000 + "}", ["version of 5000 digits"]
    elif odd < 0.3:
        text, said = '{"format": "pytrain-model", "net": {"type": "srresnet", "num_blocks": NaN}}', ["num_blocks NaN"]
    elif odd < 0.33:
        text, said = "[" * 10**6, ["a million brackets"]
    if case.random.random() < 0.7:
        return f"metadata {said}", ".safetensors", _safetensors(product.tiny_state(), {"metadata": text})
    return f"metadata {said}", ".pth", _torch({"params": product.tiny_state(), "metadata": text})


def _header(case: Case) -> tuple[str, str, bytes]:
    """A safetensors header built by hand."""
    kind = case.random.choice(
        ("length", "deep", "overlap", "dtype", "shape", "huge shape", "names", "not json", "digits", "many")
    )
    tensor: dict[str, Any] = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    data = bytes(8)
    if kind == "length":
        length = case.random.choice((0, 2**63, 2**40, 2**31, 100 * 2**20, 7))
        return f"header of length {length}", ".safetensors", struct.pack("<Q", length) + b"{" + bytes(50)
    if kind == "not json":
        text = case.random.choice(
            ("{", "[]", "null", "{}", '{"a"', "{" + "\0" * 50, '{"__metadata__": 5}', '{"__metadata__": {"a": 5}}')
        )
    elif kind == "deep":
        text = '{"a": ' + _DEEP + "}"
    elif kind == "digits":
        text = json.dumps({"a": {**tensor, "shape": ["#"]}}).replace('"#"', "9" * 5000)
    elif kind == "many":
        text = json.dumps({f"k{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(30000)})
    else:
        change: dict[str, Any] = {
            "overlap": {"data_offsets": case.random.choice(([4, 2], [0, 2**62], [-1, 8], [0, 4], "x", [0]))},
            "dtype": {
                "dtype": case.random.choice(("F64", "X", 5, None, "BF16", "U64", "F8_E4M3", "C64", "BOOL", "F4"))
            },
            "shape": {"shape": case.random.choice(([-2], [1, 2, 1, 1, 1] * 20, "x", [2.0], [], [0, 2], [None]))},
            "huge shape": {"shape": [2**31, 2**31, 2**31]},
            "names": {},
        }[kind]
        text = json.dumps({case.random.choice(("a", "", "\0", "a" * 10**5, "\ud800")): {**tensor, **change}})
    raw = text.encode("utf-8", "surrogatepass")
    return f"safetensors header: {kind}", ".safetensors", struct.pack("<Q", len(raw)) + raw + data


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.what = function, arguments

    def __reduce__(self) -> Any:
        return self.what


def _pickle(case: Case) -> tuple[str, str, bytes]:
    """Pickles that would do something."""
    mark = case.folder / "executed"
    text = f"open({str(mark)!r}, 'w').close()"
    kind = case.random.choice(
        ("system", "eval", "exec", "open", "import", "nested", "key", "numpy", "functools", "raw", "getattr")
    )
    payload: Any = {
        "system": Marker(mark), "eval": _Calls(eval, f"__import__('os').system('touch {mark}')"),
        "exec": _Calls(exec, text), "open": _Calls(open, str(mark), "w"),
        "import": _Calls(__import__, "antigravity"), "nested": [[{"a": Marker(mark)}]], "key": Marker(mark),
        "numpy": _Calls(exec, text), "functools": _Calls(__import__("functools").partial, exec, text),
        "raw": Marker(mark), "getattr": _Calls(os.popen, f"touch {mark}"),
    }[kind]  # fmt: skip
    if kind == "raw":
        return (
            "pickle alone",
            case.random.choice((".pth", ".pt", ".safetensors", ".onnx")),
            pickle.dumps(payload, case.random.randrange(6)),
        )
    content = (
        {**product.tiny_state(), "x": payload}
        if kind != "nested"
        else {"params": product.tiny_state(), "meta": payload}
    )
    legacy = case.random.random() < 0.4
    return f"pickle {kind}{' legacy' if legacy else ''}", ".pth", _torch(content, legacy)


def _zip(case: Case) -> tuple[str, str, bytes]:
    """The zip of torch.save with other members than it should have."""
    stream = io.BytesIO(_torch(product.tiny_state()))
    with zipfile.ZipFile(stream) as old:
        members = {name: old.read(name) for name in old.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    kind = case.random.choice(
        ("bomb", "no pickle", "no data", "script", "names", "deflated", "twice", "short data", "memo")
    )
    compression = zipfile.ZIP_STORED
    if kind == "bomb":
        first = next(name for name in members if "/data/" in name)
        members[first], compression = bytes(2**27), zipfile.ZIP_DEFLATED
    elif kind == "no pickle":
        del members[pickled]
    elif kind == "no data":
        members = {name: data for name, data in members.items() if "/data/" not in name}
    elif kind == "script":
        members["archive/constants.pkl"] = b"\x80\x02]q\x00."
    elif kind == "names":
        members = {case.random.choice(("../", "/", "x/y/", "x\0")) + name: data for name, data in members.items()}
    elif kind == "deflated":
        compression = zipfile.ZIP_DEFLATED
    elif kind == "short data":
        members = {name: data[: len(data) // 2] if "/data/" in name else data for name, data in members.items()}
    elif kind == "memo":
        # A list that holds itself, 2**30 references deep.
        members[pickled] = b"\x80\x02]q\x00" + b"".join(b"]q%c(h%ch%ce" % (n + 1, n, n) for n in range(30)) + b"."
    out = io.BytesIO()
    import warnings

    with zipfile.ZipFile(out, "w", compression) as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in members.items():
            new.writestr(name, data)
        if kind == "twice":
            new.writestr(pickled, members[pickled])
    return f"zip: {kind}", ".pth", out.getvalue()


def _structure(case: Case) -> tuple[str, str, bytes]:
    """Python values that are no state dictionary."""
    state = product.tiny_state()
    itself: dict[str, Any] = {}
    itself["params"] = itself
    deep: Any = {}
    for _ in range(case.random.choice((20, 400))):
        deep = {"params": deep}
    contents: dict[str, Any] = {
        "empty": {}, "list": [state], "None": None, "text": "x", "tensor": torch.zeros(3), "itself": itself,
        "deep": deep, "numbers as keys": {1: torch.zeros(1), None: torch.zeros(1), (1, 2): torch.zeros(2)},
        "params empty": {"params": {}}, "params and a list": {"params": state, "epoch": [1]},
        "optimizer": {"optimizer": {"state": {}}, "net": 5}, "mixed": {**state, "step": 5, "name": "x"},
        "both": {"params": {}, "params_ema": state}, "tuple": (state,),
        "state in a state": {"model": {"state_dict": {"params": state}}},
        "0-d": {k: v.sum() for k, v in state.items()}, "nested lists": {"params": [[[[]]]]},
        "names with escapes": {f"\x1b[31m{k}\n": v for k, v in state.items()},
        "long names": {f"{k}{'x' * 10**4}": v for k, v in state.items()},
        "metadata list": {"params": state, "metadata": [1]},
        "metadata text": {"params": state, "metadata": "[" * 5000}, "none inside": {**state, "x": None},
        "bytes": b"x" * 99,
    }  # fmt: skip
    kind = case.random.choice(list(contents))
    return f"structure: {kind}", ".pth", _torch(contents[kind], case.random.random() < 0.2)


def _tensors(case: Case) -> tuple[str, str, bytes]:
    """Right keys, other tensors."""
    state = dict(product.tiny_state())
    key = case.random.choice(list(state))
    value = state[key]
    changes: dict[str, Callable[[], Any]] = {
        "nan": lambda: torch.full_like(value, float("nan")), "inf": lambda: torch.full_like(value, float("inf")),
        "int": lambda: value.to(torch.int64), "bool": lambda: value > 0,
        "complex": lambda: value.to(torch.complex64), "double": lambda: value.double(), "half": lambda: value.half(),
        "empty": lambda: value[:0], "flat": lambda: value.reshape(-1),
        "wide": lambda: value.repeat(2, *(1 for _ in value.shape[1:])), "sparse": lambda: value.to_sparse(),
        "meta": lambda: value.to("meta"), "quantized": lambda: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        "transposed": lambda: value.transpose(0, -1), "expanded": lambda: torch.zeros(1).expand(2**40),
        "zero-d": lambda: torch.tensor(1.0), "8-d": lambda: value.reshape(1, 1, 1, 1, 1, 1, 1, -1),
        "parameter": lambda: torch.nn.Parameter(value), "fp8": lambda: value.to(torch.float8_e4m3fn),
        "gone": lambda: None, "all nan": lambda: value,
    }  # fmt: skip
    kind = case.random.choice(list(changes))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state[key] = changes[kind]()
    if kind == "gone":
        del state[key]
    if kind == "all nan":
        state = {name: torch.full_like(entry, float("nan")) for name, entry in state.items()}
    label = f"tensors: {key} {kind}"
    plain = kind in (
        "nan",
        "inf",
        "int",
        "bool",
        "double",
        "half",
        "empty",
        "flat",
        "wide",
        "zero-d",
        "8-d",
        "gone",
        "all nan",
        "fp8",
    )
    if plain and case.random.random() < 0.5:
        return label, ".safetensors", _safetensors(state)
    return label, ".pth", _torch({"params": state})


def _keys(case: Case) -> tuple[str, str, bytes]:
    """Keys of known networks with shapes that these cannot have: what a detector reads sizes from."""
    value = case.random.choice((torch.zeros(0), torch.zeros(1), torch.zeros(()), torch.zeros(3, 3, 3, 3),
        torch.zeros(64, 3, 3, 3),
                                torch.zeros(1, 1, 1, 1, 1)))  # fmt: skip
    number = case.random.choice((0, 1, 99, 10**6, 10**9, 10**30))
    names = ("conv_first.weight", "conv_last.weight", f"body.{number}.weight", f"body.{number}.rdb1.conv1.weight",
        "upconv1.weight",
             "head.0.weight", f"body.{number}.body.0.weight",
             f"layers.{number}.residual_group.blocks.{number}.attn.qkv.weight",
             f"trunk.{number}.x", "sub_mean.weight", f"tail.{number}.weight", "encoder.0.weight",
             f"blocks.{number}.conv1.weight",
             f"body.{number}.body.{number}.conv_du.0.weight", "body.²5.weight", "body.-1.weight", "body.01.weight",
             "upsample.0.weight",
             f"experts.{number}.weight", "patch_embed.norm.weight", "relative_position_bias_table")  # fmt: skip
    state = {name: value.clone() for name in case.random.sample(names, case.random.choice((1, 2, 5)))}
    if case.random.random() < 0.5:
        state = {**product.tiny_state(), **state}
    label = f"keys {list(state)[-2:]} {tuple(value.shape)}"
    return label, ".safetensors", _safetensors(state)


def _huge(case: Case) -> tuple[str, str, bytes]:
    """A small file that asks for a large network."""
    nets = [value for value in _VALUES if isinstance(value, dict) and "type" in value]
    described = {"format": "pytrain-model", "version": 1, "weights": "params", "net": case.random.choice(nets)}
    return (
        f"huge {described['net']!r:.80}",
        ".safetensors",
        _safetensors(product.tiny_state(), {"metadata": json.dumps(described)}),
    )

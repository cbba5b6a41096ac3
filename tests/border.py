"""Calls over the border between Python and the compiled module: good ones for every function, made from what the module
says about its fields, and what can be wrong with each.

`python -m tests.border --calls 20000` makes random calls, good and bad, and says what came of them; `--sanitize` does so
with a build of the module that AddressSanitizer and UndefinedBehaviorSanitizer watch.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SANITIZED = ROOT / "build" / "sanitized"


def module_from(path: Path | str, name: str) -> Any:
    """A module from a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Another build of the compiled module, in the place of the package's own before anything imports that.
if __name__ == "__main__" and "PYDEGRADE_TESTED_MODULE" in os.environ:
    sys.modules["pydegrade._C"] = module_from(os.environ["PYDEGRADE_TESTED_MODULE"], "pydegrade._C")

import torch  # noqa: E402

from pydegrade import _C  # noqa: E402
from pydegrade.native.binding import POISSON_WORDS  # noqa: E402

OPS = tuple(_C.OPS)
CHANGES_SIZE = ("resize",)
DTYPES = ("int32", "int64", "uint32", "float32", "float64", "uint8", "float16", "bool", ">i4")
Fields = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A call that succeeds. `typed` are the places of its arrays, as paths of names from `fields` on."""

    name: str
    fields: Fields
    typed: tuple[tuple[str, ...], ...]

    def run(self, fields: Fields | None = None) -> Any:
        return getattr(_C, self.name)(self.fields if fields is None else fields)


def replaced(fields: Fields, place: tuple[str, ...], value: Any) -> Fields:
    """`fields` with another value at one place."""
    first, *rest = place
    return {**fields, first: replaced(fields[first], tuple(rest), value) if rest else value}


def at(fields: Fields, place: tuple[str, ...]) -> Any:
    for name in place:
        fields = fields[name]
    return fields


def rows(height: np.ndarray[Any, Any], width: np.ndarray[Any, Any], channels: int) -> Fields:
    pixels = height.astype(np.int64) * width * channels
    return {
        "count": len(height),
        "channels": channels,
        "offset": np.concatenate([[0], np.cumsum(pixels)[:-1]]).astype(np.int64)[: len(height)],
        "height": height,
        "width": width,
    }


def floats(layout: Fields) -> int:
    return int((layout["height"].astype(np.int64) * layout["width"]).sum()) * layout["channels"]


# Values that make an item of each op legal, where zeros do not.
LEGAL: dict[str, Fields] = {
    "blur": {"size_px": 3, "path": 2},
    "resize": {"mode": 2},
    "noise": {"kind": 2, "gain": 1},
    "jpeg": {"mode": 2, "quality": 50},
    "sharpen": {"weight": 0.5, "radius_px": 3},
    "rain": {"length_px": 30, "width_px": 1, "brightness": 0.5, "streaks_per_kpx": 2},
    "psf": {"shape": 2, "size_px": 3, "sigma_x_px": 1, "sigma_y_px": 1},
}
# Values of fields that do not belong to items.
SHARED = 512


def params(op: str, items: int) -> Fields:
    """All fields of an op, legal; every item the same."""
    made = {}
    for name, dtype, _, per_item, at_least, _, _ in _C.FIELDS[op]:
        made[name] = np.full(items * per_item or max(at_least, SHARED), LEGAL.get(op, {}).get(name, 0), dtype)
    return made


@cache
def batch_call(op: str, function: str, count: int = 3) -> Call:
    height, width = np.arange(5, 5 + count, dtype=np.int32), np.arange(9, 9 + count, dtype=np.int32)
    layout = rows(height, width, 3)
    places = ("src_rows", "dst_rows") if op in CHANGES_SIZE else ("rows",)
    fields: Fields = {**dict.fromkeys(places, layout), **params(op, count)}
    if not function.endswith("_program"):
        fields["src"] = np.full(floats(layout), 0.5, np.float32)
        fields["dst"] = np.zeros(floats(layout), np.float32)
        if function == "jpeg_adjoint":
            fields["grad"] = np.ones(floats(layout), np.float32)
    arrays = [(place, name) for place in places for name in ("offset", "height", "width")]
    return Call(
        function, fields, (*arrays, *((name,) for name, value in fields.items() if isinstance(value, np.ndarray)))
    )


def chain_call(function: str) -> Call:
    """One step of every op."""
    steps = len(OPS)
    layout = rows(np.array([6], np.int32), np.array([7], np.int32), 3)
    fields: Fields = {
        "src_rows": layout,
        "dst_rows": layout,
        "target_step": np.full(1, 2, np.int32),
        "step_start": np.array([0, steps], np.int64),
        "step_op": np.array(list(_C.OPS.values()), np.int32),
        "step_item": np.zeros(steps, np.int64),
        "step_height": np.full(steps, 6, np.int32),
        "step_width": np.full(steps, 7, np.int32),
        "round_8bit": True,
        **{op: params(op, 1) for op in OPS},
    }
    if function == "chain":
        fields["src"] = np.full(floats(layout), 0.5, np.float32)
        fields |= {name: np.zeros(floats(layout), np.float32) for name in ("dst", "target")}
        fields["check_range"] = True
    else:
        fields["has_target"] = True
    nested = [(place, name) for place, value in fields.items() if isinstance(value, dict) for name in value]
    typed = [place for place in nested if isinstance(at(fields, place), np.ndarray)]
    return Call(
        function, fields, (*typed, *((name,) for name, value in fields.items() if isinstance(value, np.ndarray)))
    )


def plan_call() -> Call:
    """A slot of every op for two images."""
    slots = [
        (code, number, False, [(f"{op}.{name}", LEGAL.get(op, {}).get(name, 0)) for name, _ in _C.COLUMNS[op]])
        for number, (op, code) in enumerate(_C.OPS.items())
    ]
    columns = {f"{op}.{name}": np.ones(2, dtype) for op in OPS for name, dtype in _C.COLUMNS[op]}
    numbers = np.arange(2)
    fields = {
        "slots": _C.Slots(slots, 1, -1),
        "src_rows": rows(np.full(2, 6, np.int32), np.full(2, 7, np.int32), 3),
        "columns": columns,
        "program": np.tile(np.arange(len(slots), dtype=np.int8), 2),
        "neutral": [],
        **dict.fromkeys(("seed", "index", "noise_index"), numbers),
    }
    nested = [(place, name) for place in ("src_rows", "columns") for name in fields[place]]
    typed = [place for place in nested if isinstance(at(fields, place), np.ndarray)]
    return Call("plan", fields, (*typed, *((name,) for name in ("program", "seed", "index", "noise_index"))))


def plain_calls() -> Iterator[Call]:
    """The functions that are no ops."""

    def call(name: str, **fields: Any) -> Call:
        return Call(name, fields, tuple((key,) for key, value in fields.items() if isinstance(value, np.ndarray)))

    yield call("psf", **params("psf", 4), trim=0.0)
    word = lambda count: np.ones(count, np.uint32)  # noqa: E731
    yield call("philox_words", key=word(6), counter=word(12), out=word(12))
    draws = {"hash": word(2), "draw": word(2), "out": np.zeros(6)}
    yield call("philox_uniform", seed_lo=1, seed_hi=2, indices=np.arange(3), **draws)
    # A column that another one chooses the distribution of, and a shuffle of two slots around one that stays.
    word32 = lambda *values: np.array(values, np.int32)  # noqa: E731
    uniform, covariance, by = (1, 0, 0, 0, 1, 0, 0), (10, 2, 0, 0, 4, 0, 0), (9, 3, 0, 1, 1, 0, 0)
    space = {
        "nodes": word32(*uniform, *covariance, *by),
        "children": word32(0, 1),
        "numbers": np.array([0.0, 3.0, 50.0, 2.0]),
        "columns": word32(0, 0, 0, 0, 2, 1, 1, 1),
        "order": word32(0, 4, 2, 0, 1, 1, 0, 1, 1, 1, 3, 2, 0, 1),
    }
    names = {"hash": word(14), "draw": np.arange(14, dtype=np.uint32)}
    made = {"words": np.zeros(6, np.int32), "program": np.zeros(12, np.uint8)}
    yield call("draw_columns", seed_lo=1, seed_hi=2, indices=np.arange(3), rows=2, **space, **names, **made)
    tables = {
        "gates": word32(0, 0, 2, 1, 2, 1, 0, 1, 0),
        "slots": word32(0, 1, 2, 0, 1, 3, 1, 2, 1, 2, 1, 6, 3, -1, 4, 0, 4, 2, 0, 1, 6, 3),
        "effects": np.array([1, 0, 1, 1, 0, 0, 1, 0, 0, 1], np.uint8),
        "neutral": np.zeros(5, np.int32),
    }
    sizes = {"rows": 5, "gate_rows": 1, "slot_count": 3}
    made = {"words": np.ones(15, np.int32), "program": np.array([0, 1, 2] * 3, np.uint8)}
    yield call("settle_columns", component=word32(0, 1, 0), **sizes, **tables, **made)
    yield call("noise_matrix", covariance_8bit2=np.ones(12), out=np.zeros(18, np.float32))
    sides = {"height": np.full(2, 5), "width": np.full(2, 6), "scale": np.zeros(2)}
    yield call("resize_factors", mode=np.full(2, 6, np.int32), factor=np.full(2, 0.5), **sides)
    for op, code in _C.OPS.items():
        yield call("neutral", op=code, count=2, **{name: np.ones(2, dtype) for name, dtype in _C.COLUMNS[op]})
    ends = dict.fromkeys(("height", "width", "final_height", "final_width"), np.full(2, 8, np.int32))
    for op in _C.RESIZING:
        columns = {name: np.ones(2, dtype) for name, dtype in _C.COLUMNS[op]}
        yield call("out_size", op=_C.OPS[op], count=2, **ends, **columns)
    yield plan_call()
    yield call("poisson_tables", out=word(POISSON_WORDS))
    rule = {"mode": 6, "antialias": True, "replicate": False}
    table = {"start": np.zeros(8, np.int32), "index": np.zeros(70, np.int32), "weight": np.zeros(70)}
    yield call("imresize_taps", **rule, in_px=9, out_px=7, scale=7 / 9, **table)
    for function in ("planes_of_bytes", "bytes_of_planes"):
        yield call(function, pixels=5, channels=3, bytes=np.zeros(15, np.uint8), planes=np.zeros(15, np.float32))
    for function in ("yuv_of_planes", "planes_of_yuv"):
        image = {"height": 3, "width": 5, "planes": np.zeros(45, np.float32)}
        yield call(function, **image, yuv_height=4, yuv_width=6, yuv=np.zeros(36, np.uint8))
    values = {"src": np.zeros(30, np.float32), "dst": np.zeros(30, np.float32)}
    yield call("diffuse", channels=2, height=3, width=5, diffusion=2, top=3.0, **values)
    yield call("median", planes=2, height=3, width=5, size=5, **values)


MAY_BE_EMPTY = {("draw_columns", "columns"), ("settle_columns", "gates"), ("settle_columns", "slots")}
"""Function and field: arrays that nothing else counts."""


@cache
def good_calls() -> tuple[Call, ...]:
    """One of every function of the module that takes arrays, except imresize, whose source may lie in any order."""
    functions = [name for name in dir(_C) if name.removesuffix("_program").removesuffix("_adjoint") in OPS]
    calls = [batch_call(name.removesuffix("_program").removesuffix("_adjoint"), name) for name in functions]
    return (*calls, chain_call("chain"), chain_call("chain_program"), *plain_calls())


def wrong_values(value: np.ndarray[Any, Any]) -> Iterator[tuple[str, Any]]:
    """What must be refused in the place of an array, with what the message has to say beside function and field."""
    plain = np.ascontiguousarray(value)
    for dtype in DTYPES:
        if np.dtype(dtype) != value.dtype:
            yield f"must be {value.dtype}, got {np.dtype(dtype)}", np.zeros(plain.shape, dtype)
    if plain.size > 1:
        yield "must be contiguous, got a strided array", np.repeat(plain, 2)[::2]
        yield "must be contiguous, got a strided array", plain[::-1]
    if plain.size > 1 and plain.dtype != np.uint32:
        yield "must be contiguous, got a strided tensor", torch.from_numpy(np.repeat(plain, 2))[::2]
    if plain.itemsize > 1:
        yield "must be aligned", np.frombuffer(bytearray(plain.nbytes + 1), np.uint8)[1:].view(plain.dtype)
    yield "must be on the CPU, got meta", torch.empty(plain.shape, device="meta")
    yield "must be an array or a tensor, got list", plain.tolist()
    yield "must be an array or a tensor, got int", 5
    yield "values, got", plain[:0]


# ---- Random calls


def _mutated(values: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Some values replaced by ones at and beyond the ends of every range."""
    out = values.copy()
    if out.size == 0:
        return out
    places = rng.integers(0, out.size, rng.integers(1, 3))
    if out.dtype.kind == "f":
        ends = [0, -1, 1, 0.5, 2, 3.7, 16, 50, 101, 1e-3, 200, 1e30, -1e30, np.nan, np.inf, -np.inf]
    elif out.dtype == np.uint32:
        ends = [0, 1, 2**31, 2**32 - 1]
    else:
        limits = np.iinfo(out.dtype)
        # A value beyond the dtype's own ends is no array that could be given.
        ends = [
            0,
            1,
            -1,
            2,
            3,
            4,
            7,
            12,
            13,
            50,
            51,
            52,
            53,
            126,
            127,
            128,
            4096,
            limits.max,
            limits.min,
            limits.max - 1,
        ]
        ends = [int(np.clip(end, limits.min, limits.max)) for end in ends]
    for place in places:
        out.flat[place] = out.dtype.type(ends[rng.integers(len(ends))])
    return out


def random_call(rng: np.random.Generator) -> Call:
    """A call of any function with other sizes and some values changed."""
    calls = good_calls()
    call = calls[rng.integers(len(calls))]
    for op in OPS:
        if call.name.removesuffix("_program").removesuffix("_adjoint") == op:
            call = batch_call(op, call.name, int(rng.integers(0, 4)))
    fields = call.fields
    for _ in range(rng.integers(0, 4)):
        place = call.typed[rng.integers(len(call.typed))]
        value = at(fields, place)
        if value is None:  # changed before
            continue
        kind = rng.integers(0, 8)
        if kind < 5:
            changed: Any = _mutated(value, rng)
        elif kind == 5:
            changed = value[: rng.integers(0, len(value) + 1)]
        elif kind == 6:
            changed = np.resize(value, len(value) + rng.integers(1, 5)) if len(value) else value
        else:
            changed = None
        # What would take minutes: kernels that shrink by a factor of a million.
        if place[-1] in ("scale_y", "scale_x") and changed is not None:
            changed = np.where((np.abs(changed) > 1e3) | (np.abs(changed) < 1e-2), 0, changed)
        fields = replaced(fields, place, changed)
    return Call(call.name, fields, call.typed)


def random_imresize(rng: np.random.Generator) -> Call:
    dtype = ("uint8", "uint16", "float32", "float64", "int32")[rng.integers(5)]
    height, width, channels = (int(side) for side in rng.integers(1, 12, 3))
    src = np.zeros((height, width, channels), dtype)[:: (1, -1, 2)[rng.integers(3)]]
    dst_height, dst_width = (int(side) for side in rng.integers(1, 20, 2))
    size = max(0, dst_height * dst_width * channels - int(rng.integers(0, 2)))
    fields = {
        "mode": int(rng.integers(5, 13)),
        "antialias": bool(rng.integers(2)),
        "replicate": bool(rng.integers(2)),
        "im2double": bool(rng.integers(2)),
        "planes": 1,
        "channels": channels,
        "src_height": src.shape[0] + int(rng.integers(0, 10) == 0),
        "src_width": width + int(rng.integers(0, 10) == 0),
        "src_row_stride": src.strides[0] // src.itemsize,
        "src_plane_stride": 0,
        "dst_height": dst_height,
        "dst_width": dst_width,
        "scale_y": dst_height / src.shape[0],
        "scale_x": dst_width / width,
        "src": src,
        "dst": np.zeros(size, dtype),
    }
    return Call(("imresize", "imresize_adjoint")[rng.integers(2)], fields, ())


def fuzz(calls: int, seed: int, report: Callable[[str], None] = lambda line: None) -> Counter[str]:
    """Random calls; every one returns or raises one line. How many of each."""
    rng = np.random.default_rng(seed)
    outcome: Counter[str] = Counter()
    for number in range(calls):
        call = random_imresize(rng) if rng.integers(12) == 0 else random_call(rng)
        try:
            call.run()
            outcome["done"] += 1
        except (TypeError, ValueError) as error:
            text = str(error)
            assert "\n" not in text, text
            starts = (
                *OPS,
                "chain",
                "plan",
                "columns",
                "neutral",
                "out_size",
                "psf",
                "philox",
                "poisson",
                "imresize",
                "draw_columns",
                "settle_columns",
                "planes_of_bytes",
                "bytes_of_planes",
                "yuv_of_planes",
                "planes_of_yuv",
                "diffuse",
                "median",
            )
            assert text.startswith(starts), text
            outcome["refused"] += 1
        except MemoryError:
            outcome["out of memory"] += 1
        if (number + 1) % 1000 == 0:
            report(f"{number + 1} calls: {dict(outcome)}")
    return outcome


# ---- The sanitized module


def sanitizer_libraries() -> list[str]:
    """The runtimes that have to be loaded before Python, the sanitizer's first; empty where the compiler has none."""
    compiler = os.environ.get("CXX", "c++")
    paths = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    return paths if all(map(os.path.isabs, paths)) else []


def build_module(folder: Path, *options: str) -> Path:
    """The compiled module, built in a folder with some options of CMakeLists.txt."""
    import pybind11

    found = (f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}")
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", *found, *options]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", str(os.cpu_count() or 1)]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return next(folder.glob("_C*.so"))


def build_sanitized() -> Path:
    """The compiled module with both sanitizers, in build/sanitized."""
    return build_module(SANITIZED, "-DPYDEGRADE_SANITIZE=ON")


def run_sanitized(calls: int, seed: int) -> subprocess.CompletedProcess[str]:
    """`fuzz` in a process of its own that the sanitizers watch."""
    environment = os.environ | {
        "PYDEGRADE_TESTED_MODULE": str(build_sanitized()),
        "LD_PRELOAD": " ".join(sanitizer_libraries()),
        # Python itself does not free everything; what does not fit into memory is an answer, not a crash.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.border", "--calls", str(calls), "--seed", str(seed)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.border", description="Random calls of the compiled module.")
    parser.add_argument("--calls", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sanitize", action="store_true", help="with AddressSanitizer and UndefinedBehaviorSanitizer")
    options = parser.parse_args()
    if options.sanitize:
        done = run_sanitized(options.calls, options.seed)
        print(done.stdout + done.stderr[-8000:])
        sys.exit(done.returncode)
    print(dict(fuzz(options.calls, options.seed, print)))


if __name__ == "__main__":
    main()

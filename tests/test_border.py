"""The border between Python and the compiled module: everything that could be wrong with an array is refused in one line
that names function and field, on the CPU and when a program for CUDA is made."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from pydegrade import _C, ops

from . import border

ROOT = border.ROOT
CALLS = border.good_calls()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_every_wrong_array_is_named(call):
    call.run()
    name = call.name.removesuffix("_program")
    for place in call.typed:
        value = border.at(call.fields, place)
        # Fields of a chain's ops say which op; those of rows, which rows.
        owner = name if len(place) == 1 else f"{name}: {place[0]}" if place[0].endswith("rows") else place[0]
        for expected, wrong in border.wrong_values(value):
            if expected == "values, got" and (call.name, place[-1]) in border.MAY_BE_EMPTY:
                continue
            with pytest.raises((TypeError, ValueError)) as raised:
                call.run(border.replaced(call.fields, place, wrong))
            line = str(raised.value)
            assert "\n" not in line
            # Too few values may show in another field, whose number follows from this one's.
            if expected != "values, got":
                assert line.startswith(f"{owner}: {place[-1]} {expected}"), line


def test_messages_are_lines():
    """As users meet them, word by word."""
    noise = border.batch_call("noise", "noise", 4)

    def refused(**changed):
        with pytest.raises((TypeError, ValueError)) as raised:
            noise.run({**noise.fields, **changed})
        return f"{type(raised.value).__name__}: {raised.value}"

    sigma = np.zeros(4, np.float32)
    assert refused(sigma=sigma.astype(np.float64)) == "TypeError: noise: sigma must be float32, got float64"
    assert refused(sigma=sigma[:3]) == "ValueError: noise: sigma must have 4 values, got 3"
    assert refused(sigma=torch.zeros(4, device="meta")) == "ValueError: noise: sigma must be on the CPU, got meta"
    assert refused(sigma=torch.zeros(8)[::2]) == "ValueError: noise: sigma must be contiguous, got a strided tensor"
    assert refused(sigma=[0.0] * 4) == "TypeError: noise: sigma must be an array or a tensor, got list"
    assert refused(sigma=None) == "ValueError: noise: sigma is missing"
    assert refused(sigmaa=sigma) == "ValueError: noise: sigmaa is not a field"
    assert refused(kind=np.array([0, 1, 9, 0], np.int32)) == "ValueError: noise: kind is out of range in row 2"
    assert refused(kind=np.full(4, 3, np.int32), matrix=None) == "ValueError: noise: matrix is out of range in row 0"
    src = noise.fields["src"]
    locked = src.copy()
    locked.flags.writeable = False
    assert refused(dst=locked) == "ValueError: noise: dst must be writable, got a read-only array"
    assert refused(src=src[1:]) == f"ValueError: noise: src must have at least {src.size} values, got {src.size - 1}"
    both = np.zeros(src.size + 8, np.float32)
    assert refused(src=both[8:], dst=both[:-8]) == "ValueError: noise: dst must not overlap src"


def test_a_chain_names_op_row_and_step():
    call = border.chain_call("chain")

    def refused(place, value):
        for one in (call, border.chain_call("chain_program")):
            with pytest.raises((TypeError, ValueError)) as raised:
                one.run(border.replaced(one.fields, place, value))
        return str(raised.value)

    places = {op: at for at, op in enumerate(_C.OPS)}
    assert (
        refused(("blur", "size_px"), np.full(1, 4, np.int32)) == "chain: blur: size_px is out of range in row 0, step 0"
    )
    quality = refused(("jpeg", "quality"), np.full(1, 101, np.float32))
    assert quality == f"chain: jpeg: quality is out of range in row 0, step {places['jpeg']}"
    assert (
        refused(("step_op",), np.full(len(places), 77, np.int32)) == "chain: step_op is out of range in row 0, step 0"
    )
    ascending = "chain: step_start must ascend from 0 to at most"
    assert refused(("step_start",), np.array([0, 99], np.int64)).startswith(ascending)
    item = refused(("step_item",), np.full(len(places), 1, np.int64))
    assert item == "chain: blur: item is out of range in row 0, step 0"
    width = refused(("step_width",), np.arange(7, 7 + len(places), dtype=np.int32))
    assert re.fullmatch(r"chain: \w+: size of the result is out of range in row 0, step \d", width)


def test_ops_that_no_row_uses_may_be_left_out():
    call = border.chain_call("chain")
    fields = {name: value for name, value in call.fields.items() if name not in _C.OPS or name == "noise"}
    one = {"step_start": np.array([0, 1], np.int64), "step_op": np.full(len(_C.OPS), _C.OPS["noise"], np.int32)}
    assert call.run({**fields, **one, "target_step": np.zeros(1, np.int32)}) is True
    with pytest.raises(ValueError, match="chain: blur: item is out of range"):
        call.run({**fields, "target_step": np.zeros(1, np.int32)})


def test_the_stub_is_what_the_module_says():
    module = border.module_from(ROOT / "csrc/stub.py", "stub")
    assert (ROOT / "pydegrade/_C.pyi").read_text() == module.stub(_C)


def test_both_sides_list_the_same_ops():
    assert [op.name for op in ops.OPS] == list(_C.OPS)


def test_random_calls_return_or_raise_one_line():
    outcome = border.fuzz(600, seed=3)
    assert outcome["done"] > 100
    assert outcome["refused"] > 100


@pytest.mark.slow
def test_random_calls_under_sanitizers():
    if not border.sanitizer_libraries():
        pytest.skip("the compiler has no AddressSanitizer library")
    done = border.run_sanitized(1500, seed=4)
    assert done.returncode == 0, done.stderr[-6000:]
    assert "runtime error" not in done.stderr

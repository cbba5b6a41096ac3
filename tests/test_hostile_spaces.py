"""Space and task files from anywhere: each bad one is one line with its place, within two seconds and a gigabyte."""

from __future__ import annotations

import io
import json
import os
import resource
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

import pydegrade
from pydegrade import Space, TaskBatch
from pydegrade.errors import PydegradeError, SpaceError, TaskError
from pydegrade.tasks.space import PRESETS

HEAD = '[space]\nname = "t"\nscale = 4\nsource = "test"\n'
BLUR = '[[slot]]\nname = "blur1"\nop = "blur"\nshape = "iso"\nsize_px = 7\n'
WIDE = BLUR + "sigma_x_px = 1.0\n"
BY_LINE = 1 + (PRESETS / "bsrgan-x4.toml").read_text().split("sigma_x_px")[0].count("\n")
TWO = WIDE + WIDE.replace("blur1", "blur2")
MIXTURE = '[mixture]\nspaces = ["dasr-weak", "dasr-severe"]\n'
HUNDREDS = "9" * 400
THOUSANDS = "9" * 5000
HEX = "0x" + "f" * 5000


def column(value: str) -> str:
    return BLUR + f"sigma_x_px = {value}\n"


def deep(opening: str, closing: str, inside: str = "1", count: int = 5000) -> str:
    return opening * count + inside + closing * count


NESTED = column(deep("{ mixture = [", "] }", count=40))
TOMLS = {
    # Tables of another kind.
    "slot is a number": ("slot = 5\n" + HEAD, "space:1: slot must be a list of tables, [[slot]], got 5"),
    "slot is a table": (HEAD + "[slot]\nname = 1\n", "space:5: slot must be a list of tables"),
    "slots are numbers": ("slot = [1, 2]\n" + HEAD, "space:1: slot must be a list of tables"),
    "gate is a number": ("gate = 5\n" + HEAD, "space:1: gate must be a list of tables, [[gate]], got 5"),
    "order is a number": ("order = 5\n" + HEAD + TWO, "space:1: [order] must be a table, got 5"),
    "order is empty": (HEAD + TWO + "[order]\n", "space:17: [order] is empty"),
    "vector is a number": ("vector = 5\n" + HEAD + BLUR, "space:1: [vector] must be a table, got 5"),
    "a scheme is a number": (HEAD + BLUR + "[vector]\nx = 5\n", "space:11: [vector]: x must be a table of ranges, got 5"),
    "mixture is a number": ("mixture = 5\n" + HEAD, "space:1: [mixture] must be a table, got 5"),
    "mixture is empty": (HEAD + "[mixture]\n", "space:5: [mixture] is empty"),
    "space is a list": ("[[space]]\nname = 't'\n", "space:1: the table [space] is missing"),
    "nothing": ("", "space: the table [space] is missing"),
    # Values of another kind.
    "op is a list": (HEAD + BLUR.replace('"blur"', "[1]"), "space:7: slot blur1: op must be a name, got [1]"),
    "op is missing": (HEAD + '[[slot]]\nname = "a"\n', "space:5: slot a: the key 'op' is missing"),
    "slot name is a list": (HEAD + BLUR.replace('"blur1"', "[1]"), "space:6: slot 1: name must be a word, got [1]"),
    "choice is a list": (HEAD + BLUR.replace('"iso"', "[1]"), "space:8: slot blur1: shape: unknown value [1]"),
    "a choice of lists": (HEAD + column("{ choice = [[1], {}] }"), "sigma_x_px: expected a finite number, got [1]"),
    "before is a number": (
        HEAD + TWO + '[order]\nshuffle = [["blur1"], ["blur2"]]\nbefore = 5\n',
        "space:19: [order]: before must be a list of pairs of slots, got 5",
    ),
    "before holds numbers": (
        HEAD + TWO + '[order]\nshuffle = [["blur1"], ["blur2"]]\nbefore = [5]\n',
        "space:19: [order]: before must list pairs of shuffled slots, got 5",
    ),
    "before holds lists": (
        HEAD + TWO + '[order]\nshuffle = [["blur1"], ["blur2"]]\nbefore = [[["blur1"], ["blur2"]]]\n',
        "space:19: [order]: before must list pairs of shuffled slots",
    ),
    "choice of numbers": (HEAD + TWO + "[order]\nchoice = [[5]]\n", "space:18: [order]: unknown slot 5"),
    "choice of lists": (HEAD + TWO + "[order]\nchoice = [[[5]]]\n", "space:18: [order]: unknown slot [5]"),
    "weights of the order": (
        HEAD + TWO + '[order]\nchoice = [["blur1"]]\nweights = { a = 1 }\n',
        "space:19: [order]: weights must be a list of numbers",
    ),
    "by a number": (HEAD + column("{ by = 5, cases = { 7 = 1.0 } }"), "by must name an earlier column, got 5"),
    "by a list": (HEAD + column("{ by = ['size_px'], default = 1.0 }"), "by must name an earlier column, got ['size_px']"),
    "cases is a list": (HEAD + column("{ by = 'size_px', cases = [1] }"), "cases must be a table, got [1]"),
    "round is a number": (HEAD + column("{ uniform = [0.0, 1.0], round = 3 }"), "round must be true or false, got 3"),
    "entry is a list": (
        HEAD + '[[slot]]\nname = "n"\nop = "noise"\nkind = "correlated"\n'
        "cov_rr_8bit2 = { bsrgan_covariance = 2.0, entry = [1] }\n",
        "space:9: slot n: cov_rr_8bit2: entry must be one of rr, rg, rb, gg, gb, bb, got [1]",
    ),
    "spaces of numbers": (
        HEAD + "[mixture]\nspaces = [5]\n", "space:6: [mixture]: spaces must be a list of names, got [5]",
    ),
    "base is a number": (HEAD + "base = 5\n", "space:5: [space]: base must be a name, got 5"),
    "name is a list": (HEAD.replace('"t"', "[]"), "space:2: [space]: name must be str, got []"),
    "scale is true": (HEAD.replace("4", "true"), "space:3: [space]: scale must be int, got True"),
    "gate without slots": (HEAD + BLUR + "[[gate]]\nname = 'g'\non = 1\n", "space:10: gate g: the key 'slots' is missing"),
    "gate of numbers": (
        HEAD + BLUR + "[[gate]]\nname = 'g'\non = 1\nslots = [5]\n",
        "space:13: gate g: unknown slot 5",
    ),
    "gate half open": (
        HEAD + BLUR + "[[gate]]\nname = 'g'\non = 0.5\nslots = ['blur1']\n",
        "space:12: slot g: on: expected a whole number, got 0.5",
    ),
    "gate with a slot's name": (
        HEAD + BLUR + "[[gate]]\nname = 'blur1'\non = 1\nslots = ['blur1']\n",
        "space:11: gate blur1: a slot has this name",
    ),
    # Numbers out of all bounds.
    "400 digits": (HEAD + column(HUNDREDS), "space:10: slot blur1: sigma_x_px: expected a finite number, got a number of"),
    "400 digits in a range": (HEAD + column(f"{{ uniform = [0, {HUNDREDS}] }}"), "sigma_x_px: expected [low, high], got"),
    "400 digits as scale": (HEAD.replace("4", HUNDREDS), "space:3: scale must be in 1..16, got a number of"),
    "400 digits as hr_px": (HEAD + f"hr_px = {HUNDREDS}\n", "space:5: hr_px must be a multiple of the scale 4"),
    "400 digits as a weight": (
        HEAD + column(f"{{ choice = [1, 2], weights = [{HUNDREDS}, 0] }}"),
        "weights must be a list of numbers",
    ),
    "400 digits as a step": (
        HEAD + column(f"{{ schedule = [{{ at = {HUNDREDS}, const = 1 }}] }}"),
        "schedule: at must be a whole number in [0, 2^63)",
    ),
    "a range that vectors need is missing": (
        HEAD + WIDE + '[vector.dasr33]\n"blur1.sigma_x_px" = [0, 9]\n',
        "space:11: [vector]: dasr33: no range for blur1.size_px",
    ),
    "400 digits in a vector": (
        HEAD + WIDE + f'[vector.x]\n"blur1.size_px" = [0, {HUNDREDS}]\n',
        "space:12: [vector]: x: blur1.size_px: expected [low, high]",
    ),
    "5000 digits": (HEAD + column(THOUSANDS), "space: not a space: a number with too many digits"),
    "5000 hexadecimal digits": (HEAD + column(HEX), "expected a finite number, got a number of 20000 bits"),
    "1e200": (
        HEAD + '[[slot]]\nname = "n"\nop = "noise"\nkind = "correlated"\n'
        'cov_rr_8bit2 = { bsrgan_covariance = 1e200, entry = "rr" }\n',
        "space:9: slot n: cov_rr_8bit2: bsrgan_covariance must be a finite number, got 1e+200",
    ),
    "a level of 1e9": (
        HEAD + '[[slot]]\nname = "n"\nop = "noise"\nkind = "correlated"\n'
        'cov_rr_8bit2 = { bsrgan_covariance = 1e9, entry = "rr" }\n',
        "bsrgan_covariance must be a level in [0, 255], got 1e+09",
    ),
    "1 / tiny": (HEAD + column("{ reciprocal_uniform = [5e-324, 1.0] }"), "low must be above 0, got [5e-324, 1.0]"),
    "log of tiny": (HEAD + column("{ log_uniform = [5e-324, 1.0] }"), "low must be above 0, got [5e-324, 1.0]"),
    "infinite": (HEAD + column("inf"), "expected a finite number, got inf"),
    "a step of 0": (
        HEAD + BLUR.replace("7", "{ integers = [7, 21], step = 0 }"), "step must be a whole number >= 1, got 0",
    ),
    "rounded kernel sizes": (
        HEAD + BLUR.replace("7", "{ uniform = [7, 21], round = true }"),
        "kernel sizes are odd: take 'integers' with step = 2",
    ),
    # Nesting and length.
    "lists 5000 deep": (HEAD + column(deep("[", "]")), "space: not a space: lists or tables nested too deeply"),
    "tables 5000 deep": (HEAD + column(deep("{ const = ", "}")), "space: not a space: lists or tables nested too deeply"),
    "mixtures 40 deep": (HEAD + NESTED, "sigma_x_px: at most 16 distributions may stand in each other"),
    "a key of 60000 parts": (HEAD + ".".join("a" * 60000) + " = 1\n", "space: not a space: a key of more than 32 parts"),
    "a table of 60000 parts": ("[" + ".".join("a" * 60000) + "]\n", "space: not a space: a key of more than 32 parts"),
    "a quoted key": (HEAD + ".".join(['"a"'] * 60000) + " = 1\n", "space: not a space: a key of more than 32 parts"),
    "a key of 200000 letters": (HEAD + "a" * 200000 + " = 1\n", "space:5: [space]: unknown key"),
    "300000 letters": (HEAD + "#" * 300000, "space: a space has at most 262144 letters"),
    "20000 slots": (HEAD + "[[slot]]\n" * 20000, "a space has at most 100 slots, got 20000"),
    "60000 keys": (HEAD + "".join(f"k{n} = 1\n" for n in range(20000)), "[space]: unknown key 'k0'"),
    "a long case": (
        HEAD + column("{ by = 'size_px', cases = { " + "1" * 5000 + " = 1.0 } }"),
        "case",
    ),
    "a name with a line end": (HEAD.replace('"t"', '"a\\nb"'), "space:2: name must be letters"),
    "a key with a line end": (HEAD + '"a\\nb" = 1\n', "space:5: [space]: unknown key 'a\\nb'"),
    # What would never act.
    "blur without shape": (
        HEAD + '[[slot]]\nname = "a"\nop = "blur"\nsigma_x_px = 2.0\n',
        "space:5: slot a: it would never act, because shape is not given and 'delta' means off; give shape a value such as",
    ),
    "resize with a mode": (
        HEAD + '[[slot]]\nname = "a"\nop = "resize"\nmode = "torch_area"\n',
        "space:5: slot a: it would never act, because resize_factor is not given and 1.0 means off",
    ),
    "noise without kind": (
        HEAD + '[[slot]]\nname = "a"\nop = "noise"\nsigma_8bit = { uniform = [1, 30] }\n',
        "slot a: it would never act, because kind is not given and 'off' means off",
    ),
    "sharpen without weight": (
        HEAD + '[[slot]]\nname = "a"\nop = "sharpen"\nradius_px = 50\n',
        "slot a: it would never act, because weight is not given and 0.0 means off",
    ),
    "rain without streaks": (
        HEAD + '[[slot]]\nname = "a"\nop = "rain"\nbrightness = 0.5\n',
        "slot a: it would never act, because streaks_per_kpx is not given and 0.0 means off",
    ),
    # Names that lead elsewhere.
    "base from a path": (HEAD + 'base = "/etc/passwd"\n', "space:5: only presets can be named here, got '/etc/passwd'"),
    "mixture of a path": (HEAD + '[mixture]\nspaces = ["/dev/zero"]\n', "only presets can be named here, got '/dev/zero'"),
    "unknown base": (HEAD + 'base = "realesrgan-x44"\n', "space:5: no preset named 'realesrgan-x44'; did you mean"),
    "without, no base": (HEAD + 'without = ["blur1"]\n', "space:5: [space]: without belongs to a space with a base"),
    "before, no base": (HEAD + BLUR + 'before = "x"\n', "space:10: slot blur1: before belongs to a space with a base"),
    "without what": (
        HEAD + 'base = "realesrgan-x4"\nwithout = ["blur3"]\n',
        "space:6: [space]: without: the base has no 'blur3'; did you mean 'blur1'?",
    ),
    "a column without what": (
        HEAD + 'base = "realesrgan-x4"\n[[slot]]\nname = "blur1"\nwithout = ["sigma"]\n',
        "space:8: slot blur1: without: the base gives no 'sigma'",
    ),
    "after itself": (
        HEAD + 'base = "realesrgan-x4"\n[[slot]]\nname = "blur1"\nafter = "blur1"\n',
        "space:8: slot blur1: after must name another slot, got 'blur1'",
    ),
    "a base's column misused": (
        HEAD + 'base = "realesrgan-x4"\n[[slot]]\nname = "blur1"\nshape = "isoo"\n',
        "space:8: slot blur1: shape: unknown value 'isoo'; did you mean 'iso'?",
    ),
    "a slot that others need": (
        HEAD + 'base = "bsrgan-x4"\nwithout = ["down1"]\n',
        f"space: with what its base gives: bsrgan-x4.toml:{BY_LINE}: slot blur1: sigma_x_px: by must name an earlier",
    ),
    "mixture with slots": (HEAD + BLUR + MIXTURE, "space:5: a mixture has no [[slot]]; its components do"),
    # Schedules.
    "schedule of numbers": (HEAD + column("{ schedule = [1, 2] }"), "schedule must be a list of tables such as"),
    "falling steps": (
        HEAD + column("{ schedule = [{ at = 5, const = 1 }, { at = 5, const = 2 }] }"),
        "schedule: steps must rise, got 5 after 5",
    ),
    "two kinds": (
        HEAD + column("{ schedule = [{ at = 0, const = 1 }, { at = 5, uniform = [0, 1] }] }"),
        "schedule: what stands at 5 differs from what comes before in more than numbers; between = 'hold' changes it",
    ),
    "names between": (
        HEAD + BLUR.replace('"iso"', '{ schedule = [{ at = 0, const = "iso" }, { at = 5, const = "sinc" }] }'),
        "shape: schedule: what stands at 5 differs from what comes before in more than numbers",
    ),
    "schedule in a schedule": (
        HEAD + column("{ schedule = [{ at = 0, schedule = [{ at = 0, const = 1 }] }] }"),
        "schedule: a schedule cannot hold another one",
    ),
}  # fmt: skip


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 1200
    return text


class Bounds:
    """Two seconds of the processor and a gigabyte more than at the start."""

    def __enter__(self) -> None:
        self.start, self.memory = time.process_time(), self.peak()

    def __exit__(self, *_: object) -> None:
        assert time.process_time() - self.start < 2
        assert self.peak() - self.memory < 2**30

    @staticmethod
    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", TOMLS)
def test_bad_spaces(name):
    text, message = TOMLS[name]
    with Bounds(), pytest.raises(SpaceError) as caught:
        Space.loads(text)
    assert message in one_line(caught)


def test_places_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "fifo.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "long.toml").write_text("#" * 3_000_000)
    for path, message in [
        ("/dev/zero", "/dev/zero: cannot be read: no regular file"),
        (tmp_path / "fifo.toml", "cannot be read: no regular file"),
        (tmp_path / "folder.toml", "cannot be read: no regular file"),
        (tmp_path / "bytes.toml", "cannot be read: 'utf-8' codec can't decode"),
        (tmp_path / "long.toml", "a space has at most 262144 letters"),
        (tmp_path / "none.toml", "cannot be read: No such file or directory"),
        ("a\0b/c.toml", "cannot be read"),
    ]:
        with Bounds(), pytest.raises(SpaceError) as caught:
            Space.load(path)
        assert message in one_line(caught)
    (tmp_path / "bom.toml").write_text("\ufeff" + HEAD + WIDE, encoding="utf-8")
    assert Space.load(tmp_path / "bom.toml") == Space.loads(HEAD + WIDE)


def test_spaces_that_name_each_other(tmp_path):
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    itself = write("itself.toml", HEAD + 'target = "hr"\n[mixture]\nspaces = ["itself.toml"]\n')
    first = write("first.toml", HEAD + 'base = "second.toml"\n')
    write("second.toml", HEAD + 'base = "first.toml"\n')
    third = write("third.toml", HEAD + '[mixture]\nspaces = ["fourth.toml"]\n')
    write("fourth.toml", HEAD + 'base = "third.toml"\n')
    outside = write("in/outside.toml", HEAD + 'base = "../itself.toml"\n')
    absolute = write("in/absolute.toml", HEAD + f'base = "{itself}"\n')
    (tmp_path / "in" / "link.toml").symlink_to(itself)
    link = write("in/by_link.toml", HEAD + 'base = "link.toml"\n')
    zero = write("in/zero.toml", HEAD + '[mixture]\nspaces = ["/dev/zero"]\n')
    for number in range(20):
        write(f"chain{number}.toml", HEAD + f'base = "chain{number + 1}.toml"\n')
    write("wide0.toml", HEAD + WIDE)
    for number in range(1, 12):
        names = ", ".join([f'"wide{number - 1}.toml"'] * 4)
        write(f"wide{number}.toml", HEAD + f"[mixture]\nspaces = [{names}]\n")
    for path, message in [
        (itself, "itself.toml:7: a space contains itself: itself.toml -> itself.toml"),
        (first, "second.toml:5: a space contains itself: first.toml -> second.toml -> first.toml"),
        (third, "fourth.toml:5: a space contains itself: third.toml -> fourth.toml -> third.toml"),
        (outside, "a space may name presets and files in its own folder, got '../itself.toml'"),
        (absolute, "a space may name presets and files in its own folder"),
        (link, "a space may name presets and files in its own folder, got 'link.toml'"),
        (zero, "a space may name presets and files in its own folder, got '/dev/zero'"),
        (tmp_path / "chain0.toml", "at most 16 spaces may be built on each other"),
        (tmp_path / "wide11.toml", "a mixture has at most 256 components"),
    ]:
        with Bounds(), pytest.raises(SpaceError) as caught:
            Space.load(path)
        assert message in one_line(caught), path


# ---- Task files


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def member(shape: str, dtype: str = "<i8", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as packed:
        for name, content in members.items():
            packed.writestr(f"{name}.npy", content)
    return file.getvalue()


def bomb() -> bytes:
    """4 MB that unpack to 4 GB: one compressed piece of zeros, 256 times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = member(f"({2**32 // 8},)")
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("meta.npy", start + zeros * 256 + packer.flush())
        packed.filelist[0].compress_type = zipfile.ZIP_DEFLATED
        packed.filelist[0].file_size = len(head) + 2**32
    return file.getvalue()


def good() -> dict[str, np.ndarray]:
    file = io.BytesIO()
    tasks = pydegrade.sample("realesrgan-x4", 0, range(3))
    path = f"/tmp/pydegrade-{os.getpid()}.npz"
    tasks.save(path)
    try:
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays.files}
    finally:
        os.unlink(path)
        file.close()


def with_space(text: str, **more: object) -> bytes:
    return npz(**{**good(), "space_toml": np.array(text), **more})


def encrypted() -> bytes:
    """Members that say they need a password."""
    raw = bytearray(npz(**good()))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.find(mark)
        while at >= 0:
            raw[at + flags] |= 1
            at = raw.find(mark, at + 4)
    return bytes(raw)


UNREADABLE = "not a readable task file"
NPZS = {
    "nothing": (lambda: b"", UNREADABLE),
    "a plain array": (lambda: member("(3,)", data=bytes(24)), "no .npz archive"),
    "a text": (lambda: b"hello", "no .npz archive"),
    "no members": (lambda: archive({}), "meta must be a text, got nothing"),
    "meta is a list": (lambda: npz(**{**good(), "meta": np.array("[1, 2]")}), "meta must be a JSON object"),
    "meta is deep": (lambda: npz(**{**good(), "meta": np.array("[" * 100000)}), "meta must be a JSON object"),
    "meta has a deep value": (
        lambda: npz(**{**good(), "meta": np.array('{"version": ' + "[" * 100000 + "]" * 100000 + "}")}),
        "meta must be a JSON object",
    ),
    "meta is a number": (lambda: npz(**{**good(), "meta": np.array(5)}), "meta must be a text, got int64 ()"),
    "meta has 5000 digits": (
        lambda: npz(**{**good(), "meta": np.array(f'{{"version": {THOUSANDS}}}')}),
        "meta must be a JSON object",
    ),
    "version 4": (lambda: npz(**{**good(), "meta": np.array('{"version": 4}')}), "version 1 to 3, got 4"),
    "1e12 entries": (lambda: archive({"meta": member("(1000000000000,)", data=bytes(8))}), UNREADABLE),
    "negative sides": (lambda: archive({"meta": member("(-1, -8)", data=bytes(64))}), UNREADABLE),
    "a product that overflows": (lambda: archive({"meta": member(f"({2**32}, {2**32})", data=bytes(8))}), UNREADABLE),
    "objects": (lambda: archive({"meta": member("(1,)", "|O", bytes(8))}), UNREADABLE),
    "a header of nonsense": (lambda: archive({"meta": b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16}), UNREADABLE),
    "a header of calls": (
        lambda: archive({"meta": member("__import__('os').system('touch /tmp/pwned')")}), UNREADABLE
    ),
    "a deep header": (lambda: archive({"meta": member("(" * 3000 + ")" * 3000)}), UNREADABLE),
    "4 GB from 4 MB": (bomb, "that unpack to 42949"),
    "encrypted": (encrypted, "'meta.npy' is encrypted"),
    "a path as component": (
        lambda: with_space(HEAD + '[mixture]\nspaces = ["/dev/zero"]\n'), "only presets can be named here, got '/dev/zero'"
    ),
    "a path as base": (lambda: with_space(HEAD + 'base = "/dev/zero"\n'), "only presets can be named here"),
    "a component that names a path": (
        lambda: with_space(
            HEAD + '[mixture]\nspaces = ["x"]\n',
            component_names=np.array(["x"]),
            component_toml=np.array([HEAD + 'base = "/dev/zero"\n']),
        ),
        "x:5: only presets can be named here",
    ),
    "a component of itself": (
        lambda: with_space(
            HEAD + '[mixture]\nspaces = ["x"]\n',
            component_names=np.array(["x"]),
            component_toml=np.array([HEAD + '[mixture]\nspaces = ["x"]\n']),
        ),
        "x:6: a space contains itself",
    ),
    "another space": (lambda: with_space(HEAD + WIDE), "expected digest"),
    "no space": (lambda: with_space(""), "the table [space] is missing"),
    "component_toml is a number": (
        lambda: npz(**{**good(), "component_toml": np.array(5)}), "component_names and component_toml must be lists"
    ),
    "a slot twice": (lambda: npz(**{**good(), "program": np.zeros((3, 11), np.int8)}), "every slot at most once"),
    "a hole": (
        lambda: npz(**{**good(), "program": np.array([[-1, *range(10)]] * 3, np.int8)}),
        "must have its absent slots (-1) at the end",
    ),
    "an even kernel": (
        lambda: npz(**{**good(), "column:blur1.size_px": np.full(3, 8, np.int32)}), "blur1.size_px must lie in"
    ),
    "not a number": (
        lambda: npz(**{**good(), "column:blur1.sigma_x_px": np.full(3, np.nan, np.float32)}), "blur1.sigma_x_px must lie in"
    ),
    "an unknown column": (lambda: npz(**{**good(), "column:x": np.zeros(3)}), "no slot 'x'"),
    "a missing column": (
        lambda: npz(**{key: value for key, value in good().items() if key != "column:jpeg1.quality"}),
        "the column jpeg1.quality is missing",
    ),
    "a negative step": (lambda: npz(**{**good(), "steps": np.full(3, -1)}), "steps and frames must be >= 0"),
}  # fmt: skip


@pytest.mark.representatives(8)
@pytest.mark.parametrize("name", NPZS)
def test_bad_task_files(name, tmp_path):
    make, message = NPZS[name]
    path = tmp_path / "tasks.npz"
    path.write_bytes(make())
    with Bounds(), pytest.raises(TaskError) as caught:
        TaskBatch.load(path)
    assert message in one_line(caught)
    assert not Path("/tmp/pwned").exists()


def test_every_cut_and_many_flipped_bytes_of_a_task_file(tmp_path):
    raw = npz(**good())
    path = tmp_path / "tasks.npz"
    generator = np.random.default_rng(0)
    cases = [raw[: int(length)] for length in generator.integers(0, len(raw), 60)]
    for _ in range(200):
        changed = bytearray(raw)
        for place in generator.integers(0, len(raw), 3):
            changed[place] ^= int(generator.integers(1, 256))
        cases.append(bytes(changed))
    refusals = []
    for case in cases:
        path.write_bytes(case)
        try:
            TaskBatch.load(path)
        except TaskError as error:
            refusals.append(str(error))
    assert len(refusals) > 150
    assert not any("\n" in text for text in refusals)


def test_task_files_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "fifo.npz")
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "bad.csv").write_bytes(b"address\n\xff\xfe\n")
    (tmp_path / "long.csv").write_text("address\n" + "a" * 3_000_000)
    (tmp_path / "cells.csv").write_text("address,x\nrealesrgan-x4@00000000/s0/i0\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("address\n")
    for path, message in [
        ("/dev/zero", "no regular file"),
        (tmp_path / "fifo.npz", "no regular file"),
        (tmp_path / "fifo.csv", "no regular file"),
        (tmp_path, "no regular file"),
        (tmp_path / "bad.csv", "not a readable table of tasks (UnicodeDecodeError)"),
        (tmp_path / "long.csv", "a line of more than"),
        (tmp_path / "cells.csv", "row 1 has 1 cells, expected 2"),
        (tmp_path / "other.csv", "expected a column 'address', got ['a', 'b']"),
        (tmp_path / "empty.csv", "holds no task"),
    ]:
        with Bounds(), pytest.raises(TaskError) as caught:
            TaskBatch.load(path)
        assert message in one_line(caught)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("realesrgan-x4@{d}/s0/i" + "9" * 400, "expected an address such as"),
        ("realesrgan-x4@{d}/s0/i9999999999999999999", "must be below 2^63"),
        ("realesrgan-x4@{d}/s0/i0/t5", "names a step (/t), but space 'realesrgan-x4' has no schedule"),
        ("realesrgan-x4@{d}/s0/i0?", "expected an address such as"),
        ("realesrgan-x4@{d}/s0/i0?jpeg1.quality", "expected edits such as"),
        ("realesrgan-x4@{d}/s0/i0?jpeg1.quality=", "expected edits such as"),
        ("realesrgan-x4@{d}/s0/i0?jpeg1.quality=30&jpeg1.quality=31", "jpeg1.quality is given twice"),
        ("realesrgan-x4@{d}/s0/i0?jpeg1.quality=x", "jpeg1.quality must be a number, got 'x'"),
        ("realesrgan-x4@{d}/s0/i0?jpeg1.quality=nan", "jpeg1.quality must be a value in [1, 100], got nan"),
        ("realesrgan-x4@{d}/s0/i0?jpeg1.quality=" + "9" * 5000, "jpeg1.quality must be a value in [1, 100]"),
        ("realesrgan-x4@{d}/s0/i0?jpeg1.qualty=30", "slot jpeg1 has no column 'qualty'; did you mean 'quality'?"),
        ("realesrgan-x4@{d}/s0/i0?jpeg3.quality=30", "no slot 'jpeg3'; did you mean"),
        ("realesrgan-x4@{d}/s0/i0?blur1.shape=isoo", "blur1.shape must be one of delta, iso"),
        ("realesrgan-x4@{d}/s0/i0?blur1.size_px=8", "must be an odd number in [1, 51], got 8"),
        ("realesrgan-x4@{d}/s0/i0?order=usm,blur3", "order: no slot 'blur3'; did you mean"),
        ("realesrgan-x4@{d}/s0/i0?order=usm,blur1,blur1", "order: every slot runs at most once"),
        ("realesrgan-x4@{d}/s0/i0?order=blur1,usm", "order: the target 'usm' must run first"),
        ("realesrgan-x4@{d}/s0/i0?" + "a=1&" * 9000, "expected an address such as"),
    ],
)
def test_bad_addresses(address, message):
    text = address.replace("{d}", Space.load("realesrgan-x4").digest[:8])
    with Bounds(), pytest.raises(PydegradeError) as caught:
        TaskBatch.from_addresses([text])
    assert message in one_line(caught)


def test_numbers_of_tasks_are_bounded():
    for indices in (range(10**13), range(2**63 - 2, 2**63 + 2)):
        with Bounds(), pytest.raises(PydegradeError):
            pydegrade.sample("bicubic", 0, indices)
    with pytest.raises(PydegradeError, match="got -1"):
        pydegrade.sample("bicubic", 0, [3, -1])
    assert json.dumps(pydegrade.sample("bicubic", 2**63 - 1, [2**63 - 1]).addresses)

"""What both command lines share: they answer at once, fit 80 columns, say what is wrong in one line, and what they name
exists."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import click
import numpy as np
import pytest

import pydegrade
import pytrain.methods.pairs
import pytrain.methods.tgsr
from pydegrade.commands import cli as degrade_cli
from pydegrade.commands import resize, sample
from pydegrade.commands.actions import clips
from pydegrade.errors import is_out_of_memory
from pydegrade.files import dataset, read, sample_manifest
from pydegrade.images import imresize
from pydegrade.shell import options
from pydegrade.shell.text import printable, say
from pytrain.commands import cli as pytrain_cli
from pytrain.commands import export, group, pairs

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"degrade": degrade_cli, "pytrain": pytrain_cli}


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "80"}


def commands_of(program: str) -> list[tuple[str, ...]]:
    """The words of every command of a program, those of its groups of commands included; () is the program itself."""
    group = PROGRAMS[program].cli
    context = click.Context(group)
    found: list[tuple[str, ...]] = [()]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.list_commands(context)]
    return found


COMMANDS = [(program, words) for program in PROGRAMS for words in commands_of(program)]


def run(capsys: pytest.CaptureFixture[str], program: str, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        PROGRAMS[program].main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.mark.parametrize(("program", "words"), COMMANDS, ids=[" ".join((one, *more)) for one, more in COMMANDS])
def test_help_fits_80_columns_and_names_an_example(capsys, monkeypatch, program, words):
    monkeypatch.setenv("COLUMNS", "80")
    for option in ("-h", "--help"):
        code, out, err = run(capsys, program, *words, option)
        assert (code, err) == (0, "")
        assert max(map(len, out.splitlines())) <= 80
    if words and len(words) == 1 and words not in {("spaces",), ("methods",)}:
        assert f"{program} {words[0]} " in out.split("Example", 1)[1].replace("-m pydegrade", "degrade")


# Every way of asking that needs no image, no space and no network: nothing heavy may be loaded for it.
AT_ONCE = [
    *((program, [*words, "-h"]) for program, words in COMMANDS),
    *((program, [*words, "--nonsense"]) for program, words in COMMANDS),
    ("degrade", []),
    ("degrade", ["sampel"]),
    ("degrade", ["--version"]),
    ("degrade", ["sample"]),
    ("degrade", ["sample", "--tasks", "0"]),
    ("degrade", ["sample", "--tasks", "1", "--max-megapixels", "inf"]),
    ("degrade", ["sample", "--tasks", "1", "--format", "pgn"]),
    ("degrade", ["preview", "-o", "script.py"]),
    ("degrade", ["resize", "nowhere", "out", "--scale", "1/4"]),
    ("degrade", ["pairs", "--out", "x"]),
    ("pytrain", []),
    ("pytrain", ["fitt"]),
    ("pytrain", ["fit"]),
    ("pytrain", ["eval"]),
    ("pytrain", ["infer", "nowhere", "--model", "m", "--out", "x"]),
    ("pytrain", ["export", "m.pth", "script.py"]),
    ("pytrain", ["init", "--method", "psnr", "-o", "script.py"]),
]


@pytest.mark.slow
def test_help_and_usage_errors_do_not_wait_for_torch(tmp_path):
    (tmp_path / "script.py").write_text("print()\n")
    code = (
        "import sys\n"
        "from pydegrade.commands import cli as degrade\n"
        "from pytrain.commands import cli as pytrain\n"
        f"for program, arguments in {AT_ONCE!r}:\n"
        "    try: {'degrade': degrade, 'pytrain': pytrain}[program].main(arguments)\n"
        "    except SystemExit as left:\n"
        "        assert left.code in (0, 2), (program, arguments, left.code)\n"
        "    heavy = {'torch', 'numpy', 'PIL', 'rich'} & set(sys.modules)\n"
        "    assert not heavy, (program, arguments, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "script.py").read_text() == "print()\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_bare_commands_print_their_help(capsys, program):
    code, out, err = run(capsys, program)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) > 10
    assert "First steps:" in err


def test_public_names_are_loaded_from_where_the_types_say():
    """The lazy table, the imports for type checkers and __all__ are three views of one list."""
    tree = ast.parse((ROOT / "pydegrade" / "__init__.py").read_text())
    typed = {
        alias.name: f".{node.module}" if node.module else "."
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {name: home for home, names in pydegrade._HOMES.items() for name in names}
    modules = {name: home.rpartition(".")[0] or "." for name, home in pydegrade._MODULES.items()}
    assert typed == {**lazy, **modules}
    assert {*typed, "__version__"} == set(pydegrade.__all__) <= set(dir(pydegrade))
    assert all(getattr(pydegrade, name) is not None for name in pydegrade.__all__)
    with pytest.raises(AttributeError, match="no attribute 'degrad'"):
        pydegrade.degrad  # noqa: B018


def test_choices_and_bounds_of_options_are_those_of_the_library():
    assert {*sample_manifest.FORMATS, *clips.FORMATS} == {*sample.FORMATS}
    assert dataset.AUGMENTS == sample.AUGMENTS
    assert imresize.KERNELS == resize.KERNELS
    assert imresize.BORDERS == resize.BORDERS
    assert (imresize.LOWEST_SCALE, imresize.HIGHEST_SCALE) == (resize.LOWEST_SCALE, resize.HIGHEST_SCALE)
    assert round(options.DEFAULT_MEGAPIXELS * 1e6) == read.MAX_PIXELS
    assert get_args(pytrain.methods.pairs.Recipe) == pairs.RECIPES
    assert get_args(pytrain.methods.tgsr.IndicatorName) == group.INDICATORS
    for ending in export.ENDINGS:
        assert re.search(rf"\{ending}\b", (export.command.help or ""))


BAD_VALUES = [
    ("degrade", ["sample", "--tasks", "{}"], ["0", "-1", "10000000000000", "9" * 5000, "nan", "1e3", "①"]),
    ("degrade", ["sample", "--tasks", "1", "--seed", "{}"], ["-1", "9223372036854775808", "9" * 400, "x"]),
    ("degrade", ["sample", "--tasks", "2", "--start", "{}"], ["-1", "9223372036854775807", "9" * 400]),
    ("degrade", ["preview", "--start", "{}"], ["9223372036854775800", "-1"]),
    ("degrade", ["sample", "--tasks", "1", "--max-megapixels", "{}"], ["inf", "nan", "0", "-1", "1e308", "x"]),
    ("degrade", ["sample", "--tasks", "1", "--device", "{}"], ["cudaa", "gpu"]),
    ("degrade", ["resize", ".", "out", "--scale", "{}"], ["0", "inf", "1/0", "1e999", "nan", "1" * 1000]),
    ("degrade", ["resize", ".", "out", "--scale", "2", "--kernel", "{}"], ["bicubc"]),
    ("degrade", ["resize", ".", "out", "--scale", "2", "--suffix", "{}"], ["../x", "a/b"]),
    ("degrade", ["pairs", "--model", __file__, "--out", "o", "--shard", "{}"], ["1", "2/2", "-1/2", "²/3", "a/b", "1/0"]),
    ("pytrain", ["eval", "--model", "bicubic", "--scale", "2", "--seed", "{}"], ["-1", "18446744073709551616"]),
    ("pytrain", ["adapt", "x.png", "--model", "none", "--kernel", "bicubic", "--out", "o", "--rate", "{}"],
     ["nan", "inf", "0"]),
    ("pytrain", ["adapt", "x.png", "--model", "none", "--kernel", "bicubic", "--out", "o", "--steps", "{}"],
     ["-1", "1;2", "9" * 5000, "99999999999"]),
    ("pytrain", ["infer", ".", "--model", "m", "--out", "/nowhere/o", "--precision", "{}"], ["fp8"]),
    ("pytrain", ["infer", ".", "--model", "m", "--out", "/nowhere/o", "--tile", "{}"], ["32", "-1"]),
    ("pytrain", ["group", "x.toml", "--indicator", "{}"], ["ful"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "arguments", "value"),
    [(program, arguments, value) for program, arguments, values in BAD_VALUES for value in values],
)
def test_bad_values_are_one_short_line(capsys, monkeypatch, tmp_path, program, arguments, value):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, program, *(value if word == "{}" else word for word in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert len(err) < 600
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("program", "arguments", "suggestion"),
    [
        ("degrade", ["sampel"], "sample"),
        ("pytrain", ["infr"], "infer"),
        ("degrade", ["sample", "--bach", "1"], "--batch"),
        ("degrade", ["resize", ".", "o", "--scale", "1", "--border", "symetric"], "symmetric"),
        ("pytrain", ["infer", ".", "--model", "m", "--out", "o", "--precision", "bf6"], "bf16"),
    ],
)
def test_the_nearest_word_is_suggested(capsys, program, arguments, suggestion):
    code, _, err = run(capsys, program, *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert re.search(rf"[Dd]id you mean .*{suggestion}\b", err), err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ² é 文.png", "plain ² é 文.png"),
        ("\x1b[31mred\x1b[0m.png", "\\x1b[31mred\\x1b[0m.png"),
        ("bad\udcff.png", "bad\\xff.png"),
        ("two\nlines\r\nhere", "two lines here"),
        ("tab\tbell\x07\x9b", "tab\\tbell\\x07\\x9b"),
        ("left\u202eright", "left\\u202eright"),
    ],
)
def test_nothing_in_a_name_reaches_the_terminal_raw(text, shown):
    assert printable(text) == shown


def test_a_line_break_in_a_name_breaks_no_line(capsys):
    say("  /tmp/a\nb/hr", "second\x1b")
    assert capsys.readouterr().out == "  /tmp/a\\nb/hr\nsecond\\x1b\n"


def test_lines_are_said_one_by_one():
    for package in ("pydegrade", "pytrain"):
        for path in (ROOT / package).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "say":
                    texts = [one.value for part in call.args if not isinstance(part, ast.Starred)
                             for one in ast.walk(part) if isinstance(one, ast.Constant)]  # fmt: skip
                    assert not any(isinstance(text, str) and "\n" in text.removesuffix("\n") for text in texts), path


def test_where_the_current_folder_is_gone_is_one_line(capsys, monkeypatch):
    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert run(capsys, "degrade", "spaces")[::2] == (
        2, "degrade: the current folder has been removed; change to one that exists\n"
    )  # fmt: skip


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    code = f"""
import click, os, sys
from pydegrade.shell.main import run
def command():
    with open({str(tmp_path / "result")!r}, "w") as file:
        os.write(1, b"of a library")
        print("of Python", file=sys.stderr, flush=True)
        print(file.fileno(), sys.stdin.read(), file=file)
run(click.Command("x", callback=command), "x", [])
"""
    shell = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, code]
    assert subprocess.run(shell, env=environment(), cwd=ROOT).returncode == 0
    number, *more = (tmp_path / "result").read_text().split()
    assert (int(number) > 2, more) == (True, [])


def test_out_of_memory_is_recognised_on_every_system():
    import numpy as np
    import torch

    for make in (lambda: torch.empty(2**50), lambda: np.empty(2**50), lambda: bytes(2**62)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            make()
        assert is_out_of_memory(caught.value), caught.value
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("a bug"))
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator"))


def test_warnings_of_libraries_are_one_line():
    code = (
        "import warnings, click\n"
        "from pydegrade.shell.main import run\n"
        "@click.command()\n"
        "def warn(): warnings.warn('something\\nin a library \\x1b[31m', UserWarning)\n"
        "run(warn, 'warn', [])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "warning: something in a library \\x1b[31m\n")


# ---- what the documents say


def command_of(program: str, name: str) -> click.Command:
    command = PROGRAMS[program].cli.get_command(click.Context(PROGRAMS[program].cli), name)
    assert command is not None, f"{program} {name}"
    return command


def test_the_table_of_commands_is_complete():
    text = (ROOT / "docs" / "commands.md").read_text()
    listed = re.findall(r"^\| `(degrade|pytrain) (\w+)", text, re.M)
    assert listed == [
        (program, name) for program in PROGRAMS for (name, *inner) in commands_of(program)[1:] if not inner
    ]


DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "configs").glob("*.toml")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_every_command_line_of_a_document_parses(monkeypatch, path):
    text = path.read_text(encoding="utf-8").replace("#   pytrain", "pytrain").replace("\\\n", " ")
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S))
    for program, line in re.findall(r"^(?:torchrun .*? -m )?(degrade|pydegrade|pytrain) (\w.*)$", text, re.M):
        line = re.sub(r"\s{3,}.*", "", line)  # what the document says about it
        name, *arguments = shlex.split(line, comments=True)
        if "..." in line or "ADDRESS" in line or name.startswith("-"):
            continue
        program = "degrade" if program == "pydegrade" else program
        command = command_of(program, name)
        for parameter in command.params:  # files that the reader has, we have not
            if isinstance(parameter.type, click.Path):
                monkeypatch.setattr(parameter.type, "exists", False)
        group = PROGRAMS[program].cli
        command.make_context(name, arguments, parent=click.Context(group, **group.context_settings))


def test_every_option_that_the_documents_name_exists():
    known = {option for program, words in COMMANDS for parameter in command_at(program, words).params
             for option in parameter.opts}  # fmt: skip
    others = {"--nproc-per-node", "--smoke", "--help", "--inplace", "--quiet", "--no-build-isolation", "--version"}
    for path in DOCUMENTS:
        if path.name in ("commands.md", "spaces.md", "README.md"):
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text(encoding="utf-8")))
            assert named <= known | others, f"{path.name}: {sorted(named - known - others)}"


def command_at(program: str, words: tuple[str, ...]) -> click.Command:
    if not words:
        return PROGRAMS[program].cli
    command = command_of(program, words[0])
    if len(words) > 1:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), words[1])
        assert found is not None
        return found
    return command


@pytest.mark.parametrize(
    ("ending", "format_name"),
    [(".png", "PNG"), (".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP"), (".WebP", "WEBP")],
)
def test_a_picture_is_what_its_ending_says(ending, format_name):
    from io import BytesIO

    from PIL import Image

    from pydegrade.shell.outputs import PICTURE_ENDINGS, encode_picture

    assert ending.lower() in PICTURE_ENDINGS
    y, x = np.mgrid[0:40, 0:60]
    pixels = np.stack([4 * x, 6 * y, x + y], axis=2).astype(np.uint8)
    with Image.open(BytesIO(encode_picture(pixels, ending))) as image:
        assert image.format == format_name
        back = np.asarray(image.convert("RGB")).astype(int)
    # Quality 95 on a smooth picture.
    assert np.abs(back - pixels).max() <= (0 if format_name == "PNG" else 12)

"""benchmarks/gpu_science.sh: its commands are ones that the demonstrations take, at both sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from benchmarks import demo_dasr, demo_eco, demo_mzsr, demo_tgsr, doc_tables
from benchmarks.result_files import RESULTS, read_result, write_result
from pytrain.commands import cli
from pytrain.config.config import load, loads
from pytrain.training.opening import build_method

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "gpu_science.sh"
COMMANDS = {
    "benchmarks.demo_eco": demo_eco.main,
    "benchmarks.demo_dasr": demo_dasr.main,
    "benchmarks.demo_mzsr": demo_mzsr.main,
    "benchmarks.demo_tgsr": demo_tgsr.main,
}


def commands(folder: Path, small: str, *parts: str) -> tuple[int, list[list[str]]]:
    """Exit code of the script, and what it would have run."""
    for name in ("T91", "BSD20", "Set5", "Set14"):
        (folder / "data" / name).mkdir(parents=True, exist_ok=True)
    ran, recorder = folder / "ran.jsonl", folder / "python"
    ran.write_text("")
    write = f"open({str(ran)!r}, 'a').write(json.dumps(sys.argv[2:]) + chr(10))"
    recorder.write_text(f"#!{sys.executable} -S\nimport json, sys\n{write}\n")
    recorder.chmod(0o755)
    given = {"PYTHON": str(recorder), "DATA": str(folder / "data"), "OUT": str(folder / "out"), "SMALL": small}
    done = subprocess.run(
        ["bash", str(SCRIPT), *parts], env=os.environ | given, capture_output=True, text=True, check=False
    )
    return done.returncode, [json.loads(line) for line in ran.read_text().splitlines()]


@pytest.mark.parametrize("small", ["", "1"])
def test_every_part_is_a_command_with_options_that_exist(tmp_path, small):
    code, ran = commands(tmp_path, small, "edsr", "eco", "dasr", "mzsr", "tgsr")
    assert code == 0
    assert [module for module, *_ in ran] == ["pytrain", *COMMANDS]
    width = 4 if small else 64
    given = {module: COMMANDS[module].make_context(module, list(arguments)).params for module, *arguments in ran[1:]}
    overrides = {module: params["overrides"] for module, params in given.items()}
    # Options of a configuration exist and fit each other.
    assert load(demo_tgsr.CONFIG, overrides["benchmarks.demo_tgsr"]).net.num_features == width
    eco = demo_eco.configuration(tmp_path, (), "data.hr=['x']", *overrides["benchmarks.demo_eco"])
    assert (eco.net.type, eco.net.num_features) == ("edsr", width)
    dasr = (demo_dasr.DASR_NET, "method={type='dasr', perceptual_weight=0, gan_weight=0}")
    for own in ((), dasr):
        found = demo_dasr.configuration(tmp_path, (), *own, *overrides["benchmarks.demo_dasr"])
        assert found.net.num_features == width
    for own in ((), ("method={type='mzsr', tasks=2}",)):
        mzsr = loads(demo_mzsr.CONFIG, [*own, *overrides["benchmarks.demo_mzsr"]])
        assert (mzsr.net.type, mzsr.net.num_features) == ("mzsr", width)
        assert build_method(mzsr).phases
    fit = ran[0][1:]
    assert fit[:2] == ["fit", "configs/edsr_baseline_x2.toml"]
    command = cli.cli.get_command(click.Context(cli.cli), "fit")
    edsr = load(ROOT / fit[1], command.make_context("fit", fit[1:]).params["overrides"])
    assert [one.name for one in edsr.evaluate.sets] == ["set5", "set14"]


def test_an_unknown_part_is_one_line_and_one_part_is_one_command(tmp_path):
    assert commands(tmp_path, "1", "ecoo") == (2, [])
    code, ran = commands(tmp_path, "1", "mzsr")
    assert (code, [module for module, *_ in ran]) == (0, ["benchmarks.demo_mzsr"])


def test_the_last_table_is_that_of_the_result_files(tmp_path):
    assert doc_tables.shown(tmp_path) == f"no result file in {tmp_path}"
    result = read_result("eco", RESULTS)
    write_result(result, tmp_path / "eco" / "eco.json")
    text = doc_tables.shown(tmp_path)
    assert text.startswith("## eco\n\n| Schedule |")
    assert demo_eco.summary(result) in text

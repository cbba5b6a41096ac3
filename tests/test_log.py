"""The log: every record is in the file at once, a resumed run continues it, and people get one line per thing."""

from __future__ import annotations

import io
import json
import math
import sys
import types

import pytest
from PIL import Image

from pytrain.errors import ConfigError
from pytrain.settings import LogConfig
from pytrain.training.log import Log, breakdown, check_packages, cut_back, read, step_line, text_table

VALUES = {"l1": 0.03125, "learning_rate": 2e-4, "images_per_s": 312.4, "steps_per_s": 19.5,
          "time_read": 0.02, "time_forward": 0.41, "time_idle": 0.001}  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def opened(folder, stream=None, **options) -> Log:
    return Log(folder, LogConfig(**options), 200, stream=stream or io.StringIO())


def test_every_record_is_in_the_file_before_the_log_is_closed(tmp_path):
    stream = io.StringIO()
    log = opened(tmp_path / "run", stream)
    log.event(
        "start", step=0, method="psnr", parameters={"generator": 1234567}, precision="fp32", out="/out", processes=2
    )
    log.step(100, VALUES)
    log.event("checkpoint", step=100, file="/out/x")
    records = read(tmp_path / "run" / "log.jsonl")
    assert [(record["kind"], record["step"]) for record in records] == [
        ("start", 0),
        ("step", 100),
        ("checkpoint", 100),
    ]
    assert {key: records[1][key] for key in VALUES} == VALUES
    assert stream.getvalue().splitlines() == [
        "method     psnr",
        "nets       generator 1,234,567 parameters",
        "processes  2",
        "precision  fp32",
        "out        /out",
        "100/200  l1 0.03125  rate 2.00e-04  19.5 steps/s  312 images/s  read 2%  forward 41%",
        "step 100: saved /out/x",
    ]
    log.close()
    log.close()


@pytest.mark.parametrize(
    ("kind", "values", "line"),
    [
        ("resume", {"step": 7, "file": "a"}, "resumed at step 7 from a"),
        ("evaluate", {"step": 7, "scores": {"set5/psnr": 31.25}}, "step 7: set5/psnr 31.2500"),
        ("hint", {"text": "do this"}, "hint: do this"),
        ("warning", {"text": "beware"}, "warning: beware"),
        ("nonfinite", {"step": 8, "what": "nan", "file": "t"}, "step 8: skipped, nan; its tasks are in t"),
        ("skipped", {"step": 8, "what": "loss 9"}, "step 8: skipped, loss 9"),
        ("rollback", {"step": 9, "file": "s"}, "step 9: went back to the weights of s"),
        ("interrupted", {"step": 9}, "interrupted at step 9; the same command with --resume goes on"),
        ("done", {"step": 9, "files": ["a", "b"]}, "done at step 9\n  a\n  b"),
        ("other", {"step": 9, "x": 1}, "step 9: other x 1"),
    ],
)  # fmt: skip
def test_events_in_words(tmp_path, kind, values, line):
    stream = io.StringIO()
    with opened(tmp_path, stream) as log:
        log.event(kind, **values)
    assert stream.getvalue() == f"{line}\n"


def test_a_resumed_run_continues_the_file_at_its_step(tmp_path):
    with opened(tmp_path) as log:
        for step in (1, 2, 3, 4):
            log.step(step, {"l1": float(step)})
    path = tmp_path / "log.jsonl"
    # A killed process leaves half a line.
    path.write_text(path.read_text() + '{"kind": "step", "st')
    assert [record["step"] for record in read(path)] == [1, 2, 3, 4]
    with opened(tmp_path) as log:
        log.event("resume", step=2, file="state")
        log.step(3, {"l1": 30.0})
    assert [(r["kind"], r["step"], r.get("l1")) for r in read(path)] == [
        ("step", 1, 1.0), ("step", 2, 2.0), ("resume", 2, None), ("step", 3, 30.0)
    ]  # fmt: skip
    # A run that begins anew begins its log anew.
    with opened(tmp_path) as log:
        log.event("start", step=0)
    assert [record["kind"] for record in read(path)] == ["start"]
    cut_back(tmp_path / "absent", 3)


def test_values_that_json_does_not_know(tmp_path):
    with opened(tmp_path) as log:
        log.step(1, {"a": math.nan, "b": -math.inf})
        log.event("evaluate", step=1, scores={"x": math.inf}, more=[math.nan])
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(name))
    first, second = read(tmp_path / "log.jsonl")
    assert math.isnan(float(first["a"]))
    assert float(first["b"]) == -math.inf
    assert second["scores"] == {"x": "inf"}


def test_other_processes_write_nothing(tmp_path, capsys):
    log = Log(tmp_path / "run", LogConfig(tensorboard=True, wandb="p"), 10, is_main=False)
    log.step(1, VALUES)
    log.tick(1)
    log.event("warning", text="x")
    log.table("", ["a"], [["b"]])
    log.close()
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_written_is_said_once_and_training_goes_on(tmp_path):
    (tmp_path / "run").write_text("a file, where a folder should be")
    stream = io.StringIO()
    with opened(tmp_path / "run", stream) as log:
        log.step(1, {"l1": 1.0})
        log.step(2, {"l1": 1.0})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"warning: {tmp_path / 'run' / 'log.jsonl'}: cannot be written (")
    assert lines[0].endswith("); training goes on")


def test_a_terminal_gets_lines_and_a_bar_that_does_not_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with opened(tmp_path, stream) as log:
        log.tick(1)
        log.step(100, VALUES)
        log._console._progress._drawn_s = 0.0
        log.tick(100)
        log.event("warning", step=100, text="[bold]not markup[/bold] " + "x" * 100)
        log.event("start", method="psnr", device="cpu")
    text = stream.getvalue()
    assert "method     psnr\n" in text
    assert "device     cpu\n" in text
    assert "100/200  l1 0.03125" in text
    assert "read 2%  forward 41%" in text
    assert "[bold]not markup[/bold] " + "x" * 100 in text  # neither interpreted nor broken into lines
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor is shown again


def test_lines():
    assert step_line(5, 1000, {"b": 1.0, "a": 123456.0}) == "   5/1000  b 1  a 1.235e+05"
    assert breakdown({"time_read": 0.004, "time_forward": 0.996, "l1": 3.0}) == "forward 100%"
    assert text_table("T", ["set", "psnr"], [["a", "30.1"], ["longer", "9.25"]]) == [
        "T", "set     psnr", "a       30.1", "longer  9.25"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "module", "line"),
    [
        ({"tensorboard": True}, "torch.utils.tensorboard", "log.tensorboard needs the package tensorboard"),
        ({"wandb": "project"}, "wandb", "log.wandb needs the package wandb"),
        ({"trackio": "project"}, "trackio", "log.trackio needs the package trackio"),
    ],
)
def test_other_programs_must_be_installed_where_asked_for(tmp_path, monkeypatch, options, module, line):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=f"{line} .*pip install"):
        opened(tmp_path, **options)
    with pytest.raises(ConfigError, match=line):
        check_packages(LogConfig(**options))


def test_tensorboard_reads_what_was_written(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with opened(tmp_path / "run", tensorboard=True) as log:
        for step, loss in ((1, 0.5), (2, 0.25)):
            log.step(step, {"l1": loss})
        log.event("evaluate", step=2, scores={"a/psnr": 30.0})
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("l1")] == [(1, 0.5), (2, 0.25)]
    assert [(event.step, event.value) for event in events.Scalars("a/psnr")] == [(2, 30.0)]


def test_values_and_pictures_go_to_tensorboard_wandb_and_trackio(tmp_path, monkeypatch):
    seen = []

    class Writer:
        def __init__(self, folder):
            seen.append(("open", folder))

        def add_scalar(self, name, value, step):
            seen.append((name, value, step))

        def add_image(self, name, pixels, step, dataformats):
            seen.append((name, pixels.shape, step, dataformats))

        def close(self):
            seen.append("close")

    class Run:
        def log(self, values, step):
            seen.append((values, step))

        def finish(self):
            seen.append("finish")

    def init(**options):
        seen.append((options["project"], options["id"], options["resume"]))
        return Run()

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))

    def began(**options):
        seen.append((options["project"], options["name"], options["resume"]))
        return Run()

    Image.new("RGB", (5, 3)).save(tmp_path / "a.png")
    package = types.SimpleNamespace(Image=lambda path: f"picture {path}")
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, **vars(package)))
    monkeypatch.setitem(sys.modules, "trackio", types.SimpleNamespace(init=began, **vars(package)))
    with opened(tmp_path / "run", tensorboard=True, wandb="project", trackio="own") as log:
        log.step(1, {"l1": 0.5})
        log.event("evaluate", step=2, scores={"a/psnr": 30.0})
        log.pictures(2, {"a": tmp_path / "a.png", "gone": tmp_path / "gone.png"})
    shown = {"a": f"picture {tmp_path / 'a.png'}"}
    assert seen == [
        ("open", str(tmp_path / "run" / "tensorboard")), ("project", "run", "allow"), ("own", "run", "allow"),
        ("l1", 0.5, 1), ({"l1": 0.5}, 1), ({"l1": 0.5}, 1),
        ("a/psnr", 30.0, 2), ({"a/psnr": 30.0}, 2), ({"a/psnr": 30.0}, 2),
        ("a", (3, 5, 3), 2, "HWC"), (shown, 2), (shown, 2), "close", "finish", "finish",
    ]  # fmt: skip

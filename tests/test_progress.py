"""The line that says how far a long job is."""

from __future__ import annotations

import io
import re

import pytest

from pydegrade.shell import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("total", [200, 10**9])
def test_a_terminal_gets_a_bar_of_at_most_80_columns_and_a_clean_line_at_the_end(monkeypatch, total):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    now_s = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now_s[0])
    stream = Terminal()
    bar = progress.Progress(total, done=total // 2, unit="pairs", stream=stream)
    bar.advance(0)
    assert stream.getvalue() == ""
    now_s[0] += 5
    bar.advance(total // 4)
    # A quarter of the whole in 5 s; what an earlier run did does not count for the speed.
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).split("\r") if line.strip()]
    assert all(len(line.rstrip("\n")) <= 80 for line in lines)
    assert f"{total * 3 // 4}/{total} {total / 20:.1f} pairs/s  0:05 left" in lines[-1]
    bar.say("a line \x1b[31mof its own")
    assert "a line \\x1b[31mof its own" in stream.getvalue()
    bar.close()
    bar.close()
    assert stream.getvalue().endswith("\x1b[2K") or stream.getvalue().endswith("\x1b[1A\x1b[2K")


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now_s[0])
    stream = io.StringIO()
    bar = progress.Progress(40000, unit="pairs", stream=stream)
    for _ in range(25):
        now_s[0] += 1
        bar.advance(10)
    bar.close()
    assert stream.getvalue().splitlines() == [
        "100/40000 pairs  10.0 pairs/s  1:06:30 left",
        "200/40000 pairs  10.0 pairs/s  1:06:20 left",
    ]

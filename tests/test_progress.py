"""The line that says how far a long job is."""

from __future__ import annotations

import io

from pydegrade.commands import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_a_clean_line_at_the_end(monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now_s[0])
    stream = Terminal()
    bar = progress.Progress(200, done=100, unit="pairs", stream=stream)
    bar.advance(0)
    assert stream.getvalue() == ""
    now_s[0] += 5
    bar.advance(50)
    # 50 of this run in 5 s; the 100 of an earlier run do not count for the speed.
    assert "[#####################.......] 150/200 pairs  10.0 pairs/s  0:05 left" in stream.getvalue()
    bar.close()
    assert stream.getvalue().endswith("\r\x1b[K")


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

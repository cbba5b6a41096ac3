"""The command line in this process: for tests of several commands."""

from __future__ import annotations

import pytest

from pydegrade.commands import cli

Result = tuple[int, str, str]
"""Exit code, stdout, stderr."""


def degrade_in(capsys: pytest.CaptureFixture[str], *words: object) -> Result:
    """Run `degrade WORDS`; no failure may show a traceback."""
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return int(left.value.code or 0), out, err


def quietly(*words: object) -> None:
    """Run `degrade WORDS`, which must do all of it."""
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    assert not left.value.code

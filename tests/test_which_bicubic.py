"""The table of docs/bicubic.md, on one image."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bicubic_peers
from benchmarks.which_bicubic import distance, read_pairs, table


def test_distances_are_those_of_the_document(shared: Path) -> None:
    pairs = read_pairs(shared, 4, ["butterfly"])
    assert distance(bicubic_peers.ours, pairs, 4).worst == 0
    found = {peer.__name__: distance(peer, pairs, 4) for peer in (bicubic_peers.basicsr, bicubic_peers.pillow)}
    # Rounded once instead of twice: off by one or two levels, in a tenth of the samples.
    assert found["basicsr"].worst <= 2
    assert 85 < found["basicsr"].equal < 95
    assert 80 < found["pillow"].equal < found["basicsr"].equal
    assert found["pillow"].worst > 5
    # The formula is the im2double recipe, which ours has in double.
    double = distance(bicubic_peers.ours_double, pairs, 4)
    assert found["basicsr"].psnr_db == pytest.approx(double.psnr_db, abs=0.1)


def test_table_has_a_row_for_each_library(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = {"ours": bicubic_peers.ours, "Pillow": bicubic_peers.pillow}
    monkeypatch.setattr("benchmarks.which_bicubic.PEERS", peers)
    lines = table(shared, scales=(2,), names=("butterfly",)).splitlines()
    assert lines[2] == "| ours | 100.00 | inf | 0 |"
    assert lines[3].startswith("| Pillow | ")

"""What the documents say was measured is what the result files hold."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import doc_tables, result_files
from benchmarks.result_files import Result
from pytrain.errors import DataError
from pytrain.evaluation.intervals import bootstrap

RESULT = Result(
    study="made-up",
    command="python -m benchmarks.made_up",
    commit="0123abc",
    settings={"seeds": 2},
    unit="dB",
    items={"pictures": ["a", "b", "c"]},
    values={
        "pictures": {
            "plain": {"0": [30.0, 31.0, 32.0], "1": [30.0, 31.0, 33.0]},
            "better": {"0": [30.5, 31.5, 32.5], "1": [31.0, 32.0, 34.0]},
            "bicubic": {"-": [29.0, 29.0, 29.0]},
        }
    },
    machine={"cpu": "any", "isa": "v3", "torch": "2"},
)


@pytest.mark.parametrize("path", doc_tables.documents(), ids=lambda path: path.name)
def test_tables_of_the_documents_are_those_of_the_result_files(path):
    text = path.read_text()
    assert doc_tables.renewed(text, path.name) == text, "stale: run python -m benchmarks.doc_tables"


def test_every_result_file_is_shown_and_says_how_to_repeat_it():
    shown = "".join(path.read_text() for path in doc_tables.documents())
    used = {doc_tables.TABLES[name][0] for name in re.findall(r"<!-- table: ([\w-]+) -->", shown)}
    results = list(result_files.all_results())
    assert {result.study for result in results} == used
    for result in results:
        assert re.fullmatch(r"[0-9a-f]{7,}(, [0-9a-f]{7,})*", result.commit), "measured with uncommitted changes"
        assert result.command.startswith(("python -m ", "pytrain "))
        assert result.settings
        assert result.machine["cpu"]
        assert result.seconds > 0


def test_a_changed_number_or_document_is_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(
        doc_tables.TABLES, "made-up", ("made-up", lambda one: f"{one.mean('pictures', 'plain'):.2f} dB")
    )
    result_files.write_result(RESULT, tmp_path / "made-up.json")
    text = doc_tables.renewed("before\n<!-- table: made-up -->\n\n<!-- end of table -->\nafter", folder=tmp_path)
    assert "31.17 dB" in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter")
    assert doc_tables.renewed(text, folder=tmp_path) == text
    assert doc_tables.renewed(text.replace("31.17", "31.18"), folder=tmp_path) == text
    arms = RESULT.values["pictures"]
    changed = replace(RESULT, values={"pictures": {**arms, "plain": {"0": [30.0, 31.0, 35.0]}}})
    result_files.write_result(changed, tmp_path / "made-up.json")
    assert doc_tables.renewed(text, folder=tmp_path) != text
    with pytest.raises(ValueError, match="must be one of"):
        doc_tables.renewed("<!-- table: none -->\n\n<!-- end of table -->", "a page", tmp_path)
    with pytest.raises(ValueError, match="1 tables begin and 0 end"):
        doc_tables.renewed("<!-- table: made-up -->", "a page", tmp_path)


def test_a_result_file_gives_back_what_was_written(tmp_path):
    result_files.write_result(RESULT, tmp_path / "made-up.json")
    assert result_files.read_result("made-up", tmp_path) == RESULT


def test_differences_are_paired_over_items_and_seeds():
    found = RESULT.minus("pictures", "better", "plain")
    np.testing.assert_allclose(found.by_seed, [0.5, 1.0])
    # Every image gains 0.75 dB in the mean of the seeds: nothing is uncertain, however the images differ.
    np.testing.assert_allclose([found.interval.mean, found.interval.low, found.interval.high], 0.75)
    assert found.over_seeds() == "+0.50 to +1.00"
    # A rival of a single run meets every seed.
    np.testing.assert_allclose(RESULT.minus("pictures", "better", "bicubic").by_seed, [2.5, 10 / 3])
    assert RESULT.minus("pictures", "bicubic", "bicubic").over_seeds() == "one seed"


def test_values_must_fit_the_items():
    with pytest.raises(ValueError, match="must have 3 values, got 1"):
        replace(RESULT, values={"pictures": {"plain": {"0": [1.0]}}})
    with pytest.raises(ValueError, match="finite"):
        replace(RESULT, values={"pictures": {"plain": {"0": [1.0, 2.0, float("nan")]}}})


def test_bootstrap_intervals_cover_the_mean_as_often_as_they_say():
    # 300 samples of 25 normal numbers: the interval holds the true mean in about 93 % (percentile intervals of few values
    # are a little short; the standard error of the share is 1.5 %).
    rng = np.random.default_rng(0)
    held = [(one := bootstrap(rng.normal(2.0, 1.0, 25), resamples=1000)).low <= 2.0 <= one.high for _ in range(300)]
    assert 0.88 < np.mean(held) < 0.98


def test_bootstrap_of_one_value_is_that_value_and_of_none_an_error():
    one = bootstrap([1.5])
    assert (one.mean, one.low, one.high) == (1.5, 1.5, 1.5)
    for values in ([], [np.nan], [[1.0]]):
        with pytest.raises(DataError, match="at least one finite number"):
            bootstrap(values)


@pytest.mark.slow
def test_bootstrap_draws_the_same_in_slices_as_at_once():
    values = np.random.default_rng(1).normal(size=2**13)  # 512 draws are a slice
    few = bootstrap(values, resamples=512)
    assert bootstrap(values, resamples=512) == few
    many = bootstrap(values, resamples=1200)
    half_width = values.std() * 1.96 / 2**6.5
    # Ends of normal means by 512 and 1200 draws: their own deviation is about an eighth of the half width.
    np.testing.assert_allclose([few.low, many.low], values.mean() - half_width, atol=half_width / 3)
    np.testing.assert_allclose([few.high, many.high], values.mean() + half_width, atol=half_width / 3)

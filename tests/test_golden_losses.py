"""Short runs of every method have the losses that are stored; see tests/golden_losses.py for the tolerance."""

from __future__ import annotations

import pytest

from pytrain.methods.registry import METHODS

from . import golden_losses


def test_every_method_has_a_case():
    assert golden_losses.CASES.keys() == METHODS.keys() == golden_losses.stored().keys()


@pytest.mark.slow
@pytest.mark.parametrize("method", golden_losses.CASES)
def test_a_short_run_has_the_stored_losses(method):
    stored = golden_losses.stored()[method]["losses"]
    away = golden_losses.deviation(golden_losses.losses(method), stored)
    assert away <= golden_losses.tolerance(method), "python -m tests.golden_losses says how far all methods are"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["psnr", "dasr", "mzsr", "ipt"])
def test_a_change_of_one_per_cent_is_seen(method):
    stored = golden_losses.stored()[method]["losses"]
    changed = golden_losses.losses(method, "optimizer.learning_rate=1.01e-3")
    assert golden_losses.deviation(changed, stored) > golden_losses.tolerance(method)

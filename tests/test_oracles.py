"""Networks, losses, kernels and metrics give the numbers of the authors' released code, which tests/oracles.py stores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytrain import nets

from . import oracles


def test_every_answer_is_stored():
    assert oracles.stored().keys() == {*oracles.NETS, *oracles.OTHERS}


@pytest.mark.representatives(5)
@pytest.mark.parametrize("name", [*oracles.NETS, *oracles.OTHERS])
def test_ours_equals_the_release(name):
    wanted, found = oracles.stored()[name], oracles.ours(name)
    assert np.abs(np.subtract(found, wanted)).max() <= oracles.tolerance(name) * max(np.abs(wanted).max(), 1e-3)


def test_a_changed_weight_is_seen():
    net = oracles.filled(nets.build(oracles.NETS["srresnet x4"]))
    with torch.no_grad():
        net.conv_hr.weight[0, 0, 0, 0] += 1e-6
    found = oracles.summary(oracles.run("srresnet x4", net))
    wanted = oracles.stored()["srresnet x4"]
    assert np.abs(np.subtract(found, wanted)).max() > oracles.tolerance("srresnet x4")

"""Products of conditions, kept under a name, in code that writes into given memory."""

from __future__ import annotations

import numpy as np

import chalkgrad as cg
from chalkgrad.layers import affine, svm_loss
from chalkgrad.train.formula import minimise


def test_the_hinge_loss_trains_as_in_the_plain_code() -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((12, 4)), "y": rng.integers(0, 3, 12)}
    params = {"W": rng.standard_normal((4, 3)), "b": np.zeros(3)}
    found = [
        minimise(
            cg.chain(affine, svm_loss), params, data, engine=engine, dtype=np.float64, batch_size=5
        ).losses
        for engine in ("plain", "numpy")
    ]
    np.testing.assert_allclose(*found, rtol=1e-12)

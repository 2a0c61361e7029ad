"""A gradient keeps the digits of its formula: a square of a difference is not multiplied out on the way."""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg

FORMULAS = [
    "L = sum(i, log(s[i]) + (x[i] - m[i])^2 / (2 * s[i]^2))",
    "L = sum(i, log(s[i] / t[i]) + (t[i]^2 + (x[i] - m[i])^2) / (2 * s[i]^2) - 1 / 2)",
    "L = mean(i, s[i]^2 * (x[i] - m[i])^2 + s[i])",
    "L = sum(i, s[i] * ((x[i] - m[i])^2 + s[i]^2))",
    "L = sum(i, sum(k, s[k] * (x[i] - m[i])^2 + s[k]^2))",
    "L = sum(i, s[i] * (x[i] - m[i])^3 - log(s[i]))",
    "y[i] = s[i] * (x[i] - m[i])^2 + sum(j, s[j])",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_nearby_values_keep_their_difference(text: str) -> None:
    """By numbers that differ in their last digits alone, single precision gives what double does."""
    layer = cg.formula(text)
    ops = layer.compile("numpy")
    near = {"x": np.full(3, 1e4 + 0.75), "m": np.full(3, 1e4)}
    arrays = [near.get(t.name, np.array([0.5, 1.0, 2.0])) for t in layer.program.inputs]

    def gradients(kind: type) -> tuple[np.ndarray, ...]:
        out, cache = ops.forward(*(a.astype(kind) for a in arrays))
        return ops.backward(np.ones_like(out), cache)

    for single, double in zip(gradients(np.float32), gradients(np.float64), strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-5)


@pytest.mark.parametrize("text", FORMULAS)
def test_no_line_multiplies_a_difference_out(text: str) -> None:
    """Nor do the lines on the page: x m or x² stands in none of them."""
    lines = str(cg.formula(text).derive()).split("\n")
    assert any("x_i − m_i" in line for line in lines)
    assert not [line for line in lines if "m_i²" in line or "m_i x_i" in line or "x_i m_i" in line]

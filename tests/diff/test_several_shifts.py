"""Several normalisers in one formula: each shift by a maximum is shown by itself, and holds."""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg

FORMULAS = {
    "two logarithms of sums": "L = sum(i, log(sum(k, exp(a[i,k]))) + log(sum(j, exp(b[i,j]))))",
    "two heads": "p[i,k] = exp(a[i,k]) / sum(j, exp(a[i,j]))\nq[i,k] = exp(b[i,k]) / sum(j, exp(b[i,j]))\n"
    "L = mean(i, -log(p[i,y[i]]) - log(q[i,z[i]]))",
    "two heads by scores": "L = mean(i, log(sum(k, exp(a[i,k]))) - a[i,y[i]]"
    " + log(sum(k, exp(b[i,k]))) - b[i,z[i]])",
    "mixture": "L = -sum(i, log(sum(k, exp(a[k] - (x[i] - m[k])^2 / 2))) - log(sum(k, exp(a[k]))))",
    "divergence": "p[i,k] = exp(a[i,k]) / sum(j, exp(a[i,j]))\nq[i,k] = exp(b[i,k]) / sum(j, exp(b[i,j]))\n"
    "L = sum(i k, p[i,k] * (log(p[i,k]) - log(q[i,k])))",
    "one inside of another": "p[k] = exp(a[k]) / sum(j, exp(a[j]))\n"
    "L = log(sum(k, exp(p[k] * b[k]))) + log(sum(k, exp(c[k])))",
    "three": "L = log(sum(i, exp(a[i]))) * log(sum(j, exp(b[j]))) + log(sum(k, exp(c[k])))",
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("form", ["closed", "staged"])
def test_every_shift_is_a_line_that_holds(name, form):
    derivation = cg.formula(FORMULAS[name]).derive(form=form)
    assert derivation.verify().ok
    shifts = [step for step in derivation.steps if step.rule == "shift-by-maximum"]
    assert len(shifts) >= 2
    # What one line shows is one shift: no line takes a maximum that an earlier one brought in.
    assert all("max" not in str(step.before) for step in shifts)
    assert derivation.to_text().count("safe for large inputs") >= 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FORMULAS)
def test_code_is_finite_at_large_scores(name):
    layer = cg.formula(FORMULAS[name])
    rng = np.random.default_rng(0)
    inputs = [
        rng.normal(size=[4] * len(t.axes)) * (1e3 if t.name in "abc" else 1) if t.dtype == "float"
        else rng.integers(0, 4, [4] * len(t.axes)) for t in layer.program.inputs
    ]  # fmt: skip
    ops = layer.compile()
    loss, cache = ops.forward(*inputs)
    assert np.isfinite(loss)
    assert all(np.isfinite(g).all() for g in ops.backward(1.0, cache) if g is not None)

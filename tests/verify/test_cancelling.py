"""Derivatives that are truly zero: what is left of them is rounding, and anything more is false."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import VerificationError
from chalkgrad.expr.nodes import Access, Const, Index, Partial
from chalkgrad.expr.ops import inline
from chalkgrad.verify.magnitude import summands
from chalkgrad.verify.steps import Claim, Judge

ZERO_SLOPES = {
    "circle": "y[i] = sin(x[i])^2 + cos(x[i])^2",
    "hyperbola": "y[i] = cosh(x[i])^2 - sinh(x[i])^2",
    "quotient": "y[i] = x[i] * w[i] / x[i]",
    "inverse functions": "y[i] = exp(x[i]) * exp(-x[i])",
    "logarithms": "y[i] = log(x[i] * w[i]) - log(x[i]) - log(w[i])",
    "binomial": "y[i] = (x[i] + w[i])^2 - x[i]^2 - w[i]^2 - 2 * x[i] * w[i]",
    "sum and itself": "y = sum(i, x[i]^3) - sum(j, x[j]^3)",
    "centred": "y = sum(i, x[i] - mean(j, x[j]))",
    "probabilities": "p[k] = exp(x[k]) / sum(j, exp(x[j]))\ny = sum(k, p[k])",
    "branch and function": "y[i] = where(x[i] > 0, x[i], -x[i]) - abs(x[i])",
    "power": "y[i] = sqrt(x[i]^2) - abs(x[i])",
}


@pytest.mark.parametrize("name", ZERO_SLOPES)
@pytest.mark.parametrize("form", ["staged", "closed"])
def test_a_true_zero_is_not_called_false(name, form):
    derivation = cg.formula(ZERO_SLOPES[name]).derive("x", form=form)
    for seed in range(3):
        assert derivation.verify(seed=seed).ok


@pytest.mark.parametrize("name", ZERO_SLOPES)
def test_a_small_slope_for_a_true_zero_is_false(name):
    """The scale is what cancelled, so a part of 1e-9 of it is refuted."""
    program = cg.formula(ZERO_SLOPES[name]).program
    *inner, last = program.definitions
    body = last.body
    for d in reversed(inner):
        body = inline(body, d.access, d.body)
    x = next(t for t in program.inputs if t.name == "x")
    at = Index("at", x.axes[0])
    slope, indices = Partial(body, Access(x, (at,))), (*last.indices, at)
    judge = Judge.at(cg.formula(ZERO_SLOPES[name]).derive("x").record, 0)
    largest = float(summands(slope, indices, judge.env).max())
    assert 1e-2 < largest < 1e3
    assert judge.check(Claim("zero", "zero", slope, Const(Fraction(0)))).error <= 1e-10
    with pytest.raises(VerificationError, match="is false"):
        judge.check(Claim("small", "small", slope, Const(Fraction(largest * 1e-9))))


def test_terms_inside_of_a_derivative_are_taken_as_positive():
    derived = cg.formula("y[i] = sin(x[i])^2 + cos(x[i])^2").derive().record
    env = Judge.at(derived, 0).env
    (x,), (y,) = derived.program.inputs, derived.program.outputs
    (definition,) = (d for d in derived.program.definitions if d.target is y)
    slope = Partial(definition.body, Access(x, definition.indices))
    values = env.arrays[x]
    found = summands(slope, definition.indices, env)
    np.testing.assert_allclose(found, 4 * np.abs(np.sin(values) * np.cos(values)), rtol=1e-5)

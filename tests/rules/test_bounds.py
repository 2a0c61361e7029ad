"""Bounds of formulas: every value lies between them, and code has no guard that they make needless."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.rules.bounds import Bounds
from chalkgrad.verify.reference import run

WIDE = np.concatenate([-np.geomspace(1e-6, 600, 200)[::-1], [0.0], np.geomspace(1e-6, 600, 200)])
BINARY = ("{} + {}", "{} * {}", "{} - {}", "maximum({}, {})", "minimum({}, {})", "where(x[i] > w[i], {}, {})")
POWERS = (
    "{}^2",
    "{}^3",
    "{}^4",
    "sum({j}, {} * abs(v[{j}]))",
    "max({j}, {} + v[{j}])",
    "min({j}, {} * v[{j}])",
)
LETTERS = "abcdefgh"
"""A sum inside of another needs a letter of its own."""


@pytest.mark.parametrize("name", [n for n, p in PRIMITIVES.items() if p.values != (-math.inf, math.inf)])
def test_values_of_a_primitive_are_where_its_record_says(name):
    record = PRIMITIVES[name]
    points = WIDE[record.above < WIDE] if record.above is not None else WIDE
    with np.errstate(over="ignore"):
        values = np.asarray(record.reference(points), float)
    low, high = record.values
    assert (values >= low).all()
    assert (values <= high).all()
    assert any(abs(values - end).min() < 1e-2 for end in (low, high) if math.isfinite(end)), (
        "a bound is attained"
    )


def formulas():
    """Formulas of x[i] and w[i] that are finite everywhere."""
    leaves = st.sampled_from(["x[i]", "w[i]", "2", "0.5", "(-3)", "0", "1(x[i] > w[i])", "size(i)"])
    functions = st.sampled_from(
        [f"{n}({{}})" for n in ("tanh", "sigmoid", "sin", "cos", "abs", "relu", "erf")]
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(BINARY), inner, inner).map(lambda t: f"({t[0].format(t[1], t[2])})"),
            st.tuples(st.one_of(functions, st.sampled_from(POWERS)), inner).map(
                lambda t: f"({t[0].format(t[1], j=LETTERS[t[1].count('v[')])})"
            ),
        ),
        max_leaves=6,
    )


@settings(max_examples=150, deadline=None)
@given(body=formulas(), seed=st.integers(0, 99))
def test_every_value_lies_between_the_bounds(body, seed):
    program = cg.formula(
        f"x: N\nw: N\nv: M\ng[i] = {body}\ny[i] = g[i] + x[i] + w[i] + sum(j, v[j])", "drawn"
    ).program
    inner = next(d for d in program.definitions if d.target.name == "g")
    rng = np.random.default_rng(seed)
    low, high = Bounds(program.definitions).of(inner.access)
    assert (low, high) == Bounds().of(inner.body)
    arrays = {t: rng.uniform(-3, 3, 5) * 10.0 ** rng.integers(-3, 2) for t in program.inputs}
    values = np.real(run(program, arrays)[inner.target])
    slack = 1e-12 * max(1.0, np.abs(values).max())
    assert (values >= low - slack).all(), body
    assert (values <= high + slack).all(), body


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("2 + x[i]^2", (2, math.inf)),
        ("1 + exp(-x[i])", (1, math.inf)),
        ("2 - tanh(x[i])", (1, 3)),
        ("1 - sigmoid(x[i])", (0, 1)),
        ("x[i] * x[i]", (0, math.inf)),
        ("x[i]^3", (-math.inf, math.inf)),
        ("sum(j, abs(x[j])) + 0 * x[i]", (0, math.inf)),
        ("-(1 + relu(x[i]))", (-math.inf, -1)),
        ("minimum(x[i], 3)", (-math.inf, 3)),
        ("maximum(x[i], 3)", (3, math.inf)),
        ("where(x[i] > 0, 4, cosh(x[i]))", (1, math.inf)),
    ],
)
def test_bounds_by_example(body, found):
    definition = cg.formula(f"y[i] = {body}", "example").program.definitions[-1]
    assert Bounds().of(definition.body) == found


@pytest.mark.parametrize(
    ("formula", "guarded"),
    [
        ("out[i] = 1(x[i] > 0) / (2 + w[i]^2)", False),
        ("s[i] = 1 + exp(-x[i])\nout[i] = where(x[i] > w[i], 1 / s[i], 0)", False),
        ("out[i] = where(x[i] > 0, sqrt(3 - sin(w[i])), 0)", False),
        ("out[i] = where(x[i] > 0, sqrt(1 - sin(w[i])), 0)", True),
        ("out[i] = 1(x[i] > 0) / (w[i]^2)", True),
    ],
)
def test_code_guards_what_may_reach_its_end_and_nothing_else(formula, guarded):
    source = cg.formula(f"x: N\nw: N\n{formula}", "guarded").source("numpy")
    holds = [line for line in source.splitlines() if "np.where" in line and ", 1)" in line]
    assert bool(holds) is guarded, source

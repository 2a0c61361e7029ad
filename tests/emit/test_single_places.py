"""Reads of single places, x[n,0] or x[n,size(D)-1]: the gradient is written there, and right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad.verify.reference import run

PLACES = st.sampled_from(["0", "1", "2", "size(D)-1", "size(D)-2"])
FACTORS = st.lists(PLACES, min_size=1, max_size=2)
TERMS = st.tuples(st.sampled_from(["1", "2", "-1"]), FACTORS, st.booleans())
"""A number, the places whose entries are multiplied, and whether they are those of the first observation."""


def text_of(terms: list[tuple[str, list[str], bool]], whole: bool) -> str:
    parts = [
        " * ".join([number, *(f"x[{'0' if first else 'n'},{place}]" for place in factors)])
        for number, factors, first in terms
    ]
    return " + ".join(["y[n] = w[n]", *parts, *(["sum(d, x[n,d])"] if whole else [])])


@settings(max_examples=60, deadline=None)
@given(terms=st.lists(TERMS, min_size=1, max_size=3), whole=st.booleans(), rows=st.integers(1, 3))
def test_gradients_of_single_places(terms, whole, rows):
    """The formulas are of second degree, so central differences are exact."""
    layer = cg.formula("x: N D\n" + text_of(terms, whole), "single")
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((rows, 4)), "w": rng.standard_normal(rows)}
    given_arrays = [arrays[t.name] for t in layer.program.inputs]
    above = rng.standard_normal(rows)

    def loss(x: np.ndarray) -> float:
        values = {t: x if t.name == "x" else arrays["w"] for t in layer.program.inputs}
        return float(np.real(run(layer.program, values)[layer.program.outputs[0]]) @ above)

    ops = layer.compile("numpy")
    out, cache = ops.forward(*given_arrays)
    place = [t.name for t in layer.program.inputs].index("x")
    found = ops.backward(above, cache)[place]
    wanted = np.empty_like(arrays["x"])
    for at in np.ndindex(wanted.shape):
        step = np.zeros_like(wanted)
        step[at] = 0.5
        wanted[at] = loss(arrays["x"] + step) - loss(arrays["x"] - step)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
    assert out @ above == pytest.approx(loss(arrays["x"]))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("y[n,e] = x[n,0,e]", {"numpy": "dx[:, 0] = dy", "jax": "dx.at[:, 0].set(dy"}),
        ("y[n,e] = x[n,size(T)-1,e]", {"numpy": "dx[:, T - 1] = dy", "jax": "dx.at[:, T - 1].set(dy"}),
        ("y[n] = w[n] * x[3]", {"numpy": "dx[3] = w @ dy", "jax": "dx.at[3].set(w @ dy"}),
    ],
)
@pytest.mark.parametrize("target", ["numpy", "jax"])
def test_it_is_written_at_the_place(text, written, target):
    source = cg.formula("x: N T E\n" + text if "x[n" in text else text).source(target)
    assert written[target] in source
    assert "==" not in source


def test_a_mask_of_the_first_row_takes_no_rows_at_all():
    """Nothing says that there is a first row: the formula reads none by its number."""
    layer = cg.formula("y[n,d] = x[n,d] * (1 + 1(n == 0))", "first")
    ops = layer.compile("numpy")
    out, cache = ops.forward(np.ones((0, 3)))
    assert out.shape == ops.backward(np.ones((0, 3)), cache)[0].shape == (0, 3)

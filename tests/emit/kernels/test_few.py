"""Batches of so few observations that the lanes run along the weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from chalkgrad.emit.kernels.few import few
from chalkgrad.emit.kernels.targets import host
from chalkgrad.frontend.text_formula import read_formula
from tests.emit.kernels.networks import CLIPPED, COUNTING, Case, assert_same, two_layers
from tests.emit.kernels.test_orientation import CHOICES, compiled

SIZES = (37, 50, 7)
LIES = (frozenset(), *CHOICES)


def most(dtype):
    return host(dtype == np.float64).lanes // 2


@pytest.mark.parametrize("activation", ["relu", "gelu", "layer norm"])
@pytest.mark.parametrize("names", LIES, ids=["as they are", "W1", "W2", "both"])
def test_activations(activation, names):
    case = Case(two_layers(activation, "softmax"), SIZES, rows=23, batch=2, dtype=np.float64)
    step = compiled(case, names)
    assert few(step.layout)
    assert_same(case, step)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(st.integers(16, 90), st.integers(1, 90), st.integers(1, 40)),
    data=st.data(),
    rows=st.integers(1, 30),
    dtype=st.sampled_from([np.float32, np.float64]),
    names=st.sampled_from(LIES),
    rule=st.sampled_from(["sgd", "adam", CLIPPED, COUNTING]),
    threads=st.sampled_from([1, 2]),
)
def test_sizes(sizes, data, rows, dtype, names, rule, threads):
    batch = data.draw(st.integers(1, most(dtype)), label="batch")
    case = Case(two_layers("tanh", "mse"), sizes, rows=rows, batch=batch, rule=rule, dtype=dtype)
    step = compiled(case, names, threads=threads)
    assert few(step.layout)
    assert_same(case, step)


def test_three_layers():
    """Two products backward, of which the second reads what the first one made."""
    program = read_formula(
        "f1[i,h] = tanh(sum(d, x[i,d] * W1[d,h]))\nf2[i,k] = sum(h, f1[i,h] * W2[h,k])\n"
        "f3[i,j] = sum(k, tanh(f2[i,k]) * W3[k,j])\nL = mean(i, sum(j, f3[i,j]^2))",
        "net",
    )
    rng = np.random.default_rng(0)
    case = Case(program, (20, 33, 18), rows=9, batch=1, dtype=np.float64)
    case.parameters |= {"W3": rng.standard_normal((18, 21)) / 4}
    step = case.compile()
    assert few(step.layout)
    assert_same(case, step)


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(2, 40)),
    batch=st.integers(1, 4) | st.integers(5, 50),
    dtype=st.sampled_from([np.float32, np.float64]),
    loss=st.sampled_from(["mse", "hinge", "penalty"]),
)
def test_padding_is_no_term_of_a_sum(sizes, batch, dtype, loss):
    """Of any batch: whatever lies between the numbers, the results are those beside zeros."""
    case = Case(two_layers("relu", loss), sizes, rows=60, batch=batch, rule="sgd", dtype=dtype)
    losses, after = case.run(case.compile())
    step = case.compile()
    step.arena[:] = np.nan
    step.load(case.parameters)
    again, values = case.run(step)
    assert list(losses) == list(again)
    assert all((after[n] == values[n]).all() for n in after)

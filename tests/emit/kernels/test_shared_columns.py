"""Large weights that threads share out by columns, forward, backward and in their gradients."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from chalkgrad.emit.kernels import module, orientation, products
from tests.emit.kernels.networks import (
    CLIPPED,
    COUNTING,
    Case,
    assert_given_up_steps_leave_nothing,
    assert_same,
    assert_same_bits,
    two_layers,
)
from tests.emit.kernels.test_bounds import assert_touches_nothing_else

LARGE = (80, 300, 300)
"""Each weight has more than 32 KB, and eight panels or more, however wide they are."""


@contextmanager
def everything_shared():
    """Inside, steps are compiled anew, and every product is shared out by columns, however small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHALKGRAD_CACHE", "")
        patch.setattr(products, "SHARED_BYTES", 0)
        patch.setattr(products, "LEAST_SHARES", 1)
        yield


def compiled(case, **options):
    with everything_shared():
        return case.compile(**options)


@pytest.fixture
def shared(monkeypatch):
    """The shares of products, by number, of each step that the test compiles; no weight lies flipped."""
    found, given = [], module._shares

    def noted(layout, order):
        found.append(given(layout, order))
        return found[-1]

    monkeypatch.setenv("CHALKGRAD_CACHE", "")
    monkeypatch.setattr(orientation, "flipped", lambda found, layout: frozenset())
    monkeypatch.setattr(module, "_shares", noted)
    return found


def test_large_weights_are_shared_out(shared):
    """Both forward products and the backward one; one thread shares nothing with anybody."""
    case = Case(two_layers("relu", "softmax"), LARGE, rows=150, batch=64)
    assert_same(case, case.compile(threads=2))
    assert [len(step) for step in shared] == [3]
    case.compile()
    assert len(shared) == 1


@pytest.mark.parametrize(
    ("activation", "sizes", "batch"),
    [("relu", (30, 40, 10), 64), ("batch norm", LARGE, 64), ("relu", LARGE, 2)],
)
def test_others_are_not(activation, sizes, batch, shared):
    """Small ones, those of networks whose threads keep to observations of their own, and few observations."""
    case = Case(two_layers(activation, "softmax"), sizes, rows=150, batch=batch)
    assert_same(case, case.compile(threads=2))
    assert shared == [{}]


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("rule", ["adam", CLIPPED, COUNTING])
def test_threads_change_no_bit(rule, threads):
    """Nor do sums over all parameters, which are added by shares."""
    case = Case(two_layers("relu", "penalty"), LARGE, rows=350, batch=128, rule=rule)
    assert_same_bits(case, case.compile(), case.compile(threads=threads))


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40)),
    batch=st.integers(1, 90),
    rows=st.integers(1, 120),
    dtype=st.sampled_from([np.float32, np.float64]),
    rule=st.sampled_from(["sgd", "adam", CLIPPED, COUNTING]),
    threads=st.sampled_from([1, 2, 3]),
)
def test_sizes(sizes, batch, rows, dtype, rule, threads):
    """Fewer shares than threads, last panels that are not full, one panel of observations for all."""
    case = Case(two_layers("tanh", "mse"), sizes, rows=rows, batch=batch, rule=rule, dtype=dtype)
    assert_same(case, compiled(case, threads=threads))


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("rule", ["adam", CLIPPED])
def test_steps_that_are_given_up_leave_nothing_behind(threads, rule):
    case = Case(two_layers("relu", "softmax"), LARGE, rows=1250, batch=600, rule=rule)
    assert_given_up_steps_leave_nothing(case, threads)


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(2, 40)),
    rows=st.integers(1, 90),
    batch=st.integers(1, 90),
    at_end=st.booleans(),
    threads=st.sampled_from([2, 3]),
)
def test_nothing_beside_the_arrays_is_touched(sizes, rows, batch, at_end, threads):
    case = Case(two_layers("relu", "softmax"), sizes, rows=rows, batch=min(batch, rows), rule="sgd")
    step = compiled(case, zone=0, threads=threads)
    assert_touches_nothing_else(case, step, at_end)

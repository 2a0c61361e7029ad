"""Weights that lie flipped: the same numbers by every kernel, and the choice of which ones do."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from chalkgrad.emit.kernels import orientation
from chalkgrad.emit.kernels.targets import host
from chalkgrad.frontend.text_formula import read_formula
from tests.emit.kernels.networks import (
    ACTIVATIONS,
    CLIPPED,
    COUNTING,
    LOSSES,
    Case,
    assert_same,
    assert_same_bits,
    two_layers,
)
from tests.emit.kernels.test_bounds import assert_touches_nothing_else

CHOICES = (frozenset({"W1"}), frozenset({"W2"}), frozenset({"W1", "W2"}))
NAMES = ["W1", "W2", "both"]
SIZES = (29, 35, 5)
FEWEST = host().lanes
"""Rows of data shorter than a vector are never turned."""


@contextmanager
def lying(names):
    """Inside, steps are compiled anew with these weights flipped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHALKGRAD_CACHE", "")
        patch.setattr(orientation, "flipped", lambda found, layout: frozenset(names))
        yield


def compiled(case, names, **options):
    with lying(names):
        step = case.compile(**options)
    assert step.layout.flipped == names
    return step


@pytest.mark.parametrize("names", CHOICES, ids=NAMES)
@pytest.mark.parametrize("activation", ["relu", "gelu", "layer norm", "batch norm", "batch norm in one"])
def test_activations(activation, names):
    assert activation in ACTIVATIONS
    case = Case(two_layers(activation, "softmax"), SIZES, rows=70, batch=40, dtype=np.float64)
    assert_same(case, compiled(case, names))


@pytest.mark.parametrize("names", CHOICES, ids=NAMES)
@pytest.mark.parametrize("loss", ["soft targets", "weighted", "mse", "hinge", "penalty"])
def test_losses(loss, names):
    assert loss in LOSSES
    case = Case(two_layers("tanh", loss), SIZES, rows=70, batch=40, rule="momentum")
    assert_same(case, compiled(case, names))


@settings(max_examples=24, deadline=None)
@given(
    sizes=st.tuples(st.integers(FEWEST, 70), st.integers(1, 70), st.integers(1, 40)),
    batch=st.integers(1, 90),
    rows=st.integers(1, 120),
    dtype=st.sampled_from([np.float32, np.float64]),
    names=st.sampled_from(CHOICES),
    rule=st.sampled_from(["sgd", "adam", CLIPPED, COUNTING]),
)
def test_sizes(sizes, batch, rows, dtype, names, rule):
    case = Case(two_layers("tanh", "mse"), sizes, rows=rows, batch=batch, rule=rule, dtype=dtype)
    assert_same(case, compiled(case, names))


@pytest.mark.parametrize("names", CHOICES, ids=NAMES)
@pytest.mark.parametrize("sizes", [(300, 520, 10), (270, 40, 33)])
def test_blocked_sums(sizes, names):
    case = Case(two_layers("relu", "softmax"), sizes, rows=700, batch=400, rule="sgd")
    assert_same(case, compiled(case, names))


@pytest.mark.parametrize("names", CHOICES, ids=NAMES)
@pytest.mark.parametrize("rule", ["adam", CLIPPED])
def test_threads_change_no_bit(rule, names):
    case = Case(two_layers("relu", "penalty"), (40, 170, 10), rows=1250, batch=600, rule=rule)
    assert_same_bits(case, compiled(case, names), compiled(case, names, threads=2))


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.tuples(st.integers(FEWEST, 40), st.integers(1, 40), st.integers(2, 40)),
    rows=st.integers(1, 90),
    batch=st.integers(1, 90),
    at_end=st.booleans(),
    names=st.sampled_from(CHOICES),
)
def test_nothing_beside_the_arrays_is_touched(sizes, rows, batch, at_end, names):
    case = Case(two_layers("relu", "softmax"), sizes, rows=rows, batch=min(batch, rows), rule="sgd")
    step = compiled(case, names, zone=0)
    assert_touches_nothing_else(case, step, at_end)


def test_a_diverged_row_shows():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=60, batch=20, rule="sgd")
    case.data["x"][case.order[25]] = np.nan
    losses, _ = case.run(compiled(case, CHOICES[2]))
    assert np.isfinite(losses[0])
    assert np.isnan(losses[1:]).all()


def test_kept_code_knows_how_weights_lie(tmp_path, monkeypatch):
    """The second step reads the first one's file and copies its weights to the same places."""
    case = Case(two_layers("relu", "softmax"), (64, 100, 10), rows=64, batch=32)
    monkeypatch.setenv("CHALKGRAD_CACHE", str(tmp_path))
    monkeypatch.setattr(orientation, "flipped", lambda found, layout: CHOICES[0])
    first = case.run(case.compile())

    def refused(found, layout):
        raise AssertionError("the code was made anew")

    monkeypatch.setattr(orientation, "flipped", refused)
    step = case.compile()
    assert step.layout.flipped == CHOICES[0]
    again = case.run(step)
    assert list(first[0]) == list(again[0])
    assert all((first[1][n] == again[1][n]).all() for n in first[1])


@pytest.mark.parametrize(
    ("sizes", "batch", "wanted"),
    [((64, 100, 10), 32, {"W1"}), ((784, 256, 10), 128, set()), ((784, 1024, 10), 256, set())],
)
def test_what_is_chosen(sizes, batch, wanted, monkeypatch):
    """The small net's data need no turning and fill whole vectors; large weights stay as they are."""
    monkeypatch.setenv("CHALKGRAD_CACHE", "")
    case = Case(two_layers("relu", "softmax"), sizes, rows=batch, batch=batch)
    assert case.compile().layout.flipped == wanted


def test_short_rows_are_never_turned(monkeypatch):
    monkeypatch.setenv("CHALKGRAD_CACHE", "")
    case = Case(two_layers("relu", "softmax"), (1, 70, 10), rows=32, batch=32)
    assert "W1" not in case.compile().layout.flipped


def test_data_of_true_and_false_are_never_turned(monkeypatch):
    """Their rows are gathered number by number, too, however well a flipped weight would fit."""
    monkeypatch.setenv("CHALKGRAD_CACHE", "")
    case = Case(two_layers("relu", "softmax"), (64, 100, 10), rows=64, batch=32)
    lines = (
        "x: N D bool",
        "y: N int",
        "f1[i,h1] = sum(d, x[i,d] * W1[d,h1]) + b1[h1]",
        "p[i,h1] = exp(f1[i,h1]) / sum(j, exp(f1[i,j]))",
        "L = -mean(i, log(p[i,y[i]]))",
    )
    case.program = read_formula("\n".join(lines), "net")
    case.data["x"] = case.data["x"] > 0
    case.parameters = {n: case.parameters[n] for n in ("W1", "b1")}
    step = case.compile()
    assert "W1" not in step.layout.flipped
    assert_same(case, step)
